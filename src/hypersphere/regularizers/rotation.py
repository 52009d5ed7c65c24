# SPDX-License-Identifier: MIT
"""Train a model by rotating the neurons of each layer (OPT, OFT): a constraint that keeps every energy as it is."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.utils import parametrize

from hypersphere.checks import check_choice, check_count, problems
from hypersphere.formulas.directions import working_dtype
from hypersphere.functional.rotations import ROTATIONS
from hypersphere.nn.rotation import Rotation
from hypersphere.nn.selection import Patterns
from hypersphere.regularizers.layers import find_neurons

__all__ = ["RotatedLayers", "merge_rotations", "orthogonality_error", "rotate"]

# a block of this size has 16 million numbers, and O(b³) of a step is seconds
_LARGEST_BLOCK = 4096


@dataclass(frozen=True)
class RotatedLayers:
    """What `rotate` did.

    Args:
        layers: names of the layers whose neurons are rotated now, in the order of the model.
        skipped: name of each layer with neurons that was left as it is, and trains as before -> why.
    """

    layers: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)


def rotate(
    model: nn.Module,
    *,
    method: str = "cayley",
    block_size: int | None = None,
    init: str = "identity",
    include: Patterns = (),
    exclude: Patterns = (),
    output: Patterns | None = None,
    train_output: bool = True,
) -> RotatedLayers:
    r"""Freeze the weights W_0 of a model's layers and learn a rotation of each layer's neurons: W = W_0 R^T.

    Orthogonal over-parameterised training (OPT) is `init="random"` on a freshly initialised model; orthogonal
    fine-tuning (OFT) is `init="identity"` with a `block_size` on a trained one. The energy of every rotated layer stays
    what it was, by construction; `orthogonality_error` says how exactly.

    Args:
        model: changed in place, before its optimiser is made and before it is wrapped (DDP, compile).
        method: a name in `functional.rotations.ROTATIONS`.
        block_size: b, blocks of R along the coordinates of a neuron; None for one block. A layer of fewer coordinates
            than b takes one block; otherwise b must divide them.
        init: "identity" (the model computes what it did) or "random"; see `nn.Rotation`.
        include: patterns of layer names; none means all.
        exclude: patterns of layer names to leave out.
        output: name of the output layer, where it is not found by itself; () for none; see `find_neurons`.
        train_output: leave the output layer free to train, as published; False rotates it like any other.

    Returns:
        Which layers are rotated, and why others are not: they stay trainable, as do biases and normalisation. Linear
        layers and convolutions can be rotated; grouped and transposed convolutions, attention's joint projection,
        other types, weights that several layers share and weights that are computed already are left out. The weights
        W_0 are frozen; the parameters to train are `parametrizations.weight.0.raw` of each layer. `param_groups` lets
        them decay like weights, which pulls "cayley" and "householder" towards R = I and changes nothing but the size
        of later steps for the others.

    Raises:
        ValueError: for an unknown name, a pattern that matches nothing, layers that `block_size` does not divide or
            that need one (more than 4096 coordinates), or a model in which no layer is left to rotate.

    Source:
        liu2021opt, qiu2023oft.

    Example:
        >>> model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
        >>> rotate(model, block_size=2).layers
        ['0']
        >>> [name for name, parameter in model.named_parameters() if parameter.requires_grad]
        ['0.bias', '0.parametrizations.weight.0.raw', '2.weight', '2.bias']
    """
    check_choice("rotate", "method", method, list(ROTATIONS))
    check_choice("rotate", "init", init, ("identity", "random"))
    if block_size is not None:
        check_count("rotate", "block_size", block_size)
    found = find_neurons(model, include=include, exclude=exclude, output=output)
    # named as `find_neurons` does it
    modules = {name or type(model).__name__: module for name, module in model.named_modules()}
    uses = Counter(
        id(tensor) for module in modules.values() for tensor in module._parameters.values() if tensor is not None
    )
    result = RotatedLayers(skipped=dict(found.skipped))
    chosen: dict[str, nn.Module] = {}
    for layer in found.layers:
        module = modules.get(layer.name)
        reason = _reason_not(module, uses)
        if module is None and layer.name.rpartition(".")[0] not in modules:
            reason = "lies in a wrapper; rotate the model before it is wrapped"
        if reason is None and layer.is_output and train_output:
            reason = "is the output layer, which trains freely (train_output=False rotates it)"
        if reason is None and module is not None:
            chosen[layer.name] = module
        else:
            result.skipped[layer.name] = reason or ""
    if not chosen:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in result.skipped.items())
        raise ValueError(
            f"rotate: no layer of {type(model).__name__} is left to rotate"
            f" ({reasons or 'it has no layer with neurons'})."
        )
    blocks = {name: min(_weight(module)[0].numel(), block_size or 2**62) for name, module in chosen.items()}
    problems("rotate", [text for name, module in chosen.items() if (text := _misfit(name, module, blocks[name]))])
    for name, module in chosen.items():
        weight = _weight(module)
        rotation = Rotation(
            weight[0].numel(),
            method=method,
            block_size=blocks[name],
            init=init,
            device=weight.device,
            dtype=working_dtype(weight.dtype),
        )
        weight.requires_grad_(False)
        parametrize.register_parametrization(module, "weight", rotation)
        result.layers.append(name)
    return result


@torch.no_grad()
def merge_rotations(model: nn.Module) -> list[str]:
    """Fold every rotation into plain weights: the inverse of `rotate`, with the same outputs.

    Args:
        model: changed in place; parameters and the state dict have the names they had before `rotate`, and the folded
            weights can be trained again. Optimisers made before hold parameters that are gone.

    Returns:
        Names of the layers that were rotated; none is no error.

    Raises:
        ValueError: if another parametrization was registered on top of a rotation.

    Example:
        >>> model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
        >>> _ = rotate(model, init="random")
        >>> merge_rotations(model), list(model.state_dict())
        (['0'], ['0.weight', '0.bias', '2.weight', '2.bias'])
    """
    found = _rotations(model)
    modules = _named_modules(model)
    problems(
        "merge_rotations",
        [
            f"layer {name!r} has parametrizations of its weight besides the rotation; remove those first."
            for name in found
            if len(_steps(modules[name])) > 1
        ],
    )
    for name in found:
        module = modules[name]
        parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)
        _weight(module).requires_grad_(True)
        # registered anew, it stands behind the bias
        module._parameters = {"weight": module._parameters.pop("weight"), **module._parameters}
    return list(found)


def orthogonality_error(model: nn.Module) -> dict[str, float]:
    """How far each rotation of a model is from orthogonal: name of the layer -> largest entry of |R R^T - I|.

    Example:
        >>> model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
        >>> _ = rotate(model)
        >>> orthogonality_error(model)
        {'0': 0.0}
    """
    return {name: rotation.orthogonality_error() for name, rotation in _rotations(model).items()}


def _rotations(model: nn.Module) -> dict[str, Rotation]:
    """Name of each rotated layer -> its rotation."""
    return {
        name: step
        for name, module in _named_modules(model).items()
        if parametrize.is_parametrized(module, "weight")
        for step in _steps(module)
        if isinstance(step, Rotation)
    }


def _steps(module: nn.Module) -> list[nn.Module]:
    """What computes the weight of a parametrised layer, in order."""
    held = module.parametrizations
    assert isinstance(held, nn.ModuleDict)
    steps = held["weight"]
    assert isinstance(steps, parametrize.ParametrizationList)
    return list(steps)


def _named_modules(model: nn.Module) -> dict[str, nn.Module]:
    """Every module by its name, the model itself by that of its class, without the one that a parametrization makes."""
    kind = type(model).__mro__[parametrize.is_parametrized(model)].__name__
    return {name or kind: module for name, module in model.named_modules()}


def _weight(module: nn.Module) -> Tensor:
    weight = module._parameters["weight"]
    assert weight is not None
    return weight


def _reason_not(module: nn.Module | None, uses: Counter[int]) -> str | None:
    """Why the neurons of a layer cannot be rotated, or None."""
    if isinstance(module, _ConvTransposeNd):
        return "is a transposed convolution, whose weight has no row for each neuron"
    if isinstance(module, _ConvNd) and module.groups > 1:
        return f"is a convolution in {module.groups} groups, whose neurons lie in different spaces"
    if not isinstance(module, nn.Linear | _ConvNd):
        return "is no linear layer or convolution of its own"
    weight = module._parameters.get("weight")
    if weight is None:
        return "its weight is computed already, by a parametrization or a hook"
    if uses[id(weight)] > 1:
        return "shares its weight with another layer"
    return None


def _misfit(name: str, module: nn.Module, block: int) -> str | None:
    """What is wrong with the size of a block for a layer, or None."""
    dim = _weight(module)[0].numel()
    if block > _LARGEST_BLOCK:
        divisor = max(size for size in range(1, 257) if dim % size == 0)
        return (
            f"layer {name!r} has neurons of {dim} numbers, and R would be a matrix of {block}²; "
            f"give a block_size of at most {_LARGEST_BLOCK}, such as {divisor}, or exclude the layer."
        )
    if dim % block:
        divisor = max(size for size in range(1, block) if dim % size == 0)
        return (
            f"block_size={block} does not divide the {dim} numbers of a neuron of layer {name!r}; "
            f"take a divisor, such as {divisor}, or exclude the layer."
        )
    return None
