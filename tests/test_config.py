# SPDX-License-Identifier: MIT
"""Settings: the defaults make a run, and a value out of range is told with its name, all of a section at once."""

from __future__ import annotations

import dataclasses
import math
import re
from typing import Any

import pytest

from hypersphere import config
from hypersphere.config import Config

SECTIONS: dict[str, type] = {
    name: value.default_factory
    for name, value in Config.__dataclass_fields__.items()
    if callable(value.default_factory)
}


def test_every_setting_has_a_default_of_its_own() -> None:
    first, second = Config(), Config()
    assert first == second
    first.data.keep["cat"] = 0.5
    first.data.mean.append(1.0)
    first.model.arguments["width"] = 8
    assert second == Config()


@pytest.mark.parametrize("section", SECTIONS)
def test_every_setting_is_described(section: str) -> None:
    described = re.findall(r"^    +(\w+): ", SECTIONS[section].__doc__ or "", re.MULTILINE)
    assert described == [field.name for field in dataclasses.fields(SECTIONS[section])]


@pytest.mark.parametrize(
    ("section", "settings", "message"),
    [
        ("data", {"validation": 1.0}, r"^data: validation must lie in \[0, 1\), got 1\.$"),
        ("data", {"padding": -1}, r"^data: padding must be 0 or more, got -1\.$"),
        ("data", {"std": [1.0, 0.0]}, r"^data: every number of std must be above 0, got \[1\.0, 0\.0\]\.$"),
        ("data", {"std": []}, r"^data: every number of std must be above 0, got \[\]\.$"),
        ("data", {"keep": {"cat": 1.5}}, r"^data: every fraction of keep must lie in \[0, 1\], got {'cat': 1\.5}\.$"),
        ("head", {"label_smoothing": 1.1}, r"^head: label_smoothing must lie in \[0, 1\], got 1\.1\.$"),
        ("head", {"probability_floor": -1e-4}, r"^head: probability_floor must lie in \[0, 1\], got -0\.0001\.$"),
        ("energy", {"hidden_weight": -1.0}, r"^energy: hidden_weight must be 0 or more, got -1\.$"),
        ("energy", {"output_weight": -0.5}, r"^energy: output_weight must be 0 or more, got -0\.5\.$"),
        ("energy", {"power": math.inf}, r"^energy: power must be 0 or more, got inf\.$"),
        ("energy", {"eps": -1e-4}, r"^energy: eps must be 0 or more, got -0\.0001\.$"),
        ("compression", {"dim": 1}, r"^compression: dim must be 2 or more, got 1\.$"),
        ("compression", {"num_projections": 0}, r"^compression: num_projections must be 1 or more, got 0\.$"),
        ("compression", {"redraw_every": -2}, r"^compression: redraw_every must be 1 or more, got -2\.$"),
        ("compression", {"redraw_every": 0}, r"^compression: redraw_every must be 1 or more, got 0\.$"),
        ("compression", {"inner_steps": -1}, r"^compression: inner_steps must be 0 or more, got -1\.$"),
        ("compression", {"inner_rate": math.inf}, r"^compression: inner_rate must be 0 or more, got inf\.$"),
        ("uniformity", {"eps": -1e-4}, r"^uniformity: eps must be 0 or more, got -0\.0001\.$"),
        ("uniformity", {"output_weight": -1.0}, r"^uniformity: output_weight must be 0 or more, got -1\.$"),
        (
            "orthogonality",
            {"kind": "orthogonal", "hidden_weight": 0.0},
            r"^orthogonality: one of hidden_weight and output_weight must be above 0\.$",
        ),
        ("optimizer", {"rate": 0.0}, r"^optimizer: rate must be above 0, got 0\.$"),
        ("optimizer", {"momentum": 1.0}, r"^optimizer: momentum must lie in \[0, 1\), got 1\.$"),
        ("optimizer", {"weight_decay": -1e-4}, r"^optimizer: weight_decay must be 0 or more, got -0\.0001\.$"),
        ("optimizer", {"nesterov": True, "momentum": 0.0}, r"^optimizer: nesterov needs a momentum above 0\.$"),
        ("schedule", {"milestones": [0.5, 0.2]}, r"^schedule: milestones must be increasing and 0 or more, got "),
        ("schedule", {"milestones": [3.0]}, r"fractions of the run with unit 'run', .* Set schedule\.unit to epochs"),
        ("schedule", {"factor": 0.0}, r"^schedule: factor must lie in \(0, 1\], got 0\.$"),
        ("schedule", {"unit": "steps", "warmup": -1.0}, r"^schedule: warmup must be 0 or more, got -1\.$"),
        ("schedule", {"final": 1.5}, r"^schedule: final must lie in \[0, 1\], got 1\.5\.$"),
        ("schedule", {"name": "steps"}, r"^schedule: name 'steps' needs milestones\.$"),
        ("training", {"epochs": 0.0}, r"^training: epochs must be above 0, got 0\.$"),
        ("training", {"epochs": math.inf}, r"^training: epochs must be above 0, got inf\.$"),
        ("training", {"steps": 0}, r"^training: steps must be 1 or more, got 0\.$"),
        ("training", {"batch_size": 0}, r"batch_size must be 1 or more, got 0\."),
        ("training", {"accumulate": 0}, r"^training: accumulate must be 1 or more, got 0\.$"),
        ("training", {"log_every": 0}, r"^training: log_every must be 1 or more, got 0\.$"),
        ("training", {"checkpoint_every": 0}, r"^training: checkpoint_every must be 1 or more, got 0\.$"),
        ("training", {"clip": 0.0}, r"^training: clip must be above 0, got 0\.0\.$"),
        ("training", {"seed": -1}, r"^training: seed must be 0 or more, got -1\.$"),
        ("training", {"threads": 0}, r"^training: threads must be 1 or more, got 0\.$"),
        ("training", {"evaluate_every": 0.0}, r"^training: evaluate_every must be above 0, got 0\.$"),
        (
            "training",
            {"accumulate": 9, "batch_size": 8},
            r"^training: accumulate must not exceed batch_size, got 9 and",
        ),
    ],
)
def test_a_value_out_of_range_is_told_with_its_name(section: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SECTIONS[section](**settings)


@pytest.mark.parametrize("section", SECTIONS)
def test_not_a_number_passes_no_range(section: str) -> None:
    # an offset and a monitor are checked by the energy that they describe
    names = [
        field.name
        for field in dataclasses.fields(SECTIONS[section])
        if field.type in ("float", "float | None") and section != "monitor" and field.name != "angle_offset"
    ]
    for name in names:
        with pytest.raises(ValueError, match=rf"(?s){section}: .*{name}"):
            SECTIONS[section](**{name: math.nan})


def test_all_that_is_wrong_is_told_together() -> None:
    expected = (
        r"^optimizer: 2 problems:\n  - rate must be above 0, got -1\.\n  - momentum must lie in \[0, 1\), got 2\.$"
    )
    with pytest.raises(ValueError, match=expected):
        config.OptimizerConfig(rate=-1.0, momentum=2.0)


@pytest.mark.parametrize(
    ("hidden", "output", "active"), [(0.0, 0.0, False), (0.1, 0.0, True), (0.0, 0.1, True), (1.0, 1.0, True)]
)
def test_an_energy_of_weight_zero_is_off(hidden: float, output: float, active: bool) -> None:
    assert config.EnergyConfig(hidden_weight=hidden, output_weight=output).active is active
