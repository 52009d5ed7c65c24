# SPDX-License-Identifier: MIT
"""The exact ROC of scored pairs: true accepts at a rate of false ones, equal error rate, area."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from hypersphere.checks import check_range

__all__ = ["OperatingPoint", "Roc", "check_scores", "num_allowed", "operating_point", "roc_curve"]


@dataclass(frozen=True)
class OperatingPoint:
    """What a threshold accepts: pairs whose score is larger.

    Args:
        target: rate of false accepts that was allowed, in [0, 1].
        tar: true accept rate, in [0, 1].
        far: rate of false accepts that occurs, at most the target.
        threshold: accepted is a score above it; -infinity accepts all.
        false_accepts: how many impostors are accepted.
        num_impostors: of how many.
        resolved: False if the target is below one impostor in all, so that the figure rests on none at all.
    """

    target: float
    tar: float
    far: float
    threshold: float
    false_accepts: int
    num_impostors: int
    resolved: bool

    def __str__(self) -> str:
        few = "" if self.resolved else " (too few pairs)"
        return f"TAR {self.tar:.4f} at FAR {self.target:g}{few}"

    @classmethod
    def of(cls, entries: Mapping[str, Any]) -> OperatingPoint:
        """The point of its `entries`."""
        threshold = entries["threshold"]
        return cls(**{**entries, "threshold": -math.inf if threshold is None else threshold})

    def entries(self) -> dict[str, object]:
        """For a JSON file, which has no word for infinity: a threshold of None accepts all."""
        return asdict(self) | {"threshold": self.threshold if math.isfinite(self.threshold) else None}


@dataclass(frozen=True)
class Roc:
    """Vertices of a ROC, one for each distinct score and one that accepts all, from none accepted to all.

    Args:
        thresholds: (V,) float64, falling; the last is -infinity. Accepted is a score above.
        true_accepts: (V,) int64, accepted genuine pairs.
        false_accepts: (V,) int64, accepted impostors.
    """

    thresholds: np.ndarray
    true_accepts: np.ndarray
    false_accepts: np.ndarray

    @property
    def num_genuine(self) -> int:
        """Pairs of one person."""
        return int(self.true_accepts[-1])

    @property
    def num_impostors(self) -> int:
        """Pairs of two people."""
        return int(self.false_accepts[-1])

    @property
    def tar(self) -> np.ndarray:
        """(V,) true accept rates, in [0, 1]."""
        return np.asarray(self.true_accepts / self.num_genuine)

    @property
    def far(self) -> np.ndarray:
        """(V,) false accept rates, in [0, 1]."""
        return np.asarray(self.false_accepts / self.num_impostors)

    def tar_at_far(self, target: float) -> OperatingPoint:
        """The largest true accept rate whose false accept rate is at most `target`; nothing is interpolated.

        Scores that tie are accepted together or not at all.

        Raises:
            ValueError: if `target` lies outside [0, 1].
        """
        vertex = int(np.searchsorted(self.false_accepts, num_allowed(target, self.num_impostors), side="right")) - 1
        accepted = int(self.false_accepts[vertex])
        return OperatingPoint(
            target,
            int(self.true_accepts[vertex]) / self.num_genuine,
            accepted / self.num_impostors,
            float(self.thresholds[vertex]),
            accepted,
            self.num_impostors,
            num_allowed(target, self.num_impostors) >= 1,
        )

    def equal_error_rate(self) -> float:
        """The rate at which false accepts equal false rejects, in [0, 1], on straight lines between the vertices.

        Between two vertices lies the ROC of a verifier that draws one of the two thresholds at random; neither the
        convex hull nor the mean of the two nearest rates is taken.
        """
        far, frr = self.far, 1.0 - self.tar
        difference = far - frr
        after = int(np.argmax(difference >= 0))
        # the first vertex accepts nothing: there the difference is -1
        share = -difference[after - 1] / (difference[after] - difference[after - 1])
        return float(far[after - 1] + share * (far[after] - far[after - 1]))

    def area(self) -> float:
        """Area under the ROC: how often a genuine pair scores above an impostor, a tie counting half (Mann-Whitney)."""
        widths = np.diff(self.false_accepts)
        twice_heights = self.true_accepts[1:] + self.true_accepts[:-1]
        # whole numbers, exact far beyond the pairs of any protocol
        return int(np.dot(widths, twice_heights)) / (2 * self.num_genuine * self.num_impostors)

    def corners(self) -> Roc:
        """The same curve without vertices that lie inside a horizontal or vertical line."""
        up, along = np.diff(self.true_accepts), np.diff(self.false_accepts)
        straight = ((up[1:] == 0) & (up[:-1] == 0)) | ((along[1:] == 0) & (along[:-1] == 0))
        kept = np.concatenate([[True], ~straight, [True]])
        return Roc(self.thresholds[kept], self.true_accepts[kept], self.false_accepts[kept])


def check_scores(who: str, scores: np.ndarray, same: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scores (P,) as float64 and whether each is genuine (P,), both kinds present.

    Raises:
        TypeError: if `same` is not bool.
        ValueError: if shapes differ, a score is not finite, or one kind is missing.
    """
    scores, same = np.asarray(scores, dtype=np.float64), np.asarray(same)
    if same.dtype != np.bool_:
        raise TypeError(f"{who}: expected same of bool, got {same.dtype}.")
    if scores.ndim != 1 or scores.shape != same.shape:
        raise ValueError(f"{who}: expected scores (P,) and same (P,), got {scores.shape} and {same.shape}.")
    if not np.isfinite(scores).all():
        raise ValueError(f"{who}: scores must be finite, got {int((~np.isfinite(scores)).sum())} that are not.")
    if same.all() or not same.any():
        raise ValueError(
            f"{who}: expected pairs of one person and pairs of two, got {int(same.sum())} and {int((~same).sum())}."
        )
    return scores, same


