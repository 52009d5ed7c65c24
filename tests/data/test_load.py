# SPDX-License-Identifier: MIT
"""From a name, folder or file to the images of each split, as a user asks for them."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from hypersphere.config import DataConfig
from hypersphere.data import ImageSet, StreamedImages, TensorImages, decode, list_datasets, load, load_images
from hypersphere.data.pair_lists import people_of_fold
from pictures import encode, noise, write_folder, write_parquet

NAMES = ["ant", "bee", "cow"]
PIXELS = noise(30)
CLASSES = [row % 3 for row in range(30)]


def parquet(folder: Path, **splits: slice) -> Path:
    for split, rows in splits.items():
        write_parquet(folder / f"{split}-00000-of-00001.parquet", PIXELS[rows], CLASSES[rows], class_names=NAMES)
    return folder


def everything(images: ImageSet) -> set[bytes]:
    return {image.numpy().tobytes() for batch, _ in images.batches(7) for image in batch}


@pytest.fixture
def animals(tmp_path: Path) -> Path:
    return parquet(tmp_path / "animals", train=slice(0, 24), test=slice(24, 30))


def test_a_folder_of_parquet_files(animals: Path) -> None:
    train, test = (load_images(str(animals), split=split) for split in ("train", "test"))
    assert repr(train) == "TensorImages('animals', 24 colour images 4x4, 3 classes)"
    assert test.class_names == NAMES
    assert test.labels.tolist() == CLASSES[24:]
    (images, labels) = next(test.batches(6))
    assert torch.equal(images.permute(0, 2, 3, 1), torch.from_numpy(np.stack(PIXELS[24:])))
    assert torch.equal(labels, test.labels)


def test_one_parquet_file(animals: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = animals / "train-00000-of-00001.parquet"
    assert len(load_images(str(file), split="train")) == 19
    assert "has no test split: 5 of its 24 images stand in for one" in caplog.text


def test_a_folder_of_classes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_folder(tmp_path / "pets", {"cat": noise(10, (4, 4)), "dog": noise(5, (4, 4), seed=1)})
    train, test = (load_images(str(tmp_path / "pets"), split=split) for split in ("train", "test"))
    assert repr(train) == "TensorImages('pets', 12 grey images 4x4, 2 classes)"
    assert torch.bincount(test.labels).tolist() == [2, 1]
    assert everything(train).isdisjoint(everything(test))
    assert "pets has no test split: 3 of its 15 images stand in for one (data.split_seed=0), 12 remain" in caplog.text
    assert len(caplog.records) == 1


def test_a_csv_file(tmp_path: Path) -> None:
    write_folder(tmp_path, {"x": noise(4)})
    lines = [f"x/00{number}.png,{name},{split}" for number, (name, split) in enumerate(
        [("Ann", "train"), ("Bob", "train"), ("Ann", "test"), ("Bob", "train")])]  # fmt: skip
    (tmp_path / "people.csv").write_text("\n".join(["path,identity,split", *lines]))
    train = load_images(str(tmp_path / "people.csv"), split="train")
    assert (train.name, train.class_names, train.labels.tolist()) == ("people.csv", ["Ann", "Bob"], [0, 1, 1])


def test_a_named_set_lies_in_the_folder_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parquet(tmp_path / "cifar10", train=slice(0, 6), test=slice(6, 9))
    monkeypatch.setenv("HYPERSPHERE_DATA", str(tmp_path))
    assert repr(load_images("cifar10", split="test")) == "TensorImages('cifar10', 3 colour images 4x4, 3 classes)"


def test_digits_need_no_file() -> None:
    train = load_images(DataConfig(name="digits", validation=0.1), split="train")
    assert (len(train), train.image_shape) == (1167, (1, 8, 8))
    with pytest.raises(ValueError, match=r"data set 'digits': its images are 8x8 and cannot be resized"):
        load_images(DataConfig(name="digits", size=16), split="train")


def test_every_name_has_a_line() -> None:
    assert all("classes" in line for line in list_datasets().values())


# divisions ----------------------------------------------------------------------------------------------------------


def test_the_parts_of_train_are_apart_and_whole(animals: Path) -> None:
    config = DataConfig(name=str(animals), validation=0.25, split_seed=1)
    train, validation = (load_images(config, split=split) for split in ("train", "validation"))
    assert (len(train), len(validation)) == (18, 6)
    assert torch.bincount(validation.labels).tolist() == [2, 2, 2]
    assert everything(train).isdisjoint(everything(validation))
    whole = load_images(str(animals), split="train")
    assert everything(train) | everything(validation) == everything(whole)
    again = load_images(config, split="validation")
    assert torch.equal(again.images, validation.images)
    other = load_images(DataConfig(name=str(animals), validation=0.25, split_seed=2), split="validation")
    assert everything(other) != everything(validation)


def test_a_validation_split_of_its_own_is_used(tmp_path: Path) -> None:
    parquet(tmp_path, train=slice(0, 12), validation=slice(12, 15), test=slice(15, 18))
    assert len(load_images(str(tmp_path), split="validation")) == 3
    assert len(load_images(DataConfig(name=str(tmp_path), validation=0.25), split="train")) == 9


def test_keep_thins_train_alone(animals: Path) -> None:
    config = DataConfig(name=str(animals), validation=0.25, keep={"bee": 0.5, "2": 0.0})
    counts = {
        split: torch.bincount(load_images(config, split=split).labels, minlength=3).tolist()
        for split in ("train", "validation", "test")
    }
    assert counts == {"train": [6, 3, 0], "validation": [2, 2, 2], "test": [2, 2, 2]}


@pytest.mark.parametrize(
    ("settings", "split", "message"),
    [
        ({}, "validation", r"data set '.*animals' has no validation split; set data.validation, such as 0.1 of train."),
        ({}, "tset", r"unknown split 'tset': choose test, train, validation \(did you mean 'test'\?\)"),
        ({"validation": 0.01}, "train", r"animals: the validation split of 0.01 of train would be empty, of 24 images"),
        (
            {"keep": {"ant": 0.0, "bee": 0.0, "cow": 0.0}},
            "train",
            r"animals: the train split with data.keep would be empty",
        ),
        (
            {"keep": {"aunt": 0.1}},
            "train",
            r"keep: unknown class 'aunt' among 3: ant, bee, cow \(did you mean 'ant'\?\).",
        ),
        ({"split_seed": -1}, "train", r"split_seed must be a whole number of 0 or more, got -1."),
        ({"size": 0}, "train", r"size must be a whole number of 1 or more, got 0."),
        (
            {"label_column": "lable"},
            "train",
            r"unknown column 'lable': choose image, label \(did you mean 'label'\?\).",
        ),
    ],
)
def test_wrong_settings_are_refused(settings: dict, split: str, message: str, animals: Path) -> None:
    with pytest.raises(ValueError, match=message):
        load_images(DataConfig(name=str(animals), **settings), split=split)


def test_a_set_without_train_can_be_tested(tmp_path: Path) -> None:
    parquet(tmp_path, test=slice(0, 3))
    assert len(load_images(str(tmp_path), split="test")) == 3
    with pytest.raises(ValueError, match=r"has no train split, only test."):
        load_images(str(tmp_path), split="train")


# identities -----------------------------------------------------------------------------------------------------------

PAIRS = "2\t1\nann\t1\t2\nann\t1\tbob\t1\ncid\t1\t2\ncid\t1\tdan\t1\n"


@pytest.fixture
def people(tmp_path: Path) -> Path:
    """Five people of 6, 5, 4, 3 and 1 images, and a list of pairs of two folds."""
    images = {name: noise(num, seed=num) for name, num in zip(["ann", "bob", "cid", "dan", "eve"], [6, 5, 4, 3, 1],
                                                              strict=True)}  # fmt: skip
    folder = write_folder(tmp_path / "people", images)
    (folder / "pairs.txt").write_text(PAIRS)
    return folder


def test_identities_with_few_images_are_left_out(people: Path) -> None:
    config = DataConfig(name=str(people), min_images=4, test_share=0.2)
    train, test = (load_images(config, split=split) for split in ("train", "test"))
    assert train.class_names == test.class_names == ["ann", "bob", "cid"]
    assert torch.bincount(train.labels).tolist() == [5, 4, 3]
    assert torch.bincount(test.labels).tolist() == [1, 1, 1]
    with pytest.raises(ValueError, match=r"people: no class is left of 5 with data.min_images=7"):
        load_images(DataConfig(name=str(people), min_images=7), split="train")


@pytest.mark.parametrize(("fold", "left"), [(1, ["cid", "dan", "eve"]), (2, ["ann", "bob", "eve"])])
def test_the_people_of_a_fold_are_left_out_of_every_split(fold: int, left: list[str], people: Path) -> None:
    config = DataConfig(name=str(people), without_fold=fold, validation=0.2, test_share=0.3)
    every = load_images(DataConfig(name=str(people), test_share=0.0), split="train")
    whole = {name: everything(every.of_classes([row])) for row, name in enumerate(every.class_names)}
    seen = set()
    for split in ("train", "validation", "test"):
        images = load_images(config, split=split)
        assert images.class_names == left
        seen |= everything(images)
    assert seen == set().union(*(whole[name] for name in left))


def test_stored_test_images_have_the_classes_that_remain(tmp_path: Path) -> None:
    write_folder(tmp_path / "set" / "train", {"ann": noise(3), "bob": noise(1, seed=1)})
    write_folder(tmp_path / "set" / "test", {"ann": noise(1, seed=2), "bob": noise(2, seed=3), "new": noise(1, seed=4)})
    config = DataConfig(name=str(tmp_path / "set"), min_images=2)
    assert repr(load_images(config, split="test")) == "TensorImages('set', 1 colour images 4x4, 1 classes)"
    plain = load_images(DataConfig(name=str(tmp_path / "set")), split="test")
    assert plain.class_names == ["ann", "bob", "new"]
    # one image at least: who is in test alone is no class
    assert load_images(DataConfig(name=str(tmp_path / "set"), min_images=1), split="test").class_names == ["ann", "bob"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"without_fold": 3}, r"pairs\.txt: data\.without_fold must lie in 1\.\.2, its folds, got 3\."),
        (
            {"without_fold": 1, "pairs": "{here}/other.txt"},
            r"people: none of the 2 people of fold 1 of .*other.txt is a class here, such as 'ann'; give the list",
        ),
        ({"without_fold": 1, "pairs": "{here}/none.txt"}, r"none\.txt: there is no such list of pairs"),
        (
            {"name": "digits", "without_fold": 1},
            r"data set 'digits' has no list of pairs: name one by data\.pairs, which data\.without_fold=1 asks for, or",
        ),
        ({"name": "{here}/people/ann", "without_fold": 1}, r"neither Parquet files nor train.rec nor a folder"),
    ],
)
def test_wrong_choices_of_identities_are_refused(settings: dict, message: str, people: Path, tmp_path: Path) -> None:
    (tmp_path / "other.txt").write_text(PAIRS.replace("ann", "x").replace("bob", "y"))
    given = {"name": str(people)} | settings
    given = {key: value.replace("{here}", str(tmp_path)) if isinstance(value, str) else value
             for key, value in given.items()}  # fmt: skip
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        load_images(DataConfig(**given), split="train")


def test_all_images_may_train_and_then_there_is_no_test_split(people: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = DataConfig(name=str(people), test_share=0.0)
    assert len(load_images(config, split="train")) == 19
    assert not caplog.records
    with pytest.raises(
        ValueError, match=r"people has no test split and data.test_share is 0, .* hold a few .* --data.test_share 0.01."
    ):
        load_images(config, split="test")


def test_the_list_of_pairs_lies_beside_the_set_or_is_named(people: Path, tmp_path: Path, animals: Path) -> None:
    assert load.find_pairs(DataConfig(name=str(people))) == people / "pairs.txt"
    assert load.find_pairs(DataConfig(name=str(people), pairs="elsewhere.txt")) == Path("elsewhere.txt")
    (tmp_path / "people.csv").touch()
    with pytest.raises(FileNotFoundError, match=r"has no list of pairs, there is no pairs.txt in .*: name one by data"):
        load.find_pairs(DataConfig(name=str(tmp_path / "people.csv")))
    (tmp_path / "pairs.txt").touch()
    assert load.find_pairs(DataConfig(name=str(tmp_path / "people.csv"))) == tmp_path / "pairs.txt"


# names that lead nowhere ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        (
            "cifar-100",
            ValueError,
            r"unknown data set 'cifar-100': choose cifar10, cifar100, digits, fashion_mnist, imagenet, lfw, "
            r"mnist, synthetic \(did you mean 'cifar100'\?\), or give a folder, a CSV, Parquet or .rec file.",
        ),
        ("no/where", FileNotFoundError, r"data.name 'no/where': there is no such folder or file."),
        ("list.csv", FileNotFoundError, r"data.name 'list.csv': there is no such folder or file."),
        ("{here}", ValueError, r"holds neither Parquet files nor train.rec nor a folder of images for each class."),
        ("{here}/notes.txt", ValueError, r"notes.txt is neither a folder, a .csv, a .parquet nor a .rec file."),
    ],
)
def test_a_name_that_leads_nowhere_is_told(name: str, error: type[Exception], message: str, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(error, match=message):
        load_images(name.replace("{here}", str(tmp_path)), split="train")


# bad images -----------------------------------------------------------------------------------------------------------


def test_a_bad_image_is_told_before_training(tmp_path: Path) -> None:
    images = [*map(encode, PIXELS[:5]), encode(PIXELS[5])[:30]]
    write_parquet(tmp_path / "train-0.parquet", images, CLASSES[:6], class_names=NAMES)
    with pytest.raises(ValueError, match=r"train-0.parquet, row 5 \(the first is 0\): the image cannot be decoded"):
        load_images(str(tmp_path), split="train")


def test_images_of_several_sizes_are_refused_or_resized(tmp_path: Path) -> None:
    write_folder(tmp_path / "pets", {"cat": noise(5), "dog": noise(5, (6, 8, 3))})
    message = r"pets/dog/000.png: the image is 8x6 pixels, the first one is 4x4; set data.size to crop and resize all"
    with pytest.raises(ValueError, match=message + r".*; 4 more images of pets \(train\) cannot be used."):
        load_images(str(tmp_path / "pets"), split="train")
    assert load_images(DataConfig(name=str(tmp_path / "pets"), size=5), split="train").image_shape == (3, 5, 5)


# cache ----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The splits that were really decoded."""
    seen: list[str] = []

    def spy(rows, size, **settings):
        seen.append(rows.title)
        return decode.decode_all(rows, size, **settings)

    monkeypatch.setattr(load, "decode_all", spy)
    return seen


