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


def record(monkeypatch: pytest.MonkeyPatch, place: str, found: object) -> dict[str, object]:
    """What a function of the training room is called with, in its stead."""
    called: dict[str, object] = {}

    def stand_in(folder: Path, **how: object) -> object:
        called.clear()
        called.update(folder=folder, **how)
        return found

    monkeypatch.setattr(place, stand_in)
    return called


def test_verification_takes_its_flags(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place = "hypersphere.training.verification"
    called = record(monkeypatch, f"{place}.evaluate_verification", ({"rule": {}}, [Path("a.json"), Path("b.json")]))
    monkeypatch.setattr(f"{place}.lines", lambda found: [f"found {list(found)}"])
    run = saved(tmp_path / "run")
    plain = ["evaluate", str(run), "--protocol", "verification"]
    assert main(plain) == 0
    assert called == {"folder": run, "data": None, "fold": None}
    assert capsys.readouterr().out == "found ['rule']\nresult  a.json\nresult  b.json\n"
    assert main([*plain, "--pairs", "p.txt", "--flip", "none", "--fold", "all", "--data.name", "lfw"]) == 0
    assert called["data"] == make_config("digits", {"data.name": "lfw"}).data
    assert (called["pairs"], called["flip"], called["fold"]) == (Path("p.txt"), "none", 0)
    assert main([*plain, "--fold", "3"]) == 0
    assert called["fold"] == 3


def test_identification_takes_its_flags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = "hypersphere.training.identification"
    called = record(monkeypatch, f"{place}.evaluate_identification", ({}, Path("a.json")))
    monkeypatch.setattr(f"{place}.lines", lambda found: [])
    run = saved(tmp_path / "run")
    plain = ["evaluate", str(run), "--protocol", "identification"]
    assert main(plain) == 0
    assert called == {"folder": run, "data": None}
    words = ["--distractors", "random:9", "--flip", "sum", "--memory", "64", "--seed", "0", "--split", "train"]
    assert main([*plain, *words]) == 0
    asked = {"distractors": "random:9", "flip": "sum", "memory": 64, "seed": 0, "split": "train"}
    assert called == {"folder": run, "data": None} | asked


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("evaluate nope", "evaluate: nope is no run: there is no config.yaml in it."),
        ("evaluate there --optimizer.rate 1", "evaluate: only settings of data can change, got --optimizer.rate."),
        (
            "evaluate there --protocol robustness --recalibrate 5",
            "evaluate: --recalibrate belongs to --protocol classification.",
        ),
        ("evaluate there --seed 0", "evaluate: --seed belongs to --protocol robustness or identification."),
        (
            "evaluate there --no-minimum --samples 3",
            "evaluate: --samples, --no-minimum belongs to --protocol robustness.",
        ),
        ("evaluate there --flip sum", "evaluate: --flip belongs to --protocol verification or identification."),
        (
            "evaluate there --protocol verification --split train",
            "evaluate: --split belongs to --protocol classification or robustness or identification.",
        ),
        (
            "evaluate there --protocol identification --pairs x",
            "evaluate: --pairs belongs to --protocol verification.",
        ),
        ("evaluate there --protocol verification --fold x", "evaluate: --fold must be a number or all, got x."),
        ("evaluate there --protocol verifcation", r"argument --protocol: invalid choice: 'verifcation' .*"),
        ("evaluate there --data.nam x", "command line: unknown flag '--data.nam': did you mean '--data.name'?"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    recorder: Recorder, capsys: pytest.CaptureFixture[str], words: str, line: str
) -> None:
    saved(Path("there"))
    check_mistake(capsys, words, line)
