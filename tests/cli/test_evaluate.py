# SPDX-License-Identifier: MIT
"""Evaluation from the command line: which protocol, on which images."""

from __future__ import annotations

from pathlib import Path

import pytest

from command_line import Recorder, check_mistake, saved
from hypersphere.cli import main
from hypersphere.training import run as training_run
from hypersphere.training.settings import make_config


def test_evaluate_takes_other_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    called: dict[str, object] = {}

    def evaluate(folder: Path, **how: object) -> tuple[dict[str, object], Path]:
        called.update(folder=folder, **how)
        summary = {"split": "test", "accuracy": 0.5, "num_samples": 10, "loss": 1.25}
        return summary | {"recalibration": {"batches": 7, "accuracy_before": 0.25}}, Path("there.json")

    monkeypatch.setattr(training_run, "evaluate", evaluate)
    run = saved(tmp_path / "run")
    assert main(["evaluate", str(run)]) == 0
    assert called == {"folder": run, "data": None, "split": "test", "recalibrate": 0}
    assert capsys.readouterr().out.rstrip() == "test accuracy 0.5000 on 10 images, loss 1.2500\nresult  there.json"
    assert main(["evaluate", str(run), "--data.name", "mine", "--split", "train"]) == 0
    assert called["data"] == make_config("digits", {"data.name": "mine"}).data
    assert called["split"] == "train"
    capsys.readouterr()
    assert main(["evaluate", str(run), "--recalibrate", "7"]) == 0
    assert called["recalibrate"] == 7
    assert capsys.readouterr().out.splitlines()[1] == "as the model was saved: accuracy 0.2500"


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("evaluate nope", "evaluate: nope is no run: there is no config.yaml in it."),
        ("evaluate there --optimizer.rate 1", "evaluate: only settings of data can change, got --optimizer.rate."),
        (
            "evaluate there --protocol robustness --recalibrate 5",
            "evaluate: --recalibrate belongs to --protocol classification.",
        ),
        ("evaluate there --data.nam x", "command line: unknown flag '--data.nam': did you mean '--data.name'?"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    recorder: Recorder, capsys: pytest.CaptureFixture[str], words: str, line: str
) -> None:
    saved(Path("there"))
    check_mistake(capsys, words, line)
