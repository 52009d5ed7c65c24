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
from studies.common import append, command_line, entries, hypersphere, show, spread

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


def rows() -> list[list[str]]:
    """Heads, then a row for each attack and a column for each network and radius: mean and spread over seeds.

    Shares of images that stay right are in percent, medians of the smallest change in units of pixels of [0, 1] (L2)
    and of grey levels (L-inf).
    """
    lines = [line for line in entries(STUDY) if "clean" in line]
    columns = {
        f"{network}, {radius}/255": mine
        for radius in RADII
        for network in NETWORKS
        if (mine := [line for line in lines if (line["network"], line["radius"]) == (network, radius)])
    }

    def row(label: str, part: str | None, name: str, factor: float = 100.0, digits: int = 1) -> list[str]:
        parts = [[line[part] if part else line for line in mine] for mine in columns.values()]
        return [label, *(spread([factor * one[name] for one in some if name in one], digits) for some in parts)]

    found = [["", *columns], ["seed", *(", ".join(str(line["seed"]) for line in mine) for mine in columns.values())]]
    found.append(row("no attack", None, "clean"))
    for part, label in (("own", "{}"), ("transferred", "{}, made on the source")):
        found += [row(label.format(name), part, name) for name in (lines[0][part] if lines else ())]
    found.append(row("smallest change, median, L2", "median", "l2", factor=1.0, digits=3))
    found.append(row("the same, L-inf, of 255", "median", "linf", factor=255.0, digits=2))
    signs = [", ".join("{} of {}".format(*line["signs"]) for line in mine) for mine in columns.values()]
    return [*found, ["signs of masked gradients", *signs]]


def main() -> None:
    """Read the command line and go."""
    parser = command_line(__doc__, STUDY, ("run", "table"), NETWORKS, "network")
    parser.set_defaults(runs=Path("runs") / operators.STUDY)
    arguments = parser.parse_args()
    if arguments.stage == "table":
        if not entries(STUDY):
            sys.exit("studies: nothing is measured yet; run `python -m studies.robustness run` first.")
        show(rows())
        return
    for network in arguments.only:
        for radius in RADII:
            measure(network, radius, arguments.seed, arguments.runs, arguments.threads)


if __name__ == "__main__":
    main()
