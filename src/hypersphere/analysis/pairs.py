# SPDX-License-Identifier: MIT
"""All pairs of neurons of one layer in one pass over blocks: energy, angles, near duplicates, who is whose twin."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hypersphere.formulas.directions import full_precision, unit_rows
from hypersphere.formulas.energies import PairPotential, energy_dtype

__all__ = ["ANGLE_BINS", "NeuronPair", "PairMeasure", "measure_pairs"]

ANGLE_BINS = 360
"""Bins of half a degree in which the angles of all pairs are counted."""

# rows and columns of a block: its few million bytes stay in a processor's cache
_BLOCK = 1024
# pairs whose angles are computed again in float64, before the closest of them are named
_CANDIDATES = 64


@dataclass(frozen=True)
class NeuronPair:
    """Two neurons of a layer, by their row numbers, and the angle between them in radians."""

    first: int
    second: int
    angle: float


@dataclass(frozen=True)
class PairMeasure:
    """What the pairs of one layer say.

    Args:
        energy: mean pair energy.
        closest: the pairs at the smallest angle, closest first; in half space the angle of the lines decides.
        smallest_angle: of the closest pair, radians; between lines in half space.
        near_duplicates: pairs closer than the threshold to the same direction.
        near_antipodes: pairs closer than the threshold to opposite directions.
        clusters: neurons that hang together by near duplicates, largest cluster first.
        angle_counts: (360,) pairs whose angle lies in each half degree.
        is_exact: whether all pairs were looked at; else counts are extrapolated and the energy is an estimate.
    """

    energy: float
    closest: list[NeuronPair]
    smallest_angle: float
    near_duplicates: int
    near_antipodes: int
    clusters: list[list[int]]
    angle_counts: np.ndarray
    is_exact: bool


@torch.no_grad()
def measure_pairs(
    weight: Tensor,
    potential: PairPotential,
    *,
    half_space: bool = False,
    near_angle: float = math.radians(10),
    num_pairs: int = 10,
    max_pairs: int = 2**28,
) -> PairMeasure:
    """Look at every pair of neurons once.

    Args:
        weight: (K, D), K >= 2, finite rows that are not zero.
        potential: the energy of a pair.
        half_space: count the opposite of every neuron too: lines instead of directions.
        near_angle: threshold in radians.
        num_pairs: how many of the closest pairs are named, at most 64.
        max_pairs: pairs looked at, at most. Where there are more, some neurons, drawn with a fixed seed, are held
            against all others.

    Returns:
        The measure. Memory: unit rows and a few blocks of 4 MB.
    """
    num_neurons = len(weight)
    rows = _rows_within(num_neurons, max_pairs)
    number = torch.arange(num_neurons, device=weight.device)
    if rows < num_neurons:
        # the drawn neurons come first: the pairs (i, j) with i among them and j > i are then a fair sample
        number = torch.randperm(num_neurons, generator=torch.Generator().manual_seed(0)).to(weight.device)
    unit = weight.new_empty(weight.shape, dtype=energy_dtype(weight.dtype, potential.power))
    for start in range(0, num_neurons, _BLOCK):
        part = number[start : start + _BLOCK]
        unit[start : start + _BLOCK] = unit_rows(weight[part].to(unit.dtype))[0]
    tally = _Tally(unit, potential, half_space, near_angle, max(num_pairs, _CANDIDATES))
    with full_precision(weight.device):
        for first, second, cosine in _blocks(unit, rows):
            tally.add(first, second, cosine)
    return tally.result(weight, number, num_pairs)


def _rows_within(num_neurons: int, max_pairs: int) -> int:
    """How many rows can be held against all rows after them without more than `max_pairs` pairs; at least one."""
    if num_neurons * (num_neurons - 1) // 2 <= max_pairs:
        return num_neurons
    middle = num_neurons - 0.5
    return max(1, int(middle - math.sqrt(middle**2 - 2 * max_pairs)))


def _blocks(unit: Tensor, rows: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Row numbers and cosines of pairs i < j with i < rows, each (n,), or broadcastable where a block is whole."""
    place = torch.arange(len(unit), device=unit.device)
    for start in range(0, rows, _BLOCK):
        stop = min(start + _BLOCK, rows)
        for left in range(start, len(unit), _BLOCK):
            # the columns of the last rows of a sample begin inside of a block
            right = min(left + _BLOCK, len(unit))
            cosine = unit[start:stop] @ unit[left:right].T
            first, second = place[start:stop, None], place[None, left:right]
            if left == start:
                upper = (first < second).nonzero(as_tuple=True)
                yield first[upper[0], 0], second[0, upper[1]], cosine[upper]
            else:
                yield first, second, cosine


