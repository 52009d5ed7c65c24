# SPDX-License-Identifier: MIT
"""The checks of images: what passes, and the sentence for what does not."""

from __future__ import annotations

import pytest
import torch

from hypersphere.models.images import check_image_shape, check_images


def test_images_of_the_right_shape_pass() -> None:
    check_image_shape("net", [3, 8, 9], 8)
    check_images("net", torch.zeros(0, 3, 8, 9), [3, 8, 9])


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((8, 8), r"net: image_shape must be \(channels, height, width\), got \(8, 8\)\."),
        ((0, 8, 8), r"net: channels of image_shape must be a whole number of 1 or more, got 0\."),
        ((3, 7, 8), r"net: height of image_shape must be a whole number of 8 or more, got 7\."),
        ((3, 8, 8.5), r"net: width of image_shape must be a whole number of 8 or more, got 8\.5\."),
    ],
)
def test_a_shape_that_makes_no_network_is_refused(shape: tuple[float, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_image_shape("net", shape, 8)


@pytest.mark.parametrize("shape", [(3, 8, 8), (2, 1, 8, 8), (2, 3, 8, 9)])
def test_images_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"net: expected images \(N, 3, 8, 8\), got \(.*\)\. Give image_shape when"):
        check_images("net", torch.zeros(shape), (3, 8, 8))
