# SPDX-License-Identifier: MIT
"""Everything that a run needs to go on as if nothing had happened, in one file that is whole or not there."""

from __future__ import annotations

import io
import pickle
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from hypersphere.files import atomic_file

__all__ = ["CHECKPOINT", "Progress", "generator_states", "load_checkpoint", "save_checkpoint"]

CHECKPOINT = Path("state") / "checkpoint.pt"
_FORMAT = 2


@dataclass
class Progress:
    """Where a run stands.

    Args:
        step: optimiser steps done.
        seconds: spent training and evaluating so far.
        metrics_bytes: length of `metrics.jsonl` up to here.
        window: sums since its last line of training.
    """

    step: int = 0
    seconds: float = 0.0
    metrics_bytes: int = 0
    window: dict[str, float] = field(default_factory=dict)


def generator_states() -> dict[str, Any]:
    """Where the random generators of this process stand, in plain numbers, which travel between processes."""
    name, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    return {
        "torch": torch.get_rng_state().tolist(),
        "cuda": [state.tolist() for state in torch.cuda.get_rng_state_all()] if torch.cuda.is_available() else [],
        "numpy": [name, np.asarray(keys).tolist(), position, has_gauss, cached],
        "python": random.getstate(),
    }


def save_checkpoint(
    run: Path,
    progress: Progress,
    model: nn.Module,
    regularizers: nn.Module,
    optimizer: torch.optim.Optimizer,
    generators: Sequence[dict[str, Any]],
) -> None:
    """Write `state/checkpoint.pt`; the one before stays whole until this one is.

    Args:
        run: the run folder.
        progress: where the run stands.
        model: its parameters and buffers are saved.
        regularizers: what they keep between steps is saved.
        optimizer: likewise.
        generators: the `generator_states` of each process.

    Raises:
        OSError: if it cannot be written, a full disk for one; the one before is then unharmed.
    """
    content = {
        "format": _FORMAT,
        "progress": vars(progress),
        "model": model.state_dict(),
        "regularizers": regularizers.state_dict(),
        "optimizer": optimizer.state_dict(),
        "generators": list(generators),
    }
    path = run / CHECKPOINT
    path.parent.mkdir(exist_ok=True)
    with atomic_file(path) as file:
        torch.save(content, file)


def load_checkpoint(
    run: Path, model: nn.Module, regularizers: nn.Module, optimizer: torch.optim.Optimizer, *, rank: int = 0
) -> Progress | None:
    """Put model, regularisers, optimiser and the random generators where the checkpoint of `run` left them.

    Args:
        run: the run folder.
        model: receives parameters and buffers.
        regularizers: receive what they kept.
        optimizer: receives its state.
        rank: number of this process; with more processes than before, the new ones share generators with the old.

    Returns:
        Where the run stood, or None if it has no checkpoint yet.

    Raises:
        ValueError: if the file is damaged or belongs to another model.
    """
    path = run / CHECKPOINT
    if not path.is_file():
        return None
    stored = io.BytesIO(path.read_bytes())
    try:
        content: dict[str, Any] = torch.load(stored, map_location="cpu", weights_only=True)
        if content["format"] != _FORMAT:
            raise ValueError(f"it has format {content['format']!r}, this version reads {_FORMAT}")
        model.load_state_dict(content["model"])
        regularizers.load_state_dict(content["regularizers"])
        optimizer.load_state_dict(content["optimizer"])
    except (RuntimeError, ValueError, KeyError, EOFError, OSError, pickle.UnpicklingError) as error:
        # a damaged file makes PyTorch fail in many ways, some of them without a word
        reason = str(error).strip().split("\n")[0].rstrip(".") or "the file is damaged"
        raise ValueError(f"{path} cannot be resumed from: {reason}.") from None
    states = content["generators"]
    state = states[rank % len(states)]
    torch.set_rng_state(torch.tensor(state["torch"], dtype=torch.uint8))
    if state["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all([torch.tensor(one, dtype=torch.uint8) for one in state["cuda"]])
    name, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), position, has_gauss, cached))
    version, inner, gauss = state["python"]
    random.setstate((version, tuple(inner), gauss))
    return Progress(**content["progress"])
