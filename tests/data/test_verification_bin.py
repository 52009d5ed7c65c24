# SPDX-License-Identifier: MIT
"""Pickled verification sets are read in every form that they come in, and no file gets anything run or filled."""

from __future__ import annotations

import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hypersphere.data.verification_bin import read_bin

IMAGES = [b"\xff\xd8one", b"\x89PNG\r\n two", b"\x00\x80", bytes(range(256)) * 3]


def write(folder: Path, content: Any, protocol: int | None = None) -> Path:
    (folder / "set.bin").write_bytes(pickle.dumps(content, protocol=protocol))
    return folder / "set.bin"


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    "form",
    [
        bytes,
        lambda image: np.frombuffer(image, np.uint8),
        # as OpenCV encodes
        lambda image: np.frombuffer(image, np.uint8).reshape(-1, 1).copy(),
    ],
    ids=["bytes", "array", "column"],
)
def test_every_protocol_and_form(protocol: int, form: Callable[[bytes], Any], tmp_path: Path) -> None:
    for same in ([True, False], (1, 0), np.array([True, False])):
        found = read_bin(write(tmp_path, ([form(image) for image in IMAGES], same), protocol))
        assert found.images == IMAGES
        assert found.same.tolist() == [True, False]
        assert found.same.dtype == np.bool_


def test_a_file_of_python_2(tmp_path: Path) -> None:
    # by hand: protocol 2, its text opcodes U and T, as pickle of Python 2 writes bytes
    images = b"".join(b"U" + bytes([len(image)]) + image for image in IMAGES[:3])
    images += b"T" + struct.pack("<i", len(IMAGES[3])) + IMAGES[3]
    (tmp_path / "set.bin").write_bytes(b"\x80\x02](" + images + b"e](\x88\x89e\x86.")
    assert read_bin(tmp_path / "set.bin").images == IMAGES
    # protocol 0 writes escaped text, and 0 and 1 for truth values
    (tmp_path / "set.bin").write_bytes(b"((lS'\\xff\\xd8one'\naS'b'\na(lI01\natp0\n.")
    assert read_bin(tmp_path / "set.bin").images == [b"\xff\xd8one", b"b"]


class Runs:
    """An object that, unpickled in the usual way, calls a function."""

    def __init__(self, function: Any, *args: Any) -> None:
        self.call = function, args

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("protocol", [0, 2, 5])
@pytest.mark.parametrize("place", ["whole", "image", "answer"])
def test_a_malicious_file_is_refused_and_not_run(protocol: int, place: str, tmp_path: Path) -> None:
    mark = tmp_path / "was-here"
    evil = Runs(os.mkdir, str(mark))
    content = {"whole": evil, "image": ([b"a", evil], [True]), "answer": ([b"a", b"b"], [evil])}[place]
    file = write(tmp_path, content, protocol)
    message = (
        rf"set\.bin: refused, since it names {os.name if os.name != 'nt' else 'nt'}\S*mkdir, which no verification"
    )
    with pytest.raises(ValueError, match=message):
        read_bin(file)
    assert not mark.exists()
    # the file does what it is made for where it is trusted
    pickle.loads(file.read_bytes())
    assert mark.is_dir()


