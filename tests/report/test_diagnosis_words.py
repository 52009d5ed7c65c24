# SPDX-License-Identifier: MIT
"""Sentences and cells say what the numbers say."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from hypersphere.report.diagnosis_words import (
    COLUMNS,
    degrees,
    percent,
    read_diagnosis,
    read_differences,
    signed,
    table_rows,
)
from hypersphere.report.subjects import Subject, subject


def linear(weight: torch.Tensor) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    layer.weight.data = weight
    return layer


def random_and(change: str = "") -> Subject:
    torch.manual_seed(0)
    weight = torch.randn(30, 40)
    if change == "twins":
        weight[4], weight[9] = weight[2], weight[2] + 0.001 * weight[3]
    elif change == "lean":
        weight += 0.8
    elif change == "flat":
        weight = torch.randn(30, 2) @ torch.randn(2, 40) + 0.05 * weight
    elif change == "broken":
        weight[1], weight[5, 0], weight[6, 3] = 0, math.nan, math.inf
    elif change == "even":
        weight = torch.eye(30, 40) - 1 / 30 * torch.ones(30, 40) * (torch.arange(40) < 30)
    return subject(change or "plain", nn.Sequential(linear(weight)))


def words(change: str = "") -> str:
    return "\n".join(read_diagnosis(random_and(change).diagnosis))


def test_numbers_as_text() -> None:
    assert [degrees(math.radians(value)) for value in (90.04, 1, 0.5, 0.001, 0)] == [
        "90.0°",
        "1.0°",
        "0.50°",
        "< 0.01°",
        "0.0°",
    ]
    assert [signed(value) for value in (1.26, -3, 12345.6, None)] == ["+1.3", "−3.0", "+12 346", "n/a"]
    assert [percent(value) for value in (0.256, -0.01, 92.55, None)] == ["26%", "−1%", "9 255%", "n/a"]


def test_chance_is_called_chance() -> None:
    text = words()
    assert "No two neurons of a layer lie within 10.0° of the same direction. The closest are " in text
    assert "Against random directions 0 of 1 layers are spread less evenly, 0 more evenly, and 1 cannot be told" in text


def test_twins_are_counted_and_named() -> None:
    text = words("twins")
    assert text.startswith("2 of 30 neurons (6.7%) could be left out if every group of twins, neurons within 10.0° of ")
    assert "The most redundant layer is `0`: 2 of its 30 neurons are spare, the largest group of twins has 3." in text
    assert "Closest of all are neurons 2 and 4 of `0`, 0.0° apart, where chance would leave" in text
    assert "whatever one answers, the other does too." in text


def test_layers_that_chance_does_not_make() -> None:
    lean = words("lean")
    assert "Layer `0` is spread least evenly for its size: +" in lean
    # all share a vector of length 0.8 sqrt(D): cosines near 0.64 / 1.64
    middle = float(lean.split("half of its pairs are closer than ")[1].split("°")[0])
    assert middle == pytest.approx(math.degrees(math.acos(0.64 / 1.64)), abs=2.5)
    assert "Layer `0` is spread most evenly for its size: −" in words("even")
    assert "of 30 directions that they could span (effective rank)." in words("flat")


def test_broken_neurons_are_told() -> None:
    text = words("broken")
    assert "Left out of all else, because they are zero: 1 neurons, 1 in `0`." in text
    assert "Left out of all else, because they are not finite: 2 neurons, 2 in `0`." in text
    empty = subject("x", nn.Sequential(linear(torch.zeros(3, 3))))
    assert read_diagnosis(empty.diagnosis) == [
        "There is no layer with two neurons that have a direction, so there is nothing to measure."
    ]


def test_estimates_are_told() -> None:
    found = subject("x", nn.Sequential(nn.Linear(8, 300)), max_pairs=10_000)
    assert read_diagnosis(found.diagnosis)[-1] == "Estimated from a fixed draw of its neurons, for its size: `0`."
    (row,) = table_rows([found])
    assert row[2].startswith("≈ ")


def test_a_cell_holds_both_models_where_they_differ() -> None:
    (row,) = table_rows([random_and(), random_and("twins")])
    cells = dict(zip(["layer", *(heading for heading, _, _ in COLUMNS)], row, strict=True))
    assert (cells["layer"], cells["neurons × dim"], cells["twins"]) == ("0", "30 × 40", "0 → 3")
    assert " → " in cells["energy"]
    other = subject("other", nn.Linear(4, 3))
    assert table_rows([random_and(), other])[0][1] == "30 × 40 → –"


def test_what_has_no_number_is_not_available() -> None:
    (row,) = table_rows([subject("x", nn.Linear(4, 6), power=2.0)])
    assert row[4] == "n/a"


@pytest.mark.parametrize(("first", "second", "count"), [("twins", "", 1), ("", "twins", 0)])
def test_differences(first: str, second: str, count: int) -> None:
    sentences = read_differences([random_and(first), random_and(second)])
    names = first or "plain", second or "plain"
    spare = {"twins": 2, "": 0}
    assert sentences[0] == f"Spare neurons: {spare[first]} in `{names[0]}`, {spare[second]} in `{names[1]}`."
    assert sentences[1] == f"`{names[1]}` is spread more evenly in {count} of 1 layers they have in common."
    assert sentences[2].startswith("They differ most in `0`: ")
    assert read_differences([random_and(), subject("other", nn.Linear(4, 3))]) == [
        "`plain` and `other` have no layer of the same name, so nothing compares."
    ]
