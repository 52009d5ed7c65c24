# SPDX-License-Identifier: MIT
"""What operators met is part of every run: which images are shown, and that no run fails by it."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch
from torch import Tensor, nn

from hypersphere.data import TensorImages
from hypersphere.report.run import read_run
from hypersphere.training.operators import SHOWN, record_operators
from hypersphere.training.run import evaluate, train
from tiny_runs import digits_config


def images(num: int, side: int) -> TensorImages:
    pixels = torch.zeros(num, 1, side, side, dtype=torch.uint8)
    return TensorImages(pixels, torch.arange(num), [str(number) for number in range(num)], name="blank")


@pytest.mark.parametrize(("num", "side", "shown"), [(1000, 8, SHOWN), (30, 8, 30), (300, 64, 64), (20, 300, 8)])
def test_larger_images_are_fewer(tmp_path: Path, num: int, side: int, shown: int) -> None:
    seen: list[Tensor] = []
    layer = nn.Conv2d(1, 1, 3, stride=8)

    def forward(pixels: Tensor, labels: Tensor) -> None:
        assert pixels[0].numel() * len(pixels) <= max(32 * 32 * 32, side * side)
        seen.append(labels)
        layer(pixels.float())

    assert record_operators(tmp_path, layer, images(num, side), forward, split="test")
    labels = torch.cat(seen)
    assert len(labels) == shown
    # from the first image to the last, as sets may be in the order of their classes
    assert (int(labels[0]), int(labels[-1])) == (0, num - 1)
    assert labels.unique().numel() == shown
    summary = json.loads((tmp_path / "evaluation" / "operators.json").read_text())
    assert (summary["num_samples"], summary["split"], summary["step"]) == (shown, "test", None)


def test_images_that_come_in_their_own_order(tmp_path: Path) -> None:
    class Arriving(TensorImages):
        def subset(self, indices: Any) -> NoReturn:
            raise ValueError("in an order that they bring along")

    stored = images(700, 8)
    assert stored.labels is not None
    arriving = Arriving(stored.images, stored.labels, stored.class_names, name="arriving")
    layer, counts = nn.Conv2d(1, 1, 3), []

    def forward(pixels: Tensor, labels: Tensor) -> None:
        counts.append(len(labels))
        layer(pixels.float())

    assert record_operators(tmp_path, layer, arriving, forward, split="test")
    assert sum(counts) == SHOWN


def test_no_run_is_lost(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def forward(pixels: Tensor, labels: Tensor) -> NoReturn:
        raise MemoryError

    with caplog.at_level(logging.WARNING):
        assert not record_operators(tmp_path, nn.Conv2d(1, 1, 3), images(3, 8), forward, split="test")
    assert f"the operators of {tmp_path} were not measured: MemoryError" in caplog.text
    assert not (tmp_path / "evaluation").exists()
    # nothing to measure is nothing wrong
    caplog.clear()
    assert not record_operators(tmp_path, nn.ReLU(), images(3, 8), lambda pixels, labels: None, split="test")
    assert not caplog.text


def test_a_run_with_operators(tmp_path: Path) -> None:
    arguments = {"width": 4, "operator": "decoupled"}
    arguments |= {"operator_arguments": {"angle": "learned_sigmoid", "magnitude": "learned_ball"}}
    run = tmp_path / "run"
    train(digits_config(**{"model.arguments": arguments}), run, quiet=True)
    rows = read_run(run).evaluations
    names = [f"model.block{block}.{place}.0" for block in (1, 2) for place in (0, 1)]
    assert list(rows[0]["operators"]) == names
    start, end = (row["operators"]["model.block1.0.0"] for row in (rows[0], rows[-1]))
    assert start == pytest.approx({"k_mean": 0.75, "k_std": 0.0, "radius_mean": 1.0, "radius_std": 0.0}, abs=1e-6)
    assert end["k_mean"] != start["k_mean"]
    path = run / "evaluation" / "operators.json"
    written = json.loads(path.read_text())
    assert [row["name"] for row in written["layers"]] == [*names, "model.feature"]
    assert (written["step"], written["num_samples"]) == (7, SHOWN)
    assert written["layers"][0]["learned"]["k"]["mean"] == pytest.approx(end["k_mean"])
    assert written["layers"][0]["unit"] != 1.0
    assert "What the operators did" in (run / "report.html").read_text()
    # evaluation measures the saved model again; its images may lie otherwise in memory, which moves a last digit
    path.unlink()
    evaluate(run)
    again = json.loads(path.read_text())
    for one, other in zip(again["layers"], written["layers"], strict=True):
        for part in ("cosine", "norm", "output"):
            assert one.pop(part) == pytest.approx(other.pop(part), rel=1e-4, abs=1e-6)
    assert again == written


def test_without_learned_values_lines_are_as_they_were(tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(digits_config(), run, quiet=True)
    assert not any("operators" in row for row in read_run(run).evaluations)
    assert (run / "evaluation" / "operators.npz").is_file()
