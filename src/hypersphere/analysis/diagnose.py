# SPDX-License-Identifier: MIT
"""What the layers of any model do with their neurons: how even, how redundant, how much of the space they use."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hypersphere.analysis.pairs import NeuronPair, PairMeasure, measure_pairs
from hypersphere.analysis.rank import effective_rank
from hypersphere.analysis.references import energy_floor, position, random_smallest_angle
from hypersphere.analysis.state_dicts import neurons_of_tensors
from hypersphere.checks import check_choice, check_count, check_range
from hypersphere.formulas.directions import unit_rows, working_dtype
from hypersphere.formulas.energies import DISTANCES, PairPotential, Riesz
from hypersphere.functional import energy_deviation, expected_energy
from hypersphere.regularizers import find_neurons
from hypersphere.regularizers.layers import NeuronLayers

__all__ = ["Diagnosis", "LayerDiagnosis", "diagnose"]


@dataclass(frozen=True)
class LayerDiagnosis:
    """One layer; angles in radians, None where a number does not exist.

    Neurons that are zero or not finite have no direction: they are counted, and left out of everything else. In a
    grouped layer the groups are measured apart: energies and ranks are means over them, counts are sums.

    Args:
        name: of the layer in its model.
        is_output: whether it is the classifier; never for a state dict.
        num_neurons: K, in each group.
        dim: D.
        num_groups: groups whose neurons see different inputs.
        energy: mean pair energy.
        expected: the same energy of independent uniform directions; None where it is infinite.
        deviation: standard deviation of that random energy; None where it is infinite.
        lowest: no arrangement has a lower energy; None where no bound is known.
        is_reached: whether some arrangement is known to have the lowest energy.
        position: place between `lowest` (0) and `expected` (1); above 1 is less even than chance.
        num_deviations: (energy - expected) / deviation.
        smallest_angle: of the closest pair; between lines in half space.
        random_angle: the median of that among as many random directions.
        near_duplicates: pairs closer than the threshold.
        near_antipodes: pairs closer than the threshold to opposite.
        closest: pairs at the smallest angles.
        clusters: neurons that hang together by near duplicates, largest cluster first.
        effective_rank: from 1 to min(K, D), of the directions (`analysis.rank.effective_rank`).
        norm_min: smallest length of a neuron.
        norm_median: its median.
        norm_max: its largest.
        norm_spread: standard deviation of the lengths over their mean.
        num_zero: neurons without a direction.
        num_not_finite: neurons with a weight that is NaN or infinite.
        is_exact: False where so many pairs were too many: energy and counts are then estimates.
        angle_counts: (360,) pairs in each half degree.
    """

    name: str
    is_output: bool
    num_neurons: int
    dim: int
    num_groups: int
    energy: float | None
    expected: float | None
    deviation: float | None
    lowest: float | None
    is_reached: bool
    position: float | None
    num_deviations: float | None
    smallest_angle: float | None
    random_angle: float | None
    near_duplicates: int
    near_antipodes: int
    closest: list[NeuronPair]
    clusters: list[list[int]]
    effective_rank: float | None
    norm_min: float | None
    norm_median: float | None
    norm_max: float | None
    norm_spread: float | None
    num_zero: int
    num_not_finite: int
    is_exact: bool
    angle_counts: np.ndarray = field(repr=False, compare=False)

    @property
    def total(self) -> int:
        """Neurons in all groups."""
        return self.num_neurons * self.num_groups

    @property
    def num_redundant(self) -> int:
        """Neurons that could go if each cluster kept one."""
        return sum(len(cluster) - 1 for cluster in self.clusters)


@dataclass(frozen=True)
class Diagnosis:
    """A model, layer by layer.

    Args:
        rows: layers in the order of the model.
        skipped: layer or tensor that was left out -> why.
        rule: how the axes of a state dict were read; None for a model.
        power: exponent of the energy.
        distance: "euclidean" or "angular".
        half_space: whether opposite directions count as neighbours.
        near_angle: threshold of near duplicates and antipodes, radians.
        neurons: weights of each layer as they were read, (K, D) or (G, K, D); no copies.
    """

    rows: list[LayerDiagnosis]
    skipped: dict[str, str]
    rule: str | None
    power: float
    distance: str
    half_space: bool
    near_angle: float
    neurons: dict[str, Tensor] = field(repr=False, compare=False)

    def __str__(self) -> str:
        """A plain table, a line for each layer; `hypersphere diagnose` prints a fuller one."""
        width = max([5, *(len(row.name) for row in self.rows)])
        lines = [f"{'layer':<{width}}  neurons x dim    energy   place      sd  nearest  twins    rank"]
        for row in self.rows:
            size = f"{row.num_neurons} x {row.dim}"
            place = _or_none(row.position, ".0%") + (" " if row.is_reached or row.position is None else "*")
            nearest = _or_none(None if row.smallest_angle is None else math.degrees(row.smallest_angle), ".1f")
            lines.append(
                f"{row.name:<{width}}  {size:>13}  {_or_none(row.energy, '.4f'):>8}  {place:>6}  "
                f"{_or_none(row.num_deviations, '+.1f'):>6}  {nearest:>7}  {row.near_duplicates:>5}  "
                f"{_or_none(row.effective_rank, '.1f'):>6}"
            )
        return "\n".join(lines)

    def to_json(self) -> str:
        """Everything but the weights and the histograms as strict JSON; angles in radians, null where there is none."""
        left_out = ("neurons", "rows", "angle_counts")
        settings = {one.name: getattr(self, one.name) for one in fields(self) if one.name not in left_out}
        rows = [
            {one.name: _plain(getattr(row, one.name)) for one in fields(row) if one.name not in left_out}
            for row in self.rows
        ]
        return json.dumps(settings | {"rows": rows}, indent=2, allow_nan=False, ensure_ascii=False)


def _or_none(value: float | None, form: str) -> str:
    return "n/a" if value is None else format(value, form)


@torch.no_grad()
def diagnose(
    model: nn.Module | Mapping[str, Any],
    *,
    power: float = 0.0,
    distance: str = "euclidean",
    half_space: bool = False,
    near_angle: float = math.radians(10),
    num_pairs: int = 10,
    max_pairs: int = 2**28,
    embeddings: bool = False,
) -> Diagnosis:
    """Look at the neurons of every layer of a model, or of a state dict.

    Args:
        model: any module, read by `regularizers.find_neurons`; or a mapping of names to tensors, which has no layer
            types and is read by a rule that the result tells (`rule`).
        power: exponent s >= 0 of the energy.
        distance: "euclidean" or "angular".
        half_space: look at lines instead of directions: a neuron and its opposite are then redundant.
        near_angle: neurons closer than this are near duplicates, radians in [0.001, pi/2).
        num_pairs: how many of the closest pairs of each layer are listed, 1 to 64.
        max_pairs: pairs of one layer that are looked at. A layer with more (K above 23 000) is estimated from some of
            its neurons against all others, and says so.
        embeddings: whether embedding tables count as layers.

    Returns:
        A row for each layer with two neurons or more, and what was left out.

    Raises:
        TypeError: if `model` is neither a module nor a mapping.
        ValueError: if an option is out of range or a layer is lazy or sharded.

    Edge cases:
        Zero, NaN and infinite neurons are counted and left out. Low precision is measured in float32.

    Source:
        liu2018mhe for the energy, roy2007effective for the rank.

    Example:
        >>> found = diagnose(nn.Linear(3, 2).requires_grad_(False))
        >>> [(row.num_neurons, row.dim, row.near_duplicates) for row in found.rows]
        [(2, 3, 0)]
    """
    check_choice("diagnose", "distance", distance, list(DISTANCES))
    check_range("diagnose", "near_angle", near_angle, low=1e-3, high=1.57, unit="radians")
    check_range("diagnose", "num_pairs", num_pairs, low=1, high=64)
    check_count("diagnose", "max_pairs", max_pairs)
    potential = PairPotential(Riesz(power), distance)
    if isinstance(model, nn.Module):
        found, rule = find_neurons(model, embeddings=embeddings), None
    elif isinstance(model, Mapping):
        found, rule = neurons_of_tensors(model, embeddings=embeddings)
    else:
        raise TypeError(f"diagnose: expected a torch.nn.Module or a state dict, got {type(model).__name__}.")
    rows, skipped, kept = [], dict(found.skipped), {}
    how = {"half_space": half_space, "near_angle": near_angle, "num_pairs": num_pairs, "max_pairs": max_pairs}
    for layer in _with_pairs(found, skipped).layers:
        weight = layer.weight.detach()
        kept[layer.name] = weight
        rows.append(_measure(layer.name, layer.is_output, weight, potential, half_space, how))
    return Diagnosis(rows, skipped, rule, power, distance, half_space, near_angle, kept)


def _with_pairs(found: NeuronLayers, skipped: dict[str, str]) -> NeuronLayers:
    """Layers with two neurons or more in a group; the others are told."""
    kept = []
    for layer in found.layers:
        if layer.weight.shape[-2] >= 2:
            kept.append(layer)
        else:
            each = f" in each of its {len(layer.weight)} groups" if layer.weight.ndim == 3 else ""
            skipped[layer.name] = f"has one neuron{each}, and so no pair"
    return NeuronLayers(kept, skipped)


def _measure(
    name: str, is_output: bool, weight: Tensor, potential: PairPotential, half_space: bool, how: dict[str, Any]
) -> LayerDiagnosis:
    """One row."""
    groups = weight[None] if weight.ndim == 2 else weight
    num_groups, num_neurons, dim = groups.shape
    measured, references, ranks, norms = [], [], [], []
    num_zero = num_not_finite = 0
    for number, group in enumerate(groups):
        group = group.to(working_dtype(group.dtype))
        finite, alive, length = _alive(group)
        num_not_finite += num_neurons - int(finite.sum())
        num_zero += int((finite & ~alive).sum())
        norms.append(length)
        if int(alive.sum()) < 2:
            continue
        place = alive.nonzero().ravel()
        rows = group if len(place) == num_neurons else group[place]
        shift = (place + number * num_neurons).tolist()
        measured.append(_renumbered(measure_pairs(rows, potential, **how), shift))
        references.append(_references(len(place), dim, potential, half_space))
        ranks.append(effective_rank(rows))
    energy = _mean([one.energy for one in measured])
    expected, lowest = (_mean([one[key] for one in references]) for key in ("expected", "lowest"))
    # of a mean over independent groups
    deviation = math.sqrt(sum(one["deviation"] ** 2 for one in references)) / max(1, len(references))
    live = sum(len(part) for part in norms) // num_groups
    return LayerDiagnosis(
        name=name,
        is_output=is_output,
        num_neurons=num_neurons,
        dim=dim,
        num_groups=num_groups,
        energy=_known(energy),
        expected=_known(expected),
        deviation=_known(deviation if measured else math.nan),
        lowest=_known(lowest),
        is_reached=bool(references) and all(one["is_reached"] for one in references),
        position=_known(position(energy, lowest, expected)),
        num_deviations=_known((energy - expected) / deviation if 0 < deviation < math.inf else math.nan),
        smallest_angle=_known(min((one.smallest_angle for one in measured), default=math.nan)),
        random_angle=_known(random_smallest_angle(live, dim, half_space=half_space, num_groups=num_groups)),
        near_duplicates=sum(one.near_duplicates for one in measured),
        near_antipodes=sum(one.near_antipodes for one in measured),
        closest=_closest([pair for one in measured for pair in one.closest], half_space)[: how["num_pairs"]],
        clusters=sorted((part for one in measured for part in one.clusters), key=lambda part: (-len(part), part[0])),
        effective_rank=_known(_mean([math.nan if rank is None else rank for rank in ranks])),
        **_norms(torch.cat(norms)),
        num_zero=num_zero,
        num_not_finite=num_not_finite,
        is_exact=all(one.is_exact for one in measured),
        angle_counts=sum((one.angle_counts for one in measured), np.zeros(360, dtype=np.int64)),
    )


def _alive(group: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Which neurons are finite, which have a direction, and the lengths (float64) of the latter."""
    finite = group.isfinite().all(dim=-1)
    largest = torch.where(finite, group.abs().amax(dim=-1), 0.0)
    # by the rule of the energy itself
    alive = unit_rows(largest[:, None])[1].ravel() > 0
    length = torch.linalg.vector_norm(group[alive], dim=-1, dtype=torch.float64)
    return finite, alive, length


