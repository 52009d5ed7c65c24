# SPDX-License-Identifier: MIT
"""Commands are tried in an empty folder, with a training that only remembers how it was called."""

from __future__ import annotations

from pathlib import Path

import pytest

from command_line import Recorder
from hypersphere.training import run as training_run


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Recorder:
    """What stands in for `train`."""
    monkeypatch.chdir(tmp_path)
    made = Recorder()
    monkeypatch.setattr(training_run, "train", made)
    return made
