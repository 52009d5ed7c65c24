# SPDX-License-Identifier: MIT
"""The sentences of every error a user can meet: who speaks, what was expected, what arrived, what to do."""

from __future__ import annotations

import difflib
import numbers
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import torch

__all__ = [
    "check_choice",
    "check_count",
    "check_floating",
    "check_matrix",
    "check_range",
    "lookup",
    "nearest",
    "problems",
]

Entry = TypeVar("Entry")


def nearest(name: str, choices: Collection[str]) -> str | None:
    """The entry of `choices` most similar to `name`, or None when nothing is close."""
    found = difflib.get_close_matches(name.lower(), [choice.lower() for choice in choices], n=1, cutoff=0.6)
    return next((choice for choice in choices if found and choice.lower() == found[0]), None)


def unknown_name(kind: str, name: str, choices: Collection[str]) -> str:
    """The sentence for a name that is not in a table."""
    guess = nearest(name, choices)
    hint = f" (did you mean {guess!r}?)" if guess else ""
    return f"unknown {kind} {name!r}: choose {', '.join(sorted(choices))}{hint}"


def _no_name(value: object, choices: Collection[str]) -> str:
    """The sentence for something that is no name at all."""
    return f"expected a string, one of {', '.join(sorted(choices))}, got {value!r}."


def lookup(kind: str, name: str, table: Mapping[str, Entry]) -> Entry:
    """`table[name]`, or a ValueError that lists the choices and the nearest one; a TypeError if it is no string."""
    if not isinstance(name, str):
        raise TypeError(f"{kind}: {_no_name(name, list(table))}")
    if name not in table:
        raise ValueError(unknown_name(kind, name, list(table)))
    return table[name]


def check_choice(who: str, argument: str, value: str, choices: Sequence[str]) -> None:
    """Raise ValueError unless `value` is one of `choices`, TypeError if it is no string."""
    if not isinstance(value, str):
        raise TypeError(f"{who}: {argument}: {_no_name(value, choices)}")
    if value not in choices:
        raise ValueError(f"{who}: {unknown_name(argument, value, choices)}")


def check_channel_order(who: str, order: str, channels: int) -> None:
    """Raise ValueError unless `order` is "rgb", or "bgr" for images of 3 channels."""
    check_choice(who, "channel_order", order, ["rgb", "bgr"])
    if order == "bgr" and channels != 3:
        raise ValueError(f"{who}: channel_order 'bgr' needs images of 3 channels, got {channels}. Leave it out.")


def check_count(who: str, argument: str, value: object, *, low: int = 1) -> None:
    """Raise ValueError unless `value` is a whole number of `low` or more (True and 3.0 are not)."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or int(value) < low:
        raise ValueError(f"{who}: {argument} must be a whole number of {low} or more, got {value!r}.")


def check_flag(who: str, argument: str, value: object) -> None:
    """Raise TypeError unless `value` is True or False: a word is neither, though "no" would count as a yes."""
    if not isinstance(value, bool):
        raise TypeError(f"{who}: {argument} must be True or False, got {value!r}.")


def check_range(
    who: str,
    argument: str,
    value: float,
    *,
    low: float = float("-inf"),
    high: float = float("inf"),
    unit: str = "",
    hint: str = "",
) -> None:
    """Raise ValueError unless `low <= value <= high` (NaN never passes), TypeError if `value` is no number, as True."""
    given: object = value
    if isinstance(given, bool) or not isinstance(given, numbers.Real):
        raise TypeError(f"{who}: {argument} must be a number, got {value!r}." + (f" {hint}" if hint else ""))
    if not low <= value <= high:
        interval = f"[{low:g}, {high:g}]" + (f" {unit}" if unit else "")
        raise ValueError(f"{who}: {argument} must lie in {interval}, got {value:g}." + (f" {hint}" if hint else ""))


def check_floating(who: str, argument: str, value: torch.Tensor) -> None:
    """Raise TypeError unless `value` is a floating-point tensor."""
    import torch  # here, so that what reads settings and prints help does not wait for it

    if not isinstance(value, torch.Tensor):
        raise TypeError(f"{who}: expected {argument} to be a torch.Tensor, got {type(value).__name__}.")
    if not value.is_floating_point():
        raise TypeError(
            f"{who}: expected {argument} of a floating-point dtype, got {value.dtype}. Call .float() on it first."
        )


def check_matrix(who: str, argument: str, value: torch.Tensor, axes: str) -> None:
    """Raise unless `value` is a floating-point tensor with as many axes as `axes` names, such as `"K D"`."""
    check_floating(who, argument, value)
    letters = axes.split()
    if value.ndim != len(letters):
        raise ValueError(f"{who}: expected {argument} ({', '.join(letters)}), got shape {tuple(value.shape)}.")


def problems(who: str, found: Sequence[str]) -> None:
    """Raise one ValueError that reports every independent problem in `found`; do nothing when it is empty."""
    if len(found) == 1:
        raise ValueError(f"{who}: {found[0]}")
    if found:
        raise ValueError(f"{who}: {len(found)} problems:\n" + "\n".join(f"  - {problem}" for problem in found))
