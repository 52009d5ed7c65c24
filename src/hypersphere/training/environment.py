# SPDX-License-Identifier: MIT
"""What a run was made with: versions, commit, machine."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

import hypersphere

__all__ = ["current_device", "describe_environment", "has_bfloat16", "slow_precision"]

_PACKAGES = ("torch", "numpy", "accelerate", "datasets", "safetensors", "pillow")


def current_device() -> torch.device:
    """The accelerator that PyTorch has chosen, or the CPU where there is none."""
    return torch.accelerator.current_accelerator() or torch.device("cpu")


def has_bfloat16() -> bool:
    """Whether this processor has instructions for bfloat16; True where PyTorch cannot ask its CPU library."""
    supported = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)
    return supported is None or bool(supported())


def slow_precision(device: torch.device, precision: str) -> str | None:
    """What to say where the processor has no instructions for the precision of a run, or None."""
    if device.type != "cpu" or precision != "bfloat16" or has_bfloat16():
        return None
    return (
        "this processor has no instructions for bfloat16 and takes several times as long with it as with float32: "
        "--training.precision float32 will be faster."
    )


def describe_environment(device: torch.device, *, seed: int, num_processes: int) -> dict[str, Any]:
    """Everything that could make a difference, in plain values."""
    return {
        "hypersphere": hypersphere.__version__,
        "commit": _commit(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: importlib.metadata.version(name) for name in _PACKAGES if _installed(name)},
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "load": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
        "num_processes": num_processes,
        "seed": seed,
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
    }


def _installed(name: str) -> bool:
    return importlib.util.find_spec({"pillow": "PIL"}.get(name, name)) is not None


def _commit() -> str | None:
    """Commit of the source that runs, with `-dirty` where files differ from it; None if it lies in no repository."""
    # an installed package may lie inside somebody else's repository: only tracked files have this commit
    if _git("ls-files", "--error-unmatch", Path(__file__).name) is None:
        return None
    return _git("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")


def _git(*words: str) -> str | None:
    """What git says of the folder of this file, or None if it is not there or refuses."""
    command = ["git", "-C", str(Path(__file__).parent), *words]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() if found.returncode == 0 else None
