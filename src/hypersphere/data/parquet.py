# SPDX-License-Identifier: MIT
"""Image sets in Parquet files, in the column layout of Hugging Face `datasets`."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, final

from hypersphere.data.cache import cache_folder, fingerprint
from hypersphere.data.columns import typed_columns
from hypersphere.data.extras import needed_for
from hypersphere.data.labels import class_names_of, class_numbers
from hypersphere.data.parquet_files import read_columns, read_first, read_footer
from hypersphere.data.sources import Encoded, Rows, Source, one_line, some

__all__ = ["ParquetSource"]


@final
class ParquetSource(Source):
    """Images in a column of bytes (or of bytes and path, or of paths), labels in another.

    Args:
        title: what the set is called.
        files: split -> its files.
        image_column: name of the column, or None to find it.
        label_column: likewise.
    """

    def __init__(
        self,
        title: str,
        files: Mapping[str, Sequence[Path]],
        *,
        image_column: str | None = None,
        label_column: str | None = None,
    ) -> None:
        self.title = title
        self.files = files
        self._given = image_column, label_column

    def peek(self, split: str) -> tuple[int, Encoded]:
        """Number of rows and the first image of a split.

        Raises:
            ValueError: if a file is no Parquet file, a column is missing or holds something else, or there are no rows.
        """
        image_column, _ = self._columns(split)
        num_rows = sum(read_footer(file).num_rows for file in self.files[split])
        for file in self.files[split]:
            for value in read_first(file, image_column):
                return num_rows, _encoded(value, file.parent)
        raise ValueError(f"{self.title}: the {split} split is empty, there are no rows in {some(self.files[split])}.")

    def names(self, split: str) -> list[str] | None:
        """The path in each cell of the image column; None where that holds bytes alone, or a cell has no path."""
        image_column, _ = self._columns(split)
        kind = _types(self.files[split][0])[image_column]
        inside = [kind.field(place).name for place in range(kind.num_fields)]
        if inside and "path" not in inside:
            return None
        column = f"{image_column}.path" if inside else image_column
        cells = (read_columns(file, [column]).column(0).to_pylist() for file in self.files[split])
        names = [cell["path"] if isinstance(cell, dict) else cell for cell in itertools.chain(*cells)]
        return names if all(isinstance(name, str) and name for name in names) else None

    def rows(self, split: str, *, on_disk: bool) -> Rows:
        """The rows of a split as a `datasets.Dataset`: in memory, or mapped from disk."""
        with needed_for("reading Parquet files"):
            import datasets
            import pyarrow
        files = self.files[split]
        image_column, label_column = columns = self._columns(split)
        names, declared = self._classes(label_column)
        ends = list(itertools.accumulate(read_footer(file).num_rows for file in files))
        # without the schema's metadata: rows of different files may be described differently, and are read as they are
        tables = [
            read_columns(file, [label_column] if on_disk else columns).replace_schema_metadata() for file in files
        ]
        data = _on_disk(files, columns) if on_disk else datasets.Dataset(pyarrow.concat_tables(tables))
        arrow = data.with_format("arrow")

        def file_of(row: int) -> tuple[Path, int]:
            number = bisect.bisect_right(ends, row)
            return files[number], row - (ends[number - 1] if number else 0)

        def where(row: int) -> str:
            file, inside = file_of(row)
            return f"{file}, row {inside} (the first is 0)"

        def encoded(numbers: Sequence[int]) -> Iterable[Encoded]:
            values = arrow[numbers].column(image_column).to_pylist()
            return [_encoded(value, file_of(row)[0].parent) for row, value in zip(numbers, values, strict=True)]

        values = [value for table in tables for value in table.column(label_column).to_pylist()]
        labels = class_numbers(values, names, declared=declared, where=where)
        return Rows(labels, names, encoded, where, f"{self.title} ({split})")

    def _columns(self, split: str) -> tuple[str, str]:
        """Names of the image and the label column, the same in every file of the split."""
        first, *others = self.files[split]
        types = _types(first)
        columns = typed_columns(first, types, *self._given)
        for file in others:
            found = _types(file)
            for name in columns:
                if found.get(name) != types[name]:
                    raise ValueError(
                        f"{file}: column {name!r} is {found.get(name, 'missing')}, in {first} {types[name]}."
                    )
        return columns

    def _classes(self, label_column: str) -> tuple[list[str], bool]:
        """Class names of all splits together, and whether the files declare them."""
        import datasets

        declared: dict[Path, list[str] | None] = {}
        for file in itertools.chain(*self.files.values()):
            features = datasets.Features.from_arrow_schema(read_footer(file).schema.to_arrow_schema())
            declared[file] = getattr(features.get(label_column), "names", None)
        first, names = next(iter(declared.items()))
        for file, others in declared.items():
            if others != names:
                raise ValueError(f"{file}: its class names are not those of {first}.")
        if names is not None:
            return list(names), True
        columns = (read_columns(file, [label_column]).column(0).unique().to_pylist() for file in declared)
        return class_names_of(itertools.chain(*columns)), False


def _on_disk(files: Sequence[Path], columns: Sequence[str]) -> Any:
    """All rows of the files as a `datasets.Dataset` that is mapped from Arrow files in `cache_folder()`."""
    import datasets

    paths = [str(file) for file in files]
    # `datasets` knows a file again by name and time alone; a folder of its own for each version rules mistakes out
    folder = str(cache_folder() / f"arrow-{fingerprint(files)[:12]}")
    try:
        return datasets.load_dataset(
            "parquet", data_files=paths, columns=list(columns), split="train", cache_dir=folder
        )
    except (OSError, datasets.exceptions.DatasetGenerationError) as error:
        reason = one_line(error.__cause__ or error)
        raise OSError(f"{files[0]}: cannot be unpacked for access in any order ({reason}).") from error


def _types(file: Path) -> dict[str, Any]:
    schema = read_footer(file).schema.to_arrow_schema()
    return dict(zip(schema.names, schema.types, strict=True))


def _encoded(value: Any, folder: Path) -> Encoded:
    """The image in one cell: bytes, {"bytes", "path"} with at least one of them, or a path relative to the file."""
    if isinstance(value, dict):
        value = value.get("bytes") or value.get("path")
    return folder / value if isinstance(value, str) and value else value or None
