# SPDX-License-Identifier: MIT
"""Settings of the head and of what moves in it: each value out of range is told with its name."""

from __future__ import annotations

from typing import Any

import pytest

from hypersphere.config.head import AnnealingConfig, HeadConfig, MarginScheduleConfig, ScaleScheduleConfig


@pytest.mark.parametrize(
    ("section", "settings", "message"),
    [
        (HeadConfig, {"label_smoothing": 1.1}, r"^head: label_smoothing must lie in \[0, 1\], got 1\.1\.$"),
        (HeadConfig, {"probability_floor": -1e-4}, r"^head: probability_floor must lie in \[0, 1\], got -0\.0001\.$"),
        (HeadConfig, {"sample_rate": 0.0}, r"^head: sample_rate must lie above 0 and up to 1, got 0\.$"),
        (AnnealingConfig, {"minimum": -1.0}, r"^annealing: minimum must be 0 or more, got -1\.$"),
        (MarginScheduleConfig, {"steps": 0}, r"^margin_schedule: steps must be 1 or more, got 0\.$"),
        (
            ScaleScheduleConfig,
            {"first": 2.0},
            r"^scale_schedule: first and last must both be above 0, or both 0, got 2",
        ),
        (ScaleScheduleConfig, {"begin": -1}, r"^scale_schedule: begin must be 0 or more, got -1\.$"),
    ],
)
def test_a_value_out_of_range_is_told_with_its_name(section: type, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        section(**settings)
