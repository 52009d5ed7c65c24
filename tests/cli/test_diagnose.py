# SPDX-License-Identifier: MIT
"""Diagnosis from the command line: a table, files on request, no code of strangers."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import pytest
import torch

from command_line import Recorder, check_mistake, saved
from hypersphere.cli import main


def test_diagnose_prints_a_table_and_writes_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    for name in ("plain", "other"):
        torch.save({"state_dict": torch.nn.Linear(20, 12).state_dict(prefix="fc.")}, f"{name}.pt")
    assert main(["diagnose", "plain.pt", "--power", "1", "--half-space"]) == 0
    told = capsys.readouterr().out
    assert re.search(r"^ fc +12 × 20 +0\.\d{4} +\d+% ", told, re.MULTILINE)
    assert "Energy: power 1, euclidean distance, half space." in told
    assert "Assumed: axis 0 of a weight counts its neurons" in told
    words = ["diagnose", "plain.pt", "other.pt", "--near", "60", "--json", "both.json", "--html", "both.html"]
    assert main(words) == 0
    told = capsys.readouterr().out
    assert told.startswith("plain.pt → other.pt\n")
    assert told.endswith("numbers  both.json\npage     both.html\n")
    read = json.loads(Path("both.json").read_text())
    assert list(read) == ["plain.pt", "other.pt"]
    assert read["plain.pt"]["near_angle"] == pytest.approx(math.radians(60))
    assert Path("both.html").stat().st_size > 10_000


def test_diagnose_does_not_open_what_could_run_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(torch.nn.Linear(2, 2), "whole.pt")
    assert main(["diagnose", "whole.pt"]) == 2
    told = capsys.readouterr().err
    assert told.startswith("hypersphere: load_weights: whole.pt is not opened: it holds torch.nn.modules.linear.Linear")
    assert told.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("diagnose", "the following arguments are required: WHAT (see hypersphere diagnose --help)"),
        ("diagnose nope.pt", "load_weights: there is no file nope.pt."),
        ("diagnose there", r"diagnose: the run in there has no model\.safetensors yet: it has not finished\."),
        ("diagnose there --distance x", r"argument --distance: invalid choice: 'x' .*"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    recorder: Recorder, capsys: pytest.CaptureFixture[str], words: str, line: str
) -> None:
    saved(Path("there"))
    check_mistake(capsys, words, line)
