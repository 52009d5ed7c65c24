# SPDX-License-Identifier: MIT
"""Sizes of images as settings give them: one number for a square, or height and width."""

from __future__ import annotations

import numbers
from collections.abc import Sequence

__all__ = ["sides", "size_problem"]


def size_problem(argument: str, size: object) -> str | None:
    """The sentence for what is no size, or None where nothing is wrong.

    Example:
        >>> size_problem("size", [112, 96]), size_problem("size", [112])
        (None, 'size must be one whole number of 1 or more, or two of them, [height, width], got [112].')
    """
    if isinstance(size, Sequence) and not isinstance(size, str):
        if len(size) == 2 and all(map(_is_side, size)):
            return None
        return f"{argument} must be one whole number of 1 or more, or two of them, [height, width], got {list(size)}."
    return None if _is_side(size) else f"{argument} must be a whole number of 1 or more, got {size!r}."


def sides(who: str, argument: str, size: int | Sequence[int]) -> tuple[int, int]:
    """Height and width in pixels.

    Args:
        who: for messages.
        argument: likewise.
        size: one number for both, or [height, width], each 1 or more.

    Raises:
        ValueError: if it is neither.

    Example:
        >>> sides("data", "size", 32), sides("data", "size", [112, 96])
        ((32, 32), (112, 96))
    """
    if problem := size_problem(argument, size):
        raise ValueError(f"{who}: {problem}")
    height, width = (size, size) if isinstance(size, numbers.Integral) else size  # type: ignore[misc]
    return int(height), int(width)


def _is_side(value: object) -> bool:
    return not (isinstance(value, bool) or not isinstance(value, numbers.Integral) or int(value) < 1)
