# SPDX-License-Identifier: MIT
"""Sampled classes: all of the batch, the right number of others, each equally often, and the same ones again."""

from __future__ import annotations

import pytest
import torch

from hypersphere.functional.class_sampling import class_scores, highest_classes, num_sampled, sample_classes


def test_all_classes_of_the_batch_and_others_up_to_the_rate() -> None:
    torch.manual_seed(0)
    for _ in range(20):
        labels = torch.randint(100, (12,), dtype=torch.int32)
        index, places = sample_classes(labels, 100, 0.3)
        assert index.shape == (30,)
        assert index.dtype == places.dtype == torch.int64
        assert torch.equal(index, index.unique())
        assert torch.equal(index[places], labels.long())


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.uint64])
def test_labels_of_a_narrow_dtype_are_no_label_that_is_ignored(dtype: torch.dtype) -> None:
    """-100 is 156 in uint8."""
    labels = torch.tensor([156, 7, 45])
    found, expected = (
        sample_classes(given, 300, 0.1, generator=torch.Generator().manual_seed(0))
        for given in (labels.to(dtype), labels)
    )
    assert torch.equal(found[1], expected[1])
    assert torch.equal(found[0][found[1]], labels)


def test_more_classes_in_the_batch_than_the_rate_are_taken_exactly() -> None:
    labels = torch.tensor([9, 3, 3, 5, 0])
    index, places = sample_classes(labels, 10, 0.2)
    assert index.tolist() == [0, 3, 5, 9]
    assert places.tolist() == [3, 1, 1, 2, 0]


def test_a_rate_of_one_is_every_class() -> None:
    labels = torch.tensor([4, 2])
    index, places = sample_classes(labels, 5, 1.0)
    assert index.tolist() == [0, 1, 2, 3, 4]
    assert torch.equal(places, labels)


@pytest.mark.parametrize("ignored", [-100, -1, 7])
def test_samples_that_do_not_count_choose_no_class(ignored: int) -> None:
    labels = torch.tensor([ignored, 2, ignored])
    seen = set()
    for seed in range(40):
        index, places = sample_classes(
            labels, 10, 0.1, ignore_index=ignored, generator=torch.Generator().manual_seed(seed)
        )
        assert index.tolist() == [2]
        assert places.tolist() == [-100, 0, -100]
        nobody = torch.tensor([ignored])
        index, places = sample_classes(nobody, 10, 0.1, ignore_index=ignored)
        assert places.tolist() == [-100]
        seen |= set(index.tolist())
    assert len(seen) > 5


def test_others_are_drawn_equally_often_and_without_the_batch() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.tensor([0])
    counts = torch.zeros(11)
    for _ in range(2000):
        counts[sample_classes(labels, 11, 0.5, generator=generator)[0]] += 1
    assert counts[0] == 2000
    # 4 of the 10 others each time; 5 standard deviations of a binomial
    assert (counts[1:] - 800).abs().max() < 5 * (2000 * 0.4 * 0.6) ** 0.5
    assert counts[1:].sum() == 8000


def test_draws_repeat_with_the_generator() -> None:
    labels = torch.tensor([5, 6])
    torch.manual_seed(3)
    state = torch.get_rng_state()
    first, second = (sample_classes(labels, 1000, 0.1)[0] for _ in range(2))
    assert not torch.equal(first, second)
    torch.set_rng_state(state)
    assert torch.equal(sample_classes(labels, 1000, 0.1)[0], first)
    own = [sample_classes(labels, 1000, 0.1, generator=torch.Generator().manual_seed(1))[0] for _ in range(2)]
    assert torch.equal(*own)


def test_the_parts_are_the_whole() -> None:
    labels = torch.tensor([5, -100, 6])
    scores = class_scores(labels, 50, generator=torch.Generator().manual_seed(1))
    assert scores[[5, 6]].tolist() == [2.0, 2.0]
    assert scores.max() == 2
    others = scores[scores < 2]
    assert others.shape == (48,)
    assert others.min() >= 0
    assert others.max() < 1
    whole = sample_classes(labels, 50, 0.2, generator=torch.Generator().manual_seed(1))
    for part, expected in zip(highest_classes(scores, labels, 0.2), whole, strict=True):
        assert torch.equal(part, expected)
    # by hand: the eight highest of the others
    assert whole[0].tolist() == sorted([5, 6, *scores.masked_fill(scores == 2, -1).argsort()[-8:].tolist()])


@pytest.mark.parametrize(
    ("num_classes", "rate", "expected"),
    [(100, 0.29, 29), (100, 0.3, 30), (10572, 0.1, 1057), (10, 0.05, 1), (7, 1.0, 7), (3, 0.99, 2)],
)
def test_the_number_is_the_whole_part(num_classes: int, rate: float, expected: int) -> None:
    assert num_sampled(num_classes, rate) == expected


def test_wrong_arguments_are_refused_in_words() -> None:
    labels = torch.tensor([0, 1])
    for rate in (0.0, 1.5, float("nan")):
        with pytest.raises(ValueError, match=rf"sample_classes: rate must lie in \(0, 1\], got {rate:g}"):
            sample_classes(labels, 4, rate)
    with pytest.raises(ValueError, match="sample_classes: num_classes must be a whole number of 1 or more, got 0"):
        sample_classes(labels, 0, 0.5)
    with pytest.raises(ValueError, match=r"sample_classes: labels must lie in \[0, 0\].*got 1 at position 1"):
        sample_classes(labels, 1, 0.5)
