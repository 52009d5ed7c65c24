# SPDX-License-Identifier: MIT
"""How large a scale must be, and whether a margin can be met, for as many classes as there are."""

from __future__ import annotations

import math

import torch

from hypersphere.checks import check_count
from hypersphere.formulas.margins import Margin, MarginLike, NormalizedSoftmax, as_margin

__all__ = ["proposed_scale", "smallest_nearest_cosine", "unreachable_margin"]


def proposed_scale(
    num_classes: int, *, probability: float = 0.9, margin: MarginLike | None = None, dim: int | None = None
) -> float:
    r"""The smallest scale with which features on their own class vectors can have a softmax probability P on average.

    .. math::
        s \ge \frac{\ln\big((K-1) P / (1-P)\big)}{\varphi(1) - h\big(-\tfrac{1}{K-1}\big)}

    with the margin's target phi and its h of other classes, both the cosine itself without a margin; K class vectors
    have a mean cosine of -1 / (K-1) at the least, and a simplex has it. With fewer than K - 1 dimensions, or classes
    that are not spread evenly, a larger scale is needed. For the scale "feature" it is the length that features must be
    able to have. P is that of the training loss, with the margin in the own logit.

    Args:
        num_classes: K, >= 2.
        probability: P, above 1 / K and below 1.
        margin: a member of `hypersphere.margins`, its name or a mapping; None for no margin. Of one that hangs on the
            length of the feature, the hardest counts.
        dim: D of the features, >= 2; given, a margin that cannot be met in so few dimensions is refused.

    Returns:
        s, dimensionless, above 0.

    Raises:
        ValueError: if a number is out of range, if no scale is large enough (see `unreachable_margin`), or for a margin
            with a binary objective, which has no softmax.

    Source:
        wang2018cosface, eq. 5, for no margin; the same argument holds with one that leaves other classes alone.

    Example:
        >>> round(proposed_scale(10572), 1), round(proposed_scale(10572, margin="cosface"), 1)
        (11.5, 17.6)
    """
    who = "proposed_scale"
    check_count(who, "num_classes", num_classes, low=2)
    if not 1 / num_classes < probability < 1:
        raise ValueError(
            f"{who}: probability must lie between {1 / num_classes:g}, what {num_classes} classes have by chance, "
            f"and 1, got {probability:g}."
        )
    kind = NormalizedSoftmax() if margin is None else as_margin(margin)
    if kind.objective == "binary":
        raise ValueError(f"{who}: {type(kind).__name__} has a logistic loss for each class and no softmax.")
    reason = unreachable_margin(num_classes, kind, dim=dim)
    if reason is not None:
        raise ValueError(f"{who}: {reason}")
    target, other = _target_and_other(kind, -1 / (num_classes - 1))
    return (math.log(num_classes - 1) + math.log(probability / (1 - probability))) / (target - other)


def unreachable_margin(num_classes: int, margin: MarginLike, *, dim: int | None = None) -> str | None:
    r"""Why a margin cannot be met, in a sentence to warn with; None where it can, as far as is known.

    It cannot if even a feature on its own class vector has a logit no higher than that of the nearest other class,
    with the class vectors spread as far as K of them can be: see `smallest_nearest_cosine`. For CosFace that is a
    margin of K / (K-1) or more for K <= D + 1, and of 1 - cos(2 pi / K) in two dimensions.

    Args:
        num_classes: K, >= 2.
        margin: a member of `hypersphere.margins`, its name or a mapping.
        dim: D of the features, >= 2; None for as many as are needed.

    Returns:
        The sentence, or None.

    Raises:
        ValueError: if a number is out of range or the margin unknown.

    Source:
        wang2018cosface, sec. 3.4.

    Example:
        >>> unreachable_margin(10, "cosface", dim=64) is None
        True
        >>> print(unreachable_margin(10, "cosface", dim=2).split(":")[0])
        CosFace(cosine=0.35) cannot be met by 10 classes in 2 dimensions
    """
    who = "unreachable_margin"
    check_count(who, "num_classes", num_classes, low=2)
    if dim is not None:
        check_count(who, "dim", dim, low=2)
    kind = as_margin(margin)
    target, other = _target_and_other(kind, smallest_nearest_cosine(num_classes, dim))
    if target > other:
        return None
    where, more = ("", "") if dim is None else (f" in {dim} dimensions", " or more dimensions")
    return (
        f"{kind} cannot be met by {num_classes} classes{where}: in units of the scale, a feature on the vector of its "
        f"own class has {target:g}, and the nearest other class {other:g} at best. Take a smaller margin{more}."
    )


def smallest_nearest_cosine(num_classes: int, dim: int | None = None) -> float:
    r"""A lower bound for the largest cosine between any two of K class vectors in D dimensions.

    -1 / (K-1) for K <= D + 1 (a simplex has it), cos(2 pi / K) for D = 2 (a polygon has it), 0 for K <= 2 D (a
    cross-polytope has it), beyond that 0 too, or for D = 3 the bound of Fejes Tóth, which 12 points have.

    Args:
        num_classes: K, >= 2.
        dim: D, >= 2; None for K - 1.

    Source:
        rankin1955caps; fejestoth1943distance for D = 3.

    Example:
        >>> round(smallest_nearest_cosine(12, 3), 6) == round(1 / 5**0.5, 6)
        True
    """
    if dim is None or num_classes <= dim + 1:
        return -1 / (num_classes - 1)
    if dim == 2:
        return math.cos(2 * math.pi / num_classes)
    if dim == 3:
        # a squared distance of at most 4 - 1 / sin(w)^2
        width = math.pi * num_classes / (6 * (num_classes - 2))
        return max(0.0, (1 / math.sin(width) ** 2 - 2) / 2)
    return 0.0


def _target_and_other(margin: Margin, cosine: float) -> tuple[float, float]:
    """In units of the scale: the least target of a feature on its own class vector, and the logit of another class."""
    one = torch.ones((), dtype=torch.float64)
    state = {name: torch.tensor(value, dtype=torch.float64) for name, value in margin.initial_state().items()}
    # a short feature and a long one
    targets = [float(margin.target(one, length * one, state)) for length in (1e-9, 1e9)]
    return min(targets), float(margin.others(cosine * one, one, state))
