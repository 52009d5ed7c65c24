# SPDX-License-Identifier: MIT
"""The residual networks that faces are recognised with since ArcFace: norms first, and no pooling at the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hypersphere.checks import check_count, check_range, problems
from hypersphere.models.blocks import in_full_precision
from hypersphere.models.images import check_image_shape, check_images
from hypersphere.models.operators import Operator, make_convolution
from hypersphere.nn.decoupled import DecoupledLayer

__all__ = ["IResNet", "NormFirstUnit"]

_EPS = 1e-5


class IResNet(nn.Module):
    r"""A convolution at full size, four stages of residual units, and features by one linear layer over the whole map.

    A unit is norm, 3×3 convolution, norm, PReLU, 3×3 convolution, norm, with nothing after the sum; the first of each
    stage halves the map in its second convolution, and there an ordinary 1×1 convolution with a norm goes around it.
    After the last stage: norm, dropout, the linear layer `full`, and `feature_norm`, which brings each feature to mean
    0 (and a learned shift) and variance 1 over the batch. No convolution has a bias. Layers are named `root`,
    `stage<i>.unit<j>` (counted from 1) with `norm0`, `conv1`, `norm1`, `activation`, `conv2`, `norm2` and `shortcut`,
    `norm`, `dropout`, `full` and `feature_norm`.

    Args:
        units: residual units of each stage, >= 1; one stage for each entry, each of twice the width and half the size.
        base_width: channels of the first convolution and the first stage, >= 1; published 64.
        num_features: of the linear layer, >= 1; published 512.
        image_shape: (channels, height, width) of the input; published 112 by 112, which leaves maps of 7 by 7. Sides
            of at least 2 ** number of stages.
        dropout: share of the numbers of the last map that training leaves out, in [0, 1); published 0.
        learn_feature_scale: whether the scale of `feature_norm` is learned too; published False, it stays 1.
        norm_momentum: share of the newest batch in the running statistics, in [0, 1], as torch counts it.
        operator: name in `OPERATORS` or anything that takes the arguments of `torch.nn.Conv2d`; makes every
            convolution but those of shortcuts.
        operator_arguments: what that operator takes beyond those, such as angle and magnitude.
        device: where the parameters are made.
        dtype: of the parameters.

    Shape:
        images (N, C, H, W) floating point -> features (N, num_features), in the dtype of the parameters under autocast
        too.

    Raises:
        ValueError: for a number out of range, an unknown operator, or images of another shape.

    Edge cases:
        A batch of one image cannot be trained on: `feature_norm` would have nothing to compare it with.

    Source:
        deng2019arcface, sec. 3.1, as its released code has it: convolutions start from N(0, 0.1²), scales of norms
        at 1, slopes at 0.25, the linear layer as torch.nn.Linear does.

    Example:
        >>> model = IResNet([1, 1], base_width=4, num_features=2, image_shape=(1, 8, 8)).eval()
        >>> model(torch.zeros(5, 1, 8, 8)).shape
        torch.Size([5, 2])
    """

    def __init__(
        self,
        units: Sequence[int] = (3, 4, 14, 3),
        *,
        base_width: int = 64,
        num_features: int = 512,
        image_shape: Sequence[int] = (3, 112, 112),
        dropout: float = 0.0,
        learn_feature_scale: bool = False,
        norm_momentum: float = 0.1,
        operator: str | Operator = "conv",
        operator_arguments: Mapping[str, Any] | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        _check_sizes(units, base_width, num_features, image_shape, dropout, norm_momentum)
        self.image_shape = tuple(image_shape)
        self.num_features = num_features
        self.learn_feature_scale = learn_feature_scale
        factory: dict[str, Any] = {"device": device, "dtype": dtype}
        convolution = make_convolution(operator, operator_arguments, **factory)
        normed: dict[str, Any] = {"eps": _EPS, "momentum": norm_momentum, **factory}

        channels, *size = self.image_shape
        self.root = nn.Sequential()
        self.root.add_module("conv", convolution(channels, base_width, 3, padding=1))
        self.root.add_module("norm", nn.BatchNorm2d(base_width, **normed))
        self.root.add_module("activation", nn.PReLU(base_width, **factory))
        channels = base_width
        self.stages = [f"stage{index}" for index in range(1, len(units) + 1)]
        for index, (name, count) in enumerate(zip(self.stages, units, strict=True)):
            width = base_width * 2**index
            stage = nn.Sequential()
            for number in range(1, count + 1):
                stride = 2 if number == 1 else 1
                stage.add_module(f"unit{number}", NormFirstUnit(convolution, channels, width, stride, normed))
                channels = width
            self.add_module(name, stage)
            size = [-(-side // 2) for side in size]
        self.norm = nn.BatchNorm2d(channels, **normed)
        self.dropout = nn.Dropout(dropout)
        self.full = nn.Linear(channels * size[0] * size[1], num_features, **factory)
        self.feature_norm = nn.BatchNorm1d(num_features, **normed)
        self.feature_norm.weight.requires_grad_(learn_feature_scale)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw every weight as the released code does; reset norms, slopes and what operators learn."""
        for layer in self.modules():
            weight = getattr(layer, "weight", None)
            if isinstance(layer, nn.BatchNorm2d | nn.BatchNorm1d | nn.PReLU | nn.Linear):
                layer.reset_parameters()
            elif isinstance(weight, Tensor):
                nn.init.normal_(weight, std=0.1)
            if isinstance(layer, DecoupledLayer):
                layer.reset_operator()

    def forward(self, images: Float[Tensor, "N C H W"]) -> Float[Tensor, "N D"]:
        """Features (N, D) of the images (N, C, H, W)."""
        check_images("IResNet", images, self.image_shape)
        maps: Tensor = self.root(images)
        for name in self.stages:
            maps = self.get_submodule(name)(maps)
        return in_full_precision(self.dropout(self.norm(maps)), self.full, self.feature_norm)

    def extra_repr(self) -> str:
        """What the layers below do not show."""
        return (
            f"image_shape={self.image_shape}, num_features={self.num_features}, "
            f"learn_feature_scale={self.learn_feature_scale}"
        )