def roc_curve(scores: np.ndarray, same: np.ndarray) -> Roc:
    """The exact ROC of P scored pairs.

    Args:
        scores: (P,) finite, larger for what is more alike.
        same: (P,) bool, both kinds present.

    Raises:
        TypeError, ValueError: as `check_scores`.

    Edge cases:
        A genuine pair and an impostor of equal score are joined by a sloping line.

    Example:
        >>> curve = roc_curve(np.array([0.9, 0.6, 0.4, 0.1]), np.array([True, False, True, False]))
        >>> curve.tar_at_far(0.0).tar, curve.tar_at_far(0.5).tar, curve.area()
        (0.5, 1.0, 0.75)
    """
    scores, same = check_scores("roc_curve", scores, same)
    distinct, place = np.unique(scores, return_inverse=True)
    counts = [np.bincount(place[chosen], minlength=len(distinct))[::-1].cumsum() for chosen in (same, ~same)]
    genuine, impostors = (np.concatenate([[0], count]).astype(np.int64) for count in counts)
    return Roc(np.append(distinct[::-1], -np.inf), genuine, impostors)


def num_allowed(target: float, num_impostors: int) -> int:
    """The most false accepts among `num_impostors` whose rate, as a float, is at most `target`.

    Raises:
        ValueError: if `target` lies outside [0, 1].

    Example:
        >>> num_allowed(0.07, 100), int(0.29 * 100), num_allowed(0.29, 100)
        (7, 28, 29)
    """
    check_range("tar_at_far", "target", target, low=0.0, high=1.0)
    # the product may be rounded to either side of a whole number
    allowed = int(target * num_impostors)
    while allowed < num_impostors and (allowed + 1) / num_impostors <= target:
        allowed += 1
    while allowed > 0 and allowed / num_impostors > target:
        allowed -= 1
    return allowed


def operating_point(
    genuine: np.ndarray, largest_impostors: np.ndarray, num_impostors: int, target: float
) -> OperatingPoint:
    """`Roc.tar_at_far` when only the largest impostor scores are known.

    Args:
        genuine: (G,) scores, G >= 1.
        largest_impostors: their largest scores, falling: one more than `num_allowed` of them, or all.
        num_impostors: how many there are in all, >= 1.
        target: rate in [0, 1].

    Example:
        >>> operating_point(np.array([0.3, 0.8]), np.array([0.7, 0.4, 0.2]), 1000, 0.001).threshold
        0.4
    """
    allowed = num_allowed(target, num_impostors)
    assert len(largest_impostors) >= min(allowed + 1, num_impostors)
    threshold = float(largest_impostors[allowed]) if allowed < num_impostors else -np.inf
    accepted = int((largest_impostors > threshold).sum())
    return OperatingPoint(
        target,
        float((genuine > threshold).mean()),
        accepted / num_impostors,
        threshold,
        accepted,
        num_impostors,
        allowed >= 1,
    )
