# SPDX-License-Identifier: MIT
"""Retrieval: against a loop over queries that sorts every gallery, and figures by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hypersphere.evaluation import retrieve
from hypersphere.evaluation.embeddings import directions

DIM, SMALL, KS = 4, 60_000, (1, 2, 3, 7)


def by_loops(
    gallery: np.ndarray, labels: np.ndarray, queries: np.ndarray, wanted: np.ndarray, *, alone: bool
) -> dict[str, object]:
    cosines = (directions(torch.tensor(queries)) @ directions(torch.tensor(gallery)).T).numpy()
    found: dict[str, list[float]] = {"r_precision": [], "map_at_r": []}
    found |= {f"{name}{k}": [] for name in ("recall", "knn") for k in KS}
    left_out = 0
    for query, label in enumerate(wanted.tolist()):
        order = [row for row in np.lexsort((np.arange(len(gallery)), -cosines[query])) if not (alone and row == query)]
        hits = [int(labels[row] == label) for row in order]
        relevant = sum(hits)
        if not relevant:
            left_out += 1
            continue
        found["r_precision"].append(sum(hits[:relevant]) / relevant)
        precisions = [sum(hits[: place + 1]) / (place + 1) * hits[place] for place in range(relevant)]
        found["map_at_r"].append(sum(precisions) / relevant)
        for k in KS:
            found[f"recall{k}"].append(float(any(hits[:k])))
            votes: dict[int, list[float]] = {}
            for row in order[:k]:
                votes.setdefault(int(labels[row]), []).append(float(cosines[query, row]))
            best = max(votes, key=lambda name: (len(votes[name]), sum(votes[name]), -name))
            found[f"knn{k}"].append(float(best == label))
    return {name: np.mean(values) for name, values in found.items()} | {"alone": left_out}


@given(st.integers(9, 150), st.integers(1, 12), st.integers(0, 2**31), st.integers(SMALL, 3 * SMALL), st.booleans())
def test_it_is_a_loop_over_sorted_galleries(num: int, classes: int, seed: int, memory: int, alone: bool) -> None:
    generator = np.random.default_rng(seed)
    gallery = generator.integers(-2, 3, (num, DIM)).astype(np.float32)
    labels = generator.integers(0, classes, num) * 5 - 8
    queries, wanted = (
        generator.integers(-2, 3, (11, DIM)).astype(np.float32),
        generator.integers(0, classes, 11) * 5 - 8,
    )
    if alone:
        queries, wanted = gallery, labels
    labels[0] = labels[1] = wanted[0]
    expected = by_loops(gallery, labels, queries, wanted, alone=alone)
    found = retrieve(
        gallery,
        labels,
        queries=None if alone else queries,
        query_labels=None if alone else wanted,
        ks=KS,
        memory=memory,
    )
    assert found.r_precision == pytest.approx(expected["r_precision"], abs=1e-12)
    assert found.map_at_r == pytest.approx(expected["map_at_r"], abs=1e-12)
    assert (found.num_alone, found.num_queries) == (expected["alone"], len(wanted) - expected["alone"])
    for k in KS:
        assert found.recall[k] == pytest.approx(expected[f"recall{k}"], abs=1e-12)
        assert found.knn_accuracy[k] == pytest.approx(expected[f"knn{k}"], abs=1e-12)


def on_circle(*degrees: float) -> np.ndarray:
    angles = np.deg2rad(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def test_by_hand() -> None:
    # from 0 degrees: right, wrong, right, wrong, right
    found = retrieve(
        on_circle(10, 20, 30, 40, 50), [1, 2, 1, 2, 1], queries=on_circle(0), query_labels=[1], ks=(1, 2, 3)
    )
    assert found.r_precision == pytest.approx(2 / 3)
    assert found.map_at_r == pytest.approx((1 + 0 + 2 / 3) / 3)
    assert found.recall == {1: 1.0, 2: 1.0, 3: 1.0}
    # among two the nearer has the larger cosine
    assert found.knn_accuracy == {1: 1.0, 2: 1.0, 3: 1.0}


def test_votes_that_tie_are_told_apart_by_the_sum_of_cosines() -> None:
    gallery = on_circle(1, 50, 20, 25)
    for labels, winner in (([1, 1, 2, 2], 2), ([2, 2, 1, 1], 1)):
        found = retrieve(gallery, labels, queries=on_circle(0), query_labels=[winner], ks=(4,))
        # the nearest is of the other class
        assert found.knn_accuracy == {4: 1.0}
    # equal sums: the smaller label
    equal = np.array([[1.0, 0.0], [1.0, 0.0]])
    assert retrieve(equal, [7, 3], queries=on_circle(0), query_labels=[3], ks=(2,)).knn_accuracy == {2: 1.0}


def test_separate_classes_are_perfect_and_lone_ones_are_left_out() -> None:
    generator = np.random.default_rng(0)
    labels = np.append(np.arange(60) // 12, [99, 98])
    centres = np.eye(8)[np.minimum(labels, 7)]
    found = retrieve(torch.from_numpy(centres + 0.01 * generator.standard_normal((62, 8))), labels, ks=(1, 5))
    assert (found.recall, found.knn_accuracy) == ({1: 1.0, 5: 1.0}, {1: 1.0, 5: 1.0})
    assert (found.r_precision, found.map_at_r, found.num_queries, found.num_alone) == (1.0, 1.0, 60, 2)


def test_what_cannot_be_retrieved_is_refused() -> None:
    rows = on_circle(0, 10, 20)
    with pytest.raises(ValueError, match=r"retrieve: no query has another row of its class to find"):
        retrieve(rows, [1, 2, 3], ks=(1,))
    with pytest.raises(ValueError, match=r"retrieve: queries and query_labels come together"):
        retrieve(rows, [1, 1, 2], queries=rows)
    with pytest.raises(ValueError, match=r"retrieve: k must be at most 2, the rows there are to find, got 3"):
        retrieve(rows, [1, 1, 2], ks=(3,))
    with pytest.raises(ValueError, match=r"retrieve: expected one number of neighbours or more in ks, got none"):
        retrieve(rows, [1, 1, 2], ks=())
    with pytest.raises(ValueError, match=r"retrieve: expected labels \(3,\), got shape \(2,\)"):
        retrieve(rows, [1, 1])
    with pytest.raises(ValueError, match=r"retrieve: expected query_labels \(3,\), got shape \(1,\)"):
        retrieve(rows, [1, 1, 2], queries=rows, query_labels=[1])
