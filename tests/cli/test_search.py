# SPDX-License-Identifier: MIT
"""An image looked for from the command line."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from command_line import check_mistake
from face_runs import people, write_faces_run
from hypersphere.cli import main


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_faces_run(Path("run"))
    people(Path("people"))


def test_search_prints_the_nearest_first(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["search", "run", "people", "people/bob/bob_2.png", "--top", "3"]) == 0
    folder = capsys.readouterr().out
    told = folder.splitlines()
    assert told[0] == "1   1.0000  bob  people/bob/bob_2.png"
    assert [line[0] for line in told[1:3]] == ["2", "3"]
    assert told[3:] == ["of 9 images"]
    assert main(["embed", "run", "people", "--out", "x.npy"]) == 0
    capsys.readouterr()
    assert main(["search", "run", "x.npy", "people/bob/bob_2.png", "--top", "3"]) == 0
    assert capsys.readouterr().out == folder


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are text here")
def test_names_of_files_need_not_be_text(capsys: pytest.CaptureFixture[str]) -> None:
    Path("people/bob/bob_2.png").rename(os.fsdecode(b"people/bob/caf\xe9.png"))
    assert main(["search", "run", "people", "people/bob/bob_1.png", "--top", "9"]) == 0
    assert "bob  people/bob/caf\\udce9.png\n" in capsys.readouterr().out
    assert main(["embed", "run", "people", "--out", "x.npy"]) == 0
    assert b"people/bob/caf\xe9.png,bob" in Path("x.csv").read_bytes()
    capsys.readouterr()
    assert main(["search", "run", "x.npy", "people/bob/bob_1.png", "--top", "9"]) == 0
    assert "bob  people/bob/caf\\udce9.png\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("search run people", "the following arguments are required: IMAGE (see hypersphere search --help)"),
        ("search run nope people/bob/bob_2.png", "search: there is no file nope."),
        ("search run people people", "search: expected an image, got the folder people."),
        ("search run people nope.png", "search: there is no file nope.png."),
        ("search run people people/bob/bob_2.png --top 0", "search: top must be a whole number of 1 or more, got 0."),
        ("search people people x", "search: people is no run: there is neither config.yaml nor model.json in it."),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(capsys: pytest.CaptureFixture[str], words: str, line: str) -> None:
    check_mistake(capsys, words, line)
