# SPDX-License-Identifier: MIT
"""Two images compared from the command line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from command_line import check_mistake
from face_runs import picture, write_faces_run
from hypersphere.cli import main


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_faces_run(Path("run"))
    picture(Path("a.png"), 0)
    picture(Path("grey.png"), 1, mode="L", size=(20, 12))
    Path("text.png").write_text("no image")


def test_verify_prints_cosine_angle_and_decision(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "run", "a.png", "a.png"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("cosine    1.0000\nangle     0.00 degrees\ndecision  none: no verification of this run has ")
    # a grey image of another size is prepared as in training
    assert main(["verify", "run", "a.png", "grey.png", "--flip", "sum"]) == 0
    told = capsys.readouterr().out
    assert re.match(r"cosine    -?0\.\d{4}\nangle     \d+\.\d\d degrees\ndecision  none: ", told)


def test_the_help_says_what_faces_are_not_for(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("verify", "search"):
        assert main([command, "--help"]) == 0
        assert "nobody should be identified, admitted or refused by it." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("verify run a.png", "the following arguments are required: B (see hypersphere verify --help)"),
        ("verify run a.png nope.png", "verify: there is no file nope.png."),
        (
            "verify run a.png text.png",
            r"verify: 1 of 2 images cannot be used: text\.png: the image cannot be decoded .*",
        ),
        ("verify a.png a.png a.png", "verify: a.png is no run: there is neither config.yaml nor model.json in it."),
        ("verify run a.png a.png --flip x", r"verify: unknown flip 'x': choose concat, none, sum"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(capsys: pytest.CaptureFixture[str], words: str, line: str) -> None:
    check_mistake(capsys, words, line)
