# SPDX-License-Identifier: MIT
"""A list of pairs to verify: which two images, whether of the same person, in which fold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hypersphere.checks import check_count, check_range, problems
from hypersphere.evaluation.embeddings import whole_numbers

__all__ = ["Pairs"]


@dataclass(frozen=True)
class Pairs:
    """P pairs of rows of an embedding matrix.

    Args:
        left: (P,) row of the first image of each pair, >= 0.
        right: (P,) row of the second.
        same: (P,) bool, whether both are of one person.
        fold: (P,) fold of each pair, 1 to F without a gap.

    Raises:
        TypeError: if rows or folds are not whole numbers, or `same` is not bool.
        ValueError: if lengths differ, there are no pairs, a row is negative, or a fold has none.

    Example:
        >>> Pairs(*np.array([[0, 1], [2, 2]]), np.array([True, False]), fold=np.array([1, 2])).num_folds
        2
    """

    left: np.ndarray
    right: np.ndarray
    same: np.ndarray
    fold: np.ndarray

    def __post_init__(self) -> None:
        left = whole_numbers("Pairs", "left", self.left)
        same = np.asarray(self.same)
        if same.dtype != np.bool_:
            raise TypeError(f"Pairs: expected same of bool, got {same.dtype}.")
        right = whole_numbers("Pairs", "right", self.right, len(left))
        fold = whole_numbers("Pairs", "fold", self.fold, len(left))
        if same.shape != left.shape or not len(left):
            raise ValueError(f"Pairs: expected one pair or more and same {left.shape}, got {same.shape}.")
        found = []
        if min(left.min(), right.min()) < 0:
            found.append(f"left and right must be rows of 0 or more, got {min(left.min(), right.min())}.")
        folds = np.unique(fold)
        if not np.array_equal(folds, np.arange(1, len(folds) + 1)):
            found.append(f"folds must be numbered from 1 without a gap, got {_few(folds)}.")
        problems("Pairs", found)
        for name, value in (("left", left), ("right", right), ("same", same), ("fold", fold)):
            object.__setattr__(self, name, value)

    def __len__(self) -> int:
        return len(self.left)

    @property
    def num_folds(self) -> int:
        """F."""
        return int(self.fold.max())

    def check_rows(self, who: str, num_rows: int) -> None:
        """Raise ValueError in the name of `who` if a pair names a row that embeddings of `num_rows` rows lack."""
        largest = int(max(self.left.max(), self.right.max()))
        if largest >= num_rows:
            raise ValueError(
                f"{who}: the pairs name row {largest}, but there are {num_rows} embeddings (rows 0 to {num_rows - 1})."
            )

    def check_fold(self, who: str, only_fold: int | None) -> None:
        """Raise ValueError in the name of `who` unless there are two folds or more, and this one, or None, is one."""
        if self.num_folds < 2:
            raise ValueError(f"{who}: expected two folds or more, as thresholds come from the other folds, got 1.")
        if only_fold is not None:
            check_count(who, "only_fold", only_fold)
            check_range(who, "only_fold", only_fold, low=1, high=self.num_folds)


def _few(values: np.ndarray) -> str:
    shown = ", ".join(map(str, values[:5]))
    return f"{shown}, ..." if len(values) > 5 else shown
