# SPDX-License-Identifier: MIT
"""The plain convolutional networks of the MHE and SphereNet papers: CNN-6, CNN-9, CNN-15 and their widths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hypersphere.checks import check_choice, check_count, check_range
from hypersphere.models.images import check_image_shape, check_images
from hypersphere.models.operators import Operator, make_convolution
from hypersphere.nn.decoupled import DecoupledLayer

__all__ = ["CNN"]


class CNN(nn.Module):
    r"""Blocks of 3×3 convolutions, each block ending in a 2×2 maximum, and one convolution over what is left.

    Every block convolution is followed by batch normalisation and ReLU. The feature layer `fc6` covers the whole map
    that the last block leaves (4×4 for images of 32×32) and, as published, has neither. No layer has a bias. Layers
    are named `conv<block>_<index>` (blocks count from 1, layers from 0), `norm<block>_<index>`, `fc6`, `norm6`.

    Args:
        convs_per_block: convolutions in each block, >= 1: 2, 3, 5 make CNN-6, CNN-9, CNN-15 of the MHE paper.
        base_width: channels of the first block, >= 1.
        width_factors: channels of each block in units of `base_width`, > 0, rounded; one block for each entry.
        widths: channels of each block, in place of both.
        feature_width: number of features, >= 1; None for the width of the last block.
        image_shape: (channels, height, width) of the input; height and width at least 2 ** number of blocks.
        norm: whether the block convolutions are normalised.
        norm_eps: added to the batch variance, > 0; published 1e-3.
        norm_momentum: share of the newest batch in the running statistics, in [0, 1], as torch counts it: 1e-3 is the
            published decay of 0.999, which lags thousands of steps behind. Short runs want 0.1.
        feature_norm: whether `fc6` is normalised too (no activation follows, features keep both signs).
        activation: of the block convolutions, "relu", or "none": an angle of square cosine is one itself.
        operator: name in `OPERATORS` or anything that takes the arguments of `torch.nn.Conv2d`; makes every
            convolution, `fc6` included.
        operator_arguments: what that operator takes beyond those, such as angle and magnitude.
        device: where the parameters are made.
        dtype: of the parameters.

    Shape:
        images (N, C, H, W) floating point -> features (N, feature_width), dtype of the images under autocast.

    Raises:
        ValueError: for a number out of range, an unknown operator, or images of another shape.

    Source:
        liu2018mhe, appendix A, with the numbers of the released code: weights drawn from N(0, 2 / (k² C_in)).
        liu2017spherenet has the same net with widths 128, 192, 256 (factors 1, 1.5, 2); liu2018decoupled trains one
        without normalisation or without activation, whose widths are not in the released code.

    Example:
        >>> model = CNN(convs_per_block=2, base_width=4, image_shape=(1, 8, 8))
        >>> model(torch.zeros(5, 1, 8, 8)).shape
        torch.Size([5, 16])
    """

    def __init__(
        self,
        convs_per_block: int = 3,
        *,
        base_width: int = 64,
        width_factors: Sequence[float] = (1, 2, 4),
        widths: Sequence[int] | None = None,
        feature_width: int | None = None,
        image_shape: Sequence[int] = (3, 32, 32),
        norm: bool = True,
        norm_eps: float = 1e-3,
        norm_momentum: float = 1e-3,
        feature_norm: bool = False,
        activation: Literal["relu", "none"] = "relu",
        operator: str | Operator = "conv",
        operator_arguments: Mapping[str, Any] | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if widths is None:
            check_count("CNN", "base_width", base_width, low=1)
            widths = [round(base_width * factor) for factor in width_factors]
        _check_sizes(convs_per_block, widths, feature_width, image_shape)
        check_choice("CNN", "activation", activation, ["relu", "none"])
        check_range("CNN", "norm_momentum", norm_momentum, low=0.0, high=1.0)
        self.image_shape = tuple(image_shape)
        self.num_features = feature_width if feature_width is not None else widths[-1]
        factory: dict[str, Any] = {"device": device, "dtype": dtype}
        convolution = make_convolution(operator, operator_arguments, **factory)

        channels, *size = self.image_shape
        for block, width in enumerate(widths, start=1):
            for index in range(convs_per_block):
                self.add_module(f"conv{block}_{index}", convolution(channels, width, 3, padding=1))
                if norm:
                    self.add_module(f"norm{block}_{index}", nn.BatchNorm2d(width, norm_eps, norm_momentum, **factory))
                if activation == "relu":
                    # in place unless an operator of the user's may need its own output for its backward
                    self.add_module(f"relu{block}_{index}", nn.ReLU(inplace=norm or isinstance(operator, str)))
                channels = width
            self.add_module(f"pool{block}", nn.MaxPool2d(2))
            size = [side // 2 for side in size]
        self.fc6 = convolution(channels, self.num_features, tuple(size))
        if feature_norm:
            self.norm6 = nn.BatchNorm2d(self.num_features, norm_eps, norm_momentum, **factory)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw every convolution's weight from N(0, 2 / (k² C_in)), and reset norms and what operators learn."""
        for layer in self.children():
            weight = getattr(layer, "weight", None)
            if isinstance(layer, nn.BatchNorm2d):
                layer.reset_parameters()
            elif isinstance(weight, Tensor):
                nn.init.normal_(weight, std=(2 / weight[0].numel()) ** 0.5)
            if isinstance(layer, DecoupledLayer):
                layer.reset_operator()

    def forward(self, images: Float[Tensor, "N C H W"]) -> Float[Tensor, "N D"]:
        """Features (N, D) of the images (N, C, H, W)."""
        check_images("CNN", images, self.image_shape)
        maps = images
        for layer in self.children():
            maps = layer(maps)
        return maps.flatten(1)

    def extra_repr(self) -> str:
        """What the layers below do not show."""
        return f"image_shape={self.image_shape}, num_features={self.num_features}"


def _check_sizes(
    convs_per_block: int, widths: Sequence[int], feature_width: int | None, image_shape: Sequence[int]
) -> None:
    """Raise ValueError unless the sizes make a network."""
    check_count("CNN", "convs_per_block", convs_per_block, low=1)
    if not widths:
        raise ValueError("CNN: expected widths of at least one block, got none.")
    for width in widths:
        check_count("CNN", "the width of a block", width, low=1)
    if feature_width is not None:
        check_count("CNN", "feature_width", feature_width, low=1)
    check_image_shape("CNN", image_shape, 2 ** len(widths))
