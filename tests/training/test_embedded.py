# SPDX-License-Identifier: MIT
"""Embeddings on disk: read back whole, damaged or foreign ones told apart."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from hypersphere.training.embedded import EmbeddedFiles, index_lines, npy_header, read_embedded


def written(folder: Path, *, num: int = 3, index: int | None = None) -> Path:
    files = EmbeddedFiles(folder / "faces.npy")
    np.save(files.rows, np.arange(2 * num, dtype=np.float32).reshape(num, 2))
    entries = [(row, f"a,{row}.png", "ann") for row in range(num if index is None else index)]
    files.index.write_bytes(index_lines([], titled=True) + index_lines(entries))
    files.facts.write_text(json.dumps({"format": 1, "flip": "sum"}))
    return files.rows


@pytest.mark.parametrize(("num_rows", "dim"), [(1, 1), (7, 512), (10**6, 1024), (10**9, 3)])
def test_the_header_is_numpys_own_and_of_one_length(num_rows: int, dim: int, tmp_path: Path) -> None:
    assert len(npy_header(num_rows, dim)) == len(npy_header(0, dim))
    if num_rows < 100:
        rows = np.ones((num_rows, dim), dtype=np.float32)
        np.save(tmp_path / "x.npy", rows)
        assert (tmp_path / "x.npy").read_bytes() == npy_header(num_rows, dim) + rows.tobytes()


def test_three_files_are_read_back(tmp_path: Path) -> None:
    found = read_embedded(written(tmp_path))
    assert found.rows.tolist() == [[0, 1], [2, 3], [4, 5]]
    assert found.images == ["a,0.png", "a,1.png", "a,2.png"]
    assert found.labels == ["ann"] * 3
    assert found.facts["flip"] == "sum"
    assert isinstance(found.rows, np.memmap)


def test_names_of_any_bytes_survive(tmp_path: Path) -> None:
    path = written(tmp_path, num=2)
    odd = ['say "x"\n', b"caf\xe9.png".decode("utf-8", "surrogateescape")]
    EmbeddedFiles(path).index.write_bytes(
        index_lines([], titled=True) + index_lines((row, name, "") for row, name in enumerate(odd))
    )
    assert read_embedded(path).images == odd


def test_rows_from_elsewhere_are_numbered(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.ones((2, 3)))
    found = read_embedded(tmp_path / "x.npy")
    assert (found.images, found.labels, found.facts) == (["0", "1"], ["", ""], {})


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.ones(3), r"expected embeddings \(N, D\) of floating-point numbers in .*x.npy, got float64 \(3,\)\.$"),
        (np.ones((2, 2), dtype=int), r"got int64 \(2, 2\)\.$"),
        (np.ones((0, 2)), r"got float64 \(0, 2\)\.$"),
        (np.array([[{}]]), r"x.npy is damaged or no \.npy file \(.*Python objects"),
    ],
)
def test_what_are_no_embeddings_is_refused(tmp_path: Path, array: np.ndarray, words: str) -> None:
    np.save(tmp_path / "x.npy", array)
    with pytest.raises(ValueError, match=words):
        read_embedded(tmp_path / "x.npy")


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"^search: .*faces.npy is damaged or no \.npy file"):
        read_embedded(path)
    np.savez(tmp_path / "archive.npz", a=np.ones(2))
    with pytest.raises(ValueError, match=r"got an archive\.$"):
        read_embedded(tmp_path / "archive.npz")
    # of nothing known, and of a header whose brackets are never closed
    header = b"{'descr': ((((" + b" " * 104
    for content in (b"PK\x01\x02garbage", b"\x93NUMPY\x01\x00" + bytes([len(header), 0]) + header, b""):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"^search: .*faces.npy is damaged or no \.npy file \("):
            read_embedded(path)


def test_an_index_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, index=2)
    with pytest.raises(ValueError, match=r"expected 3 lines of row, image, label, got 2\.$"):
        read_embedded(path)
    EmbeddedFiles(path).index.write_text("row,image,label\n0,a\n")
    with pytest.raises(ValueError, match=r"faces.csv is damaged or no index of embeddings"):
        read_embedded(path)


def test_facts_of_another_format_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path)
    EmbeddedFiles(path).facts.write_text('{"format": 2}')
    with pytest.raises(ValueError, match=r"faces.json has format 2, this version reads format 1\.$"):
        read_embedded(path)
    EmbeddedFiles(path).facts.write_text("{")
    with pytest.raises(ValueError, match=r"faces.json is damaged or no JSON"):
        read_embedded(path)
    EmbeddedFiles(path).facts.write_text("[" * 100_000)
    with pytest.raises(ValueError, match=r"faces.json is damaged or no JSON"):
        read_embedded(path)
    for left_out in ("7", '["a.png"]', '[{"why": "broken"}]'):
        EmbeddedFiles(path).facts.write_text(f'{{"format": 1, "left_out": {left_out}}}')
        with pytest.raises(ValueError, match=r"faces.json is damaged: left_out names no images\.$"):
            read_embedded(path)
    EmbeddedFiles(path).facts.write_text('{"format": 1, "flip": []}')
    with pytest.raises(ValueError, match=r"faces.json is damaged: flip is no name\.$"):
        read_embedded(path)


def test_a_file_that_is_not_there_may_have_been_begun(tmp_path: Path) -> None:
    path = tmp_path / "faces.npy"
    with pytest.raises(FileNotFoundError, match=r"^search: there is no file .*faces\.npy\.$"):
        read_embedded(path)
    EmbeddedFiles(path).progress.write_text("{}")
    with pytest.raises(FileNotFoundError, match=r"It was begun: finish it with --resume\.$"):
        read_embedded(path)
