# SPDX-License-Identifier: MIT
"""Training batches are a function of seed and step: any stretch of them, any share of them, across epochs."""

from __future__ import annotations

import pytest
import torch

from hypersphere.training.batches import check_batches, training_batches
from tiny_runs import noise, noise_config

# 48 images, 12 a step: four steps an epoch
CONFIG = noise_config(data__padding=1, data__flip=True)


def test_a_stretch_is_that_of_the_whole() -> None:
    whole = list(training_batches(noise(), CONFIG, 0, 10))
    assert len(whole) == 10
    for first, last in ((0, 1), (3, 5), (7, 10), (8, 8)):
        found = list(training_batches(noise(), CONFIG, first, last))
        assert len(found) == last - first
        for (pixels, labels), (expected, expected_labels) in zip(found, whole[first:last], strict=True):
            assert torch.equal(pixels, expected)
            assert torch.equal(labels, expected_labels)


def test_an_epoch_holds_every_image_once_and_the_next_has_another_order() -> None:
    plain = noise_config()
    batches = [pixels.flatten(1).tolist() for pixels, _ in training_batches(noise(), plain, 0, 8)]
    first, second = ([tuple(image) for batch in part for image in batch] for part in (batches[:4], batches[4:]))
    expected = sorted(map(tuple, noise().images.flatten(1).tolist()))
    assert sorted(first) == sorted(second) == expected
    assert first != second


def test_shares_join_to_the_batch() -> None:
    plain = noise_config()
    shares = [list(training_batches(noise(), plain, 2, 6, rank=rank, world_size=3)) for rank in range(3)]
    for step, (_, labels) in enumerate(training_batches(noise(), plain, 2, 6)):
        joined = torch.cat([share[step][1] for share in shares])
        assert sorted(joined.tolist()) == sorted(labels.tolist())


def test_batches_of_identities_are_as_reproducible() -> None:
    config = noise_config(data__sampler="identity", data__images_per_identity=4, data__padding=1)
    whole = list(training_batches(noise(), config, 0, 10))
    for _, labels in whole:
        assert labels.unique(return_counts=True)[1].tolist() == [4, 4, 4]
    for (pixels, labels), (expected, expected_labels) in zip(
        training_batches(noise(), config, 3, 7), whole[3:7], strict=True
    ):
        assert torch.equal(pixels, expected)
        assert torch.equal(labels, expected_labels)


def test_what_cannot_be_a_batch_is_told_before_training() -> None:
    check_batches(noise(), noise_config())
    with pytest.raises(ValueError, match=r"a batch of 12 images cannot hold 5 of each of its identities"):
        check_batches(noise(), noise_config(data__sampler="identity", data__images_per_identity=5))
    with pytest.raises(ValueError, match=r"needs 12 identities, but there are \d+; lower training\.batch_size"):
        check_batches(noise(), noise_config(data__sampler="identity", data__images_per_identity=1))
