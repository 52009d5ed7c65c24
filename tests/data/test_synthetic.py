# SPDX-License-Identifier: MIT
"""Drawn images are always the same, of any size, and easily told apart."""

from __future__ import annotations

import re

import pytest
import torch

from hypersphere.data import normalize_pixels
from hypersphere.data.synthetic import NUM_CLASSES, load_synthetic


@pytest.mark.parametrize(("split", "num"), [("train", 300), ("test", 20)])
def test_images_are_the_same_every_time(split: str, num: int) -> None:
    first, second = (load_synthetic(split, size=12) for _ in range(2))
    assert torch.equal(first.images, second.images)
    assert first.image_shape == (3, 12, 12)
    assert torch.bincount(first.labels).tolist() == [num // NUM_CLASSES] * NUM_CLASSES
    assert len({image.numpy().tobytes() for image in first.images}) == num


def test_no_test_image_is_in_train() -> None:
    train, test = ({image.numpy().tobytes() for image in load_synthetic(split).images} for split in ("train", "test"))
    assert train.isdisjoint(test)


@pytest.mark.parametrize("size", [1, 7, 40])
def test_any_size_can_be_drawn(size: int) -> None:
    images = load_synthetic("test", size=size)
    assert images.images.shape == (20, 3, size, size)
    assert images.class_names[3] == "colour 3"


def test_a_mean_colour_tells_the_classes_apart() -> None:
    train, test = (load_synthetic(split) for split in ("train", "test"))
    colours, asked = (normalize_pixels(part.images, [0.0], [255.0]).mean((2, 3)) for part in (train, test))
    centers = torch.stack([colours[train.labels == label].mean(0) for label in range(NUM_CLASSES)])
    nearest = torch.cdist(asked, centers).argmin(1)
    assert (nearest == test.labels).float().mean() >= 0.9


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match=re.escape("synthetic: size must be a whole number of 1 or more, got 0.")):
        load_synthetic("train", size=0)
    with pytest.raises(ValueError, match=r"synthetic: .*split.*'validation'"):
        load_synthetic("validation")


def test_images_need_not_be_square() -> None:
    images = load_synthetic("test", size=[12, 20])
    assert images.image_shape == (3, 12, 20)
    assert torch.equal(load_synthetic("test", size=[12, 12]).images, load_synthetic("test", size=12).images)
