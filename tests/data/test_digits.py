# SPDX-License-Identifier: MIT
"""The embedded digits and their division, which results of different machines and years are compared on."""

from __future__ import annotations

import zlib

import pytest
import sklearn.datasets
import torch

from hypersphere.data.digits import NUM_TEST, load_digits


def test_the_division_never_changes() -> None:
    train, test = load_digits("train"), load_digits("test")
    assert (len(train), len(test)) == (1297, NUM_TEST) == (1297, 500)
    assert torch.bincount(test.labels).tolist() == [50, 51, 49, 51, 50, 51, 50, 50, 48, 50]
    assert zlib.crc32(test.images.numpy().tobytes()) == 3493158227
    assert zlib.crc32(train.images.numpy().tobytes()) == 4130060684


def test_both_parts_are_the_whole_set() -> None:
    parts = [load_digits(split) for split in ("train", "test")]
    joined = sorted(image.numpy().tobytes() for part in parts for image in part.images)
    whole = torch.from_numpy(sklearn.datasets.load_digits().images * 255 / 16).round().to(torch.uint8)
    assert joined == sorted(image.numpy().tobytes() for image in whole)


def test_images_are_grey_from_black_to_white() -> None:
    test = load_digits("test")
    assert test.image_shape == (1, 8, 8)
    assert test.class_names == [str(digit) for digit in range(10)]
    assert (int(test.images.min()), int(test.images.max())) == (0, 255)
    assert len(test.images.unique()) == 17


def test_there_is_no_other_split() -> None:
    with pytest.raises(ValueError, match="digits: unknown split 'validation': choose test, train"):
        load_digits("validation")
