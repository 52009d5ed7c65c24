# SPDX-License-Identifier: MIT
"""What a run recorded of its operators, read with patience."""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hypersphere.formulas.magnitudes import as_magnitude
from hypersphere.report.run import Row, number

__all__ = ["LEARNED", "Layer", "Operators", "operator_words", "read_operators"]

LEARNED = {
    "k": (
        "k of the angle",
        "k (radians)",
        "A small k makes a step at the right angle, so that all that counts is on which side of the kernel a patch "
        "lies; a large one makes the output a straight line in the angle.",
    ),
    "radius": (
        "radius of the magnitude",
        "radius",
        "Up to its radius a kernel lets the length of a patch count in full, beyond it less or no more.",
    ),
    "gain": ("gain of the output channels", "gain", "Each output channel is multiplied by its own."),
    "exponent": (
        "exponent of the magnitude",
        "exponent",
        "The power of the patch's length in the output: 0 leaves it out, 1 is that of an ordinary convolution.",
    ),
}
"""What may be learned of an operator: its name, that of the axis, and what it does."""


@dataclass(frozen=True)
class Layer:
    """One layer as `evaluation/operators.json` and `.npz` have it.

    Args:
        row: its entry in the former.
        cosines: counts in the bins of all cosines.
        norms: counts in the bins of patch norms.
        learned: what was learned -> its values.
    """

    row: Row
    cosines: np.ndarray
    norms: np.ndarray
    learned: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Its name in the model."""
        return str(self.row["name"])

    @property
    def is_decoupled(self) -> bool:
        """Whether angle and length have functions of their own."""
        return self.row.get("angle") is not None

    @property
    def dim(self) -> int:
        """Numbers in a patch."""
        return int(self.row["dim"])

    @property
    def size(self) -> float:
        """Mean of |cosine|."""
        return number(self.row, "cosine", "mean_size")

    @property
    def threshold(self) -> float:
        """Length from which on eps takes less than half a percent off a cosine; 0 where there is no eps."""
        return 10 * math.sqrt(max(0.0, number(self.row, "eps")))

    @property
    def radii(self) -> np.ndarray:
        """Lengths at which the magnitude changes its shape: of each kernel, or the one of all; empty without any."""
        unit = number(self.row, "unit")
        if "radius" in self.learned:
            return unit * self.learned["radius"]
        try:
            fixed = getattr(as_magnitude(self.row["magnitude"]), "radius", math.nan)
        except (ValueError, TypeError):
            # an ordinary layer has none, and one of the user's own has no name
            fixed = math.nan
        return np.array([unit * fixed]) if math.isfinite(unit * fixed) else np.zeros(0)

    def start(self, what: str) -> float:
        """Where training began with something it learned."""
        return number(self.row, "learned", what, "start")

    def shorter(self, edges: np.ndarray, length: float) -> float:
        """Share of patches that are shorter than a length, by the histogram."""
        count = number(self.row, "num_patches")
        if not (count > 0 and length > 0):
            return 0.0
        total = number(self.row, "num_zero") + np.concatenate([[0.0], np.cumsum(self.norms)])
        return float(np.interp(math.log(length), np.log(edges), total) / count)


@dataclass(frozen=True)
class Operators:
    """What a run's layers met, with the bins in which it was counted."""

    summary: Row
    layers: list[Layer]
    cosine_edges: np.ndarray
    norm_edges: np.ndarray


def read_operators(folder: Path) -> tuple[Operators | None, list[str]]:
    """The measure in a run folder, None where there is none, and sentences on what could not be read."""
    path = folder / "evaluation" / "operators.json"
    if not path.is_file():
        return None, []
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
        # from memory, as numpy leaves a damaged file open
        with np.load(io.BytesIO(path.with_suffix(".npz").read_bytes()), allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    except FileNotFoundError:
        return None, ["There is no operators.npz: what the operators did cannot be drawn."]
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        return None, [f"The measure of operators could not be read ({error})."]
    try:
        return _put_together(summary, arrays), []
    except (KeyError, TypeError, ValueError, AttributeError, IndexError):
        return None, ["operators.json and operators.npz do not fit together: what the operators did was left out."]


def _put_together(summary: Row, arrays: Mapping[str, np.ndarray]) -> Operators:
    cosines, norms = arrays["cosines"], arrays["norms"]
    edges = arrays["cosine_edges"], arrays["norm_edges"]
    rows = summary["layers"]
    if [part.shape for part in (cosines, norms)] != [(len(rows), len(part) - 1) for part in edges]:
        raise ValueError("histograms of another shape")
    layers = []
    for place, row in enumerate(rows):
        if not (isinstance(row["name"], str) and isinstance(row["dim"], int) and row["dim"] >= 1):
            raise ValueError("a layer without name or size")
        found = {what: arrays[f"{place}.{what}"].astype(np.float64) for what in LEARNED if what in row["learned"]}
        found = {what: values for what, values in found.items() if values.size and np.isfinite(values).all()}
        layers.append(Layer(row, cosines[place], norms[place], found))
    return Operators(summary, layers, *edges)


def operator_words(row: Row) -> str:
    """What a layer computes, in a few words.

    Example:
        >>> operator_words({"angle": "learned_sigmoid", "magnitude": "sphere"}), operator_words({"angle": None})
        ('learned sigmoid × sphere', 'product')
    """
    if row.get("angle") is None:
        return "product"
    return " × ".join(_spec_words(row.get(part)) for part in ("angle", "magnitude"))


def _spec_words(value: Any) -> str:
    if not isinstance(value, dict):
        return str(value).replace("_", " ")
    sizes = [f"{name} {size:g}" for name, size in value.items() if isinstance(size, float) and name != "momentum"]
    return f"{str(value.get('name')).replace('_', ' ')} ({', '.join(sizes)})" if sizes else str(value.get("name"))
