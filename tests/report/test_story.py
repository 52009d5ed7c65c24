# SPDX-License-Identifier: MIT
"""Tests of report.story: whole pages of whole, unfinished and damaged runs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from hypersphere.report import write_report
from hypersphere.report.story import Story, read_story, report_page
from run_folders import write_run


def test_the_page_of_a_finished_run(folder: Path) -> None:
    path = write_report(folder)
    assert path == folder / "report.html"
    assert path.stat().st_size < 6_000_000
    text = path.read_text(encoding="utf-8")
    assert "<h1>digits · run</h1>" in text
    for section in ("learning", "sphere", "mistakes", "evenness", "neurons", "settings"):
        assert f'<section id="{section}">' in text
    assert 'class="card missing"' not in text


def test_the_page_may_lie_elsewhere(folder: Path, tmp_path: Path) -> None:
    assert write_report(folder, tmp_path / "pages" / "one.html").is_file()
    assert not (folder / "report.html").exists()


def test_no_run_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"^report: there is no run folder"):
        write_report(tmp_path / "missing")
    assert list(tmp_path.iterdir()) == []


def test_the_same_run_gives_the_same_page(folder: Path, tmp_path: Path) -> None:
    first = write_report(folder, tmp_path / "first.html").read_bytes()
    assert write_report(folder, tmp_path / "second.html").read_bytes() == first


def test_what_is_measured_once(story: Story) -> None:
    assert story.weights is not None
    assert story.why_no_weights == ""
    assert story.pairs.keys() == {layer.name for layer in story.weights.layers}
    assert {layer.name for layer in story.layers} == {layer.name for layer in story.weights.layers}
    assert story.separation is not None
    assert story.separation.num_classes == 10


@pytest.mark.parametrize(
    "without",
    ["config.yaml", "environment.json", "metrics.jsonl", "model.safetensors", "model.json", "evaluation",
     "evaluation/classification.npz", "evaluation/classification.json"],
)  # fmt: skip
def test_every_part_may_be_missing(folder: Path, without: str) -> None:
    part = folder / without
    shutil.rmtree(part) if part.is_dir() else part.unlink()
    text = write_report(folder).read_text(encoding="utf-8")
    assert 'class="card missing"' in text or 'class="notes"' in text


def test_a_run_still_going_on(folder: Path) -> None:
    shutil.rmtree(folder / "evaluation")
    (folder / "model.safetensors").unlink()
    metrics = folder / "metrics.jsonl"
    metrics.write_bytes(metrics.read_bytes()[:-30])
    page = report_page(read_story(folder))
    assert page.reading[0].startswith("There is no final evaluation yet: the run is going on or was stopped, at step ")
    assert page.notes == ["The last line of metrics.jsonl is cut off, as after a kill; it was left out."]
    text = page.render()
    assert "no model.safetensors in the run folder yet" in text
    assert "has not been evaluated yet" in text


def test_damaged_model(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"broken")
    story = read_story(folder)
    assert story.weights is None
    assert story.why_no_weights.startswith("The model's neurons cannot be shown: ")
    assert "cannot be shown" in report_page(story).render()


def test_metrics_full_of_nan(folder: Path) -> None:
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for row in rows:
        row |= {"loss": None, "accuracy": float("nan"), "rate": float("inf")}
        if row["kind"] == "train":
            row["terms"] = {"objective": None}
        for layer in (row.get("layers") or {}).values():
            layer |= {"energy": None, "smallest_angle": float("nan"), "expected": None, "minimum": None}
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    text = write_report(folder).read_text(encoding="utf-8")
    assert "No step has been recorded yet" in text
    assert "Without a place in the overview" in text


def test_features_of_one_dimension_and_of_none(folder: Path) -> None:
    path = folder / "evaluation" / "classification.npz"
    with np.load(path) as stored:
        arrays = dict(stored)
    arrays |= {"features": arrays["features"][:, :1], "class_vectors": arrays["class_vectors"][:, :1]}
    np.savez(path, **arrays)
    assert "have no angles" in write_report(folder).read_text(encoding="utf-8")
    arrays["features"] = np.full((120, 3), np.nan)
    arrays.pop("class_vectors")
    np.savez(path, **arrays)
    assert "have no angles" in write_report(folder).read_text(encoding="utf-8")


def test_names_from_the_data_cannot_become_markup(tmp_path: Path) -> None:
    evil = ["<img src=x onerror=alert(1)>", "</script><script>alert(2)</script>", "`back`", "a & b"]
    run = write_run(
        tmp_path / "<b>run", classes=evil, num_samples=80, spread=2.0, settings={"recipe": "<i>", "description": "<u>"}
    )
    text = write_report(run).read_text(encoding="utf-8")
    for markup in ("<img src=x", "<script>alert", "<i>", "<u>", "<b>run"):
        assert markup not in text, markup


def test_many_classes_and_large_features(tmp_path: Path) -> None:
    names = [f"class {number}" for number in range(100)]
    run = write_run(tmp_path / "run", classes=names, dim=64, num_samples=6000, spread=2.0, steps=20)
    path = write_report(run)
    assert path.stat().st_size < 8_000_000
    assert "Coloured are 10 of 100 classes" in path.read_text(encoding="utf-8")
