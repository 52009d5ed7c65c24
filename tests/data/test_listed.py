# SPDX-License-Identifier: MIT
"""Class folders and CSV files become lists of images, in an order of their own, or a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from hypersphere.data.listed import ListedImage, ListedSource, find_images, read_csv
from pictures import encode, noise, write_folder

PETS = {"dog": noise(2), "cat": noise(3, seed=1)}


def names(images: dict[str, list[ListedImage]], root: Path) -> dict[str, list[tuple[str, str]]]:
    return {
        split: [(image.path.relative_to(root).as_posix(), image.label) for image in listed]
        for split, listed in images.items()
    }


def test_each_folder_is_a_class(tmp_path: Path) -> None:
    write_folder(tmp_path, PETS)
    (tmp_path / "dog" / "notes.txt").touch()
    (tmp_path / "dog" / ".hidden.png").touch()
    (tmp_path / ".git").mkdir()
    (tmp_path / "README.md").touch()
    images = find_images(tmp_path)
    files = [f"cat/00{number}.png" for number in range(3)] + [f"dog/00{number}.png" for number in range(2)]
    assert names(images, tmp_path) == {"train": [(file, file[:3]) for file in files]}
    rows = ListedSource("pets", images).rows("train", on_disk=False)
    assert rows.labels.tolist() == [0, 0, 0, 1, 1]
    assert rows.class_names == ["cat", "dog"]
    assert list(rows.encoded([3])) == [tmp_path / "dog/000.png"]
    assert rows.where(3) == str(tmp_path / "dog/000.png")


def test_splits_may_be_folders(tmp_path: Path) -> None:
    write_folder(tmp_path / "train", PETS)
    write_folder(tmp_path / "val", {"cat": noise(1)})
    write_folder(tmp_path / "test", {"emu": noise(1)})
    source = ListedSource("pets", find_images(tmp_path))
    assert {split: len(files) for split, files in source.files.items()} == {"train": 5, "validation": 1, "test": 1}
    rows = source.rows("test", on_disk=True)
    assert rows.class_names == ["cat", "dog", "emu"]
    assert rows.labels.tolist() == [2]
    assert source.peek("validation") == (1, tmp_path / "val/cat/000.png")


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    write_folder(tmp_path, {"train": noise(1), "plane": noise(1)})
    assert [image.label for image in find_images(tmp_path)["train"]] == ["plane", "train"]


def test_folders_inside_a_class_belong_to_it(tmp_path: Path) -> None:
    write_folder(tmp_path / "cat", {"kitten": noise(1), "old": noise(1)})
    assert [image.label for image in find_images(tmp_path)["train"]] == ["cat", "cat"]


def test_a_folder_without_images_is_nothing(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    assert find_images(tmp_path) == {}


def test_folders_that_do_not_make_a_set_are_refused(tmp_path: Path) -> None:
    write_folder(tmp_path, PETS)
    stray = tmp_path / "stray.png"
    stray.write_bytes(encode(noise(1)[0]))
    with pytest.raises(ValueError, match=r"stray.png lies in no class folder; move it into the folder of its class"):
        find_images(tmp_path)
    stray.unlink()
    (tmp_path / "emu").mkdir()
    with pytest.raises(ValueError, match=r"emu: there is no image in this class folder."):
        find_images(tmp_path)
    (tmp_path / "emu").rmdir()
    write_folder(tmp_path / "train", PETS)
    with pytest.raises(ValueError, match=r"train hold class folders as splits do, but cat, dog is there too"):
        find_images(tmp_path)


def test_an_empty_split_is_told(tmp_path: Path) -> None:
    write_folder(tmp_path / "train", PETS)
    (tmp_path / "test").mkdir()
    with pytest.raises(ValueError, match=r"test: the split is empty, there is no class folder in it."):
        find_images(tmp_path)


def write_csv(folder: Path, text: str) -> Path:
    for number, pixels in enumerate(noise(3)):
        (folder / f"{number}.png").write_bytes(encode(pixels))
    file = folder / "list.csv"
    file.write_text(text, encoding="utf-8")
    return file


def test_a_csv_lists_paths_and_labels(tmp_path: Path) -> None:
    file = write_csv(tmp_path, 'path,label\n0.png,cat\n1.png,"dog, big"\n./2.png,cat\n')
    images = read_csv(file)
    assert [image.label for image in images["train"]] == ["cat", "dog, big", "cat"]
    source = ListedSource("list.csv", images, listed_in=file)
    assert source.files == {"train": [file, *(tmp_path / f"{number}.png" for number in range(3))]}
    rows = source.rows("train", on_disk=False)
    assert rows.class_names == ["cat", "dog, big"]
    assert rows.where(1) == f"{file}, line 3"


def test_a_csv_may_divide_its_images_and_name_its_columns(tmp_path: Path) -> None:
    file = write_csv(tmp_path, "\ufeffsplit,who,where\ntrain,a,0.png\ntest,b,1.png\nval,a,2.png\n")
    images = read_csv(file, image_column="where", label_column="who")
    assert {split: listed[0].label for split, listed in images.items()} == {
        "train": "a",
        "test": "b",
        "validation": "a",
    }


def test_paths_may_be_absolute(tmp_path: Path) -> None:
    file = write_csv(tmp_path, f"file,class\n{tmp_path / '0.png'},cat\n")
    assert read_csv(file)["train"][0].path == tmp_path / "0.png"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,kind\n0.png,cat\n", r"list.csv: no label column found among file, kind; name it by data.label_column."),
        ("0.png,cat\n1.png,dog\n", r"list.csv: no image column found among 0.png, cat; name it by data.image_column."),
        ("path,label\n", r"list.csv: there are no images, only path, label in the first line."),
        ("", r"list.csv: no image column found among ; name it by data.image_column."),
        ("path,label\n0.png,cat\n1.png\n", r"list.csv, line 3: the label is missing."),
        ("path,label\n,cat\n", r"list.csv, line 2: the path of the image is missing."),
        ("path,label,split\n0.png,cat,tset\n", r"line 2: unknown split 'tset': choose train, validation or test."),
        ('path,label\n0.png,"cat\n', r"list.csv: cannot be read as CSV \(unexpected end of data\)."),
    ],
)
def test_a_bad_csv_is_told_with_its_line(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        read_csv(write_csv(tmp_path, text))


def test_a_file_that_is_no_text_is_told(tmp_path: Path) -> None:
    file = tmp_path / "list.csv"
    file.write_bytes(b"path,label\n\xff\xfe,cat\n")
    with pytest.raises(ValueError, match=r"list.csv: cannot be read as CSV \(.*codec can't decode.*\)."):
        read_csv(file)


def test_missing_images_are_told_with_the_line(tmp_path: Path) -> None:
    file = write_csv(tmp_path, "path,label\n0.png,cat\nx.png,cat\ny.png,cat\n")
    with pytest.raises(FileNotFoundError, match=r"list.csv, line 3: there is no file .*x.png; 1 more are missing."):
        ListedSource("list.csv", read_csv(file), listed_in=file)
