# SPDX-License-Identifier: MIT
"""SphereConv and decoupled convolution on CIFAR-10 in a narrow CNN-9: rates tuned alike, then runs, then a table.

    python -m studies.operators tune            four rates for each network, two epochs, a tenth of train held out
    python -m studies.operators run --seed 0    twelve epochs at the best rate of each
    python -m studies.operators table           what was measured

A step that is in the results already is left out, so each command goes on where it was stopped. Widths are an eighth of
SphereNet's (16/24/32), milestones at the published shares of the run, BatchNorm follows with momentum 0.1.
"""

from __future__ import annotations

import collections
import json
import statistics
import sys
from pathlib import Path
from typing import Any

from hypersphere.training.environment import has_bfloat16
from studies.common import append, command_line, entries, lines_of, show, spread, train

STUDY = "operators"
RATES = (5e-4, 1.5e-3, 4.5e-3, 1.35e-2)
EPOCHS = {"tune": 2.0, "run": 12.0}

SETTINGS = {
    "model.arguments.base_width": 16,
    "model.arguments.norm_momentum": 0.1,
    "schedule.unit": "run",
    "schedule.milestones": "[0.53125, 0.84375]",
    "training.recalibrate": 50,
    "training.log_every": 50,
    "training.evaluate_every": 1,
}
# the recipes' bfloat16 is ten times as slow as float32 on a processor that has no instructions for it
if not has_bfloat16():
    SETTINGS["training.precision"] = "float32"
# what the released DCNets do: right angles among unit kernels, kernels brought back to length 1 every 100 steps
DECOUPLED = {
    "model.arguments.norm": "false",
    "orthogonality.kind": "orthonormal",
    "orthogonality.normalized": "true",
    "orthogonality.hidden_weight": 5e-6,
    "optimizer.project_every": 100,
}
# without BatchNorm and without a relative radius there are no running statistics
NOTHING_TO_MEASURE_AGAIN = {"training.recalibrate": 0}
# network -> recipe and what differs from it
NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "baseline": ("cifar10-spherenet-baseline", {}),
    "cosine": ("cifar10-spherenet-cosine", {}),
    "linear": ("cifar10-spherenet-linear", {}),
    "sigmoid": ("cifar10-spherenet-sigmoid", {}),
    "learned-sigmoid": ("cifar10-spherenet-learned-sigmoid", {}),
    "plain-without-norm": ("cifar10-spherenet-baseline", {"model.arguments.norm": "false"} | NOTHING_TO_MEASURE_AGAIN),
} | {
    f"{magnitude}-without-norm": (
        "cifar10-spherenet-cosine",
        DECOUPLED
        | {
            "model.arguments.operator": "decoupled",
            "model.arguments.operator_arguments": f"{{angle: cosine, magnitude: {magnitude}}}",
        }
        | ({} if magnitude in ("ball", "tanh") else NOTHING_TO_MEASURE_AGAIN),
    )
    for magnitude in ("sphere", "ball", "tanh", "linear")
}

# accuracy in percent at the last step of the released log, on CIFAR-10 as here
PUBLISHED = {"baseline": 90.61, "cosine": 91.29, "linear": 91.16, "sigmoid": 91.40, "learned-sigmoid": 91.32}


def measure(network: str, stage: str, rate: float, seed: int, runs: Path, threads: int) -> None:
    """Train once and write a line of results."""
    key = {"network": network, "stage": stage, "rate": rate, "seed": seed}
    if any(key.items() <= line.items() for line in entries(STUDY)):
        return
    folder, words, failure = trained(network, stage, rate, seed, runs, threads)
    found: dict[str, Any] = dict(key) | {"epochs": EPOCHS[stage], "command": " ".join(words).replace(str(runs), "runs")}
    append(STUDY, found | (outcome(folder, stage) if failure is None else {"failed": failure}))


