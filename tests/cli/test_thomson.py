# SPDX-License-Identifier: MIT
"""Points on a sphere from the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from command_line import Recorder, check_mistake, saved
from hypersphere.cli import main


def test_thomson_prints_and_keeps_points(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["thomson", "--points", "5", "--dim", "4", "--power", "2", "--starts", "2", "--seed", "3"]
    assert main(words) == 0
    printed = capsys.readouterr()
    # a simplex: (N - 1)^2 / 4
    assert "\nsum over pairs  4.000000000\n" in printed.out
    assert "\nlowest possible 4.000000000\n" in printed.out
    assert "\nstarts          2 of 2 ended here, seed 3\n" in printed.out
    folder = "runs/thomson-5-4d-power2"
    assert printed.out.endswith(
        f"coordinates     {folder}/points.csv\nnumbers         {folder}/thomson.json\n"
        f"picture         {folder}/points.html\n"
    )
    assert printed.err.count("\n") == 2
    assert main(["thomson", "--points", "2", "--half-space", "--distance", "angular", "--starts", "1"]) == 0
    assert "picture         runs/thomson-2-3d-power1-angular-half/points.html\n" in capsys.readouterr().out
    assert main([*words, "--starts", "1"]) == 0
    assert "numbers         runs/thomson-5-4d-power2-2/thomson.json\n" in capsys.readouterr().out


def test_thomson_stopped_by_a_person_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("hypersphere.report.thomson.Watch.__call__", stop)
    assert main(["thomson", "--points", "5"]) == 130
    assert capsys.readouterr().err == "hypersphere: stopped.\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("thomson", "the following arguments are required: --points (see hypersphere thomson --help)"),
        ("thomson --points x", "argument --points: invalid int value: 'x' (see hypersphere thomson --help)"),
        ("thomson --points 1", "thomson: num_points must be a whole number of 2 or more, got 1."),
        ("thomson --points 3 --power -1", r"thomson: power must lie in \[0, 200\], got -1\."),
        ("thomson --points 90000", r"thomson: expected at most 50000 points .*: that takes days, or gigabytes .*"),
        ("thomson --points 3 --out there", "there exists already. Give another --out."),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    recorder: Recorder, capsys: pytest.CaptureFixture[str], words: str, line: str
) -> None:
    saved(Path("there"))
    check_mistake(capsys, words, line)
