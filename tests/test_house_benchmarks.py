# SPDX-License-Identifier: MIT
"""What the benchmarks recorded can be read: who measured, where, and whether each bound holds as it says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results"
FACTS = {"schema", "suite", "version", "commit", "date", "torch", "python", "processor", "threads", "device"}


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*/*.json")), ids=lambda path: path.stem)
def test_a_result_names_its_machine_and_its_bounds_are_judged_by_its_values(path: Path) -> None:
    found = json.loads(path.read_text())
    assert found.keys() >= FACTS
    assert path.parent.name == found["version"]
    assert path.name.startswith(f"{found['suite']}--")
    assert path.name.endswith(f"--{found['device']}.json")
    assert found["busy_percent_before"] <= 15
    names = [(row["what"], row["against"]) for row in found["rows"]]
    assert names
    assert len(set(names)) == len(names)
    for row in found["rows"]:
        assert row["unit"] in {"ratio", "MiB", "s"}
        assert row["spread"][0] <= row["value"] <= row["spread"][1]
        assert row["holds"] == (row["bound"] is None or row["value"] <= row["bound"])
