# SPDX-License-Identifier: MIT
"""Held-out shares and thinned classes: sizes, fairness between classes, repeatability."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypersphere.data.division import hold_out, keep_fractions, remaining_classes

LABELS = st.lists(st.integers(0, 5), min_size=1, max_size=60).map(np.array)


@given(labels=LABELS, share=st.floats(0.01, 0.9), seed=st.integers(0, 9))
def test_both_parts_make_up_the_set_and_every_class_stays(labels: np.ndarray, share: float, seed: int) -> None:
    rest, held = hold_out(labels, share, role="validation", seed=seed)
    assert sorted([*rest.tolist(), *held.tolist()]) == list(range(len(labels)))
    assert set(labels[rest].tolist()) == set(labels.tolist())
    assert len(held) <= round(share * len(labels))
    counts = np.bincount(labels)
    deviation = np.bincount(labels[held], minlength=len(counts)) - share * counts
    assert np.all(deviation < 1.5)


def test_a_balanced_set_is_divided_exactly() -> None:
    labels = np.repeat(np.arange(10), 50)
    rest, held = hold_out(labels, 0.1, role="validation", seed=0)
    assert np.bincount(labels[held]).tolist() == [5] * 10
    assert np.bincount(labels[rest]).tolist() == [45] * 10


def test_a_number_of_samples_can_be_asked_for() -> None:
    labels = np.array([0] * 7 + [1] * 5)
    assert len(hold_out(labels, 5, role="test", seed=0)[1]) == 5


def test_a_class_of_one_stays_in_the_rest() -> None:
    labels = np.array([0, 1, 2, 3, 3, 3, 3])
    _, held = hold_out(labels, 0.9, role="test", seed=0)
    assert set(labels[held].tolist()) == {3}


def test_seed_and_role_choose_the_samples() -> None:
    labels = np.repeat(np.arange(4), 25)
    chosen = {
        (role, seed): tuple(hold_out(labels, 0.2, role=role, seed=seed)[1].tolist())
        for role in ("test", "validation")
        for seed in (0, 1)
    }
    assert len(set(chosen.values())) == 4
    assert chosen["test", 0] == tuple(hold_out(labels, 0.2, role="test", seed=0)[1].tolist())


def test_classes_are_thinned_by_name_or_number() -> None:
    labels = np.repeat(np.arange(3), 20)
    names = ["cat", "dog", "2"]
    kept = keep_fractions(labels, {"dog": 0.25, "2": 0.5}, names, seed=0)
    assert np.bincount(labels[kept]).tolist() == [20, 5, 10]
    assert kept.tolist() == sorted(kept.tolist())
    assert np.bincount(labels[keep_fractions(labels, {"0": 0.0, "1": 0.001}, names, seed=0)], minlength=3).tolist() == [
        0,
        1,
        20,
    ]
    assert np.bincount(labels[keep_fractions(labels, {"0": 0.1}, names, seed=0)]).tolist() == [2, 20, 20]


def test_a_smaller_fraction_is_a_part_of_a_greater_one() -> None:
    labels = np.repeat(np.arange(2), 40)
    small, large = (set(keep_fractions(labels, {"0": part}, ["a", "b"], seed=3).tolist()) for part in (0.1, 0.6))
    assert small < large
    assert large != set(keep_fractions(labels, {"0": 0.6}, ["a", "b"], seed=4).tolist())


@pytest.mark.parametrize(
    ("keep", "message"),
    [
        ({"dgo": 0.5}, r"keep: unknown class 'dgo' among 2: cat, dog \(did you mean 'dog'\?\)."),
        ({"7": 0.5}, r"keep: unknown class '7' among 2: cat, dog."),
        ({"dog": 1.5}, r"keep\['dog'\]: fraction must lie in \[0, 1\], got 1.5."),
        ({"dog": 0.5, "1": 0.5}, r"keep\['1'\]: class 'dog' is named twice, as 'dog' too."),
    ],
)
def test_wrong_fractions_are_refused(keep: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        keep_fractions(np.array([0, 1]), keep, ["cat", "dog"], seed=0)


def test_classes_remain_by_their_images_and_names() -> None:
    labels, names = np.array([0, 1, 1, 2, 2, 2, 4]), ["a", "b", "c", "d", "e"]
    assert remaining_classes(labels, names).tolist() == [0, 1, 2, 3, 4]
    assert remaining_classes(labels, names, min_images=1).tolist() == [0, 1, 2, 4]
    assert remaining_classes(labels, names, min_images=2, without={"c", "x"}).tolist() == [1]
    assert remaining_classes(labels, names, min_images=4).tolist() == []
