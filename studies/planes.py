# SPDX-License-Identifier: MIT
"""MNIST in two features under six heads: does the room between classes grow with the margin?

    python -m studies.planes run --seed 0     the six recipes mnist-2d-*, as they are
    python -m studies.planes table            accuracy and gaps, mean and deviation over seeds

A run that is in the results already is left out. Figures are drawn from the run folders by docs/figures/planes.py.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from hypersphere.analysis.gaps import class_gaps
from hypersphere.models import load_classifier
from studies.common import append, command_line, entries, lines_of, show, spread, train

STUDY = "planes"
RECIPES = ("softmax", "l-softmax", "sphereface-m1", "sphereface-m2", "sphereface-m3", "sphereface-m4")


def measure(recipe: str, seed: int, settings: dict[str, str], runs: Path, threads: int) -> None:
    """Train once and write a line of results."""
    key = {"recipe": recipe, "seed": seed, "settings": settings}
    if any(key.items() <= line.items() for line in entries(STUDY)):
        return
    folder = runs / f"mnist-2d-{recipe}-{seed}"
    own = {"training.seed": seed, "training.threads": threads} | settings
    words, failure = train(f"mnist-2d-{recipe}", folder, own)
    found: dict[str, Any] = key | {"command": " ".join(words).replace(str(runs), "runs")}
    append(STUDY, found | (outcome(folder) if failure is None else {"failed": failure}))


def outcome(folder: Path) -> dict[str, Any]:
    """Test accuracy, and gaps of test features around the circle, in radians."""
    stored = np.load(folder / "evaluation" / "classification.npz")
    vectors = load_classifier(folder)[0].class_vectors.detach().numpy()
    gaps = class_gaps(stored["features"].astype(np.float64), stored["labels"], vectors)
    around = class_gaps(stored["features"].astype(np.float64), stored["labels"])
    return {
        "accuracy": json.loads((folder / "evaluation" / "classification.json").read_text())["accuracy"],
        "gap": gaps.mean,
        "smallest_gap": gaps.smallest,
        "gap_of_means": around.mean,
        "spread": float(gaps.spreads.mean()),
        "train_objective": lines_of(folder / "metrics.jsonl")[-2]["terms"]["objective"],
    }


def table() -> None:
    """Mean and deviation over seeds; accuracy in percent, angles in radians."""
    rows = [["recipe", "seeds", "test accuracy", "mean gap", "smallest gap", "mean spread"]]
    for recipe in RECIPES:
        good = [line for line in entries(STUDY) if line["recipe"] == recipe and "accuracy" in line]
        accuracy = spread([100 * line["accuracy"] for line in good])
        angles = [spread([line[name] for line in good], 3) for name in ("gap", "smallest_gap", "spread")]
        rows.append([f"mnist-2d-{recipe}", str(len(good)), accuracy, *angles])
    show(rows)


def main() -> None:
    """Read the command line and go."""
    arguments = command_line(__doc__, STUDY, ("run", "table"), RECIPES, "recipe", settings=True).parse_args()
    if arguments.stage == "table":
        table()
        return
    for recipe in arguments.only:
        measure(recipe, arguments.seed, dict(arguments.set), arguments.runs, arguments.threads)


if __name__ == "__main__":
    main()
