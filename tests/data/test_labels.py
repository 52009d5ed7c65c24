# SPDX-License-Identifier: MIT
"""Names and numbers become classes; what is missing is told by row."""

from __future__ import annotations

import pytest
import torch

from hypersphere.data.labels import class_names_of, class_numbers


def row(number: int) -> str:
    return f"row {number}"


def test_classes_are_the_distinct_values_in_order() -> None:
    assert class_names_of(["b", "a", "b", "", None]) == ["a", "b"]
    assert class_names_of(["10", "9", "100"]) == ["9", "10", "100"]
    assert class_names_of([3, 1, -1, None]) == ["1", "3"]
    assert class_names_of(["10", "9", "x"]) == ["10", "9", "x"]


def test_declared_numbers_are_taken_as_they_are() -> None:
    labels = class_numbers([2, 0, 2], ["a", "b", "c"], declared=True, where=row)
    assert torch.equal(labels, torch.tensor([2, 0, 2]))


def test_undeclared_numbers_are_closed_up() -> None:
    assert class_numbers([7, 3, 7], ["3", "7"], declared=False, where=row).tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "row 1: the label is missing; images without a label cannot be used."),
        ("", "row 1: the label is missing; images without a label cannot be used."),
        (-1, "row 1: the label is -1: it is hidden or missing; images without a label cannot be used."),
        (2, r"row 1: label 2 is out of range: there are 2 classes, 0 to 1 \(a, b\)."),
        ("c", r"row 1: label 'c' is out of range: there are 2 classes, 0 to 1 \(a, b\)."),
    ],
)
def test_a_bad_label_is_told_with_its_row(value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        class_numbers([0, value, value], ["a", "b"], declared=True, where=row)


def test_many_classes_are_not_listed_in_full() -> None:
    with pytest.raises(ValueError, match=r"there are 100 classes, 0 to 99 \(c0, c1, ..., c99\)."):
        class_numbers([100], [f"c{number}" for number in range(100)], declared=True, where=row)
