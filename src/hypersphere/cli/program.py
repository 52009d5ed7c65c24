# SPDX-License-Identifier: MIT
"""The command `hypersphere`: train, evaluate, report, diagnose, export...; one line on stderr after a mistake."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence
from typing import Any

from hypersphere import __version__
from hypersphere.checks import unknown_name
from hypersphere.cli import data, diagnose, embed, evaluate, export, report, search, thomson, train, verify
from hypersphere.cli import list as listing
from hypersphere.cli.command import Arguments, Command, Parser, divide

__all__ = ["COMMANDS", "main"]

PURPOSE = "Train small image classifiers on the hypersphere and see what their layers did."

FIRST_STEPS = """\
first steps:
  hypersphere train digits                       train the demo, about half a minute
  hypersphere list                               see recipes, models, data sets, energies and margins
  hypersphere report runs/digits runs/digits-2   compare two runs on one page
  hypersphere train --help                       read about every setting"""

COMMANDS: dict[str, Command[Any]] = {
    "train": train.COMMAND,
    "evaluate": evaluate.COMMAND,
    "report": report.COMMAND,
    "embed": embed.COMMAND,
    "verify": verify.COMMAND,
    "search": search.COMMAND,
    "thomson": thomson.COMMAND,
    "diagnose": diagnose.COMMAND,
    "export": export.COMMAND,
    "data": data.COMMAND,
    "list": listing.COMMAND,
}
"""Every command by its name, in the order of the help."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: its words, or None for those of the process.

    Returns:
        The exit code: 0, or 2 after a mistake or a run that diverged or could not write (told in words on stderr) and
        where images were found broken, or 130 after Ctrl-C. With HYPERSPHERE_DEBUG=1 in the environment errors are
        raised instead.
    """
    words = [*(sys.argv[1:] if argv is None else argv)]
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        # names of files that are no text, and signs that the terminal lacks, are shown in other signs
        sys.stdout.reconfigure(errors="backslashreplace")
    arguments = Arguments()
    try:
        if words and not words[0].startswith("-") and words[0] not in COMMANDS:
            raise ValueError(unknown_name("command", words[0], [*COMMANDS]))
        command = COMMANDS.get(words[0]) if words else None
        parser, made = _parser()
        if command is not None:
            arguments = command.arguments(words=words)
            if command.takes_settings:
                words, arguments.settings = divide(words, made[words[0]].flags())
        parser.parse_args(words or ["--help"], arguments)
        code = command.run(arguments) if command is not None else 0
        sys.stdout.flush()
        return code
    except SystemExit as leaving:
        # --help and --version have printed what they have to say
        return int(leaving.code or 0)
    except BrokenPipeError:
        # the reader of a pipe has enough; what is left in the buffer must not complain at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        _explain(_stopped(arguments))
        return 130
    except (ValueError, TypeError, OSError, ImportError, RuntimeError) as error:
        # a run that diverges is a RuntimeError of its own, every other one is a fault of ours
        foreseen = not isinstance(error, RuntimeError) or type(error).__name__ == "Diverged"
        if not foreseen or os.environ.get("HYPERSPHERE_DEBUG", "") not in ("", "0"):
            raise
        _explain(_sentence(error))
        return 2


def _parser() -> tuple[Parser, dict[str, Parser]]:
    """The parser of the whole, and that of each command."""
    layout: dict[str, Any] = {"formatter_class": argparse.RawDescriptionHelpFormatter, "allow_abbrev": False}
    whole = Parser(prog="hypersphere", description=PURPOSE, epilog=FIRST_STEPS, **layout)
    whole.add_argument("--version", action="version", version=f"hypersphere {__version__}")
    commands = whole.add_subparsers(title="commands", required=True)
    made: dict[str, Parser] = {}
    for name, command in COMMANDS.items():
        purpose = command.purpose
        made[name] = commands.add_parser(name, help=purpose, description=purpose, epilog=command.notes, **layout)
        command.add_flags(made[name])
    return whole, made


def _sentence(error: Exception) -> str:
    """What an error says; the system's own errors with their file, not their number."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}." if error.filename else f"{error.strerror}."
    return str(error) or type(error).__name__


def _stopped(arguments: Arguments) -> str:
    if arguments.go_on is None or not arguments.go_on[0].exists():
        return "stopped."
    return f"stopped; go on with: {arguments.go_on[1]}"


def _explain(text: str) -> None:
    print(f"hypersphere: {text}", file=sys.stderr)
