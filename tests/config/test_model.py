# SPDX-License-Identifier: MIT
"""Settings of the network: its arguments are a dictionary of its own."""

from __future__ import annotations

from hypersphere.config.model import ModelConfig


def test_arguments_are_not_shared() -> None:
    first, second = ModelConfig(), ModelConfig()
    first.arguments["base_width"] = 16
    assert second.arguments == {}
