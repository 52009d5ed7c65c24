# SPDX-License-Identifier: MIT
"""When training goes wrong: which term became infinite, in which layer, and what to try."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

__all__ = ["Diverged", "explain", "first_not_finite", "first_spoiled_layer"]


class Diverged(RuntimeError):  # noqa: N818 - a state of the run, not a mistake in the code
    """The loss is no longer a number; the last checkpoint is from before."""


def explain(
    model: nn.Module,
    terms: Mapping[str, float],
    layer_terms: Mapping[str, Mapping[str, float]],
    *,
    layer: str | None = None,
    step: int,
    rate: float,
) -> str:
    """Sentences that name the term, the layer, and what to try.

    Args:
        model: whose parameters are searched for the first that is not finite.
        terms: each term of the loss; none if it was not the loss that showed it.
        layer_terms: term -> its value in each layer, for terms that come from layers.
        layer: the first layer whose output was not finite, if that is known.
        step: at which it happened.
        rate: the learning rate then.
    """
    broken = next((name for name, value in terms.items() if not math.isfinite(value)), None)
    parameter = first_not_finite(model)
    if broken is None:
        what = "the last step made a weight infinite or not a number"
    else:
        layers = layer_terms.get(broken, {})
        spoiled = next((name for name, value in layers.items() if not math.isfinite(value)), None)
        where = "" if spoiled is None else f" of layer {spoiled!r}"
        what = f"the {broken} term{where} is {terms[broken]}"
    if parameter is not None:
        cause = f"the first parameter that is not finite is {parameter!r}"
    elif broken == "objective" and layer is not None:
        cause = f"all parameters are finite, the output of layer {layer!r} is the first that is not"
    else:
        cause = "all parameters are finite"
    return (
        f"training diverged at step {step}: {what} ({cause}; learning rate {rate:g}). "
        "Lower optimizer.rate, set training.clip, or lengthen schedule.warmup."
    )


def first_not_finite(model: nn.Module) -> str | None:
    """Name of the first parameter or buffer with a value that is not finite, or None."""
    tensors = [*model.named_parameters(), *model.named_buffers()]
    return next((name for name, tensor in tensors if not bool(torch.isfinite(tensor).all())), None)


@torch.no_grad()
def first_spoiled_layer(model: nn.Module, images: Tensor) -> str | None:
    """Name of the first layer without layers of its own whose output for `images` is not finite, or None."""
    spoiled: list[str] = []

    def look(name: str, output: object) -> None:
        if not spoiled and isinstance(output, Tensor) and not bool(torch.isfinite(output).all()):
            spoiled.append(name)

    leaves = [(name, layer) for name, layer in model.named_modules() if not any(layer.children())]
    hooks = [
        layer.register_forward_hook(lambda _module, _inputs, output, name=name: look(name, output))
        for name, layer in leaves
    ]
    try:
        model(images)
    finally:
        for hook in hooks:
            hook.remove()
    return spoiled[0] if spoiled else None
