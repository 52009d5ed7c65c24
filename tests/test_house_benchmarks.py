# SPDX-License-Identifier: MIT
"""What the benchmarks recorded can be read: who measured, where, and whether each bound holds as it says."""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path

import pytest

from house import ROOT
from hypersphere import __version__

RESULTS = ROOT / "benchmarks" / "results"
PAGE = (ROOT / "docs" / "performance.md").read_text()
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


def test_every_suite_has_a_table_and_no_broken_bound_is_left_out() -> None:
    tables: dict[str, list[str]] = {}
    for stem, cells in re.findall(r"^```{measured} (\S+)\n:cells: (.+)\n```$", PAGE, re.MULTILINE):
        tables.setdefault(stem, []).append(cells)
    # whoever measures on another machine need not write a page
    assert {stem.split("--")[0] for stem in tables} == {path.name.split("--")[0] for path in RESULTS.glob("*/*.json")}
    for stem, expressions in tables.items():
        rows = json.loads((RESULTS / __version__ / f"{stem}.json").read_text())["rows"]
        names = [f"{row['what']} / {row['against']}" for row in rows]
        places = {cells: [re.fullmatch(cells, name) for name in names] for cells in expressions}
        for number, row in enumerate(rows):
            assert row["holds"] or any(found[number] for found in places.values()), (stem, row["what"])
        for cells, found in places.items():
            cell = [(place["row"], place["column"]) for place in found if place]
            assert len(cell) == len(set(cell)) > 0, (stem, cells)


def test_variables_that_change_the_allocator_are_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT)
    allocator = importlib.import_module("benchmarks.common").allocator
    for name in ("MALLOC_MMAP_MAX_", "LD_PRELOAD", "THP_MEM_ALLOC_ENABLE"):
        monkeypatch.delenv(name, raising=False)
    assert "LD_PRELOAD" not in allocator()
    monkeypatch.setenv("MALLOC_MMAP_MAX_", "0")
    monkeypatch.setenv("LD_PRELOAD", "/somewhere/libjemalloc.so.2:/elsewhere/liby.so")
    assert allocator() == {"MALLOC_MMAP_MAX_": "0", "LD_PRELOAD": "libjemalloc.so.2 liby.so"}
