# SPDX-License-Identifier: MIT
"""Weights of an earlier model as the start of a run: every tensor that fits is copied, and what happened is told."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from hypersphere.models.store import WEIGHTS_FILE

__all__ = ["Start", "start_from"]

_PREFIX = "model."
# names in a sentence before it becomes a list that nobody reads
_SHOWN = 6


@dataclass(frozen=True)
class Start:
    """What a model took over.

    Args:
        source: the file of the tensors.
        taken: names in the model of the tensors that were copied.
        fresh: name of every other tensor of the model -> why it kept its own values.
        unused: names in the file that the model has no use for.
    """

    source: Path
    taken: list[str]
    fresh: dict[str, str] = field(default_factory=dict)
    unused: list[str] = field(default_factory=list)

    def sentence(self) -> str:
        """All of it in words, long lists cut short.

        Example:
            >>> Start(Path("m.safetensors"), ["head.weight"], {"head.bias": "not in the file"}, ["fc.bias"]).sentence()
            'm.safetensors: 1 tensor taken over; kept fresh: head.bias (not in the file); not used: fc.bias'
        """
        parts = [f"{self.source}: {len(self.taken)} tensor{'s' * (len(self.taken) != 1)} taken over"]
        if self.fresh:
            parts.append(f"kept fresh: {_listed([f'{name} ({why})' for name, why in self.fresh.items()])}")
        if self.unused:
            parts.append(f"not used: {_listed(self.unused)}")
        return "; ".join(parts)


@torch.no_grad()
def start_from(model: nn.Module, source: str | Path) -> Start:
    """Copy every tensor of a file into `model` whose name and shape are those of one of the model's.

    Names match as they are, or where one of the two has the prefix `model.` in front, as the network of a classifier
    does. Parameters and buffers are copied unchanged: a layer that answers by angle starts with the kernels of the
    ordinary convolution as they are, and its radius stays as the model was made with.

    Args:
        model: is changed in place; values are cast to its dtypes.
        source: a run folder with a trained model, or a .safetensors file of a state dict.

    Returns:
        What was taken over, and what not.

    Raises:
        FileNotFoundError: if there is no such file, or the run has no trained model.
        ValueError: if the file is damaged, or nothing in it fits; the model is then as before.

    Source:
        liu2018decoupled starts networks from ordinary ones; their code does not show how, kernels unchanged is our
        choice.
    """
    path = _file_of(Path(source))
    try:
        found = safetensors.torch.load_file(path)
    except safetensors.SafetensorError as error:
        raise ValueError(f"start_from: {path} is damaged or no safetensors file: {error}.") from None
    expected = model.state_dict()
    fitting: dict[str, Tensor] = {}
    fresh: dict[str, str] = {}
    used: set[str] = set()
    for name, own in expected.items():
        there = next((one for one in _names_for(name) if one in found), None)
        if there is None:
            fresh[name] = "not in the file"
            continue
        used.add(there)
        if found[there].shape == own.shape:
            fitting[name] = found[there]
        else:
            fresh[name] = f"{_shape(found[there])} in the file, {_shape(own)} here"
    if not fitting:
        raise ValueError(
            f"start_from: no tensor of {path} fits the model. The file has {_listed(sorted(found)) or 'none'}; the "
            f"model has {_listed(list(expected))}. Give a file of the same network."
        )
    for name, tensor in fitting.items():
        expected[name].copy_(tensor)
    return Start(path, list(fitting), fresh, sorted(found.keys() - used))


def _file_of(source: Path) -> Path:
    path = source / WEIGHTS_FILE if source.is_dir() else source
    if not path.is_file():
        expected = f"{WEIGHTS_FILE} in it, which a finished run has" if source.is_dir() else "a run folder or a file"
        raise FileNotFoundError(f"start_from: {source} cannot be started from: expected {expected}.")
    return path


def _names_for(name: str) -> list[str]:
    """What a tensor of the model may be called in a file, the likeliest first."""
    return [name, name.removeprefix(_PREFIX) if name.startswith(_PREFIX) else f"{_PREFIX}{name}"]


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a number"


def _listed(names: list[str]) -> str:
    rest = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")
