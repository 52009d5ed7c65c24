# SPDX-License-Identifier: MIT
"""What stands at the terminal."""

from __future__ import annotations

import sys

import pytest
import torch
from torch import nn

from hypersphere.report.subjects import subject
from hypersphere.report.terminal import print_diagnosis


def model(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(8, 5), nn.Embedding(4, 3))


def test_one_model(capsys: pytest.CaptureFixture[str]) -> None:
    print_diagnosis([subject("mine", model(0))])
    text = capsys.readouterr().out
    table = [line.split() for line in text.splitlines()]
    assert table[1][:11] == [
        "layer",
        "neurons",
        "×",
        "dim",
        "energy",
        "place",
        "sd",
        "smallest",
        "angle",
        "by",
        "chance",
    ]
    assert ["0", "8", "×", "27"] in [line[:4] for line in table]
    assert "Energy: power 0, euclidean distance. Place: 0% is the lowest energy there can be" in text
    assert "- No two neurons of a layer lie within 10.0° of the same direction." in text
    assert "Left out: 1 × is an embedding table, which counts on request only." in text
    assert "`" not in text
    assert "\x1b" not in text


def test_two_models_and_the_rule(capsys: pytest.CaptureFixture[str]) -> None:
    print_diagnosis([subject("first", model(0).state_dict()), subject("second", model(1), half_space=False)])
    text = capsys.readouterr().out
    assert text.startswith("first → second\n")
    assert "- 'second' is spread more evenly in " in text
    assert "\n- second: Against random directions" in text
    assert text.count("A bare state dict has no layer types. Assumed: axis 0") == 1


def test_names_are_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    print_diagnosis([subject("x", {"[red]odd[/red].weight": torch.randn(4, 3)})])
    assert "[red]odd[/red]" in capsys.readouterr().out


def test_without_rich_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rich.console", None)
    with pytest.raises(ImportError, match=r'diagnose: rich is not installed: run pip install "hypersphere\[train\]"\.'):
        print_diagnosis([subject("mine", model(0))])
