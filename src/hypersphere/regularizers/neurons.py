# SPDX-License-Identifier: MIT
"""What the neurons of a layer are: one row for each, by the type of the layer.

========================================  ==========================================================================
layer                                     neurons
========================================  ==========================================================================
Linear                                    rows of the weight: one for each output unit
a head: has `margin_logits`, `weight`     rows of the weight: one for each class
Conv1d, Conv2d, Conv3d                    one for each output channel: its filter, flattened
transposed convolutions                   one for each OUTPUT channel: what it adds to the map, over all inputs
grouped convolutions                      as above within each group, since only those filters see the same channels
MultiheadAttention                        rows of the query, key and value projections, three parts; `out_proj` is a
                                          Linear of its own
Embedding, EmbeddingBag                   one for each entry, on request only
========================================  ==========================================================================

Biases and normalisation layers have none. Subclasses follow the rule of their nearest parent. Parametrised, pruned and
weight-normed layers give the weight they compute with, so that gradients reach what is trained. For a layer type of
your own, or one that keeps its weight transposed, register a rule::

    @neurons.register(MyLayer)
    def _(layer: MyLayer) -> dict[str, Tensor]:
        return {"": layer.kernel.T}
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from hypersphere.nn.selection import is_head

__all__ = ["has_neurons", "neurons", "neurons_in_any_order", "rule_for"]


@functools.singledispatch
def neurons(layer: nn.Module) -> dict[str, Tensor]:
    """The neurons that a layer owns itself, those of its submodules left out.

    Args:
        layer: any module.

    Returns:
        Part of the layer ("" where it has only one) -> rows (K, D), or (G, K, D) for G groups whose neurons see
        different inputs. Empty for modules without neurons. Gradients flow to the layer's parameters.

    Example:
        >>> {part: tuple(rows.shape) for part, rows in neurons(nn.Conv2d(4, 6, 3, groups=2)).items()}
        {'': (2, 3, 18)}
    """
    return {"": _weight(layer)} if is_head(layer) else {}


def has_neurons(layer: nn.Module) -> bool:
    """Whether a rule knows this type of layer; no weight is read for the answer."""
    return is_head(layer) or _number_of_rule(type(layer)) != _number_of_rule(object)


def rule_for(kind: type) -> Callable[[Any], dict[str, Tensor]]:
    """What `neurons` calls for a type of layer."""
    return _RULES[_number_of_rule(kind)]


_RULES: list[Callable[[Any], dict[str, Tensor]]] = []


def _number_of_rule(kind: type) -> int:
    """Its place in `_RULES`, a number because that is what compilers can take for granted.

    Tracing through the dispatch, they would guard the weak references in which it remembers types, and compile again,
    or fail, when a type that has nothing to do with the model is gone.
    """
    rule = neurons.dispatch(kind)
    if rule not in _RULES:
        _RULES.append(rule)
    return _RULES.index(rule)


# what torch.compiler.assume_constant_result does, which loads the whole compiler and all it wants on import
_number_of_rule._dynamo_marked_constant = True  # type: ignore[attr-defined]


@neurons.register(nn.Linear)
@neurons.register(nn.Embedding)
@neurons.register(nn.EmbeddingBag)
def _(layer: nn.Module) -> dict[str, Tensor]:
    return {"": _weight(layer)}


@neurons.register(_ConvNd)
def _convolution(layer: _ConvNd) -> dict[str, Tensor]:
    return {"": _filters(_weight(layer), layer.groups)}


@neurons.register(_ConvTransposeNd)
def _(layer: _ConvTransposeNd) -> dict[str, Tensor]:
    # (inputs, outputs / G, ...) with the inputs of a group side by side -> (G, outputs / G, inputs / G, ...)
    weight = _weight(layer).unflatten(0, (layer.groups, -1)).transpose(1, 2).flatten(2)
    return {"": weight[0] if layer.groups == 1 else weight}


@neurons.register(nn.MultiheadAttention)
def _(layer: nn.MultiheadAttention) -> dict[str, Tensor]:
    if layer._qkv_same_embed_dim:
        return dict(zip(("query", "key", "value"), layer.in_proj_weight.chunk(3), strict=True))
    return {"query": layer.q_proj_weight, "key": layer.k_proj_weight, "value": layer.v_proj_weight}


def neurons_in_any_order(layer: nn.Module) -> dict[str, Tensor]:
    """The same neurons, with coordinates in the order of memory where that saves a copy: no angle depends on it.

    A filter in `channels_last` has its channels side by side. Flattening it as `neurons` does copies the weight, and
    its gradient comes in another layout than that of the loss, which makes their sum slow.
    """
    rule = rule_for(type(layer))
    if rule is not _convolution:
        return rule(layer)
    assert isinstance(layer, _ConvNd)
    weight = _weight(layer)
    channels_last = weight.movedim(1, -1)
    return {"": _filters(channels_last if channels_last.is_contiguous() else weight, layer.groups)}


def _filters(weight: Tensor, groups: int) -> Tensor:
    return weight.flatten(1) if groups == 1 else weight.unflatten(0, (groups, -1)).flatten(2)


def _weight(layer: nn.Module) -> Tensor:
    """The weight that the next forward pass will use, where an older hook would compute it only then."""
    for hook in layer._forward_pre_hooks.values():
        if isinstance(hook, WeightNorm) and hook.name == "weight":
            normed: Tensor = hook.compute_weight(layer)
            return normed
        if isinstance(hook, BasePruningMethod) and hook._tensor_name == "weight":
            pruned: Tensor = hook.apply_mask(layer)
            return pruned
        if isinstance(hook, SpectralNorm) and hook.name == "weight":
            # the spectral norm divides by one number, which no direction depends on
            original = layer.weight_orig
            assert isinstance(original, Tensor)
            return original
    found = layer.weight
    assert isinstance(found, Tensor)
    return found
