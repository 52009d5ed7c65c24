# SPDX-License-Identifier: MIT
"""The head of a run: its description, the schedules of its margin, and what is told of it while it trains."""

from __future__ import annotations

import logging
from typing import Any

import torch
from torch import Tensor, nn

from hypersphere.config import Config
from hypersphere.functional.scales import unreachable_margin
from hypersphere.functional.targets import MarginMeasures
from hypersphere.nn import MarginHead
from hypersphere.nn.schedules import LambdaAnnealing, MarginSchedule, ScaleSchedule, Schedule

__all__ = ["MEASURES", "head_schedules", "head_spec", "measured", "told"]

logger = logging.getLogger(__name__)

MEASURES = ("right", "angle", "nearest_angle", "satisfied")
"""What is added up over the samples of a step, in this order."""


def head_spec(config: Config) -> dict[str, Any]:
    """The arguments of the head, as `model.json` has them."""
    head = config.head
    return {
        "margin": {"name": head.margin, **head.arguments} if head.arguments else head.margin,
        "scale": head.scale,
        "gradient": head.gradient,
        "label_smoothing": head.label_smoothing,
        "probability_floor": head.probability_floor,
        "energy": head.energy or None,
        "sample_rate": head.sample_rate,
    }


def head_schedules(config: Config, head: nn.Module) -> dict[str, Schedule]:
    """The schedules that a config asks for, by the names of their sections; warns of a margin that cannot be met.

    Raises:
        ValueError: if the head cannot follow one: it has no margin, no such argument, or no scale that is a number.
    """
    made: dict[str, Schedule] = {}
    if isinstance(head, MarginHead) and min(head.num_classes, head.in_features) > 1:
        warning = unreachable_margin(head.num_classes, head.margin, dim=head.in_features)
        if warning is not None:
            logger.warning(warning)
    annealing, margin, scale = config.annealing, config.margin_schedule, config.scale_schedule
    if annealing.base > 0:
        made["annealing"] = LambdaAnnealing(head, **vars(annealing))
    if margin.argument:
        made["margin_schedule"] = MarginSchedule(head, **vars(margin))
    if scale.first > 0:
        made["scale_schedule"] = ScaleSchedule(head, **vars(scale))
    return made


def measured(measures: MarginMeasures) -> Tensor:
    """Sums over samples of what `MEASURES` names, angles in radians, (4,)."""
    parts = (measures.right, measures.own.acos(), measures.nearest.acos(), measures.satisfied)
    return torch.stack([part.sum(dtype=torch.float32) for part in parts])


def told(head: nn.Module, schedules: dict[str, Schedule]) -> dict[str, float]:
    """What of the head changes by a schedule or by training, for a line of metrics."""
    found = {name: schedule.value(max(1, schedule.last_step)) for name, schedule in schedules.items()}
    if isinstance(head, MarginHead):
        if head.log_scale is not None:
            found["scale"] = float(head.log_scale.detach().exp())
        if head.bias is not None:
            found["bias"] = float(head.bias.detach())
        found |= {name: float(head.get_buffer(name)) for name in head.margin.initial_state()}
    return found
