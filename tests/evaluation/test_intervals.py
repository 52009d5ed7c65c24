# SPDX-License-Identifier: MIT
"""Intervals: against closed forms, independent loops, and how often they hold the true value."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest
from scipy.stats import binom

from hypersphere.evaluation import auc_interval, paired_bootstrap, roc_curve


def scored(num: int, seed: int, shift: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    same = np.arange(num) % 2 == 0
    return generator.standard_normal(num) + shift * same, same


def test_delong_is_the_variance_of_the_placements() -> None:
    scores, same = scored(60, 0)
    # coarse, so that some tie
    scores = scores.round(1)
    wins = (np.sign(scores[same][:, None] - scores[~same][None]) + 1) / 2
    error = math.sqrt(wins.mean(1).var(ddof=1) / same.sum() + wins.mean(0).var(ddof=1) / (~same).sum())
    found = auc_interval(scores, same, level=0.9)
    reach = NormalDist().inv_cdf(0.95) * error
    assert (found.low, found.high) == (pytest.approx(wins.mean() - reach), pytest.approx(wins.mean() + reach))
    assert (found.method, found.level) == ("DeLong", 0.9)


def test_the_interval_holds_the_true_area_as_often_as_it_says() -> None:
    true = NormalDist().cdf(1 / math.sqrt(2))
    held = 0
    for seed in range(400):
        interval = auc_interval(*scored(200, seed))
        held += interval.low <= true <= interval.high
    # of 400 trials at 0.95, all but one in ten thousand lie here
    assert binom.ppf(5e-5, 400, 0.95) <= held <= binom.ppf(1 - 5e-5, 400, 0.95)


def test_a_perfect_curve_has_an_interval_of_one_point() -> None:
    found = auc_interval(np.array([3.0, 2.0, 1.0, 0.0]), np.array([True, True, False, False]))
    assert (found.low, found.high) == (1.0, 1.0)
    # one pair of a kind has no variance of its own
    assert auc_interval(np.array([3.0, 2.0]), np.array([False, True])).high == 0.0


def people_and_scores(num: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One genuine pair a person and pairs of neighbours, whose scores hang on the people."""
    generator = np.random.default_rng(seed)
    own = generator.standard_normal(num)
    everyone = np.arange(num)
    people = np.concatenate([np.stack([everyone, everyone], 1), np.stack([everyone, (everyone + 1) % num], 1)])
    same = people[:, 0] == people[:, 1]
    return own[people].sum(axis=1) + 2.0 * same + 0.1 * generator.standard_normal(2 * num), same, people


def test_people_are_drawn_with_replacement_and_pairs_with_them() -> None:
    scores, same, people = people_and_scores(12, 0)
    generator = np.random.default_rng(5)
    areas = []
    for _ in range(300):
        times = generator.multinomial(12, np.full(12, 1 / 12))
        # every pair as often as its people were drawn, spelt out
        counts = [times[a] if a == b else times[a] * times[b] for a, b in people]
        if any(np.array(counts)[~same]):
            areas.append(roc_curve(np.repeat(scores, counts), np.repeat(same, counts)).area())
    found = auc_interval(scores, same, people=people + 100, resamples=300, seed=5)
    low, high = np.quantile(areas, [0.025, 0.975])
    assert (found.low, found.high) == (pytest.approx(low, abs=1e-12), pytest.approx(high, abs=1e-12))
    assert found.method == "bootstrap over 12 people"


def test_pairs_that_share_people_tell_less_than_they_seem_to() -> None:
    scores, same, people = (np.repeat(part, 9, axis=0) for part in people_and_scores(60, 1))
    apart, together = auc_interval(scores, same), auc_interval(scores, same, people=people)
    # nine copies of each pair tell people's draws nothing, and DeLong three times as much
    assert together == auc_interval(scores[::9], same[::9], people=people[::9])
    assert together.high - together.low > 2.5 * (apart.high - apart.low)


def test_a_comparison_by_hand() -> None:
    first = np.array([True] * 90 + [False] * 10)
    second = np.roll(first, 4)
    level = paired_bootstrap(first, second)
    # each is right on four pairs that the other is not
    assert (level.difference, level.only_first, level.only_second, level.p) == (0.0, 4, 4, 1.0)
    assert level.interval.low < 0 < level.interval.high
    equal = paired_bootstrap(first, first)
    assert (equal.difference, equal.interval.low, equal.interval.high, equal.p) == (0.0, 0.0, 0.0, 1.0)
    back, forth = paired_bootstrap(first, ~first), paired_bootstrap(~first, first)
    assert back.difference == -forth.difference == pytest.approx(0.8)
    assert back.p == forth.p == 1 / 10_001


