# SPDX-License-Identifier: MIT
"""What can be chosen by name, from the command line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from command_line import Recorder, check_mistake, saved
from hypersphere.catalogue import FAMILIES
from hypersphere.cli import main


def test_list_shows_every_family(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    everything = capsys.readouterr().out
    assert re.findall(r"^(\w+):", everything, re.MULTILINE) == list(FAMILIES)
    assert main(["list", "models"]) == 0
    one = capsys.readouterr().out
    assert one in everything
    assert re.search(r"^  cnn9 +CNN-9 of the MHE paper", one, re.MULTILINE)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("list energy", r"unknown family 'energy': choose .* \(did you mean 'energies'\?\)"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    recorder: Recorder, capsys: pytest.CaptureFixture[str], words: str, line: str
) -> None:
    saved(Path("there"))
    check_mistake(capsys, words, line)
