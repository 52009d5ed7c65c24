# SPDX-License-Identifier: MIT
"""What a command of the command line is made of: its flags, its examples, its function."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, NoReturn, TypeVar

__all__ = ["FACES", "Arguments", "Command", "Parser", "divide", "run_folder"]

FACES = """\
Of faces: public sets are news photographs of real people, and errors differ between groups of people. A cosine is a
measurement for research; nobody should be identified, admitted or refused by it."""
"""What a person should know before comparing faces."""


class Arguments(argparse.Namespace):
    """What was typed, in its types; each command reads it as a subclass that names its own flags.

    Attributes:
        words: all of it, as it was typed.
        settings: flags of settings with their values, as they were typed.
        go_on: a file that is there once the work can be taken up again, and the command that does so; None while
            there is nothing to say.
    """

    words: Sequence[str] = ()
    settings: Sequence[str] = ()
    go_on: tuple[Path, str] | None = None


class Parser(argparse.ArgumentParser):
    """A parser whose mistakes are errors like all others, and whose help can go on with text made when asked for."""

    more_help: Callable[[], str] | None = None

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[Any, list[str]]:
        """As of argparse, and words that may be many need not stand side by side: `report a --out page.html b`."""
        many = any(not action.option_strings and action.nargs in ("*", "+") for action in self._actions)
        return super().parse_known_args(self._flags_first(args) if args and many else args, namespace)

    def _flags_first(self, words: Sequence[str]) -> list[str]:
        """The same words, flags with their values before all others; as they are where a value is missing."""
        known = {flag: action for action in self._actions for flag in action.option_strings}
        flags: list[str] = []
        others: list[str] = []
        rest = list(words)
        while rest:
            word = rest.pop(0)
            if word == "--":
                return [*flags, *others, word, *rest]
            (flags if word.startswith("-") and word != "-" else others).append(word)
            if word in known and known[word].nargs != 0:
                if not rest:
                    return list(words)
                flags.append(rest.pop(0))
        return [*flags, *others]

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the usage."""
        raise ValueError(f"{message} (see {self.prog} --help)")

    def format_help(self) -> str:
        """The whole text of --help."""
        return super().format_help() + (f"\n{self.more_help()}\n" if self.more_help else "")

    def flags(self) -> list[str]:
        """Its own flags with two dashes, those that stand for settings left out."""
        known = [flag for action in self._actions for flag in action.option_strings]
        return [flag for flag in known if flag.startswith("--") and "." not in flag]


Typed = TypeVar("Typed", bound=Arguments)


@dataclass(frozen=True)
class Command(Generic[Typed]):
    """One command; a file of this folder makes one, and the table in `program` gives it its name.

    Args:
        purpose: what it does, in one line.
        notes: examples, and what else a person should know; the end of its help.
        arguments: what its flags are read into.
        add_flags: declares them.
        run: does the work and returns the exit code. What it needs beyond the standard library is imported inside, so
            that help appears at once.
        takes_settings: flags that are not its own are settings of a run, `--data.name X`, and are kept in
            `arguments.settings` as they were typed.
    """

    purpose: str
    notes: str
    arguments: type[Typed]
    add_flags: Callable[[Parser], None]
    run: Callable[[Typed], int]
    takes_settings: bool = False


def divide(words: Sequence[str], own: Sequence[str]) -> tuple[list[str], list[str]]:
    """The words of the command itself, and its flags of settings with their values.

    Example:
        >>> divide(["digits", "--training.epochs", "3", "--out", "here"], ["--out"])
        (['digits', '--out', 'here'], ['--training.epochs', '3'])
    """
    command: list[str] = []
    settings: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("--") or word.partition("=")[0] in own:
            command.append(word)
            continue
        settings.append(word)
        # -0.5 is a value, --flag is none
        if "=" not in word and rest and not rest[0].startswith("--"):
            settings.append(rest.pop(0))
    return command, settings


def run_folder(first: Path, *, newest: bool = False) -> Path:
    """`runs/digits`, or the next of `runs/digits-2`, `runs/digits-3`... that is free; `newest`: the last one taken."""
    number, last, folder = 1, first, first
    while folder.exists():
        number, last, folder = number + 1, folder, first.with_name(f"{first.name}-{number + 1}")
    return last if newest else folder
