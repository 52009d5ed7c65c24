# SPDX-License-Identifier: MIT
"""The command line in tests: a training that only remembers how it was called, bare run folders, mistakes."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from hypersphere.cli import main
from hypersphere.config import Config
from hypersphere.training.settings import make_config, save_config

__all__ = ["Recorder", "check_mistake", "saved"]


class Recorder:
    """Stands in for `train`: remembers how it was called."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error
        self.config = Config()
        self.out = Path()
        self.resume = False
        self.quiet = False
        self.recalibrated: float | None = None

    def __call__(self, config: Config, out: Path, *, resume: bool = False, quiet: bool = False) -> SimpleNamespace:
        self.config, self.out, self.resume, self.quiet = config, out, resume, quiet
        if self.error is not None:
            raise self.error
        return SimpleNamespace(
            folder=out,
            accuracy=0.97654,
            split="test",
            steps=600,
            seconds=12.3,
            report=None if quiet else out / "report.html",
            already_finished=resume,
            recalibrated=self.recalibrated,
        )


def saved(folder: Path, recipe: str = "digits") -> Path:
    """A run folder with its settings and nothing else."""
    folder.mkdir(parents=True)
    save_config(make_config(recipe), folder / "config.yaml")
    return folder


def check_mistake(capsys: pytest.CaptureFixture[str], words: str, line: str) -> None:
    """Exit code 2, nothing on stdout, and one line on stderr: `line`, or what matches it as a pattern."""
    assert main(words.split()) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    told = printed.err.removeprefix("hypersphere: ").rstrip("\n")
    assert told == line or re.fullmatch(line, told), told
