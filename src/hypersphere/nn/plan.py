# SPDX-License-Identifier: MIT
"""Which layers of a model a conversion takes, which it leaves, and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.parameter import UninitializedParameter
from torch.nn.utils import parametrize

from hypersphere.checks import check_flag, problems
from hypersphere.formulas.angles import AngleLike
from hypersphere.formulas.magnitudes import MagnitudeLike
from hypersphere.nn.decoupled import (
    DecoupledConv1d,
    DecoupledConv2d,
    DecoupledConv3d,
    DecoupledLayer,
    DecoupledLinear,
)
from hypersphere.nn.reading import reads_weight
from hypersphere.nn.selection import (
    NamePattern,
    Patterns,
    is_head,
    is_quantised,
    name_patterns,
    output_layers,
    unmatched,
)

__all__ = [
    "FORMS",
    "ConversionPlan",
    "Place",
    "PlannedLayer",
    "places_of",
    "plan_conversion",
    "planned",
    "reason_closed",
]

# exactly these types: a subclass may compute something else, or be owned by a module that reads its weight
FORMS: dict[type[nn.Module], type[DecoupledLayer]] = {
    nn.Conv1d: DecoupledConv1d,
    nn.Conv2d: DecoupledConv2d,
    nn.Conv3d: DecoupledConv3d,
    nn.Linear: DecoupledLinear,
}
"""Each layer that has a decoupled form, and that form."""

# modules that keep count of the parameters inside them, or have compiled what those compute
_WRAPPERS = ("DistributedDataParallel", "FullyShardedDataParallel", "OptimizedModule")

_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@dataclass(frozen=True)
class PlannedLayer:
    """What becomes of one layer.

    Args:
        name: of the layer in its model; the model itself goes by the name of its class.
        kind: class of the layer.
        action: "convert" or "keep".
        reason: what it becomes, or why it is kept.
    """

    name: str
    kind: str
    action: str
    reason: str


class ConversionPlan(list[PlannedLayer]):
    """A row for each layer of a model, in the order of its modules; prints as a table.

    Example:
        >>> print(ConversionPlan([PlannedLayer("0", "Conv2d", "convert", "becomes a DecoupledConv2d")]))
        layer  kind    action
        0      Conv2d  convert  becomes a DecoupledConv2d
    """

    def __str__(self) -> str:
        rows = [("layer", "kind", "action", ""), *((row.name, row.kind, row.action, row.reason) for row in self)]
        widths = [max(len(row[column]) for row in rows) for column in range(3)]
        lines = [(*(text.ljust(width) for text, width in zip(row, widths, strict=False)), row[3]) for row in rows]
        return "\n".join("  ".join(line).rstrip() for line in lines)

    __repr__ = __str__


@dataclass
class Place:
    """A module, its names in a model, and all modules around it, nearest first, with the attributes that lead to it."""

    module: nn.Module
    names: list[str]
    holders: list[tuple[nn.Module, tuple[str, ...]]] = field(default_factory=list)


def plan_conversion(
    model: nn.Module,
    *,
    angle: AngleLike = "cosine",
    magnitude: MagnitudeLike = "sphere",
    weighting: str | None = None,
    gain: bool = False,
    eps: float = 1e-4,
    include: Patterns | None = None,
    exclude: Patterns | None = None,
    linear: bool = False,
    output: Patterns | None = None,
) -> ConversionPlan:
    """What `convert` would do to each layer of a model, and why; nothing is changed.

    Args:
        model: any module, or a single layer.
        angle: as for `nn.DecoupledConv2d`; so are the next four.
        magnitude: what the length of a patch does.
        weighting: what the length of a kernel does.
        gain: whether each output channel has a learned factor.
        eps: added inside the square root of the norms.
        include: shell patterns (`*`, `?`, `[abc]`; `*` crosses dots) of layer names. Layers that match are converted,
            1x1 convolutions, linear layers and the output layer among them; all others are kept. None converts the
            convolutions that are neither 1x1 nor the output layer.
        exclude: patterns of layers to keep in any case.
        linear: whether linear layers count too, the output layer aside, where `include` is None.
        output: name or pattern of the output layer, or several; () for a model without one. None finds it: every head
            (`margin_logits` and `weight`, as `nn.MarginHead` has); else what `get_classifier()` or
            `get_output_embeddings()` of the model gives; else the last `Linear`, the projections inside attention
            aside; in a model without one, a convolution that is the last module with parameters.

    Returns:
        A row for each convolution, linear layer and other module with a matrix of its own. Never converted are: a layer
        whose weight is computed (parametrised, weight or spectral norm, pruned), sharded, quantised or not there yet;
        a layer that a module around it reads the weight of without calling it, as attention and
        `nn.TransformerEncoderLayer` do, as far as the source of that module tells; any subclass of torch's layers,
        since it may compute something else; transposed convolutions; neurons that are single numbers, which have no
        direction; and whatever lies in a model that is compiled, scripted or wrapped for several processes.

    Raises:
        TypeError: if the model is no module.
        ValueError: for arguments that a decoupled layer does not take, a pattern that matches no layer, or a name in
            `include` (no pattern) of a layer that cannot be converted.

    Example:
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 1), nn.Flatten(), nn.Linear(8, 4))
        >>> plan_conversion(model)
        layer  kind    action
        0      Conv2d  convert  becomes a DecoupledConv2d
        2      Conv2d  keep     is a convolution of size 1x1, which the published networks leave ordinary
        4      Linear  keep     is the output layer
    """
    options = {"angle": angle, "magnitude": magnitude, "weighting": weighting, "gain": gain, "eps": eps}
    places = places_of("plan_conversion", model)
    rows = planned("plan_conversion", model, places, options, include, exclude, linear, output)
    return ConversionPlan(row for _, row in rows)


def places_of(who: str, model: nn.Module) -> list[Place]:
    """Every module once, in order, with all names that it has."""
    if not isinstance(model, nn.Module):
        raise TypeError(f"{who}: expected a module (torch.nn.Module), got {type(model).__name__}.")
    found: dict[int, Place] = {}
    for name, module, holders in _walk(model, "", ()):
        place = found.setdefault(id(module), Place(module, []))
        place.names.append(name or _kind(module))
        path = name.split(".")
        place.holders += [(holder, tuple(path[depth:])) for depth, holder in enumerate(holders)][::-1]
    return list(found.values())


def _walk(
    module: nn.Module, name: str, holders: tuple[nn.Module, ...]
) -> Iterator[tuple[str, nn.Module, tuple[nn.Module, ...]]]:
    yield name, module, holders
    if reason_closed(module) or any(module is holder for holder in holders):
        return
    for attribute, child in module._modules.items():
        # what computes a weight is no layer
        if child is not None and attribute != "parametrizations":
            yield from _walk(child, f"{name}.{attribute}" if name else attribute, (*holders, module))


def reason_closed(module: nn.Module) -> str | None:
    """Why nothing inside a module may change any more, or None."""
    if isinstance(module, torch.jit.ScriptModule):
        return "is a ScriptModule; do this before it is scripted or traced"
    for kind in type(module).__mro__:
        if kind.__name__ in _WRAPPERS:
            return f"is wrapped as {kind.__name__}; do this before it is wrapped"
    return None


def _kind(module: nn.Module) -> str:
    """Class of a module, without the one that a parametrization makes."""
    return type(module).__mro__[parametrize.is_parametrized(module)].__name__


def planned(
    who: str,
    model: nn.Module,
    places: Sequence[Place],
    options: Mapping[str, Any],
    include: Patterns | None,
    exclude: Patterns | None,
    linear: bool,
    output: Patterns | None,
) -> list[tuple[Place, PlannedLayer]]:
    """The rows of a plan beside the modules that they speak of."""
    check_flag(who, "linear", linear)
    # speaks up for wrong options before anything is looked at
    DecoupledLinear(1, 1, device="meta", **options)
    layers = [place for place in places if _is_layer(place.module)]
    names = [name for place in layers for name in place.names]
    wanted, unwanted, last = (None if given is None else name_patterns(given) for given in (include, exclude, output))
    found: list[str] = []
    for argument, patterns in (("include", wanted), ("exclude", unwanted), ("output", last)):
        found += unmatched(argument, patterns or (), names)
    problems(who, found)
    outputs = _outputs(model, places) if last is None else {id(p.module) for p in layers if _match(last, p)}
    rows = []
    for place in layers:
        refused = _refusal(place)
        if hit := _match(unwanted or (), place):
            reason: str | None = f"matches {hit!r} of exclude"
        elif refused:
            reason = refused
            if any(pattern.text in place.names for pattern in wanted or ()):
                found.append(f"layer {place.names[0]!r} cannot be converted: it {refused}.")
        elif place.module is model:
            reason = None
        elif wanted is not None:
            reason = None if _match(wanted, place) else "matches no pattern of include"
        else:
            reason = _left_ordinary(place.module, linear, outputs)
        action = "keep" if reason else "convert"
        becomes = FORMS.get(type(place.module), nn.Module).__name__
        row = PlannedLayer(place.names[0], _kind(place.module), action, reason or f"becomes a {becomes}")
        rows.append((place, row))
    problems(who, found)
    return rows


def _is_layer(module: nn.Module) -> bool:
    """Whether a plan has a row for this module."""
    if reason_closed(module) or isinstance(module, _ConvNd | nn.Linear) or is_quantised(module):
        return True
    return any(
        not isinstance(parameter, UninitializedParameter) and parameter.ndim >= 2
        for parameter in module.parameters(recurse=False)
    )


def _refusal(place: Place) -> str | None:
    """Why a layer cannot be converted whatever the user wishes, or None."""
    module = place.module
    if reason := reason_closed(module):
        return reason
    if isinstance(module, DecoupledLayer):
        return "is decoupled already"
    for holder, path in place.holders:
        if reads_weight(holder, path):
            return f"is held by {_kind(holder)}, which reads its weight without calling it"
    if isinstance(module, _ConvTransposeNd):
        return "is a transposed convolution, in which no patch meets a kernel"
    if is_quantised(module):
        return "is quantised; convert before that"
    if hasattr(type(module), "margin_logits"):
        return "is a head, which has margins of its own"
    if any(isinstance(parameter, UninitializedParameter) for parameter in module.parameters(recurse=False)):
        return "is lazy and has no weight yet; run one batch through the model first"
    if isinstance(module, _ConvNd | nn.Linear) and module._parameters.get("weight") is None:
        return "has a weight that is computed, by a parametrization, a norm or a mask"
    if type(module) not in FORMS:
        parent = next((kind for kind in type(module).__mro__ if kind in FORMS), None)
        if parent is None:
            return "is of a kind that has no decoupled form"
        return f"is a subclass of torch.nn.{parent.__name__}, which may compute something else"
    if "forward" in vars(module):
        return "has had its forward replaced on the object"
    weight = module._parameters["weight"]
    assert weight is not None
    if type(weight) is not nn.Parameter or weight.dtype not in _DTYPES:
        what = f"of dtype {weight.dtype}" if type(weight) is nn.Parameter else f"a {type(weight).__name__}"
        return f"has a weight that is {what}, not a plain floating-point parameter"
    return "has neurons of single numbers, which have no direction" if weight[0].numel() < 2 else None


def _left_ordinary(module: nn.Module, linear: bool, outputs: set[int]) -> str | None:
    """Why a layer is kept that no pattern speaks of, or None."""
    if id(module) in outputs:
        return "is the output layer"
    if isinstance(module, nn.Linear):
        return None if linear else "is a linear layer; linear=True or a pattern of include converts it"
    assert isinstance(module, _ConvNd)
    if all(size == 1 for size in module.kernel_size):
        size = "x".join("1" * len(module.kernel_size))
        return f"is a convolution of size {size}, which the published networks leave ordinary"
    return None


def _outputs(model: nn.Module, places: Sequence[Place]) -> set[int]:
    """Identities of the output layers, where a model without `Linear` may end in a convolution."""
    modules = [place.module for place in places]
    layers = [
        module
        for module in modules
        if is_head(module) or is_quantised(module) or isinstance(module, _ConvNd | nn.Linear)
    ]
    if found := output_layers([model], layers):
        return found
    trained = [module for module in modules if next(module.parameters(recurse=False), None) is not None]
    return {id(module) for module in trained[-1:] if isinstance(module, _ConvNd)}


def _match(patterns: Sequence[NamePattern], place: Place) -> str | None:
    """The first pattern that matches one of the names of a module, as it was written."""
    return next((pattern.text for pattern in patterns if pattern.matches(*place.names)), None)