def test_images_are_decoded_once(animals: Path, decoded: list[str], own_caches: Path) -> None:
    first, second = (load_images(str(animals), split="train") for _ in range(2))
    assert decoded == ["animals (train)"]
    assert torch.equal(first.images, second.images)
    assert (first.class_names, first.labels.tolist(), first.name) == (
        second.class_names,
        second.labels.tolist(),
        "animals",
    )
    assert len(list(own_caches.iterdir())) == 1


def test_a_changed_set_is_decoded_again(animals: Path, decoded: list[str], own_caches: Path) -> None:
    load_images(str(animals), split="train")
    parquet(animals, train=slice(0, 15))
    assert len(load_images(str(animals), split="train")) == 15
    os.utime(animals / "train-00000-of-00001.parquet", ns=(0, 0))
    load_images(str(animals), split="train")
    assert decoded == ["animals (train)"] * 3
    assert len(list(own_caches.iterdir())) == 1


def test_settings_that_change_the_pixels_are_kept_apart(animals: Path, decoded: list[str]) -> None:
    for size in (None, 2, None, 2):
        assert load_images(DataConfig(name=str(animals), size=size), split="test").image_shape[1] == (size or 4)
    assert len(decoded) == 2
    # of square images both ways of resizing make the same
    for _ in range(2):
        load_images(DataConfig(name=str(animals), size=2, resize="squeeze"), split="test")
    assert len(decoded) == 3


