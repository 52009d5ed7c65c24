# SPDX-License-Identifier: MIT
"""All that can be chosen by name, in one place: which families there are, and where each keeps its table."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass

from hypersphere.checks import lookup

__all__ = ["FAMILIES", "Family", "entries"]


@dataclass(frozen=True)
class Family:
    """One kind of thing that has a name.

    Args:
        purpose: what choosing one decides, in a few words.
        table: `package.module:NAME` of a mapping from names to entries, or of a function that returns one. It is
            imported when asked for, so the catalogue lies below the rooms that it lists.
        chosen_by: how a user names one at the command line.
    """

    purpose: str
    table: str
    chosen_by: str


FAMILIES: dict[str, Family] = {
    "recipes": Family("a whole run", "hypersphere.training.settings:recipe_lines", "hypersphere train RECIPE"),
    "models": Family("how images become features", "hypersphere.models.table:MODELS", "--model.name"),
    "operators": Family(
        "what a convolution computes", "hypersphere.models.operators:OPERATORS", "--model.arguments.operator"
    ),
    "angles": Family(
        "what an angular operator makes of an angle",
        "hypersphere.formulas.angles:ANGLES",
        '--model.arguments.operator_arguments "{angle: NAME}"',
    ),
    "magnitudes": Family(
        "what a decoupled one makes of a length",
        "hypersphere.formulas.magnitudes:MAGNITUDES",
        '--model.arguments.operator_arguments "{magnitude: NAME}"',
    ),
    "datasets": Family("which images", "hypersphere.data.load:list_datasets", "--data.name"),
    "energies": Family("how strongly two neurons repel", "hypersphere.formulas.energies:ENERGIES", "--energy.power"),
    "distances": Family("how far apart two are", "hypersphere.formulas.energies:DISTANCES", "--energy.distance"),
    "projections": Family(
        "which neurons an energy sees", "hypersphere.regularizers.compressive:PROJECTIONS", "--compression.projection"
    ),
    "uniformities": Family(
        "what else spreads neurons", "hypersphere.functional.uniformity:UNIFORMITIES", "--uniformity.kind"
    ),
    "orthogonalities": Family(
        "what else sets them at right angles",
        "hypersphere.functional.orthogonality:ORTHOGONALITIES",
        "--orthogonality.kind",
    ),
    "rotations": Family(
        "how a rotation of neurons is learned",
        "hypersphere.functional.rotations:ROTATIONS",
        "regularizers.rotate(method)",
    ),
    "attacks": Family(
        "what images are put through",
        "hypersphere.evaluation.protocol:ATTACKS",
        "hypersphere evaluate RUN --protocol robustness",
    ),
    "verifications": Family(
        "how pairs are scored and told apart",
        "hypersphere.evaluation.thresholds:PROTOCOLS",
        "evaluation.verify(protocol=NAME)",
    ),
    "fusions": Family(
        "how views of an image are joined", "hypersphere.evaluation.embeddings:FUSIONS", "evaluation.fuse_flips(how)"
    ),
    "backends": Family(
        "how neighbours are searched", "hypersphere.evaluation.search:BACKENDS", "evaluation.search(backend=NAME)"
    ),
    "distractors": Family(
        "what is drawn where no images of others are",
        "hypersphere.training.identification:SYNTHETIC",
        "hypersphere evaluate RUN --protocol identification --distractors NAME:N",
    ),
    "formats": Family(
        "how a model is exported", "hypersphere.training.export:FORMATS", "hypersphere export RUN --format"
    ),
    "margins": Family("how a head compares classes", "hypersphere.formulas.margins:MARGINS", "--head.margin"),
}


def entries(family: str) -> dict[str, str]:
    """Every name of one family with a line that says what it is.

    Args:
        family: a key of `FAMILIES`.

    Returns:
        Names, in the order of their table, and one line each.

    Raises:
        ValueError: if there is no such family.
        ImportError: if the family needs an extra that is not installed.

    Example:
        >>> list(entries("distances"))
        ['euclidean', 'angular']
    """
    module, name = lookup("family", family, FAMILIES).table.split(":")
    table: Mapping[str, object] | Callable[[], Mapping[str, object]]
    table = getattr(importlib.import_module(module), name)
    return {key: _line(entry) for key, entry in (table() if callable(table) else table).items()}


def _line(entry: object) -> str:
    """What an entry is: itself, the text beside its class, its parameters, or the first line of its docstring."""
    if isinstance(entry, str):
        return entry
    if isinstance(entry, tuple):
        return next(part for part in entry if isinstance(part, str))
    if is_dataclass(entry) and fields(entry):
        return str(entry)
    return (entry.__doc__ or "").strip().split("\n")[0]
