# SPDX-License-Identifier: MIT
"""Tests of report.curves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from figures import checked, names
from hypersphere.report.curves import curve_figure, learning_curves, smooth
from hypersphere.report.run import Run

STEPS = np.arange(100)


def test_curves_of_a_run(run: Run) -> None:
    figures = learning_curves(run)
    assert list(figures) == ["loss", "accuracy", "energy", "rate"]
    for figure in figures.values():
        checked(figure)
    assert names(figures["loss"]) == ["training objective", "test loss"]
    assert names(figures["energy"]) == ["energy"]
    assert figures["loss"]["data"][-1]["y"].tolist() == [row["loss"] for row in run.evaluations]


def test_every_term_has_a_curve_in_words() -> None:
    terms = {"objective": 2.0, "energy": 0.5, "uniformity": 0.2, "orthogonality": 0.1}
    config = {"compression": {"projection": "group"}, "uniformity": {"kind": "gram"}, "orthogonality": "?"}
    run = Run(Path("run"), config=config, train=[{"step": step, "terms": terms} for step in (1, 2)])
    figures = learning_curves(run)
    assert list(figures) == ["loss", "projected energy", "Gram determinant", "orthogonality penalty"]
    assert [checked(figure)["data"][0]["y"].tolist() for figure in figures.values()] == [
        [2.0, 2.0], [0.5, 0.5], [0.2, 0.2], [0.1, 0.1]
    ]  # fmt: skip


def test_every_split_has_a_curve() -> None:
    rows = [{"step": step, "split": split, "accuracy": 0.5} for step in (0, 1) for split in ("validation", "test")]
    figures = learning_curves(Run(Path("run"), evaluations=rows))
    assert list(figures) == ["accuracy"]
    assert names(figures["accuracy"]) == ["validation", "test"]


def test_without_an_objective_the_loss_stands_in() -> None:
    rows = [{"step": step, "loss": 2.0 - step} for step in (0, 1)]
    assert names(learning_curves(Run(Path("run"), train=rows))["loss"]) == ["training loss"]


def test_nothing_recorded() -> None:
    assert learning_curves(Run(Path("run"))) == {}


def test_many_noisy_values_get_a_smooth_line() -> None:
    noise = np.random.default_rng(0).standard_normal(100)
    figure = checked(curve_figure([("a <i>", STEPS, noise, "#000000", False)], "loss"))
    faint, strong = figure["data"]
    assert faint["opacity"] < 0.5
    assert not faint["showlegend"]
    assert strong["y"].std() < 0.8 * noise.std()
    assert names(figure) == ["a &lt;i&gt;"]


@pytest.mark.parametrize(("values", "kind"), [([0.1, 5.0], "log"), ([1.0, 5.0], None), ([0.0, 5.0], None), ([], None)])
def test_a_wide_range_of_losses_is_logarithmic(values: list[float], kind: str | None) -> None:
    curve = ("a", STEPS[: len(values)], np.array(values), "#000000", True)
    assert checked(curve_figure([curve], "loss", log=True))["layout"]["yaxis"].get("type") == kind
    assert "type" not in curve_figure([curve], "loss")["layout"]["yaxis"]


def test_few_values_are_dots_and_empty_curves_are_left_out() -> None:
    few = ("a", STEPS[:3], np.ones(3), "#000000", True)
    empty = ("b", STEPS[:0], np.ones(0), "#000000", True)
    figure = checked(curve_figure([few, empty], "accuracy", tickformat=".0%"))
    assert [trace["mode"] for trace in figure["data"]] == ["lines+markers"]
    assert figure["layout"]["yaxis"]["tickformat"] == ".0%"


@pytest.mark.parametrize("window", [1, 3, 8, 500])
def test_smooth_is_a_mean_of_neighbours(window: int) -> None:
    values = np.random.default_rng(0).standard_normal(30)
    half = min(window, 30) // 2
    expected = [values[max(0, i - half) : i + half + 1].mean() for i in range(30)]
    assert smooth(values, window) == pytest.approx(expected)
