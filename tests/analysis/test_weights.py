# SPDX-License-Identifier: MIT
"""Weights out of foreign files: every layout of a checkpoint, nothing that runs code, one sentence for every fault."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import nn

from hypersphere.analysis.weights import load_weights

WEIGHTS = {"fc.weight": torch.arange(6.0).reshape(2, 3), "fc.bias": torch.zeros(2)}


def same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor] = WEIGHTS) -> bool:
    return list(found) == list(expected) and all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize(
    "layout",
    [
        WEIGHTS,
        {"state_dict": WEIGHTS, "epoch": 3, "optimizer": {"state": {0: {"exp_avg": torch.ones(2)}}}},
        {"epoch": 3, "model": WEIGHTS, "ema": {name: tensor + 1 for name, tensor in WEIGHTS.items()}},
        {"model": {"module": WEIGHTS}},
        {"ema": WEIGHTS, "args": {"rate": 0.1}},
        {f"module._orig_mod.{name}": tensor for name, tensor in WEIGHTS.items()},
        {**WEIGHTS, "step": 4},
    ],
    ids=["plain", "state_dict", "model", "nested", "ema", "prefixes", "beside"],
)
@pytest.mark.parametrize("legacy", [False, True])
def test_checkpoints_of_every_layout(tmp_path: Path, layout: dict[str, Any], legacy: bool) -> None:
    torch.save(layout, tmp_path / "model.pth", _use_new_zipfile_serialization=not legacy)
    assert same(load_weights(tmp_path / "model.pth"))


def test_a_dictionary_of_models_keeps_their_names(tmp_path: Path) -> None:
    torch.save({"encoder": {"w": torch.ones(2, 2)}, "decoder": {"w": torch.zeros(2, 2)}}, tmp_path / "both.pt")
    assert list(load_weights(tmp_path / "both.pt")) == ["encoder.w", "decoder.w"]


def test_safetensors(tmp_path: Path) -> None:
    safetensors.torch.save_file(WEIGHTS, tmp_path / "model.safetensors")
    expected = dict(sorted(WEIGHTS.items()))
    for path in (tmp_path, tmp_path / "model.safetensors"):
        found = load_weights(path)
        assert {name: found[name].tolist() for name in sorted(found)} == {
            name: tensor.tolist() for name, tensor in expected.items()
        }


def test_layers_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    names = [f"layers.{number}.weight" for number in (0, 1, 2, 10, 11)]
    safetensors.torch.save_file({name: torch.ones(2) for name in names}, tmp_path / "model.safetensors")
    assert list(load_weights(tmp_path)) == names


def test_a_model_in_several_files(tmp_path: Path) -> None:
    parts = {"a.safetensors": {"one": torch.ones(2)}, "b.safetensors": {"two": torch.zeros(3)}}
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {key: name for name, part in parts.items() for key in part}}))
    with pytest.raises(FileNotFoundError, match=r"names files that are not there: a\.safetensors, b\.safetensors\."):
        load_weights(tmp_path)
    for name, part in parts.items():
        safetensors.torch.save_file(part, tmp_path / name)
    assert sorted(load_weights(tmp_path)) == ["one", "two"]
    index.write_text("[]")
    with pytest.raises(ValueError, match=r"is damaged or no index of safetensors files\."):
        load_weights(tmp_path)


class Trap:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("legacy", [False, True])
def test_a_malicious_pickle_does_nothing(tmp_path: Path, legacy: bool) -> None:
    trap = tmp_path / "sprung"
    torch.save(
        {"state_dict": WEIGHTS, "x": Trap(trap)}, tmp_path / "bad.pth", _use_new_zipfile_serialization=not legacy
    )
    advice = (
        r"bad\.pth is not opened: it holds (posix|nt)\.mkdir, and unpickling that can run any code on this machine\. "
        r"If you trust where it comes from, load it there and save the weights alone: "
        r"torch\.save\(model\.state_dict\(\), FILE\) or "
        r"safetensors\.torch\.save_file\(model\.state_dict\(\), FILE\)\.$"
    )
    with pytest.raises(ValueError, match=advice):
        load_weights(tmp_path / "bad.pth")
    assert not trap.exists()


def test_a_whole_model_is_refused_with_advice(tmp_path: Path) -> None:
    torch.save(nn.Linear(2, 2), tmp_path / "model.pt")
    with pytest.raises(ValueError, match=r"it holds torch\.nn\.modules\.linear\.Linear, and unpickling that can run"):
        load_weights(tmp_path / "model.pt")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_torchscript_is_told_apart(tmp_path: Path) -> None:
    torch.jit.save(torch.jit.script(nn.Linear(2, 2)), tmp_path / "model.pt")
    with pytest.raises(ValueError, match=r"is a TorchScript archive, which holds a program\. Save the weights alone"):
        load_weights(tmp_path / "model.pt")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.pt", b"", "empty.pt is empty."),
        (
            "notes.txt",
            b"some text\n",
            "notes.txt is neither a safetensors file nor a PyTorch checkpoint (torch.save), ",
        ),
        ("cut.safetensors", b"\x08\0\0\0\0\0\0\0{", "cut.safetensors is damaged or no safetensors file: "),
        ("cut.pt", b"\x80\x02}q", "cut.pt is damaged or no PyTorch checkpoint: "),
        ("odd.pt", b"PK\x03\x04 nothing", "odd.pt is neither a safetensors file nor a PyTorch checkpoint"),
    ],
)
def test_other_files_are_one_sentence(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        load_weights(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"load_weights: there is no file .*nope\.pt\.$"):
        load_weights(tmp_path / "nope.pt")
    with pytest.raises(FileNotFoundError, match=r"or pytorch_model\.bin in the folder .*\. Name the file itself\.$"):
        load_weights(tmp_path)
    torch.save({"epoch": 3, "names": ["a"]}, tmp_path / "model.pt")
    with pytest.raises(ValueError, match=r"holds no tensors by name\. Expected a state dict, or one inside a dict\.$"):
        load_weights(tmp_path / "model.pt")
    torch.save(torch.ones(2, 2), tmp_path / "tensor.pt")
    with pytest.raises(ValueError, match=r"holds no tensors by name"):
        load_weights(tmp_path / "tensor.pt")
