# SPDX-License-Identifier: MIT
"""The command `hypersphere list`: everything that can be chosen by name."""

from __future__ import annotations

from hypersphere.catalogue import FAMILIES, entries
from hypersphere.cli.command import Arguments, Command, Parser

__all__ = ["COMMAND"]

NOTES = """\
examples:
  hypersphere list             everything
  hypersphere list recipes     one family"""


class ListArguments(Arguments):
    """What `hypersphere list` is told."""

    family: str | None


def _add_flags(parser: Parser) -> None:
    parser.add_argument("family", metavar="FAMILY", nargs="?", help="one of " + ", ".join(FAMILIES))


def _run(arguments: ListArguments) -> int:
    wanted = [arguments.family] if arguments.family else [*FAMILIES]
    for number, family in enumerate(wanted):
        lines = entries(family)
        width = max(map(len, lines), default=0)
        print(f"{'' if number == 0 else chr(10)}{family}: {FAMILIES[family].purpose} ({FAMILIES[family].chosen_by})")
        for name, line in lines.items():
            print(f"  {name:<{width}}  {line}")
    return 0


COMMAND = Command("Show everything that can be chosen by name.", NOTES, ListArguments, _add_flags, _run)
