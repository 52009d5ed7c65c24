# SPDX-License-Identifier: MIT
"""The learning rate as a function of the step, so that a resumed run needs no state but the step."""

from __future__ import annotations

import bisect
import math

from hypersphere.config import ScheduleConfig

__all__ = ["rate_factor"]


def rate_factor(config: ScheduleConfig, step: int, *, total_steps: int, steps_per_epoch: float) -> float:
    """What the base learning rate is multiplied by at a step.

    Args:
        config: name, unit, milestones, warm-up.
        step: of the optimiser, counted from 0.
        total_steps: of the run; what a fraction of unit "run" is taken of.
        steps_per_epoch: what one of unit "epochs" is.

    Returns:
        Factor in [0, 1]: linear during the warm-up (1/n, 2/n, ... for n steps), then constant, multiplied by `factor`
        at each milestone that was reached, or down a half cosine from 1 to `final` at the end.

    Example:
        >>> halves = ScheduleConfig(name="steps", milestones=[0.5], factor=0.1)
        >>> [rate_factor(halves, step, total_steps=4, steps_per_epoch=2) for step in range(4)]
        [1.0, 1.0, 0.1, 0.1]
    """
    unit = {"run": float(total_steps), "epochs": float(steps_per_epoch), "steps": 1.0}[config.unit]
    warmup = config.warmup * unit
    rising = min(1.0, (step + 1) / warmup) if warmup > 0 else 1.0
    if config.name == "steps":
        passed = bisect.bisect_right([round(milestone * unit) for milestone in config.milestones], step)
        return rising * config.factor**passed
    if config.name == "cosine":
        progress = min(1.0, max(0.0, (step - warmup) / max(1.0, total_steps - warmup)))
        return rising * (config.final + (1 - config.final) * (1 + math.cos(math.pi * progress)) / 2)
    return rising
