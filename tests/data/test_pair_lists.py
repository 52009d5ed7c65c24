# SPDX-License-Identifier: MIT
"""Lists of pairs: each form line by line, its folds and people, and every damage with its line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hypersphere.data.pair_lists import contiguous_folds, people_of_fold, read_pair_list

LFW = "2\t1\nAnn\t1\t4\nBob\t2\tCid\t10\nDan_X\t3\t1\nEve\t1\tBob\t1\n"


def write(folder: Path, text: str) -> Path:
    (folder / "pairs.txt").write_text(text)
    return folder / "pairs.txt"


def test_the_list_of_lfw(tmp_path: Path) -> None:
    found = read_pair_list(write(tmp_path, LFW))
    assert found.left == ["Ann/Ann_0001", "Bob/Bob_0002", "Dan_X/Dan_X_0003", "Eve/Eve_0001"]
    assert found.right == ["Ann/Ann_0004", "Cid/Cid_0010", "Dan_X/Dan_X_0001", "Bob/Bob_0001"]
    assert found.same.tolist() == [True, False, True, False]
    assert found.fold.tolist() == [1, 1, 2, 2]
    assert found.people == [("Ann", "Ann"), ("Bob", "Cid"), ("Dan_X", "Dan_X"), ("Eve", "Bob")]
    assert people_of_fold(tmp_path / "pairs.txt", 1) == {"Ann", "Bob", "Cid"}


def test_one_number_in_the_first_line_is_one_fold(tmp_path: Path) -> None:
    assert read_pair_list(write(tmp_path, "2\n" + LFW.partition("\n")[2])).fold.tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize("line", ["{label} {left} {right}", "{left} {right} {label}", "{label}\t{left}\t{right}"])
def test_lines_of_two_paths(line: str, tmp_path: Path) -> None:
    pairs = [(1, "Ann/1.jpg", "Ann/2.jpg"), (0, "Ann/1.jpg", "Bob/1.jpg"), (1, "Bob/1.jpg", "Bob/2.jpg"),
             (0, "Bob/2.jpg", "x/Cid/9.jpg")]  # fmt: skip
    text = "\n".join(line.format(label=label, left=left, right=right) for label, left, right in pairs)
    found = read_pair_list(write(tmp_path, text + "\n\n"))
    assert (found.left, found.right) == ([left for _, left, _ in pairs], [right for *_, right in pairs])
    assert found.same.tolist() == [True, False, True, False]
    # two folds, each with a pair of either kind
    assert found.fold.tolist() == [1, 1, 2, 2]
    assert found.people == [("Ann", "Ann"), ("Ann", "Bob"), ("Bob", "Bob"), ("Bob", "Cid")]


def test_folders_that_are_no_people_name_nobody(tmp_path: Path) -> None:
    # poses of a person, as in CFP: all profiles are not of one person
    poses = "1 001/frontal/1.jpg 001/profile/1.jpg\n0 001/frontal/1.jpg 002/frontal/1.jpg\n"
    assert read_pair_list(write(tmp_path, poses)).people is None
    assert read_pair_list(write(tmp_path, "1 a/1.jpg a/2.jpg\n0 a/1.jpg a/3.jpg\n")).people is None
    assert read_pair_list(write(tmp_path, "1 a/1.jpg a/2.jpg\n0 a/1.jpg 3.jpg\n")).people is None
    with pytest.raises(
        ValueError, match=r"data\.without_fold needs a list that names people; the folders of its images"
    ):
        people_of_fold(write(tmp_path, poses), 1)


def test_pairs_of_one_kind_are_in_folds_too(tmp_path: Path) -> None:
    assert read_pair_list(write(tmp_path, "1 a/1.jpg a/2.jpg\n" * 3)).fold.tolist() == [1, 2, 3]


def test_a_path_with_a_space_needs_tabs(tmp_path: Path) -> None:
    assert read_pair_list(write(tmp_path, "1\ta/first one.jpg\ta/2.jpg\n")).left == ["a/first one.jpg"]
    with pytest.raises(ValueError, match=r"pairs.txt, line 1: expected '0 or 1, path, path' .* paths have no spaces"):
        read_pair_list(write(tmp_path, "1 a/first one.jpg a/2.jpg\n"))


def test_folds_of_a_list_without_them_are_those_of_lfw_in_its_order(tmp_path: Path) -> None:
    # ten folds of 3 and 3, as View 2 orders its pairs, and the same pairs with all of one kind first
    blocks = [(kind, fold) for fold in range(1, 11) for kind in (1, 0) for _ in range(3)]
    alternating = read_pair_list(write(tmp_path, "".join(f"{kind} a/1.jpg b/2.jpg\n" for kind, _ in blocks)))
    assert alternating.fold.tolist() == [fold for _, fold in blocks]
    ordered = sorted(blocks, reverse=True)
    apart = read_pair_list(write(tmp_path, "".join(f"{kind} a/1.jpg b/2.jpg\n" for kind, _ in ordered)))
    for fold in range(1, 11):
        assert apart.same[apart.fold == fold].tolist() == [True] * 3 + [False] * 3


def test_contiguous_folds_differ_by_one_pair_at_most() -> None:
    assert contiguous_folds(7, 3).tolist() == [1, 1, 1, 2, 2, 3, 3]
    assert np.bincount(contiguous_folds(6000))[1:].tolist() == [600] * 10
    assert contiguous_folds(3).tolist() == [1, 2, 3]
    assert contiguous_folds(0).tolist() == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"pairs\.txt: the list of pairs is empty\."),
        ("10\t300\nAnn\t1\t2\n", r"says 10 folds of 300 pairs of either kind, 6000 pairs in all, but 1 lines follow\."),
        ("0\t0\n", r"says 0 folds of 0 pairs"),
        ("1\t1\nAnn\t1\t2\nAnn\t1\tBob\n", r"line 3: expected 'name n1 n2' or .*, got 'Ann\\t1\\tBob'\."),
        ("1\t1\nAnn\t1\t2\nAnn\t1\n", r"line 3: expected 'name n1 n2'"),
        ("1\t1\nAnn\t1\t2\nAnn\t1\tAnn\t2\n", r"line 3: a pair of two people names 'Ann' twice, got 'Ann"),
        ("1 a/1.jpg a/2.jpg\n2 a/1.jpg b/1.jpg\n", r"line 2: expected '0 or 1, path, path'"),
        ("Ann 1 2\n", r"line 1: expected '0 or 1, path, path' or the first line of LFW's pairs\.txt"),
    ],
)
def test_a_damaged_list_is_told_with_its_line(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        read_pair_list(write(tmp_path, text))


def test_what_is_no_text_is_told(tmp_path: Path) -> None:
    (tmp_path / "pairs.txt").write_bytes(b"\xff\xfe\x00\x9c")
    with pytest.raises(ValueError, match=r"pairs\.txt: cannot be read as a list of pairs"):
        read_pair_list(tmp_path / "pairs.txt")
    with pytest.raises(FileNotFoundError, match=r"none\.txt: there is no such list of pairs\."):
        read_pair_list(tmp_path / "none.txt")


def test_people_need_a_fold_that_is_there_and_names(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"data\.without_fold must lie in 1\.\.2, its folds, got 3\."):
        people_of_fold(write(tmp_path, LFW), 3)
    with pytest.raises(ValueError, match=r"data\.without_fold needs a list that names people"):
        people_of_fold(write(tmp_path, "1 1.jpg 2.jpg\n"), 1)


def test_view_2_of_lfw(real_sets: Path) -> None:
    found = read_pair_list(real_sets / "lfw" / "pairs.txt")
    assert (len(found.left), int(found.same.sum())) == (6000, 3000)
    assert np.array_equal(found.fold, np.arange(6000) // 600 + 1)
    assert found.same.reshape(10, 2, 300).all(axis=2).tolist() == [[True, False]] * 10
