# SPDX-License-Identifier: MIT
"""From labels as a data set writes them, names or numbers, to classes 0 .. C - 1."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence

import torch
from jaxtyping import Int64
from torch import Tensor

__all__ = ["class_names_of", "class_numbers"]


def class_names_of(values: Iterable[object]) -> list[str]:
    """The classes that labels without declared names stand for: the distinct values, in order.

    Whole numbers, written as text too, are in order of size; negative ones and None mean that a label is missing.

    Example:
        >>> class_names_of(["dog", "cat", "dog", None]), class_names_of([10, 9, -1])
        (['cat', 'dog'], ['9', '10'])
    """
    distinct = {str(value) for value in values if not _is_missing(value)}
    if all(name.isdecimal() for name in distinct):
        return sorted(distinct, key=lambda name: (int(name), name))
    return sorted(distinct)


def class_numbers(
    values: Sequence[object], class_names: Sequence[str], *, declared: bool, where: Callable[[int], str]
) -> Int64[Tensor, " N"]:
    """The class of each row.

    Args:
        values: N labels.
        class_names: the name of each class.
        declared: whether the data set itself names its classes, so that whole numbers are class numbers; otherwise
            every value is looked up by its text.
        where: row number -> file and row in words.

    Raises:
        ValueError: naming the first row whose label is missing (None, empty, or negative, as in hidden test labels) or
            is none of the classes.

    Example:
        >>> class_numbers(["dog", "cat"], ["cat", "dog"], declared=False, where=str)
        tensor([1, 0])
    """
    numbers = {name: number for number, name in enumerate(class_names)}
    by_value: dict[object, int | None] = {}
    for row, value in enumerate(values):
        if value in by_value:
            continue
        if _is_missing(value):
            shown = "is missing" if value is None or value == "" else f"is {value}: it is hidden or missing"
            raise ValueError(f"{where(row)}: the label {shown}; images without a label cannot be used.")
        if declared and isinstance(value, int):
            by_value[value] = value if value < len(class_names) else None
        else:
            by_value[value] = numbers.get(str(value))
        if by_value[value] is None:
            raise ValueError(f"{where(row)}: label {value!r} is out of range: {_classes(class_names)}.")
    return torch.tensor([by_value[value] for value in values], dtype=torch.int64)


def _is_missing(value: object) -> bool:
    return value is None or value == "" or (isinstance(value, int) and value < 0)


def _classes(class_names: Collection[str]) -> str:
    shown = list(class_names)
    listed = ", ".join(shown) if len(shown) <= 5 else f"{shown[0]}, {shown[1]}, ..., {shown[-1]}"
    return f"there are {len(shown)} classes, 0 to {len(shown) - 1} ({listed})"
