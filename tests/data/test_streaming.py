# SPDX-License-Identifier: MIT
"""Sets of the hub, stood in for by files of the same form, read while they are used; and what the hub may answer."""

from __future__ import annotations

import functools
import itertools
import threading
from collections.abc import Iterator
from pathlib import Path

import datasets
import httpx2
import huggingface_hub
import numpy as np
import pytest
import torch
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

from hypersphere.config import DataConfig
from hypersphere.data import HubStream, load_images
from hypersphere.data.decode import ImageReader
from hypersphere.data.streaming import StreamedRow, open_stream
from pictures import encode, noise, write_parquet

NAMES = ["ant", "bee", "cow"]
FILES = (10, 7, 6)
NUM = sum(FILES)
PIXELS = [np.full((4, 4, 3), number, dtype=np.uint8) for number in range(NUM)]
READER = ImageReader((3, 4, 4), None)
PAGE = """---
dataset_info:
  features:
  - name: image
    dtype: image
  - name: label
    dtype:
      class_label:
        names:
          '0': ant
          '1': bee
          '2': cow
  splits:
  - name: train
    num_bytes: 1
    num_examples: {num}
  - name: validation
    num_bytes: 1
    num_examples: 6
configs:
- config_name: default
  data_files:
  - split: train
    path: data/train-*
  - split: validation
    path: data/validation-*
---
"""


def part(start: int, stop: int) -> Iterator[StreamedRow]:
    for number in range(start, stop):
        yield StreamedRow(encode(PIXELS[number]), number % 3, f"row {number}")


def stream(num_images: int = NUM, *, parts=None, shuffle_buffer: int = 5, num_threads: int = 2) -> HubStream:
    ends = list(itertools.accumulate(FILES, initial=0))
    files = [functools.partial(part, *ends[place : place + 2]) for place in range(len(FILES))]
    return HubStream(
        files if parts is None else parts,
        num_images,
        NAMES,
        READER,
        name="far",
        shuffle_buffer=shuffle_buffer,
        num_threads=num_threads,
    )


def shown(batches) -> list[list[int]]:
    """The numbers of the images of each batch; their labels must go with them."""
    found = []
    for images, labels in batches:
        numbers = images[:, 0, 0, 0].tolist()
        assert images.dtype == torch.uint8
        assert labels.tolist() == [number % 3 for number in numbers]
        found.append(numbers)
    return found


def flat(batches: list[list[int]]) -> list[int]:
    return list(itertools.chain.from_iterable(batches))


def test_a_stream_describes_itself() -> None:
    images = stream()
    assert repr(images) == "HubStream('far', 23 colour images 4x4, 3 classes)"
    assert (images.num_batches(5), images.num_batches(5, drop_last=True), images.labels) == (5, 4, None)


def test_without_shuffle_the_order_is_that_of_the_files() -> None:
    whole = shown(stream().batches(5))
    assert [len(batch) for batch in whole] == [5, 5, 5, 5, 3]
    assert flat(whole) == list(range(NUM))
    assert shown(stream().batches(5, start=3)) == whole[3:]
    assert shown(stream().batches(5, drop_last=True)) == whole[:4]
    shares = [shown(stream().batches(5, rank=rank, world_size=2)) for rank in range(2)]
    assert [left + right for left, right in zip(*shares, strict=True)] == whole


@pytest.mark.parametrize("buffer", [1, 5, 100])
def test_an_epoch_shows_every_image_once_in_an_order_of_its_own(buffer: int) -> None:
    images = stream(shuffle_buffer=buffer)
    orders = [flat(shown(images.batches(5, seed=1, epoch=epoch, shuffle=True))) for epoch in range(3)]
    assert all(sorted(order) == list(range(NUM)) for order in orders)
    # one place of the buffer leaves the rows of a file as they are: only the files change places
    assert len({tuple(order) for order in orders}) == (3 if buffer > 1 else len({order[0] for order in orders}))
    assert flat(shown(images.batches(5, seed=1, epoch=1, shuffle=True))) == orders[1]
    assert flat(shown(images.batches(5, seed=2, epoch=1, shuffle=True))) != orders[1]


def test_an_epoch_is_entered_in_its_middle() -> None:
    images = stream()
    whole = shown(images.batches(4, seed=3, epoch=2, shuffle=True, drop_last=True))
    for start in range(6):
        assert shown(images.batches(4, seed=3, epoch=2, shuffle=True, drop_last=True, start=start)) == whole[start:]


def test_the_number_of_threads_changes_nothing() -> None:
    one, many = (stream(num_threads=num).batches(4, seed=3, shuffle=True) for num in (1, 5))
    assert shown(one) == shown(many)


@pytest.mark.parametrize("world_size", [2, 3, 5])
def test_processes_read_different_images(world_size: int) -> None:
    shares = [
        shown(stream().batches(5, seed=4, shuffle=True, rank=rank, world_size=world_size)) for rank in range(world_size)
    ]
    assert {len(share) for share in shares} == {5}
    sizes = [sum(map(len, batch)) for batch in zip(*shares, strict=True)]
    assert sizes == [5, 5, 5, 5, 3]
    read = [set(flat(share)) for share in shares]
    assert all(left.isdisjoint(right) for left, right in itertools.combinations(read, 2))
    # a process with fewer images than its share shows some again, but all of them first
    for own, share in zip(read, shares, strict=True):
        order = flat(share)
        assert len(set(order[: len(own)])) == len(own)


