# SPDX-License-Identifier: MIT
"""What makes a loss of features: the margin, and how it changes while training goes on."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal

from hypersphere.config.ranges import at_least, require

__all__ = ["AnnealingConfig", "HeadConfig", "MarginScheduleConfig", "ScaleScheduleConfig"]


@dataclass
class HeadConfig:
    """How features become a loss.

    Args:
        margin: a head of `hypersphere list margins`.
        arguments: of the margin, such as multiplier, angle or cosine; those left out are as published.
        scale: what multiplies the cosines: "default" (as published), "feature", "learned" or a number.
        gradient: "exact", or "detached": backward takes what the margin makes of a cosine for the cosine.
        label_smoothing: share of the target spread over all classes, in [0, 1].
        probability_floor: added to every probability before the logarithm, in [0, 1]; published 1e-4, 0 is plain.
        energy: arguments of `hypersphere.nn.ClassEnergy`, such as weight and power, whose energy of the class vectors
            is added (SphereFace+); empty for none.
        sample_rate: share of the classes that each step meets, all of the batch among them, in (0, 1].
    """

    margin: str = "softmax"
    arguments: dict[str, Any] = field(default_factory=dict)
    scale: float | str = "default"
    gradient: Literal["exact", "detached"] = "exact"
    label_smoothing: float = 0.0
    probability_floor: float = 0.0
    energy: dict[str, Any] = field(default_factory=dict)
    sample_rate: float = 1.0

    def __post_init__(self) -> None:
        require(
            "head",
            {
                f"label_smoothing must lie in [0, 1], got {self.label_smoothing:g}.": 0 <= self.label_smoothing <= 1,
                f"probability_floor must lie in [0, 1], got {self.probability_floor:g}.": (
                    0 <= self.probability_floor <= 1
                ),
                f"sample_rate must lie above 0 and up to 1, got {self.sample_rate:g}.": 0 < self.sample_rate <= 1,
            },
        )


@dataclass
class AnnealingConfig:
    """Lambda, the weight of the logit without a margin: max(minimum, base · (1 + gamma · step)^-power).

    Args:
        base: where it starts, 0 or more; 0 for no annealing. SphereFace 1000.
        gamma: how fast it falls with steps, 0 or more; SphereFace 0.12.
        power: how steeply, 0 or more; SphereFace 1.
        minimum: where it stays, 0 or more; SphereFace 5.
    """

    base: float = 0.0
    gamma: float = 0.12
    power: float = 1.0
    minimum: float = 5.0

    def __post_init__(self) -> None:
        require(
            "annealing",
            at_least(0, base=self.base, gamma=self.gamma, power=self.power, minimum=self.minimum),
        )


@dataclass
class MarginScheduleConfig:
    """An argument of the margin that moves while training goes on, in equal parts.

    Args:
        argument: its name, such as multiplier; empty for none.
        first: its value up to `begin`.
        last: its value from `begin` + `steps` on.
        steps: of the move, 1 or more.
        begin: steps before it, 0 or more.
    """

    argument: str = ""
    first: float = 1.0
    last: float = 1.0
    steps: int = 1
    begin: int = 0

    def __post_init__(self) -> None:
        require(
            "margin_schedule",
            {
                **{
                    f"{name} must be a number, got {value:g}.": math.isfinite(value)
                    for name, value in (("first", self.first), ("last", self.last))
                },
                **at_least(1, steps=self.steps),
                **at_least(0, begin=self.begin),
            },
        )


@dataclass
class ScaleScheduleConfig:
    """A scale that moves while training goes on, in equal parts.

    Args:
        first: its value up to `begin`, above 0; 0 for a scale that stays.
        last: its value from `begin` + `steps` on, above 0.
        steps: of the move, 1 or more.
        begin: steps before it, 0 or more.
    """

    first: float = 0.0
    last: float = 0.0
    steps: int = 1
    begin: int = 0

    def __post_init__(self) -> None:
        require(
            "scale_schedule",
            {
                f"first and last must both be above 0, or both 0, got {self.first:g} and {self.last:g}.": (
                    (self.first > 0 and self.last > 0) or self.first == self.last == 0
                ),
                **at_least(1, steps=self.steps),
                **at_least(0, begin=self.begin),
            },
        )