@pytest.mark.parametrize("stream", [False, True])
def test_evaluation_sees_the_middle_and_training_the_whole(animals: Path, stream: bool) -> None:
    config = DataConfig(name=str(animals), crop=2, stream=stream)
    test = load_images(config, split="test")
    whole = load_images(config, split="test", whole=True)
    assert (test.image_shape, whole.image_shape) == ((3, 2, 2), (3, 4, 4))
    (images, labels), (larger, same) = (next(found.batches(6)) for found in (test, whole))
    assert torch.equal(images, larger[:, :, 1:3, 1:3])
    assert torch.equal(labels, same)
    assert test.subset([5, 0]).image_shape == (3, 2, 2)
    assert torch.equal(next(test.subset([5, 0]).batches(2))[0], images[[5, 0]])
    with pytest.raises(
        ValueError, match=r"animals: data.crop is 5, larger than its images of 4x4; set data.size to 5 or"
    ):
        load_images(DataConfig(name=str(animals), crop=5, stream=stream), split="test")


@pytest.mark.parametrize("stream", [False, True])
def test_sizes_need_not_be_square(animals: Path, stream: bool, decoded: list[str]) -> None:
    whole = load_images(DataConfig(name=str(animals), stream=stream), split="test")
    narrow = load_images(DataConfig(name=str(animals), size=[4, 2], stream=stream), split="test")
    part = load_images(DataConfig(name=str(animals), size=[4, 2], crop=[2, 2], stream=stream), split="test")
    assert (narrow.image_shape, part.image_shape) == ((3, 4, 2), (3, 2, 2))
    (images, _), (cut, _), (middle, _) = (next(found.batches(6)) for found in (whole, narrow, part))
    assert torch.equal(cut, images[:, :, :, 1:3])
    assert torch.equal(middle, images[:, :, 1:3, 1:3])
    assert len(decoded) == (0 if stream else 2)
    # a square in two numbers is a square
    load_images(DataConfig(name=str(animals), size=2, stream=stream), split="test")
    load_images(DataConfig(name=str(animals), size=[2, 2], stream=stream), split="test")
    assert len(decoded) == (0 if stream else 3)


