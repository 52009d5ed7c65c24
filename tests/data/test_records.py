# SPDX-License-Identifier: MIT
"""Record files as training data: both conventions of key 0, classes, splits, and images in memory and streamed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from hypersphere.config import DataConfig
from hypersphere.data import StreamedImages, TensorImages, load_images
from hypersphere.data.records import RecordSource, find_records
from pictures import encode, noise, write_records

PIXELS = noise(6)
CLASSES = [0, 0, 1, 1, 1, 3]


def insightface(folder: Path, *, classes: int | None = None, last: float = 7.0, name: str = "train") -> Path:
    """Images at the keys 1 to 6, what describes them at 0, identities behind."""
    records = {0: ([last, 10.0], b"")}
    records |= {key: (float(CLASSES[key - 1]), encode(PIXELS[key - 1])) for key in range(1, 7)}
    # the label of an image may be an array
    records[3] = ([1.0, 0.5], encode(PIXELS[2]))
    records |= {7: ([1.0, 3.0], b""), 8: ([3.0, 6.0], b""), 9: ([6.0, 7.0], b"")}
    write_records(folder / f"{name}.rec", records)
    if classes is not None:
        (folder / "property").write_text(f"{classes},4,4")
    return folder


def im2rec(folder: Path) -> Path:
    """Images at every key, from 0 on."""
    records = {key: (float(CLASSES[key]), encode(PIXELS[key])) for key in range(6)}
    write_records(folder / "train.rec", records)
    return folder


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("kind", [insightface, im2rec])
def test_both_conventions_give_the_same_images(kind, stream: bool, tmp_path: Path) -> None:
    folder = kind(tmp_path / "faces")
    for name in (folder, folder / "train.rec"):
        images = load_images(DataConfig(str(name), test_share=0.0, stream=stream, cache=False), split="train")
        assert type(images) is (StreamedImages if stream else TensorImages)
        assert (images.class_names, images.labels.tolist()) == (["0", "1", "3"], [0, 0, 1, 1, 1, 2])
        ((pixels, _),) = images.batches(9)
        assert torch.equal(pixels.permute(0, 2, 3, 1), torch.from_numpy(np.stack(PIXELS)))


def test_property_says_how_many_classes_there_are(tmp_path: Path) -> None:
    images = load_images(DataConfig(str(insightface(tmp_path / "a", classes=5)), test_share=0.0), split="train")
    assert (images.class_names, images.labels.tolist()) == ([*"01234"], CLASSES)
    with pytest.raises(
        ValueError, match=r"train\.rec, key 6: label 3 is out of range: the file property says that there are 3 classes"
    ):
        load_images(str(insightface(tmp_path / "b", classes=3)), split="train")
    # a name for each of so many classes would fill the memory
    for number in ("many", "0", "16777218", "9" * 5000):
        (tmp_path / "b" / "property").write_text(f"{number},112,112")
        with pytest.raises(ValueError, match=r"property: expected the number of classes first, .* got '[many90-8]+"):
            load_images(str(tmp_path / "b"), split="train")


def test_an_image_with_several_labels_at_key_0_is_an_image(tmp_path: Path) -> None:
    records = {key: ([float(CLASSES[key]), 9.0], encode(PIXELS[key])) for key in range(6)}
    write_records(tmp_path / "train.rec", records)
    assert len(load_images(DataConfig(str(tmp_path), test_share=0.0), split="train")) == 6


@pytest.mark.parametrize(
    ("last", "message"),
    [
        (8.5, r"key 0: it says that images are the keys before 8\.5, of 10 keys\."),
        (1.0, r"key 0: it says that images are the keys before 1, of 10 keys\."),
        (1e30, r"key 0: it says that images are the keys before 1e\+30, of 10 keys\."),
    ],
)
def test_a_description_that_cannot_be_is_told(last: float, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf"train\.rec, {message}"):
        load_images(str(insightface(tmp_path, last=last)), split="train")


def test_images_that_the_index_lacks_are_told(tmp_path: Path) -> None:
    index = insightface(tmp_path) / "train.idx"
    index.write_text("".join(line for line in index.read_text().splitlines(True) if line[:2] not in ("2\t", "5\t")))
    with pytest.raises(
        ValueError, match=r"images are the keys 1 to 6, but 2 of them are not in the index, the first is 2"
    ):
        load_images(str(tmp_path), split="train")


@pytest.mark.parametrize("label", [-1.0, 0.5, float("nan"), float("inf"), 3e7])
def test_a_label_that_is_no_class_is_told(label: float, tmp_path: Path) -> None:
    write_records(tmp_path / "train.rec", {0: (1.0, encode(PIXELS[0])), 1: (label, encode(PIXELS[1]))})
    with pytest.raises(
        ValueError, match=r"train\.rec, key 1: label \S+ is no class; expected a whole number from 0 to 1677"
    ):
        load_images(str(tmp_path), split="train")


def test_a_rounded_end_of_the_images_is_put_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # float32 keeps only every second number from 2**24 on; here 6 stands for it
    monkeypatch.setattr("hypersphere.data.records._EXACT", 5)
    for last in (6.0, 7.0, 8.0):
        folder = insightface(tmp_path / str(last), last=last)
        assert len(RecordSource("a", find_records(folder))._images("train")[1]) == 6


def test_splits_by_name_share_their_classes(tmp_path: Path) -> None:
    insightface(tmp_path)
    write_records(tmp_path / "val.rec", {0: (7.0, encode(PIXELS[0])), 1: (3.0, encode(PIXELS[1]))})
    train, held = (load_images(DataConfig(str(tmp_path), test_share=0.0), split=one) for one in ("train", "validation"))
    assert train.class_names == held.class_names == ["0", "1", "3", "7"]
    assert held.labels.tolist() == [3, 2]
    insightface(tmp_path / "other", name="faces_emore")
    assert list(find_records(tmp_path / "other")) == ["train"]
    insightface(tmp_path / "other", name="more")
    with pytest.raises(
        ValueError, match=r"other holds several record files \(faces_emore\.rec, more\.rec\); name one\."
    ):
        load_images(str(tmp_path / "other"), split="train")


@pytest.mark.parametrize("stream", [False, True])
def test_a_damaged_image_is_told_with_its_key(stream: bool, tmp_path: Path) -> None:
    config = DataConfig(str(im2rec(tmp_path)), test_share=0.0, stream=stream)
    records = {key: (float(CLASSES[key]), encode(PIXELS[key])[: 40 if key == 4 else None]) for key in range(6)}
    write_records(tmp_path / "train.rec", records)
    with pytest.raises(ValueError, match=r"train\.rec, key 4: the image cannot be decoded"):
        list(load_images(config, split="train").batches(2))


def test_a_changed_file_is_decoded_again(tmp_path: Path) -> None:
    config = DataConfig(str(im2rec(tmp_path)), test_share=0.0)
    assert len(load_images(config, split="train")) == 6
    insightface(tmp_path, classes=9)
    assert load_images(config, split="train").num_classes == 9
