# SPDX-License-Identifier: MIT
"""Choosing a threshold: against loops over the whole grid, with exact ties."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypersphere.evaluation.embeddings import FUSIONS
from hypersphere.evaluation.thresholds import PROTOCOLS

SAME = st.lists(st.booleans(), min_size=1, max_size=12)


def test_the_official_grid_has_20001_thresholds_and_the_mean_of_the_best_wins() -> None:
    rule = PROTOCOLS["lfw-official"]
    first, last, steps = rule.grid
    assert (last - first + 1, first / steps, last / steps) == (20001, -1.0, 1.0)
    # all from 0.3001 to 0.4999 tell both pairs right
    assert rule.best_threshold(np.array([0.5, 0.3]), np.array([True, False])) == pytest.approx(0.4, abs=1e-12)
    # nothing but differing pairs: all above 0.3 are right
    assert rule.best_threshold(np.array([0.3]), np.array([False])) == pytest.approx((0.3001 + 1) / 2, abs=1e-12)


@given(SAME, st.integers(0, 2**31))
def test_the_official_rule_is_a_loop_over_the_grid(same: list[bool], seed: int) -> None:
    # scores on the grid itself, so that equality occurs
    scores = np.random.default_rng(seed).integers(-20, 20, len(same)) / 20
    truth = np.array(same)
    grid = np.arange(-10_000, 10_001) / 10_000
    right = (scores[truth] > grid[:, None]).sum(axis=1) + (scores[~truth] < grid[:, None]).sum(axis=1)
    expected = grid[right == right.max()].mean()
    assert PROTOCOLS["lfw-official"].best_threshold(scores, truth) == pytest.approx(expected, abs=1e-12)


@given(SAME, st.integers(0, 2**31))
def test_the_common_rule_is_a_loop_over_distances(same: list[bool], seed: int) -> None:
    # neighbours on the grid, so that a distance equal to the best threshold occurs
    distances = np.random.default_rng(seed).integers(0, 9, len(same)) / 100
    truth = np.array(same)
    # 0.01 times a whole number and that number over 100 differ in the last digit
    grid = np.arange(400) / 100
    right = [((distances < threshold) == truth).mean() for threshold in grid]
    threshold = PROTOCOLS["lfw-common"].best_threshold(-distances, truth)
    assert -threshold == grid[int(np.argmax(right))]
    told = PROTOCOLS["lfw-common"].right(-distances, truth, threshold)
    np.testing.assert_array_equal(told, (distances < -threshold) == truth)


def test_a_score_equal_to_the_threshold() -> None:
    scores, same = np.array([0.0, 0.0]), np.array([True, False])
    assert PROTOCOLS["lfw-official"].right(scores, same, 0.0).tolist() == [False, False]
    assert PROTOCOLS["lfw-common"].right(scores, same, 0.0).tolist() == [False, True]


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_rule_reads_as_a_sentence(name: str) -> None:
    assert PROTOCOLS[name].fusion in FUSIONS
    assert str(PROTOCOLS[name]) in {
        "both views side by side, mean of the other folds subtracted; cosine; mean of the best thresholds of the other "
        "folds; mean and standard error",
        "sum of both views; squared distance of unit vectors; first of the best thresholds of the other folds; mean "
        "and standard deviation",
    }