class _Tally:
    """What is known after the blocks so far."""

    def __init__(
        self, unit: Tensor, potential: PairPotential, half_space: bool, near_angle: float, candidates: int
    ) -> None:
        self.potential, self.half_space, self.candidates = potential, half_space, candidates
        self.near = math.cos(near_angle)
        self.total = torch.zeros((), dtype=torch.float64, device=unit.device)
        self.num_pairs = 0
        self.duplicates = self.antipodes = 0
        self.best = unit.new_empty(0)
        self.best_pairs = torch.empty(2, 0, dtype=torch.long, device=unit.device)
        self.root = torch.arange(len(unit), device=unit.device)
        self.counts = torch.zeros(ANGLE_BINS, dtype=torch.float64, device=unit.device)

    def add(self, first: Tensor, second: Tensor, cosine: Tensor) -> None:
        """Count the pairs of one block."""
        if not cosine.numel():
            return
        self.num_pairs += cosine.numel()
        self.total += self.potential.value(cosine).sum(dtype=torch.float64)
        if self.half_space:
            self.total += self.potential.value(-cosine).sum(dtype=torch.float64)
        self.counts += torch.histc(cosine.clamp(-1, 1).acos_(), ANGLE_BINS, 0, math.pi)
        similarity = cosine.abs() if self.half_space else cosine
        if float(similarity.max()) > self.near:
            self._join(*(part.expand(cosine.shape)[similarity > self.near] for part in (first, second)))
            self.duplicates += int((cosine > self.near).sum())
        if float(cosine.min()) < -self.near:
            self.antipodes += int((cosine < -self.near).sum())
        full = len(self.best) >= self.candidates
        if not full or float(similarity.max()) > float(self.best[-1]):
            value, at = similarity.ravel().topk(min(self.candidates, similarity.numel()))
            pairs = torch.stack([part.expand(cosine.shape).ravel()[at] for part in (first, second)])
            value, pairs = torch.cat([self.best, value]), torch.cat([self.best_pairs, pairs], dim=1)
            order = value.argsort(descending=True, stable=True)[: self.candidates]
            self.best, self.best_pairs = value[order], pairs[:, order]

    def _join(self, first: Tensor, second: Tensor) -> None:
        """Give the neurons that these pairs link one root, the smallest of their numbers."""
        root = self.root
        while True:
            a, b = root[first], root[second]
            apart = a != b
            if not apart.any():
                return
            low, high = torch.minimum(a, b)[apart], torch.maximum(a, b)[apart]
            root.scatter_reduce_(0, high, low, "amin")
            while not torch.equal(jumped := root[root], root):
                root.copy_(jumped)

    def result(self, weight: Tensor, number: Tensor, num_pairs: int) -> PairMeasure:
        """The measure of all blocks; `number` is the neuron in each row."""
        count = len(weight)
        every = count * (count - 1) // 2
        mean = float(self.total / self.num_pairs)
        if self.half_space:
            opposite = float(self.potential.value(torch.tensor(-1.0, dtype=torch.float64)))
            mean = ((count - 1) * mean + opposite) / (2 * count - 1)
        scale = every / self.num_pairs
        closest = _closest(weight, number[self.best_pairs], self.half_space)
        return PairMeasure(
            energy=mean,
            closest=closest[:num_pairs],
            smallest_angle=_rank(closest[0], self.half_space),
            near_duplicates=round(self.duplicates * scale),
            near_antipodes=round(self.antipodes * scale),
            clusters=_clusters(self.root, number),
            angle_counts=np.rint(self.counts.cpu().numpy() * scale).astype(np.int64),
            is_exact=self.num_pairs == every,
        )


def _closest(weight: Tensor, pairs: Tensor, half_space: bool) -> list[NeuronPair]:
    """Pairs (2, n) with their angles in float64, closest first; lower numbers first where angles are equal."""
    first, second = pairs.amin(dim=0), pairs.amax(dim=0)
    a, b = (unit_rows(weight[part].double())[0] for part in (first, second))
    angle = 2 * torch.atan2((a - b).norm(dim=-1), (a + b).norm(dim=-1))
    found = [NeuronPair(*one) for one in zip(first.tolist(), second.tolist(), angle.tolist(), strict=True)]
    return sorted(found, key=lambda pair: (_rank(pair, half_space), pair.first, pair.second))


def _rank(pair: NeuronPair, half_space: bool) -> float:
    """How far apart two neurons are, as directions or as lines."""
    return min(pair.angle, math.pi - pair.angle) if half_space else pair.angle


def _clusters(root: Tensor, number: Tensor) -> list[list[int]]:
    """Neurons with a common root, where there are two or more of them."""
    groups: dict[int, list[int]] = {}
    size = torch.bincount(root, minlength=len(root))
    linked = (size[root] > 1).nonzero().ravel()
    for key, member in zip(root[linked].tolist(), number[linked].tolist(), strict=True):
        groups.setdefault(key, []).append(member)
    return sorted((sorted(group) for group in groups.values()), key=lambda group: (-len(group), group[0]))
