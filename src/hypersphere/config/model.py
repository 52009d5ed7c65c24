# SPDX-License-Identifier: MIT
"""Which network a run trains, and what makes a loss of its features."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hypersphere.config.ranges import require

__all__ = ["HeadConfig", "ModelConfig"]


@dataclass
class ModelConfig:
    """Which network makes features of images.

    Args:
        name: a model of `hypersphere list models`.
        arguments: arguments of its class, such as base_width; the shape of the images is filled in.
    """

    name: str = "digits-cnn"
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass
class HeadConfig:
    """How features become a loss.

    Args:
        margin: a head of `hypersphere list margins`.
        scale: what multiplies the cosines: "default" (as published), "feature", "learned" or a number.
        label_smoothing: share of the target spread over all classes, in [0, 1].
        probability_floor: added to every probability before the logarithm, in [0, 1]; published 1e-4, 0 is plain.
    """

    margin: str = "softmax"
    scale: float | str = "default"
    label_smoothing: float = 0.0
    probability_floor: float = 0.0

    def __post_init__(self) -> None:
        require(
            "head",
            {
                f"label_smoothing must lie in [0, 1], got {self.label_smoothing:g}.": 0 <= self.label_smoothing <= 1,
                f"probability_floor must lie in [0, 1], got {self.probability_floor:g}.": (
                    0 <= self.probability_floor <= 1
                ),
            },
        )
