# SPDX-License-Identifier: MIT
"""Thomson's problem and its relatives: points on a sphere at minimum energy, found by L-BFGS from several starts."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from hypersphere.formulas.angles import angle_from_cosine
from hypersphere.functional.energy import hyperspherical_energy
from hypersphere.functional.geometry import normalize, pairwise_cosine
from hypersphere.functional.optima import minimum_energy

__all__ = ["Configuration", "thomson"]

# rows whose cosines with all others are held at a time
_ROWS = 1024


@dataclass(frozen=True)
class Configuration:
    """Points on the unit sphere and how good they are.

    Args:
        points: (N, d) unit rows, float64; in half space one end of each line.
        energy: mean over pairs i != j, as `hyperspherical_energy` reports it.
        sum_over_pairs: sum over i < j, the number of the published tables; over the 2N ends of the lines in half space.
        known: the best known sum over i < j, or None where `minimum_energy` knows none.
        gap: (sum_over_pairs - known) / |known|, or None; negative means better than known.
        smallest_angle: between two points, radians; between two lines in half space.
        residual: largest entry of the gradient of the mean energy at the points, dimensionless; 0 at a critical point.
        start: which start won, counted from 0.
    """

    points: Tensor
    energy: float
    sum_over_pairs: float
    known: float | None
    gap: float | None
    smallest_angle: float
    residual: float
    start: int


def thomson(
    num_points: int,
    dim: int = 3,
    *,
    power: float = 1.0,
    half_space: bool = False,
    starts: int = 5,
    seed: int = 0,
    max_steps: int = 5000,
    progress: Callable[[int, float], None] | None = None,
) -> Configuration:
    """Minimise the hyperspherical energy of free points on S^(d-1): Thomson's problem for power 1 and d = 3.

    Args:
        num_points: N >= 2 (N >= 1 lines in half space).
        dim: dimension d >= 2 of the space.
        power: exponent s >= 0 of the kernel; 0 is the logarithmic energy.
        half_space: spread N lines instead of N points.
        starts: random starts, >= 1; the best end is returned.
        seed: of the starts.
        max_steps: L-BFGS iterations of one start, at most.
        progress: called with (start, energy) after every start.

    Returns:
        The best configuration found. It is a local minimum to rounding; that it is the global one is never proven
        here, only compared with `minimum_energy`.

    Raises:
        ValueError: if a number is too small.

    Source:
        liu2018mhe, sec. 3.1; wales2006structure for the published energies.

    Example:
        >>> found = thomson(12)
        >>> round(found.sum_over_pairs, 6), round(math.degrees(found.smallest_angle), 3)
        (49.165253, 63.435)
    """
    if dim < 2 or starts < 1 or num_points < (1 if half_space else 2):
        raise ValueError(
            f"thomson: expected num_points >= {1 if half_space else 2}, dim >= 2 and starts >= 1, "
            f"got num_points={num_points}, dim={dim}, starts={starts}."
        )
    generator = torch.Generator().manual_seed(seed)
    best: tuple[float, Tensor, int] | None = None
    for start in range(starts):
        points = torch.randn(num_points, dim, generator=generator, dtype=torch.float64)
        points = _descend(points, power, half_space, max_steps)
        energy = float(hyperspherical_energy(points, power=power, half_space=half_space))
        if best is None or energy < best[0]:
            best = energy, points, start
        if progress is not None:
            progress(start, energy)
    assert best is not None
    return _describe(best[1], best[2], power, half_space)


def _descend(points: Tensor, power: float, half_space: bool, max_steps: int) -> Tensor:
    """Unit rows at the end of one L-BFGS descent."""
    leaf = normalize(points).requires_grad_()
    optimizer = torch.optim.LBFGS(
        [leaf],
        max_iter=max_steps,
        max_eval=2 * max_steps,
        history_size=30,
        tolerance_grad=1e-12,
        tolerance_change=1e-15,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        energy = hyperspherical_energy(leaf, power=power, half_space=half_space)
        energy.backward()
        return energy

    optimizer.step(closure)
    return normalize(leaf.detach())


def _describe(points: Tensor, start: int, power: float, half_space: bool) -> Configuration:
    """Measure unit rows."""
    num_points, dim = points.shape
    leaf = points.clone().requires_grad_()
    energy = hyperspherical_energy(leaf, power=power, half_space=half_space)
    energy.backward()
    ends = 2 * num_points if half_space else num_points
    pairs = math.comb(ends, 2)
    minimum = minimum_energy(num_points, dim, power=power, half_space=half_space)
    known = None if minimum is None else minimum * pairs
    total = energy.item() * pairs
    return Configuration(
        points=points,
        energy=energy.item(),
        sum_over_pairs=total,
        known=known,
        gap=None if known is None else (total - known) / max(abs(known), 1e-12),
        smallest_angle=smallest_angle(points, half_space=half_space),
        residual=float(leaf.grad.abs().max()) if leaf.grad is not None else 0.0,
        start=start,
    )


def smallest_angle(points: Tensor, *, half_space: bool = False) -> float:
    """Smallest angle in radians between two rows, or between the lines through them; pi for a single row.

    1024 rows at a time are held against all others, in float64, so that a head of many classes can be asked too.
    """
    if len(points) < 2:
        return math.pi
    points = points.detach().double()
    nearest = points.new_full((), -1.0)
    for start in range(0, len(points), _ROWS):
        cosine = pairwise_cosine(points[start : start + _ROWS], points)
        if half_space:
            cosine = cosine.abs()
        cosine.diagonal(start).fill_(-1.0)
        nearest = torch.maximum(nearest, cosine.max())
    return float(angle_from_cosine(nearest))
