# SPDX-License-Identifier: MIT
"""Heads on several processes learn what one process learns from the joined batch, whatever the share of each."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import pytest
import torch

from head_processes import CASES, ways
from house import ROOT

Found = dict[str, list[dict[str, Any]]]


def run(numbers: str, *names: str) -> Found:
    command = [sys.executable, "tests/head_processes.py", numbers, *names]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    found: Found = json.loads(done.stdout)
    return found


def close(found: Any, expected: Any) -> None:
    if isinstance(expected, Mapping):
        assert found.keys() == expected.keys()
        for name in expected:
            close(found[name], expected[name])
    else:
        one, other = (torch.tensor(values, dtype=torch.float64) for values in (found, expected))
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


def hold(found: Found, number: str, case: str) -> None:
    """Every process has what one process alone has."""
    for way in ways(case):
        name = f"{case}/{way}"
        (alone,) = (process[name] for process in found["1"])
        for process in found[number]:
            for part in ("gradients", "parameters", "momentum", "state"):
                close(process[name][part], alone[part])
        # a sum over the own samples, divided so that the mean over processes is that over all samples
        losses = torch.tensor([process[name]["losses"] for process in found[number]], dtype=torch.float64)
        close(losses.mean(dim=0).tolist(), alone["losses"])
        assert alone["losses"][0] > 0
        assert any(any(row) for row in alone["gradients"]["head.weight"])


def test_two_processes_learn_as_one() -> None:
    names = ["sampled adaface", "sphereface2"]
    found = run("1,2", *names)
    for case in names:
        hold(found, "2", case)


@pytest.fixture(scope="module")
def everything() -> Found:
    return run("1,2,3", *CASES)


@pytest.mark.slow
@pytest.mark.parametrize("number", ["2", "3"])
@pytest.mark.parametrize("case", CASES)
def test_every_head_learns_as_one(everything: Found, number: str, case: str) -> None:
    hold(everything, number, case)


@pytest.mark.slow
def test_all_processes_end_with_the_same(everything: Found) -> None:
    for number in ("2", "3"):
        first, *others = everything[number]
        for other in others:
            for name, found in first.items():
                assert found["parameters"] == other[name]["parameters"]
                assert found["state"] == other[name]["state"]
