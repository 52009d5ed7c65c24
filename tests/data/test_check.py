# SPDX-License-Identifier: MIT
"""A set is described as it is: counts, sizes, what is broken by name, what is there twice by class and split."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest

from hypersphere.data.check import CheckedSplit, Copies, check_data, lines
from pictures import encode, noise, write_folder, write_parquet, write_records


def test_counts_sizes_and_channels(tmp_path: Path) -> None:
    write_folder(
        tmp_path / "set", {"ann": noise(3), "bob": noise(1, (4, 4), seed=1), "cid": noise(2, (6, 5, 3), seed=2)}
    )
    done: list[tuple[int, int]] = []
    found = check_data(tmp_path / "set", progress=lambda now, of: done.append((now, of)))
    assert (found.name, found.class_names, found.num_images) == ("set", ["ann", "bob", "cid"], 6)
    assert found.splits == (CheckedSplit("train", 6, 3, 1, 2.0, 3, 1),)
    assert list(found.sizes.items()) == [((4, 4), 4), ((6, 5), 2)]
    assert (found.grey, found.colour, found.num_broken, found.broken) == (1, 5, 0, ())
    assert found.copies == Copies(0, 0, 0, 0, 0, ())
    assert done == [(6, 6)]
    assert lines(found) == [
        "data      set: 6 images, 3 classes (ann, bob, cid)",
        "train     6 images of 3 classes, 1 to 3 images each, median 2; 1 with one image",
        "sizes     4x4 (4), 6x5 (2), height x width; set data.size, which brings all to one",
        "channels  1 grey, 5 colour; the set is read as colour",
        "broken    none",
        "copies    none",
    ]


def test_what_is_there_twice_is_told_by_class_and_split(tmp_path: Path) -> None:
    one, two, three, four, five = noise(5)
    write_folder(tmp_path / "set" / "train", {"ann": [one, two, one], "bob": [three, two, four]})
    write_folder(tmp_path / "set" / "test", {"ann": [five], "bob": [three, one]})
    copies = check_data(str(tmp_path / "set")).copies
    # one: twice with ann and once with bob in test; two: with both; three: with bob in train and test
    assert (copies.images, copies.surplus) == (3, 4)
    assert (copies.within_class, copies.across_classes, copies.across_splits) == (2, 2, 2)
    shown = [tuple(place.removeprefix(str(tmp_path / "set") + os.sep) for place in pair) for pair in copies.examples]
    assert shown == [
        ("train/ann/000.png: ann", "test/bob/001.png: bob"),
        ("train/ann/001.png: ann", "train/bob/001.png: bob"),
        ("train/bob/000.png: bob", "test/bob/000.png: bob"),
    ]
    told = lines(check_data(str(tmp_path / "set")))
    assert told[1:3] == [
        "train     6 images of 2 classes, 3 images each",
        "test      3 images of 2 classes, 1 to 2 images each, median 1.5; 1 with one image",
    ]
    assert told[6] == (
        "copies    3 images are there more than once, 4 too many: 2 within a class, 2 across classes, 2 across splits"
    )


def test_copies_are_of_pixels_and_not_of_files(tmp_path: Path) -> None:
    (image,) = noise(1)
    grey = np.full((4, 4), 7, dtype=np.uint8)
    images = [encode(image), encode(image, "bmp"), encode(image.reshape(2, 8, 3)), encode(grey),
              encode(np.repeat(grey[..., None], 3, axis=2))]  # fmt: skip
    copies = check_data(write_parquet(tmp_path / "a.parquet", images, ["x"] * 5)).copies
    assert (copies.images, copies.surplus, copies.within_class) == (1, 1, 1)


def test_many_copies_name_the_gravest(tmp_path: Path) -> None:
    pixels = noise(30)
    write_folder(tmp_path / "set", {"ann": [*pixels, *pixels], "bob": [pixels[17]]})
    found = check_data(tmp_path / "set")
    assert (found.copies.images, found.copies.across_classes, len(found.copies.examples)) == (30, 1, 20)
    assert found.copies.examples[0][1].endswith(": bob")
    assert lines(found)[-1] == "          and 25 more"


@pytest.mark.parametrize("kind", ["folder", "parquet", "records"])
def test_broken_images_are_named_and_the_rest_is_counted(kind: str, tmp_path: Path) -> None:
    images = [encode(image) for image in noise(200)]
    for number in range(10, 40):
        images[number] = images[number][:50]
    images[5] = b""
    if kind == "folder":
        for number, image in enumerate(images):
            path = tmp_path / "set" / str(number % 2) / f"{number:03d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(image)
        where = [rf"set/[01]/{number:03d}\.png" for number in (10, 12)]
    elif kind == "parquet":
        write_parquet(tmp_path / "set" / "train-0.parquet", images, [number % 2 for number in range(200)])
        where = [rf"train-0\.parquet, row {number} \(the first is 0\)" for number in (5, 10)]
    else:
        write_records(
            tmp_path / "set" / "train.rec", {key: (float(key % 2), image) for key, image in enumerate(images)}
        )
        where = [rf"train\.rec, key {number}" for number in (5, 10)]
    found = check_data(tmp_path / "set")
    assert (found.num_images, found.num_broken, found.colour, len(found.broken)) == (200, 31, 169, 20)
    assert re.search(rf"{where[0]}: (there is no image|the image cannot be decoded)", found.broken[0])
    assert re.search(rf"{where[1]}: the image cannot be decoded", found.broken[1])
    told = lines(found)
    assert told[4] == "broken    31, cannot be used:"
    assert told[25] == "          and 11 more"


def test_a_damaged_record_is_one_broken_image(tmp_path: Path) -> None:
    file = write_records(tmp_path / "train.rec", {key: (0.0, encode(image)) for key, image in enumerate(noise(5))})
    content = bytearray(file.read_bytes())
    place = int(file.with_suffix(".idx").read_text().splitlines()[3].split()[1])
    # a length beyond the end of the file
    content[place + 4 : place + 8] = (2**20).to_bytes(4, "little")
    file.write_bytes(content)
    found = check_data(file)
    assert (found.num_broken, found.colour) == (1, 4)
    assert found.broken[0].endswith("train.rec, key 3: the record is cut off, the file ends before it does")


@pytest.mark.parametrize("name", ["digits", "synthetic", "hub:owner/name"])
def test_what_is_no_file_cannot_be_checked(name: str) -> None:
    with pytest.raises(ValueError, match=rf"data set '{name}' has no image files here, so there is nothing to check"):
        check_data(name)


def test_a_set_that_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no such folder or file"):
        check_data(tmp_path / "none")
    (tmp_path / "a.csv").write_text("path,label\nx.png,ann\n")
    with pytest.raises(FileNotFoundError, match=r"a\.csv, line 2: there is no file .*x\.png"):
        check_data(tmp_path / "a.csv")


@pytest.mark.usefixtures("real_sets")
def test_lfw() -> None:
    found = check_data("lfw")
    assert found.splits == (CheckedSplit("train", 13233, 5749, 1, 1.0, 530, 4069),)
    assert (dict(found.sizes), found.colour, found.num_broken) == ({(112, 112): 13233}, 13233, 0)
    # two photographs of the set carry two names each
    assert (found.copies.images, found.copies.across_classes) == (2, 2)
