# SPDX-License-Identifier: MIT
"""The two files of an evaluation: their bytes depend on what was found alone, and older ones are replaced."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from hypersphere.evaluation.results import write_results


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
