# SPDX-License-Identifier: MIT
"""Results of identification on disk: whole, readable, the same bytes for the same result."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import numpy as np
import pytest

from hypersphere.evaluation import (
    identify_among_distractors,
    identify_closed_set,
    identify_open_set,
    write_identification,
)
from hypersphere.evaluation.identification import Identification


def results() -> dict[str, Identification]:
    generator = np.random.default_rng(0)
    gallery, probes = generator.standard_normal((12, 8)), generator.standard_normal((20, 8))
    people = np.arange(12)
    return {
        "closed": identify_closed_set(gallery, people, probes, np.arange(20) % 12),
        "open": identify_open_set([(gallery[:6], people[:6]), (gallery[6:], people[6:])], probes, np.arange(20) % 12),
        "distractors-mf": identify_among_distractors(
            probes, np.arange(20) // 2, generator.standard_normal((30, 8)), max_rank=3, fars=(1e-6, 0.1, 1.0)
        ),
    }


def test_what_is_written_is_what_a_report_reads(tmp_path: Path) -> None:
    given = results()
    summary = write_identification(tmp_path, given, split="test", step=3, details={"data": "drawn"})
    path = tmp_path / "evaluation" / "identification.json"
    # strict: neither NaN nor infinity
    assert json.loads(path.read_text(), parse_constant=pytest.fail) == json.loads(json.dumps(summary))
    assert (summary["protocol"], summary["split"], summary["step"], summary["data"]) == (
        "identification",
        "test",
        3,
        "drawn",
    )
    closed, opened, among = summary["results"].values()
    assert (closed["kind"], opened["kind"], among["kind"]) == ("closed set", "open set", "distractors")
    assert closed["rates"] == [{"rank": rank, "rate": given["closed"].rate(rank)} for rank in (1, 5, 10)]
    assert opened["num_mated"] == [12, 8]
    assert [point["target"] for point in opened["tpir_at_fpir"]] == [0.001, 0.01, 0.1]
    assert among["rates"][2] == {"rank": 3, "rate": given["distractors-mf"].rate(3)}
    assert [point["resolved"] for point in among["tar_at_far"]] == [False, True, True]
    assert among["tar_at_far"][2]["threshold"] is None
    with np.load(tmp_path / "evaluation" / "identification.npz", allow_pickle=False) as arrays:
        assert {name.split(".")[0] for name in arrays.files} == set(given)
        np.testing.assert_array_equal(arrays["closed.cmc"], given["closed"].cmc())
        np.testing.assert_array_equal(arrays["open.mated"], given["open"].mated)
        np.testing.assert_array_equal(arrays["distractors-mf.largest"], given["distractors-mf"].largest)


def test_the_same_result_is_the_same_bytes_and_another_goes_beside_it(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_identification(tmp_path / name, results(), split="test")
    write_identification(tmp_path / "a", results(), split="test", stem="identification-other")
    folders = [tmp_path / name / "evaluation" for name in ("a", "b")]
    for suffix in ("json", "npz"):
        assert len({(folder / f"identification.{suffix}").read_bytes() for folder in folders}) == 1
    assert len(list(folders[0].iterdir())) == 4


def test_a_full_disk_leaves_the_result_of_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_identification(tmp_path, results(), split="test", step=1)
    before = {path: path.read_bytes() for path in (tmp_path / "evaluation").iterdir()}

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left on device"):
        write_identification(tmp_path, results(), split="test", step=2)
    assert {path: path.read_bytes() for path in (tmp_path / "evaluation").iterdir()} == before


@pytest.mark.parametrize("name", ["", "a/b", "a.b", ".."])
def test_a_name_is_no_path(tmp_path: Path, name: str) -> None:
    with pytest.raises(
        ValueError, match=r"write_identification: a name is made of letters, digits, '-' and '_', got '"
    ):
        write_identification(tmp_path, {name: results()["closed"]}, split="test")
    with pytest.raises(ValueError, match=r"write_identification: expected one result or more, got none"):
        write_identification(tmp_path, {}, split="test")
    assert not list(tmp_path.iterdir())
