# SPDX-License-Identifier: MIT
"""The residual and plain networks of the SphereNet and DCNets papers, for CIFAR and for images of ImageNet's size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hypersphere.checks import check_choice, check_count, check_range, problems
from hypersphere.models.blocks import Activation, Layers, Unit
from hypersphere.models.images import check_image_shape, check_images
from hypersphere.models.operators import Operator, make_convolution
from hypersphere.nn.decoupled import DecoupledLayer

__all__ = ["ResNet"]


class ResNet(nn.Module):
    r"""A first convolution, stages of 3×3 convolutions, each of twice the width and half the size, and features.

    Every convolution is followed by batch normalisation, none has a bias. Layers are named `root`, `stage<i>.entry`,
    `stage<i>.unit<j>.first`, `.second` and `.shortcut` (counted from 1), each with `.conv`, `.norm` and `.activation`,
    and `full`.

    Args:
        units: units of each stage (convolutions, for layout "plain"), >= 1; one stage for each entry.
        layout: "shortcut": the first unit of a later stage halves the map, and an ordinary 1×1 convolution goes around
            it; "entry": a strided convolution enters each later stage, and every shortcut is the identity;
            "plain": convolutions one after another, the first of a later stage strided, no shortcuts.
        stem: "small" (3×3) or "large" (7×7 at stride 2 and a 3×3 maximum at stride 2).
        base_width: channels of the first stage, >= 1; doubled in each stage that follows.
        activation: "relu", "prelu" (one slope for each channel, 0 at the start) or "none".
        activate_root: whether the first convolution is activated.
        activate_sum: whether the sum at the end of a unit is.
        pool: "average": features are the means over the last map; "full": one fully connected layer over the whole
            map, made by the operator, with neither norm nor activation.
        feature_width: features of that layer, >= 1; None for the width of the last stage. For "full" only.
        image_shape: (channels, height, width) of the input; sides of at least the product of all strides.
        norm: whether convolutions are normalised, those of shortcuts included.
        norm_eps: added to the batch variance, > 0; published 1e-3.
        norm_momentum: share of the newest batch in the running statistics, in [0, 1], as torch counts it: 1e-3 is the
            published decay of 0.999, which lags thousands of steps behind. Short runs want 0.1.
        initialization: "he": weights from N(0, 2 / (k² C_in)); "decoupled": from N(0, 0.01²) within units, and
            uniform by Xavier elsewhere.
        tf_padding: whether strided layers pad as the released code in TensorFlow does, below and to the right; False
            is the symmetric padding of PyTorch, whose grid lies one pixel away.
        operator: name in `OPERATORS` or anything that takes the arguments of `torch.nn.Conv2d`; makes every
            convolution but those of shortcuts.
        operator_arguments: what that operator takes beyond those, such as angle and magnitude.
        device: where the parameters are made.
        dtype: of the parameters.

    Shape:
        images (N, C, H, W) floating point -> features (N, num_features), dtype of the images under autocast.

    Raises:
        ValueError: for a number out of range, an unknown name, or images of another shape.

    Source:
        he2016deep for ResNet-18 and -34; liu2017spherenet and liu2018decoupled with their released code for
        (Sphere)ResNet-32 of three stages and the modified ResNet-18 of layout "entry" (18 convolutions). Plain-CNN-9,
        Plain-CNN-12 and ResNet-27 for ImageNet are published by name and accuracy alone: their layers are our choice.
        The plain ones have a large stem and 2, 2, 2, 2 or 2, 3, 3, 3 convolutions; ResNet-27 has a large stem, layout
        "entry" as SphereFace has it, 2, 3, 4, 2 units and pool "full", which makes 27 layers below the classifier. The
        networks of the SphereNet slides have fully connected layers in place of averages.

    Example:
        >>> model = ResNet([1, 1], base_width=4, image_shape=(1, 8, 8))
        >>> model(torch.zeros(5, 1, 8, 8)).shape
        torch.Size([5, 8])
    """

    def __init__(
        self,
        units: Sequence[int] = (5, 5, 5),
        *,
        layout: Literal["shortcut", "entry", "plain"] = "shortcut",
        stem: Literal["small", "large"] = "small",
        base_width: int = 96,
        activation: Activation = "relu",
        activate_root: bool = True,
        activate_sum: bool = True,
        pool: Literal["average", "full"] = "average",
        feature_width: int | None = None,
        image_shape: Sequence[int] = (3, 32, 32),
        norm: bool = True,
        norm_eps: float = 1e-3,
        norm_momentum: float = 1e-3,
        initialization: Literal["he", "decoupled"] = "he",
        tf_padding: bool = False,
        operator: str | Operator = "conv",
        operator_arguments: Mapping[str, Any] | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_choice("ResNet", "layout", layout, ["shortcut", "entry", "plain"])
        check_choice("ResNet", "stem", stem, ["small", "large"])
        check_choice("ResNet", "activation", activation, ["relu", "prelu", "none"])
        check_choice("ResNet", "pool", pool, ["average", "full"])
        check_choice("ResNet", "initialization", initialization, ["he", "decoupled"])
        check_range("ResNet", "norm_momentum", norm_momentum, low=0.0, high=1.0)
        _check_sizes(units, base_width, pool, feature_width)
        halvings = len(units) - 1 + (2 if stem == "large" else 0)
        check_image_shape("ResNet", image_shape, 2**halvings)
        self.image_shape = tuple(image_shape)
        self.initialization = initialization
        convolution = make_convolution(operator, operator_arguments, device=device, dtype=dtype)
        ordinary = make_convolution("conv", device=device, dtype=dtype)
        layers = Layers(
            convolution, ordinary, norm, norm_eps, norm_momentum, activation, tf_padding, device=device, dtype=dtype
        )

        channels, *size = self.image_shape
        kernel_size, stride = (7, 2) if stem == "large" else (3, 1)
        self.root = layers.convolved(channels, base_width, kernel_size, stride=stride, activated=activate_root)
        self.pool = layers.pooled() if stem == "large" else None
        self.stages = [f"stage{index}" for index in range(1, len(units) + 1)]
        channels = base_width
        for index, (name, count) in enumerate(zip(self.stages, units, strict=True)):
            width = base_width * 2**index
            self.add_module(name, _stage(layers, layout, count, channels, width, activate_sum))
            channels = width
        self.full: nn.Module | None = None
        self.num_features = channels
        if pool == "full":
            self.num_features = feature_width if feature_width is not None else channels
            # each strided layer leaves half of the map, rounded up
            last = [-(-side // 2**halvings) for side in size]
            self.full = convolution(channels, self.num_features, tuple(last))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw every convolution's weight by `initialization`; reset norms, slopes and what operators learn."""
        units = [unit for unit in self.modules() if isinstance(unit, Unit)]
        within = {id(layer) for unit in units for layer in unit.modules()}
        for layer in self.modules():
            weight = getattr(layer, "weight", None)
            if isinstance(layer, nn.BatchNorm2d | nn.PReLU):
                layer.reset_parameters()
            elif isinstance(weight, Tensor):
                self._draw(weight, id(layer) in within)
            if isinstance(layer, DecoupledLayer):
                layer.reset_operator()

    def _draw(self, weight: Tensor, within_unit: bool) -> None:
        if self.initialization == "he":
            nn.init.normal_(weight, std=(2 / weight[0].numel()) ** 0.5)
        elif within_unit:
            nn.init.normal_(weight, std=0.01)
        else:
            nn.init.xavier_uniform_(weight)

    def forward(self, images: Float[Tensor, "N C H W"]) -> Float[Tensor, "N D"]:
        """Features (N, D) of the images (N, C, H, W)."""
        check_images("ResNet", images, self.image_shape)
        maps: Tensor = self.root(images)
        if self.pool is not None:
            maps = self.pool(maps)
        for name in self.stages:
            maps = self.get_submodule(name)(maps)
        return maps.mean((2, 3)) if self.full is None else self.full(maps).flatten(1)

    def extra_repr(self) -> str:
        """What the layers below do not show."""
        return f"image_shape={self.image_shape}, num_features={self.num_features}"


