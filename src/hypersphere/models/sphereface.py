# SPDX-License-Identifier: MIT
"""The networks of the SphereFace paper: strided convolutions, residual units without norms, and one linear layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hypersphere.checks import check_count, problems
from hypersphere.models.blocks import in_full_precision
from hypersphere.models.images import check_image_shape, check_images
from hypersphere.models.operators import Operator, make_convolution
from hypersphere.nn.decoupled import DecoupledLayer

__all__ = ["ResidualBranch", "SphereFaceNet"]


class SphereFaceNet(nn.Module):
    r"""Stages of one 3×3 convolution at stride 2 and residual units of two more, then one linear layer, `fc5`.

    Every convolution is followed by a PReLU with a slope for each channel; a unit is
    :math:`x + \mathrm{PReLU}(\mathrm{conv}(\mathrm{PReLU}(\mathrm{conv}(x))))`, with nothing after the sum. There are
    no norms, no pooling and no dropout, and `fc5` is not activated, so features keep both signs and a norm of their
    own. Layers are named `stage<i>.entry` and `stage<i>.unit<j>.first` and `.second` (counted from 1), each with
    `.conv` and `.activation`, and `fc5`.

    Args:
        units: residual units of each stage, >= 0; one stage for each entry, each of twice the width and half the size.
        base_width: channels of the first stage, >= 1; published 64.
        num_features: of `fc5`, >= 1; published 512.
        image_shape: (channels, height, width) of the input; published 112 by 96, which leaves maps of 7 by 6. Sides of
            at least 2 ** number of stages.
        operator: name in `OPERATORS` or anything that takes the arguments of `torch.nn.Conv2d`; makes every
            convolution.
        operator_arguments: what that operator takes beyond those, such as angle and magnitude.
        device: where the parameters are made.
        dtype: of the parameters.

    Shape:
        images (N, C, H, W) floating point -> features (N, num_features), in the dtype of the parameters under autocast
        too.

    Raises:
        ValueError: for a number out of range, an unknown operator, or images of another shape.

    Edge cases:
        The released networks have biases in the convolutions of their units, held at zero by a rate of zero. Here
        those have none, which is the same function: 22 666 944 parameters of SphereFace-20 in place of 22 670 656.

    Source:
        liu2017sphereface: depths 4, 10, 20, 36 and 64, which count convolutions and not `fc5`. The paper shows neither
        start nor biases; both are those of the released code, as is the size of the maps. Weights start uniform
        within :math:`\pm\sqrt{3 / \mathrm{fan\,in}}`, those of units from N(0, 0.01²), biases at 0, slopes at 0.25. Its
        images have their channels in the order blue, green, red (`data.channel_order`), and the rate of biases is twice
        that of weights (`optimizer.bias_rate_factor`).

    Example:
        >>> model = SphereFaceNet([0, 1], base_width=4, num_features=2, image_shape=(1, 8, 6))
        >>> model(torch.zeros(5, 1, 8, 6)).shape
        torch.Size([5, 2])
    """

    def __init__(
        self,
        units: Sequence[int] = (1, 2, 4, 1),
        *,
        base_width: int = 64,
        num_features: int = 512,
        image_shape: Sequence[int] = (3, 112, 96),
        operator: str | Operator = "conv",
        operator_arguments: Mapping[str, Any] | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        who = "SphereFaceNet"
        problems(who, [] if units else ["expected units of at least one stage, got none."])
        for count in units:
            check_count(who, "the units of a stage", count, low=0)
        check_count(who, "base_width", base_width)
        check_count(who, "num_features", num_features)
        check_image_shape(who, image_shape, 2 ** len(units))
        self.image_shape = tuple(image_shape)
        self.num_features = num_features
        factory: dict[str, Any] = {"device": device, "dtype": dtype}
        convolution = make_convolution(operator, operator_arguments, **factory)

        channels, *size = self.image_shape
        self.stages = [f"stage{index}" for index in range(1, len(units) + 1)]
        for index, (name, count) in enumerate(zip(self.stages, units, strict=True)):
            width = base_width * 2**index
            stage = nn.Sequential()
            stage.add_module("entry", _convolved(convolution, channels, width, stride=2, bias=True, **factory))
            for number in range(1, count + 1):
                stage.add_module(f"unit{number}", ResidualBranch(convolution, width, **factory))
            self.add_module(name, stage)
            channels, size = width, [-(-side // 2) for side in size]
        self.fc5 = nn.Linear(channels * size[0] * size[1], num_features, **factory)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw every weight as the released code does; reset biases, slopes and what operators learn."""
        branches = [branch for branch in self.modules() if isinstance(branch, ResidualBranch)]
        within = {id(layer) for branch in branches for layer in branch.modules()}
        for layer in self.modules():
            weight, bias = getattr(layer, "weight", None), getattr(layer, "bias", None)
            if isinstance(layer, nn.PReLU):
                layer.reset_parameters()
            elif isinstance(weight, Tensor):
                if id(layer) in within:
                    nn.init.normal_(weight, std=0.01)
                else:
                    bound = (3 / weight[0].numel()) ** 0.5
                    nn.init.uniform_(weight, -bound, bound)
                if isinstance(bias, Tensor):
                    nn.init.zeros_(bias)
            if isinstance(layer, DecoupledLayer):
                layer.reset_operator()

    def forward(self, images: Float[Tensor, "N C H W"]) -> Float[Tensor, "N D"]:
        """Features (N, D) of the images (N, C, H, W)."""
        check_images("SphereFaceNet", images, self.image_shape)
        maps = images
        for name in self.stages:
            maps = self.get_submodule(name)(maps)
        return in_full_precision(maps, self.fc5)

    def extra_repr(self) -> str:
        """What the layers below do not show."""
        return f"image_shape={self.image_shape}, num_features={self.num_features}"


class ResidualBranch(nn.Module):
    """The input and two convolutions of it, each activated before the sum.

    Args:
        convolution: makes both.
        width: channels of input and output.
        device: where the parameters are made.
        dtype: of the parameters.

    Shape:
        (N, width, H, W) -> the same.

    Source:
        liu2017sphereface, table 2, with the places of its activations as the released code has them.
    """

    def __init__(
        self,
        convolution: Operator,
        width: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.first = _convolved(convolution, width, width, device=device, dtype=dtype)
        self.second = _convolved(convolution, width, width, device=device, dtype=dtype)

    def forward(self, images: Float[Tensor, "N C H W"]) -> Float[Tensor, "N C H W"]:
        """The sum of both ways."""
        result: Tensor = images + self.second(self.first(images))
        return result


def _convolved(
    convolution: Operator, inputs: int, width: int, *, stride: int = 1, bias: bool = False, **factory: Any
) -> nn.Sequential:
    made = nn.Sequential()
    made.add_module("conv", convolution(inputs, width, 3, stride=stride, padding=1, bias=bias))
    made.add_module("activation", nn.PReLU(width, **factory))
    return made
