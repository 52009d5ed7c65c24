# SPDX-License-Identifier: MIT
"""Whether a run trains on attacked images, and how these are made."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from hypersphere.config.ranges import at_least, require

__all__ = ["AdversaryConfig"]


@dataclass
class AdversaryConfig:
    """The attack that replaces every training image; sizes are in units of pixels of [0, 1], whatever mean and std.

    Args:
        attack: "none", "fgsm" (one step of the whole radius) or "pgd" (several; without a random start it is BIM).
        epsilon: radius of the change, above 0; 8 / 255 is 0.0313725.
        step_size: length of a step of "pgd", above 0; 2 / 255 is 0.00784314.
        steps: of "pgd"; each costs about as much as the training step itself.
        random_start: begin at a random point of the ball.
        norm: "linf" (largest change of a pixel) or "l2" (length of the change of the whole image).
    """

    attack: Literal["none", "fgsm", "pgd"] = "none"
    epsilon: float = 8 / 255
    step_size: float = 2 / 255
    steps: int = 10
    random_start: bool = False
    norm: Literal["linf", "l2"] = "linf"

    def __post_init__(self) -> None:
        pixels = "It is in units of pixels of [0, 1]: eight grey levels are 0.0313725."
        require(
            "adversary",
            {
                f"epsilon must be above 0, got {self.epsilon:g}.": 0 < self.epsilon < math.inf,
                f"epsilon must be 1 or less with norm 'linf', got {self.epsilon:g}. {pixels}": (
                    self.norm != "linf" or self.epsilon <= 1 or self.epsilon == math.inf
                ),
                f"step_size must be above 0, got {self.step_size:g}.": 0 < self.step_size < math.inf,
                **at_least(1, steps=self.steps),
            },
        )

    @property
    def active(self) -> bool:
        """Whether training images are attacked."""
        return self.attack != "none"
