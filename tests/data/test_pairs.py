# SPDX-License-Identifier: MIT
"""Pairs find their images beside the list, in Parquet files and in the set, prepared as the model sees them."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from hypersphere.config import DataConfig
from hypersphere.data import StreamedImages, TensorImages, load
from hypersphere.data.pairs import load_pairs
from pictures import encode, noise, write_folder, write_named_parquet

LIST = "2\t1\nAnn\t1\t2\nBob\t3\tAnn\t2\nBob\t1\t3\nAnn\t1\tCid\t1\n"
PEOPLE = ["Ann", "Bob", "Cid"]
PIXELS = dict(zip(PEOPLE, (noise(2), noise(3, seed=1), noise(1, seed=2)), strict=True))
# in the order in which the list names them first
SHOWN = [("Ann", 1), ("Ann", 2), ("Bob", 3), ("Bob", 1), ("Cid", 1)]


def parquet(folder: Path, *, paths: str = "{name}_{number:04d}.jpg") -> Path:
    rows = [(name, number, pixels) for name in PEOPLE for number, pixels in enumerate(PIXELS[name], start=1)]
    write_named_parquet(
        folder / "train-0.parquet",
        {paths.format(name=name, number=number): pixels for name, number, pixels in rows},
        [name for name, *_ in rows],
    )
    (folder / "pairs.txt").write_text(LIST)
    return folder


def files(folder: Path, suffix: str = ".png") -> Path:
    for name in PEOPLE:
        (folder / name).mkdir(parents=True)
        for number, pixels in enumerate(PIXELS[name], start=1):
            (folder / name / f"{name}_{number:04d}{suffix}").write_bytes(encode(pixels))
    return folder


def check(found, title: str) -> None:
    """The four pairs of the list, with the right images."""
    assert repr(found.images) == f"TensorImages('{title}', 5 colour images 4x4, 3 classes)"
    assert found.left.tolist() == [0, 2, 3, 0]
    assert found.right.tolist() == [1, 1, 2, 4]
    assert found.same.tolist() == [True, False, True, False]
    assert found.fold.tolist() == [1, 1, 2, 2]
    assert found.people.tolist() == [[0, 0], [1, 0], [1, 1], [0, 2]]
    assert found.images.labels.tolist() == [0, 0, 1, 1, 2]
    assert found.images.class_names == PEOPLE
    expected = torch.from_numpy(np.stack([PIXELS[name][number - 1] for name, number in SHOWN])).permute(0, 3, 1, 2)
    ((images, _),) = found.images.batches(9)
    assert torch.equal(images, expected)
    assert len(found) == 4


def test_images_in_the_parquet_files_of_the_set(tmp_path: Path) -> None:
    check(load_pairs(DataConfig(str(parquet(tmp_path / "faces")))), "faces")


def test_images_beside_the_list_whatever_the_set_is(tmp_path: Path) -> None:
    folder = files(tmp_path / "faces")
    (folder / "pairs.txt").write_text(LIST)
    check(load_pairs(DataConfig(str(folder))), "faces")
    check(load_pairs(DataConfig("digits", pairs=str(folder / "pairs.txt"))), "faces")
    with pytest.raises(FileNotFoundError, match=r"data set 'digits' has no list of pairs: name one by data.pairs\."):
        load_pairs(DataConfig("digits"))


def test_parquet_files_beside_the_list_come_before_the_set(tmp_path: Path) -> None:
    parquet(tmp_path / "verified")
    other = write_folder(tmp_path / "trained", {name: noise(4, seed=9) for name in PEOPLE})
    check(load_pairs(DataConfig(str(other), pairs=str(tmp_path / "verified" / "pairs.txt"))), "verified")


def test_images_of_the_set_with_the_list_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "pairs.txt").write_text(LIST)
    for number, faces in enumerate([parquet(tmp_path / "p" / "faces"), files(tmp_path / "f" / "faces", ".PNG"),
                                    files(tmp_path / "t" / "faces" / "test")]):  # fmt: skip
        if number == 2:
            # the split that has them all is taken
            write_folder(tmp_path / "t" / "faces" / "train", {"Ann": noise(3)})
            faces = tmp_path / "t" / "faces"
        check(load_pairs(DataConfig(str(faces), pairs=str(tmp_path / "pairs.txt"))), "faces")


def test_paths_are_compared_from_their_end(tmp_path: Path) -> None:
    # the same file names in every folder, as in most sets of identities
    folder = parquet(tmp_path / "faces", paths="aligned/{name}/{number}.jpg")
    (folder / "pairs.txt").write_text("1 Bob/1.png Bob/2.png\n0 faces/aligned/Ann/2.jpg Bob/2.png\n")
    found = load_pairs(DataConfig(str(folder)))
    assert (found.left.tolist(), found.right.tolist(), found.fold.tolist()) == ([0, 2], [1, 1], [1, 1])
    ((images, labels),) = found.images.batches(9)
    assert torch.equal(images[2].permute(1, 2, 0), torch.from_numpy(PIXELS["Ann"][1]))
    assert [found.images.class_names[label] for label in labels] == ["Bob", "Bob", "Ann"]
    # 1.png alone could be anybody's
    (folder / "pairs.txt").write_text("1 1.png Bob/2.png\n")
    with pytest.raises(
        FileNotFoundError, match=r"1 of its 2 images cannot be found beside the list and in .*'1.png'\."
    ):
        load_pairs(DataConfig(str(folder)))


def test_what_is_missing_is_counted(tmp_path: Path) -> None:
    folder = files(tmp_path / "faces")
    (folder / "pairs.txt").write_text(LIST)
    (folder / "Cid" / "Cid_0001.png").unlink()
    (folder / "Bob" / "Bob_0003.png").unlink()
    message = r"pairs\.txt: 2 of its 5 images cannot be found in .*faces, where the first one is, .* 'Bob/Bob_0003'\."
    with pytest.raises(FileNotFoundError, match=message):
        load_pairs(DataConfig(str(folder)))
    (tmp_path / "pairs.txt").write_text(LIST)
    message = r"pairs\.txt: 5 of its 5 images cannot be found beside the list, and digits names no images, the first of"
    with pytest.raises(FileNotFoundError, match=message):
        load_pairs(DataConfig("digits", pairs=str(tmp_path / "pairs.txt")))


@pytest.mark.parametrize("stream", [False, True])
def test_images_are_prepared_as_the_model_sees_them(stream: bool, tmp_path: Path) -> None:
    folder = files(tmp_path / "faces")
    (folder / "pairs.txt").write_text(LIST)
    config = DataConfig(str(folder), size=[4, 2], crop=[2, 2], stream=stream)
    images = load_pairs(config, channels=3).images
    assert type(images) is (StreamedImages if stream else TensorImages)
    ((pixels, _),) = images.batches(9)
    assert torch.equal(pixels[0].permute(1, 2, 0), torch.from_numpy(PIXELS["Ann"][0][1:3, 1:3]))
    with pytest.raises(ValueError, match=r"faces: the images of the pairs are in colour, the model takes 1 channel\."):
        load_pairs(config, channels=1)


@pytest.mark.parametrize("stream", [False, True])
def test_grey_images_become_what_the_model_takes(stream: bool, tmp_path: Path) -> None:
    grey = noise(2, (4, 4))
    write_folder(tmp_path, {"Ann": grey})
    (tmp_path / "pairs.txt").write_text("1 Ann/000.png Ann/001.png\n")
    config = DataConfig(str(tmp_path), stream=stream)
    for channels in (None, 1, 3):
        images = load_pairs(config, channels=channels).images
        assert images.image_shape == (channels or 1, 4, 4)
        ((pixels, _),) = images.batches(2)
        assert torch.equal(pixels[:, 0], torch.from_numpy(np.stack(grey)))


def test_a_bin_file(tmp_path: Path) -> None:
    pixels = noise(24, (6, 4, 3))
    same = [number % 3 == 0 for number in range(12)]
    (tmp_path / "agedb.bin").write_bytes(pickle.dumps(([encode(image) for image in pixels], same)))
    found = load_pairs(DataConfig("digits", pairs=str(tmp_path / "agedb.bin"), size=4))
    assert repr(found.images) == "TensorImages('agedb', 24 colour images 4x4, 1 classes)"
    assert (found.left.tolist(), found.right.tolist()) == ([*range(0, 24, 2)], [*range(1, 24, 2)])
    assert found.same.tolist() == same
    assert found.fold.tolist() == [1, 1, 2, 2, 3, 4, 5, 6, 7, 8, 9, 10]
    assert found.people is None
    ((images, _),) = found.images.batches(24)
    assert torch.equal(images[7].permute(1, 2, 0), torch.from_numpy(pixels[7][1:5]))


def test_a_broken_image_of_a_bin_file_is_told_by_number(tmp_path: Path) -> None:
    images = [encode(image) for image in noise(4)]
    images[2] = images[2][:40]
    (tmp_path / "set.bin").write_bytes(pickle.dumps((images, [True, False])))
    with pytest.raises(ValueError, match=r"set\.bin, image 2 \(the first is 0\): the image cannot be decoded"):
        load_pairs(DataConfig(pairs=str(tmp_path / "set.bin")))


@pytest.mark.usefixtures("real_sets")
def test_the_pairs_of_lfw(tmp_path: Path) -> None:
    found = load_pairs(DataConfig("lfw", size=[112, 96], stream=True))
    assert repr(found.images) == "StreamedImages('lfw', 7701 colour images 112x96, 4281 classes)"
    assert np.bincount(found.fold)[1:].tolist() == [600] * 10
    # who is on a picture says what the list says
    assert np.array_equal(found.people[:, 0] == found.people[:, 1], found.same)
    assert torch.equal(found.images.labels[found.right], torch.from_numpy(found.people[:, 1]))
    shutil.copy(load.find_pairs(DataConfig("lfw")), tmp_path)
    elsewhere = load_pairs(DataConfig("lfw", pairs=str(tmp_path / "pairs.txt"), stream=True))
    assert np.array_equal(elsewhere.left, found.left)