def _norms(length: Tensor) -> dict[str, float | None]:
    """How long the neurons are."""
    if not len(length):
        return dict.fromkeys(("norm_min", "norm_median", "norm_max", "norm_spread"))
    return {
        "norm_min": float(length.min()),
        "norm_median": float(length.median()),
        "norm_max": float(length.max()),
        "norm_spread": float(length.std(correction=0) / length.mean()),
    }


def _renumbered(found: PairMeasure, number: list[int]) -> PairMeasure:
    """The same with the numbers that neurons have in the whole layer."""
    closest = [NeuronPair(number[pair.first], number[pair.second], pair.angle) for pair in found.closest]
    clusters = [[number[member] for member in cluster] for cluster in found.clusters]
    return dataclasses.replace(found, closest=closest, clusters=clusters)


def _closest(pairs: list[NeuronPair], half_space: bool) -> list[NeuronPair]:
    return sorted(pairs, key=lambda pair: min(pair.angle, math.pi - pair.angle) if half_space else pair.angle)


@functools.lru_cache(maxsize=4096)
def _references(num_points: int, dim: int, potential: PairPotential, half_space: bool) -> dict[str, float]:
    """What the energy of so many neurons is held against; infinite or NaN where there is nothing."""
    space: dict[str, Any] = {"power": potential.power, "distance": potential.distance, "half_space": half_space}
    floor = energy_floor(num_points, dim, **space)
    return {
        "expected": expected_energy(dim, num_points=num_points, **space),
        "deviation": energy_deviation(num_points, dim, **space),
        "lowest": floor.value if floor else math.nan,
        "is_reached": bool(floor and floor.is_reached),
    }


def _mean(values: list[float]) -> float:
    """Infinite or NaN as soon as one of the values is."""
    return sum(values) / len(values) if values else math.nan


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return dataclasses.asdict(value) if isinstance(value, NeuronPair) else value