def test_the_middle_is_cut_out_after_decoding() -> None:
    images = stream().center_crop(2)
    assert images.image_shape == (3, 2, 2)
    assert next(images.batches(5))[0].shape == (5, 3, 2, 2)
    assert shown(images.batches(5)) == shown(stream().batches(5))
    assert stream().center_crop([4, 2]).image_shape == (3, 4, 2)
    with pytest.raises(ValueError, match=r"far: data.crop is 5, larger than its images of 4x4"):
        stream().center_crop(5)


def test_a_stream_cannot_be_divided() -> None:
    with pytest.raises(
        ValueError, match=r"far: images_per_identity needs images in any order, and batches come over the network"
    ):
        stream().batches(4, shuffle=True, images_per_identity=2)
    with pytest.raises(ValueError, match=r"far: a set that is read over the network cannot be divided"):
        stream().of_classes([0])
    with pytest.raises(
        ValueError, match=r"far: a set that is read over the network cannot be divided; use a local copy"
    ):
        stream().subset([0])


def test_a_stream_that_ends_early_is_told() -> None:
    for settings in ({"shuffle": True}, {}):
        with pytest.raises(ValueError, match=r"far: fewer images arrived than the 24 that the set is said to have\."):
            list(stream(24).batches(8, **settings))


def test_what_goes_wrong_on_the_way_is_told_with_its_file() -> None:
    def broken() -> Iterator[StreamedRow]:
        yield from part(0, 3)
        raise httpx2.ReadTimeout("the read\n timed out")

    with pytest.raises(
        OSError, match=r"far: reading file 2 of 2 failed \(the read timed out\)\. A run goes on from its"
    ):
        list(stream(7, parts=[functools.partial(part, 0, 3), broken]).batches(2))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (StreamedRow(b"no image", 0, "file 1, row 7"), r"file 1, row 7: the image cannot be decoded \("),
        (StreamedRow(None, 0, "row 7"), r"row 7: there is no image\."),
        (StreamedRow(encode(PIXELS[0]), 3, "row 7"), r"row 7: label 3 is out of range: there are 3 classes"),
        (StreamedRow(encode(PIXELS[0]), -1, "row 7"), r"row 7: the label is -1: it is hidden or missing"),
        (StreamedRow(encode(PIXELS[0][:2]), 0, "row 7"), r"row 7: the image is 4x2 pixels, the first one is 4x4; set"),
    ],
)
def test_a_bad_row_is_told_with_its_place(row: StreamedRow, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        list(stream(1, parts=[lambda: [row]]).batches(1))


def test_a_stream_that_is_left_ends_its_threads() -> None:
    before = threading.active_count()
    batches = stream().batches(2, shuffle=True)
    next(batches)
    batches.close()
    assert threading.active_count() == before


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"start": -1, "shuffle": True}, "start must be a whole number of 0 or more, got -1"),
        ({"rank": 2, "world_size": 2, "shuffle": True}, "rank must"),
        ({"start": -1}, "start must be"),
    ],
)
def test_wrong_arguments_are_refused_at_the_call(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        stream().batches(2, **settings)
    with pytest.raises(ValueError, match="far: shuffle_buffer must be a whole number of 1 or more, got 0"):
        stream(shuffle_buffer=0)


# -- the hub ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository `keeper/animals` in the form of the hub's: `datasets` takes folders of that name for it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(huggingface_hub, "auth_check", lambda repository, repo_type: None)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", nothing_at_hand)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    folder = tmp_path / "keeper" / "animals"
    labels = [number % 3 for number in range(NUM)]
    ends = list(itertools.accumulate(FILES, initial=0))
    for number, (start, stop) in enumerate(itertools.pairwise(ends)):
        file = folder / "data" / f"train-{number:05d}-of-00003.parquet"
        write_parquet(file, PIXELS[start:stop], labels[start:stop], class_names=NAMES)
    write_parquet(folder / "data" / "validation-00000-of-00001.parquet", PIXELS[:6], labels[:6], class_names=NAMES)
    (folder / "README.md").write_text(PAGE.format(num=NUM))
    return folder


def nothing_at_hand(*args: object, local_files_only: bool = False, **kwargs: object) -> str:
    assert local_files_only
    raise huggingface_hub.errors.LocalEntryNotFoundError("nothing was downloaded")


def test_a_repository_is_read_as_it_lies_there(hub: Path) -> None:
    config = DataConfig(name="hub:keeper/animals", crop=2, shuffle_buffer=4)
    train = load_images(config, split="train", whole=True)
    assert repr(train) == "HubStream('hub:keeper/animals', 23 colour images 4x4, 3 classes)"
    assert sorted(flat(shown(train.batches(5, shuffle=True, seed=0)))) == list(range(NUM))
    # it has no test split
    test = load_images(config, split="test")
    assert test.image_shape == (3, 2, 2)
    assert shown(test.batches(4)) == [[0, 1, 2, 3], [4, 5]]
    with pytest.raises(ValueError, match=r"data set 'hub:keeper/animals' has no validation split, only train, test\."):
        load_images(config, split="validation")


def test_imagenet_is_read_from_its_repository(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(huggingface_hub, "auth_check", lambda repository, repo_type: asked.append(repository))
    (hub.parent.parent / "ILSVRC").mkdir()
    hub.rename(hub.parent.parent / "ILSVRC" / "imagenet-1k")
    found = load_images(DataConfig(name="imagenet", size=6), split="test")
    assert repr(found) == "HubStream('imagenet', 6 colour images 6x6, 3 classes)"
    assert asked == ["ILSVRC/imagenet-1k"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"validation": 0.1}, "data.validation needs a local copy of the set, a folder as data.name: this one is read"),
        ({"keep": {"ant": 0.5}}, "data.keep needs a local copy"),
        ({"stream": False}, "data.stream false needs a local copy"),
    ],
)
def test_what_needs_a_copy_is_refused(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_images(DataConfig(name="hub:keeper/animals", **settings), split="train")


@pytest.mark.parametrize("name", ["hub:animals", "hub:", "hub:/animals", "hub:keeper/"])
def test_half_a_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"data\.name 'hub:.*': expected hub:owner/name, got '"):
        load_images(name, split="train")


