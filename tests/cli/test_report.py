# SPDX-License-Identifier: MIT
"""The report from the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from command_line import Recorder, check_mistake, saved


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("report nope there", "report: not a run, there is no config.yaml in it: nope."),
        ("report", "the following arguments are required: RUN (see hypersphere report --help)"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    recorder: Recorder, capsys: pytest.CaptureFixture[str], words: str, line: str
) -> None:
    saved(Path("there"))
    check_mistake(capsys, words, line)
