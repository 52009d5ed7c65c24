# SPDX-License-Identifier: MIT
"""A run folder as it lies on disk, read with patience: what is missing or cut off becomes a sentence, not an error."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["Classification", "Run", "number", "read_run", "series"]

Row = dict[str, Any]


@dataclass(frozen=True)
class Classification:
    """What the evaluation by classification left behind.

    `summary` is `evaluation/classification.json`; the arrays are None where `classification.npz` lacks them.

    Args:
        summary: split, accuracy, loss, class names, step.
        features: (N, D), what the head received.
        labels: (N,) true classes.
        predictions: (N,) predicted classes, -1 for none.
        confusion: (C, C) counts, true class by row.
        class_vectors: (C, D), the head's weight.
    """

    summary: Row
    features: np.ndarray | None = None
    labels: np.ndarray | None = None
    predictions: np.ndarray | None = None
    confusion: np.ndarray | None = None
    class_vectors: np.ndarray | None = None

    @property
    def has_directions(self) -> bool:
        """Whether some feature has an angle to others: two dimensions or more, finite and not zero."""
        if self.features is None or self.features.ndim != 2 or self.features.shape[1] < 2:
            return False
        return bool((np.isfinite(self.features).all(axis=1) & self.features.any(axis=1)).any())

    @property
    def class_names(self) -> list[str]:
        """A name for every class that occurs; its number where no name was kept."""
        named = self.summary.get("class_names")
        names = [str(name) for name in named] if isinstance(named, list) else []
        largest = max(
            (int(part.max(initial=-1)) for part in (self.labels, self.predictions) if part is not None), default=-1
        )
        sized = [len(part) for part in (self.confusion, self.class_vectors) if part is not None]
        return names + [str(number) for number in range(len(names), max([largest + 1, *sized]))]


@dataclass(frozen=True)
class Run:
    """Everything the report draws, as plain data.

    Args:
        folder: where it was read.
        config: the recipe as run; empty when `config.yaml` cannot be read.
        environment: versions, seed, device; empty when absent.
        train: training lines in order of steps.
        evaluations: evaluation lines in order of steps.
        classification: the evaluation of the finished model, None before there is one.
        recalibrated: summary of that with running statistics measured again; empty where there is none.
        notes: sentences on what could not be read.
    """

    folder: Path
    config: Row = field(default_factory=dict)
    environment: Row = field(default_factory=dict)
    train: list[Row] = field(default_factory=list)
    evaluations: list[Row] = field(default_factory=list)
    classification: Classification | None = None
    recalibrated: Row = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The folder's own name."""
        return self.folder.resolve().name

    @property
    def last_step(self) -> int:
        """Number of the last step that left a line; 0 before training."""
        return max((int(row["step"]) for row in [*self.train, *self.evaluations]), default=0)

    def setting(self, path: str, default: Any = None) -> Any:
        """One value of the config by its dotted path, or `default`."""
        value: Any = self.config
        for key in path.split("."):
            if not isinstance(value, dict) or key not in value:
                return default
            value = value[key]
        return default if value is None else value


def number(row: Any, *path: str) -> float:
    """A number inside a line of metrics, NaN where it is missing or not a number.

    Example:
        >>> number({"terms": {"energy": 0.5}}, "terms", "energy"), number({}, "loss")
        (0.5, nan)
    """
    for key in path:
        row = row.get(key) if isinstance(row, dict) else None
    return float(row) if isinstance(row, int | float) and not isinstance(row, bool) else float("nan")


def series(rows: Iterable[Row], *path: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps and values of one quantity, lines without a finite value left out."""
    pairs = [(int(row["step"]), number(row, *path)) for row in rows]
    pairs = [pair for pair in pairs if np.isfinite(pair[1])]
    return np.array([step for step, _ in pairs], dtype=np.int64), np.array(
        [value for _, value in pairs], dtype=np.float64
    )


def read_run(folder: Path) -> Run:
    """Read a run folder.

    Args:
        folder: a folder that `hypersphere train` wrote, finished or not.

    Returns:
        The run; what is missing is empty or None and described in `notes`.

    Raises:
        FileNotFoundError: if there is no such folder, or nothing in it that a run leaves behind.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"report: there is no run folder {folder}.")
    if not (folder / "metrics.jsonl").is_file() and not (folder / "config.yaml").is_file():
        raise FileNotFoundError(
            f"report: {folder} is no run folder: expected config.yaml or metrics.jsonl in it, as `hypersphere train` "
            "writes."
        )
    notes: list[str] = []
    config = _read(folder / "config.yaml", _parse_yaml, notes)
    environment = _read(folder / "environment.json", json.loads, notes)
    lines = _read_lines(folder / "metrics.jsonl", notes)
    again = folder / "evaluation" / "classification-recalibrated.json"
    return Run(
        folder=folder,
        config=config,
        environment=environment,
        train=_in_order(row for row in lines if row.get("kind") == "train"),
        evaluations=_in_order(row for row in lines if row.get("kind") == "evaluation"),
        classification=_read_classification(folder / "evaluation", notes),
        # most runs have none
        recalibrated=_read(again, json.loads, notes) if again.is_file() else {},
        notes=notes,
    )