def test_a_repository_that_says_too_little_is_refused(hub: Path) -> None:
    page = hub / "README.md"
    page.write_text(PAGE.split("  splits:")[0] + PAGE[PAGE.index("configs:") :])
    with pytest.raises(ValueError, match="does not say how many images and which columns it has"):
        load_images("hub:keeper/animals", split="train")
    page.write_text(PAGE.format(num=NUM))
    with pytest.raises(ValueError, match=r"unknown column 'lable'.*did you mean 'label'"):
        load_images(DataConfig(name="hub:keeper/animals", label_column="lable"), split="train")


def test_classes_without_names_are_refused(hub: Path) -> None:
    for file in (hub / "data").iterdir():
        write_parquet(file, PIXELS[:6], [0, 1, 2] * 2)
    names = PAGE[PAGE.index("\n      class_label") : PAGE.index("\n  splits")]
    (hub / "README.md").write_text(PAGE.replace(names, " int64").format(num=NUM))
    with pytest.raises(ValueError, match=r"its column 'label' \(int64\) names no classes, so it cannot be read over"):
        load_images("hub:keeper/animals", split="train")


def test_several_configurations_must_be_told_apart(hub: Path) -> None:
    page = PAGE[PAGE.index("configs:") :]
    second = page.replace("default", "second").replace("---\n", "").replace("configs:\n", "")
    (hub / "README.md").write_text("---\n" + page.replace("---\n", "") + second + "---\n")
    with pytest.raises(ValueError, match=r"animals/third: keeper/animals cannot be used \(.*'second'"):
        load_images("hub:keeper/animals/third", split="train")


def answers(error: Exception):
    def refuse(repository: str, repo_type: str) -> None:
        raise error

    return refuse


RESPONSE = httpx2.Response(403, request=httpx2.Request("GET", "https://huggingface.co"))


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (
            GatedRepoError("403", response=RESPONSE),
            PermissionError,
            "imagenet: the hub gives ILSVRC/imagenet-1k only to those who have accepted its terms. Accept them at "
            "https://huggingface.co/datasets/ILSVRC/imagenet-1k, then `hf auth login` with a token of that account; or "
            "give the folder of a local copy: --data.name FOLDER.",
        ),
        (
            RepositoryNotFoundError("404", response=RESPONSE),
            PermissionError,
            "imagenet: the hub knows no data set ILSVRC/imagenet-1k, or it is private: then `hf auth login` first; or "
            "give the folder of a local copy: --data.name FOLDER.",
        ),
        (
            httpx2.ConnectError("[Errno -2] Name or\n service not known"),
            ConnectionError,
            "imagenet: cannot be read from the Hugging Face hub (ILSVRC/imagenet-1k: [Errno -2] Name or service not "
            "known); try again, or give the folder of a local copy: --data.name FOLDER.",
        ),
    ],
)
def test_the_hub_refuses_in_words(
    error: Exception, kind: type[Exception], message: str, hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub, "auth_check", answers(error))
    with pytest.raises(kind) as caught:
        load_images("imagenet", split="train")
    assert str(caught.value) == message


def test_the_first_images_decide_on_grey_or_colour(hub: Path) -> None:
    write_parquet(hub / "data" / "validation-00000-of-00001.parquet", noise(6, (4, 4)), [0] * 6, class_names=NAMES)
    splits = open_stream("far", "keeper/animals", size=3, resize="squeeze")
    assert splits["validation"]().image_shape == (1, 3, 3)
    assert splits["train"]().image_shape == (3, 3, 3)