def _stage(layers: Layers, layout: str, count: int, inputs: int, width: int, activate_sum: bool) -> nn.Sequential:
    """One stage; a later one, whose width differs from its input's, halves the map."""
    stage = nn.Sequential()
    stride = 1 if inputs == width else 2
    if layout == "entry" and stride == 2:
        stage.add_module("entry", layers.convolved(inputs, width, stride=2))
        inputs, stride = width, 1
    for index in range(1, count + 1):
        unit = (
            layers.convolved(inputs, width, stride=stride)
            if layout == "plain"
            else Unit(layers, inputs, width, stride=stride, activate_sum=activate_sum)
        )
        stage.add_module(f"unit{index}", unit)
        inputs, stride = width, 1
    return stage


def _check_sizes(units: Sequence[int], base_width: int, pool: str, feature_width: int | None) -> None:
    """Raise ValueError unless the sizes make a network."""
    problems("ResNet", [] if units else ["expected units of at least one stage, got none."])
    for count in units:
        check_count("ResNet", "the units of a stage", count)
    check_count("ResNet", "base_width", base_width)
    if feature_width is not None:
        check_count("ResNet", "feature_width", feature_width)
        if pool != "full":
            raise ValueError(f"ResNet: feature_width is for pool='full', got pool={pool!r}. Leave one of them out.")
