# SPDX-License-Identifier: MIT
"""Settings of optimiser, schedule and length: a value out of range is told with its name, all of a section at once."""

from __future__ import annotations

import math
from typing import Any

import pytest

from hypersphere.config.optimization import OptimizerConfig, ScheduleConfig, TrainingConfig


@pytest.mark.parametrize(
    ("section", "settings", "message"),
    [
        (OptimizerConfig, {"rate": 0.0}, r"^optimizer: rate must be above 0, got 0\.$"),
        (OptimizerConfig, {"momentum": 1.0}, r"^optimizer: momentum must lie in \[0, 1\), got 1\.$"),
        (OptimizerConfig, {"weight_decay": -1e-4}, r"^optimizer: weight_decay must be 0 or more, got -0\.0001\.$"),
        (
            OptimizerConfig,
            {"bias_rate_factor": 0.0},
            r"^optimizer: bias_rate_factor must be above 0, got 0\.$",
        ),
        (OptimizerConfig, {"project_every": -1}, r"^optimizer: project_every must be 0 or more, got -1\.$"),
        (OptimizerConfig, {"nesterov": True, "momentum": 0.0}, r"^optimizer: nesterov needs a momentum above 0\.$"),
        (ScheduleConfig, {"milestones": [0.5, 0.2]}, r"^schedule: milestones must be increasing and 0 or more, got "),
        (
            ScheduleConfig,
            {"milestones": [3.0]},
            r"fractions of the run with unit 'run', .* Set schedule\.unit to epochs",
        ),
        (ScheduleConfig, {"factor": 0.0}, r"^schedule: factor must lie in \(0, 1\], got 0\.$"),
        (ScheduleConfig, {"unit": "steps", "warmup": -1.0}, r"^schedule: warmup must be 0 or more, got -1\.$"),
        (ScheduleConfig, {"final": 1.5}, r"^schedule: final must lie in \[0, 1\], got 1\.5\.$"),
        (ScheduleConfig, {"name": "steps"}, r"^schedule: name 'steps' needs milestones\.$"),
        (TrainingConfig, {"epochs": 0.0}, r"^training: epochs must be above 0, got 0\.$"),
        (TrainingConfig, {"epochs": math.inf}, r"^training: epochs must be above 0, got inf\.$"),
        (TrainingConfig, {"steps": 0}, r"^training: steps must be 1 or more, got 0\.$"),
        (TrainingConfig, {"batch_size": 0}, r"batch_size must be 1 or more, got 0\."),
        (TrainingConfig, {"accumulate": 0}, r"^training: accumulate must be 1 or more, got 0\.$"),
        (TrainingConfig, {"log_every": 0}, r"^training: log_every must be 1 or more, got 0\.$"),
        (TrainingConfig, {"checkpoint_every": 0}, r"^training: checkpoint_every must be 1 or more, got 0\.$"),
        (TrainingConfig, {"clip": 0.0}, r"^training: clip must be above 0, got 0\.0\.$"),
        (TrainingConfig, {"seed": -1}, r"^training: seed must be 0 or more, got -1\.$"),
        (TrainingConfig, {"threads": 0}, r"^training: threads must be 1 or more, got 0\.$"),
        (TrainingConfig, {"recalibrate": -1}, r"^training: recalibrate must be 0 or more, got -1\.$"),
        (TrainingConfig, {"evaluate_every": 0.0}, r"^training: evaluate_every must be above 0, got 0\.$"),
        (
            TrainingConfig,
            {"accumulate": 9, "batch_size": 8},
            r"^training: accumulate must not exceed batch_size, got 9 and",
        ),
    ],
)
def test_a_value_out_of_range_is_told_with_its_name(section: type, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        section(**settings)


def test_all_that_is_wrong_is_told_together() -> None:
    expected = (
        r"^optimizer: 2 problems:\n  - rate must be above 0, got -1\.\n  - momentum must lie in \[0, 1\), got 2\.$"
    )
    with pytest.raises(ValueError, match=expected):
        OptimizerConfig(rate=-1.0, momentum=2.0)