def test_a_damaged_cache_is_made_again(animals: Path, decoded: list[str], own_caches: Path) -> None:
    load_images(str(animals), split="train")
    (file,) = own_caches.iterdir()
    file.write_bytes(file.read_bytes()[:-7])
    assert len(load_images(str(animals), split="train")) == 24
    assert len(load_images(str(animals), split="train")) == 24
    assert len(decoded) == 2


def test_the_cache_can_be_left_out(animals: Path, own_caches: Path) -> None:
    load_images(DataConfig(name=str(animals), cache=False), split="train")
    assert not own_caches.exists()


def test_a_cache_that_cannot_be_written_stops_nothing(
    animals: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("HYPERSPHERE_CACHE", str(animals / "train-00000-of-00001.parquet"))
    assert len(load_images(str(animals), split="train")) == 24
    assert "could not keep the decoded images" in caplog.text


# streams --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["parquet", "folder"])
def test_a_stream_gives_what_memory_gives(kind: str, animals: Path, tmp_path: Path) -> None:
    name = (
        str(animals) if kind == "parquet" else str(write_folder(tmp_path / "pets", {"cat": noise(9), "dog": noise(8)}))
    )
    settings = {"name": name, "validation": 0.25, "keep": {"0": 0.5}}
    streamed, kept = (load_images(DataConfig(**settings, stream=stream), split="train") for stream in (True, False))
    assert isinstance(streamed, StreamedImages)
    assert isinstance(kept, TensorImages)
    order = {"shuffle": True, "seed": 3, "epoch": 2}
    for (images, labels), (others, other_labels) in zip(
        streamed.batches(4, **order), kept.batches(4, **order), strict=True
    ):
        assert torch.equal(images, others)
        assert torch.equal(labels, other_labels)


def test_big_sets_are_streamed(animals: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    size = 24 * 4 * 4 * 3
    for limit, kind in ((size, TensorImages), (size - 1, StreamedImages)):
        monkeypatch.setattr(load, "STREAM_ABOVE", limit)
        assert type(load_images(DataConfig(name=str(animals), cache=False), split="train")) is kind
    assert type(load_images(DataConfig(name=str(animals), stream=False), split="train")) is TensorImages


# real data ------------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("real_sets")
def test_real_sets_have_the_published_numbers() -> None:
    cifar, mnist = (load_images(name, split="test") for name in ("cifar100", "mnist"))
    assert repr(cifar) == "TensorImages('cifar100', 10000 colour images 32x32, 100 classes)"
    assert repr(mnist) == "TensorImages('mnist', 10000 grey images 28x28, 10 classes)"
    assert torch.bincount(cifar.labels).tolist() == [100] * 100
    assert torch.bincount(mnist.labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert cifar.class_names[:2] == ["apple", "aquarium_fish"]
    # mean of the test pixels, known from the original files
    assert float(mnist.images.float().mean()) / 255 == pytest.approx(0.1325, abs=1e-4)


def test_synthetic_images_have_the_size_asked_for() -> None:
    train = load_images(DataConfig(name="synthetic", size=24, crop=16, validation=0.1), split="train", whole=True)
    assert repr(train) == "TensorImages('synthetic', 270 colour images 24x24, 10 classes)"
    assert load_images("synthetic", split="test").image_shape == (3, 32, 32)


def test_a_copy_of_imagenet_has_its_validation_images_as_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYPERSPHERE_DATA", str(tmp_path))
    parquet(tmp_path / "imagenet", train=slice(0, 20), validation=slice(20, 26))
    # those of the published test split are hidden
    write_parquet(tmp_path / "imagenet" / "test-00000-of-00001.parquet", PIXELS[26:], [-1] * 4, class_names=NAMES)
    train, test = (load_images("imagenet", split=split) for split in ("train", "test"))
    assert repr(train) == "TensorImages('imagenet', 20 colour images 4x4, 3 classes)"
    assert test.labels.tolist() == CLASSES[20:26]
    assert len(load_images(DataConfig(name="imagenet", validation=0.25), split="validation")) == 5


def test_a_copy_of_imagenet_may_be_folders_of_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYPERSPHERE_DATA", str(tmp_path))
    write_folder(tmp_path / "imagenet" / "train", {"n01": noise(3), "n02": noise(2)})
    with pytest.raises(ValueError, match=r"imagenet has no validation split, only train\."):
        load_images("imagenet", split="test")
    write_folder(tmp_path / "imagenet" / "val", {"n01": noise(1), "n02": noise(1)})
    assert (len(load_images("imagenet", split="train")), len(load_images("imagenet", split="test"))) == (5, 2)
    for path in sorted((tmp_path / "imagenet").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    with pytest.raises(ValueError, match=r"imagenet holds neither Parquet files nor a folder of images for each class"):
        load_images("imagenet", split="test")


@pytest.mark.usefixtures("real_sets")
def test_lfw_without_the_people_of_a_fold() -> None:
    settings = {"name": "lfw", "size": [112, 96], "test_share": 0.0, "stream": True}
    whole = load_images(DataConfig(**settings), split="train")
    assert repr(whole) == "StreamedImages('lfw', 13233 colour images 112x96, 5749 classes)"
    left = load_images(DataConfig(**settings, without_fold=10), split="train")
    assert set(whole.class_names) - set(left.class_names) == people_of_fold(load.find_pairs(DataConfig("lfw")), 10)
