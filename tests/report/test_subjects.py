# SPDX-License-Identifier: MIT
"""What a path leads to: a run folder by its own layers, every other file by the axis rule, and what is no model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from hypersphere.report.subjects import diagnose_paths, read_subject, subject, write_json


def test_a_run_folder_is_read_with_its_layers(made: Path) -> None:
    (found,) = diagnose_paths([made])
    assert found.name == "digits"
    assert found.diagnosis.rule is None
    assert found.diagnosis.rows[-1].name == "head"
    assert found.diagnosis.rows[-1].is_output
    assert found.filters is not None
    assert found.filters[0] == found.diagnosis.rows[0].name
    assert found.filters[1].ndim == 4


def test_the_weights_alone_are_read_by_the_rule(made: Path, tmp_path: Path) -> None:
    (run,) = diagnose_paths([made])
    (bare,) = diagnose_paths([made / "model.safetensors"])
    assert bare.diagnosis.rule is not None
    assert {row.name: row.energy for row in bare.diagnosis.rows} == {row.name: row.energy for row in run.diagnosis.rows}
    torch.save({"state_dict": nn.Linear(4, 3).state_dict()}, tmp_path / "model.pt")
    (foreign,) = diagnose_paths([tmp_path / "model.pt"], power=1.0)
    assert (foreign.name, foreign.filters) == ("model.pt", None)
    assert foreign.diagnosis.power == 1.0


def test_a_run_without_a_model_is_told(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"diagnose: the run in .* has no model\.safetensors yet"):
        read_subject(folder)


def test_a_folder_of_another_library(tmp_path: Path) -> None:
    safetensors.torch.save_file({"fc.weight": torch.randn(4, 3)}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text("{}")
    (found,) = diagnose_paths([tmp_path])
    assert [row.name for row in found.diagnosis.rows] == ["fc"]


@pytest.mark.parametrize(
    ("layer", "shown"),
    [
        (nn.Conv2d(3, 8, 5), True),
        (nn.Conv2d(1, 8, 3), True),
        (nn.Conv2d(3, 8, 1), False),
        (nn.Conv2d(4, 8, 3), False),
        (nn.Linear(9, 8), False),
    ],
)
def test_filters_are_images_in_grey_or_colour(layer: nn.Module, shown: bool) -> None:
    for model in (nn.Sequential(layer), nn.Sequential(layer).state_dict()):
        assert (subject("x", model).filters is not None) == shown


def test_json_of_one_and_of_several(tmp_path: Path) -> None:
    one = subject("one", nn.Linear(3, 2))
    assert json.loads(write_json([one], tmp_path / "new" / "one.json").read_text())["rows"][0]["num_neurons"] == 2
    two = json.loads(write_json([one, subject("two", nn.Linear(4, 5))], tmp_path / "two.json").read_text())
    assert [two[name]["rows"][0]["num_neurons"] for name in ("one", "two")] == [2, 5]
