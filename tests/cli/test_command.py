# SPDX-License-Identifier: MIT
"""What commands are made of: words divided between a command and settings, folders for results."""

from __future__ import annotations

from pathlib import Path

import pytest

from hypersphere.cli.command import Parser, divide, run_folder


@pytest.mark.parametrize(
    ("words", "command", "settings"),
    [
        ("digits --out here", "digits --out here", ""),
        ("--training.epochs 3 digits", "digits", "--training.epochs 3"),
        ("digits --energy.power=2 --resume", "digits --resume", "--energy.power=2"),
        # a negative number is a value, the next flag is none
        ("--optimizer.rate -0.5 digits", "digits", "--optimizer.rate -0.5"),
        ("--data.flip --out here", "--out here", "--data.flip"),
        ("digits -h", "digits -h", ""),
    ],
)
def test_words_are_divided_between_command_and_settings(words: str, command: str, settings: str) -> None:
    own, rest = divide(words.split(), ["--out", "--resume", "--help"])
    assert (own, rest) == (command.split(), settings.split())


def test_flags_of_settings_are_not_the_parsers_own() -> None:
    parser = Parser(prog="hypersphere try")
    parser.add_argument("run")
    parser.add_argument("-o", "--out")
    parser.add_argument("--data.name")
    assert parser.flags() == ["--help", "--out"]


def test_a_wrong_flag_is_an_error_with_advice() -> None:
    parser = Parser(prog="hypersphere try")
    with pytest.raises(ValueError, match=r"^unrecognized arguments: --x \(see hypersphere try --help\)$"):
        parser.parse_args(["--x"])


@pytest.mark.parametrize(
    "words", ["a b --out x --quiet", "--out x a --quiet b", "a --out=x b --quiet", "a --quiet --out x -- b"]
)
def test_words_that_may_be_many_need_not_stand_side_by_side(words: str) -> None:
    parser = Parser(prog="hypersphere try", allow_abbrev=False)
    parser.add_argument("run")
    parser.add_argument("images", nargs="*")
    parser.add_argument("--out")
    parser.add_argument("--quiet", action="store_true")
    found = parser.parse_args(words.split())
    assert (found.run, found.images, found.out, found.quiet) == ("a", ["b"], "x", True)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("a b --out", "argument --out: expected one argument"),
        ("a --out --quiet b", "argument --out: expected one argument"),
        ("a -x b", "unrecognized arguments: -x"),
    ],
)
def test_a_missing_value_is_not_taken_from_elsewhere(words: str, told: str) -> None:
    parser = Parser(prog="hypersphere try", allow_abbrev=False)
    parser.add_argument("images", nargs="+")
    parser.add_argument("--out")
    parser.add_argument("--quiet", action="store_true")
    with pytest.raises(ValueError, match=f"^{told} "):
        parser.parse_args(words.split())


def test_help_can_go_on() -> None:
    parser = Parser(prog="hypersphere try")
    parser.more_help = lambda: "and more"
    assert parser.format_help().endswith("\nand more\n")


def test_a_result_gets_the_next_free_folder(tmp_path: Path) -> None:
    first = tmp_path / "digits"
    for expected in ("digits", "digits-2", "digits-3"):
        assert run_folder(first) == tmp_path / expected
        (tmp_path / expected).mkdir()
    assert run_folder(first, newest=True) == tmp_path / "digits-3"
