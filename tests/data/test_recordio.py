# SPDX-License-Identifier: MIT
"""Records of MXNet by key: whole and in parts, with one label and several, and every damage with file and key."""

from __future__ import annotations

import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from hypersphere.data.recordio import RecordFile
from pictures import write_records

MAGIC = struct.pack("<I", 0xCED7230A)


def test_the_bytes_of_a_record_are_those_of_the_format(tmp_path: Path) -> None:
    # by hand: magic, length 24 + 5, flag 0, label 7, two ids, five bytes, three of padding; then one with two labels
    first = MAGIC + struct.pack("<I", 29) + struct.pack("<IfQQ", 0, 7.0, 11, 12) + b"hello" + b"\0\0\0"
    second = MAGIC + struct.pack("<I", 36) + struct.pack("<IfQQ", 2, 0.0, 3, 0) + struct.pack("<ff", 2.5, 3.0) + b"jpeg"
    (tmp_path / "a.rec").write_bytes(first + second)
    (tmp_path / "a.idx").write_text(f"5\t{len(first)}\n2\t0\n")
    found = RecordFile(tmp_path / "a.rec")
    assert (len(found), found.keys.tolist(), 2 in found, 3 in found) == (2, [2, 5], True, False)
    assert (found.read(2).labels.tolist(), found.read(2).is_array, found.read(2).image) == ([7.0], False, b"hello")
    assert (found.read(5).labels.tolist(), found.read(5).is_array, found.read(5).image) == ([2.5, 3.0], True, b"jpeg")
    assert found.first_labels(np.array([5, 2, 5])).tolist() == [2.5, 7.0, 2.5]


@pytest.mark.parametrize(
    "image",
    [
        b"",
        b"abc" + MAGIC + b"defgh",  # not at a multiple of four: stays whole
        b"abcd" + MAGIC,
        MAGIC + b"x",
        MAGIC * 3 + b"yz",
        b"1234" + MAGIC + b"5678" + MAGIC + b"9",
    ],
)
def test_a_record_with_the_magic_word_inside_is_put_together(image: bytes, tmp_path: Path) -> None:
    write_records(
        tmp_path / "a.rec", {0: (1.0, b"before"), 1: (2.0, image), 2: ([3.0, 4.0], image), 3: (5.0, b"after")}
    )
    found = RecordFile(tmp_path / "a.rec")
    assert [found.read(key).image for key in range(4)] == [b"before", image, image, b"after"]
    assert found.first_labels(np.arange(4)).tolist() == [1.0, 2.0, 3.0, 5.0]


def test_the_magic_word_may_stand_in_the_header(tmp_path: Path) -> None:
    # as the number of the record, so that its first part is shorter than a header
    key = 0xCED7230A
    write_records(tmp_path / "a.rec", {key: (6.0, b"image")})
    found = RecordFile(tmp_path / "a.rec")
    assert (found.read(key).labels.tolist(), found.read(key).image) == ([6.0], b"image")
    assert found.first_labels(np.array([key])).tolist() == [6.0]


def test_labels_of_many_records_are_those_of_each(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    records = {}
    for key in random.permutation(2000).tolist():
        labels = float(key % 97) if key % 3 else [float(key % 97), 1.0]
        records[key] = (labels, random.bytes(int(random.integers(0, 9))) + MAGIC * (key % 5 == 0))
    found = RecordFile(write_records(tmp_path / "a.rec", records))
    keys = random.integers(0, 2000, 5000)
    assert found.first_labels(keys).tolist() == [float(key % 97) for key in keys]
    with ThreadPoolExecutor(4) as pool:
        images = list(pool.map(lambda key: found.read(int(key)).image, keys))
    assert images == [records[int(key)][1] for key in keys]


# damage ---------------------------------------------------------------------------------------------------------------


def test_a_file_that_is_cut_off_is_told_with_its_key(tmp_path: Path) -> None:
    file = write_records(tmp_path / "a.rec", {key: (float(key), b"x" * 40) for key in range(3)})
    whole = file.read_bytes()
    file.write_bytes(whole[:-30])
    found = RecordFile(file)
    assert found.read(1).image == b"x" * 40
    with pytest.raises(ValueError, match=r"a\.rec, key 2: the record is cut off, the file ends before it does\."):
        found.read(2)
    file.write_bytes(whole[: len(whole) * 2 // 3 - 4])
    with pytest.raises(
        ValueError, match=r"a\.rec, key 2: its place \d+ lies outside the file of \d+ bytes; the file is"
    ):
        RecordFile(file)


def test_damage_inside_is_told_with_its_key(tmp_path: Path) -> None:
    file = write_records(tmp_path / "a.rec", {key: (float(key), b"abcd") for key in range(2)})
    content = bytearray(file.read_bytes())
    size = len(content) // 2

    def with_word(place: int, value: int) -> RecordFile:
        file.write_bytes(bytes(content[:place]) + struct.pack("<I", value) + bytes(content[place + 4 :]))
        return RecordFile(file)

    for place, value, message in (
        (size, 7, rf"key 1: no record begins at {size}; the file or index is damaged"),
        (size + 4, 2 << 29 | 28, rf"key 1: a part of kind 2 is out of place at {size}"),
        (size + 4, 1 << 29 | 28, rf"key 1: no record begins at {2 * size}"),
        (size + 4, 20, r"key 1: the record is too short for its header"),
        (size + 8, 99, r"key 1: the record is too short for its 99 labels"),
    ):
        for read in ("read", "first_labels"):
            found = with_word(place, value)
            with pytest.raises(ValueError, match=rf"a\.rec, {message}"):
                found.read(1) if read == "read" else found.first_labels(np.array([0, 1]))


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ("", r"a\.idx: the index is empty\."),
        ("\n\n", r"a\.idx: the index is empty\."),
        ("0\t0\n1\n", r"a\.idx: expected lines of key and place \("),
        ("0\t0\t0\n", r"a\.idx: expected lines of key and place, got 3 numbers in a line\."),
        ("zero\t0\n", r"a\.idx: expected lines of key and place \("),
        ("0\t0\n0\t0\n", r"a\.idx: key 0 is there twice\."),
        ("0\t-4\n", r"a\.rec, key 0: its place -4 lies outside the file"),
        # so large that nothing may be added to it
        ("0\t9223372036854775807\n", r"a\.rec, key 0: its place 9223372036854775807 lies outside the file"),
    ],
)
def test_a_damaged_index_is_told(index: str, message: str, tmp_path: Path) -> None:
    file = write_records(tmp_path / "a.rec", {0: (0.0, b"abcd")})
    file.with_suffix(".idx").write_text(index)
    with pytest.raises(ValueError, match=message):
        RecordFile(file)


def test_what_is_missing_is_told(tmp_path: Path) -> None:
    file = write_records(tmp_path / "a.rec", {4: (0.0, b"abcd")})
    with pytest.raises(ValueError, match=r"a\.rec, key 3: there is no such key in a\.idx\."):
        RecordFile(file).read(3)
    with pytest.raises(ValueError, match=r"a\.rec, key 9: there is no such key in a\.idx\."):
        RecordFile(file).first_labels(np.array([4, 9]))
    file.with_suffix(".idx").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"a\.rec: its index a\.idx is not beside it; mxnet's rec2idx writes it\."
    ):
        RecordFile(file)
    file.unlink()
    with pytest.raises(FileNotFoundError, match=r"a\.rec: there is no such file\."):
        RecordFile(file)
