# SPDX-License-Identifier: MIT
"""Rows of Parquet files, in memory and on disk: the same images, the same classes, the same messages."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from hypersphere.data.parquet import ParquetSource
from pictures import encode, noise, write_parquet

NAMES = ["cat", "dog", "emu"]
BOTH = pytest.mark.parametrize("on_disk", [False, True])


def two_files(folder: Path) -> ParquetSource:
    pixels = noise(5)
    train = [
        write_parquet(folder / "train-0.parquet", pixels[:2], [0, 1], class_names=NAMES),
        write_parquet(folder / "train-1.parquet", pixels[2:], [2, 1, 0], class_names=NAMES),
    ]
    test = [write_parquet(folder / "test-0.parquet", noise(1, seed=1), [2], class_names=NAMES)]
    return ParquetSource("pets", {"train": train, "test": test})


@BOTH
def test_rows_of_several_files_are_one_set(on_disk: bool, tmp_path: Path) -> None:
    source = two_files(tmp_path)
    rows = source.rows("train", on_disk=on_disk)
    assert rows.labels.tolist() == [0, 1, 2, 1, 0]
    assert rows.class_names == NAMES
    assert rows.title == "pets (train)"
    pixels = [encode(image) for image in noise(5)]
    assert list(rows.encoded(range(5))) == pixels
    assert list(rows.encoded([4, 1, 1])) == [pixels[4], pixels[1], pixels[1]]
    assert rows.where(1) == f"{tmp_path / 'train-0.parquet'}, row 1 (the first is 0)"
    assert rows.where(4) == f"{tmp_path / 'train-1.parquet'}, row 2 (the first is 0)"
    assert source.peek("train") == (5, pixels[0])


@BOTH
def test_classes_without_declared_names_are_those_of_all_splits(on_disk: bool, tmp_path: Path) -> None:
    train = write_parquet(tmp_path / "train.parquet", noise(3), ["dog", "ant", "dog"])
    test = write_parquet(tmp_path / "test.parquet", noise(1), ["cow"])
    source = ParquetSource("pets", {"train": [train], "test": [test]})
    rows = source.rows("train", on_disk=on_disk)
    assert rows.class_names == ["ant", "cow", "dog"]
    assert rows.labels.tolist() == [2, 0, 2]
    assert source.rows("test", on_disk=on_disk).labels.tolist() == [1]


def test_numbers_without_names_are_classes_too(tmp_path: Path) -> None:
    file = write_parquet(tmp_path / "train.parquet", noise(3), [10, 2, 10])
    rows = ParquetSource("numbers", {"train": [file]}).rows("train", on_disk=False)
    assert rows.class_names == ["2", "10"]
    assert rows.labels.tolist() == [1, 0, 1]


def test_images_may_be_bytes_or_paths_beside_the_file(tmp_path: Path) -> None:
    images = [encode(image) for image in noise(2)]
    (tmp_path / "a.png").write_bytes(images[0])
    kind = pyarrow.struct({"bytes": pyarrow.binary(), "path": pyarrow.string()})
    cells = {
        "bytes": (pyarrow.array(images), images),
        "paths": (pyarrow.array(["a.png", "a.png"]), [tmp_path / "a.png"] * 2),
        "struct": (
            pyarrow.array([{"bytes": None, "path": "a.png"}, {"bytes": None, "path": None}], kind),
            [tmp_path / "a.png", None],
        ),
    }
    for name, (column, expected) in cells.items():
        file = tmp_path / f"{name}.parquet"
        pyarrow.parquet.write_table(pyarrow.table({"image": column, "label": [0, 1]}), file)
        assert list(ParquetSource(name, {"train": [file]}).rows("train", on_disk=False).encoded([0, 1])) == expected


def test_columns_can_be_given(tmp_path: Path) -> None:
    table = pyarrow.table({"left": [b"l"], "right": [b"r"], "fine": ["a"], "coarse": ["b"]})
    pyarrow.parquet.write_table(table, tmp_path / "train.parquet")
    source = ParquetSource(
        "pairs", {"train": [tmp_path / "train.parquet"]}, image_column="right", label_column="coarse"
    )
    rows = source.rows("train", on_disk=False)
    assert list(rows.encoded([0])) == [b"r"]
    assert rows.class_names == ["b"]


@BOTH
@pytest.mark.parametrize(
    ("label", "message"),
    [
        (-1, r"b.parquet, row 1 \(the first is 0\): the label is -1: it is hidden or missing"),
        (None, r"b.parquet, row 1 \(the first is 0\): the label is missing"),
        (
            3,
            r"b.parquet, row 1 \(the first is 0\): label 3 is out of range: there are 3 classes, 0 to 2 \(cat, dog",
        ),
    ],
)
def test_a_bad_label_is_told_with_file_and_row(on_disk: bool, label: int | None, message: str, tmp_path: Path) -> None:
    files = [
        write_parquet(tmp_path / "a.parquet", noise(2), [0, 1], class_names=NAMES),
        write_parquet(tmp_path / "b.parquet", noise(2), [0, label], class_names=NAMES),
    ]
    with pytest.raises(ValueError, match=message):
        ParquetSource("pets", {"train": files}).rows("train", on_disk=on_disk)


def test_an_empty_split_is_told(tmp_path: Path) -> None:
    file = write_parquet(tmp_path / "train.parquet", [], pyarrow.array([], pyarrow.int64()), class_names=NAMES)
    with pytest.raises(ValueError, match=r"pets: the train split is empty, there are no rows in .*train.parquet."):
        ParquetSource("pets", {"train": [file]}).peek("train")


def test_files_that_disagree_are_told(tmp_path: Path) -> None:
    first = write_parquet(tmp_path / "a.parquet", noise(1), [0], class_names=NAMES)
    renamed = write_parquet(tmp_path / "b.parquet", noise(1), [0], class_names=["cow", "dog", "emu"])
    text = write_parquet(tmp_path / "c.parquet", noise(1), ["cat"])
    lacking = write_parquet(tmp_path / "d.parquet", noise(1), [0], label_column="fine_label")
    for file, message in (
        (renamed, r"b.parquet: its class names are not those of .*a.parquet."),
        (text, r"c.parquet: column 'label' is string, in .*a.parquet int64."),
        (lacking, r"d.parquet: column 'label' is missing, in .*a.parquet int64."),
    ):
        with pytest.raises(ValueError, match=message):
            ParquetSource("pets", {"train": [first, file]}).rows("train", on_disk=False)


def test_a_new_version_is_read_even_if_its_time_is_the_old_one(tmp_path: Path) -> None:
    file = tmp_path / "train.parquet"
    for seed, shape in ((0, (4, 4, 3)), (1, (5, 5, 3))):
        write_parquet(file, noise(2, shape, seed=seed), [0, 1])
        os.utime(file, ns=(0, 10**18))
        rows = ParquetSource("pets", {"train": [file]}).rows("train", on_disk=True)
        assert list(rows.encoded([0, 1])) == [encode(image) for image in noise(2, shape, seed=seed)]


def test_a_full_disk_is_told_where_the_disk_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    def no_room(*args: object, **settings: object) -> None:
        raise datasets.exceptions.DatasetGenerationError("failed") from OSError(28, "No space left on device")

    source = two_files(tmp_path)
    monkeypatch.setattr(datasets, "load_dataset", no_room)
    message = r"train-0.parquet: cannot be unpacked for access in any order \(\[Errno 28\] No space left on device\)."
    with pytest.raises(OSError, match=message):
        source.rows("train", on_disk=True)
    assert np.array_equal(source.rows("train", on_disk=False).labels, [0, 1, 2, 1, 0])
