# SPDX-License-Identifier: MIT
"""What the numbers of a section must fulfil, said in one error for all of them."""

from __future__ import annotations

import math

from hypersphere.checks import problems

__all__ = ["at_least", "layer_weights", "require"]


def require(who: str, conditions: dict[str, bool]) -> None:
    """Raise one ValueError with every sentence whose condition does not hold.

    Example:
        >>> require("data", {"padding must be 0 or more, got -1.": False, "std must be above 0, got 1.": True})
        Traceback (most recent call last):
        ValueError: data: padding must be 0 or more, got -1.
    """
    problems(who, [sentence for sentence, holds in conditions.items() if not holds])


def at_least(low: int, **numbers: float | None) -> dict[str, bool]:
    """Conditions that finite numbers are `low` or more; None counts as one that is not used.

    Example:
        >>> at_least(1, steps=0, threads=None)
        {'steps must be 1 or more, got 0.': False}
    """
    return {
        f"{name} must be {low} or more, got {f'{value:g}' if isinstance(value, float) else value}.": (
            low <= value < math.inf
        )
        for name, value in numbers.items()
        if value is not None
    }


def layer_weights(hidden_weight: float, output_weight: float, active: bool) -> dict[str, bool]:
    """What the two weights of a term must fulfil; one that is `active` cannot have both at 0."""
    return {
        **at_least(0, hidden_weight=hidden_weight, output_weight=output_weight),
        "one of hidden_weight and output_weight must be above 0.": not active or hidden_weight + output_weight > 0,
    }