class NormFirstUnit(nn.Module):
    """Two 3×3 convolutions between three norms, and a shortcut around all of it.

    Args:
        convolution: makes both.
        inputs: channels of the input.
        width: channels of the output.
        stride: of the second convolution and the shortcut.
        normed: arguments of every norm; device and dtype of every parameter are among them.

    Shape:
        (N, inputs, H, W) -> (N, width, ceil(H / stride), ceil(W / stride)). Where that is another shape, the shortcut
        is an ordinary 1×1 convolution with a norm, else the identity.

    Source:
        deng2019arcface, sec. 3.1, there called an improved residual unit.
    """

    def __init__(self, convolution: Operator, inputs: int, width: int, stride: int, normed: Mapping[str, Any]) -> None:
        super().__init__()
        factory = {name: normed[name] for name in ("device", "dtype")}
        self.norm0 = nn.BatchNorm2d(inputs, **normed)
        self.conv1 = convolution(inputs, width, 3, padding=1)
        self.norm1 = nn.BatchNorm2d(width, **normed)
        self.activation = nn.PReLU(width, **factory)
        self.conv2 = convolution(width, width, 3, stride=stride, padding=1)
        self.norm2 = nn.BatchNorm2d(width, **normed)
        self.shortcut: nn.Sequential | None = None
        if stride != 1 or inputs != width:
            self.shortcut = nn.Sequential()
            self.shortcut.add_module("conv", nn.Conv2d(inputs, width, 1, stride, bias=False, **factory))
            self.shortcut.add_module("norm", nn.BatchNorm2d(width, **normed))

    def forward(self, images: Float[Tensor, "N C H W"]) -> Float[Tensor, "N C2 H2 W2"]:
        """The sum of both ways."""
        result: Tensor = self.activation(self.norm1(self.conv1(self.norm0(images))))
        result = self.norm2(self.conv2(result))
        return result + (images if self.shortcut is None else self.shortcut(images))


def _check_sizes(
    units: Sequence[int],
    base_width: int,
    num_features: int,
    image_shape: Sequence[int],
    dropout: float,
    norm_momentum: float,
) -> None:
    """Raise ValueError unless the sizes make a network."""
    who = "IResNet"
    problems(who, [] if units else ["expected units of at least one stage, got none."])
    for count in units:
        check_count(who, "the units of a stage", count)
    check_count(who, "base_width", base_width)
    check_count(who, "num_features", num_features)
    check_image_shape(who, image_shape, 2 ** len(units))
    problems(who, [] if 0 <= dropout < 1 else [f"dropout must lie in [0, 1), got {dropout:g}."])
    check_range(who, "norm_momentum", norm_momentum, low=0.0, high=1.0)
