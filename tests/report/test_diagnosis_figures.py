# SPDX-License-Identifier: MIT
"""Figures of a diagnosis are figures that plotly draws, with the numbers in the right place."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.integrate
import torch
from torch import nn

from figures import checked, names
from hypersphere.report.diagnosis_figures import angles_figure, chance_of_angles, lengths_figure, places_figure
from hypersphere.report.energies import FARTHEST
from hypersphere.report.subjects import Subject, subject
from hypersphere.report.theme import RUNS


def made(seed: int = 0, lean: float = 0.0) -> Subject:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(27, 20), nn.Linear(20, 50), nn.Linear(2, 3))
    model[0].weight.data += lean
    return subject(f"model <{seed}>", model)


def drawn(*subjects: Subject) -> list[tuple[str, str, list]]:
    return [(one.name, RUNS[place], one.diagnosis.rows) for place, one in enumerate(subjects)]


@pytest.mark.parametrize("dim", [2, 3, 27, 4608])
def test_what_chance_makes_of_angles(dim: int) -> None:
    shares = chance_of_angles(dim)
    assert shares.sum() == pytest.approx(1, rel=1e-12)
    assert shares == pytest.approx(shares[::-1])
    # the two half degrees next to the right angle
    inside = scipy.integrate.quad(lambda t: math.cos(t) ** (dim - 2), 0, math.radians(0.5), epsrel=1e-10)[0]
    whole = math.sqrt(math.pi) * math.exp(math.lgamma((dim - 1) / 2) - math.lgamma(dim / 2))
    assert shares[180] == pytest.approx(inside / whole, rel=1e-5)


def test_places_and_the_band_of_chance() -> None:
    one = made()
    layers = ["0", "1", "2"]
    figure = checked(places_figure(drawn(one), layers))
    band, points = figure["data"]
    row = one.diagnosis.rows[0]
    assert row.position is not None
    assert points["x"][0] == pytest.approx(row.position)
    assert None not in (row.deviation, row.expected, row.lowest)
    width = 3 * row.deviation / (row.expected - row.lowest)  # type: ignore[operator]
    assert (band["x"][0], band["x"][1]) == (pytest.approx(1 - width), pytest.approx(1 + width))
    assert names(figure) == ["what chance does (± 3 standard deviations)"]
    # of 50 neurons in 20 dimensions only a bound is known
    assert [text.endswith(" *") for text in figure["layout"]["yaxis"]["ticktext"]] == [False, True, False]


def test_two_models_are_joined_and_the_farthest_stays_in_the_picture() -> None:
    both = [made(), made(1, lean=2.0)]
    figure = checked(places_figure(drawn(*both), ["0", "1", "2"]))
    assert names(figure) == ["what chance does (± 3 standard deviations)", "model &lt;0&gt;", "model &lt;1&gt;"]
    assert figure["data"][3]["x"][0] == FARTHEST
    assert figure["data"][3]["marker"]["symbol"][0] == "triangle-right"
    assert figure["data"][1]["x"][1] == FARTHEST


def test_angles_are_shares_beside_chance() -> None:
    one, two = made(), made(1)
    figure = checked(
        angles_figure([("a", "#000", one.diagnosis.rows[1]), ("b", "#111", two.diagnosis.rows[1])], math.radians(10))
    )
    assert names(figure) == ["a", "b", "random directions in 20 dimensions"]
    for trace in figure["data"]:
        assert float(np.sum(trace["y"])) == pytest.approx(1, rel=1e-9)
    # 1225 pairs in bars of a degree or more, not in 360 slivers
    assert figure["data"][0]["width"] >= 0.5


def test_lengths_in_medians() -> None:
    figure = checked(lengths_figure(drawn(made()), ["0", "1", "2"]))
    (line,) = figure["data"]
    row = made().diagnosis.rows[0]
    assert None not in (row.norm_min, row.norm_median)
    assert line["x"][0] == pytest.approx(row.norm_min / row.norm_median)  # type: ignore[operator]
    assert figure["layout"]["xaxis"]["type"] == "log"


def test_a_layer_without_numbers_is_left_out() -> None:
    dead = nn.Linear(3, 3)
    dead.weight.data.zero_()
    found = subject("x", nn.Sequential(dead, nn.Linear(3, 4)))
    figure = checked(places_figure(drawn(found), ["0", "1"]))
    assert len(figure["data"][1]["x"]) == 1
    checked(lengths_figure(drawn(found), ["0", "1"]))
