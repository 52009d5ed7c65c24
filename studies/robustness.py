# SPDX-License-Identifier: MIT
"""Attacks on networks of the study of operators that were trained as usual: how many images stay right.

    python -m studies.robustness run --seed 2      trains what has no run folder yet, then attacks at two radii
    python -m studies.robustness table             what was measured

A step that is in the results already is left out. Attacks that are made on another network are made on `SOURCE`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from studies import operators
from studies.common import append, command_line, entries, hypersphere, spread

STUDY = "robustness"
NETWORKS = ("baseline", "cosine", "tanh-without-norm")
SOURCE = "plain-without-norm"
SAMPLES = 500
# radius in grey levels -> what the command is told
RADII = {"8": ["--epsilon", f"{8 / 255:.5f}"], "0.5": ["--epsilon", f"{0.5 / 255:.5f}", "--no-minimum"]}


def folder_of(network: str, seed: int, runs: Path, threads: int) -> Path:
    """The run folder of a network, trained here if it is not there yet."""
    folder, words, failure = operators.trained(network, "run", operators.best_rate(network), seed, runs, threads)
    if failure is not None:
        sys.exit(f"studies: `{' '.join(words)}` failed: {failure}")
    return folder


def measure(network: str, radius: str, seed: int, runs: Path, threads: int) -> None:
    """Attack once and write a line of results."""
    key = {"network": network, "source": SOURCE, "seed": seed, "radius": radius, "samples": SAMPLES}
    if any(key.items() <= line.items() for line in entries(STUDY)):
        return
    folder, source = (folder_of(name, seed, runs, threads) for name in (network, SOURCE))
    words = ["evaluate", str(folder), "--protocol", "robustness", "--source", str(source), "--samples", str(SAMPLES)]
    words += RADII[radius]
    failure = hypersphere(*words)
    found: dict[str, Any] = key | {"command": " ".join(["hypersphere", *words]).replace(str(runs), "runs")}
    append(STUDY, found | (outcome(folder) if failure is None else {"failed": failure}))


def outcome(folder: Path) -> dict[str, Any]:
    """Accuracy under each attack, own and made on the source; medians of the smallest change; signs of masking."""
    summary = json.loads((folder / "evaluation" / "robustness.json").read_text())
    return {
        "clean": summary["clean_accuracy"],
        "own": {one["name"]: one["robust_accuracy"] for one in summary["attacks"]},
        "transferred": {
            one["name"]: one["transfer_accuracy"] for one in summary["attacks"] if "transfer_accuracy" in one
        },
        "median": {norm: sizes["median"] for norm, sizes in summary["minimum"].items()},
        "signs": [summary["num_suspicious"], len(summary["findings"])],
        "source_accuracy": summary["source"]["accuracy"],
    }


def table() -> None:
    """Shares of images that stay right in percent, a column for each network and radius; mean and spread over seeds."""
    columns = {
        (network, radius): [
            line
            for line in entries(STUDY)
            if (line["network"], line["radius"]) == (network, radius) and "clean" in line
        ]
        for radius in RADII
        for network in NETWORKS
    }
    columns = {key: lines for key, lines in columns.items() if lines}
    if not columns:
        sys.exit("studies: nothing is measured yet; run `python -m studies.robustness run` first.")
    heads = [f"{network}, {radius}/255" for network, radius in columns]
    print("| " + " | ".join(["", *heads]) + " |\n|" + " --- |" * (1 + len(columns)))
    first = next(iter(columns.values()))[0]
    names = [(kind, name) for kind in ("own", "transferred") for name in first[kind]]
    rows = {"seeds": [", ".join(str(line["seed"]) for line in lines) for lines in columns.values()]}
    rows["no attack"] = [spread([100 * line["clean"] for line in lines], 1) for lines in columns.values()]
    for kind, name in names:
        label = f"`{name}`" if kind == "own" else f"`{name}` of the source"
        rows[label] = [spread([100 * line[kind][name] for line in lines], 1) for lines in columns.values()]
    for norm, factor, digits, label in (("l2", 1, 3, "median, L2"), ("linf", 255, 2, "median, L-inf, of 255")):
        rows[label] = [
            spread([factor * line["median"][norm] for line in lines if norm in line["median"]], digits)
            for lines in columns.values()
        ]
    rows["signs of masking"] = [
        ", ".join("{} of {}".format(*line["signs"]) for line in lines) for lines in columns.values()
    ]
    for label, cells in rows.items():
        print("| " + " | ".join([label, *cells]) + " |")


def main() -> None:
    """Read the command line and go."""
    parser = command_line(__doc__, STUDY, ("run", "table"), NETWORKS, "network")
    parser.set_defaults(runs=Path("runs") / operators.STUDY)
    arguments = parser.parse_args()
    if arguments.stage == "table":
        table()
        return
    for network in arguments.only:
        for radius in RADII:
            measure(network, radius, arguments.seed, arguments.runs, arguments.threads)


if __name__ == "__main__":
    main()