def _parse_yaml(text: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(str(error).splitlines()[0]) from error


def _read(path: Path, parse: Callable[[str], Any], notes: list[str]) -> Row:
    """A file that holds one mapping; an empty mapping and a note when it does not."""
    if not path.is_file():
        notes.append(f"There is no {path.name} in the run folder.")
        return {}
    try:
        found = parse(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        notes.append(f"{path.name} could not be read ({error}).")
        return {}
    if isinstance(found, dict):
        return found
    notes.append(f"{path.name} holds no mapping of names to values.")
    return {}


def _read_lines(path: Path, notes: list[str]) -> list[Row]:
    if not path.is_file():
        notes.append("There is no metrics.jsonl in the run folder: training has not begun.")
        return []
    rows, broken = [], []
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    for position, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
        except ValueError:
            broken.append(position)
            continue
        if isinstance(row, dict) and isinstance(row.get("step"), int):
            rows.append(row)
        else:
            broken.append(position)
    if broken == [len(lines)]:
        notes.append("The last line of metrics.jsonl is cut off, as after a kill; it was left out.")
    elif broken:
        shown = ", ".join(map(str, broken[:5])) + (", ..." if len(broken) > 5 else "")
        notes.append(f"metrics.jsonl: {len(broken)} unreadable lines were left out (line {shown}).")
    return rows


def _in_order(rows: Iterable[Row]) -> list[Row]:
    """By step; where a resumed run wrote a step again, the later line counts."""
    latest = {(row["step"], str(row.get("split"))): row for row in rows}
    return [latest[key] for key in sorted(latest)]


def _read_classification(folder: Path, notes: list[str]) -> Classification | None:
    if not (folder / "classification.json").is_file():
        return None
    summary = _read(folder / "classification.json", json.loads, notes)
    arrays: dict[str, np.ndarray] = {}
    try:
        with np.load(folder / "classification.npz", allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    except FileNotFoundError:
        notes.append("There is no classification.npz: features and predictions cannot be drawn.")
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        notes.append(f"classification.npz could not be read ({error}).")
    wanted = {name: arrays[name] for name in _ARRAYS if name in arrays and arrays[name].dtype.kind in "iuf"}
    for name in ("features", "class_vectors"):
        if name in wanted:
            wanted[name] = wanted[name].astype(np.float32)
    misfits = _misfits(wanted)
    unnamed = int((wanted["predictions"] == -1).sum()) if wanted.keys() - misfits >= {"predictions"} else 0
    if unnamed:
        notes.append(
            f"The model gave {unnamed} of {len(wanted['predictions'])} images logits that are not numbers. They count "
            "as wrong in the accuracy, and are in no column of the confusion matrix."
        )
    if misfits:
        notes.append(f"classification.npz: {', '.join(sorted(misfits))} do not fit and were left out.")
    return Classification(summary, **{name: array for name, array in wanted.items() if name not in misfits})


_ARRAYS = ("features", "labels", "predictions", "confusion", "class_vectors")


def _misfits(arrays: dict[str, np.ndarray]) -> set[str]:
    """Names of arrays whose shape or content contradicts the labels and features."""
    shapes = {name: array.shape for name, array in arrays.items()}
    count = shapes.get("labels", shapes.get("predictions", (0,)))[0]
    wrong: set[str] = {name for name in ("labels", "predictions") if name in shapes and shapes[name] != (count,)}
    # a prediction of -1 is an image that got no class
    lowest = {"labels": 0, "predictions": -1}
    wrong |= {name for name in lowest.keys() - wrong if name in arrays and (arrays[name] < lowest[name]).any()}
    if "features" in shapes and (len(shapes["features"]) != 2 or shapes["features"][0] != count):
        wrong.add("features")
    if "confusion" in shapes and (len(shapes["confusion"]) != 2 or len(set(shapes["confusion"])) != 1):
        wrong.add("confusion")
    vectors, features = shapes.get("class_vectors"), shapes.get("features")
    if vectors is not None and (len(vectors) != 2 or (features is not None and vectors[1] != features[-1])):
        wrong.add("class_vectors")
    return wrong
