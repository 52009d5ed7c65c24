# SPDX-License-Identifier: MIT
"""How a function of stacked neurons measures layers: its options by name, small layers of one shape together."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Hashable, Sequence

import torch
from torch import Tensor

from hypersphere.checks import nearest
from hypersphere.regularizers.layers import NeuronLayer

__all__ = ["check_options", "fills_the_device", "in_stacks", "num_groups"]


def check_options(
    who: str, kind: str, function: Callable[..., Tensor], options: Collection[str], *, not_here: Collection[str]
) -> None:
    """Raise unless each of `options` is a keyword of `function`, those aside that the regulariser passes itself."""
    parameters = inspect.signature(function).parameters.values()
    names = [one.name for one in parameters if one.kind is one.KEYWORD_ONLY and one.name not in not_here]
    for option in options:
        if option not in names:
            guess = nearest(option, names)
            hint = f" (did you mean {guess!r}?)" if guess else ""
            raise ValueError(f"{who}: {kind!r} has no option {option!r}: it has {', '.join(names) or 'none'}{hint}.")


def num_groups(layer: NeuronLayer) -> int:
    """Groups of a layer whose neurons see different inputs; 1 for most."""
    return layer.weight.shape[0] if layer.weight.ndim == 3 else 1


def fills_the_device(weight: Tensor) -> bool:
    """Whether the work on one (K, D) matrix outweighs the launches it takes, so that nothing is won by stacking."""
    num_neurons, dim = weight.shape[-2:]
    return num_neurons * dim > 2**15 if weight.device.type == "cpu" else num_neurons > 1024


def in_stacks(
    layers: Sequence[NeuronLayer],
    measure: Callable[[Tensor, list[NeuronLayer]], Tensor],
    alike: Callable[[NeuronLayer], Hashable] = lambda layer: None,
) -> list[Tensor]:
    """What `measure` finds of each layer, small layers of one shape in one call.

    Args:
        layers: any.
        measure: takes the matrices (B, K, D) of some layers, group by group, and these layers; returns (B, ...).
        alike: what layers must have in common besides shape, dtype and device to be measured together.

    Returns:
        For each layer the (G, ...) of its G groups.
    """
    together: dict[Hashable, list[int]] = {}
    for number, layer in enumerate(layers):
        weight = layer.weight
        shape = (*weight.shape, weight.dtype, weight.device, alike(layer))
        together.setdefault(number if fills_the_device(weight) else shape, []).append(number)
    found: dict[int, Tensor] = {}
    for numbers in together.values():
        chosen = [layers[number] for number in numbers]
        matrices = [layer.weight if layer.weight.ndim == 3 else layer.weight[None] for layer in chosen]
        measured = measure(torch.cat(matrices) if len(matrices) > 1 else matrices[0], chosen)
        found.update(zip(numbers, measured.unflatten(0, (len(numbers), -1)).unbind(), strict=True))
    return [found[number] for number in range(len(layers))]
