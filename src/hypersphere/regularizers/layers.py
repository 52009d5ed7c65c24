# SPDX-License-Identifier: MIT
"""Finds the layers of any model that have neurons, from outside: no hooks, nothing written on the model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from hypersphere.checks import problems
from hypersphere.nn.selection import NamePattern, Patterns, name_patterns, output_layers, unmatched
from hypersphere.regularizers.neurons import has_neurons, neurons_in_any_order, rule_for

__all__ = ["NeuronLayer", "NeuronLayers", "find_neurons"]

# modules that hold another one and add nothing to its name: attribute where it lies, by class name
_WRAPPERS = {
    "DistributedDataParallel": "module",
    "DataParallel": "module",
    "AveragedModel": "module",
    "OptimizedModule": "_orig_mod",
    "FullyShardedDataParallel": "_fsdp_wrapped_module",
    "CheckpointWrapper": "_checkpoint_wrapped_module",
}


@dataclass(frozen=True)
class NeuronLayer:
    """Neurons of one layer.

    Args:
        name: of the layer in its model, without the names of wrappers; parts are appended after a dot.
        weight: (K, D), or (G, K, D) for G groups.
        is_output: whether it is the classifier.
    """

    name: str
    weight: Tensor
    is_output: bool


@dataclass(frozen=True)
class NeuronLayers:
    """All layers that were found.

    Args:
        layers: in the order of the model.
        skipped: name of a layer that was left out -> why.
    """

    layers: list[NeuronLayer] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)


def find_neurons(
    model: nn.Module,
    *more: nn.Module,
    include: Patterns = (),
    exclude: Patterns = (),
    embeddings: bool = False,
    output: Patterns | None = None,
    trainable_only: bool = False,
    any_order: bool = False,
) -> NeuronLayers:
    """The neurons of every layer of one or more models.

    Args:
        model: any module; DDP, DataParallel, FSDP and compiled wrappers are looked through.
        more: further modules, such as a head that lies outside the model; their names begin with their class.
        include: patterns (`*`, `?`, `[abc]`; `*` crosses dots) of layer names; none means all.
        exclude: patterns of layer names to leave out.
        embeddings: whether embedding tables count.
        output: name or pattern of the output layer, or several; () for a model without one. None finds it: every head
            (`margin_logits` and `weight`, as `nn.MarginHead` has); else what `get_classifier()` or
            `get_output_embeddings()` of a model gives; else the last `Linear`, the projections inside attention aside.
            Where the last `Linear` makes features instead of classes, say so here.
        trainable_only: leave layers out whose weights are all frozen.
        any_order: whether the coordinates of a neuron may come in the order of memory, which saves a copy of
            `channels_last` filters; no angle depends on it.

    Returns:
        Layers in the order of the modules, with their weights as they are now, under autograd. A weight that several
        layers share is counted once: in the output layer if that is one of them, else where it is met first.

    Raises:
        TypeError: if something else than a module is given.
        ValueError: if a pattern matches no layer, or a layer that is not left out has no weight yet (a lazy one before
            its first batch) or only a shard of it.

    Example:
        >>> model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(16, 3))
        >>> [(layer.name, tuple(layer.weight.shape), layer.is_output) for layer in find_neurons(model).layers]
        [('0', (4, 9), False), ('2', (3, 16), True)]
    """
    for root in (model, *more):
        if not isinstance(root, nn.Module):
            raise TypeError(f"find_neurons: expected modules (torch.nn.Module), got {type(root).__name__}.")
    modules = list(_named_modules((model, *more)))
    owners = [(name, module) for name, module in modules if has_neurons(module)]
    include, exclude = name_patterns(include), name_patterns(exclude)
    outputs = _output_layers((model, *more), owners, None if output is None else name_patterns(output))
    names: list[str] = []
    counted: dict[tuple[object, ...], NeuronLayer] = {}
    skipped = {name: reason for name, module in modules for reason in _no_rule(module)}
    for owner, module in owners:
        keys = _parameters_of(module)
        names.append(owner)
        reason = _not_read(owner, module, keys, exclude, embeddings, trainable_only)
        if reason:
            skipped[owner] = reason
            continue
        rule = neurons_in_any_order if any_order else rule_for(type(module))
        for part, weight in rule(module).items():
            name = f"{owner}.{part}" if part else owner
            names += [name] if part else []
            reason = _left_out(name, owner, include, exclude) or _no_directions(name, weight)
            if reason:
                skipped[name] = reason
                continue
            layer = NeuronLayer(name, weight, id(module) in outputs)
            # a layer without parameters of its own, such as a quantised one, shares nothing
            key = (frozenset(map(id, keys.values())) or name, part)
            first = counted.setdefault(key, layer)
            if layer.is_output and not first.is_output:
                counted[key], layer, first = layer, first, layer
            if first is not layer:
                skipped[layer.name] = f"shares its weight with {first.name!r}"
    found = [*unmatched("include", include, names), *unmatched("exclude", exclude, names)]
    problems("find_neurons", found)
    return NeuronLayers(list(counted.values()), skipped)


def _named_modules(roots: Sequence[nn.Module]) -> Iterator[tuple[str, nn.Module]]:
    """Every module once, with its name in the unwrapped model; no name twice."""
    visited: set[int] = set()
    taken: set[str] = set()
    for number, root in enumerate(roots):
        kind = type(_unwrap(root)).__name__
        for path, module in _walk(root, "" if number == 0 else kind, visited):
            name, count = path or kind, 2
            while name in taken:
                name, count = f"{path or kind} ({count})", count + 1
            taken.add(name)
            yield name, module


def _walk(module: nn.Module, path: str, visited: set[int]) -> Iterator[tuple[str, nn.Module]]:
    module = _unwrap(module)
    if id(module) in visited:
        return
    visited.add(id(module))
    yield path, module
    for name, child in module.named_children():
        # what computes a weight is no layer
        if name != "parametrizations":
            yield from _walk(child, f"{path}.{name}" if path else name, visited)


def _unwrap(module: nn.Module) -> nn.Module:
    while held := next((_WRAPPERS[kind.__name__] for kind in type(module).__mro__ if kind.__name__ in _WRAPPERS), None):
        module = getattr(module, held)
    return module


def _parameters_of(module: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that a layer's weights are made of: its own, and the originals of parametrised ones; no biases."""
    own = dict(module.named_parameters(recurse=False))
    parametrizations = dict(module.named_children()).get("parametrizations")
    if parametrizations is not None:
        own |= dict(parametrizations.named_parameters())
    return {name: parameter for name, parameter in own.items() if "bias" not in name}


