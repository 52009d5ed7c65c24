# SPDX-License-Identifier: MIT
"""Parquet files of an image set: which there are, and reading them so that damage is told by file and row."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hypersphere.data.extras import needed_for
from hypersphere.data.sources import one_line, some, split_named

__all__ = ["find_parquet", "read_columns", "read_first", "read_footer"]


def find_parquet(folder: Path) -> dict[str, list[Path]]:
    """The Parquet files of each split, in order; nothing if there are none.

    They lie in `folder` itself, in folders named after the splits, or in the one folder that has any. A file belongs to
    the split that its name or folder begins with (`train-00000-of-00002.parquet`, `test/0.parquet`); if no name tells,
    all are train.

    Raises:
        FileNotFoundError: if a file of a numbered series is missing.
        ValueError: if some names tell the split and others do not, or several folders hold Parquet files.
    """
    files = sorted(folder.glob("*.parquet"))
    inside = [child for child in sorted(folder.iterdir()) if child.is_dir() and any(child.glob("*.parquet"))]
    if not files and inside and all(split_named(child.name) for child in inside):
        files = [file for child in inside for file in sorted(child.glob("*.parquet"))]
    elif not files and len(inside) == 1:
        return find_parquet(inside[0])
    elif not files and inside:
        raise ValueError(f"{folder} holds several sets ({some([child.name for child in inside])}); name one of them.")
    found: dict[str, list[Path]] = {}
    for file in files:
        split = split_named(file.name) or (split_named(file.parent.name) if file.parent != folder else None)
        found.setdefault(split or "", []).append(file)
    if "" in found and len(found) > 1:
        raise ValueError(
            f"{found[''][0]} belongs to no split, other files do; let its name begin with train-, validation- or test-."
        )
    for series in found.values():
        _check_series(series)
    return {split or "train": series for split, series in found.items()}


def _check_series(files: Sequence[Path]) -> None:
    """Raise FileNotFoundError unless every file numbered `-00000-of-00002` has its companions."""
    names = {file.name for file in files}
    for file in files:
        if match := re.fullmatch(r"(.*-)(\d+)-of-(\d+)(.*)", file.name):
            prefix, number, total, suffix = match.groups()
            series = [f"{prefix}{index:0{len(number)}d}-of-{total}{suffix}" for index in range(int(total))]
            if missing := [name for name in series if name not in names]:
                there = f"{int(total) - len(missing)} of {int(total)} files are there"
                raise FileNotFoundError(f"{file.parent}: {some(missing)} is missing, {there}.")


def read_footer(file: Path) -> Any:
    """Schema and number of rows of one file, as pyarrow's `FileMetaData`."""
    return _parquet(file, lambda opened: opened.metadata)


def read_columns(file: Path, columns: Sequence[str]) -> Any:
    """Columns of one file as a pyarrow table."""
    return _parquet(file, lambda opened: opened.read(columns=list(columns)))


def read_first(file: Path, column: str) -> list[Any]:
    """The first cell of a column in a list, which is empty if the file has no rows."""
    batches = _parquet(file, lambda opened: list(itertools.islice(opened.iter_batches(1, columns=[column]), 1)))
    return [cell for batch in batches for cell in batch.column(0).to_pylist()]


def _parquet(file: Path, use: Callable[[Any], Any]) -> Any:
    """`use` of an open Parquet file; what goes wrong is told with the file, and the rows where they can be known."""
    with needed_for("reading Parquet files"):
        import pyarrow.parquet
    try:
        with pyarrow.parquet.ParquetFile(file) as opened:
            return use(opened)
    except FileNotFoundError:
        raise FileNotFoundError(f"{file}: no such file.") from None
    except (OSError, pyarrow.ArrowException) as error:
        raise ValueError(f"{file}: cannot be read as Parquet{_damaged_rows(file)} ({one_line(error)}).") from error


def _damaged_rows(file: Path) -> str:
    """Which rows of a Parquet file cannot be read, in words; nothing if the file cannot even be opened."""
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(file) as opened:
            start = 0
            for group in range(opened.num_row_groups):
                end = start + opened.metadata.row_group(group).num_rows
                try:
                    opened.read_row_group(group)
                except (OSError, pyarrow.ArrowException):
                    return f", rows {start} to {end - 1} are damaged"
                start = end
    except (OSError, pyarrow.ArrowException):
        pass
    return ""
