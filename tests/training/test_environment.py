# SPDX-License-Identifier: MIT
"""What a run was made with is written down."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
import torch

import hypersphere
from hypersphere.training import environment
from hypersphere.training.environment import describe_environment, slow_precision


def describe() -> dict:
    return describe_environment(torch.device("cpu"), seed=3, num_processes=2)


def test_it_names_versions_machine_and_seed() -> None:
    found = describe()
    assert json.loads(json.dumps(found)) == found
    assert found["hypersphere"] == hypersphere.__version__
    assert found["packages"]["torch"] == torch.__version__
    assert (found["seed"], found["num_processes"], found["device"]) == (3, 2, "cpu")
    assert found["threads"] == torch.get_num_threads()
    assert found["instructions"] == torch.backends.cpu.get_cpu_capability()
    assert len(found["load"]) == 3


@pytest.mark.parametrize(
    ("device", "precision", "supported", "told"),
    [
        ("cpu", "bfloat16", False, True),
        ("cpu", "bfloat16", True, False),
        ("cpu", "float32", False, False),
        ("meta", "bfloat16", False, False),
    ],
)
def test_bfloat16_without_instructions_is_told(
    device: str, precision: str, supported: bool, told: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: supported)
    sentence = slow_precision(torch.device(device), precision)
    assert (sentence is not None) == told
    assert sentence is None or "--training.precision float32" in sentence


def test_a_package_that_is_not_installed_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "_PACKAGES", ("torch", "no-such-package"))
    assert list(describe()["packages"]) == ["torch"]


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the module's file in a repository of its own, in which it is not tracked yet."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    file = tmp_path / "environment.py"
    file.write_text("")
    monkeypatch.setattr(environment, "__file__", str(file))
    for command in (["init", "-q"], ["config", "user.name", "n"], ["config", "user.email", "e"]):
        subprocess.run(["git", "-C", str(tmp_path), *command], check=True)
    return tmp_path


def test_the_commit_is_that_of_tracked_files_only(elsewhere: Path) -> None:
    assert describe()["commit"] is None
    subprocess.run(["git", "-C", str(elsewhere), "add", "environment.py"], check=True)
    subprocess.run(["git", "-C", str(elsewhere), "commit", "-qm", "first"], check=True)
    head = subprocess.run(
        ["git", "-C", str(elsewhere), "rev-parse", "HEAD"], check=True, capture_output=True, text=True
    ).stdout.strip()
    assert describe()["commit"] == head
    (elsewhere / "environment.py").write_text("changed = True\n")
    assert describe()["commit"] == f"{head}-dirty"


def test_without_git_there_is_no_commit(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(elsewhere))
    assert describe()["commit"] is None
