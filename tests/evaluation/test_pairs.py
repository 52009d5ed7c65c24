# SPDX-License-Identifier: MIT
"""Lists of pairs: what they are made of, and the sentences for those that are not."""

from __future__ import annotations

import numpy as np
import pytest

from hypersphere.evaluation import Pairs


def made(left: list[float], right: list[float], same: list[object], fold: list[int]) -> Pairs:
    return Pairs(np.array(left), np.array(right), np.array(same), np.array(fold))


def test_rows_and_folds_of_any_width_become_one() -> None:
    for dtype in (np.uint8, np.int32, np.int64):
        rows = np.array([[0, 1, 2], [3, 3, 0], [1, 2, 2]], dtype=dtype)
        pairs = Pairs(rows[0], rows[1], np.array([True, False, True]), rows[2])
        assert len(pairs) == 3
        assert pairs.num_folds == 2
        assert (pairs.left.dtype, pairs.same.dtype, pairs.fold.tolist()) == (np.int64, np.bool_, [1, 2, 2])


def test_pairs_that_are_none_are_refused() -> None:
    with pytest.raises(TypeError, match=r"Pairs: expected same of bool, got int64"):
        made([0], [1], [1], [1])
    with pytest.raises(TypeError, match=r"Pairs: expected right of whole numbers, got float64"):
        made([0], [1.0], [True], [1])
    with pytest.raises(ValueError, match=r"Pairs: expected fold \(1,\), got shape \(2,\)"):
        made([0], [1], [True], [1, 2])
    with pytest.raises(ValueError, match=r"Pairs: expected one pair or more and same \(0,\), got \(0,\)"):
        Pairs(np.zeros(0, int), np.zeros(0, int), np.zeros(0, bool), np.zeros(0, int))
    with pytest.raises(ValueError, match=r"2 problems:\n.*0 or more, got -2\.\n.*without a gap, got 0, 2\."):
        made([0, -2], [1, 1], [True, False], [0, 2])


def test_a_pair_that_names_a_row_that_is_not_there() -> None:
    pairs = made([0, 1], [5, 2], [True, False], [1, 2])
    pairs.check_rows("here", 6)
    with pytest.raises(ValueError, match=r"here: the pairs name row 5, but there are 5 embeddings \(rows 0 to 4\)"):
        pairs.check_rows("here", 5)


def test_a_fold_that_is_not_there() -> None:
    rows = np.arange(4)
    pairs = Pairs(rows, rows[::-1], np.array([True, False] * 2), np.array([1, 1, 2, 2]))
    pairs.check_fold("me", None)
    pairs.check_fold("me", 2)
    for fold, message in (
        (3, r"^me: only_fold must lie in \[1, 2\], got 3\.$"),
        (0, "a whole number of 1 or more, got 0"),
    ):
        with pytest.raises(ValueError, match=message):
            pairs.check_fold("me", fold)
    with pytest.raises(
        ValueError, match=r"^me: expected two folds or more, as thresholds come from the other folds, got"
    ):
        Pairs(rows, rows, np.array([True, False] * 2), np.ones(4, np.int64)).check_fold("me", None)
