# SPDX-License-Identifier: MIT
"""Tests of report.layers."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hypersphere.analysis.references import Floor
from hypersphere.report.layers import add_up, energy_name, read_histories
from hypersphere.report.run import Run


def measured(**more: Any) -> dict[str, Any]:
    return {"energy": -0.4, "smallest_angle": 0.5, "num_neurons": 5, "dim": 3, "expected": -0.2, "minimum": -0.6} | more


def evaluation(step: int, **layers: Any) -> dict[str, Any]:
    return {"kind": "evaluation", "step": step, "split": "test", "layers": layers}


def test_layers_of_a_run_in_the_order_of_the_network(run: Run) -> None:
    layers = read_histories(run)
    assert [layer.name for layer in layers][-2:] == ["model.feature", "head"]
    for layer in layers:
        assert layer.regularized
        assert layer.energy_steps.tolist() == layer.angle_steps.tolist() == list(range(0, 141, 10))
        assert layer.floor is not None
        assert layer.positions[-1] == pytest.approx(0.4 * layer.positions[0])
        assert 0 < layer.random_angle < math.pi
    assert (layers[-1].num_neurons, layers[-1].dim) == (10, 3)


def test_positions() -> None:
    rows = [evaluation(0, head=measured(energy=-0.2)), evaluation(5, head=measured(energy=-0.5))]
    (layer,) = read_histories(Run(Path("run"), evaluations=rows))
    assert layer.positions.tolist() == pytest.approx([1.0, 0.25])
    assert not layer.regularized


def test_layers_that_any_regulariser_pushes_on() -> None:
    rows = [evaluation(0, **{name: measured() for name in ("a", "b", "c", "d")})]
    train = [
        {"step": 1, "terms": {"objective": 1.0, "energy": 1.0, "uniformity": 1.0, "orthogonality": 1.0}}
        | {"energy": {"a": 0.1}, "uniformity": {"a": 0.1, "b": 0.1}, "orthogonality": {"c": 0.1}}
    ]
    config = {"uniformity": {"kind": "separation"}, "orthogonality": {"kind": "restricted_isometry"}}
    layers = read_histories(Run(Path("run"), config=config, train=train, evaluations=rows))
    assert {layer.name: layer.pushed_by for layer in layers} == {
        "a": ("energy", "separation"),
        "b": ("separation",),
        "c": ("restricted isometry penalty",),
        "d": (),
    }
    assert [layer.regularized for layer in layers] == [True, True, True, False]


def test_adding_up() -> None:
    rows = [
        evaluation(0, a=measured(energy=-0.2), b=measured(energy=-0.3), never=measured(energy=None)),
        evaluation(5, a=measured(energy=-0.5), b=measured(energy=None)),
        evaluation(9, a=measured(energy=-0.5), b=measured(energy=-0.7), never=measured(energy=None)),
    ]
    layers = read_histories(Run(Path("run"), evaluations=rows, train=[{"step": 1, "energy": {"b": 1.0}}]))
    total = add_up(layers)
    assert total is not None
    assert total.names == ("a", "b")
    assert total.energy_steps.tolist() == [0, 9]
    assert total.energy.tolist() == pytest.approx([-0.5, -1.2])
    assert total.expected == pytest.approx(-0.4)
    assert total.floor == Floor(-1.2, True)
    assert total.position == pytest.approx(0.0)
    assert total.pushed_by == ("energy",)
    assert total.regularized


def test_a_total_needs_two_layers_and_all_references() -> None:
    one = read_histories(Run(Path("run"), evaluations=[evaluation(0, a=measured())]))
    assert add_up(one) is None
    assert add_up([]) is None
    rows = [evaluation(0, a=measured()), evaluation(3, b=measured())]
    assert add_up(read_histories(Run(Path("run"), evaluations=rows))) is None
    rows = [evaluation(0, a=measured(expected=None), b=measured(minimum=None, num_neurons=50))]
    bounded = add_up(read_histories(Run(Path("run"), evaluations=rows)))
    assert bounded is not None
    assert math.isnan(bounded.expected)
    assert bounded.floor is not None
    assert not bounded.floor.is_reached
    assert math.isnan(bounded.position)
    assert not bounded.regularized


def test_what_is_missing_is_left_out() -> None:
    rows = [
        evaluation(0, head=measured(energy=float("nan"), smallest_angle=None), old=measured()),
        evaluation(5, head=measured(expected=None, minimum=None, num_neurons=50), broken="?"),
        {"kind": "evaluation", "step": 9, "layers": None},
    ]
    found = {layer.name: layer for layer in read_histories(Run(Path("run"), evaluations=rows))}
    assert list(found) == ["head", "broken", "old"]
    assert found["head"].energy_steps.tolist() == [5]
    assert found["head"].angle_steps.tolist() == [5]
    assert np.isnan(found["head"].positions).all()
    assert found["head"].floor is not None
    assert not found["head"].floor.is_reached
    assert len(found["broken"].energy) == 0
    assert found["broken"].floor is None


def test_two_evaluations_of_a_step_count_once() -> None:
    rows = [evaluation(4, head=measured()), evaluation(4, head=measured(energy=-0.3))]
    (layer,) = read_histories(Run(Path("run"), evaluations=rows))
    assert layer.energy.tolist() == [-0.3]


@pytest.mark.parametrize(
    ("monitor", "text"),
    [
        ({}, "mean over pairs i ≠ j of −log |uᵢ − uⱼ|"),
        ({"power": 1.0}, "mean over pairs i ≠ j of 1 / |uᵢ − uⱼ|"),
        ({"power": 2}, "mean over pairs i ≠ j of 1 / |uᵢ − uⱼ|²"),
        ({"power": 2.5, "distance": "angular"}, "mean over pairs i ≠ j of 1 / angle(uᵢ, uⱼ)^2.5"),
        (
            {"half_space": True},
            "mean over pairs i ≠ j of −log |uᵢ − uⱼ|, opposite directions counted as neighbours (half space)",
        ),
    ],
)
def test_the_energy_in_words(monitor: dict[str, Any], text: str) -> None:
    assert energy_name(Run(Path("run"), config={"monitor": monitor})) == text
