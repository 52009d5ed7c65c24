# SPDX-License-Identifier: MIT
"""A set of images looked at from the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from command_line import check_mistake
from face_runs import people
from hypersphere.cli import main


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    people(Path("people"))


def test_a_whole_set_is_told_and_fine(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", "people"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("data      people: 9 images, 3 classes (ann, bob, cat)\n")
    assert "\nbroken    none\n" in told


def test_a_broken_image_is_named_and_no_success(capsys: pytest.CaptureFixture[str]) -> None:
    Path("people/bob/bob_1.png").write_text("no image")
    assert main(["data", "check", "people", "--quiet"]) == 2
    printed = capsys.readouterr()
    assert printed.err == ""
    assert "people/bob/bob_1.png" in printed.out


def test_columns_are_handed_on(capsys: pytest.CaptureFixture[str]) -> None:
    Path("list.csv").write_text("photo,who\npeople/ann/ann_0.png,ann\n")
    words = ["data", "check", "list.csv", "--image-column", "photo", "--label-column", "who"]
    assert main(words) == 0
    assert "1 images, 1 classes (ann)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("data check", "the following arguments are required: PATH (see hypersphere data --help)"),
        ("data look people", r"argument check: invalid choice: 'look' .*"),
        ("data check nope/x", "data.name 'nope/x': there is no such folder or file."),
        ("data check digits", r"data set 'digits' has no image files here, .*"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(capsys: pytest.CaptureFixture[str], words: str, line: str) -> None:
    check_mistake(capsys, words, line)
