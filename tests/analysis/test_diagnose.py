# SPDX-License-Identifier: MIT
"""Diagnoses of layers whose answers are known, of broken ones, and of a state dict beside its model."""

from __future__ import annotations

import json
import math

import pytest
import torch
from torch import nn

from hypersphere.analysis import diagnose
from hypersphere.functional import energy_deviation, expected_energy, hyperspherical_energy


def linear(weight: torch.Tensor) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    layer.weight.data = weight
    return layer


def test_a_simplex_is_as_even_as_can_be() -> None:
    simplex = torch.eye(5) - 1 / 5
    (row,) = diagnose(nn.Sequential(linear(simplex)), power=1.0).rows
    assert row.position == pytest.approx(0, abs=1e-5)
    assert row.is_reached
    assert row.smallest_angle == pytest.approx(math.acos(-1 / 4), rel=1e-6)
    assert row.num_deviations is not None
    assert row.num_deviations < -1
    assert (row.num_neurons, row.dim, row.num_groups, row.total) == (5, 5, 1, 5)
    # rows lie in a space of four dimensions, evenly
    assert row.effective_rank == pytest.approx(4, rel=1e-5)
    assert row.norm_spread == pytest.approx(0, abs=1e-6)
    assert row.is_output


@pytest.mark.parametrize("half_space", [False, True])
@pytest.mark.parametrize("distance", ["euclidean", "angular"])
def test_the_references_are_those_of_the_same_energy(half_space: bool, distance: str) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(9, 20)
    settings = {"power": 1.0, "distance": distance, "half_space": half_space}
    (row,) = diagnose(nn.Sequential(layer), **settings).rows
    assert row.energy == pytest.approx(float(hyperspherical_energy(layer.weight.detach(), **settings)), rel=1e-6)
    assert row.expected == pytest.approx(expected_energy(9, num_points=20, **settings))
    assert row.deviation == pytest.approx(energy_deviation(20, 9, **settings))
    assert row.energy is not None
    assert row.expected is not None
    assert row.deviation is not None
    assert row.num_deviations == pytest.approx((row.energy - row.expected) / row.deviation)
    assert row.lowest is not None
    assert row.position == pytest.approx((row.energy - row.lowest) / (row.expected - row.lowest))


def test_random_layers_lie_where_chance_puts_them() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(*[linear(torch.randn(64, 27)) for _ in range(60)])
    places = [row.num_deviations for row in diagnose(model).rows]
    assert all(place is not None for place in places)
    squares = sum(place**2 for place in places if place is not None) / len(places)
    # 60 squares of variance 2: four standard errors
    assert squares == pytest.approx(1.0, abs=4 * math.sqrt(2 / 60))


def test_twins_are_found_and_named() -> None:
    torch.manual_seed(0)
    weight = torch.randn(40, 30)
    weight[7], weight[12], weight[20] = weight[3] * 5, weight[3] + 0.02 * weight[4], -weight[30]
    (row,) = diagnose(nn.Sequential(linear(weight))).rows
    assert row.clusters == [[3, 7, 12]]
    assert (row.near_duplicates, row.near_antipodes, row.num_redundant) == (3, 1, 2)
    assert [(pair.first, pair.second) for pair in row.closest[:3]] == [(3, 7), (3, 12), (7, 12)]
    (lines,) = diagnose(nn.Sequential(linear(weight)), half_space=True).rows
    assert lines.clusters == [[3, 7, 12], [20, 30]]
    (strict,) = diagnose(nn.Sequential(linear(weight)), near_angle=math.radians(1), num_pairs=2).rows
    assert strict.clusters == [[3, 7, 12]] or strict.clusters == [[3, 7]]
    assert len(strict.closest) == 2


def test_where_the_variance_is_infinite_there_is_no_number_of_deviations() -> None:
    (row,) = diagnose(nn.Sequential(nn.Linear(4, 6)), power=2.0).rows
    assert (row.deviation, row.num_deviations) == (None, None)
    assert row.expected == pytest.approx(1.0)
    (row,) = diagnose(nn.Sequential(nn.Linear(3, 6)), power=2.0).rows
    assert (row.expected, row.position) == (None, None)


def test_neurons_without_a_direction_are_counted_and_left_out() -> None:
    torch.manual_seed(0)
    weight = torch.randn(12, 8)
    alive = weight[[0, 2, 4, 6, 8, 9, 10, 11]].clone()
    weight[1] = 0
    weight[3, 2] = math.nan
    weight[5, 0] = math.inf
    weight[7] = 1e-35
    weight[11] = weight[9]
    alive[7] = alive[5]
    (row,) = diagnose(nn.Sequential(linear(weight))).rows
    assert (row.num_neurons, row.num_zero, row.num_not_finite) == (12, 2, 2)
    assert row.energy == pytest.approx(float(hyperspherical_energy(alive)), rel=1e-6)
    assert row.clusters == [[9, 11]]
    assert row.expected == expected_energy(8)