def trained(
    network: str, stage: str, rate: float, seed: int, runs: Path, threads: int
) -> tuple[Path, list[str], str | None]:
    """Train once, or go on with it; the run folder, the command, and what it said if it failed."""
    folder = runs / stage / f"{network}-{rate:g}-{seed}"
    recipe, own = NETWORKS[network]
    settings = SETTINGS | own | {"optimizer.rate": rate, "training.seed": seed, "training.threads": threads}
    settings |= {"training.epochs": EPOCHS[stage], "training.steps": "null"}
    if stage == "tune":
        settings["data.validation"] = 0.1
    return folder, *train(recipe, folder, settings)


def outcome(folder: Path, stage: str) -> dict[str, Any]:
    """The last numbers of a run: held-out accuracy in tuning; test accuracy, recalibrated too, in a final run."""
    lines = lines_of(folder / "metrics.jsonl")
    evaluations = [line for line in lines if line["kind"] == "evaluation"]
    training = [line for line in lines if line["kind"] == "train"]
    speeds = [line["images_per_second"] for line in training]
    found = {
        "accuracy": evaluations[-1]["accuracy"],
        "by_epoch": [round(line["accuracy"], 4) for line in evaluations],
        "train_objective": statistics.fmean(line["terms"]["objective"] for line in training[-5:]),
        "images_per_second": round(statistics.median(speeds)),
        "steps": lines[-1]["step"],
    }
    if stage == "run":
        for name, stem in (("test", "classification"), ("recalibrated", "classification-recalibrated")):
            path = folder / "evaluation" / f"{stem}.json"
            found[name] = json.loads(path.read_text())["accuracy"] if path.is_file() else None
    return found


def best_rate(network: str) -> float:
    """The rate with the best held-out accuracy in tuning."""
    tuned = [line for line in entries(STUDY) if line["network"] == network and line["stage"] == "tune"]
    good = {line["rate"]: line["accuracy"] for line in tuned if "accuracy" in line}
    if not good:
        sys.exit(f"studies: there is no tuning result of {network}; run `python -m studies.operators tune` first.")
    return max(good, key=lambda rate: good[rate])


def rows() -> list[list[str]]:
    """Heads, then a row for each network: mean and spread over seeds, accuracy in percent."""
    heads = ["network", "rate", "seeds", "precision", "test", "recalibrated", "training loss", "after 2 epochs"]
    found = [[*heads, "published, full width and length"]]
    for network in NETWORKS:
        lines = [line for line in entries(STUDY) if line["network"] == network and line["stage"] == "run"]
        good = [line for line in lines if "test" in line]
        failed = f" ({len(lines) - len(good)} failed)" if len(lines) > len(good) else ""
        # the recipes' own is bfloat16
        precisions = ["float32" if "training.precision float32" in line["command"] else "bfloat16" for line in good]
        cells = [network, ", ".join(sorted({f"{line['rate']:g}" for line in lines})), f"{len(good)}{failed}"]
        cells.append(", ".join(f"{number} {name}" for name, number in collections.Counter(precisions).items()))
        for name in ("test", "recalibrated"):
            cells.append(spread([100 * line[name] for line in good if line[name] is not None]))
        cells.append(spread([line["train_objective"] for line in good], digits=3))
        cells.append(spread([100 * line["by_epoch"][2] for line in good], digits=1))
        found.append([*cells, f"{PUBLISHED[network]:.2f}" if network in PUBLISHED else ""])
    return found


def main() -> None:
    """Read the command line and go."""
    arguments = command_line(__doc__, STUDY, ("tune", "run", "table"), list(NETWORKS), "network").parse_args()
    if arguments.stage == "table":
        show(rows())
        return
    for network in arguments.only:
        for rate in RATES if arguments.stage == "tune" else (best_rate(network),):
            measure(network, arguments.stage, rate, arguments.seed, arguments.runs, arguments.threads)


if __name__ == "__main__":
    main()
