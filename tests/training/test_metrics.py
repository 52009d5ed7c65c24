# SPDX-License-Identifier: MIT
"""`metrics.jsonl` is appended line by line and cut back to a checkpoint; windows average steps."""

from __future__ import annotations

import json
import math
from pathlib import Path

from hypersphere.training.metrics import MetricsFile, Window


def test_lines_are_appended_and_can_be_read_at_once(tmp_path: Path) -> None:
    file = MetricsFile(tmp_path / "metrics.jsonl")
    file.write({"step": 1, "terms": {"objective": 0.5}})
    assert json.loads((tmp_path / "metrics.jsonl").read_text()) == {"step": 1, "terms": {"objective": 0.5}}
    file.write({"step": 2})
    assert file.size() == (tmp_path / "metrics.jsonl").stat().st_size
    file.close()
    assert (tmp_path / "metrics.jsonl").read_text().count("\n") == 2


def test_what_was_written_after_the_checkpoint_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    first = MetricsFile(path)
    first.write({"step": 1})
    kept = first.size()
    first.write({"step": 2})
    first.close()
    path.write_bytes(path.read_bytes() + b'{"step": 3, "torn')
    again = MetricsFile(path, keep=kept)
    again.write({"step": 2, "again": True})
    again.close()
    assert path.read_text().splitlines() == ['{"step": 1}', '{"step": 2, "again": true}']


def test_without_a_checkpoint_the_file_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 0}\n')
    MetricsFile(path).close()
    assert path.read_bytes() == b""


def test_a_number_that_json_cannot_hold_becomes_null(tmp_path: Path) -> None:
    file = MetricsFile(tmp_path / "metrics.jsonl")
    file.write({"loss": math.nan, "layers": {"a": {"energy": math.inf, "minimum": None}}})
    file.close()
    assert (
        tmp_path / "metrics.jsonl"
    ).read_text() == '{"loss": null, "layers": {"a": {"energy": null, "minimum": null}}}\n'


def test_a_window_averages_and_its_sums_restore_it() -> None:
    window = Window()
    window.add(steps=1.0, objective=2.0)
    window.add(steps=1.0, objective=4.0)
    assert window.mean("objective") == 3.0
    restored = Window(window.sums)
    restored.add(steps=1.0, objective=6.0)
    assert restored.mean("objective") == 4.0
    # the sums of the first are its own
    assert window.sums["steps"] == 2.0
    window.clear()
    assert window.mean("objective") == 0.0