@pytest.mark.parametrize(
    "function",
    [eval, getattr, __import__, np.load, np.frombuffer, pickle.loads, bytearray],
    ids=lambda one: one.__name__,
)
def test_no_other_function_may_be_named(function: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"refused, since it names "):
        read_bin(write(tmp_path, ([b"a", Runs(function, "1")], [True])))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aU\x05utf-7\x86R.", "_codecs.encode with other arguments"),
        (b"\x80\x02cnumpy\nndarray\nN}U\x04_nameU\x01xs\x86b.", "byte 18 is no step towards lists of images"),
        (b"\x80\x02cnumpy\nndarray\nN(lU\x04_namea\x86b.", "cannot be read"),
        # space in the memory for two billion objects that are never there
        (b"\x80\x02]r\xff\xff\xff\x7f.", r"refused, since it asks for more memory than it can need, LONG_BINPUT"),
        (b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7f].", r"\(it ends too early\)"),
        (b"\x80\x05\x96\xff\xff\xff\xff\xff\xff\x00\x00.", r"cannot be read as a verification set"),
        (b"\x80\x02B\xff\xff\xff\x7fab.", r"cannot be read as a verification set \(expected \d+ bytes"),
        # objects of a registry, a persistent name, an instance
        (b"\x80\x02\x82\x01.", "byte 2 is no step"),
        (b"Pname\n.", "byte 0 is no step"),
        (b"(i__main__\nA\n.", "byte 1 is no step"),
        (b"", r"\(it ends too early\)"),
        (b"not a pickle", "byte 0 is no step"),
    ],
)
def test_tricks_and_damage_are_one_sentence(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "set.bin").write_bytes(content)
    with pytest.raises(ValueError, match=rf"set\.bin: .*{message}"):
        read_bin(tmp_path / "set.bin")


def test_a_truncated_file_is_told(tmp_path: Path) -> None:
    whole = write(tmp_path, (IMAGES, [True, False])).read_bytes()
    for end in range(0, len(whole), 97):
        (tmp_path / "set.bin").write_bytes(whole[:end])
        with pytest.raises(ValueError, match=r"set\.bin: cannot be read as a verification set \("):
            read_bin(tmp_path / "set.bin")
    with pytest.raises(FileNotFoundError, match=r"none\.bin: there is no such verification set\."):
        read_bin(tmp_path / "none.bin")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2, 3], r"it holds of type list, not two lists"),
        (("ab", [True]), r"its images are of type \w+, not a list"),
        ((IMAGES, 5), r"its answers are of type int, not a list"),
        ((IMAGES, [True]), r"it holds 4 images and 1 answers; expected 2 P encoded images and P truth values\."),
        (([], []), r"it holds 0 images and 0 answers"),
        ((IMAGES, [True, 2]), r"answer 1 is of type int, not true or false"),
        ((IMAGES, [True, None]), r"answer 1 is of type NoneType"),
        (([*IMAGES[:3], 7], [True, False]), r"image 3 is of type int, not bytes"),
        (([*IMAGES[:3], np.zeros(3)], [True, False]), r"an array holds numbers of type 'f8', not u1"),
        ((IMAGES, np.zeros(2)), r"an array holds numbers of type 'f8', not b1"),
    ],
)
def test_content_of_another_kind_is_told(content: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf"set\.bin: {message}"):
        read_bin(write(tmp_path, content, 4))


def test_an_array_that_lies_about_its_size_is_told(tmp_path: Path) -> None:
    # the shape says a billion bytes, of which three are there
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    state = b"(K\x01J\x00\xca\x9a\x3b\x85cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R\x89U\x03abctb"
    (tmp_path / "set.bin").write_bytes(b"\x80\x02](" + array + state + b"U\x01ae](\x88e\x86.")
    with pytest.raises(ValueError, match=r"an array of shape \(1000000000,\) has 3 bytes"):
        read_bin(tmp_path / "set.bin")


def test_what_stands_at_many_places_is_held_once(tmp_path: Path) -> None:
    # a file of a few kilobytes that would take gigabytes if each place had its own copy
    places = 2000
    for image in (bytearray(1000), np.zeros(1000, np.uint8)):
        found = read_bin(write(tmp_path, ([image] * places, [True] * (places // 2)), 5))
        assert len(found.images) == places
        assert len({id(one) for one in found.images}) == 1
    text = b"X" + struct.pack("<I", 1000) + b"a" * 1000
    encoded = b"c_codecs\nencode\nq\x01" + text + b"X\x06\x00\x00\x00latin1\x86q\x02R"
    again = b"h\x01h\x02R" * (places - 1)
    (tmp_path / "set.bin").write_bytes(b"\x80\x02](" + encoded + again + b"e](" + b"\x88" * (places // 2) + b"e\x86.")
    found = read_bin(tmp_path / "set.bin")
    assert found.images == [b"a" * 1000] * places
    assert len({id(one) for one in found.images}) == 1
