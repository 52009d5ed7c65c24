# SPDX-License-Identifier: MIT
"""What a layer is measured against: the lowest energy there can be, and the smallest angle that chance would leave."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
import torch

from hypersphere.formulas.energies import PairPotential, Riesz
from hypersphere.functional import minimum_energy

__all__ = ["Floor", "energy_floor", "position", "random_smallest_angle", "widest_smallest_angle"]


@dataclass(frozen=True)
class Floor:
    """An energy that no arrangement goes below; `is_reached` tells whether some arrangement is known to have it."""

    value: float
    is_reached: bool


def energy_floor(
    num_points: int, dim: int, *, known: float | None = None, power: float, distance: str, half_space: bool
) -> Floor | None:
    r"""The known minimum of the energy, else a bound that no arrangement goes below, else None.

    Full space: the cosines of K unit vectors have a mean of -1 / (K - 1) at least, so an energy that is convex in the
    cosine is at least that of a simplex; the angular one is bounded by its convex envelope there. Half space: their
    squares have a mean of (K - D) / (D (K - 1)) at least (Welch), and the chord's energy is convex in the square.

    Args:
        num_points: K >= 1.
        dim: D >= 1.
        known: a minimum that was recorded, NaN when none was known; None for that of `minimum_energy`.
        power: exponent of the energy.
        distance: "euclidean" or "angular".
        half_space: whether opposite directions count as neighbours.

    Example:
        >>> floor = energy_floor(64, 27, power=0.0, distance="euclidean", half_space=False)
        >>> round(floor.value, 6), floor.is_reached
        (-0.354448, False)
    """
    least = functools.partial(minimum_energy, power=power, distance=distance, half_space=half_space)
    if known is None and num_points >= 2:
        known = least(num_points, dim)
    if known is not None and math.isfinite(known):
        return Floor(known, True)
    if num_points < 2:
        return None
    if half_space and distance == "euclidean":
        return Floor(_welch_bound(num_points, dim, power), False)
    if distance == "angular" and not half_space:
        value, is_simplex = _envelope_bound(num_points, power)
        return Floor(value, is_simplex and num_points <= dim + 1)
    # points on a sphere also lie on every larger sphere that contains it
    bound = least(num_points, num_points)
    return None if bound is None else Floor(bound, False)


def _welch_bound(num_points: int, dim: int, power: float) -> float:
    """Lower bound of the half-space energy of the chord."""
    square = max(0.0, (num_points - dim) / (dim * (num_points - 1)))
    near, far, opposite = _pair_energy([square**0.5, -(square**0.5), -1.0], power, "euclidean")
    return ((num_points - 1) * (near + far) + opposite) / (2 * num_points - 1)


@functools.cache
def _envelope_bound(num_points: int, power: float) -> tuple[float, bool]:
    """Lower bound of the angular energy in full space, and whether a simplex has it.

    As a function of the cosine the energy is concave up to some point and convex after it: its convex envelope is the
    line from -1 that touches it, and itself from there on.
    """
    cosine = -1 / (num_points - 1)
    here, opposite = _pair_energy([cosine, -1.0], power, "angular")

    def overhang(c: float) -> float:
        """How far the tangent at c lies above the energy at -1."""
        potential = PairPotential(Riesz(power), "angular")
        value, slope = (float(part) for part in potential.value_and_force(torch.tensor(c, dtype=torch.float64)))
        return value - slope * (1 + c) - opposite

    if num_points == 2 or overhang(cosine) <= 0:
        return here, True
    low, high = cosine, 1 - 1e-12
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (low, middle) if overhang(middle) <= 0 else (middle, high)
    (touch,) = _pair_energy([high], power, "angular")
    return opposite + (cosine + 1) / (high + 1) * (touch - opposite), False


def _pair_energy(cosines: list[float], power: float, distance: str) -> list[float]:
    """The energy of a pair at each cosine."""
    potential = PairPotential(Riesz(power), distance)
    return [float(value) for value in potential.value(torch.tensor(cosines, dtype=torch.float64))]


def position(energy: float, floor: float, expected: float) -> float:
    """Where an energy lies between its floor (0) and the mean of random directions (1); NaN when that says nothing."""
    room = expected - floor
    return (energy - floor) / room if math.isfinite(room) and room > 0 else float("nan")


def random_smallest_angle(num_points: int, dim: int, *, half_space: bool = False, num_groups: int = 1) -> float:
    r"""Median of the smallest angle between independent uniform directions, in radians.

    The angle of one pair has the density sin^{D-2}; the K (K - 1) / 2 pairs are taken as independent, which is exact
    for the smallest of many.

    Args:
        num_points: K; NaN below 2.
        dim: D; NaN below 2.
        half_space: angles between lines, which are at most pi/2.
        num_groups: groups of K of which the smallest angle in any is meant.

    Example:
        >>> round(math.degrees(random_smallest_angle(2, 3)))
        90
    """
    if num_points < 2 or dim < 2:
        return float("nan")
    pairs = num_groups * num_points * (num_points - 1) / 2
    share = -math.expm1(math.log(0.5) / pairs) / (2 if half_space else 1)
    # on a logarithmic grid, since in few dimensions the angle is tiny; the density in logarithms against underflow
    theta = np.geomspace(1e-9, math.pi, 20_001)
    density = (dim - 2) * np.log(np.maximum(np.sin(theta), 1e-300))
    weight = np.exp(density - density.max())
    mass = np.concatenate([[0.0], np.cumsum((weight[1:] + weight[:-1]) / 2 * np.diff(theta))])
    return float(np.interp(share, mass / mass[-1], theta))


def widest_smallest_angle(num_points: int, dim: int) -> float:
    """Largest possible smallest angle between K directions in D dimensions, in radians; NaN where it is unknown.

    Known for a circle, for K <= D + 1 (simplex) and for K <= 2 D (a right angle, by Rankin's theorem).

    Example:
        >>> round(math.degrees(widest_smallest_angle(4, 3)), 2), math.degrees(widest_smallest_angle(6, 3))
        (109.47, 90.0)
    """
    if num_points < 2 or dim < 2:
        return float("nan")
    if num_points <= dim + 1:
        return math.acos(-1 / (num_points - 1))
    if dim == 2:
        return 2 * math.pi / num_points
    return math.pi / 2 if num_points <= 2 * dim else float("nan")
