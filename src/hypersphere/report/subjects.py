# SPDX-License-Identifier: MIT
"""What can be diagnosed by its path: a run folder, a safetensors file, a foreign checkpoint."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from hypersphere.analysis import Diagnosis, diagnose, load_weights
from hypersphere.files import write_atomically
from hypersphere.models.store import SPEC_FILE, WEIGHTS_FILE, load_classifier
from hypersphere.report.comparison import run_names

__all__ = ["Subject", "diagnose_paths", "read_subject", "subject", "write_json"]


@dataclass(frozen=True)
class Subject:
    """A model under the name that tables and pages give it.

    Args:
        name: shortest end of its path that tells it from the others.
        diagnosis: of all its layers.
        filters: name and weight (K, C, H, W) of the first layer where it sees grey or colour images, else None.
    """

    name: str
    diagnosis: Diagnosis
    filters: tuple[str, np.ndarray] | None = None


def read_subject(path: Path) -> nn.Module | dict[str, Tensor]:
    """The model of a run folder, or the tensors of any other file or folder.

    Raises:
        FileNotFoundError: if there is nothing of the kind, or the run has no model yet.
        ValueError: if a file is damaged, of another kind, or could run code.
    """
    if (path / "config.yaml").is_file() and not (path / WEIGHTS_FILE).is_file():
        raise FileNotFoundError(f"diagnose: the run in {path} has no {WEIGHTS_FILE} yet: it has not finished.")
    if (path / SPEC_FILE).is_file() and (path / WEIGHTS_FILE).is_file():
        return load_classifier(path)[0]
    return load_weights(path)


def diagnose_paths(paths: Sequence[Path], **options: Any) -> list[Subject]:
    """A diagnosis of each path, under the shortest ends of the paths that tell them apart.

    Raises:
        FileNotFoundError: as `read_subject`, and ValueError as `analysis.diagnose`.
    """
    return [subject(name, read_subject(path), **options) for name, path in zip(run_names(paths), paths, strict=True)]


def subject(name: str, model: nn.Module | Mapping[str, Tensor], **options: Any) -> Subject:
    """A model that is in memory already, diagnosed under a name."""
    found = diagnose(model, **options)
    return Subject(name, found, _filters(found, model))


def _filters(found: Diagnosis, model: nn.Module | Mapping[str, Tensor]) -> tuple[str, np.ndarray] | None:
    """The first convolution as images, where it sees some."""
    if isinstance(model, nn.Module):
        weights = {f"{name}.weight": getattr(module, "weight", None) for name, module in model.named_modules()}
    else:
        weights = dict(model)
    for row in found.rows:
        weight = weights.get(f"{row.name}.weight")
        if isinstance(weight, Tensor) and weight.ndim == 4:
            seen = row.num_groups == 1 and weight.shape[1] in (1, 3) and weight.shape[2] * weight.shape[3] > 1
            return (row.name, weight.detach().float().cpu().numpy()) if seen else None
    return None


def write_json(subjects: Sequence[Subject], out: Path) -> Path:
    """Write the numbers of one model as `Diagnosis.to_json` gives them, or of several by their names.

    Raises:
        OSError: if the file cannot be written.
    """
    text = subjects[0].diagnosis.to_json()
    if len(subjects) > 1:
        every = {one.name: json.loads(one.diagnosis.to_json()) for one in subjects}
        text = json.dumps(every, indent=2, allow_nan=False, ensure_ascii=False)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(out, text + "\n")
    return out
