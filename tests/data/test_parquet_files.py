# SPDX-License-Identifier: MIT
"""The files of each split are found, missing ones are missed, damaged ones are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from hypersphere.data.parquet_files import find_parquet, read_columns, read_first, read_footer
from pictures import noise, write_parquet


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def found(folder: Path) -> dict[str, list[str]]:
    return {
        split: [file.relative_to(folder).as_posix() for file in files] for split, files in find_parquet(folder).items()
    }


@pytest.mark.parametrize(
    "names",
    [
        {
            "train": ["train-00000-of-00002.parquet", "train-00001-of-00002.parquet"],
            "test": ["test-00000-of-00001.parquet"],
        },
        {"train": ["train.parquet"], "validation": ["val.parquet"]},
        {"train": ["train/a.parquet", "train/b.parquet"], "test": ["test/a.parquet"]},
        {"train": ["plain_text/train-0.parquet"], "test": ["plain_text/test-0.parquet"]},
        {"train": ["a.parquet", "b.parquet"]},
        {},
    ],
)
def test_names_tell_the_split(names: dict[str, list[str]], tmp_path: Path) -> None:
    touch(tmp_path, "README.md", *[name for files in names.values() for name in files])
    assert found(tmp_path) == names


@pytest.mark.parametrize(
    ("names", "error", "message"),
    [
        (
            ["train-00000-of-00003.parquet", "train-00002-of-00003.parquet"],
            FileNotFoundError,
            r"train-00001-of-00003.parquet is missing, 2 of 3 files are there.",
        ),
        (["train-0.parquet", "rest.parquet"], ValueError, r"rest.parquet belongs to no split, other files do"),
        (["a/0.parquet", "b/0.parquet"], ValueError, r"holds several sets \(a, b\); name one of them."),
    ],
)
def test_files_that_do_not_make_a_set_are_refused(
    names: list[str], error: type[Exception], message: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        find_parquet(touch(tmp_path, *names))


def test_parts_of_a_file_are_read(tmp_path: Path) -> None:
    file = write_parquet(tmp_path / "train.parquet", noise(3), [4, 5, 6])
    assert read_footer(file).num_rows == 3
    assert read_columns(file, ["label"]).to_pydict() == {"label": [4, 5, 6]}
    assert read_first(file, "label") == [4]
    assert read_first(write_parquet(tmp_path / "empty.parquet", [], []), "label") == []


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"train.parquet: no such file."):
        read_footer(tmp_path / "train.parquet")


@pytest.mark.parametrize("content", [b"", b"PAR1 and no more", b"\0" * 4096])
def test_a_file_that_is_no_parquet_is_told(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "train.parquet"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=r"train.parquet: cannot be read as Parquet \(.+\)\."):
        read_footer(file)


def test_damaged_rows_are_told(tmp_path: Path) -> None:
    file = write_parquet(tmp_path / "train.parquet", noise(30, (16, 16, 3)), list(range(30)), row_group_size=10)
    content = bytearray(file.read_bytes())
    group = read_footer(file).row_group(1).column(0)
    start = group.data_page_offset
    content[start : start + group.total_compressed_size // 2] = b"\xff" * (group.total_compressed_size // 2)
    file.write_bytes(content)
    with pytest.raises(
        ValueError, match=r"train.parquet: cannot be read as Parquet, rows 10 to 19 are damaged \(.+\)\."
    ):
        read_columns(file, ["image", "label"])
