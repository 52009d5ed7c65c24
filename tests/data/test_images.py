# SPDX-License-Identifier: MIT
"""Both kinds of sets give the same batches, whoever asks for which part of them."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch

from hypersphere.data import ImageSet, StreamedImages, TensorImages
from hypersphere.data.images import usable_cores

NUM = 23
PIXELS = torch.arange(NUM * 12).view(NUM, 3, 2, 2).to(torch.uint8)
LABELS = torch.arange(NUM) % 4
NAMES = ["north", "east", "south", "west"]


def in_memory() -> ImageSet:
    return TensorImages(PIXELS, LABELS, NAMES, name="compass")


def streamed(decode=lambda numbers: PIXELS[torch.from_numpy(numbers)], num_threads: int | None = 2) -> ImageSet:
    return StreamedImages(decode, LABELS, NAMES, image_shape=(3, 2, 2), name="compass", num_threads=num_threads)


def assert_same(left, right) -> None:
    left, right = list(left), list(right)
    assert len(left) == len(right)
    for (images, labels), (other_images, other_labels) in zip(left, right, strict=True):
        assert torch.equal(images, other_images)
        assert torch.equal(labels, other_labels)


@pytest.mark.parametrize("make", [in_memory, streamed])
def test_a_set_describes_itself(make) -> None:
    images = make()
    assert len(images) == NUM
    assert images.num_classes == 4
    assert images.class_names == NAMES
    assert images.image_shape == (3, 2, 2)
    assert images.num_batches(10) == 3
    assert images.num_batches(10, drop_last=True) == 2
    assert repr(images).endswith("('compass', 23 colour images 2x2, 4 classes)")


@pytest.mark.parametrize("make", [in_memory, streamed])
def test_an_epoch_shows_every_image_once_with_its_label(make) -> None:
    batches = list(make().batches(5, seed=1, epoch=2, shuffle=True))
    images, labels = (torch.cat(parts) for parts in zip(*batches, strict=True))
    order = np.argsort(images[:, 0, 0, 0].numpy(), kind="stable")
    assert images.dtype == torch.uint8
    assert labels.dtype == torch.int64
    shown = {(tuple(image.flatten().tolist()), int(label)) for image, label in zip(images, labels, strict=True)}
    assert shown == {(tuple(image.flatten().tolist()), int(label)) for image, label in zip(PIXELS, LABELS, strict=True)}
    assert len(order) == NUM


@pytest.mark.parametrize("make", [in_memory, streamed])
def test_a_batch_can_be_asked_for_directly(make) -> None:
    images = make()
    whole = list(images.batches(4, seed=1, epoch=2, shuffle=True))
    assert_same(images.batches(4, seed=1, epoch=2, shuffle=True, start=3), whole[3:])
    assert list(images.batches(4, start=99)) == []


@pytest.mark.parametrize("make", [in_memory, streamed])
def test_processes_divide_each_batch(make) -> None:
    images = make()
    ranks = [list(images.batches(8, shuffle=True, rank=rank, world_size=3)) for rank in range(3)]
    joined = [[torch.cat(parts) for parts in zip(*shares, strict=True)] for shares in zip(*ranks, strict=True)]
    assert_same(joined, images.batches(8, shuffle=True))


def test_a_process_without_a_share_gets_an_empty_batch() -> None:
    for images in (in_memory(), streamed()):
        *_, (pixels, labels) = images.batches(22, rank=1, world_size=2)
        assert pixels.shape == (0, 3, 2, 2)
        assert labels.shape == (0,)


def test_streams_give_the_batches_of_memory() -> None:
    for settings in ({}, {"shuffle": True, "seed": 5, "epoch": 1}, {"drop_last": True, "start": 1}):
        assert_same(streamed().batches(4, **settings), in_memory().batches(4, **settings))


@pytest.mark.parametrize("make", [in_memory, streamed])
def test_a_subset_keeps_order_and_classes(make) -> None:
    part = make().subset([7, 2, 2]).subset(np.array([0, 2]))
    (images, labels) = next(part.batches(9))
    assert torch.equal(images, PIXELS[[7, 2]])
    assert torch.equal(labels, part.labels)
    assert part.class_names == NAMES
    assert part.name == "compass"


def test_skipped_batches_are_not_decoded() -> None:
    seen: list[int] = []

    def decode(numbers: np.ndarray) -> torch.Tensor:
        seen.extend(numbers.tolist())
        return PIXELS[torch.from_numpy(numbers)]

    list(streamed(decode).batches(5, start=3))
    assert sorted(seen) == list(range(15, NUM))


def test_a_stream_that_is_left_ends_its_threads() -> None:
    stream = streamed().batches(2)
    next(stream)
    stream.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("decode")]


def test_an_error_of_a_stream_comes_at_its_batch() -> None:
    def decode(numbers: np.ndarray) -> torch.Tensor:
        if 7 in numbers:
            raise ValueError("row 7 is bad")
        return PIXELS[torch.from_numpy(numbers)]

    batches = streamed(decode).batches(5)
    next(batches)
    with pytest.raises(ValueError, match="row 7 is bad"):
        next(batches)


def test_a_stream_has_a_thread_for_each_core_by_default() -> None:
    assert streamed(num_threads=None).num_threads == usable_cores() >= 1


def test_sets_that_do_not_fit_together_are_refused() -> None:
    with pytest.raises(ValueError, match=r"images: expected a label for each image, got 23 images and 4 labels."):
        TensorImages(PIXELS, LABELS[:4], NAMES)
    with pytest.raises(ValueError, match=r"compass: labels must lie in 0..2, got 0..3."):
        TensorImages(PIXELS, LABELS, NAMES[:3], name="compass")
    with pytest.raises(ValueError, match=r"compass: num_threads must be a whole number of 1 or more, got 0."):
        streamed(num_threads=0)


@pytest.mark.parametrize("make", [in_memory, streamed])
def test_wrong_arguments_are_refused_before_the_first_batch(make) -> None:
    with pytest.raises(ValueError, match=r"batches: batch_size must be a whole number of 1 or more, got 0."):
        make().batches(0)


@pytest.mark.parametrize(("side", "most"), [(8, 512), (128, 512), (129, 504), (224, 167), (4000, 1)])
def test_large_images_are_evaluated_in_smaller_batches(side: int, most: int) -> None:
    images = StreamedImages(lambda numbers: PIXELS, LABELS, NAMES, image_shape=(3, side, side))
    assert images.evaluation_batch == most


@pytest.mark.parametrize("kind", [TensorImages, StreamedImages])
def test_classes_that_are_picked_are_numbered_anew(kind: type) -> None:
    pixels = torch.arange(6, dtype=torch.uint8).view(6, 1, 1, 1)
    labels, names = torch.tensor([2, 0, 1, 2, 3, 0]), ["a", "b", "c", "d"]
    if kind is TensorImages:
        images = TensorImages(pixels, labels, names)
    else:
        images = StreamedImages(lambda rows: pixels[torch.from_numpy(rows)], labels, names, image_shape=(1, 1, 1))
    made = images.of_classes([0, 2])
    assert (made.class_names, made.labels.tolist()) == (["a", "c"], [1, 0, 1, 0])
    ((found, numbers),) = made.batches(9)
    assert (found.flatten().tolist(), numbers.tolist()) == ([0, 1, 3, 5], [1, 0, 1, 0])
    # the set itself is as it was
    assert (images.class_names, images.labels.tolist()) == (names, labels.tolist())


@pytest.mark.parametrize("kind", [TensorImages, StreamedImages])
def test_batches_may_hold_as_many_images_of_each_class(kind: type) -> None:
    pixels, labels, names = torch.arange(20, dtype=torch.uint8).view(20, 1, 1, 1), torch.arange(20) % 5, [*"abcde"]
    if kind is TensorImages:
        images = TensorImages(pixels, labels, names, name="faces")
    else:
        images = StreamedImages(
            lambda rows: pixels[torch.from_numpy(rows)], labels, names, image_shape=(1, 1, 1), name="faces"
        )
    shown = list(images.batches(6, shuffle=True, drop_last=True, images_per_identity=3))
    assert len(shown) == images.num_batches(6, drop_last=True) == 3
    for found, numbers in shown:
        assert torch.equal(found.flatten() % 5, numbers.to(torch.uint8))
        assert numbers.unique(return_counts=True)[1].tolist() == [3, 3]
    (later,) = images.batches(6, shuffle=True, drop_last=True, images_per_identity=3, start=2)
    assert torch.equal(later[0], shown[2][0])
    with pytest.raises(ValueError, match=r"faces: images_per_identity needs images in any order, and shuffle is off\."):
        images.batches(6, images_per_identity=3)
