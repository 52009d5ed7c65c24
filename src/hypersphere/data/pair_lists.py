# SPDX-License-Identifier: MIT
"""Lists of pairs of images as text: pairs.txt of LFW, and lines of two paths with 0 or 1."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hypersphere.data.sources import one_line

__all__ = ["NUM_FOLDS", "PairList", "contiguous_folds", "people_of_fold", "read_pair_list"]

# folds of a list that names none, as in the published protocols
NUM_FOLDS = 10


@dataclass(frozen=True)
class PairList:
    """P pairs of images by name.

    Args:
        left: name of the first image of each pair, folders before it; LFW's come without a suffix.
        right: of the second.
        same: (P,) bool, whether both show one person.
        fold: (P,) int64, 1 .. F.
        people: the person of either image of each pair, or None where the list names none.
    """

    left: list[str]
    right: list[str]
    same: np.ndarray
    fold: np.ndarray
    people: list[tuple[str, str]] | None


def read_pair_list(file: Path) -> PairList:
    """The pairs of a text file.

    Args:
        file: UTF-8, one of

            - pairs.txt of LFW: the first line holds the number of folds and of pairs of each kind in a fold (one number
              stands for one fold), then lines `name n1 n2` for the same person and `name1 n1 name2 n2` for two, between
              tabs. Image n of a person is `name/name_000n`, four digits.
            - `label path path` or `path path label` with label 1 for the same person and 0 for two. The folder that an
              image lies in is its person, if every label agrees; folders of poses or videos name nobody. Such a list
              names no folds: pairs of each kind are divided in their order into ten parts, which gives the folds of
              LFW for a list in LFW's order.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: naming file and line, if it is neither.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise FileNotFoundError(f"{file}: there is no such list of pairs.") from None
    except (UnicodeDecodeError, OSError) as error:
        raise ValueError(f"{file}: cannot be read as a list of pairs ({one_line(error)}).") from error
    lines = [(number, line) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
    if not lines:
        raise ValueError(f"{file}: the list of pairs is empty.")
    header = _fields(lines[0][1])
    if len(header) <= 2 and all(map(_is_number, header)):
        return _read_lfw(file, header, lines[1:])
    return _read_paths(file, lines)


def people_of_fold(file: Path, fold: int) -> set[str]:
    """Everybody whom a pair of this fold shows.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the list has no such fold or names no people, or cannot be read.
    """
    found = read_pair_list(file)
    last = int(found.fold.max())
    if not 1 <= fold <= last:
        raise ValueError(f"{file}: data.without_fold must lie in 1..{last}, its folds, got {fold}.")
    if found.people is None:
        raise ValueError(f"{file}: data.without_fold needs a list that names people; the folders of its images do not.")
    return {
        person for both, one in zip(found.people, found.fold.tolist(), strict=True) if one == fold for person in both
    }


def contiguous_folds(num: int, num_folds: int = NUM_FOLDS) -> np.ndarray:
    """Folds 1 .. F of `num` pairs in their order, as alike in size as can be, the first ones larger.

    Example:
        >>> contiguous_folds(5, 2).tolist(), contiguous_folds(2).tolist()
        ([1, 1, 1, 2, 2], [1, 2])
    """
    parts = np.array_split(np.zeros(num, dtype=np.int64), min(num_folds, max(num, 1)))
    return np.concatenate([part + number for number, part in enumerate(parts, start=1)])


def _fields(line: str) -> list[str]:
    return [field.strip() for field in line.split("\t")] if "\t" in line else line.split()


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal()


def _read_lfw(file: Path, header: list[str], lines: list[tuple[int, str]]) -> PairList:
    num_folds, each = (1, int(header[0])) if len(header) == 1 else (int(header[0]), int(header[1]))
    if len(lines) != 2 * num_folds * each or not lines:
        raise ValueError(
            f"{file}: its first line says {num_folds} folds of {each} pairs of either kind, {2 * num_folds * each} "
            f"pairs in all, but {len(lines)} lines follow."
        )
    left, right, people = [], [], []
    for number, line in lines:
        fields = _fields(line)
        first, second = fields[:2], fields[2:] if len(fields) == 4 else [*fields[:1], *fields[2:]]
        if len(fields) not in (3, 4) or not (_is_number(first[1]) and _is_number(second[1])):
            raise ValueError(
                f"{file}, line {number}: expected 'name n1 n2' or 'name1 n1 name2 n2' between tabs, got {line!r:.80}."
            )
        if len(fields) == 4 and first[0] == second[0]:
            raise ValueError(f"{file}, line {number}: a pair of two people names {first[0]!r} twice, got {line!r:.80}.")
        left.append(_lfw_name(*first))
        right.append(_lfw_name(*second))
        people.append((first[0], second[0]))
    same = np.array([len(_fields(line)) == 3 for _, line in lines])
    return PairList(left, right, same, contiguous_folds(len(lines), num_folds), people)


def _lfw_name(person: str, number: str) -> str:
    return f"{person}/{person}_{int(number):04d}"


def _read_paths(file: Path, lines: list[tuple[int, str]]) -> PairList:
    left, right, labels = [], [], []
    for number, line in lines:
        fields = _fields(line)
        if len(fields) == 3 and fields[0] in ("0", "1"):
            label, first, second = fields
        elif len(fields) == 3 and fields[2] in ("0", "1"):
            first, second, label = fields
        else:
            raise ValueError(
                f"{file}, line {number}: expected '0 or 1, path, path' or the first line of LFW's pairs.txt, such as "
                f"'10 300', got {line!r:.80}; paths have no spaces unless tabs lie between the fields."
            )
        left.append(first)
        right.append(second)
        labels.append(label == "1")
    same = np.array(labels)
    fold = np.empty(len(same), dtype=np.int64)
    # no more folds than the rarer kind can fill, so that none is of one kind alone
    kinds = np.unique(same)
    num_folds = min(NUM_FOLDS, *(int((same == kind).sum()) for kind in kinds))
    for kind in kinds:
        fold[same == kind] = contiguous_folds(int((same == kind).sum()), num_folds)
    folders = [(_folder(first), _folder(second)) for first, second in zip(left, right, strict=True)]
    named = all(first and second for first, second in folders)
    agree = all((first == second) == label for (first, second), label in zip(folders, labels, strict=True))
    return PairList(left, right, same, fold, folders if named and agree else None)


def _folder(path: str) -> str:
    parts = path.replace("\\", "/").split("/")
    return parts[-2] if len(parts) > 1 else ""
