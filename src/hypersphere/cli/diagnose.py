# SPDX-License-Identifier: MIT
"""The command `hypersphere diagnose`: the layers of any model, how even and how redundant they are."""

from __future__ import annotations

import math
import os
from pathlib import Path

from hypersphere.cli.command import Arguments, Command, Parser

__all__ = ["COMMAND"]

NOTES = """\
examples:
  hypersphere diagnose runs/digits
  hypersphere diagnose runs/plain runs/mhe                  two models side by side
  hypersphere diagnose model.safetensors --html page.html   with pictures, for a browser
  hypersphere diagnose checkpoint.pth --json layers.json    a PyTorch checkpoint of any model

A checkpoint is opened without running what is inside it; one that would need that is refused, with advice. What the
columns mean is said below the table and in the docs."""


class DiagnoseArguments(Arguments):
    """What `hypersphere diagnose` is told."""

    subjects: list[Path]
    power: float
    distance: str
    half_space: bool
    near: float
    embeddings: bool
    json: Path | None
    html: Path | None


def _add_flags(parser: Parser) -> None:
    parser.add_argument(
        "subjects", metavar="WHAT", nargs="+", type=Path, help="run folder, safetensors file or PyTorch checkpoint"
    )
    parser.add_argument(
        "--power", metavar="S", type=float, default=0.0, help="exponent of the energy; otherwise 0, the logarithm"
    )
    parser.add_argument(
        "--distance", choices=("euclidean", "angular"), default="euclidean", help="otherwise euclidean, the chord"
    )
    parser.add_argument("--half-space", action="store_true", help="a neuron and its opposite count as redundant")
    parser.add_argument(
        "--near", metavar="DEGREES", type=float, default=10.0, help="neurons this close are twins; otherwise 10"
    )
    parser.add_argument("--embeddings", action="store_true", help="count embedding tables as layers")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write all numbers and pairs")
    parser.add_argument("--html", metavar="FILE", type=Path, help="write a page with pictures")


def _run(arguments: DiagnoseArguments) -> int:
    # before torch is loaded: threads that spin while they wait make this ten times slower where cores are shared
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from hypersphere.report.diagnosis import write_diagnosis
    from hypersphere.report.subjects import diagnose_paths, write_json
    from hypersphere.report.terminal import print_diagnosis

    subjects = diagnose_paths(
        arguments.subjects,
        power=arguments.power,
        distance=arguments.distance,
        half_space=arguments.half_space,
        embeddings=arguments.embeddings,
        near_angle=math.radians(arguments.near),
    )
    print_diagnosis(subjects)
    if arguments.json is not None:
        print(f"numbers  {write_json(subjects, arguments.json)}")
    if arguments.html is not None:
        print(f"page     {write_diagnosis(subjects, arguments.html)}")
    return 0


COMMAND = Command(
    "Look at the layers of any model: how even, how redundant.", NOTES, DiagnoseArguments, _add_flags, _run
)
