# SPDX-License-Identifier: MIT
"""RecordIO files of MXNet, read without it: records by key, and the labels in front of their images."""

from __future__ import annotations

import mmap
import struct
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hypersphere.data.sources import one_line

__all__ = ["Record", "RecordFile"]

MAGIC = struct.pack("<I", 0xCED7230A)
# flag, label, two numbers of the record
_HEADER = struct.Struct("<IfQQ")
# a part of a record begins with the magic word and its kind and length
_PREFIX = 8
# records whose labels are read at a time
_CHUNK = 1 << 16


@dataclass(frozen=True)
class Record:
    """One record.

    Args:
        labels: its labels, one or more float32.
        is_array: whether they are stored as an array, even of one.
        image: the encoded image, empty in a record that describes others.
    """

    labels: np.ndarray
    is_array: bool
    image: bytes


class RecordFile:
    """A `.rec` file with its `.idx`, mapped into memory: nothing is held but the index, 16 bytes for each record.

    Attributes:
        path: the `.rec` file.
        keys: (N,) int64, ascending.

    Raises:
        FileNotFoundError: if one of the two files is not there.
        ValueError: if the index cannot be read, names a key twice or a place outside the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        index = path.with_suffix(".idx")
        if not path.is_file():
            raise FileNotFoundError(f"{path}: there is no such file.")
        if not index.is_file():
            raise FileNotFoundError(f"{path}: its index {index.name} is not beside it; mxnet's rec2idx writes it.")
        table = _read_index(index)
        order = np.argsort(table[:, 0], kind="stable")
        self.keys, self._offsets = np.ascontiguousarray(table[order].T)
        self._size = path.stat().st_size
        if len(twice := self.keys[1:][self.keys[1:] == self.keys[:-1]]):
            raise ValueError(f"{index}: key {twice[0]} is there twice.")
        if len(outside := np.flatnonzero((self._offsets < 0) | (self._offsets > self._size - _PREFIX))):
            raise ValueError(
                f"{path}, key {self.keys[outside[0]]}: its place {self._offsets[outside[0]]} lies outside the file of "
                f"{self._size} bytes; the file is cut off, or {index.name} belongs to another."
            )
        with path.open("rb") as opened:
            self._mapped = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)

    def __len__(self) -> int:
        return len(self.keys)

    def __contains__(self, key: int) -> bool:
        place = int(np.searchsorted(self.keys, key))
        return place < len(self.keys) and int(self.keys[place]) == key

    def read(self, key: int) -> Record:
        """The record of a key; called from several threads at once.

        Raises:
            ValueError: naming file and key, if there is no such key or the record is damaged.
        """
        place = self._place(key)
        content = self._content(key, int(self._offsets[place]))
        if len(content) < _HEADER.size:
            raise ValueError(f"{self.path}, key {key}: the record is too short for its header.")
        flag, label, _, _ = _HEADER.unpack_from(content)
        start = _HEADER.size + 4 * flag
        if len(content) < start:
            raise ValueError(f"{self.path}, key {key}: the record is too short for its {flag} labels.")
        labels = np.frombuffer(content, "<f4", flag, _HEADER.size) if flag else np.array([label], np.float32)
        return Record(labels, flag > 0, content[start:])

    def first_labels(self, keys: np.ndarray) -> np.ndarray:
        """The first label of each of these keys, (N,) float32, without reading the images.

        Raises:
            ValueError: as `read`.
        """
        found = np.empty(len(keys), dtype=np.float32)
        mapped = np.frombuffer(self._mapped, dtype=np.uint8)
        needed = _PREFIX + _HEADER.size + 4
        for start in range(0, len(keys), _CHUNK):
            chunk = keys[start : start + _CHUNK]
            places = np.searchsorted(self.keys, chunk)
            places[places == len(self.keys)] = 0
            offsets = self._offsets[places]
            # whole records in one part; the rest, and all damage, takes the slow way
            plain = (self.keys[places] == chunk) & (offsets + needed <= self._size)
            heads = mapped[offsets[plain, None] + np.arange(needed)].reshape(-1).view("<u4").reshape(-1, needed // 4)
            magic, kind_and_length, flag = heads[:, 0], heads[:, 1], heads[:, 2]
            enough = kind_and_length >= _HEADER.size + 4 * np.maximum(flag.astype(np.int64), 1)
            plain_now = (magic == 0xCED7230A) & enough & (kind_and_length < 1 << 29)
            labels = np.where(flag > 0, heads[:, 8], heads[:, 3]).astype("<u4").view("<f4")
            chosen = np.flatnonzero(plain)[plain_now]
            found[start + chosen] = labels[plain_now]
            for place in np.setdiff1d(np.arange(len(chunk)), chosen).tolist():
                found[start + place] = self.read(int(chunk[place])).labels[0]
        return found

    def _place(self, key: int) -> int:
        if key not in self:
            raise ValueError(f"{self.path}, key {key}: there is no such key in {self.path.with_suffix('.idx').name}.")
        return int(np.searchsorted(self.keys, key))

    def _content(self, key: int, offset: int) -> bytes:
        """The parts of a record joined; between them stood the magic word, which is why there are several."""
        parts: list[bytes] = []
        while True:
            if self._mapped[offset : offset + 4] != MAGIC:
                raise ValueError(f"{self.path}, key {key}: no record begins at {offset}; the file or index is damaged.")
            word = self._mapped[offset + 4 : offset + _PREFIX]
            kind, length = divmod(int.from_bytes(word, "little"), 1 << 29)
            begin = offset + _PREFIX
            if len(word) < 4 or begin + length > self._size:
                raise ValueError(f"{self.path}, key {key}: the record is cut off, the file ends before it does.")
            # whole, first, middle, last
            if kind not in ((2, 3) if parts else (0, 1)):
                raise ValueError(f"{self.path}, key {key}: a part of kind {kind} is out of place at {offset}.")
            parts.append(self._mapped[begin : begin + length])
            if kind in (0, 3):
                return MAGIC.join(parts)
            offset = begin + (length + 3) // 4 * 4


def _read_index(index: Path) -> np.ndarray:
    """Key and place of each record, (N, 2) int64."""
    try:
        with warnings.catch_warnings():
            # of a file without numbers, which is told below
            warnings.simplefilter("ignore", UserWarning)
            table = np.loadtxt(index, dtype=np.int64, ndmin=2, comments=None)
    except (ValueError, UnicodeDecodeError) as error:
        raise ValueError(f"{index}: expected lines of key and place ({one_line(error)}).") from error
    if not table.size:
        raise ValueError(f"{index}: the index is empty.")
    if table.shape[1] != 2:
        raise ValueError(f"{index}: expected lines of key and place, got {table.shape[1]} numbers in a line.")
    return table
