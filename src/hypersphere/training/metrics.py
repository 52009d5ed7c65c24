# SPDX-License-Identifier: MIT
"""`metrics.jsonl`: one JSON object a line, appended, cut back to the checkpoint on resume."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

__all__ = ["MetricsFile", "Window"]


class MetricsFile:
    """An open `metrics.jsonl`.

    Args:
        path: the file; made if it is not there.
        keep: bytes to keep of what is there; what follows was written after the checkpoint and is cut off.
    """

    def __init__(self, path: Path, *, keep: int = 0) -> None:
        self.path = path
        self._file = open(path, "a+b")  # noqa: SIM115 - it stays open as long as the run
        self._file.truncate(keep)

    def write(self, line: dict[str, Any]) -> None:
        """Append one line; a reader sees it whole at once."""
        self._file.write(json.dumps(_plain(line), allow_nan=False).encode() + b"\n")
        self._file.flush()

    def size(self) -> int:
        """Bytes written so far, on disk when this returns."""
        self._file.flush()
        os.fsync(self._file.fileno())
        return self._file.seek(0, os.SEEK_END)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _plain(value: Any) -> Any:
    """The same with None for what JSON has no number for."""
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


class Window:
    """Sums over the steps since the last line of metrics; part of the checkpoint, so resumed lines are the same."""

    def __init__(self, state: dict[str, float] | None = None) -> None:
        self.sums: dict[str, float] = dict(state or {})

    def add(self, **values: float) -> None:
        """Add one step's values."""
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + value

    def mean(self, name: str) -> float:
        """Mean over the steps of the window."""
        return self.sums.get(name, 0.0) / max(1.0, self.sums.get("steps", 0.0))

    def clear(self) -> None:
        """Begin a new window."""
        self.sums.clear()
