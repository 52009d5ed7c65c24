# SPDX-License-Identifier: MIT
"""Finds the layers of any model that have neurons, from outside: no hooks, nothing written on the model."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from hypersphere.checks import nearest, problems
from hypersphere.nn import MarginHead
from hypersphere.regularizers.neurons import neurons

__all__ = ["NeuronLayer", "NeuronLayers", "find_neurons"]

# modules that hold another one and add nothing to its name: attribute where it lies, by class name
_WRAPPERS = {
    "DistributedDataParallel": "module",
    "DataParallel": "module",
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
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    embeddings: bool = False,
    output: str | None = None,
    trainable_only: bool = False,
) -> NeuronLayers:
    """The neurons of every layer of one or more models.

    Args:
        model: any module; DDP, DataParallel, FSDP and compiled wrappers are looked through.
        more: further modules, such as a head that lies outside the model; their names begin with their class.
        include: patterns (`*`, `?`, `[abc]`) of layer names; none means all.
        exclude: patterns of layer names to leave out.
        embeddings: whether embedding tables count.
        output: name of the output layer. Otherwise it is every `MarginHead`; else what `get_classifier()` or
            `get_output_embeddings()` of the model gives; else its last `Linear`, if it has one.
        trainable_only: leave layers out whose weights are frozen.

    Returns:
        Layers in the order of the modules. A weight that several layers share is counted once, where it is met first.

    Raises:
        ValueError: if a pattern or `output` matches no layer, or a lazy layer has not seen a batch yet.

    Example:
        >>> model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(16, 3))
        >>> [(layer.name, tuple(layer.weight.shape), layer.is_output) for layer in find_neurons(model).layers]
        [('0', (4, 9), False), ('2', (3, 16), True)]
    """
    owners = [
        (name, module)
        for name, module in _named_modules((model, *more))
        if neurons.dispatch(type(module)) is not neurons.dispatch(object)
        and (embeddings or not isinstance(module, nn.Embedding))
    ]
    is_output = _output_test(model, owners, output)
    found, seen = NeuronLayers(), set()
    names: list[str] = []
    for owner, module in owners:
        keys = _parameters_of(module)
        if any(isinstance(parameter, UninitializedParameter) for parameter in keys.values()):
            raise ValueError(f"layer {owner!r} is lazy and has no weight yet. Run one batch through the model first.")
        key = frozenset(map(id, keys.values()))
        for part, weight in neurons(module).items():
            name = f"{owner}.{part}" if part else owner
            names.append(name)
            reason = None
            if (key, part) in seen:
                reason = "shares its weight with a layer that is counted already"
            elif trainable_only and not any(parameter.requires_grad for parameter in keys.values()):
                reason = "its weight is frozen"
            elif weight.shape[-1] < 2:
                reason = "its neurons are single numbers, which have no direction"
            else:
                reason = _left_out(name, include, exclude)
            seen.add((key, part))
            if reason is None:
                found.layers.append(NeuronLayer(name, weight, is_output(owner, module)))
            else:
                found.skipped[name] = reason
    problems("find_neurons", [*_unmatched("include", include, names), *_unmatched("exclude", exclude, names)])
    return found


def _named_modules(roots: Sequence[nn.Module]) -> Iterator[tuple[str, nn.Module]]:
    """Every module once, with its name in the unwrapped model."""
    visited: set[int] = set()
    for number, root in enumerate(roots):
        root = _unwrap(root)
        yield from _walk(root, "" if number == 0 else type(root).__name__, visited)


def _walk(module: nn.Module, prefix: str, visited: set[int]) -> Iterator[tuple[str, nn.Module]]:
    module = _unwrap(module)
    if id(module) in visited:
        return
    visited.add(id(module))
    yield prefix or type(module).__name__, module
    for name, child in module.named_children():
        if name != "parametrizations":
            yield from _walk(child, f"{prefix}.{name}" if prefix else name, visited)


def _unwrap(module: nn.Module) -> nn.Module:
    while type(module).__name__ in _WRAPPERS:
        module = getattr(module, _WRAPPERS[type(module).__name__])
    return module


def _parameters_of(module: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that a layer's weights are made of: its own, and the originals of parametrised ones; no biases."""
    own = dict(module.named_parameters(recurse=False))
    parametrizations = dict(module.named_children()).get("parametrizations")
    if parametrizations is not None:
        own |= dict(parametrizations.named_parameters())
    return {name: parameter for name, parameter in own.items() if "bias" not in name}


def _output_test(
    model: nn.Module, owners: Sequence[tuple[str, nn.Module]], output: str | None
) -> Callable[[str, nn.Module], bool]:
    """Tells whether a layer is the output layer."""
    if output is not None:
        known = [name for name, _ in owners]
        if output not in known:
            guess = nearest(output, known)
            hint = f" (did you mean {guess!r}?)" if guess else ""
            raise ValueError(f"find_neurons: output={output!r} is no layer with neurons{hint}.")
        return lambda name, module: name == output
    if any(isinstance(module, MarginHead) for _, module in owners):
        return lambda name, module: isinstance(module, MarginHead)
    for method in ("get_classifier", "get_output_embeddings"):
        given = getattr(_unwrap(model), method, None)
        classifier = given() if callable(given) else None
        if any(module is classifier for _, module in owners):
            return lambda name, module: module is classifier
    linear = [module for _, module in owners if isinstance(module, nn.Linear)]
    return lambda name, module: bool(linear) and module is linear[-1]


def _left_out(name: str, include: Sequence[str], exclude: Sequence[str]) -> str | None:
    """Why patterns leave a layer out, or None."""
    if include and not any(fnmatch.fnmatchcase(name, pattern) for pattern in include):
        return "matches no pattern of include"
    pattern = next((pattern for pattern in exclude if fnmatch.fnmatchcase(name, pattern)), None)
    return None if pattern is None else f"matches {pattern!r} of exclude"


def _unmatched(argument: str, patterns: Sequence[str], names: Sequence[str]) -> list[str]:
    """A sentence for each pattern that matches nothing."""
    sentences = []
    for pattern in patterns:
        if not any(fnmatch.fnmatchcase(name, pattern) for name in names):
            guess = nearest(pattern, names)
            hint = f" (did you mean {guess!r}?)" if guess else f" among {', '.join(names) or 'none'}"
            sentences.append(f"{argument} pattern {pattern!r} matches no layer{hint}.")
    return sentences
