# SPDX-License-Identifier: MIT
"""Known minima of hyperspherical energy, to hold a layer or an optimiser against."""

from __future__ import annotations

import math

import torch

from hypersphere.checks import check_choice, check_count
from hypersphere.formulas.configurations import best_known_sum, line_angles, neighbour_angles, polygon_angles
from hypersphere.formulas.energies import DISTANCES, Riesz

__all__ = ["minimum_energy"]


def minimum_energy(
    num_points: int, dim: int, *, power: float = 0.0, distance: str = "euclidean", half_space: bool = False
) -> float | None:
    r"""Smallest known mean pair energy of `num_points` directions in `dim` dimensions, or None.

    Proven for the chord and every power: N <= d + 1 (simplex), d = 2 (polygon), N = 2d (cross-polytope), the
    universally optimal configurations (icosahedron, 600-cell, E8, Leech, ...); in half space N <= d (orthonormal
    frame) and those optima that are symmetric about the origin. Proven for the angle: two points, polygons, and in half
    space N <= d. Best found, not proven: on S^2 the Thomson table (power 1) and powers 0 and 2 for many N up to 50; in
    half space a few N in three and four dimensions for powers 0, 1, 2.

    Args:
        num_points: number N of directions, at least 2 (1 in half space).
        dim: dimension d >= 1 of the space.
        power: exponent s >= 0.
        distance: "euclidean" or "angular".
        half_space: minimise over N lines, the energy being that of their 2N ends.

    Returns:
        Mean over pairs i != j (of the N, or 2N points), as `hyperspherical_energy` reports it. Tabulated values carry
        9 decimals of the sum over pairs. None where no value is known to us: no claim is made.

    Raises:
        ValueError: if num_points or dim is too small, power < 0 or distance is unknown.

    Source:
        cohn2007universally, table 1; wales2006structure; liu2018mhe for half space and N <= d.

    Example:
        >>> round(minimum_energy(4, 3, power=1.0) * 6, 6)
        3.674235
        >>> minimum_energy(7, 5) is None
        True
    """
    smallest = 1 if half_space else 2
    check_count("minimum_energy", "num_points", num_points, low=smallest)
    check_count("minimum_energy", "dim", dim, low=1)
    check_choice("minimum_energy", "distance", distance, list(DISTANCES))
    kernel = Riesz(power)
    angles = _optimum(num_points, dim, distance, half_space)
    if angles is not None:
        angle = torch.tensor(list(angles), dtype=torch.float64)
        count = torch.tensor(list(angles.values()), dtype=torch.float64)
        length = 2 * (angle / 2).sin() if distance == "euclidean" else angle
        return float((count * kernel.value(length)).sum() / count.sum())
    if distance == "angular":
        return None
    total = best_known_sum(num_points, dim, power, half_space)
    points = 2 * num_points if half_space else num_points
    return None if total is None else total / math.comb(points, 2)


def _optimum(num_points: int, dim: int, distance: str, half_space: bool) -> dict[float, int] | None:
    """Angles (with counts) from one point of the optimal configuration, or None when it is unknown."""
    if dim == 1 and num_points > (1 if half_space else 2):
        return None  # more points than the sphere S^0 has
    if distance == "euclidean":
        return line_angles(num_points, dim) if half_space else neighbour_angles(num_points, dim)
    # the angular kernels are no completely monotone functions of the squared chord, so the simplex need not be optimal
    # (at power 0 four points in space prefer the square); on the circle convexity in the angle decides
    if half_space:
        return line_angles(num_points, dim) if num_points <= dim or dim == 2 else None
    if dim == 2:
        return polygon_angles(num_points)
    return {math.pi: 1} if num_points == 2 else None
