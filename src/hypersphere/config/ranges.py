# SPDX-License-Identifier: MIT
"""What the numbers of a section must fulfil, said in one error for all of them."""

from __future__ import annotations

from hypersphere.checks import problems

__all__ = ["layer_weights", "require"]


def require(who: str, conditions: dict[str, bool]) -> None:
    """Raise one ValueError with every sentence whose condition does not hold.

    Example:
        >>> require("data", {"padding must be 0 or more, got -1.": False, "std must be above 0, got 1.": True})
        Traceback (most recent call last):
        ValueError: data: padding must be 0 or more, got -1.
    """
    problems(who, [sentence for sentence, holds in conditions.items() if not holds])


def layer_weights(hidden_weight: float, output_weight: float, active: bool) -> dict[str, bool]:
    """What the two weights of a term must fulfil; one that is `active` cannot have both at 0."""
    return {
        f"hidden_weight must be 0 or more, got {hidden_weight:g}.": hidden_weight >= 0,
        f"output_weight must be 0 or more, got {output_weight:g}.": output_weight >= 0,
        "one of hidden_weight and output_weight must be above 0.": not active or hidden_weight + output_weight > 0,
    }
