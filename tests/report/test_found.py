# SPDX-License-Identifier: MIT
"""Results of a protocol as they lie on disk, whole and damaged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hypersphere.report.found import Found, accept_rates, read_found
from loss_folders import add_identification, add_verification


def test_the_runs_own_data_come_first(tmp_path: Path) -> None:
    add_verification(tmp_path, stem="verification-agedb_30")
    add_verification(tmp_path)
    found, notes = read_found(tmp_path, "verification")
    assert notes == []
    ends = ["", "-common", "-agedb_30", "-agedb_30-common"]
    assert [one.stem for one in found] == [f"verification{end}" for end in ends]
    assert len(found[0].column("scores")) == len(found[0].column("same")) == 400
    assert [point["target"] for point in found[0].entries("tar_at_far")] == [1e-4, 1e-3, 1e-2, 1e-1]


def test_nothing_and_another_protocol(tmp_path: Path) -> None:
    assert read_found(tmp_path, "verification") == ([], [])
    add_identification(tmp_path)
    (tmp_path / "evaluation" / "verification-like.json").write_text('{"protocol": "identification"}')
    assert read_found(tmp_path, "verification") == ([], [])


def test_damage_is_told(tmp_path: Path) -> None:
    add_verification(tmp_path)
    folder = tmp_path / "evaluation"
    (folder / "verification.npz").write_bytes((folder / "verification.npz").read_bytes()[:100])
    (folder / "verification-common.npz").unlink()
    (folder / "verification-a.json").write_text("{")
    (folder / "verification-b.json").write_text("[]")
    found, notes = read_found(tmp_path, "verification")
    assert [one.arrays for one in found] == [{}, {}]
    assert notes[0].startswith("verification.npz could not be read (")
    assert notes[1].startswith("verification-a.json could not be read (")
    assert notes[2:] == [
        "verification-b.json holds no mapping of names to values.",
        "There is no verification-common.npz: curves and scores of verification-common.json cannot be drawn.",
    ]


def test_columns_that_cannot_be_drawn_are_empty() -> None:
    arrays = {"a": np.ones((2, 2)), "b": np.array(["x"]), "c": np.array([1.0, np.nan]), "d": np.array([True, False])}
    found = Found("x", {"rows": ["text", {"a": 1}], "text": "rows"}, arrays)
    assert [len(found.column(name)) for name in ("a", "b", "c", "d", "e")] == [0, 0, 0, 2, 0]
    assert found.entries("rows") == [{"a": 1}]
    assert found.entries("text") == found.entries("missing") == []


def test_people_of_the_training_are_said() -> None:
    seen = Found("x", {"people_in_training": {"num_people": 20, "in_training": 3}})
    told = "3 of the 20 people were classes of the training, so that this says little about strangers."
    assert seen.note == told
    for none in (None, {}, {"num_people": 20, "in_training": 0}):
        assert Found("x", {"people_in_training": none}).note == ""


def test_rates_that_rest_on_no_pair_have_a_star() -> None:
    points = [{"target": 0.1, "tar": 0.75, "resolved": True}, {"target": 1e-4, "tar": 0.5, "resolved": False}]
    titles, rows, told = accept_rates([(["a"], points), (["b"], points[:1])])
    assert titles == ["at 0.0001", "at 0.1"]
    assert rows == [["a", "50.00% *", "75.00%"], ["b", "–", "75.00%"]]
    assert "* The rate is below one false pair of all there are" in told
    assert "*" not in accept_rates([(["b"], points[:1])])[2]
    assert accept_rates([(["c"], [{"target": "low", "tar": 1}])])[:2] == ([], [["c"]])


@pytest.mark.parametrize("protocol", ["verification", "identification"])
def test_archives_run_no_code(tmp_path: Path, protocol: str) -> None:
    (tmp_path / "evaluation").mkdir()
    (tmp_path / "evaluation" / f"{protocol}.json").write_text(f'{{"protocol": "{protocol}"}}')
    np.savez(tmp_path / "evaluation" / f"{protocol}.npz", scores=np.array([print], dtype=object))
    (found,), (note,) = read_found(tmp_path, protocol)
    assert found.arrays == {}
    assert note.startswith(f"{protocol}.npz could not be read (Object arrays cannot be loaded")
