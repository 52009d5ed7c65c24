# SPDX-License-Identifier: MIT
"""Embeddings on disk: rows in .npy, which image each row is in .csv, what made them in .json; read and found whole."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hypersphere.data.sources import one_line

__all__ = ["FORMAT", "Embedded", "EmbeddedFiles", "index_lines", "npy_header", "read_embedded"]

FORMAT = 1
_COLUMNS = ["row", "image", "label"]


@dataclass(frozen=True)
class EmbeddedFiles:
    """Where the three files of one set of embeddings lie, and those of one that is being made.

    Args:
        rows: the .npy file, which is there only when all is done.
    """

    rows: Path

    @property
    def index(self) -> Path:
        """One line for each row: its number, its image, its label."""
        return self.rows.with_suffix(".csv")

    @property
    def facts(self) -> Path:
        """Model, images, settings, and what was left out."""
        return self.rows.with_suffix(".json")

    @property
    def unfinished_rows(self) -> Path:
        """Rows so far, of a file that is being made."""
        return self.rows.with_name(f".{self.rows.name}.rows")

    @property
    def unfinished_index(self) -> Path:
        """The index so far."""
        return self.rows.with_name(f".{self.rows.name}.index")

    @property
    def progress(self) -> Path:
        """How far it is, written after rows and index are on disk."""
        return self.rows.with_name(f".{self.rows.name}.progress")


@dataclass(frozen=True)
class Embedded:
    """Embeddings with the images that they are of.

    Args:
        rows: (N, D) float32, mapped from the file or in memory.
        images: N names, a path or a number in a data set.
        labels: N names of classes, empty where nothing says one.
        facts: what made them; empty for rows that come from elsewhere.
    """

    rows: np.ndarray
    images: list[str]
    labels: list[str]
    facts: dict[str, Any]


def npy_header(num_rows: int, dim: int) -> bytes:
    """What stands before the rows of a float32 file, as long for every number of rows.

    Example:
        >>> len(npy_header(1, 512)) == len(npy_header(10**7, 512))
        True
    """
    header = io.BytesIO()
    shape = {"descr": "<f4", "fortran_order": False, "shape": (num_rows, dim)}
    np.lib.format.write_array_header_1_0(header, shape)
    return header.getvalue()


def index_lines(entries: Iterable[tuple[int, str, str]], *, titled: bool = False) -> bytes:
    """Lines of an index file: row, image and label, with the names of the columns before them if `titled`."""
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    if titled:
        writer.writerow(_COLUMNS)
    writer.writerows(entries)
    return written.getvalue().encode("utf-8", errors="surrogateescape")


def read_embedded(path: Path, *, who: str = "search") -> Embedded:
    """What `hypersphere embed` wrote, its rows mapped from the file.

    Args:
        path: the .npy file. Rows from elsewhere may lack the files beside it: their images are then numbers.
        who: speaks in errors.

    Raises:
        FileNotFoundError: if it is not there.
        ValueError: if it is no array (N, D) of floating-point numbers, or the index does not fit it.
    """
    files = EmbeddedFiles(path)
    if not path.is_file():
        begun = " It was begun: finish it with --resume." if files.progress.is_file() else ""
        raise FileNotFoundError(f"{who}: there is no file {path}.{begun}")
    try:
        with path.open("rb") as opened:
            archive = opened.read(4) == b"PK\x03\x04"
        # no pickles, and no file left open if it is damaged
        rows = None if archive else np.lib.format.open_memmap(path, mode="r")
    except OSError:
        raise
    # of a damaged header NumPy raises errors of many modules
    except Exception as error:
        raise ValueError(f"{who}: {path} is damaged or no .npy file ({one_line(error)}).") from error
    if rows is None or rows.ndim != 2 or rows.dtype.kind != "f" or not rows.size:
        what = "an archive" if rows is None else f"{rows.dtype} {rows.shape}"
        raise ValueError(f"{who}: expected embeddings (N, D) of floating-point numbers in {path}, got {what}.")
    images, labels = [str(row) for row in range(len(rows))], [""] * len(rows)
    if files.index.is_file():
        images, labels = _read_index(files.index, len(rows), who)
    return Embedded(rows, images, labels, _read_facts(files.facts, who))


def _read_index(path: Path, num_rows: int, who: str) -> tuple[list[str], list[str]]:
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as opened:
        try:
            title, *lines = csv.reader(opened, strict=True)
            fits = title == _COLUMNS and [line[0] for line in lines] == [str(row) for row in range(num_rows)]
            images, labels = [line[1] for line in lines], [line[2] for line in lines]
        except (csv.Error, ValueError, IndexError) as error:
            raise ValueError(f"{who}: {path} is damaged or no index of embeddings ({error}).") from error
    if not fits:
        raise ValueError(
            f"{who}: {path} is not the index of its embeddings: expected {num_rows} lines of {', '.join(_COLUMNS)}, "
            f"got {len(lines)}."
        )
    return images, labels


def _read_facts(path: Path, who: str) -> dict[str, Any]:
    """What made the embeddings, if that is said."""
    if not path.is_file():
        return {}
    try:
        facts = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{who}: {path} is damaged or no JSON: {error}.") from error
    if not isinstance(facts, dict) or facts.get("format") != FORMAT:
        found = facts.get("format") if isinstance(facts, dict) else type(facts).__name__
        raise ValueError(f"{who}: {path} has format {found!r}, this version reads format {FORMAT}.")
    left_out = facts.get("left_out", [])
    if not isinstance(left_out, list) or not all(isinstance(one, dict) and "image" in one for one in left_out):
        raise ValueError(f"{who}: {path} is damaged: left_out names no images.")
    if not isinstance(facts.get("flip", ""), str):
        raise ValueError(f"{who}: {path} is damaged: flip is no name.")
    return facts
