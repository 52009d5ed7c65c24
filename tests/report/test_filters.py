# SPDX-License-Identifier: MIT
"""Tests of report.filters."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from hypersphere.report.filters import filter_pixels, picture


def test_zero_is_middle_grey_and_the_largest_weight_full_contrast() -> None:
    pixels = filter_pixels(np.array([[[0.0, 2.0], [-1.0, -2.0]]]))
    assert pixels.tolist() == [[128, 255], [64, 0]]


def test_three_channels_are_colour() -> None:
    image = np.zeros((3, 2, 4))
    image[0, 0, 0] = 1.0
    pixels = filter_pixels(image)
    assert pixels.shape == (2, 4, 3)
    assert pixels[0, 0].tolist() == [255, 128, 128]


def test_zero_and_broken_filters_are_grey() -> None:
    assert (filter_pixels(np.zeros((1, 2, 2))) == 128).all()
    assert (filter_pixels(np.full((1, 2, 2), np.nan)) == 128).all()
    assert filter_pixels(np.array([[[np.inf, 1.0]]])).tolist() == [[128, 255]]


def test_other_channels_are_refused() -> None:
    with pytest.raises(
        ValueError, match=r"^filter_pixels: expected a filter \(1 or 3, H, W\), got shape \(2, 3, 3\)\.$"
    ):
        filter_pixels(np.zeros((2, 3, 3)))


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3)])
def test_a_picture_holds_its_pixels(shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    kind, _, data = picture(pixels).partition(",")
    assert kind == "data:image/png;base64"
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))), pixels)
