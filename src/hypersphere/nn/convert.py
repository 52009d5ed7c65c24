# SPDX-License-Identifier: MIT
"""Turns the convolutions of any model into decoupled ones, in place and with their weights, and back."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, TypeVar

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils import parametrize

from hypersphere.checks import problems
from hypersphere.formulas.angles import AngleLike
from hypersphere.formulas.magnitudes import MagnitudeLike
from hypersphere.nn.decoupled import DecoupledLayer
from hypersphere.nn.plan import FORMS, places_of, planned, reason_closed
from hypersphere.nn.selection import Patterns

__all__ = ["convert", "revert"]

Model = TypeVar("Model", bound=nn.Module)


def convert(
    model: Model,
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
) -> Model:
    """Make the convolutions of a model decoupled ones, in place; `plan_conversion` says which, with the same arguments.

    Weights and biases stay the very same parameters, so that optimisers, tied weights, names in the state dict,
    `requires_grad`, devices, dtypes and memory formats are kept; the layers stay the same objects, so that hooks and
    other references to them are. What is computed changes, with one exception: angle "cosine", magnitude "linear" and
    weighting "linear" together are the ordinary convolution.

    Args:
        model: any module, changed in place; a single layer is converted whatever its kind. Convert before the model is
            compiled or wrapped for several processes, and before its optimiser is made if something new is learned:
            `gain`, a learnable k, radius or exponent. What is new of a frozen layer is frozen too.
        angle: see `plan_conversion`, as for all arguments.
        magnitude: what the length of a patch does.
        weighting: what the length of a kernel does.
        gain: whether each output channel has a learned factor.
        eps: added inside the square root of the norms.
        include: patterns of the layers to convert.
        exclude: patterns of layers to keep.
        linear: whether linear layers count.
        output: name or pattern of the output layer.

    Returns:
        The same model.

    Raises:
        TypeError: if the model is no module.
        ValueError: as `plan_conversion`; or if no layer is left to convert, with the reason for each.

    Source:
        liu2017spherenet and liu2018decoupled convert all convolutions but the classifier and 1x1 shortcuts; starting
        from an ordinary network with the same kernels is the "pretraining" of the latter.

    Example:
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 4))
        >>> kernel = model[0].weight
        >>> _ = convert(model, angle="sigmoid", magnitude="tanh")
        >>> type(model[0]).__name__, model[0].weight is kernel, type(model[3]).__name__
        ('DecoupledConv2d', True, 'Linear')
    """
    options = {"angle": angle, "magnitude": magnitude, "weighting": weighting, "gain": gain, "eps": eps}
    places = places_of("convert", model)
    rows = planned("convert", model, places, options, include, exclude, linear, output)
    chosen = [place.module for place, row in rows if row.action == "convert"]
    if not chosen:
        reasons = "; ".join(f"{row.name}: {row.reason}" for _, row in rows)
        raise ValueError(
            f"convert: no layer of {type(model).__name__} is left to convert"
            f" ({reasons or 'it has no convolution or linear layer'})."
        )
    for layer in chosen:
        _become_decoupled(layer, options)
    return model


def revert(model: Model) -> Model:
    """Make every decoupled layer of a model an ordinary one again, in place: the inverse of `convert`.

    Weights and biases stay the very same parameters, and the model computes inner products with them. Lost are k,
    radius, exponent and gain where they were learned, with a warning that names them, and the running mean of the patch
    norm. A convolution that was made decoupled, not converted, becomes ordinary too.

    Args:
        model: any module, changed in place; none of its layers need be decoupled.

    Returns:
        The same model.

    Raises:
        TypeError: if the model is no module.
        ValueError: if a decoupled layer is parametrised, or of a subclass that is not of this library, or lies in a
            model that is compiled or wrapped.

    Example:
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(8, 4))
        >>> names = list(model.state_dict())
        >>> type(revert(convert(model))[0]).__name__, list(model.state_dict()) == names
        ('Conv2d', True)
    """
    places = places_of("revert", model)
    layers = [place for place in places if isinstance(place.module, DecoupledLayer)]
    wrapped = [place for place in places if reason_closed(place.module)]
    found = [f"layer {place.names[0]!r} {reason_closed(place.module)}." for place in wrapped]
    found += [
        f"layer {place.names[0]!r} is parametrised; remove its parametrizations first."
        for place in layers
        if parametrize.is_parametrized(place.module)
    ]
    found += [
        f"layer {place.names[0]!r} is {type(place.module).__name__}, a subclass, which may compute something else."
        for place in layers
        if not parametrize.is_parametrized(place.module)
        and not type(place.module).__module__.startswith(f"{__package__}.")
    ]
    problems("revert", found)
    lost = []
    for place in layers:
        dropped = _become_ordinary(place.module)
        lost += [f"{name} of {place.names[0]!r}" for name in dropped]
    if lost:
        warnings.warn(
            f"revert: an ordinary layer has no place for {', '.join(lost)}, which were dropped.", stacklevel=2
        )
    return model


def _become_decoupled(layer: nn.Module, options: Mapping[str, Any]) -> None:
    """Give a layer the class of its decoupled form, and what it has beyond the ordinary one."""
    form = FORMS[type(layer)]
    weight = layer._parameters["weight"]
    assert weight is not None
    # as small a layer as has the same number of outputs; what is drawn for it must not move the random generator
    sizes: tuple[int, ...] = (1, len(weight))
    if isinstance(layer, _ConvNd):
        sizes = (layer.groups, len(weight), 1, 1, 0, 1, layer.groups)
    with torch.random.fork_rng(devices=[]):
        model = form(*sizes, device="cpu", dtype=weight.dtype, **options).to(weight.device)
    layer.__class__ = form
    for name, parameter in model._parameters.items():
        if name not in layer._parameters:
            layer._parameters[name] = parameter
            if parameter is not None:
                parameter.requires_grad_(weight.requires_grad)
    for name, buffer in model._buffers.items():
        layer._buffers.setdefault(name, buffer)
    layer._non_persistent_buffers_set |= model._non_persistent_buffers_set
    for name, value in vars(model).items():
        vars(layer).setdefault(name, value)


def _become_ordinary(layer: nn.Module) -> list[str]:
    """Give a decoupled layer the class it derives from; names of the learned numbers that are lost."""
    plain = next(kind for kind in type(layer).__mro__ if kind in FORMS)
    sizes = (1, 1) if plain is nn.Linear else (1, 1, 1)
    ordinary, decoupled = plain(*sizes, device="meta"), FORMS[plain](*sizes, device="meta")
    lost = [
        name
        for name in decoupled._parameters.keys() - ordinary._parameters.keys()
        if layer._parameters.get(name) is not None
    ]
    layer.__class__ = plain
    for store in ("_parameters", "_buffers", "__dict__"):
        for name in getattr(decoupled, store).keys() - getattr(ordinary, store).keys():
            getattr(layer, store).pop(name, None)
    return sorted(lost)
