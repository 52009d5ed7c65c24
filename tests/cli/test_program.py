# SPDX-License-Identifier: MIT
"""The whole command line: help for a person, one line for every mistake, an exit code for each end."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import hypersphere
from command_line import Recorder, check_mistake
from hypersphere.cli import main
from hypersphere.cli.program import COMMANDS
from hypersphere.training.failures import Diverged


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (Diverged("the energy of model.conv1_0 is nan at step 3."), "the energy of model.conv1_0 is nan at step 3."),
        (ValueError("first\nsecond"), "first\nsecond"),
        (TypeError("labels must be integers."), "labels must be integers."),
        (ImportError('this needs pip install "hypersphere[train]"'), 'this needs pip install "hypersphere[train]"'),
        (OSError(28, "No space left on device", "runs/x"), "runs/x: No space left on device."),
        (OSError(28, "No space left on device"), "No space left on device."),
        (FileExistsError("runs/x exists already."), "runs/x exists already."),
        (ValueError(), "ValueError"),
    ],
)
def test_an_error_is_one_line(
    recorder: Recorder,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    line: str,
) -> None:
    recorder.error = error
    assert main(["train", "digits"]) == 2
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", f"hypersphere: {line}\n")
    monkeypatch.setenv("HYPERSPHERE_DEBUG", "1")
    with pytest.raises(type(error)) as caught:
        main(["train", "digits"])
    assert caught.value is error


def test_a_fault_of_ours_keeps_its_traceback(recorder: Recorder) -> None:
    recorder.error = RuntimeError("mat1 and mat2")
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        main(["train", "digits"])


def test_an_unknown_command_gets_the_nearest_one(capsys: pytest.CaptureFixture[str]) -> None:
    known = ", ".join(sorted(COMMANDS))
    check_mistake(capsys, "trian digits", f"unknown command 'trian': choose {known} (did you mean 'train'?)")


@pytest.mark.parametrize(
    "words",
    [[], ["--help"], *([name, "--help"] for name in COMMANDS), ["evaluate", "-h"]],
)
def test_help_is_for_a_person(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert "  hypersphere " in printed.out
    assert "==SUPPRESS==" not in printed.out


def test_commands_come_in_the_order_of_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    text = capsys.readouterr().out
    places = [text.index(f"\n    {name} ") for name in COMMANDS]
    assert places == sorted(places)


def test_help_waits_for_nothing_heavy() -> None:
    script = "import sys; from hypersphere.cli import main; main(['--help']); print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in run.stdout.splitlines()[-1].split()}
    assert "hypersphere" in loaded
    assert loaded.isdisjoint({"torch", "numpy", "jsonargparse", "yaml", "PIL", "accelerate"})


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"hypersphere {hypersphere.__version__}\n"


def test_a_reader_that_has_enough_is_no_error() -> None:
    script = "import sys; from hypersphere.cli import main; sys.exit(main(['train', '--help']))"
    # the reading end is closed before anything is written
    reading, writing = os.pipe()
    os.close(reading)
    run = subprocess.run([sys.executable, "-c", script], stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert (run.returncode, run.stderr) == (0, "")
