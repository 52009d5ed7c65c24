# SPDX-License-Identifier: MIT
"""Which columns of a table hold images and labels: found by type and usual names, or as the user says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hypersphere.checks import lookup
from hypersphere.data.sources import some

__all__ = ["IMAGE_COLUMNS", "LABEL_COLUMNS", "pick_column", "typed_columns"]

# the first of these that a table has
IMAGE_COLUMNS = ("image", "img", "path", "file", "filename", "file_name", "image_path", "jpg", "png", "webp", "picture")
LABEL_COLUMNS = ("label", "fine_label", "labels", "target", "class", "class_name", "category", "identity", "name", "y")


def pick_column(
    file: Path, kind: str, given: str | None, names: Sequence[str], *, described: Sequence[str] = ()
) -> str:
    """The name of the image or label column.

    Args:
        file: for messages.
        kind: "image" or "label".
        given: what the user says, or None to look for a usual name.
        names: the columns that are there.
        described: the same with their types, for messages.

    Raises:
        ValueError: if the given column is not there, with the nearest one, or none has a usual name.

    Example:
        >>> pick_column(Path("train.parquet"), "label", None, ["img", "fine_label", "coarse_label"])
        'fine_label'
    """
    if given is not None:
        try:
            return lookup("column", given, {name: name for name in names})
        except ValueError as error:
            raise ValueError(f"{file}: {error}.") from None
    usual = IMAGE_COLUMNS if kind == "image" else LABEL_COLUMNS
    if found := next((name for name in usual if name in names), None):
        return found
    there = some(described or names, limit=12)
    raise ValueError(f"{file}: no {kind} column found among {there}; name it by data.{kind}_column.")


def typed_columns(file: Path, types: Mapping[str, Any], image: str | None, label: str | None) -> tuple[str, str]:
    """Names of the image and the label column of a table with typed columns.

    Args:
        file: for messages.
        types: column -> its Arrow type.
        image: what the user says, or None: the one column that can hold image bytes, else one of a usual name.
        label: what the user says, or None.

    Raises:
        ValueError: if there is no such column, or it holds something else.
    """
    described = [f"{name} ({kind})" for name, kind in types.items()]
    holds_bytes = [name for name, kind in types.items() if _is_bytes(kind)]
    if image is None and len(holds_bytes) == 1:
        image = holds_bytes[0]
    image = pick_column(file, "image", image, list(types), described=described)
    label = pick_column(file, "label", label, list(types), described=described)
    if not (_is_bytes(types[image]) or _is_text(types[image])):
        raise ValueError(f"{file}: column {image!r} holds {types[image]}, not images (bytes, or bytes and path).")
    if not (_is_whole(types[label]) or _is_text(types[label])):
        raise ValueError(f"{file}: column {label!r} holds {types[label]}, not labels (whole numbers or text).")
    return image, label


def _is_bytes(kind: Any) -> bool:
    from pyarrow import types

    if types.is_struct(kind):
        return bool(kind.get_field_index("bytes") >= 0)
    return bool(types.is_binary(kind) or types.is_large_binary(kind))


def _is_text(kind: Any) -> bool:
    from pyarrow import types

    kind = kind.value_type if types.is_dictionary(kind) else kind
    return bool(types.is_string(kind) or types.is_large_string(kind))


def _is_whole(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_integer(kind))
