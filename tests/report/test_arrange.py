# SPDX-License-Identifier: MIT
"""Tests of report.arrange."""

from __future__ import annotations

import numpy as np
import pytest

from hypersphere.report.arrange import cluster_order, subsample


def test_a_draw_is_fixed_in_order_and_without_repetition() -> None:
    drawn = subsample(1000, 20)
    assert drawn.tolist() == subsample(1000, 20).tolist()
    assert len(set(drawn.tolist())) == 20
    assert (np.diff(drawn) > 0).all()
    assert drawn.tolist() != subsample(1000, 20, seed=1).tolist()
    assert subsample(3, 3).tolist() == [0, 1, 2]


def test_groups_stand_together() -> None:
    rng = np.random.default_rng(0)
    groups = rng.permutation(np.repeat(np.arange(4), 6))
    similarity = (groups[:, None] == groups[None]) + 0.1 * rng.random((24, 24))
    order = cluster_order(similarity + similarity.T)
    assert sorted(order.tolist()) == list(range(24))
    # four groups in a line have three borders
    assert int((np.diff(groups[order]) != 0).sum()) == 3


def test_a_line_is_put_in_line() -> None:
    rng = np.random.default_rng(1)
    place = rng.permutation(10)
    order = cluster_order(-np.abs(place[:, None] - place[None]).astype(float))
    found = place[order]
    assert found.tolist() in (list(range(10)), list(range(9, -1, -1)))


@pytest.mark.parametrize("value", [np.nan, 0.0, np.inf, -np.inf])
def test_every_input_gives_a_permutation(value: float) -> None:
    assert sorted(cluster_order(np.full((6, 6), value)).tolist()) == list(range(6))


def test_few_items() -> None:
    assert cluster_order(np.zeros((0, 0))).tolist() == []
    assert cluster_order(np.ones((1, 1))).tolist() == [0]
    assert sorted(cluster_order(np.eye(2)).tolist()) == [0, 1]
