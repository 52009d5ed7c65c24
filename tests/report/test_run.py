# SPDX-License-Identifier: MIT
"""Tests of report.run: whole folders, unfinished ones, damaged ones."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from hypersphere.report.run import Classification, Run, number, read_run, series


def test_a_finished_run_is_read_whole(folder: Path) -> None:
    run = read_run(folder)
    assert run.notes == []
    assert run.name == "run"
    assert run.last_step == 140
    assert run.setting("optimizer.rate") == 0.1
    assert run.setting("optimizer.colour", "none") == "none"
    assert [row["step"] for row in run.train] == list(range(2, 141, 2))
    assert [row["step"] for row in run.evaluations] == list(range(0, 141, 10))
    assert run.classification is not None
    assert run.classification.features is not None
    assert run.classification.features.dtype == np.float32
    assert run.classification.confusion is not None
    assert run.classification.confusion.sum() == 120
    assert run.classification.class_names == list("0123456789")


def test_an_evaluation_with_new_statistics_is_read_where_there_is_one(folder: Path) -> None:
    assert read_run(folder).recalibrated == {}
    summary = folder / "evaluation" / "classification-recalibrated.json"
    summary.write_text('{"accuracy": 0.875}')
    assert read_run(folder).recalibrated == {"accuracy": 0.875}
    summary.write_text("0.8")
    run = read_run(folder)
    assert run.recalibrated == {}
    assert run.notes == ["classification-recalibrated.json holds no mapping of names to values."]


def test_there_must_be_a_run_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"^report: there is no run folder .*nowhere\.$"):
        read_run(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"is no run folder: expected config\.yaml or metrics\.jsonl in it"):
        read_run(tmp_path)


def test_a_run_that_has_only_begun(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("recipe: digits\n")
    run = read_run(tmp_path)
    assert run.train == run.evaluations == []
    assert run.classification is None
    assert run.last_step == 0
    assert run.notes == [
        "There is no environment.json in the run folder.",
        "There is no metrics.jsonl in the run folder: training has not begun.",
    ]


def test_a_line_cut_off_by_a_kill_is_left_out(folder: Path) -> None:
    metrics = folder / "metrics.jsonl"
    before = len(read_run(folder).train)
    metrics.write_bytes(metrics.read_bytes() + b'{"kind": "train", "step": 142, "lo')
    run = read_run(folder)
    assert len(run.train) == before
    assert run.notes == ["The last line of metrics.jsonl is cut off, as after a kill; it was left out."]


def test_damaged_lines_are_counted(folder: Path) -> None:
    metrics = folder / "metrics.jsonl"
    metrics.write_text("\n".join(["[]", '{"kind": "train"}', "\x00\x00", metrics.read_text()]))
    run = read_run(folder)
    assert run.last_step == 140
    assert run.notes == ["metrics.jsonl: 3 unreadable lines were left out (line 1, 2, 3)."]


def test_a_step_written_again_after_resume_counts_once(folder: Path) -> None:
    with open(folder / "metrics.jsonl", "a") as file:
        file.write(json.dumps({"kind": "train", "step": 10, "loss": 77.0}) + "\n")
    rows = [row for row in read_run(folder).train if row["step"] == 10]
    assert [row["loss"] for row in rows] == [77.0]


@pytest.mark.parametrize(
    ("name", "content", "note"),
    [
        ("config.yaml", "a: [", "config.yaml could not be read"),
        ("config.yaml", "- 1\n", "config.yaml holds no mapping"),
        ("environment.json", "{", "environment.json could not be read"),
        ("evaluation/classification.npz", "no archive", "classification.npz could not be read"),
    ],
)
def test_a_damaged_file_becomes_a_note(folder: Path, name: str, content: str, note: str) -> None:
    (folder / name).write_text(content)
    assert [note in found for found in read_run(folder).notes] == [True]


def test_arrays_that_do_not_fit_together_are_left_out(folder: Path) -> None:
    path = folder / "evaluation" / "classification.npz"
    with np.load(path) as stored:
        arrays = dict(stored)
    arrays["predictions"] = arrays["predictions"][:-1]
    arrays["class_vectors"] = arrays["class_vectors"][:, :2]
    arrays["confusion"] = arrays["confusion"][:, :4]
    np.savez(path, **arrays)
    run = read_run(folder)
    assert run.classification is not None
    assert run.classification.features is not None
    assert run.classification.predictions is run.classification.class_vectors is run.classification.confusion is None
    assert run.notes == ["classification.npz: class_vectors, confusion, predictions do not fit and were left out."]


def test_images_without_a_class_are_said_and_cost_no_array(folder: Path) -> None:
    path = folder / "evaluation" / "classification.npz"
    with np.load(path) as stored:
        arrays = dict(stored)
    arrays["predictions"][:3] = -1
    np.savez(path, **arrays)
    run = read_run(folder)
    assert run.classification is not None
    assert run.classification.predictions is not None
    assert ["gave 3 of" in note for note in run.notes] == [True]


def test_missing_archive(folder: Path) -> None:
    (folder / "evaluation" / "classification.npz").unlink()
    run = read_run(folder)
    assert run.classification is not None
    assert run.classification.features is None
    assert run.notes == ["There is no classification.npz: features and predictions cannot be drawn."]


def test_class_names_cover_every_class_that_occurs() -> None:
    found = Classification({"class_names": ["cat"]}, labels=np.array([0, 2]), confusion=np.zeros((4, 4), dtype=int))
    assert found.class_names == ["cat", "1", "2", "3"]


@pytest.mark.parametrize(
    ("features", "expected"),
    [
        (None, False),
        (np.zeros((3, 2), dtype=np.float32), False),
        (np.ones((3, 1), dtype=np.float32), False),
        (np.ones((3, 2), dtype=np.float32), True),
        (np.full((3, 2), np.nan, dtype=np.float32), False),
        (np.ones((0, 2), dtype=np.float32), False),
    ],
)
def test_has_directions(features: np.ndarray | None, expected: bool) -> None:
    assert Classification({}, features=features).has_directions is expected


def test_numbers_that_are_none_or_no_numbers_are_nan() -> None:
    assert number({"loss": 2}, "loss") == 2.0
    for row in ({"loss": None}, {"loss": "2"}, {"loss": True}, {}, {"loss": [1]}):
        assert math.isnan(number(row, "loss"))
    assert math.isnan(number({"terms": 3.0}, "terms", "energy"))


def test_a_series_leaves_out_what_is_not_finite() -> None:
    rows = [
        {"step": 1, "loss": 1.0},
        {"step": 2, "loss": float("nan")},
        {"step": 3, "loss": None},
        {"step": 4, "loss": 4.0},
    ]
    steps, values = series(rows, "loss")
    assert steps.tolist() == [1, 4]
    assert values.tolist() == [1.0, 4.0]


def test_nan_and_infinity_in_metrics_are_read(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"kind": "train", "step": 1, "loss": NaN, "rate": Infinity}\n')
    run = read_run(tmp_path)
    assert math.isnan(run.train[0]["loss"])
    assert len(series(run.train, "rate")[0]) == 0


def test_settings_that_are_null_take_the_default() -> None:
    run = Run(Path("run"), config={"energy": None, "model": {"name": None}})
    assert run.setting("energy.power", 2) == 2
    assert run.setting("model.name", "none") == "none"