def _output_layers(
    roots: Sequence[nn.Module], owners: Sequence[tuple[str, nn.Module]], output: Sequence[NamePattern] | None
) -> set[int]:
    """Identities of the output layers."""
    if output is not None:
        problems("find_neurons", unmatched("output", output, [name for name, _ in owners]))
        return {id(module) for name, module in owners for pattern in output if pattern.matches(name)}
    return output_layers([_unwrap(root) for root in roots], [module for _, module in owners])


def _no_rule(module: nn.Module) -> list[str]:
    """Why a module of an unknown type is left out that has matrices of its own; empty for all others."""
    if has_neurons(module):
        return []
    matrices = [
        name
        for name, parameter in module.named_parameters(recurse=False)
        if not isinstance(parameter, UninitializedParameter) and parameter.squeeze().ndim >= 2
    ]
    listed = ", ".join(matrices)
    return [f"no rule says what the neurons of a {type(module).__name__} are ({listed})"] if matrices else []


def _not_read(
    owner: str,
    module: nn.Module,
    keys: dict[str, nn.Parameter],
    exclude: Sequence[NamePattern],
    embeddings: bool,
    trainable_only: bool,
) -> str | None:
    """Why the weights of a layer are not even asked for, or None."""
    if hit := _matching(exclude, owner):
        return f"matches {hit[0].text!r} of exclude"
    if isinstance(module, nn.Embedding | nn.EmbeddingBag) and not embeddings:
        return "is an embedding table, which counts on request only"
    if trainable_only and not any(parameter.requires_grad for parameter in keys.values()):
        return "its weight is frozen"
    if any(isinstance(parameter, UninitializedParameter) for parameter in keys.values()):
        raise ValueError(
            f"find_neurons: layer {owner!r} is lazy and has no weight yet. Run one batch through the model first."
        )
    return None


def _no_directions(name: str, weight: Tensor) -> str | None:
    """Why the neurons of a layer have no angles between them, or None."""
    if weight.ndim not in (2, 3) or weight.numel() == 0:
        raise ValueError(
            f"find_neurons: expected the neurons of layer {name!r} as (K, D) or (G, K, D), got {tuple(weight.shape)}. "
            "If its weight is sharded over processes, gather it first."
        )
    if not weight.is_floating_point():
        return f"its weight is of dtype {weight.dtype}"
    if weight.shape[-1] < 2:
        return "its neurons are single numbers, which have no direction"
    return None


def _matching(patterns: Sequence[NamePattern], *names: str) -> list[NamePattern]:
    return [pattern for pattern in patterns if pattern.matches(*names)]


def _left_out(name: str, owner: str, include: Sequence[NamePattern], exclude: Sequence[NamePattern]) -> str | None:
    """Why patterns leave a part of a layer out, or None."""
    if include and not _matching(include, name, owner):
        return "matches no pattern of include"
    hit = _matching(exclude, name)
    return f"matches {hit[0].text!r} of exclude" if hit else None
