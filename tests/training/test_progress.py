# SPDX-License-Identifier: MIT
"""A person at a terminal sees a bar with speed and time left; a file gets lines and nothing else."""

from __future__ import annotations

import re
import sys

import pytest

from hypersphere.training.progress import Display


def show(display: Display) -> None:
    with display:
        display.measured(1234.0, 0.5)
        display.advance(5)
        display.say("epoch 1  accuracy [0.9]")


def test_away_from_a_terminal_there_are_only_lines(capsys: pytest.CaptureFixture[str]) -> None:
    show(Display(10))
    written = capsys.readouterr()
    assert written.err == "epoch 1  accuracy [0.9]\n"
    assert written.out == ""


def test_quiet_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    show(Display(10, quiet=True))
    written = capsys.readouterr()
    assert (written.out, written.err) == ("", "")


def test_at_a_terminal_there_is_a_bar_with_speed_loss_and_time_left(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    show(Display(10, step=2))
    written = capsys.readouterr()
    plain = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", written.err)
    assert written.out == ""
    assert "epoch 1  accuracy [0.9]" in plain
    assert "5/10" in plain
    assert "1,234 images/s, loss 0.500" in plain
    assert re.search(r"-:--:--|\d:\d\d:\d\d", plain)
