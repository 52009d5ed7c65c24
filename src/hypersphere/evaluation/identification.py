# SPDX-License-Identifier: MIT
"""What identification found, of whatever kind, written into a run folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from hypersphere.evaluation.distractors import AmongDistractors
from hypersphere.evaluation.gallery import ClosedSet, OpenSet
from hypersphere.evaluation.results import write_results

__all__ = ["Identification", "write_identification"]

Identification = ClosedSet | OpenSet | AmongDistractors
"""Results of the three kinds of identification."""


def write_identification(
    run: Path,
    results: Mapping[str, Identification],
    *,
    split: str,
    step: int | None = None,
    stem: str = "identification",
    details: Mapping[str, object] | None = None,
) -> dict[str, object]:
    """Write `evaluation/<stem>.json` and `.npz` into a run folder; the older ones are replaced.

    Args:
        run: the run folder.
        results: what was found, by a name of yours made of letters, digits, "-" and "_"; arrays are called
            `<name>.<array>`.
        split: which images were identified.
        step: of the training at which the weights were taken, or None.
        stem: of the two files; a report reads "identification".
        details: more entries of the JSON file.

    Returns:
        The content of the JSON file.

    Raises:
        OSError: if a file cannot be written.
        ValueError: if there is no result, or a name is made of other characters.
    """
    if not results:
        raise ValueError("write_identification: expected one result or more, got none.")
    for name in results:
        if not name.replace("-", "").replace("_", "").isalnum():
            raise ValueError(
                f"write_identification: a name is made of letters, digits, '-' and '_', got {name!r}. It becomes a "
                "part of a file."
            )
    summary: dict[str, object] = {
        "protocol": "identification",
        "split": split,
        "results": {name: result.summary() for name, result in results.items()},
        "step": step,
        **(details or {}),
    }
    arrays: dict[str, np.ndarray] = {
        f"{name}.{key}": array for name, result in results.items() for key, array in result.arrays().items()
    }
    write_results(run, stem, summary, arrays)
    return summary
