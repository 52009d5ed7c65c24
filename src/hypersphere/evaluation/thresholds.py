# SPDX-License-Identifier: MIT
"""How verification scores a pair and chooses a threshold: the rules by name."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["PROTOCOLS", "Protocol"]


@dataclass(frozen=True)
class Protocol:
    """How pairs are scored and a threshold is chosen on the other folds.

    Args:
        fusion: how embeddings of an image and its mirror image are joined, a name of `FUSIONS`.
        score: "cosine", or "distance" for minus the squared Euclidean distance of unit vectors.
        centred: whether the mean of the left and right embeddings of the other folds is subtracted first.
        grid: thresholds are the whole numbers from `grid[0]` to `grid[1]`, divided by `grid[2]`.
        ties: of equally accurate thresholds, their "mean" or the "largest" (as scores fall with distance, the smallest
            distance).
        equal: what a score equal to the threshold is: "wrong" for either kind, or told to be "different".
        spread: of the folds' accuracies, "standard error" (of the mean, from the sample variance) or "standard
            deviation" (of the population).
    """

    fusion: str
    score: str
    centred: bool
    grid: tuple[int, int, int]
    ties: str
    equal: str
    spread: str

    def __str__(self) -> str:
        views = {"concat": "both views side by side", "sum": "sum of both views"}[self.fusion]
        centred = ", mean of the other folds subtracted" if self.centred else ""
        kind = "cosine" if self.score == "cosine" else "squared distance of unit vectors"
        ties = "mean of the best thresholds" if self.ties == "mean" else "first of the best thresholds"
        return f"{views}{centred}; {kind}; {ties} of the other folds; mean and {self.spread}"

    def best_threshold(self, scores: np.ndarray, same: np.ndarray) -> float:
        """The threshold of the grid that tells most of the pairs (P,) right, ties resolved as the rule has it."""
        first, last, steps = self.grid
        whole = np.arange(first, last + 1)
        genuine, impostors = np.sort(scores[same]), np.sort(scores[~same])
        num_right = len(genuine) - np.searchsorted(genuine, whole / steps, side="right")
        num_right += np.searchsorted(impostors, whole / steps, side="left" if self.equal == "wrong" else "right")
        best = whole[num_right == num_right.max()]
        return float(best.mean() if self.ties == "mean" else best[-1]) / steps

    def right(self, scores: np.ndarray, same: np.ndarray, thresholds: np.ndarray | float) -> np.ndarray:
        """(P,) bool, which pairs a threshold (one, or one for each) tells right."""
        below = scores < thresholds if self.equal == "wrong" else scores <= thresholds
        return np.where(same, scores > thresholds, below)


PROTOCOLS: dict[str, Protocol] = {
    "lfw-official": Protocol("concat", "cosine", True, (-10_000, 10_000, 10_000), "mean", "wrong", "standard error"),
    "lfw-common": Protocol("sum", "distance", False, (-399, 0, 100), "largest", "different", "standard deviation"),
}
"""Rules of verification by name: as in the released SphereFace code, and as in InsightFace and most code since."""
