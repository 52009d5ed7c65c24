# SPDX-License-Identifier: MIT
"""Which network a run trains."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = ["ModelConfig"]


@dataclass
class ModelConfig:
    """Which network makes features of images.

    Args:
        name: a model of `hypersphere list models`.
        arguments: arguments of its class, such as base_width; the shape of the images is filled in.
    """

    name: str = "digits-cnn"
    arguments: dict[str, Any] = field(default_factory=dict)
