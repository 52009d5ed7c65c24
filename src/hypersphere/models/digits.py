# SPDX-License-Identifier: MIT
"""A small network for 8×8 images of digits whose few features can be drawn on a sphere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hypersphere.checks import check_count
from hypersphere.models.images import check_image_shape, check_images
from hypersphere.models.operators import Operator, make_convolution

__all__ = ["DigitsCNN"]


class DigitsCNN(nn.Module):
    r"""Two pairs of 3×3 convolutions with batch normalisation and ReLU, then one linear layer down to the features.

    Args:
        width: channels of the first pair, >= 1; the second has twice as many.
        feature_dim: number of features, >= 1; 3 is what one can look at.
        feature_norm: whether each feature is brought to mean 0 and variance 1 over the batch (no learned scale or
            shift), so that the classes lie around the origin from the start; without it short runs get stuck.
        image_shape: (channels, height, width) of the input, sides of 4 or more.
        operator: name in `OPERATORS` or anything that takes the arguments of `torch.nn.Conv2d`.
        operator_arguments: what that operator takes beyond those, such as angle and magnitude.
        device: where the parameters are made.
        dtype: of the parameters.

    Shape:
        images (N, C, H, W) floating point -> features (N, feature_dim).

    Raises:
        ValueError: for a number out of range, an unknown operator, or images of another shape.

    Example:
        >>> DigitsCNN()(torch.zeros(5, 1, 8, 8)).shape
        torch.Size([5, 3])
    """

    def __init__(
        self,
        width: int = 32,
        *,
        feature_dim: int = 3,
        feature_norm: bool = True,
        image_shape: Sequence[int] = (1, 8, 8),
        operator: str | Operator = "conv",
        operator_arguments: Mapping[str, Any] | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_count("DigitsCNN", "width", width, low=1)
        check_count("DigitsCNN", "feature_dim", feature_dim, low=1)
        check_image_shape("DigitsCNN", image_shape, 4)
        self.image_shape = tuple(image_shape)
        self.num_features = feature_dim
        convolution = make_convolution(operator, operator_arguments, device=device, dtype=dtype)

        def convolved(fan_in: int, fan_out: int) -> nn.Sequential:
            return nn.Sequential(
                convolution(fan_in, fan_out, 3, padding=1),
                nn.BatchNorm2d(fan_out, device=device, dtype=dtype),
                nn.ReLU(inplace=True),
            )

        channels, height, breadth = self.image_shape
        self.block1 = nn.Sequential(convolved(channels, width), convolved(width, width), nn.MaxPool2d(2))
        self.block2 = nn.Sequential(convolved(width, 2 * width), convolved(2 * width, 2 * width), nn.MaxPool2d(2))
        flat = 2 * width * (height // 4) * (breadth // 4)
        self.feature = nn.Linear(flat, feature_dim, bias=False, device=device, dtype=dtype)
        self.norm = nn.BatchNorm1d(feature_dim, affine=False, device=device, dtype=dtype) if feature_norm else None

    def forward(self, images: Float[Tensor, "N C H W"]) -> Float[Tensor, "N D"]:
        """Features (N, D) of the images (N, C, H, W)."""
        check_images("DigitsCNN", images, self.image_shape)
        features: Tensor = self.feature(self.block2(self.block1(images)).flatten(1))
        return features if self.norm is None else self.norm(features)

    def extra_repr(self) -> str:
        """What the layers below do not show."""
        return f"image_shape={self.image_shape}, num_features={self.num_features}"
