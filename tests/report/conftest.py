# SPDX-License-Identifier: MIT
"""Run folders for the tests of the report: made once, copied for each test that changes one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from hypersphere.report.run import Run, read_run
from hypersphere.report.story import Story, read_story
from run_folders import write_run


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with 3-D features; not to be changed."""
    return write_run(tmp_path_factory.mktemp("runs") / "digits", num_samples=120, steps=140)


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """The same run, to be changed at will."""
    return Path(shutil.copytree(made, tmp_path / "run"))


@pytest.fixture(scope="session")
def run(made: Path) -> Run:
    """The run as read."""
    return read_run(made)


@pytest.fixture(scope="session")
def story(made: Path) -> Story:
    """The run with all that is measured from it."""
    return read_story(made)
