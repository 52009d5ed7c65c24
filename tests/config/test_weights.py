# SPDX-License-Identifier: MIT
"""Settings of what is added for the neurons: each value out of range is told with its name, and weight zero is off."""

from __future__ import annotations

import math
from typing import Any

import pytest

from hypersphere.config.weights import CompressionConfig, EnergyConfig, OrthogonalityConfig, UniformityConfig


@pytest.mark.parametrize(
    ("section", "settings", "message"),
    [
        (EnergyConfig, {"hidden_weight": -1.0}, r"^energy: hidden_weight must be 0 or more, got -1\.$"),
        (EnergyConfig, {"output_weight": -0.5}, r"^energy: output_weight must be 0 or more, got -0\.5\.$"),
        (EnergyConfig, {"power": math.inf}, r"^energy: power must be 0 or more, got inf\.$"),
        (EnergyConfig, {"eps": -1e-4}, r"^energy: eps must be 0 or more, got -0\.0001\.$"),
        (CompressionConfig, {"dim": 1}, r"^compression: dim must be 2 or more, got 1\.$"),
        (CompressionConfig, {"num_projections": 0}, r"^compression: num_projections must be 1 or more, got 0\.$"),
        (CompressionConfig, {"redraw_every": -2}, r"^compression: redraw_every must be 1 or more, got -2\.$"),
        (CompressionConfig, {"redraw_every": 0}, r"^compression: redraw_every must be 1 or more, got 0\.$"),
        (CompressionConfig, {"inner_steps": -1}, r"^compression: inner_steps must be 0 or more, got -1\.$"),
        (CompressionConfig, {"inner_rate": math.inf}, r"^compression: inner_rate must be 0 or more, got inf\.$"),
        (UniformityConfig, {"eps": -1e-4}, r"^uniformity: eps must be 0 or more, got -0\.0001\.$"),
        (UniformityConfig, {"output_weight": -1.0}, r"^uniformity: output_weight must be 0 or more, got -1\.$"),
        (
            OrthogonalityConfig,
            {"kind": "orthogonal", "hidden_weight": 0.0},
            r"^orthogonality: one of hidden_weight and output_weight must be above 0\.$",
        ),
    ],
)
def test_a_value_out_of_range_is_told_with_its_name(section: type, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        section(**settings)


@pytest.mark.parametrize(
    ("hidden", "output", "active"), [(0.0, 0.0, False), (0.1, 0.0, True), (0.0, 0.1, True), (1.0, 1.0, True)]
)
def test_an_energy_of_weight_zero_is_off(hidden: float, output: float, active: bool) -> None:
    assert EnergyConfig(hidden_weight=hidden, output_weight=output).active is active
