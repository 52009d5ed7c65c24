# SPDX-License-Identifier: MIT
"""What a layer is measured against: the lowest energy there can be, and the smallest angle that chance would leave."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from hypersphere.functional import minimum_energy

__all__ = ["Floor", "energy_floor", "position", "random_smallest_angle", "widest_smallest_angle"]


@dataclass(frozen=True)
class Floor:
    """An energy that no arrangement goes below; `is_reached` tells whether some arrangement is known to have it."""

    value: float
    is_reached: bool


def energy_floor(
    num_points: int, dim: int, *, known: float, power: float, distance: str, half_space: bool
) -> Floor | None:
    """The known minimum of the energy, else the minimum of as many points in more dimensions, else None.

    Points on a sphere also lie on every larger sphere that contains it, so the minimum there is a lower bound here.

    Args:
        num_points: K >= 1.
        dim: D >= 1.
        known: the minimum that the run recorded, NaN when it recorded none.
        power: of the energy that the run recorded.
        distance: of that energy, "euclidean" or "angular".
        half_space: whether opposite directions count as neighbours.
    """
    if math.isfinite(known):
        return Floor(known, True)
    if num_points < 2 or dim >= num_points:
        return None
    try:
        bound = minimum_energy(num_points, num_points, power=power, distance=distance, half_space=half_space)
    except ValueError:
        return None
    return None if bound is None else Floor(bound, False)


def position(energy: float, floor: float, expected: float) -> float:
    """Where an energy lies between its floor (0) and the mean of random directions (1); NaN when that says nothing."""
    room = expected - floor
    return (energy - floor) / room if math.isfinite(room) and room > 0 else float("nan")


def random_smallest_angle(num_points: int, dim: int) -> float:
    r"""Median of the smallest angle between independent uniform directions, in radians.

    The angle of one pair has the density sin^{D-2}; the K (K - 1) / 2 pairs are taken as independent, which is exact
    for the smallest of many.

    Args:
        num_points: K; NaN below 2.
        dim: D; NaN below 2.

    Example:
        >>> round(math.degrees(random_smallest_angle(2, 3)))
        90
    """
    if num_points < 2 or dim < 2:
        return float("nan")
    pairs = num_points * (num_points - 1) / 2
    share = -math.expm1(math.log(0.5) / pairs)
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
