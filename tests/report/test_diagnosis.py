# SPDX-License-Identifier: MIT
"""The page of a diagnosis: which sections it has, what it names, and that every figure is one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from figures import leaves, sentences, titles
from hypersphere.report.diagnosis import diagnosis_page, write_diagnosis
from hypersphere.report.page import Choice, Details, Figure, Page, Pictures, Table
from hypersphere.report.subjects import Subject, subject


def made(name: str = "mine", *, seed: int = 0, twins: bool = True) -> Subject:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Conv2d(3, 16, 5), nn.Conv2d(16, 12, 3, groups=2), nn.Flatten(), nn.Linear(12, 120))
    if twins:
        with torch.no_grad():
            model[0].weight[3] = model[0].weight[7]
            model[1].weight[8] = model[1].weight[10] * 2
            model[1].weight[0] = 0
    return subject(name, model)


def section(page: Page, name: str) -> list:
    return next(list(part.blocks) for part in page.sections if part.name == name)


def test_one_model() -> None:
    page = diagnosis_page([made()])
    assert [part.name for part in page.sections] == [
        "evenness", "twins", "angles", "lengths", "filters", "numbers", "rest",
    ]  # fmt: skip
    assert dict(page.headline)["spare neurons"] == "2"
    assert dict(page.headline)["layers"] == "3"
    every = [block for part in page.sections for block in leaves(list(part.blocks))]
    assert titles(every)[:4] == [
        "Every layer between the lowest energy and chance",
        "Groups of twins",
        "The closest pairs, against chance",
        "1",
    ]
    groups = next(block for block in every if isinstance(block, Table))
    assert sorted(groups.rows) == [("`0`", "2", "3, 7"), ("`1`", "2", "8, 10")]


def test_a_heat_map_holds_one_group_and_its_twins() -> None:
    choice = next(block for block in section(diagnosis_page([made()]), "twins") if isinstance(block, Choice))
    assert [figure.title for figure in choice.figures][:2] == ["1", "0"]
    grouped = choice.figures[0].spec["data"][0]
    # the second group of six, not the zero neuron of the first
    assert sorted(grouped["x"]) == sorted(f"neuron {number}" for number in range(6, 12))
    large = choice.figures[2].spec["data"][0]
    assert len(large["x"]) == 96


def test_filters_are_pictures_with_their_closest_pairs() -> None:
    (pictures,) = section(diagnosis_page([made()]), "filters")
    assert isinstance(pictures, Pictures)
    assert len(pictures.pictures) == 16
    assert [part.text for part in pictures.groups[0][1]] == ["3", "7"]
    assert pictures.groups[0][0] == "0.0° apart"


def test_two_models_side_by_side() -> None:
    page = diagnosis_page([made("plain"), made("spread", seed=1, twins=False)])
    assert page.title == "2 models side by side"
    assert page.reading[0] == "Spare neurons: 2 in `plain`, 0 in `spread`."
    assert sentences(section(page, "twins")) == ["There are no twins of `spread`."]
    (table,) = section(page, "numbers")
    assert table.rows[0][7] == "1 → 0"
    choice = next(block for block in section(page, "twins") if isinstance(block, Choice))
    assert all(len(figure.spec["data"]) == 2 for figure in choice.figures)
    assert [block.title for block in section(page, "filters")] == [
        "Filters of `0` in `plain`",
        "Filters of `0` in `spread`",
    ]


def test_a_state_dict_brings_its_rule() -> None:
    page = diagnosis_page([subject("bare", {"fc.weight": torch.randn(5, 4), "fc.bias": torch.zeros(5)})])
    assert page.notes[0].startswith("A bare state dict has no layer types.")
    (rest,) = section(page, "rest")
    assert isinstance(rest, Details)
    assert rest.text == "fc.bias: is a bias"


def test_a_model_without_layers_or_life_has_a_page(tmp_path: Path) -> None:
    dead = nn.Linear(3, 4)
    dead.weight.data.zero_()
    for number, model in enumerate((nn.ReLU(), dead, nn.Linear(3, 4).half())):
        page = diagnosis_page([subject("x", model, power=2.0)])
        assert not [block for part in page.sections for block in leaves(list(part.blocks)) if block is None]
        assert write_diagnosis([subject("x", model)], tmp_path / f"{number}.html").stat().st_size > 10_000
    figures = [block for part in page.sections for block in leaves(list(part.blocks)) if isinstance(block, Figure)]
    assert figures


@pytest.mark.parametrize("name", ["<b>bold</b>", "</script>"])
def test_names_are_escaped(tmp_path: Path, name: str) -> None:
    found = subject(name, {f"{name}.weight": torch.randn(5, 4)})
    text = write_diagnosis([found], tmp_path / "page.html").read_text()
    assert f"<h1>{name}" not in text