def test_draws_of_pairs_are_those_of_a_loop() -> None:
    generator = np.random.default_rng(0)
    first, second = generator.random(80) < 0.9, generator.random(80) < 0.8
    gain = first.astype(float) - second
    found = paired_bootstrap(first, second, resamples=20_000)
    drawn = gain[generator.integers(0, 80, (20_000, 80))].mean(axis=1)
    p = (np.abs(drawn - gain.mean()) >= abs(gain.mean()) - 1e-12).mean()
    # both are the bootstrap, from other draws; multiples of 1/80 make the quantiles jump by one step at most
    assert found.p == pytest.approx(p, abs=4 * math.sqrt(2 * p * (1 - p) / 20_000))
    np.testing.assert_allclose(
        [found.interval.low, found.interval.high], np.quantile(drawn, [0.025, 0.975]), atol=1 / 80 + 1e-12
    )


def test_without_a_difference_few_are_found() -> None:
    small = 0
    for seed in range(300):
        generator = np.random.default_rng(seed)
        small += paired_bootstrap(*(generator.random((2, 400)) < 0.9), resamples=500).p <= 0.05
    assert small <= binom.ppf(1 - 1e-4, 300, 0.06)


def test_people_are_compared_as_pairs_are_where_each_has_one_pair() -> None:
    generator = np.random.default_rng(0)
    first, second = generator.random(200) < 0.9, generator.random(200) < 0.8
    everyone = np.repeat(np.arange(200)[:, None], 2, axis=1)
    apart, together = paired_bootstrap(first, second), paired_bootstrap(first, second, people=everyone)
    assert together.difference == apart.difference
    assert together.p == pytest.approx(apart.p, abs=0.01)
    assert together.interval.low == pytest.approx(apart.interval.low, abs=0.01)
    assert together.interval.method == "bootstrap over people"
    # a person of many pairs that stand and fall together
    clumped = paired_bootstrap(np.repeat(first, 10), np.repeat(second, 10), people=np.repeat(everyone, 10, axis=0))
    assert clumped.p == pytest.approx(together.p, abs=0.01)
    assert paired_bootstrap(np.repeat(first, 10), np.repeat(second, 10)).p < clumped.p


def test_the_seed_decides_the_draws() -> None:
    scores, same, people = people_and_scores(20, 0)
    first, second = scores > 1, same
    assert paired_bootstrap(first, second, seed=1) == paired_bootstrap(first, second, seed=1)
    assert auc_interval(scores, same, people=people, seed=1) == auc_interval(scores, same, people=people, seed=1)
    assert auc_interval(scores, same, people=people, seed=1) != auc_interval(scores, same, people=people, seed=2)


def test_what_cannot_be_drawn_is_refused() -> None:
    scores, same, people = people_and_scores(6, 0)
    with pytest.raises(ValueError, match=r"auc_interval: level must lie in \(0, 1\), got 95\. 0\.95 stands for 95 %"):
        auc_interval(scores, same, level=95)
    with pytest.raises(ValueError, match=r"auc_interval: expected people \(12, 2\), .* got \(12,\)"):
        auc_interval(scores, same, people=people[:, 0])
    with pytest.raises(ValueError, match=r"auc_interval: people must be twice the same where same is true"):
        auc_interval(scores, ~same, people=people)
    with pytest.raises(ValueError, match=r"auc_interval: no draw of people left pairs of both kinds"):
        auc_interval(
            np.array([0.0, 1.0]), np.array([True, False]), people=np.array([[0, 0], [0, 1]]), resamples=1, seed=3
        )
    with pytest.raises(ValueError, match=r"resamples must be a whole number of 1 or more, got 0"):
        paired_bootstrap(same, same, resamples=0)
    with pytest.raises(TypeError, match=r"paired_bootstrap: expected arrays of bool, got float64 and bool"):
        paired_bootstrap(scores, same)
    with pytest.raises(ValueError, match=r"paired_bootstrap: expected correct_a .* got \(12,\) and \(3,\)"):
        paired_bootstrap(same, same[:3])
