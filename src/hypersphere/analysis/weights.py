# SPDX-License-Identifier: MIT
"""Weights out of files that others wrote: safetensors, and PyTorch checkpoints without running what is inside them."""

from __future__ import annotations

import json
import os
import pickle
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

__all__ = ["load_weights"]

# where checkpoints keep the weights, the likeliest first
_PLACES = (
    "state_dict", "model_state_dict", "model", "module", "net", "network", "weights", "params", "generator",
    "ema_state_dict", "state_dict_ema", "model_ema", "ema", "teacher", "student",
)  # fmt: skip
# what lies in a checkpoint beside the weights
_BESIDE = re.compile(r"optim|sched|scaler|loss|args|config|hyper|callback|rng|epoch|step", re.IGNORECASE)
_IN_A_FOLDER = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin")


def load_weights(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """The tensors of a file by name, on the CPU.

    Args:
        path: a safetensors file; a PyTorch checkpoint of any layout (a state dict, or one that lies under `state_dict`,
            `model`, `ema`...); or a folder with `model.safetensors`, its index of several files, or
            `pytorch_model.bin`. Prefixes of wrappers (`module.`, `_orig_mod.`) are taken off the names.

    Raises:
        FileNotFoundError: if there is no such file, or none of these in the folder.
        ValueError: if the file is damaged, empty or of another kind, holds no tensors, or is a pickle that could run
            code: such a file is never opened with more than `weights_only=True`.
    """
    path = Path(path)
    if path.is_dir():
        path = _inside(path)
    if not path.is_file():
        raise FileNotFoundError(f"load_weights: there is no file {path}.")
    if not path.stat().st_size:
        raise ValueError(f"load_weights: {path} is empty.")
    if path.name.endswith(".index.json"):
        return _read_index(path)
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    found = dict(_tensors(_read_checkpoint(path)))
    if not found:
        raise ValueError(f"load_weights: {path} holds no tensors by name. Expected a state dict, or one inside a dict.")
    return _unwrapped(found)


def _inside(folder: Path) -> Path:
    """The file with the weights in a folder."""
    for name in _IN_A_FOLDER:
        if (folder / name).is_file():
            return folder / name
    listed = ", ".join(_IN_A_FOLDER[:-1]) + f" or {_IN_A_FOLDER[-1]}"
    raise FileNotFoundError(f"load_weights: there is no {listed} in the folder {folder}. Name the file itself.")


def _read_index(path: Path) -> dict[str, Tensor]:
    """All parts that the index of a divided model names."""
    try:
        files = sorted(set(json.loads(path.read_bytes())["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ValueError(f"load_weights: {path} is damaged or no index of safetensors files.") from None
    missing = [name for name in files if not (path.parent / name).is_file()]
    if missing:
        raise FileNotFoundError(f"load_weights: {path} names files that are not there: {', '.join(missing)}.")
    return {key: tensor for name in files for key, tensor in _read_safetensors(path.parent / name).items()}


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        found = safetensors.torch.load_file(path)
    except safetensors.SafetensorError as error:
        raise ValueError(f"load_weights: {path} is damaged or no safetensors file: {error}.") from None
    # the file keeps them in the order of the alphabet, where layer 10 comes before layer 2
    return _unwrapped({name: found[name] for name in sorted(found, key=_in_order)})


def _in_order(name: str) -> list[tuple[int, str]]:
    """A key that sorts numbers inside of names as numbers."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def _read_checkpoint(path: Path) -> Any:
    """What `torch.load` makes of a file without running code."""
    archive = zipfile.is_zipfile(path)
    if archive and _is_torchscript(path):
        raise ValueError(
            f"load_weights: {path} is a TorchScript archive, which holds a program. Save the weights alone: "
            "torch.save(torch.jit.load(FILE).state_dict(), OTHER_FILE)."
        )
    with path.open("rb") as file:
        pickled = file.read(1) == b"\x80"
    if not archive and not pickled:
        raise ValueError(
            f"load_weights: {path} is neither a safetensors file nor a PyTorch checkpoint (torch.save), nor a folder "
            "with one."
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # a legacy file is no archive and cannot be mapped into memory
            return torch.load(path, map_location="cpu", weights_only=True, mmap=archive)
    except pickle.UnpicklingError as error:
        raise ValueError(_refusal(path, str(error))) from None
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        reason = str(error).strip().split("\n")[0].rstrip(".") or type(error).__name__
        raise ValueError(f"load_weights: {path} is damaged or no PyTorch checkpoint: {reason}.") from None


def _is_torchscript(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as stored:
            return any(name.endswith("/constants.pkl") for name in stored.namelist())
    except zipfile.BadZipFile:
        return False


def _refusal(path: Path, message: str) -> str:
    """Why a pickle is not opened, and what its owner can do."""
    named = re.search(r"GLOBAL ([\w.]+)|(?:global|class|type):? ([\w.]+\.\w+)|function ([\w.]+)", message)
    what = next((part for part in named.groups() if part), None) if named else None
    holds = f"it holds {what}, and" if what else "it holds more than tensors, and"
    return (
        f"load_weights: {path} is not opened: {holds} unpickling that can run any code on this machine. If you trust "
        "where it comes from, load it there and save the weights alone: torch.save(model.state_dict(), FILE) or "
        "safetensors.torch.save_file(model.state_dict(), FILE)."
    )


def _tensors(found: Any) -> Iterator[tuple[str, Tensor]]:
    """Names and tensors of a state dict, which may lie in one of the usual places of a checkpoint."""
    if not isinstance(found, Mapping):
        return
    if any(isinstance(value, Tensor) for value in found.values()):
        yield from ((str(key), value) for key, value in found.items() if isinstance(value, Tensor))
        return
    for place in _PLACES:
        inside = list(_tensors(found.get(place)))
        if inside:
            yield from inside
            return
    # a dictionary of models: their names come first
    for key, value in found.items():
        if not _BESIDE.search(str(key)):
            yield from ((f"{key}.{name}", tensor) for name, tensor in _tensors(value))


def _unwrapped(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Names without what DistributedDataParallel and torch.compile put before them."""
    names = [name.replace("_orig_mod.", "") for name in tensors]
    while names and all(name.startswith("module.") for name in names):
        names = [name.removeprefix("module.") for name in names]
    return dict(zip(names, tensors.values(), strict=True))