@pytest.mark.parametrize("value", [0.0, math.nan])
def test_a_dead_layer_has_a_row_without_numbers(value: float) -> None:
    (row,) = diagnose(nn.Sequential(linear(torch.full((4, 3), value)))).rows
    assert (row.energy, row.position, row.smallest_angle, row.effective_rank, row.norm_max) == (None,) * 5
    assert (row.num_zero, row.num_not_finite) == ((4, 0) if value == 0 else (0, 4))
    assert row.closest == []


def test_groups_are_measured_apart() -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(4, 12, 3, groups=2)
    with torch.no_grad():
        conv.weight[8] = conv.weight[10]
        # in another group: no twin, since it sees other channels
        conv.weight[1] = conv.weight[9]
    (row,) = diagnose(nn.Sequential(conv)).rows
    parts = [diagnose(nn.Sequential(linear(part.flatten(1)))).rows[0] for part in conv.weight.data.chunk(2)]
    assert (row.num_neurons, row.num_groups, row.total, row.dim) == (6, 2, 12, 18)
    energies = [part.energy for part in parts if part.energy is not None]
    assert row.energy == pytest.approx(sum(energies) / 2)
    assert row.deviation == pytest.approx(energy_deviation(6, 18) / math.sqrt(2))
    assert row.clusters == [[8, 10]]
    assert (row.closest[0].first, row.closest[0].second) == (8, 10)


def test_what_has_no_pair_is_told() -> None:
    found = diagnose(nn.Sequential(nn.Conv2d(4, 4, 3, groups=4), nn.Linear(3, 1), nn.Embedding(9, 3), nn.Linear(2, 2)))
    assert [row.name for row in found.rows] == ["3"]
    assert found.skipped == {
        "0": "has one neuron in each of its 4 groups, and so no pair",
        "1": "has one neuron, and so no pair",
        "2": "is an embedding table, which counts on request only",
    }


def test_a_state_dict_reads_as_its_model_and_tells_the_rule() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(8, 5))
    found, bare = diagnose(model), diagnose(model.state_dict())
    assert found.rule is None
    assert bare.rule is not None
    assert "axis 0 of a weight counts its neurons" in bare.rule
    assert [(row.name, row.energy, row.closest) for row in bare.rows] == [
        (row.name, row.energy, row.closest) for row in found.rows
    ]
    assert [row.is_output for row in found.rows] == [False, True]
    assert not any(row.is_output for row in bare.rows)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_every_precision(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(8, 6).to(dtype)
    (row,) = diagnose(nn.Sequential(layer)).rows
    assert row.energy == pytest.approx(float(hyperspherical_energy(layer.weight.detach())), rel=1e-6)


def test_json_is_strict_and_complete() -> None:
    found = diagnose(nn.Sequential(nn.Linear(3, 6), linear(torch.zeros(3, 3))), power=2.0)

    def refuse(name: str) -> None:
        raise AssertionError(name)

    read = json.loads(found.to_json(), parse_constant=refuse)
    assert (read["power"], read["distance"], read["half_space"], read["rule"]) == (2.0, "euclidean", False, None)
    first = read["rows"][0]
    assert first["expected"] is None
    assert first["closest"][0].keys() == {"first", "second", "angle"}
    assert "angle_counts" not in first
    assert read["rows"][1]["num_zero"] == 3


def test_it_prints_as_a_table() -> None:
    simplex = nn.Linear(3, 4, bias=False)
    simplex.weight.data = torch.tensor([[1.0, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
    printed = str(diagnose(nn.Sequential(simplex, nn.Linear(4, 2)), power=2.0)).splitlines()
    assert printed[0] == "layer  neurons x dim    energy   place      sd  nearest  twins    rank"
    assert printed[1] == "0              4 x 3    0.3750    n/a      n/a    109.5      0     3.0"
    assert len(printed) == 3


def test_nothing_of_the_model_changes() -> None:
    model = nn.Sequential(nn.Linear(4, 3)).train()
    before = model[0].weight.clone()
    diagnose(model)
    assert torch.equal(model[0].weight, before)
    assert model[0].weight.grad is None
    assert model.training


def test_a_large_layer_is_estimated_and_says_so() -> None:
    torch.manual_seed(0)
    (row,) = diagnose(nn.Sequential(nn.Linear(8, 300)), max_pairs=10_000).rows
    assert not row.is_exact


def test_wrong_input_is_explained() -> None:
    with pytest.raises(TypeError, match=r"diagnose: expected a torch\.nn\.Module or a state dict, got Tensor\."):
        diagnose(torch.ones(2, 2))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"diagnose: near_angle must lie in \[0\.001, 1\.57\] radians, got 10\."):
        diagnose(nn.Linear(2, 2), near_angle=10.0)
    with pytest.raises(ValueError, match=r"diagnose: unknown distance 'cosine'"):
        diagnose(nn.Linear(2, 2), distance="cosine")
    with pytest.raises(ValueError, match=r"diagnose: num_pairs must lie in \[1, 64\], got 65"):
        diagnose(nn.Linear(2, 2), num_pairs=65)
