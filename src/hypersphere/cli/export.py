# SPDX-License-Identifier: MIT
"""The command `hypersphere export`: the model of a run as one file for use elsewhere."""

from __future__ import annotations

from pathlib import Path

from hypersphere.cli.command import Arguments, Command, Parser

__all__ = ["COMMAND"]

NOTES = """\
examples:
  hypersphere export runs/digits                            writes runs/digits/model.onnx
  hypersphere export runs/digits --format pt2 --out digits.pt2
  hypersphere export runs/faces --features                  the embedding alone

The model in the file takes pixels 0..255 and normalises them itself. It is run on random images before it is kept."""


class ExportArguments(Arguments):
    """What `hypersphere export` is told."""

    run: Path
    format: str
    out: Path | None
    features: bool
    pixels: str
    force: bool


def _add_flags(parser: Parser) -> None:
    parser.add_argument("run", metavar="RUN", type=Path, help="folder of a trained run")
    parser.add_argument("--format", metavar="NAME", default="onnx", help="onnx or pt2; otherwise onnx")
    parser.add_argument("--out", metavar="FILE", type=Path, help="new file; otherwise model.onnx or .pt2 in the run")
    parser.add_argument("--features", action="store_true", help="features alone, without the head")
    parser.add_argument("--pixels", metavar="TYPE", default="uint8", help="uint8 or float32; otherwise uint8")
    parser.add_argument("--force", action="store_true", help="replace a file that is there already")


def _run(arguments: ExportArguments) -> int:
    from hypersphere.training.export import export_run, lines

    found = export_run(
        arguments.run,
        format=arguments.format,
        out=arguments.out,
        features=arguments.features,
        pixels=arguments.pixels,
        replace=arguments.force,
    )
    print("\n".join(lines(found)))
    return 0


COMMAND = Command(
    "Write the model of a run as ONNX or as a PyTorch program, for use elsewhere.",
    NOTES,
    ExportArguments,
    _add_flags,
    _run,
)
