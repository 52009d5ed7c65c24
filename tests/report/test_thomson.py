# SPDX-License-Identifier: MIT
"""Tests of report.thomson: printed lines, whole files that agree with them, and what happens without the extra."""

from __future__ import annotations

import io
import json
import math
import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from figures import sentences, titles
from hypersphere.analysis.thomson import Configuration, thomson
from hypersphere.functional import hyperspherical_energy
from hypersphere.report import page as page_module
from hypersphere.report import thomson as module
from hypersphere.report.thomson import Watch, check_free, lines, numbers, points_page, write_points


@pytest.fixture(scope="module")
def found() -> Configuration:
    return thomson(12, starts=2)


class Terminal(io.StringIO):
    """A stream that a person watches."""

    def isatty(self) -> bool:
        return True


def test_lines_say_all(found: Configuration) -> None:
    told = lines(found)
    assert told[:4] == [
        "12 points on the sphere",
        "energy          euclidean distance, power 1",
        "sum over pairs  49.165253058",
        "mean energy     0.744928076631",
    ]
    assert told[4] == "lowest possible 49.165253058"
    assert told[5].startswith("gap             ")
    assert told[6] == "random          66.000000000 on average"
    assert re.fullmatch(r"smallest angle  63\.4349\d\d degrees", told[7])
    assert "\n".join(told).isascii()
    assert told[9] == "starts          2 of 2 ended here, seed 0"


def test_what_is_known_is_called_by_its_name() -> None:
    assert any(line.startswith("best known      106.050404829") for line in lines(thomson(17, starts=1)))
    unknown = lines(thomson(7, 5, starts=1))
    assert "7 points on the sphere in 5 dimensions" in unknown
    assert "best known      none in the tables" in unknown
    lone = thomson(4, power=2.0, half_space=True, starts=1)
    assert "energy          euclidean distance, power 2, half space" in lines(lone)
    assert "random          infinite on average" not in lines(lone)
    assert "random          infinite" in lines(lone)
    assert numbers(lone)["random_sum"] is None
    assert not numbers(lone)["known_is_proven"]
    frame = thomson(3, half_space=True, distance="angular", starts=1)
    assert numbers(frame)["known_is_proven"]
    assert lines(thomson(1, half_space=True))[0] == "1 line in 3 dimensions"


def test_files_agree_with_what_was_found(found: Configuration, tmp_path: Path) -> None:
    written = write_points(found, tmp_path / "a" / "b")
    assert sorted(entry.name for entry in (tmp_path / "a" / "b").iterdir()) == [
        "points.csv", "points.html", "thomson.json",
    ]  # fmt: skip
    read = np.loadtxt(written.coordinates, delimiter=",", skiprows=1)
    assert written.coordinates.read_text().startswith("x1,x2,x3\n")
    assert np.array_equal(read, found.points.numpy())
    kept = json.loads(written.numbers.read_text())
    assert kept == numbers(found) | {"coordinates": "points.csv"}
    again = hyperspherical_energy(found.points.new_tensor(read), power=kept["power"], reduction="sum") / 2
    assert again.item() == pytest.approx(kept["sum_over_pairs"], rel=1e-14)
    assert kept["smallest_angle_degrees"] == pytest.approx(math.degrees(found.smallest_angle))
    text = written.picture.read_text() if written.picture else ""
    assert "<h1>12 points on the sphere</h1>" in text
    assert "coordinates and numbers lie beside this file" in text
    # every number that is printed is on the page and, to its digits, among the numbers
    for line in lines(found)[2:4]:
        assert line[16:] in text


def test_nothing_is_written_over(found: Configuration, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(FileExistsError, match=r"exists already\. Give another --out\."):
        write_points(found, tmp_path)
    with pytest.raises(FileExistsError, match=r"mine\.txt is a file, not a folder\. Give another --out\."):
        check_free(tmp_path / "mine.txt")
    with pytest.raises(PermissionError, match=r"cannot be made: .*mine\.txt is no folder one may write to"):
        check_free(tmp_path / "mine.txt" / "below")
    assert [entry.name for entry in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_refused_early(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError, match="cannot be made"):
        check_free(tmp_path / "new")


def test_without_plotly_coordinates_are_kept(
    found: Configuration, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page_module._plotly.cache_clear()
    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    written = write_points(found, tmp_path / "out")
    page_module._plotly.cache_clear()
    assert written.picture is None
    assert written.why_no_picture == 'report: plotly is not installed: run pip install "hypersphere[report]".'
    assert sorted(entry.name for entry in (tmp_path / "out").iterdir()) == ["points.csv", "thomson.json"]


def test_an_interrupted_write_leaves_whole_files(
    found: Configuration, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module.Page, "render", stop)
    with pytest.raises(KeyboardInterrupt):
        write_points(found, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("how", "shown"),
    [
        ({"num_points": 5, "dim": 2}, ["Points on the circle", "Angles of all pairs"]),
        ({"num_points": 5, "dim": 3}, ["Points on the sphere", "Angles of all pairs"]),
        ({"num_points": 9, "dim": 4}, ["Angles of all pairs", "Cosines of all pairs"]),
    ],
)
def test_each_dimension_has_its_figures(how: dict, shown: list[str]) -> None:
    page = points_page(thomson(**how, starts=1))
    assert titles(page.sections[0].blocks) == shown


def test_one_line_has_no_angles() -> None:
    page = points_page(thomson(1, half_space=True, starts=1))
    assert sentences(page.sections[0].blocks) == ["One line has no angle to another."]


def test_progress_is_a_line_a_start_in_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    watch = Watch(2)
    found = thomson(5, starts=2, progress=watch)
    watch.finish()
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith(f"start 1 of 2: mean energy {found.energy:.9g} after ")
    assert second.startswith(f"start 2 of 2: mean energy {found.energy:.9g} after ")


def test_progress_is_one_changing_line_at_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter(range(100))
    monkeypatch.setattr(module.time, "monotonic", lambda: next(now))
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    watch = Watch(3)
    for evaluation in range(1, 7):
        watch(0, evaluation, 1.0 / evaluation)
    watch.finish()
    told = stream.getvalue()
    # a second an evaluation, 300 and more of them in each of three starts
    assert "this many points take long: expect 15 min 0 s or more; Ctrl-C stops, and keeps nothing\n" in told
    assert "\r\x1b[2Kstart 1 of 3: mean energy 0.5 after 2 evaluations" in told
    assert told.endswith("\r\x1b[2K")
