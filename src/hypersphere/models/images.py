# SPDX-License-Identifier: MIT
"""What every network checks of its images: the shape that it is built for, and the shape that arrives."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from hypersphere.checks import check_count

__all__ = ["check_image_shape", "check_images"]


def check_image_shape(who: str, image_shape: Sequence[int], smallest: int) -> None:
    """Raise ValueError unless `image_shape` is (channels, height, width) with sides of `smallest` or more."""
    if len(image_shape) != 3:
        raise ValueError(f"{who}: image_shape must be (channels, height, width), got {tuple(image_shape)}.")
    for axis, size, low in zip(("channels", "height", "width"), image_shape, (1, smallest, smallest), strict=True):
        check_count(who, f"{axis} of image_shape", size, low=low)


def check_images(who: str, images: Tensor, image_shape: Sequence[int]) -> None:
    """Raise ValueError unless `images` are (N, channels, height, width) as the network was built for."""
    if images.ndim != 4 or tuple(images.shape[1:]) != tuple(image_shape):
        raise ValueError(
            f"{who}: expected images (N, {', '.join(map(str, image_shape))}), got {tuple(images.shape)}. "
            "Give image_shape when the model is built."
        )
