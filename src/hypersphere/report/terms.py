# SPDX-License-Identifier: MIT
"""What a run added to its loss: which regularisers, in words, and what each measured of every layer while training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hypersphere.report.run import Run, number, series

__all__ = ["LayerTerm", "layer_terms", "listed", "regularizer_names", "term_words"]

# the attribute that the head of a classifier is kept under, and so the name of the output layer
_OUTPUT = "head"

_WORDS = {
    "uniformity": {
        "separation": "separation",
        "polarization": "polarisation",
        "resultant": "resultant",
        "covering": "covering",
        "gram": "Gram determinant",
    },
    "orthogonality": {
        "orthonormal": "orthonormality penalty",
        "orthogonal": "orthogonality penalty",
        "restricted_isometry": "restricted isometry penalty",
    },
}
_KNOWN = ("energy", "uniformity", "orthogonality")
_SPACES = {True: "half space", False: "full space"}


@dataclass(frozen=True)
class LayerTerm:
    """One regulariser's value of one layer over the training lines, without its weight.

    Args:
        name: of the term, as metrics call it.
        layer: as the regulariser names it.
        words: what the value is, in short.
        quantity: the same in full: terms with equal text may share a figure.
        size: how the layer enters it, such as "144 dimensions projected to 40".
        is_monitored: whether it is the energy that every evaluation measures anyway.
        steps: of the training lines, in order.
        values: there.
    """

    name: str
    layer: str
    words: str
    quantity: str
    size: str
    is_monitored: bool
    steps: np.ndarray
    values: np.ndarray


def regularizer_names(run: Run) -> list[str]:
    """Names of the terms that the training loss holds beside the objective."""
    found = [name for row in run.train for name in (row.get("terms") or {})]
    found += [name for name in _KNOWN if any(row.get(name) and isinstance(row[name], dict) for row in run.train)]
    return [name for name in dict.fromkeys(found) if name != "objective"]


def term_words(run: Run, name: str) -> str:
    """What a regulariser is called in a sentence: "energy", "projected energy", "separation"."""
    if name == "energy":
        return "projected energy" if _projection(run) else "energy"
    usual = {"orthogonality": "orthogonality penalty"}.get(name, name)
    return _WORDS.get(name, {}).get(str(run.setting(f"{name}.kind", "")), usual)


def listed(words: Sequence[str], before: str = "") -> str:
    """Words as one phrase, each with `before` in front of it.

    Example:
        >>> listed(["energy", "covering"], "its ")
        'its energy and its covering'
    """
    *first, last = [f"{before}{word}" for word in words] or [""]
    return f"{', '.join(first)} and {last}" if first else last


def layer_terms(run: Run) -> list[LayerTerm]:
    """Every regulariser's value of every layer that the training lines hold, in the order of the network."""
    found = []
    for name in regularizer_names(run):
        rows = [row for row in run.train if isinstance(row.get(name), dict)]
        layers = list(dict.fromkeys(layer for row in rows[::-1] for layer in row[name]))
        for place, layer in enumerate(layers):
            described = _describe(run, name, layer, is_first=place == 0)
            found.append(LayerTerm(name, layer, *described, *series(rows, name, layer)))
    return found


def _projection(run: Run) -> str:
    """The projection under which the energy is taken; empty for none, and for runs from before there were any."""
    name = str(run.setting("compression.projection", "none"))
    return "" if name == "none" else name


def _describe(run: Run, name: str, layer: str, *, is_first: bool) -> tuple[str, str, str, bool]:
    """Words, quantity, size and whether the monitor measures the same."""
    words, size = term_words(run, name), _measure(run, layer)
    dim = number(size, "dim")
    text = f"{size['num_neurons']:g} neurons in {dim:g} dimensions" if np.isfinite(dim) else ""
    if name == "energy":
        return _describe_energy(run, layer, text, dim, is_first=is_first)
    space = ""
    if name == "uniformity":
        # the output layer is spread in full space whatever the hidden ones are
        half_space = bool(run.setting("uniformity.half_space", False)) and layer != _OUTPUT
        space = f" in {_SPACES[half_space]}"
    elif run.setting(f"{name}.normalized", False):
        space = " of neurons at length 1"
    return words, f"{words}{space}", text, False


def _describe_energy(run: Run, layer: str, text: str, dim: float, *, is_first: bool) -> tuple[str, str, str, bool]:
    is_output = layer == _OUTPUT
    half_space = bool(run.setting(f"energy.{'output_' if is_output else ''}half_space", False))
    power, distance = number(run.config.get("energy"), "power"), str(run.setting("energy.distance", "euclidean"))
    watched = number({"power": run.setting("monitor.power", 0)}, "power"), run.setting("monitor.distance", "euclidean")
    same = (power, distance, half_space) == (*watched, bool(run.setting("monitor.half_space", False)))
    kind = f"power {power:g}, {distance} distance, {_SPACES[half_space]}" if np.isfinite(power) else "of unknown kind"
    target = number(run.config.get("compression"), "dim")
    stays = is_output or dim <= target or (is_first and not run.setting("compression.project_first", True))
    if not _projection(run) or stays:
        return "energy", f"energy ({kind})", text, same
    ways = {
        "random": ("random projections to {:g} dimensions", "projected to {:g}"),
        "angle_preserving": ("an angle-preserving projection to {:g} dimensions", "projected to {:g}"),
        "adversarial": ("an adversarial projection to {:g} dimensions", "projected to {:g}"),
        "group": ("groups of {:g} coordinates", "{:g} at a time"),
    }
    how, taken = ways.get(_projection(run), ("a projection to {:g} dimensions", "projected to {:g}"))
    size = f"{text}, {taken.format(target)}" if text else ""
    return "projected energy", f"projected energy ({kind}; {how.format(target)})", size, False


def _measure(run: Run, layer: str) -> dict[str, Any]:
    """What the evaluations know of the size of a layer."""
    for row in run.evaluations:
        found = (row.get("layers") or {}).get(layer) if isinstance(row.get("layers"), dict) else None
        if isinstance(found, dict) and np.isfinite([number(found, key) for key in ("num_neurons", "dim")]).all():
            return found
    return {}
