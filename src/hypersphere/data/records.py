# SPDX-License-Identifier: MIT
"""Image sets in RecordIO files, as InsightFace and im2rec write them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import final

import numpy as np
import torch

from hypersphere.data.recordio import RecordFile
from hypersphere.data.sources import Encoded, Rows, Source, some, split_named

__all__ = ["RecordSource", "find_records"]

# whole numbers from here on are not all float32, as which labels are stored
_EXACT = 2**24


def find_records(folder: Path) -> dict[str, Path]:
    """The `.rec` file of each split in a folder, by its name; a single one of another name is train.

    Raises:
        ValueError: if several belong to one split, or to none.
    """
    files = sorted(folder.glob("*.rec"))
    found: dict[str, Path] = {}
    for file in files:
        split = split_named(file.name) or ("train" if len(files) == 1 else None)
        if split is None or split in found:
            raise ValueError(f"{folder} holds several record files ({some([one.name for one in files])}); name one.")
        found[split] = file
    return found


@final
class RecordSource(Source):
    """Images in `.rec` files with their `.idx` beside them.

    A record at key 0 that has labels and no image describes the others, as in InsightFace's sets: images are the keys 1
    up to its first label, and what follows belongs to identities. Without it every key is an image. The class of an
    image is its first label; a file `property` that begins with the number of classes, K, says that they are 0 .. K-1,
    otherwise they are the labels that occur.

    Args:
        title: what the set is called.
        files: split -> its `.rec` file.
    """

    def __init__(self, title: str, files: Mapping[str, Path]) -> None:
        self.title = title
        self._records = files
        beside = {split: [file.with_suffix(".idx"), file.parent / "property"] for split, file in files.items()}
        self.files = {split: [file, *filter(Path.is_file, beside[split])] for split, file in files.items()}
        self._opened: dict[str, tuple[RecordFile, np.ndarray]] = {}

    def peek(self, split: str) -> tuple[int, Encoded]:
        """Number of images and the first one of a split.

        Raises:
            FileNotFoundError: if a file is missing.
            ValueError: if a file or record is damaged, or there are no images.
        """
        opened, keys = self._images(split)
        return len(keys), opened.read(int(keys[0])).image

    def rows(self, split: str, *, on_disk: bool) -> Rows:
        """The images of a split; they stay where they are, whatever `on_disk`."""
        opened, keys = self._images(split)
        declared = self._declared()
        own = self._labels(split)
        if declared is None:
            every = [own, *(self._labels(other) for other in self._records if other != split)]
            values = np.unique(np.concatenate(every))
            labels, names = np.searchsorted(values, own), list(map(str, values.tolist()))
        else:
            labels, names = own, list(map(str, range(declared)))
            if len(outside := np.flatnonzero(labels >= declared)):
                raise ValueError(
                    f"{opened.path}, key {keys[outside[0]]}: label {labels[outside[0]]} is out of range: the file "
                    f"property says that there are {declared} classes, from 0."
                )

        def encoded(numbers: Sequence[int]) -> Iterable[Encoded]:
            return (opened.read(int(keys[row])).image for row in numbers)

        def where(row: int) -> str:
            return f"{opened.path}, key {keys[row]}"

        return Rows(torch.from_numpy(labels.astype(np.int64)), names, encoded, where, f"{self.title} ({split})")

    def _images(self, split: str) -> tuple[RecordFile, np.ndarray]:
        """The opened file and the keys of its images."""
        if split not in self._opened:
            opened = RecordFile(self._records[split])
            keys = opened.keys
            # the record of key 0 has labels and no image where it describes the others
            first = opened.read(0) if keys[0] == 0 else None
            if first is not None and first.is_array and not first.image:
                keys = self._described(opened, first.labels[0].item())
            self._opened[split] = opened, keys
        return self._opened[split]

    def _described(self, opened: RecordFile, end: float) -> np.ndarray:
        """The keys 1 .. end - 1, all of which must be there."""
        if not (end.is_integer() and 1 < end <= len(opened.keys)):
            raise ValueError(
                f"{opened.path}, key 0: it says that images are the keys before {end:g}, of {len(opened.keys)} keys."
            )
        end = _corrected(opened, int(end))
        expected = np.arange(1, end, dtype=np.int64)
        if len(missing := np.setdiff1d(expected, opened.keys, assume_unique=True)):
            raise ValueError(
                f"{opened.path}: key 0 says that images are the keys 1 to {end - 1}, but {len(missing)} of them are "
                f"not in the index, the first is {missing[0]}."
            )
        return expected

    def _labels(self, split: str) -> np.ndarray:
        """The first label of each image as a whole number."""
        opened, keys = self._images(split)
        labels = opened.first_labels(keys)
        wrong = ~((labels >= 0) & (labels <= _EXACT) & (labels == np.floor(labels)))
        if len(rows := np.flatnonzero(wrong)):
            raise ValueError(
                f"{opened.path}, key {keys[rows[0]]}: label {labels[rows[0]]:g} is no class; expected a whole number "
                f"from 0 to {_EXACT}, beyond which records cannot tell labels apart."
            )
        return labels.astype(np.int64)

    def _declared(self) -> int | None:
        """How many classes `property` says there are, if it is there."""
        files = {file.parent / "property" for file in self._records.values()}
        for file in filter(Path.is_file, files):
            number = file.read_text(encoding="utf-8", errors="replace").partition(",")[0].strip()
            # no more digits than that before it becomes a number, nor names for classes that no label can reach
            if not (number.isascii() and number.isdecimal() and len(number) < 20 and 0 < int(number) <= _EXACT + 1):
                raise ValueError(
                    f"{file}: expected the number of classes first, at most {_EXACT + 1}, as in '85742,112,112', got "
                    f"{number!r:.40}."
                )
            return int(number)
        return None


def _corrected(opened: RecordFile, end: int) -> int:
    """The first key that is no image: float32, which says it, rounds numbers from 2**24 on to one near by."""
    if end < _EXACT:
        return end
    while end > 2 and not opened.read(end - 1).image:
        end -= 1
    while end in opened and opened.read(end).image:
        end += 1
    return end
