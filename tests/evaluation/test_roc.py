# SPDX-License-Identifier: MIT
"""The ROC: against loops over thresholds and scikit-learn, with exact ties, and rates that a float cannot hold."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from hypersphere.evaluation import roc_curve
from hypersphere.evaluation.roc import OperatingPoint, num_allowed, operating_point

# few distinct values, so that ties are the rule
SCORED = st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=2, max_size=25).filter(
    lambda pairs: len({same for _, same in pairs}) == 2
)


def split(pairs: list[tuple[int, bool]]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([score for score, _ in pairs], dtype=float), np.array([same for _, same in pairs])


@given(SCORED)
def test_every_vertex_counts_the_scores_above_its_threshold(pairs: list[tuple[int, bool]]) -> None:
    scores, same = split(pairs)
    curve = roc_curve(scores, same)
    assert len(curve.thresholds) == len(set(scores.tolist())) + 1
    for place, threshold in enumerate(curve.thresholds):
        assert curve.true_accepts[place] == (scores[same] > threshold).sum()
        assert curve.false_accepts[place] == (scores[~same] > threshold).sum()


@given(SCORED, st.fractions(0, 1, max_denominator=30))
def test_the_true_rate_is_the_largest_with_a_false_one_of_at_most_the_target(
    pairs: list[tuple[int, bool]], target: Fraction
) -> None:
    scores, same = split(pairs)
    rates = [
        (float((scores[same] > threshold).mean()), float((scores[~same] > threshold).mean()))
        for threshold in [-np.inf, *scores]
    ]
    best = max(tar for tar, far in rates if far <= float(target))
    point = roc_curve(scores, same).tar_at_far(float(target))
    assert point.tar == best
    assert point.far == (scores[~same] > point.threshold).mean() <= float(target)
    assert point.tar == (scores[same] > point.threshold).mean()
    assert point.false_accepts == (scores[~same] > point.threshold).sum()
    assert point.resolved == (float(target) >= 1 / (~same).sum())
    few = np.sort(scores[~same])[::-1][: num_allowed(float(target), point.num_impostors) + 1]
    other = operating_point(scores[same], few, point.num_impostors, float(target))
    # any threshold below the next score accepts the same pairs
    assert (other.tar, other.far, other.false_accepts) == (point.tar, point.far, point.false_accepts)


@given(SCORED)
def test_the_area_is_the_share_of_pairs_in_order(pairs: list[tuple[int, bool]]) -> None:
    scores, same = split(pairs)
    compared = np.sign(scores[same][:, None] - scores[~same][None])
    assert roc_curve(scores, same).area() == pytest.approx((compared.mean() + 1) / 2, abs=1e-15)
    assert roc_curve(scores, same).area() == pytest.approx(roc_auc_score(same, scores), abs=1e-12)
    assert roc_curve(scores, same).corners().area() == roc_curve(scores, same).area()


@given(SCORED)
def test_at_the_equal_error_rate_the_curve_meets_the_diagonal(pairs: list[tuple[int, bool]]) -> None:
    curve = roc_curve(*split(pairs))
    rate = curve.equal_error_rate()
    # on a vertical piece of the curve interpolation would be ambiguous, so both coordinates are followed
    length = curve.far + curve.tar
    place = np.interp(0.0, curve.far + curve.tar - 1, length)
    assert rate == pytest.approx(np.interp(place, length, curve.far), abs=1e-12)
    assert 1 - rate == pytest.approx(np.interp(place, length, curve.tar), abs=1e-12)


def test_equal_error_rates_by_hand() -> None:
    separate = roc_curve(np.array([3.0, 2.0, 1.0, 0.0]), np.array([True, True, False, False]))
    assert separate.equal_error_rate() == 0.0
    turned = roc_curve(np.array([3.0, 2.0, 1.0, 0.0]), np.array([False, False, True, True]))
    assert turned.equal_error_rate() == 1.0
    # accepted, by falling score: true, false, true, false; the curve meets the diagonal in (1/2, 1/2)
    mixed = roc_curve(np.array([3.0, 2.0, 1.0, 0.0]), np.array([True, False, True, False]))
    assert mixed.equal_error_rate() == 0.5
    # all tied: the straight line from none to all
    assert roc_curve(np.zeros(5), np.array([True] * 2 + [False] * 3)).equal_error_rate() == 0.5
    # two of three genuine pairs above all, then a tie of the third with one of four impostors: on the line from
    # (0, 2/3) to (1/4, 1), where FAR = a/4 and FRR = (1 - a)/3 are equal for a = 4/7
    tied = roc_curve(np.array([5.0, 4.0, 1.0, 1.0, 0.0, -1.0, -2.0]), np.array([True] * 3 + [False] * 4))
    assert tied.equal_error_rate() == pytest.approx(1 / 7, abs=1e-15)


def test_corners_leave_the_shape_of_the_curve() -> None:
    generator = np.random.default_rng(0)
    same = generator.random(500) < 0.5
    curve = roc_curve(generator.standard_normal(500).round(1) + same, same)
    corners = curve.corners()
    assert len(corners.far) < len(curve.far)
    whole = set(zip(curve.far.tolist(), curve.tar.tolist(), strict=True))
    assert set(zip(corners.far.tolist(), corners.tar.tolist(), strict=True)) <= whole
    assert corners.equal_error_rate() == pytest.approx(curve.equal_error_rate(), abs=1e-12)


@given(st.integers(1, 10**10), st.integers(0, 10**10))
def test_as_many_false_accepts_as_the_rate_allows(num_impostors: int, accepted: int) -> None:
    accepted = min(accepted, num_impostors)
    assert num_allowed(accepted / num_impostors, num_impostors) == accepted


def test_a_million_distractors() -> None:
    # the product is 3530 up to rounding; one fewer would be wrong
    assert num_allowed(1e-6, 3530 * 1_000_000) == 3530
    assert num_allowed(0.0, 10) == 0
    assert num_allowed(1.0, 10) == 10


def test_a_target_below_one_impostor_says_so() -> None:
    curve = roc_curve(np.array([0.9, 0.7, 0.5, 0.3]), np.array([True, False, True, False]))
    point = curve.tar_at_far(0.1)
    assert (point.tar, point.far, point.false_accepts, point.resolved) == (0.5, 0.0, 0, False)
    assert curve.tar_at_far(0.5).resolved
    everything = curve.tar_at_far(1.0)
    assert (everything.tar, everything.far, everything.threshold) == (1.0, 1.0, -np.inf)
    assert everything.entries()["threshold"] is None
    assert curve.tar_at_far(0.5).entries()["threshold"] == 0.3
    for point in (everything, curve.tar_at_far(0.5)):
        assert OperatingPoint.of(point.entries()) == point


def test_what_makes_no_curve_is_refused() -> None:
    with pytest.raises(ValueError, match=r"roc_curve: expected pairs of one person and pairs of two, got 2 and 0"):
        roc_curve(np.zeros(2), np.array([True, True]))
    with pytest.raises(ValueError, match=r"roc_curve: scores must be finite, got 1 that are not"):
        roc_curve(np.array([0.0, np.nan]), np.array([True, False]))
    with pytest.raises(ValueError, match=r"roc_curve: expected scores \(P,\) and same \(P,\), got \(2,\) and \(3,\)"):
        roc_curve(np.zeros(2), np.array([True, False, True]))
    with pytest.raises(TypeError, match=r"roc_curve: expected same of bool, got int64"):
        roc_curve(np.zeros(2), np.array([1, 0]))
    with pytest.raises(ValueError, match=r"tar_at_far: target must lie in \[0, 1\], got 1.5"):
        roc_curve(np.zeros(2), np.array([True, False])).tar_at_far(1.5)
