# SPDX-License-Identifier: MIT
"""Figures of operators: bins taken together, rows with their marks, and what legends hold."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hypersphere.report.operator_figures import Ridge, course_figure, merge_bins, ridge_figure, sizes_figure
from hypersphere.report.theme import encode


@pytest.mark.parametrize("width", [1, 3, 5, 7, 9])
def test_merged_bins_keep_the_middle_in_the_middle(width: int) -> None:
    edges = np.linspace(-1, 1, 402)
    counts = np.random.default_rng(0).integers(0, 9, 401)
    wide, merged = merge_bins(edges, counts, width)
    assert merged.sum() == counts.sum()
    assert len(wide) == len(merged) + 1
    np.testing.assert_allclose(wide, -wide[::-1], atol=1e-12)
    assert wide[(wide > 0).argmax()] == pytest.approx(width / 401)


def test_rows_are_as_tall_as_each_other_and_keep_their_shape() -> None:
    edges = np.array([0.0, 1.0, 3.0])
    rows = [Ridge("a", edges, np.array([1, 1]), "told"), Ridge("b", edges, np.array([0, 500]), mark=2.0)]
    figure = ridge_figure(rows, "x", (0.0, 3.0), lines=[(1.0, "start")], marks="mean")
    first, second, dots = figure["data"]
    # the same count in a bin twice as wide is half as dense
    np.testing.assert_allclose(first["y"], [0, -0.84, -0.84, -0.42, -0.42, 0])
    np.testing.assert_allclose(first["x"], [0, 0, 1, 1, 3, 3])
    np.testing.assert_allclose(second["y"], [1, 1, 1, 0.16, 0.16, 1])
    assert (dots["x"], dots["y"]) == ([2.0], [1])
    assert [note["text"] for note in figure["layout"]["annotations"]] == ["told", "start"]
    assert figure["layout"]["shapes"][0]["x0"] == 1.0
    assert figure["layout"]["yaxis"]["ticktext"] == ["a", "b"]


def test_a_logarithmic_axis_has_densities_of_its_own() -> None:
    edges = np.array([0.1, 1.0, 10.0])
    rows = [Ridge("a", edges, np.array([1, 1]), span=(0.5, 2.0, 1.0)), Ridge("b", edges, np.zeros(2))]
    figure = ridge_figure(rows, "x", (0.1, 10.0), log=True, lines=[(0.1, "eps")], span="radius")
    np.testing.assert_allclose(figure["data"][0]["y"], [0, -0.84, -0.84, -0.84, -0.84, 0])
    assert figure["layout"]["xaxis"]["range"] == [-1.0, 1.0]
    assert figure["layout"]["annotations"][0]["x"] == -1.0
    assert [trace["name"] for trace in figure["data"] if trace.get("showlegend")] == ["radius"]
    assert "NaN" not in encode(figure)


def test_outlines_of_chance_stand_in_the_legend_once() -> None:
    edges = np.linspace(-1, 1, 4)
    rows = [Ridge(name, edges, np.ones(3), chance=np.array([0.0, 1.0, 0.0])) for name in ("a", "<b>")]
    figure = ridge_figure(rows, "x", (-1.0, 1.0), chance="random directions")
    assert [trace["name"] for trace in figure["data"] if trace["showlegend"]] == ["random directions"]
    assert figure["layout"]["yaxis"]["ticktext"][1] == "&lt;b&gt;"


def test_courses_go_from_orange_to_blue() -> None:
    curves = [(str(place), np.arange(3), np.ones(3) * place) for place in range(13)]
    figure = course_figure(curves, "k", 0.75)
    colors = [trace["line"]["color"] for trace in figure["data"]]
    assert (colors[0], colors[-1]) == ("rgb(230, 159, 0)", "rgb(0, 114, 178)")
    assert figure["layout"]["shapes"][0]["y0"] == 0.75
    assert not figure["layout"]["showlegend"]
    assert course_figure(curves[:2], "k", math.nan)["layout"]["showlegend"]
    assert course_figure(curves[:1], "k", math.nan)["layout"]["shapes"] == []


def test_sizes_of_several_runs() -> None:
    runs = [("one", "#000000", {"a": 0.1, "b": 0.2}), ("two", "#ffffff", {"b": 0.3})]
    figure = sizes_figure(runs, {"a": 0.05, "b": math.nan}, "size", words="random directions")
    chance, one, two = figure["data"]
    np.testing.assert_allclose(chance["x"][:2], [0.05, 0.05])
    assert (one["x"], two["x"]) == ([0.1, 0.2], [0.3])
    assert two["y"][0] > 1 > one["y"][1]
    assert "NaN" not in encode(figure)
