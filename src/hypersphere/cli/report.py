# SPDX-License-Identifier: MIT
"""The command `hypersphere report`: the page of one run, or of several side by side."""

from __future__ import annotations

from pathlib import Path

from hypersphere.cli.command import Arguments, Command, Parser

__all__ = ["COMMAND"]

NOTES = """\
examples:
  hypersphere report runs/digits                            writes runs/digits/report.html again
  hypersphere report runs/digits runs/digits-2              writes comparison.html
  hypersphere report runs/digits runs/digits-2 --out both.html

The page is one file that opens in any browser, without a network."""


class ReportArguments(Arguments):
    """What `hypersphere report` is told."""

    runs: list[Path]
    out: Path | None


def _add_flags(parser: Parser) -> None:
    parser.add_argument("runs", metavar="RUN", nargs="+", type=Path, help="folder of a run")
    parser.add_argument(
        "--out",
        metavar="FILE",
        type=Path,
        help="where to write; otherwise report.html in the run, or comparison.html here",
    )


def _run(arguments: ReportArguments) -> int:
    from hypersphere.report import write_comparison, write_report

    missing = [str(run) for run in arguments.runs if not (run / "config.yaml").exists()]
    if missing:
        raise FileNotFoundError(f"report: not a run, there is no config.yaml in it: {', '.join(missing)}.")
    if len(arguments.runs) == 1:
        print(f"report  {write_report(arguments.runs[0], arguments.out)}")
    else:
        print(f"report  {write_comparison(arguments.runs, arguments.out or Path('comparison.html'))}")
    return 0


COMMAND = Command(
    "Write the page of a run, or one page that compares several.", NOTES, ReportArguments, _add_flags, _run
)
