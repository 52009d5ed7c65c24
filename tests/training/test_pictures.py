# SPDX-License-Identifier: MIT
"""Images to embed: their order, names and labels, batches from anywhere, and those that cannot be used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from face_runs import people, picture
from hypersphere.data import load_images
from hypersphere.training.embedder import Preparation
from hypersphere.training.pictures import Broken, FilePictures, SetPictures, find_files

SMALL = Preparation((3, 8, 8), 8)


def test_folders_are_searched_to_the_bottom_and_label_their_images(tmp_path: Path) -> None:
    folder = people(tmp_path / "people", num_each=1, names=("bob", "ann"))
    deep = picture(folder / "ann" / "old" / "a.png", 3)
    loose = picture(folder / "z.png", 4)
    named = picture(tmp_path / "without_suffix.png", 5).rename(tmp_path / "without_suffix")
    picture(folder / ".thumbnails" / "t.png", 6)
    picture(folder / "ann" / ".hidden.png", 7)
    (folder / "notes.txt").write_text("no image")
    assert find_files([named, folder]) == [
        (named, ""),
        (folder / "ann" / "ann_0.png", "ann"),
        (deep, "ann"),
        (folder / "bob" / "bob_0.png", "bob"),
        (loose, ""),
    ]


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"^search: there is no file .*nope\.png\.$"):
        find_files([tmp_path / "nope.png"], who="search")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"^embed: there is no image in the folder .*empty\.$"):
        find_files([tmp_path / "empty"])


def test_batches_of_files_begin_anywhere(tmp_path: Path) -> None:
    files = find_files([people(tmp_path / "people")])
    pictures = FilePictures(files, SMALL)
    assert len(pictures) == 9
    whole = list(pictures.batches(4))
    assert [len(batch.images) for batch in whole] == [4, 4, 1]
    assert [name for batch in whole for name in batch.images] == [str(path) for path, _ in files]
    assert [name for batch in whole for name in batch.labels] == ["ann"] * 3 + ["bob"] * 3 + ["cat"] * 3
    for batch, (path, _) in zip(pictures.batches(1), files, strict=True):
        assert np.array_equal(batch.pixels[0].numpy(), SMALL.read(path))
    later = list(pictures.batches(4, start=1))
    for expected, found in zip(whole[1:], later, strict=True):
        assert found.images == expected.images
        assert np.array_equal(found.pixels.numpy(), expected.pixels.numpy())
    assert list(pictures.batches(4, start=3)) == []


def test_broken_images_are_left_out_by_name(tmp_path: Path) -> None:
    folder = people(tmp_path / "people", num_each=2, names=("ann",))
    bad = folder / "ann" / "ann_0.png"
    bad.write_text("no image")
    empty = folder / "ann" / "b.png"
    empty.touch()
    (batch,) = FilePictures(find_files([folder]), SMALL).batches(10)
    assert batch.images == [str(folder / "ann" / "ann_1.png")]
    assert batch.pixels.shape == (1, 3, 8, 8)
    assert [one.image for one in batch.broken] == [str(bad), str(empty)]
    assert batch.broken[0].why == "the image cannot be decoded (its format is not known)"
    assert isinstance(batch.broken[1], Broken)


def test_a_file_that_vanishes_is_broken(tmp_path: Path) -> None:
    path = picture(tmp_path / "a.png", 0)
    pictures = FilePictures([(path, "")], SMALL)
    path.unlink()
    (batch,) = pictures.batches(2)
    assert batch.pixels.shape == (0, 3, 8, 8)
    assert "No such file" in batch.broken[0].why


def test_facts_change_with_names_and_contents(tmp_path: Path) -> None:
    folder = people(tmp_path / "people", num_each=1)
    first = FilePictures(find_files([folder]), SMALL).facts
    assert first["num_images"] == 3
    assert FilePictures(find_files([folder]), SMALL).facts == first
    picture(folder / "ann" / "ann_0.png", 9, size=(9, 9))
    changed = FilePictures(find_files([folder]), SMALL).facts
    assert changed["fingerprint"] != first["fingerprint"]
    (folder / "ann").rename(folder / "amy")
    assert FilePictures(find_files([folder]), SMALL).facts["fingerprint"] != changed["fingerprint"]


def test_images_of_a_set_are_named_by_their_numbers() -> None:
    images = load_images("digits", split="test")
    pictures = SetPictures(images, "test", Preparation((1, 8, 8)))
    assert len(pictures) == 500
    assert {name: pictures.facts[name] for name in ("kind", "name", "split", "num_images")} == {
        "kind": "data",
        "name": "digits",
        "split": "test",
        "num_images": 500,
    }
    later = list(pictures.batches(200, start=1))
    assert [len(batch.images) for batch in later] == [200, 100]
    assert later[0].images[:2] == ["200", "201"]
    assert images.labels is not None
    assert later[0].labels == [str(label) for label in images.labels[200:400].tolist()]


def test_a_set_of_another_shape_is_refused() -> None:
    digits, colour = load_images("digits", split="test"), load_images("synthetic", split="test")
    with pytest.raises(ValueError, match=r"^digits holds images of shape \(1, 8, 8\), the model takes \(3, 8, 9\)\.$"):
        SetPictures(digits, "test", Preparation((3, 8, 9)))
    with pytest.raises(
        ValueError, match=r"^synthetic holds images of shape \(3, 32, 32\), the model takes \(1, 32, 32\)"
    ):
        SetPictures(colour, "test", Preparation((1, 32, 32)))


def test_a_grey_set_is_colour_to_a_network_of_colour() -> None:
    images = load_images("digits", split="test")
    pictures = SetPictures(images, "test", Preparation((3, 8, 8)))
    batch = next(pictures.batches(5))
    assert batch.pixels.shape == (5, 3, 8, 8)
    (grey, _) = next(images.batches(5))
    assert all(torch.equal(batch.pixels[:, channel], grey[:, 0]) for channel in range(3))
