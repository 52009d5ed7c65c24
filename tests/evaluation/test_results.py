# SPDX-License-Identifier: MIT
"""The two files of an evaluation: their bytes depend on what was found alone, and older ones are replaced."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from hypersphere.evaluation.results import free_stem, write_results


def test_the_same_results_are_the_same_bytes_in_place_of_older_ones(tmp_path: Path) -> None:
    arrays = {"scores": np.linspace(0.0, 1.0, 5), "turned": np.arange(6).reshape(2, 3).T}
    write_results(tmp_path, "found", {"old": 1}, {"old": np.zeros(2)})
    write_results(tmp_path, "found", {"accuracy": 0.5}, arrays)
    folder = tmp_path / "evaluation"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert sorted(before) == ["found.json", "found.npz"]
    assert json.loads(before["found.json"]) == {"accuracy": 0.5}
    with np.load(folder / "found.npz") as read:
        assert sorted(read) == sorted(arrays)
        for name, array in arrays.items():
            np.testing.assert_array_equal(read[name], array)
    write_results(tmp_path, "found", {"accuracy": 0.5}, arrays)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize("name", ["found.npz", "found.json"])
def test_a_summary_never_stands_beside_the_arrays_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    write_results(tmp_path, "found", {"number": 1}, {"number": np.ones(1)})
    rename = os.replace

    def stopped(source: Path, target: Path) -> None:
        if target.name == name:
            raise KeyboardInterrupt
        rename(source, target)

    monkeypatch.setattr("os.replace", stopped)
    with pytest.raises(KeyboardInterrupt):
        write_results(tmp_path, "found", {"number": 2}, {"number": np.full(1, 2.0)})
    folder = tmp_path / "evaluation"
    assert [path.name for path in folder.iterdir()] == ["found.npz"]
    with np.load(folder / "found.npz") as read:
        assert read["number"][0] == (1 if name == "found.npz" else 2)
    monkeypatch.undo()
    write_results(tmp_path, "found", {"number": 3}, {"number": np.full(1, 3.0)})
    assert json.loads((folder / "found.json").read_text()) == {"number": 3}


def test_a_name_that_data_from_elsewhere_have_gets_a_number(tmp_path: Path) -> None:
    first, second = {"pairs": "/a/x.txt"}, {"pairs": "/b/x.txt"}
    assert free_stem(tmp_path, "x", first) == "x"
    for origin, stem in ((first, "x"), (second, "x-2"), (first, "x"), ({"pairs": None}, "x-3")):
        assert free_stem(tmp_path, "x", origin) == stem
        write_results(tmp_path, stem, {"origin": origin}, {})
    # all names have to be free
    write_results(tmp_path, "y-common", {"origin": first}, {})
    assert free_stem(tmp_path, "y", second, endings=("", "-common")) == "y-2"
    assert free_stem(tmp_path, "y", second, endings=("", "-other")) == "y"
    for content in ("{", "[]", '{"accuracy": 0.5}'):
        (tmp_path / "evaluation" / "x.json").write_text(content)
        assert free_stem(tmp_path, "x", second) == "x"
