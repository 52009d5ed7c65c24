# SPDX-License-Identifier: MIT
"""Neurons of a bare state dict, which has names and shapes but no layer types: an assumed rule, told in words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from hypersphere.regularizers.layers import NeuronLayer, NeuronLayers

__all__ = ["AXIS_RULE", "neurons_of_tensors"]

AXIS_RULE = (
    "A bare state dict has no layer types. Assumed: axis 0 of a weight counts its neurons and the other axes are "
    "flattened, as in Linear and Conv; where a bias beside it fits axis 1 only, axis 1 counts them, as in "
    "ConvTranspose and the Conv1D of some transformers. Filters of grouped convolutions are compared with each other "
    "although they see different channels. The model itself (a torch.nn.Module) needs no rule."
)

_TABLE = re.compile(r"embed|^(wte|wpe|tok|pos)$|_emb$|^(cls|mask|dist|register)_tokens?$", re.IGNORECASE)
_NORM = re.compile(r"norm|^(ln|bn)(_|\d|$)", re.IGNORECASE)
# last part of a name -> what is appended to the layer's name
_ATTENTION = {"q_proj_weight": "query", "k_proj_weight": "key", "v_proj_weight": "value"}
_LEFT_ENDS = (
    ("weight_mask", "is the mask of a pruned weight, read together with it"),
    ("weight_g", "holds the lengths of a weight-normed weight, read together with it"),
    ("original0", "holds the lengths of a weight-normed weight, read together with it"),
)


def neurons_of_tensors(tensors: Mapping[str, Any], *, embeddings: bool = False) -> tuple[NeuronLayers, str]:
    """The neurons of every weight of a state dict by the rule `AXIS_RULE`.

    Args:
        tensors: name -> tensor, as `model.state_dict()` or a safetensors file has them. Weight-normed, pruned and
            spectrally normed weights are put together from their parts.
        embeddings: whether embedding tables count; they are told by their names.

    Returns:
        Layers by name, without the ending `.weight`, and what was left out and why; none counts as the output layer.
        And the rule in words, with the layers that were read by axis 1.

    Raises:
        TypeError: if a name is no string.

    Example:
        >>> found, rule = neurons_of_tensors({"fc.weight": torch.ones(4, 3), "fc.bias": torch.ones(4)})
        >>> [(layer.name, tuple(layer.weight.shape)) for layer in found.layers], found.skipped
        ([('fc', (4, 3))], {'fc.bias': 'is a bias'})
    """
    foreign = next((name for name in tensors if not isinstance(name, str)), None)
    if foreign is not None:
        raise TypeError(f"diagnose: expected a state dict, whose names are strings, got the key {foreign!r}.")
    found, turned = NeuronLayers(), []
    # square matrices, whose bias fits both axes, follow the others
    transposed = _is_transposed(tensors)
    for name, tensor in tensors.items():
        reason = _left_out(name, tensor, tensors, embeddings)
        if reason:
            found.skipped[name] = reason
            continue
        weight = _whole(name, tensor, tensors)
        for layer, part in _parts(name, weight):
            by_axis_1 = _counts_axis_1(name, part, tensors, transposed)
            rows = (part.transpose(0, 1) if by_axis_1 else part).flatten(1)
            turned += [layer] if by_axis_1 else []
            if rows.shape[1] < 2:
                found.skipped[layer] = "its neurons are single numbers, which have no direction"
            elif rows.shape[0] < 2:
                found.skipped[layer] = "has one neuron, and so no pair"
            else:
                found.layers.append(NeuronLayer(layer, rows, False))
    return found, AXIS_RULE + (f" Read by axis 1: {_listed(turned)}." if turned else "")


def _listed(names: list[str], most: int = 4) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _left_out(name: str, tensor: Any, tensors: Mapping[str, Any], embeddings: bool) -> str | None:
    """Why a tensor has no neurons, or None."""
    owner, _, leaf = name.rpartition(".")
    layer = owner.rpartition(".")[2]
    if not isinstance(tensor, Tensor):
        return f"is no tensor but a {type(tensor).__name__}"
    if "bias" in leaf:
        return "is a bias"
    if layer.isdigit() and ".parametrizations." in f".{name}":
        return "is a part of a parametrised weight, read together with it"
    for end, reason in _LEFT_ENDS:
        if leaf == end or (leaf.endswith(end) and end.startswith("weight")):
            return reason
    if tensor.ndim < 2:
        return "is no matrix"
    if not tensor.is_floating_point():
        return f"its weight is of dtype {tensor.dtype}"
    if tensor.numel() == 0:
        return "is empty"
    if _NORM.search(layer):
        return "belongs to a normalisation"
    if not embeddings and any(_TABLE.search(part) for part in (layer if leaf == "weight" else leaf,)):
        return "is an embedding table, which counts on request only"
    if leaf == "original" and f"{owner}.0._u" not in tensors:
        return "is parametrised in a way that the file does not tell"
    if leaf in ("base", "original2"):
        return "is parametrised in a way that the file does not tell"
    return None


def _whole(name: str, tensor: Tensor, tensors: Mapping[str, Any]) -> Tensor:
    """The weight that the layer computes with, up to one factor, from the parts that are stored."""
    for end, other in (("weight_v", "weight_g"), ("original1", "original0")):
        lengths = tensors.get(f"{name.removesuffix(end)}{other}")
        if name.endswith(end) and isinstance(lengths, Tensor) and lengths.ndim == tensor.ndim:
            axes = [axis for axis in range(tensor.ndim) if lengths.shape[axis] == 1]
            size = torch.linalg.vector_norm(tensor, dim=axes, keepdim=True, dtype=torch.float32)
            whole: Tensor = tensor * (lengths / size.clamp_min(1e-30))
            return whole
    mask = tensors.get(f"{name.removesuffix('_orig')}_mask")
    if name.endswith("weight_orig") and isinstance(mask, Tensor) and mask.shape == tensor.shape:
        return tensor * mask
    return tensor


def _parts(name: str, weight: Tensor) -> list[tuple[str, Tensor]]:
    """Layer names and their weights; three for a packed projection of attention."""
    owner, _, leaf = name.rpartition(".")
    prefix = f"{owner}." if owner else ""
    if leaf == "in_proj_weight" and len(weight) % 3 == 0:
        return [
            (f"{prefix}{part}", rows) for part, rows in zip(("query", "key", "value"), weight.chunk(3), strict=True)
        ]
    if leaf in _ATTENTION:
        return [(f"{prefix}{_ATTENTION[leaf]}", weight)]
    if owner.endswith("parametrizations.weight"):
        return [
            (owner.removesuffix(".parametrizations.weight").removesuffix("parametrizations.weight") or name, weight)
        ]
    if leaf in ("weight", "weight_orig", "weight_v") and owner:
        return [(owner, weight)]
    return [(name, weight)]


def _bias_of(name: str, tensors: Mapping[str, Any]) -> Tensor | None:
    owner = name.split(".parametrizations.")[0] if ".parametrizations." in name else name.rpartition(".")[0]
    bias = tensors.get(f"{owner}.bias")
    return bias if isinstance(bias, Tensor) and bias.ndim == 1 else None


def _is_transposed(tensors: Mapping[str, Any]) -> bool:
    """Whether every matrix with a bias that tells counts its neurons by axis 1; square ones then do so too."""
    votes = set()
    for name, tensor in tensors.items():
        bias = _bias_of(name, tensors) if name.endswith(".weight") and isinstance(tensor, Tensor) else None
        if bias is not None and tensor.ndim == 2 and tensor.shape[0] != tensor.shape[1]:
            votes |= {axis for axis in (0, 1) if tensor.shape[axis] == len(bias)}
    return votes == {1}


def _counts_axis_1(name: str, weight: Tensor, tensors: Mapping[str, Any], transposed: bool) -> bool:
    bias = _bias_of(name, tensors)
    if bias is None or weight.ndim < 2 or name.endswith("in_proj_weight"):
        return False
    if weight.shape[0] != weight.shape[1]:
        return len(bias) == weight.shape[1] and len(bias) != weight.shape[0]
    return transposed and weight.ndim == 2 and len(bias) == weight.shape[0]
