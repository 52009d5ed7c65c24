# SPDX-License-Identifier: MIT
"""LFW without outside data: SphereFace-4 on the people outside a fold, tested on the pairs of that fold.

    python -m studies.faces run --fold 1       softmax, SphereFace and SphereFace+ with one budget
    python -m studies.faces table              accuracy by both rules, and paired intervals of the differences

A run that is in the results already is left out. The recipes are lfw-softmax, lfw-sphereface and lfw-sphereface-plus.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from hypersphere.evaluation import paired_bootstrap
from studies.common import append, command_line, entries, hypersphere, show, spread, train

STUDY = "faces"
RECIPES = ("lfw-softmax", "lfw-sphereface", "lfw-sphereface-plus")
RULES = {"official": "verification", "common": "verification-common"}


def measure(recipe: str, fold: int, seed: int, settings: dict[str, str], runs: Path, threads: int) -> None:
    """Train and verify once, and write a line of results."""
    key = {"recipe": recipe, "fold": fold, "seed": seed, "settings": settings}
    if any(key.items() <= line.items() for line in entries(STUDY)):
        return
    folder = runs / f"{recipe}-fold{fold}-{seed}"
    own = {"data.without_fold": fold, "training.seed": seed, "training.threads": threads} | settings
    words, failure = train(recipe, folder, own)
    failure = failure or hypersphere("evaluate", str(folder), "--protocol", "verification")
    found: dict[str, Any] = key | {"command": " ".join(words).replace(str(runs), "runs")}
    append(STUDY, found | (outcome(folder) if failure is None else {"failed": failure}))


def outcome(folder: Path) -> dict[str, Any]:
    """Accuracy on the fold by both rules, and which of its pairs were right, as a string of 0 and 1."""
    found: dict[str, Any] = {}
    for rule, stem in RULES.items():
        summary = json.loads((folder / "evaluation" / f"{stem}.json").read_text())
        stored = np.load(folder / "evaluation" / f"{stem}.npz")
        found[rule] = summary["accuracy"]
        found[f"{rule}_area"] = summary["area"]
        found[f"{rule}_right"] = "".join(str(int(right)) for right in stored["correct"])
    return found


def table() -> None:
    """Accuracy in percent over folds; then differences of the pooled pairs with 95 % intervals."""
    good = [line for line in entries(STUDY) if "official" in line]
    rows = [["recipe", "folds", "official", "common", "area (official)"]]
    for recipe in RECIPES:
        mine = [line for line in good if line["recipe"] == recipe]
        cells = [spread([100 * line[name] for line in mine]) for name in ("official", "common", "official_area")]
        rows.append([recipe, ", ".join(str(line["fold"]) for line in mine), *cells])
    show(rows)
    for rule in RULES:
        for first, second in (("lfw-sphereface", "lfw-softmax"), ("lfw-sphereface-plus", "lfw-sphereface")):
            pairs = []
            for recipe in (first, second):
                lines = sorted((line for line in good if line["recipe"] == recipe), key=lambda line: line["fold"])
                pairs.append(np.array([int(c) for line in lines for c in line[f"{rule}_right"]], dtype=bool))
            if len(pairs[0]) and len(pairs[0]) == len(pairs[1]):
                print(f"{rule}: {first} - {second}: {paired_bootstrap(*pairs)}")


def main() -> None:
    """Read the command line and go."""
    parser = command_line(__doc__, STUDY, ("run", "table"), RECIPES, "recipe", settings=True)
    parser.add_argument("--fold", type=int, default=1)
    arguments = parser.parse_args()
    if arguments.stage == "table":
        table()
        return
    for recipe in arguments.only:
        measure(recipe, arguments.fold, arguments.seed, dict(arguments.set), arguments.runs, arguments.threads)


if __name__ == "__main__":
    main()
