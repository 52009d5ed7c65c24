# SPDX-License-Identifier: MIT
"""What studies share: runs by the command line, results as lines of JSON that a stopped study goes on from, spreads."""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["append", "command_line", "entries", "hypersphere", "lines_of", "show", "spread", "train"]

RESULTS = Path(__file__).parent / "results"


def command_line(
    doc: str | None, study: str, stages: Sequence[str], names: Sequence[str], kind: str, *, settings: bool = False
) -> argparse.ArgumentParser:
    """What every study takes: a stage, a seed, threads, where runs go, and which of its names (each a `kind`) to do.

    With `settings`, any number of settings of the runs as well.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", choices=stages)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--runs", type=Path, default=Path("runs") / study, help="where run folders go")
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar=kind.upper())
    if settings:
        parser.add_argument("--set", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"), help="a setting")
    return parser


def hypersphere(*words: str) -> str | None:
    """Run the command line in a process of its own; what it said where it failed, or None.

    Raises:
        KeyboardInterrupt: if it was stopped.
    """
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; sys.argv[0] = 'hypersphere'; from hypersphere.cli import main; sys.exit(main())",
            *words,
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 130:
        raise KeyboardInterrupt
    return done.stderr.strip().splitlines()[-1][:300] if done.returncode else None


def train(recipe: str, folder: Path, settings: Mapping[str, Any]) -> tuple[list[str], str | None]:
    """Train, or go on with a run that was stopped; the command that does it at once, and what it said if it failed."""
    flags = [word for name, value in settings.items() for word in (f"--{name}", str(value))]
    resume = ["--resume"] if (folder / "config.yaml").exists() else []
    words = ["train", recipe, "--out", str(folder), "--quiet", *flags]
    return ["hypersphere", *words], hypersphere(*words, *resume)


def entries(study: str) -> list[dict[str, Any]]:
    """All lines of a study so far."""
    path = RESULTS / f"{study}.jsonl"
    return lines_of(path) if path.exists() else []


def lines_of(path: Path) -> list[dict[str, Any]]:
    """A file of JSON lines."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def append(study: str, found: Mapping[str, Any]) -> None:
    """Add a line to a study, and show it."""
    RESULTS.mkdir(exist_ok=True)
    with (RESULTS / f"{study}.jsonl").open("a") as lines:
        lines.write(json.dumps(found) + "\n")
    print({name: value for name, value in found.items() if name != "command"}, flush=True)


def spread(values: list[float], digits: int = 2) -> str:
    """Mean ± standard deviation."""
    if not values:
        return "-"
    deviation = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.{digits}f}{deviation}"


def show(rows: Sequence[Sequence[str]]) -> None:
    """Print a table of Markdown, its heads in the first row."""
    for cells in (rows[0], ["---"] * len(rows[0]), *rows[1:]):
        print("| " + " | ".join(cells) + " |")
