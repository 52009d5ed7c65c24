# SPDX-License-Identifier: MIT
"""What an evaluation leaves in a run folder: a JSON of what was found and an archive of arrays, whole or not there."""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from hypersphere.files import atomic_file

__all__ = ["free_stem", "write_results"]


def write_results(run: Path, stem: str, summary: Mapping[str, object], arrays: Mapping[str, np.ndarray]) -> None:
    """Write `evaluation/<stem>.npz`, then `.json`, into a run folder; the older ones are replaced.

    Raises:
        OSError: if a file cannot be written; where the disk is full, the older ones are left as they were.

    Edge cases:
        Stopped between the two files it leaves no `.json`, so that none is ever read with another's arrays.
    """
    folder = run / "evaluation"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{stem}.json"
    # the last is put in its place first
    with atomic_file(path) as told, atomic_file(path.with_name(f"{stem}.npz")) as kept:
        told.write(f"{json.dumps(summary, indent=2)}\n".encode())
        kept.write(_archive(arrays))
        for file in (told, kept):
            file.flush()
            os.fsync(file.fileno())
        # from here until the new one has its place there is none: that of before does not fit the new arrays
        path.unlink(missing_ok=True)


def free_stem(run: Path, stem: str, origin: Mapping[str, object], *, endings: Sequence[str] = ("",)) -> str:
    """`stem`, with "-2", "-3", ... behind it where a file of that name is of another origin: other data of one name.

    Args:
        run: the run folder.
        stem: of the files.
        origin: where the data are from, in plain values, as the result has it in its entry "origin".
        endings: what follows the stem in the names of the files, which all have to be free or of this origin.

    Edge cases:
        A file that tells no origin, as older ones do, or cannot be read is there to be replaced.
    """

    def is_free(name: str) -> bool:
        try:
            known = json.loads((run / "evaluation" / f"{name}.json").read_bytes())
        except (OSError, ValueError):
            return True
        return not isinstance(known, dict) or known.get("origin", origin) == origin

    number, name = 1, stem
    while not all(is_free(f"{name}{ending}") for ending in endings):
        number += 1
        name = f"{stem}-{number}"
    return name


def _archive(arrays: Mapping[str, np.ndarray]) -> bytes:
    """An .npz whose bytes depend on its arrays alone, not on the hour."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, np.ascontiguousarray(array), allow_pickle=False)
            archive.writestr(
                zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0)), member.getvalue(), zipfile.ZIP_DEFLATED
            )
    return buffer.getvalue()
