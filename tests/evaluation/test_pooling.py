# SPDX-License-Identifier: MIT
"""Pooling: against loops over frames, media and templates."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hypersphere.evaluation import Pairs, pool_sets, pool_templates, set_cosines, verify, verify_scores

NUM, DIM = 40, 6


def frames() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    sets = np.concatenate([np.arange(7), generator.integers(0, 7, NUM - 7)])
    return generator.standard_normal((NUM, DIM)).astype(np.float32), sets


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def test_a_set_is_the_mean_of_its_frames() -> None:
    rows, sets = frames()
    expected = [rows[sets == number].astype(np.float64).mean(axis=0) for number in range(7)]
    np.testing.assert_allclose(pool_sets(rows, sets), expected, atol=1e-12)
    np.testing.assert_allclose(pool_sets(torch.from_numpy(rows), torch.from_numpy(sets)), expected, atol=1e-12)


def test_cosines_of_sets_are_means_over_all_pairs_of_frames() -> None:
    rows, sets = frames()
    left, right = np.array([0, 1, 2, 6, 3]), np.array([1, 0, 5, 2, 3])
    expected = [
        (unit(rows[sets == a].astype(np.float64)) @ unit(rows[sets == b].astype(np.float64)).T).mean()
        for a, b in zip(left, right, strict=True)
    ]
    np.testing.assert_allclose(set_cosines(rows, sets, left, right), expected, atol=1e-12)


def test_videos_are_verified_either_way() -> None:
    generator = np.random.default_rng(1)
    people = generator.standard_normal((20, DIM))
    owner = np.repeat(np.arange(20), 2)
    sets = np.repeat(np.arange(40), 5)
    rows = people[owner[sets]] + 0.1 * generator.standard_normal((200, DIM))
    left = np.concatenate([np.arange(0, 40, 2), np.arange(40)[:20]])
    right = np.concatenate([np.arange(1, 40, 2), (np.arange(20) + 17) % 40])
    pairs = Pairs(left, right, owner[left] == owner[right], 1 + np.arange(40) % 4)
    assert verify(pool_sets(rows, sets), pairs).accuracy > 0.9
    assert verify_scores(set_cosines(rows, sets, pairs.left, pairs.right), pairs).accuracy > 0.9


@pytest.mark.parametrize("keep_norm", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
def test_a_template_is_the_sum_of_the_means_of_its_media(keep_norm: bool, weighted: bool) -> None:
    rows, sets = frames()
    generator = np.random.default_rng(2)
    templates, media = 10 * sets + 3, generator.integers(0, 3, NUM)
    weights = generator.random(NUM) if weighted else None
    names, found = pool_templates(rows, templates, media, weights=weights, keep_norm=keep_norm)
    assert names.tolist() == [3, 13, 23, 33, 43, 53, 63]
    single = rows.astype(np.float64) if keep_norm else unit(rows.astype(np.float64))
    single = single if weights is None else single * weights[:, None]
    for name, row in zip(names, found.numpy(), strict=True):
        total = np.zeros(DIM)
        for medium in set(media[templates == name]):
            total += single[(templates == name) & (media == medium)].mean(axis=0)
        np.testing.assert_allclose(row, unit(total), atol=1e-12)


def test_frames_of_a_video_count_as_one_photograph() -> None:
    rows = np.array([[1.0, 0.0]] * 50 + [[0.0, 1.0]])
    found = pool_templates(rows, [1] * 51, [0] * 50 + [1])[1]
    np.testing.assert_allclose(found, [[np.sqrt(0.5), np.sqrt(0.5)]], atol=1e-12)


def test_a_template_that_cancels_is_zero() -> None:
    assert pool_templates(np.array([[1.0, 0.0], [-1.0, 0.0]]), [1, 1], [0, 1])[1].tolist() == [[0.0, 0.0]]
    assert pool_templates(np.array([[1.0, 0.0]]), [1], [0], weights=[0.0])[1].tolist() == [[0.0, 0.0]]


def test_what_cannot_be_pooled_is_refused() -> None:
    rows, sets = frames()
    with pytest.raises(
        ValueError, match=r"pool_sets: sets must be numbered from 0 without a gap, got 6 numbers from 1 to 6"
    ):
        pool_sets(rows[sets > 0], sets[sets > 0])
    with pytest.raises(ValueError, match=r"pool_sets: expected sets \(40,\), got shape \(39,\)"):
        pool_sets(rows, sets[1:])
    with pytest.raises(ValueError, match=r"set_cosines: pairs must name sets 0 to 6, got 7..7"):
        set_cosines(rows, sets, [0], [7])
    with pytest.raises(
        ValueError, match=r"pool_templates: expected weights \(40,\), finite and 0 or more, got shape \(40,\)"
    ):
        pool_templates(rows, sets, sets, weights=-np.ones(NUM))
    rows[3] = np.nan
    with pytest.raises(ValueError, match=r"pool_templates: embeddings must be finite, .* row 3\."):
        pool_templates(rows, sets, sets)
