# SPDX-License-Identifier: MIT
"""The networks that have a name, and how one is built from it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from torch import nn

from hypersphere.checks import lookup, unknown_name
from hypersphere.models.cnn import CNN
from hypersphere.models.digits import DigitsCNN

__all__ = ["MODELS", "build", "model_parameters"]

MODELS: dict[str, tuple[Callable[..., nn.Module], str]] = {
    "cnn6": (functools.partial(CNN, convs_per_block=2), "CNN-6 of the MHE paper: 3 blocks of 2 convolutions and fc6"),
    "cnn9": (functools.partial(CNN, convs_per_block=3), "CNN-9 of the MHE paper: 3 blocks of 3 convolutions and fc6"),
    "cnn15": (functools.partial(CNN, convs_per_block=5), "CNN-15 of the MHE paper: 3 blocks of 5 convolutions and fc6"),
    "digits-cnn": (DigitsCNN, "small network for 8×8 digits, 3 features that can be drawn on a sphere"),
}


def model_parameters(name: str) -> dict[str, inspect.Parameter]:
    """The arguments that `build(name, ...)` takes, with their defaults.

    Raises:
        ValueError: if no model has this name.

    Example:
        >>> model_parameters("cnn15")["convs_per_block"].default
        5
    """
    return dict(inspect.signature(lookup("model", name, MODELS)[0]).parameters)


def build(name: str, **arguments: Any) -> nn.Module:
    """A network by name: images (N, C, H, W) -> features (N, D), with D in its attribute `num_features`.

    Args:
        name: a key of `MODELS`.
        arguments: arguments of the model's class.

    Raises:
        ValueError: if no model has this name, the model takes no such argument, or a value is out of range.

    Example:
        >>> build("cnn9", base_width=16).num_features
        64
    """
    known = model_parameters(name)
    for argument in arguments:
        if argument not in known:
            raise ValueError(f"model {name!r}: {unknown_name('argument', argument, list(known))}")
    return MODELS[name][0](**arguments)
