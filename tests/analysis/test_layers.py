# SPDX-License-Identifier: MIT
"""How the layers of a model are spread: known arrangements, references, groups, and layers too small to measure."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from hypersphere.analysis.layers import measure_layers
from hypersphere.functional import expected_energy, hyperspherical_energy
from hypersphere.models import Classifier
from hypersphere.nn import MarginHead


def linear(rows: list[list[float]]) -> nn.Linear:
    layer = nn.Linear(len(rows[0]), len(rows))
    layer.weight.data = torch.tensor(rows)
    return layer


def test_a_known_arrangement() -> None:
    triangle = linear([[2.0, 0.0], [-0.5, 0.75**0.5], [-1.5, -3 * 0.75**0.5]])
    found = measure_layers(nn.Sequential(triangle), power=2.0)["0"]
    # three directions 120 degrees apart: chords of sqrt(3)
    assert found.energy == pytest.approx(1 / 3, rel=1e-6)
    assert found.minimum == pytest.approx(1 / 3, rel=1e-6)
    assert found.smallest_angle == pytest.approx(2 * math.pi / 3, rel=1e-6)
    assert (found.num_neurons, found.dim) == (3, 2)


@pytest.mark.parametrize("half_space", [False, True])
def test_the_references_are_those_of_the_same_energy(half_space: bool) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(8, 20)
    settings = {"power": 1.0, "distance": "angular", "half_space": half_space}
    found = measure_layers(nn.Sequential(layer), **settings)["0"]
    assert found.energy == pytest.approx(float(hyperspherical_energy(layer.weight.detach(), **settings)))
    assert found.expected == pytest.approx(expected_energy(8, num_points=20, **settings))


def test_an_expectation_that_is_infinite_is_not_there() -> None:
    # on a circle the energy of power 2 diverges
    assert measure_layers(nn.Sequential(nn.Linear(2, 3)), power=2.0)["0"].expected is None


def test_groups_give_their_mean_energy_and_their_smallest_angle() -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(4, 6, 3, groups=2)
    found = measure_layers(nn.Sequential(conv))["0"]
    parts = [measure_layers(nn.Sequential(linear(part.flatten(1).tolist())))["0"] for part in conv.weight.data.chunk(2)]
    assert found.energy == pytest.approx(sum(part.energy for part in parts) / 2, rel=1e-5)
    assert found.smallest_angle == pytest.approx(min(part.smallest_angle for part in parts), rel=1e-5)
    assert (found.num_neurons, found.dim) == (3, 18)


def test_layers_are_measured_where_directions_have_something_to_tell() -> None:
    # one neuron has no pair, and one input no angle between 0 and pi
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.BatchNorm1d(8), nn.Linear(8, 1), nn.Linear(1, 4))
    found = measure_layers(Classifier(model, MarginHead(4, 3)))
    assert list(found) == ["model.1", "head"]


def test_nothing_of_a_gradient_is_kept() -> None:
    layer = nn.Linear(4, 3)
    measure_layers(nn.Sequential(layer))
    assert layer.weight.grad is None
