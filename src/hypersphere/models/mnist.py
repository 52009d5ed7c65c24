# SPDX-License-Identifier: MIT
"""A network for 28×28 images of digits whose two features are drawn as they are in the papers on margins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hypersphere.checks import check_count
from hypersphere.models.blocks import in_full_precision
from hypersphere.models.images import check_image_shape, check_images
from hypersphere.models.operators import Operator, make_convolution

__all__ = ["MnistCNN"]


class MnistCNN(nn.Module):
    r"""Three stages of two convolutions, each stage ending in a 2×2 maximum, and one linear layer down to the features.

    Every convolution is followed by batch normalisation, if asked for, and PReLU with one slope for each channel. The
    features are not activated, so classes lie all around the origin, and what softmax and angular margins make of
    them can be seen. Layers are named `stage<i>.conv<j>`, `.norm<j>`, `.activation<j>` and `.pool` (counted from 1),
    and `feature`.

    Args:
        base_width: channels of the first stage, >= 1; the others have two and four times as many.
        num_features: number of features, >= 1; 2 are drawn as they are.
        kernel_size: side of the kernels, odd, >= 1; 5 in the papers, at three times the work.
        norm: whether convolutions are normalised over the batch.
        image_shape: (channels, height, width) of the input, sides of 8 or more.
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

    Source:
        liu2016lsoftmax and liu2017sphereface draw features of two and three dimensions from a network of this kind;
        how many channels it has is our choice.

    Example:
        >>> MnistCNN(base_width=4)(torch.zeros(5, 1, 28, 28)).shape
        torch.Size([5, 2])
    """

    def __init__(
        self,
        base_width: int = 32,
        *,
        num_features: int = 2,
        kernel_size: int = 3,
        norm: bool = True,
        image_shape: Sequence[int] = (1, 28, 28),
        operator: str | Operator = "conv",
        operator_arguments: Mapping[str, Any] | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        who = "MnistCNN"
        check_count(who, "base_width", base_width)
        check_count(who, "num_features", num_features)
        check_count(who, "kernel_size", kernel_size)
        if kernel_size % 2 == 0:
            raise ValueError(f"{who}: kernel_size must be odd, so that maps keep their size, got {kernel_size}.")
        check_image_shape(who, image_shape, 8)
        self.image_shape = tuple(image_shape)
        self.num_features = num_features
        factory: dict[str, Any] = {"device": device, "dtype": dtype}
        convolution = make_convolution(operator, operator_arguments, **factory)

        channels, *size = self.image_shape
        self.stages = [f"stage{index}" for index in (1, 2, 3)]
        for index, name in enumerate(self.stages):
            width = base_width * 2**index
            stage = nn.Sequential()
            for number in (1, 2):
                made = convolution(channels, width, kernel_size, padding=kernel_size // 2, bias=not norm)
                stage.add_module(f"conv{number}", made)
                if norm:
                    stage.add_module(f"norm{number}", nn.BatchNorm2d(width, **factory))
                stage.add_module(f"activation{number}", nn.PReLU(width, **factory))
                channels = width
            stage.add_module("pool", nn.MaxPool2d(2))
            self.add_module(name, stage)
            size = [side // 2 for side in size]
        self.feature = nn.Linear(channels * size[0] * size[1], num_features, **factory)

    def forward(self, images: Float[Tensor, "N C H W"]) -> Float[Tensor, "N D"]:
        """Features (N, D) of the images (N, C, H, W)."""
        check_images("MnistCNN", images, self.image_shape)
        maps = images
        for name in self.stages:
            maps = self.get_submodule(name)(maps)
        return in_full_precision(maps, self.feature)

    def extra_repr(self) -> str:
        """What the layers below do not show."""
        return f"image_shape={self.image_shape}, num_features={self.num_features}"
