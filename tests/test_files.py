# SPDX-License-Identifier: MIT
"""A file is replaced whole or not at all."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from hypersphere.files import atomic_file, write_atomically


def test_text_and_bytes_replace_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "note.txt"
    write_atomically(path, "été\n")
    assert path.read_bytes() == "été\n".encode()
    write_atomically(path, b"\0\1")
    assert path.read_bytes() == b"\0\1"
    assert list(tmp_path.iterdir()) == [path]


def test_until_the_end_a_reader_finds_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "note.txt"
    path.write_text("old")
    with atomic_file(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_text() == "old"
    assert path.read_text() == "new"


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_failure_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    path = tmp_path / "note.txt"
    path.write_text("old")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, call, full)
    with pytest.raises(OSError, match="No space left on device"):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_interrupted_block_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "note.txt"
    path.write_text("old")

    def interrupted() -> None:
        with atomic_file(path) as file:
            file.write(b"half of")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match=r"^$"):
        interrupted()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_process_left_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "note.txt"
    (tmp_path / ".note.txt.partial").write_text("half of something longer")
    write_atomically(path, "whole")
    assert path.read_text() == "whole"
    assert list(tmp_path.iterdir()) == [path]
