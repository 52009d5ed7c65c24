# SPDX-License-Identifier: MIT
"""The words by which files and folders announce their split, and lists in messages."""

from __future__ import annotations

import pytest

from hypersphere.data.sources import one_line, some, split_named


@pytest.mark.parametrize(
    ("text", "split"),
    [
        ("train", "train"),
        ("Training", "train"),
        ("test_0.parquet", "test"),
        ("validation-00000-of-00001.parquet", "validation"),
        ("val", "validation"),
        ("dev.csv", "validation"),
        ("trains", None),
        ("my-train", None),
        ("0001", None),
    ],
)
def test_the_split_is_told_by_the_first_word(text: str, split: str | None) -> None:
    assert split_named(text) == split


def test_long_lists_are_cut_short() -> None:
    assert some(["a", "b"]) == "a, b"
    assert some(list(range(8)), limit=3) == "0, 1, 2 and 5 more"


def test_an_error_is_told_in_one_line() -> None:
    assert one_line(ValueError("two\n  lines.")) == "two lines"
    assert one_line(KeyError()) == "KeyError"
