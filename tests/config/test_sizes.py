# SPDX-License-Identifier: MIT
"""One number is a square, two are height and width, and nothing else is a size."""

from __future__ import annotations

import numpy as np
import pytest

from hypersphere.config import DataConfig
from hypersphere.config.sizes import sides, size_problem
from hypersphere.training.settings import make_config


def test_a_size_is_a_square_or_height_and_width() -> None:
    assert sides("data", "size", 32) == (32, 32)
    assert sides("data", "size", [112, 96]) == (112, 96)
    assert sides("data", "size", (7, 1)) == (7, 1)
    assert size_problem("size", np.int64(7)) is None


@pytest.mark.parametrize("size", [0, -3, True, 2.0, None, "32"])
def test_what_is_no_number_of_pixels_is_told(size: object) -> None:
    assert size_problem("crop", size) == f"crop must be a whole number of 1 or more, got {size!r}."


@pytest.mark.parametrize("size", [[], [112], [1, 2, 3], [112, 0], [1.5, 2], [True, 2]])
def test_a_list_that_is_no_height_and_width_is_told(size: list) -> None:
    message = f"size must be one whole number of 1 or more, or two of them, [height, width], got {size}."
    assert size_problem("size", size) == message
    with pytest.raises(ValueError, match=r"^who: size must be one whole number .* got \[112\]\.$"):
        sides("who", "size", [112])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": [112]}, r"^data: size must be one whole number .*, \[height, width\], got \[112\]\.$"),
        ({"size": 0}, r"^data: size must be a whole number of 1 or more, got 0\.$"),
        ({"crop": [8, 0]}, r"^data: crop must be one whole number .* got \[8, 0\]\.$"),
        ({"size": 32, "crop": 33}, r"^data: crop must be no more than size, got 33 of 32\.$"),
        ({"size": [32, 40], "crop": 33}, r"^data: crop must be no more than size, got 33 of \[32, 40\]\.$"),
        ({"size": 0, "crop": [0, 0]}, r"^data: 2 problems:\n  - size must be .*\n  - crop must be "),
    ],
)
def test_a_wrong_size_is_a_sentence_of_its_section(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DataConfig(**settings)


def test_flags_and_files_give_either_form() -> None:
    assert make_config(None, ["--data.size", "[112, 96]", "--data.crop", "90"]).data == DataConfig(
        size=[112, 96], crop=90
    )
    assert make_config(None, {"data": {"size": 8, "crop": [8, 4]}}).data == DataConfig(size=8, crop=[8, 4])
    with pytest.raises(
        ValueError, match=r"data\.size: expected a whole number or a list of whole numbers, \[a, b\] or"
    ):
        make_config(None, ["--data.size", "wide"])
