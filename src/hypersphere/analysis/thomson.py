# SPDX-License-Identifier: MIT
"""Thomson's problem and its relatives: points on a sphere at minimum energy, found by L-BFGS from several starts."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from hypersphere.checks import check_count, check_range
from hypersphere.formulas.arccos import angle_from_cosine
from hypersphere.functional.energy import hyperspherical_energy
from hypersphere.functional.geometry import normalize, pairwise_cosine
from hypersphere.functional.optima import minimum_energy

__all__ = ["Configuration", "thomson"]

# rows whose cosines with all others are held at a time
_ROWS = 1024
# beyond these a start would take days, or the optimiser's memory gigabytes
_MOST_POINTS = 50_000
_MOST_COORDINATES = 4_000_000
# energies of neighbours stay within the range of float64
_LARGEST_POWER = 200.0
# starts that agree to this, relative, ended at the same energy
_SAME = 1e-9
# beyond these one descent takes a minute, and there are too many local minima to find the best by chance
_MANY_POINTS = 300
# a change of the objective in one step at which a quick descent ends
_QUICK = 1e-8
# with the angular distance, points this close to opposite (radians) are tried as exactly opposite
_NEARLY_OPPOSITE = 0.05


@dataclass(frozen=True)
class Configuration:
    """Points on the unit sphere, how good they are, and how they were sought.

    Args:
        points: (N, d) unit rows, float64; in half space one end of each line.
        energy: mean over pairs i != j, as `hyperspherical_energy` reports it.
        sum_over_pairs: sum over i < j, the number of the published tables; over the 2N ends of the lines in half space.
        known: the best known sum over i < j, or None where `minimum_energy` knows none.
        gap: (sum_over_pairs - known) / |known|, or None; negative means better than known.
        smallest_angle: between two points, radians; between two lines in half space.
        residual: largest entry of the gradient of ln(energy) / power (of the energy itself at power 0) at the points,
            dimensionless; 0 at a critical point. It says nothing where points rest on a kink, see `thomson`.
        start: which start won, counted from 0.
        num_agreeing: how many starts ended at this energy, to 1e-9 relative.
        power: exponent of the kernel.
        distance: "euclidean" or "angular".
        half_space: whether lines were spread.
        starts: how many starts there were.
        seed: of the starts.
    """

    points: Tensor
    energy: float
    sum_over_pairs: float
    known: float | None
    gap: float | None
    smallest_angle: float
    residual: float
    start: int
    num_agreeing: int
    power: float
    distance: str
    half_space: bool
    starts: int
    seed: int


def thomson(
    num_points: int,
    dim: int = 3,
    *,
    power: float = 1.0,
    distance: str = "euclidean",
    half_space: bool = False,
    starts: int = 5,
    seed: int = 0,
    max_steps: int = 5000,
    progress: Callable[[int, int, float], None] | None = None,
) -> Configuration:
    """Minimise the hyperspherical energy of free points on S^(d-1): Thomson's problem for power 1 and d = 3.

    Args:
        num_points: N >= 2 (N >= 1 lines in half space), at most 50 000.
        dim: dimension d >= 2 of the space; N·d at most 4 000 000.
        power: exponent s of the kernel, in [0, 200]; 0 is the logarithmic energy, and large powers care for the nearest
            neighbours alone.
        distance: "euclidean" (chord) or "angular" (radians).
        half_space: spread N lines instead of N points.
        starts: random starts, >= 1; the best end is returned. Local minima multiply with N (of 60 points on S^2, half
            of all random configurations end in one that is not the best), so each start is the best of
            1 + N // 12 of them, of 8 at most, and of one alone beyond 300 points.
        seed: of the starts.
        max_steps: L-BFGS iterations of one start, at most.
        progress: called with (start, evaluations, energy) after every evaluation of the energy: starts are counted
            from 0, their evaluations from 1, and the energy is the lowest mean of this start so far.

    Returns:
        The best configuration found. It is a local minimum to rounding; that it is the global one is never proven
        here, only compared with `minimum_energy`.

    Raises:
        ValueError: if a number is out of range, or the distance is unknown.

    Edge cases:
        The angular energy has a kink where two points are opposite, and its minima like to lie there. Pairs that come
        near it are tied together as w and -w, all points are optimised again, and so they are from a start made of
        such pairs alone; the best end counts.

    Source:
        liu2018mhe, sec. 3.1; wales2006structure for the published energies.

    Example:
        >>> found = thomson(12)
        >>> round(found.sum_over_pairs, 6), round(math.degrees(found.smallest_angle), 3)
        (49.165253, 63.435)
    """
    _check(num_points, dim, half_space, starts, seed, max_steps)
    check_range("thomson", "power", power, low=0.0, high=_LARGEST_POWER)
    energy = functools.partial(hyperspherical_energy, power=power, distance=distance, half_space=half_space)
    minimum = minimum_energy(num_points, dim, power=power, distance=distance, half_space=half_space)
    generator = torch.Generator().manual_seed(seed)
    ends: list[float] = []
    best = torch.empty(0)
    for start in range(starts):
        descent = _Descent(energy, power, max_steps, None if progress is None else functools.partial(progress, start))
        drawn = torch.randn(_candidates(num_points), num_points, dim, generator=generator, dtype=torch.float64)
        points = descent.best_of(drawn)
        if distance == "angular" and not half_space:
            points = min(descent.tied(points), descent.paired(drawn[0]), key=lambda end: float(energy(end)))
        ends.append(float(energy(points)))
        if ends[-1] == min(ends):
            best = points
    lowest = min(ends)
    pairs = math.comb(2 * num_points if half_space else num_points, 2)
    known = None if minimum is None else minimum * pairs
    leaf = best.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(_objective(energy(leaf), power), leaf)
    return Configuration(
        points=best,
        energy=lowest,
        sum_over_pairs=lowest * pairs,
        known=known,
        gap=None if known is None else (lowest * pairs - known) / max(abs(known), 1e-12),
        smallest_angle=smallest_angle(best, half_space=half_space),
        residual=float(gradient.abs().max()),
        start=ends.index(lowest),
        num_agreeing=sum(math.isclose(end, lowest, rel_tol=_SAME) for end in ends),
        power=power,
        distance=distance,
        half_space=half_space,
        starts=starts,
        seed=seed,
    )


def _check(num_points: int, dim: int, half_space: bool, starts: int, seed: int, max_steps: int) -> None:
    check_count("thomson", "num_points", num_points, low=1 if half_space else 2)
    check_count("thomson", "dim", dim, low=2)
    check_count("thomson", "starts", starts)
    check_count("thomson", "seed", seed, low=0)
    check_count("thomson", "max_steps", max_steps)
    if num_points > _MOST_POINTS or num_points * dim > _MOST_COORDINATES:
        raise ValueError(
            f"thomson: expected at most {_MOST_POINTS} points and {_MOST_COORDINATES} coordinates (points times "
            f"dimensions), got {num_points} points in {dim} dimensions: that takes days, or gigabytes of memory."
        )


def _objective(energy: Tensor, power: float) -> Tensor:
    """What is descended: the logarithm keeps large powers, whose energies span hundreds of decades, within reach."""
    return energy.log() / power if power > 0 else energy


def _candidates(num_points: int) -> int:
    """Random configurations that one start chooses from: local minima grow in number, and so does their price."""
    return 1 if num_points > _MANY_POINTS else min(1 + num_points // 12, 8)


class _Descent:
    """L-BFGS from one start: of all points, or of pairs of opposite points that move as one."""

    def __init__(
        self,
        energy: Callable[[Tensor], Tensor],
        power: float,
        max_steps: int,
        progress: Callable[[int, float], None] | None,
    ) -> None:
        self._energy, self._power, self._max_steps, self._progress = energy, power, max_steps, progress
        self._evaluations, self._lowest = 0, math.inf

    def best_of(self, candidates: Tensor) -> Tensor:
        """Unit rows where the best of (C, N, d) candidates came to rest, after quick descents told which it is."""
        if len(candidates) > 1:
            quick = [self._run(points, tolerance=_QUICK) for points in candidates]
            return self._run(min(quick, key=lambda points: float(self._energy(points))))
        return self._run(candidates[0])

    def tied(self, points: Tensor) -> Tensor:
        """Points at rest once more, nearly opposite pairs tied together, as long as that lowers the energy."""
        while True:
            again = self._tie(points, *_opposite_pairs(points))
            if float(self._energy(again)) >= float(self._energy(points)):
                return points
            points = again

    def paired(self, points: Tensor) -> Tensor:
        """Unit rows at rest, half of them the opposites of the other half to begin with."""
        first = torch.arange(len(points) // 2)
        paired = self._tie(points, first, first + len(first))
        loose = self.tied(self._run(paired))
        return min(paired, loose, key=lambda end: float(self._energy(end)))

    def _tie(self, points: Tensor, first: Tensor, second: Tensor) -> Tensor:
        """Unit rows at rest when each of `second` is the opposite of its `first`."""
        moves = torch.ones(len(points), dtype=torch.bool)
        moves[second] = False
        # where each point is found among those that move
        place = torch.cumsum(moves, 0) - 1
        place[second] = place[first]
        return self._run(points[moves], place, torch.where(moves, 1.0, -1.0).to(points)[:, None])

    def _run(
        self, points: Tensor, place: Tensor | None = None, sign: Tensor | None = None, *, tolerance: float = 1e-14
    ) -> Tensor:
        """Unit rows at rest: of `points`, or of `sign * points[place]`."""

        def spread(moving: Tensor) -> Tensor:
            return moving if place is None or sign is None else sign * moving[place]

        leaf = normalize(points).requires_grad_()
        optimizer = torch.optim.LBFGS(
            [leaf],
            max_iter=self._max_steps,
            max_eval=2 * self._max_steps,
            history_size=30,
            tolerance_grad=1e-12,
            tolerance_change=tolerance,
            line_search_fn="strong_wolfe",
        )

        def closure() -> Tensor:
            optimizer.zero_grad()
            energy = self._energy(spread(leaf))
            objective = _objective(energy, self._power)
            objective.backward()
            if self._progress is not None:
                self._evaluations, self._lowest = self._evaluations + 1, min(self._lowest, energy.item())
                self._progress(self._evaluations, self._lowest)
            return objective

        optimizer.step(closure)
        return normalize(spread(leaf.detach()))


def _opposite_pairs(points: Tensor) -> tuple[Tensor, Tensor]:
    """Numbers i < j of points that are each other's most distant point, and nearly opposite."""
    farthest = [
        pairwise_cosine(points[start : start + _ROWS], points).min(dim=1) for start in range(0, len(points), _ROWS)
    ]
    cosine = torch.cat([part.values for part in farthest])
    partner = torch.cat([part.indices for part in farthest])
    number = torch.arange(len(points))
    chosen = (partner[partner] == number) & (number < partner) & (cosine < -math.cos(_NEARLY_OPPOSITE))
    return number[chosen], partner[chosen]


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
