# SPDX-License-Identifier: MIT
"""A checkpoint holds everything, is whole or not there, and says why it cannot be used."""

from __future__ import annotations

import errno
import random
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from hypersphere.regularizers import CompressiveEnergy
from hypersphere.training.checkpoint import (
    CHECKPOINT,
    Progress,
    generator_states,
    load_checkpoint,
    save_checkpoint,
)


def parts(seed: int = 0, width: int = 3) -> tuple[nn.Module, nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(4, width), nn.BatchNorm1d(width))
    regularizers = nn.ModuleDict({"energy": CompressiveEnergy("adversarial", dim=2, seed=seed, output=())})
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    for _ in range(2):
        (model(torch.randn(4, 4)).square().sum() + regularizers["energy"](model)).backward()
        optimizer.step()
    return model, regularizers, optimizer


def plain(state: Any) -> Any:
    if isinstance(state, torch.Tensor):
        return state.tolist()
    if isinstance(state, dict):
        return {key: plain(value) for key, value in state.items()}
    return [plain(value) for value in state] if isinstance(state, list | tuple) else state


def draws() -> list[float]:
    return [float(np.random.rand()), float(np.random.randn()), float(torch.rand(()))]


def test_everything_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, regularizers, optimizer = parts()
    np.random.randn()  # the second half of a pair of Gaussian numbers is state too
    progress = Progress(step=5, seconds=1.5, metrics_bytes=77, window={"steps": 2.0, "objective": 0.25})
    states = generator_states()
    save_checkpoint(tmp_path, progress, model, regularizers, optimizer, [states])
    # the annotation checker draws from Python's generator itself, so what is set is caught at the door
    set_to: list[object] = []
    monkeypatch.setattr(random, "setstate", set_to.append)
    expected, weights, slots = draws(), plain(model.state_dict()), plain(optimizer.state_dict())
    kept = plain(regularizers.state_dict())
    other, others, other_optimizer = parts(seed=1)
    assert plain(other.state_dict()) != weights
    found = load_checkpoint(tmp_path, other, others, other_optimizer)
    assert found == progress
    assert plain(other.state_dict()) == weights
    assert plain(others.state_dict()) == kept
    assert plain(other_optimizer.state_dict()) == slots
    assert draws() == expected
    assert set_to == [states["python"]]


def test_without_a_checkpoint_nothing_changes(tmp_path: Path) -> None:
    model, regularizers, optimizer = parts()
    before = plain(model.state_dict())
    assert load_checkpoint(tmp_path, model, regularizers, optimizer) is None
    assert plain(model.state_dict()) == before


def test_each_process_takes_its_own_generators(tmp_path: Path) -> None:
    model, regularizers, optimizer = parts()
    states, expected = [], []
    for seed in range(2):
        torch.manual_seed(seed)
        states.append(generator_states())
        expected.append(float(torch.rand(())))
    save_checkpoint(tmp_path, Progress(), model, regularizers, optimizer, states)
    # a third process, that was not there before, begins like the first
    for rank, value in ((0, expected[0]), (1, expected[1]), (2, expected[0])):
        load_checkpoint(tmp_path, model, regularizers, optimizer, rank=rank)
        assert float(torch.rand(())) == value


def test_a_full_disk_leaves_the_checkpoint_of_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, regularizers, optimizer = parts()
    save_checkpoint(tmp_path, Progress(step=1), model, regularizers, optimizer, [generator_states()])
    before = (tmp_path / CHECKPOINT).read_bytes()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left on device"):
        save_checkpoint(tmp_path, Progress(step=2), model, regularizers, optimizer, [generator_states()])
    assert (tmp_path / CHECKPOINT).read_bytes() == before
    assert [path.name for path in (tmp_path / CHECKPOINT).parent.iterdir()] == [CHECKPOINT.name]


@pytest.mark.parametrize("damage", ["cut", "empty", "text"])
def test_a_damaged_checkpoint_is_refused_in_words(tmp_path: Path, damage: str) -> None:
    model, regularizers, optimizer = parts()
    save_checkpoint(tmp_path, Progress(), model, regularizers, optimizer, [generator_states()])
    path = tmp_path / CHECKPOINT
    content = path.read_bytes()
    path.write_bytes({"cut": content[: len(content) // 2], "empty": b"", "text": b"not a checkpoint\n"}[damage])
    with pytest.raises(ValueError, match=f"{re.escape(str(path))} cannot be resumed from: \\w"):
        load_checkpoint(tmp_path, model, regularizers, optimizer)


def test_another_model_is_refused(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, Progress(), *parts(width=3), [generator_states()])
    with pytest.raises(ValueError, match="cannot be resumed from: Error"):
        load_checkpoint(tmp_path, *parts(width=4))


def test_another_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / CHECKPOINT
    path.parent.mkdir()
    torch.save({"format": 99}, path)
    with pytest.raises(ValueError, match="it has format 99, this version reads 2"):
        load_checkpoint(tmp_path, *parts())
