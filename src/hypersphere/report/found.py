# SPDX-License-Identifier: MIT
"""What one protocol left in a run folder, for one set of data or several: a JSON file and an archive each."""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from hypersphere.report.run import Row, number

__all__ = ["Found", "accept_rates", "read_found"]


@dataclass(frozen=True)
class Found:
    """One result of a protocol.

    Args:
        stem: of its two files.
        summary: the JSON file.
        arrays: those of the archive, empty where it cannot be read.
    """

    stem: str
    summary: Row
    arrays: dict[str, np.ndarray] = field(default_factory=dict)

    def column(self, name: str) -> np.ndarray:
        """An array of one dimension without NaN, as float64; empty where there is none of the kind."""
        array = self.arrays.get(name, np.zeros(0))
        usable = array.ndim == 1 and array.dtype.kind in "iufb"
        values = array.astype(np.float64) if usable else np.zeros(0)
        return np.zeros(0) if np.isnan(values).any() else values

    def entries(self, name: str) -> list[Row]:
        """The mappings of a list in the summary."""
        listed = self.summary.get(name)
        return [row for row in listed if isinstance(row, dict)] if isinstance(listed, list) else []

    @property
    def note(self) -> str:
        """A sentence where people of the test were classes of the training, else nothing."""
        seen, total = (number(self.summary, "people_in_training", key) for key in ("in_training", "num_people"))
        if not seen > 0:
            return ""
        return (
            f"{seen:.0f} of the {total:.0f} people were classes of the training, so that this says little about "
            "strangers."
        )


def read_found(folder: Path, protocol: str) -> tuple[list[Found], list[str]]:
    """All results of a protocol in a run folder, that of the run's own data first, and what could not be read."""
    paths = sorted((folder / "evaluation").glob(f"{protocol}*.json"), key=lambda path: (len(path.stem), path.stem))
    results, notes = [], []
    for path in paths:
        try:
            summary = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            notes.append(f"{path.name} could not be read ({error}).")
            continue
        if not isinstance(summary, dict):
            notes.append(f"{path.name} holds no mapping of names to values.")
            continue
        if summary.get("protocol") != protocol:
            continue
        arrays: dict[str, np.ndarray] = {}
        archive = path.with_suffix(".npz")
        try:
            # from memory, as numpy leaves a damaged file open
            with np.load(io.BytesIO(archive.read_bytes()), allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in stored.files}
        except FileNotFoundError:
            notes.append(f"There is no {archive.name}: curves and scores of {path.name} cannot be drawn.")
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            notes.append(f"{archive.name} could not be read ({error}).")
        results.append(Found(path.stem, summary, arrays))
    return results, notes


def accept_rates(results: Sequence[tuple[Sequence[str], Sequence[Row]]]) -> tuple[list[str], list[list[str]], str]:
    """True accepts at rates of false ones, as a table: titles of its columns, rows, and the sentence that explains it.

    Args:
        results: what begins each row, and its points as `OperatingPoint.entries` gives them.
    """
    known = {number(point, "target") for _, points in results for point in points}
    targets = sorted(target for target in known if math.isfinite(target))
    rows, starred = [], False
    for begin, points in results:
        row = list(begin)
        for target in targets:
            point = next((one for one in points if number(one, "target") == target), None)
            tar = number(point, "tar")
            few = point is not None and point.get("resolved") is False
            starred |= few and math.isfinite(tar)
            row.append(f"{tar:.2%}{' *' if few else ''}" if math.isfinite(tar) else "–")
        rows.append(row)
    told = "Share of true pairs that are accepted where at most this share of false ones is; nothing is interpolated."
    if starred:
        told += " * The rate is below one false pair of all there are: none is accepted, and the figure rests on none."
    return [f"at {target:g}" for target in targets], rows, told
