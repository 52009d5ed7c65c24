# SPDX-License-Identifier: MIT
"""Tiny image sets on disk, as users have them: image bytes, Parquet files, class folders."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
from PIL import Image

__all__ = ["encode", "noise", "write_folder", "write_named_parquet", "write_parquet", "write_records"]


def noise(num: int, shape: tuple[int, ...] = (4, 4, 3), *, seed: int = 0) -> list[np.ndarray]:
    """Random images (H, W, 3) or (H, W)."""
    return list(np.random.default_rng(seed).integers(0, 256, (num, *shape), dtype=np.uint8))


def encode(pixels: np.ndarray, kind: str = "png", **options: Any) -> bytes:
    """The bytes of an image file."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def write_parquet(
    file: Path,
    images: Sequence[np.ndarray | bytes | None],
    labels: Sequence[Any],
    *,
    class_names: Sequence[str] | None = None,
    image_column: str = "image",
    label_column: str = "label",
    row_group_size: int | None = None,
) -> Path:
    """One Parquet file in the layout of Hugging Face `datasets`; `class_names` go into its metadata."""
    file.parent.mkdir(parents=True, exist_ok=True)
    cells = [
        {"bytes": encode(image) if isinstance(image, np.ndarray) else image, "path": f"{row}.png"}
        for row, image in enumerate(images)
    ]
    kind = pyarrow.struct({"bytes": pyarrow.binary(), "path": pyarrow.string()})
    table = pyarrow.table({image_column: pyarrow.array(cells, kind), label_column: pyarrow.array(labels)})
    if class_names is not None:
        features = {
            image_column: {"_type": "Image"},
            label_column: {"_type": "ClassLabel", "names": list(class_names)},
        }
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pyarrow.parquet.write_table(table, file, row_group_size=row_group_size)
    return file


def write_named_parquet(file: Path, images: Mapping[str, np.ndarray], labels: Sequence[str]) -> Path:
    """One Parquet file of images with their paths, labels as text."""
    file.parent.mkdir(parents=True, exist_ok=True)
    cells = [{"bytes": encode(pixels), "path": path} for path, pixels in images.items()]
    pyarrow.parquet.write_table(pyarrow.table({"image": cells, "label": list(labels)}), file)
    return file


def write_records(file: Path, records: Mapping[int, tuple[Sequence[float] | float, bytes]]) -> Path:
    """A RecordIO file and its index: key -> labels (a number, or several) and the bytes of an image.

    As MXNet writes them: a record is divided where the magic word stands in it at a multiple of four bytes.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    magic = struct.pack("<I", 0xCED7230A)
    content, index = b"", []
    for key, (labels, image) in records.items():
        many = [] if isinstance(labels, int | float) else list(labels)
        head = struct.pack("<IfQQ", len(many), 0.0 if many else labels, key, 0)
        payload = head + struct.pack(f"<{len(many)}f", *many) + image
        places = [place for place in range(0, len(payload) - 3, 4) if payload[place : place + 4] == magic]
        starts, ends = [0, *(place + 4 for place in places)], [*places, len(payload)]
        index.append(f"{key}\t{len(content)}\n")
        for number, (start, end) in enumerate(zip(starts, ends, strict=True)):
            kind = 0 if not places else 1 if number == 0 else 3 if number == len(places) else 2
            part = payload[start:end]
            content += magic + struct.pack("<I", kind << 29 | len(part)) + part + bytes(-len(part) % 4)
    file.write_bytes(content)
    file.with_suffix(".idx").write_text("".join(index))
    return file


def write_folder(root: Path, classes: Mapping[str, Sequence[np.ndarray]]) -> Path:
    """A folder of PNG files for each class."""
    for name, images in classes.items():
        (root / name).mkdir(parents=True, exist_ok=True)
        for number, pixels in enumerate(images):
            (root / name / f"{number:03d}.png").write_bytes(encode(pixels))
    return root
