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
from hypersphere.models.iresnet import IResNet
from hypersphere.models.mnist import MnistCNN
from hypersphere.models.resnet import ResNet
from hypersphere.models.sphereface import SphereFaceNet

__all__ = ["MODELS", "build", "model_parameters"]

# a first convolution of 7×7, and images of 224×224
_imagenet = functools.partial(ResNet, stem="large", base_width=64, image_shape=(3, 224, 224))

# residual units of the stages, by depth
_SPHEREFACE = {4: (0, 0, 0, 0), 10: (0, 1, 2, 0), 20: (1, 2, 4, 1), 36: (2, 4, 8, 2), 64: (3, 8, 16, 3)}
_IRESNET = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 14, 3), 100: (3, 13, 30, 3), 200: (6, 26, 60, 6)}

MODELS: dict[str, tuple[Callable[..., nn.Module], str]] = {
    "cnn6": (functools.partial(CNN, convs_per_block=2), "CNN-6 of the MHE paper: 3 blocks of 2 convolutions and fc6"),
    "cnn9": (functools.partial(CNN, convs_per_block=3), "CNN-9 of the MHE paper: 3 blocks of 3 convolutions and fc6"),
    "cnn15": (functools.partial(CNN, convs_per_block=5), "CNN-15 of the MHE paper: 3 blocks of 5 convolutions and fc6"),
    "spherenet-cnn9": (
        functools.partial(CNN, convs_per_block=3, base_width=128, width_factors=(1, 1.5, 2), operator="sphere"),
        "CNN-9 of the SphereNet paper: widths 128, 192, 256, SphereConv of the cosine",
    ),
    "resnet32": (ResNet, "ResNet-32 of the SphereNet paper for CIFAR, six times the usual width"),
    "sphere-resnet32": (
        functools.partial(ResNet, operator="sphere"),
        "SphereResNet-32 of the SphereNet paper for CIFAR, SphereConv of the cosine",
    ),
    "plain-cnn9": (
        functools.partial(_imagenet, units=(2, 2, 2, 2), layout="plain"),
        "9 convolutions for ImageNet; published by name only, layers are our choice",
    ),
    "plain-cnn12": (
        functools.partial(_imagenet, units=(2, 3, 3, 3), layout="plain"),
        "12 convolutions for ImageNet; published by name only, layers are our choice",
    ),
    "resnet18": (functools.partial(_imagenet, units=(2, 2, 2, 2)), "ResNet-18 for ImageNet, the usual one"),
    "resnet27": (
        functools.partial(_imagenet, units=(2, 3, 4, 2), layout="entry", pool="full"),
        "27 layers for ImageNet; published by name only, layers are our choice",
    ),
    "resnet34": (functools.partial(_imagenet, units=(3, 4, 6, 3)), "ResNet-34 for ImageNet, the usual one"),
    "decoupled-resnet18": (
        functools.partial(
            _imagenet,
            units=(1, 2, 3, 1),
            layout="entry",
            base_width=128,
            activation="prelu",
            activate_sum=False,
            initialization="decoupled",
        ),
        "modified ResNet-18 of the DCNets paper, 18 convolutions of width 128 to 1024",
    ),
    **{
        f"sphereface{depth}": (
            functools.partial(SphereFaceNet, units=units),
            f"SphereFace-{depth} of the SphereFace paper, for faces of 112×96: {depth} convolutions and fc5, no norm",
        )
        for depth, units in _SPHEREFACE.items()
    },
    **{
        f"iresnet{depth}": (
            functools.partial(IResNet, units=units),
            f"improved ResNet-{depth} of the ArcFace paper, for faces of 112×112",
        )
        for depth, units in _IRESNET.items()
    },
    "mnist-cnn": (MnistCNN, "6 convolutions for 28×28 digits, 2 features to be drawn as they are"),
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
