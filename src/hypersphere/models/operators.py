# SPDX-License-Identifier: MIT
"""The operators that a network may be built of, by name, and what makes its convolutions from one."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from hypersphere.checks import lookup, problems, unknown_name
from hypersphere.nn import DecoupledConv2d, SphereConv2d

__all__ = ["OPERATORS", "Operator", "make_convolution"]

Operator = Callable[..., nn.Module]
"""Anything that builds a layer from the arguments of `torch.nn.Conv2d`."""

OPERATORS: dict[str, tuple[Operator, str]] = {
    "conv": (nn.Conv2d, "the ordinary convolution: products of kernels and patches"),
    "sphere": (SphereConv2d, "SphereConv: an angle function of kernel and patch, their lengths left out"),
    "decoupled": (DecoupledConv2d, "decoupled convolution: an angle function times a magnitude of the patch's length"),
}


def make_convolution(
    operator: str | Operator,
    operator_arguments: Mapping[str, Any] | None = None,
    *,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> Operator:
    """What makes every convolution of a network; it takes the arguments of `torch.nn.Conv2d`.

    Args:
        operator: name in `OPERATORS`, or anything that takes the arguments of `torch.nn.Conv2d`.
        operator_arguments: what the operator takes beyond those, such as `angle` and `magnitude`. Plain values, so
            that YAML and model.json hold them: a name ("linear") or a mapping with the name and its parameters
            ({"name": "sigmoid", "k": 0.5, "learnable": True}).
        device: where the parameters are made.
        dtype: of the parameters.

    Returns:
        The layer with these arguments filled in, and no bias unless one is asked for.

    Raises:
        ValueError: for an unknown operator, or an argument that a named operator does not have. Values are checked by
            the layer when it is made.

    Example:
        >>> make_convolution("conv")(3, 8, 3, padding=1)
        Conv2d(3, 8, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1), bias=False)
        >>> make_convolution("sphere", {"angle": {"name": "sigmoid", "k": 0.5}})(3, 8, 3).angle
        Sigmoid(k=0.5, learnable=False)
    """
    own = dict(operator_arguments or {})
    layer = operator
    if isinstance(layer, str):
        layer = lookup("operator", layer, OPERATORS)[0]
        known = _own_arguments(layer)
        unknown = [argument for argument in own if argument not in known]
        if unknown and not known:
            raise ValueError(f"operator {operator!r}: it takes no arguments of its own, got {', '.join(unknown)}.")
        problems(f"operator {operator!r}", [unknown_name("argument", argument, known) for argument in unknown])
    return functools.partial(layer, bias=False, device=device, dtype=dtype, **own)


def _own_arguments(layer: Operator) -> list[str]:
    """What a layer takes beyond the arguments of an ordinary convolution."""
    shared = inspect.signature(nn.Conv2d).parameters
    return [name for name in inspect.signature(layer).parameters if name not in shared]
