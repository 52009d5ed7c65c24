# SPDX-License-Identifier: MIT
"""Tests of report.gram."""

from __future__ import annotations

import numpy as np
import pytest

from figures import checked
from hypersphere.report.gram import gram_figure

GRAM = np.array([[1.0, 0.5], [0.5, 1.0]], dtype=np.float32)
NUMBERS = np.array([4, 2])


def test_the_diagonal_is_blank_and_colours_reach_the_rest() -> None:
    figure = checked(gram_figure([("", GRAM, NUMBERS)]))
    (trace,) = figure["data"]
    assert np.isnan(trace["z"].diagonal()).all()
    assert trace["x"] == ["neuron 4", "neuron 2"]
    assert (figure["layout"]["coloraxis"]["cmin"], figure["layout"]["coloraxis"]["cmax"]) == (-0.5, 0.5)
    assert figure["layout"]["annotations"] == []


@pytest.mark.parametrize("count", [2, 3, 5])
def test_runs_share_one_scale(count: int) -> None:
    maps = [(f"<run {place}>", GRAM * (place + 1) / count, NUMBERS) for place in range(count)]
    figure = checked(gram_figure(maps))
    assert len(figure["data"]) == count
    assert {trace["coloraxis"] for trace in figure["data"]} == {"coloraxis"}
    assert figure["layout"]["coloraxis"]["cmax"] == pytest.approx(0.5)
    assert figure["layout"]["annotations"][0]["text"] == "&lt;run 0&gt;"
    cells = [(*figure["layout"][f"xaxis{n or ''}"]["domain"], *figure["layout"][f"yaxis{n or ''}"]["domain"])
             for n in (0, *range(2, count + 1))]  # fmt: skip
    assert len(set(cells)) == count
    assert all(0 <= low < high <= 1 + 1e-9 for cell in cells for low, high in (cell[:2], cell[2:]))


def test_orthogonal_neurons_keep_a_scale() -> None:
    assert checked(gram_figure([("", np.eye(3), np.arange(3))]))["layout"]["coloraxis"]["cmax"] == 0.01
