# SPDX-License-Identifier: MIT
"""Training from the command line: which settings, which folder, how to go on."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from command_line import Recorder, check_mistake, saved
from hypersphere.cli import main
from hypersphere.training.settings import make_config


def test_a_run_from_end_to_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    short = ["--training.steps", "3", "--training.log_every", "1", "--model.arguments.width", "4", "--quiet"]
    assert main(["train", "digits", *short]) == 0
    told = capsys.readouterr().out
    assert re.search(r"^test accuracy 0\.\d{4} after 3 steps, \d+ s$", told, re.MULTILINE)
    assert "\nrun     runs/digits\nreport  runs/digits/report.html\n" in told
    assert Path("runs/digits/report.html").stat().st_size > 10_000

    assert main(["train", "digits", *short, "--out", "runs/digits"]) == 2
    assert capsys.readouterr().err == (
        "hypersphere: runs/digits exists already. Give another --out, or --resume to go on with that run.\n"
    )
    assert main(["train", "--resume", "--out", "runs/digits"]) == 0
    assert "(it had finished before)" in capsys.readouterr().out
    assert main(["train", "--resume", "--out", "runs/digits", "--training.steps", "9"]) == 2
    assert capsys.readouterr().err == (
        "hypersphere: cannot resume runs/digits with other settings: training.steps: 3 in the run, 9 now. "
        "Leave them as they were, or begin a new run with another --out.\n"
    )

    assert main(["evaluate", "runs/digits", "--split", "train"]) == 0
    told = capsys.readouterr().out
    assert re.search(r"^train accuracy 0\.\d{4} on 1297 images, loss \d+\.\d{4}\n", told)
    assert told.endswith("result  runs/digits/evaluation/classification-digits-train.json\n")
    assert main(["report", "runs/digits", "--out", "page.html"]) == 0
    assert capsys.readouterr().out == "report  page.html\n"
    assert Path("page.html").exists()
    assert main(["report", "runs/digits", "runs/digits"]) == 0
    assert capsys.readouterr().out == "report  comparison.html\n"
    assert Path("comparison.html").exists()


def test_train_says_what_came_out(recorder: Recorder, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "digits"]) == 0
    assert capsys.readouterr().out == (
        "test accuracy 0.9765 after 600 steps, 12 s\nrun     runs/digits\nreport  runs/digits/report.html\n"
    )
    assert main(["train", "digits", "--quiet"]) == 0
    assert recorder.quiet
    assert capsys.readouterr().out.endswith("report  none\n")
    recorder.recalibrated = 0.98
    assert main(["train", "digits"]) == 0
    assert capsys.readouterr().out.startswith("test accuracy 0.9765 (0.9800 recalibrated) after 600 steps, 12 s\n")


def test_flags_of_settings_may_stand_anywhere(recorder: Recorder) -> None:
    assert main(["train", "--training.epochs", "3", "digits", "--energy.power=2", "--out", "here"]) == 0
    assert (recorder.config.recipe, recorder.config.training.epochs, recorder.config.energy.power) == ("digits", 3, 2)
    assert (recorder.out, recorder.resume, recorder.quiet) == (Path("here"), False, False)


def test_a_run_without_a_folder_gets_the_next_free_one(recorder: Recorder) -> None:
    for expected in ("runs/digits", "runs/digits-2", "runs/digits-3"):
        assert main(["train", "digits"]) == 0
        assert recorder.out == Path(expected)
        recorder.out.mkdir(parents=True)
    assert main(["train", "digits", "--resume"]) == 0
    assert recorder.out == Path("runs/digits-3")
    Path("mine.yaml").write_text("training: {epochs: 1}")
    assert main(["train", "mine.yaml"]) == 0
    assert recorder.out == Path("runs/mine")


def test_resume_takes_the_settings_of_the_run(recorder: Recorder) -> None:
    saved(Path("there"), "cifar100-cnn9")
    assert main(["train", "--resume", "--out", "there"]) == 0
    assert recorder.resume
    assert recorder.config == make_config("cifar100-cnn9")


def test_ctrl_c_says_how_to_go_on(recorder: Recorder, capsys: pytest.CaptureFixture[str]) -> None:
    recorder.error = KeyboardInterrupt()
    # nothing is written yet while data is read
    assert main(["train", "digits", "--out", "early"]) == 130
    assert capsys.readouterr().err == "hypersphere: stopped.\n"
    saved(Path("there"))
    assert main(["train", "digits", "--resume", "--out", "there"]) == 130
    assert capsys.readouterr().err == ("hypersphere: stopped; go on with: hypersphere train --resume --out there\n")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("train digit", r"unknown recipe 'digit': choose .* \(did you mean 'digits'\?\)"),
        ("train", "train: which recipe? `hypersphere list recipes` shows them; --resume --out DIR needs none."),
        (
            "train --resume",
            "train: which recipe? `hypersphere list recipes` shows them; --resume --out DIR needs none.",
        ),
        (
            "train --resume --out nope",
            "train: nope holds no config.yaml, so there is no run to resume in it.",
        ),
        ("train digits --out", "argument --out: expected one argument (see hypersphere train --help)"),
        ("train digits more", "unrecognized arguments: more (see hypersphere --help)"),
        ("train digits --epochs 3", "command line: unknown flag '--epochs': did you mean '--training.epochs'?"),
        ("train digits --training.epochs x", "command line: training.epochs: expected a number, got 'x'."),
        ("train digits --training.epochs 0", "training: epochs must be above 0, got 0."),
        ("train nope.yaml", "there is no file nope.yaml."),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    recorder: Recorder, capsys: pytest.CaptureFixture[str], words: str, line: str
) -> None:
    saved(Path("there"))
    check_mistake(capsys, words, line)


def test_every_setting_is_in_the_help_of_train(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--help"]) == 0
    text = capsys.readouterr().out
    assert "How long, how fast and how often:" in text
    assert "--training.evaluate_every" in text
