# SPDX-License-Identifier: MIT
"""Identification against a gallery: against loops over people, with exact ties, in blocks of every size."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hypersphere.evaluation import identify_closed_set, identify_open_set
from hypersphere.evaluation.embeddings import directions

DIM, SMALL = 4, 20_000


def coarse(num: int, seed: int) -> np.ndarray:
    """Rows that repeat, so that many cosines tie."""
    return np.random.default_rng(seed).integers(-1, 2, (num, DIM)).astype(np.float32)


def person_scores(gallery: np.ndarray, people: np.ndarray, probe: np.ndarray) -> dict[int, float]:
    cosines = (directions(torch.tensor(gallery)) @ directions(torch.tensor(probe)[None])[0]).numpy()
    return {person: float(cosines[people == person].max()) for person in set(people.tolist())}


@given(st.integers(1, 200), st.integers(1, 30), st.integers(0, 2**31), st.integers(SMALL, 3 * SMALL))
def test_ranks_are_those_of_a_loop(num: int, num_people: int, seed: int, memory: int) -> None:
    generator = np.random.default_rng(seed)
    people = generator.integers(0, num_people, num) * 7 - 3
    gallery, probes = coarse(num, seed), coarse(30, seed + 1)
    wanted = generator.choice(people, 30)
    found = identify_closed_set(gallery, people, probes, wanted, memory=memory)
    for row in range(30):
        scores = person_scores(gallery, people, probes[row])
        own = scores.pop(int(wanted[row]))
        assert found.ranks[row] == 1 + sum(score >= own for score in scores.values())
        assert found.scores[row] == own
    assert found.num_people == len(set(people.tolist()))
    assert found.cmc().tolist() == [found.rate(rank) for rank in range(1, found.num_people + 1)]
    assert found.cmc()[-1] == 1.0


def test_a_tie_counts_against() -> None:
    gallery = np.array([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]])
    found = identify_closed_set(gallery, [1, 2, 3], np.array([[1.0, 0.1], [0.0, 1.0]]), [1, 3])
    assert found.ranks.tolist() == [2, 1]
    assert (found.rate(1), found.rate(2)) == (0.5, 1.0)
    # two rows of one person do not compete
    assert identify_closed_set(gallery, [1, 1, 3], np.array([[1.0, 0.1]]), [1]).ranks.tolist() == [1]


@given(st.integers(0, 2**31), st.sampled_from([0.0, 0.1, 0.2, 0.35, 1.0]))
def test_open_sets_are_those_of_a_loop(seed: int, target: float) -> None:
    generator = np.random.default_rng(seed)
    galleries = []
    for number in range(2):
        people = generator.integers(0, 6, 15) + 3 * number
        people[0], people[1] = 3 + number, 4
        galleries.append((coarse(15, seed + number), people))
    probes, wanted = coarse(20, seed + 2), generator.integers(0, 14, 20)
    wanted[:3] = (4, 12, 13)
    found = identify_open_set(galleries, probes, wanted)
    rates, alarms = [], []
    for gallery, people in galleries:
        strangers, mated = [], []
        for probe, person in zip(probes, wanted.tolist(), strict=True):
            scores = person_scores(gallery, people, probe)
            if person in scores:
                own = scores.pop(person)
                mated.append(own if own > max(scores.values()) else -np.inf)
            else:
                strangers.append(max(scores.values()))
        # the lowest threshold among the scores and -infinity that keeps the alarms at the target
        allowed = [
            threshold
            for threshold in [-np.inf, *strangers]
            if np.mean([stranger > threshold for stranger in strangers]) <= target
        ]
        rates.append(np.mean([own > min(allowed) for own in mated]))
        alarms.append(np.mean([stranger > min(allowed) for stranger in strangers]))
    point = found.at(target)
    assert point.tpir == pytest.approx(np.mean(rates), abs=1e-12)
    assert point.per_gallery == pytest.approx(rates, abs=1e-12)
    assert point.fpir == pytest.approx(np.mean(alarms), abs=1e-12)
    assert point.fpir <= target


def test_galleries_are_not_joined() -> None:
    first, second = (np.array([[1.0, 0.0]]), [1]), (np.array([[0.0, 1.0]]), [2])
    probes = np.array([[1.0, 0.2], [0.2, 1.0]])
    found = identify_open_set([first, second], probes, [1, 2])
    assert found.mated.tolist() == [[True, False], [False, True]]
    point = found.at(0.0)
    assert (point.tpir, point.fpir, point.resolved) == (1.0, 0.0, False)
    assert point.thresholds == pytest.approx([0.2 / np.sqrt(1.04)] * 2, abs=1e-7)
    assert found.at(1.0).thresholds == (None, None)
    assert found.rank_one() == 1.0


def test_rank_one_is_not_enough_without_the_threshold_and_not_the_other_way_round() -> None:
    gallery = (np.eye(3), [1, 2, 3])
    # a mate of rank one below the stranger's score, and one above it that is second
    probes = np.array([[1.0, 0.9, 0.9], [0.3, 1.0, 0.0], [0.95, 1.0, 0.0], [0.8, 0.0, 0.6]])
    found = identify_open_set([gallery], probes, [1, 2, 1, 9])
    assert found.first.tolist() == [[True, True, False, False]]
    assert found.at(0.0).tpir == pytest.approx(1 / 3)
    assert found.at(1.0).tpir == pytest.approx(2 / 3)


def test_what_cannot_be_identified_is_refused() -> None:
    gallery, probes = np.eye(4)[:3], np.eye(4)
    with pytest.raises(
        ValueError, match=r"identify_closed_set: 2 of 4 probes have no mate .* probe 1\. Leave them out"
    ):
        identify_closed_set(gallery, [1, 2, 3], probes, [1, 7, 2, 9])
    with pytest.raises(ValueError, match=r"identify_closed_set: expected gallery_people \(3,\), got shape \(2,\)"):
        identify_closed_set(gallery, [1, 2], probes, [1, 1, 1, 1])
    with pytest.raises(ValueError, match=r"identify_closed_set: expected probes of 4 features, got shape \(5, 5\)"):
        identify_closed_set(gallery, [1, 2, 3], np.eye(5), [1, 1, 1, 1, 1])
    with pytest.raises(ValueError, match=r"identify_open_set: expected one gallery or more, got none"):
        identify_open_set([], probes, [1, 2, 3, 4])
    with pytest.raises(ValueError, match=r"with a mate in gallery 1 and probes without, got 4 and 0"):
        identify_open_set([(gallery, [1, 2, 3]), (gallery, [1, 2, 4])], probes[:4], [1, 2, 4, 4][:4])
    with pytest.raises(ValueError, match=r"ClosedSet: rank must be a whole number of 1 or more, got 0"):
        identify_closed_set(gallery, [1, 2, 3], probes[:1], [1]).rate(0)
