# SPDX-License-Identifier: MIT
"""When training goes wrong: which term became infinite, in which layer, and what to try."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import nn

__all__ = ["Diverged", "explain"]


class Diverged(RuntimeError):  # noqa: N818 - a state of the run, not a mistake in the code
    """The loss is no longer a number; the last checkpoint is from before."""


def explain(
    model: nn.Module, terms: Mapping[str, float], energies: Mapping[str, float], *, step: int, rate: float
) -> str:
    """One sentence that names the term, the layer, and what to try.

    Args:
        model: whose parameters are searched for the first that is not finite.
        terms: each term of the loss.
        energies: the energy of each regularised layer.
        step: at which it happened.
        rate: the learning rate then.
    """
    broken = next((name for name, value in terms.items() if not math.isfinite(value)), "loss")
    where = ""
    layer = next((name for name, value in energies.items() if not math.isfinite(value)), None)
    if layer is not None:
        where = f" in layer {layer!r}"
    found = first_not_finite(model)
    if found is not None:
        cause = f"parameter {found!r} is the first that is not finite"
    elif broken == "objective":
        cause = "all parameters are finite, so it arose between the images and the loss"
    else:
        cause = "all parameters are finite"
    value = terms.get(broken, math.nan)
    return (
        f"training diverged at step {step}: the {broken} term{where} is {value} ({cause}; learning rate {rate:g}). "
        "Lower optimizer.rate, set training.clip, or lengthen schedule.warmup."
    )


def first_not_finite(model: nn.Module) -> str | None:
    """Name of the first parameter or buffer with a value that is not finite, or None."""
    tensors = [*model.named_parameters(), *model.named_buffers()]
    return next((name for name, tensor in tensors if not bool(torch.isfinite(tensor).all())), None)
