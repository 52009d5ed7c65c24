# SPDX-License-Identifier: MIT
"""How sure a figure is: intervals of an area under the ROC, and two systems compared on the same pairs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from hypersphere.checks import check_count
from hypersphere.evaluation.embeddings import whole_numbers
from hypersphere.evaluation.roc import check_scores

__all__ = ["Comparison", "Interval", "auc_interval", "paired_bootstrap"]

# numbers of a block of resamples
_BLOCK = 2**22


@dataclass(frozen=True)
class Interval:
    """Where a figure lies.

    Args:
        low: lower end.
        high: upper end.
        level: share of samples whose interval holds the true value, in (0, 1).
        method: how it was found.
    """

    low: float
    high: float
    level: float
    method: str


@dataclass(frozen=True)
class Comparison:
    """How much more often one system is right than another on the same pairs.

    Args:
        difference: accuracy of the first minus that of the second, in [-1, 1].
        interval: of the difference.
        p: chance of a difference at least as large, either way, if there were none; never 0.
        only_first: pairs that only the first tells right.
        only_second: pairs that only the second tells right.
    """

    difference: float
    interval: Interval
    p: float
    only_first: int
    only_second: int


def auc_interval(
    scores: np.ndarray,
    same: np.ndarray,
    *,
    people: np.ndarray | None = None,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> Interval:
    """Interval of the area under the ROC of P scored pairs.

    Without `people` by DeLong's variance, which takes pairs as independent: area ± z sqrt(var(V10)/G + var(V01)/M),
    cut to [0, 1]. Pairs that share a person are not independent; with `people` they are drawn with replacement, a pair
    counting as often as both of its people were drawn together, and the interval is that of percentiles.

    Args:
        scores: (P,) finite, larger for what is more alike.
        same: (P,) bool, both kinds present.
        people: (P, 2) whole numbers, the person of each image; twice the same where `same`.
        level: share in (0, 1).
        resamples: how often people are drawn, >= 1.
        seed: of the draws, >= 0.

    Raises:
        TypeError: if `people` are not whole numbers, or as `roc_curve`.
        ValueError: if a number is out of range, `people` do not fit `same`, or as `roc_curve`.

    Edge cases:
        A perfect or useless ROC (area 1 or 0) has DeLong's variance 0 and an interval of one point. One pair of a kind
        has no variance of its own and adds none. Draws that leave a kind without a pair are not counted.

    Source:
        delong1988comparing; draws of people in the manner of snijders1999nonparametric.

    Example:
        >>> found = auc_interval(np.array([0.9, 0.6, 0.4, 0.1]), np.array([True, False, True, False]))
        >>> round(found.low, 3), found.high, found.method
        (0.057, 1.0, 'DeLong')
    """
    scores, same = check_scores("auc_interval", scores, same)
    _check_level("auc_interval", level)
    check_count("auc_interval", "resamples", resamples)
    check_count("auc_interval", "seed", seed, low=0)
    if people is None:
        area, error = _delong(scores, same)
        reach = NormalDist().inv_cdf(0.5 + level / 2) * error
        return Interval(max(0.0, area - reach), min(1.0, area + reach), level, "DeLong")
    pairs = _people("auc_interval", people, len(scores))
    if not np.array_equal(pairs[:, 0] == pairs[:, 1], same):
        raise ValueError("auc_interval: people must be twice the same where same is true, and nowhere else.")
    distinct, place = np.unique(scores, return_inverse=True)
    areas = []
    for counts in _draws(pairs, resamples, seed):
        for weights in counts:
            genuine = np.bincount(place[same], weights[same], len(distinct))
            impostors = np.bincount(place[~same], weights[~same], len(distinct))
            total = genuine.sum() * impostors.sum()
            if total:
                below = impostors.cumsum() - impostors / 2
                areas.append(float(genuine @ below / total))
    if not areas:
        raise ValueError("auc_interval: no draw of people left pairs of both kinds; give more people or resamples.")
    low, high = np.quantile(areas, [0.5 - level / 2, 0.5 + level / 2])
    return Interval(float(low), float(high), level, f"bootstrap over {int(pairs.max()) + 1} people")


def _delong(scores: np.ndarray, same: np.ndarray) -> tuple[float, float]:
    """Area and its standard error from the share of the other kind that each pair beats."""
    genuine, impostors = np.sort(scores[same]), np.sort(scores[~same])

    def placed(values: np.ndarray, among: np.ndarray) -> np.ndarray:
        below, up_to = (np.searchsorted(among, values, side=side) for side in ("left", "right"))
        return np.asarray((below + up_to) / (2 * len(among)))

    of_genuine, of_impostors = placed(genuine, impostors), 1 - placed(impostors, genuine)
    variance = sum(float(part.var(ddof=1)) / len(part) for part in (of_genuine, of_impostors) if len(part) > 1)
    return float(of_genuine.mean()), variance**0.5


def paired_bootstrap(
    correct_a: np.ndarray,
    correct_b: np.ndarray,
    *,
    people: np.ndarray | None = None,
    level: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> Comparison:
    """Compare two systems by which of the same P pairs each told right.

    Pairs are drawn with replacement (or people, see `auc_interval`); the interval is that of percentiles, and
    p = (1 + number of draws with |d* - d| >= |d|) / (1 + number of draws).

    Args:
        correct_a: (P,) bool of the first system, such as `Verification.correct`.
        correct_b: (P,) bool of the second, of the same pairs in the same order.
        people: (P, 2) whole numbers, the person of each image; None draws pairs as if they were independent.
        level: share in (0, 1).
        resamples: how many draws, >= 1.
        seed: of the draws, >= 0.

    Raises:
        TypeError: if the first two are not bool, or `people` not whole numbers.
        ValueError: if shapes differ, there are no pairs, or a number is out of range.

    Edge cases:
        Two systems that are right on the same pairs have difference 0, an interval of one point and p = 1.

    Source:
        efron1993bootstrap.

    Example:
        >>> found = paired_bootstrap(np.array([True] * 90 + [False] * 10), np.array([True] * 80 + [False] * 20))
        >>> round(found.difference, 3), found.only_first, found.only_second, found.p < 0.01
        (0.1, 10, 0, True)
    """
    first, second = np.asarray(correct_a), np.asarray(correct_b)
    if first.dtype != np.bool_ or second.dtype != np.bool_:
        raise TypeError(f"paired_bootstrap: expected arrays of bool, got {first.dtype} and {second.dtype}.")
    if first.ndim != 1 or first.shape != second.shape or not len(first):
        raise ValueError(
            f"paired_bootstrap: expected correct_a (P,) and correct_b (P,), got {first.shape} and {second.shape}."
        )
    _check_level("paired_bootstrap", level)
    check_count("paired_bootstrap", "resamples", resamples)
    check_count("paired_bootstrap", "seed", seed, low=0)
    gain = first.astype(np.int64) - second
    only_first, only_second, total = int((gain > 0).sum()), int((gain < 0).sum()), len(gain)
    difference = (only_first - only_second) / total
    if people is None:
        # a draw of P pairs matters by how many of the three kinds it holds
        shares = [only_first / total, only_second / total, (total - only_first - only_second) / total]
        drawn = np.random.default_rng(seed).multinomial(total, shares, size=resamples)
        differences = (drawn[:, 0] - drawn[:, 1]) / total
    else:
        parts = []
        for counts in _draws(_people("paired_bootstrap", people, total), resamples, seed):
            weights = counts.sum(axis=1)
            parts.append((counts @ gain)[weights > 0] / weights[weights > 0])
        differences = np.concatenate(parts)
    # a draw equal to the difference up to rounding counts as at least as large
    extreme = int((np.abs(differences - difference) >= abs(difference) - 1e-12).sum())
    low, high = np.quantile(differences, [0.5 - level / 2, 0.5 + level / 2]) if len(differences) else (-1.0, 1.0)
    drawn_from = "pairs" if people is None else "people"
    return Comparison(
        difference,
        Interval(float(low), float(high), level, f"bootstrap over {drawn_from}"),
        (1 + extreme) / (1 + len(differences)),
        only_first,
        only_second,
    )


def _check_level(who: str, level: float) -> None:
    if not 0 < level < 1:
        raise ValueError(f"{who}: level must lie in (0, 1), got {level:g}. 0.95 stands for 95 %.")


def _people(who: str, people: np.ndarray, num_pairs: int) -> np.ndarray:
    """(P, 2) int64, people numbered from 0 without a gap."""
    given = np.asarray(people)
    if given.shape != (num_pairs, 2):
        raise ValueError(f"{who}: expected people ({num_pairs}, 2), the person of each image, got {given.shape}.")
    flat = whole_numbers(who, "people", given.reshape(-1))
    return np.unique(flat, return_inverse=True)[1].reshape(-1, 2)


def _draws(pairs: np.ndarray, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """How often each pair counts, (some of the resamples, P), when people are drawn with replacement."""
    generator, num_people = np.random.default_rng(seed), int(pairs.max()) + 1
    alone = pairs[:, 0] == pairs[:, 1]
    step = max(1, _BLOCK // max(len(pairs), num_people))
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        times = generator.multinomial(num_people, np.full(num_people, 1 / num_people), size=rows)
        counts = times[:, pairs[:, 0]]
        yield np.where(alone, counts, counts * times[:, pairs[:, 1]])
