# SPDX-License-Identifier: MIT
"""What a run was made with: versions, commit, machine."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

import hypersphere

__all__ = ["describe_environment"]

_PACKAGES = ("torch", "numpy", "accelerate", "datasets", "safetensors", "pillow")


def describe_environment(device: torch.device, *, seed: int, num_processes: int) -> dict[str, Any]:
    """Everything that could make a difference, in plain values."""
    return {
        "hypersphere": hypersphere.__version__,
        "commit": _commit(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: importlib.metadata.version(name) for name in _PACKAGES},
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "load": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
        "num_processes": num_processes,
        "seed": seed,
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
    }


def _commit() -> str | None:
    """Commit of the source tree that runs, or None outside a repository."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except OSError:
        return None
    return found.stdout.strip() or None
