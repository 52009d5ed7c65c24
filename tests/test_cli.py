# SPDX-License-Identifier: MIT
"""The command line: a run from end to end, help for a person, and one line for every mistake."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import hypersphere
from hypersphere.catalogue import FAMILIES
from hypersphere.cli import main
from hypersphere.config import Config
from hypersphere.training import run as training_run
from hypersphere.training.failures import Diverged
from hypersphere.training.settings import make_config, save_config


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


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Recorder:
    monkeypatch.chdir(tmp_path)
    made = Recorder()
    monkeypatch.setattr(training_run, "train", made)
    return made


def saved(folder: Path, recipe: str = "digits") -> Path:
    """A run folder with its settings and nothing else."""
    folder.mkdir(parents=True)
    save_config(make_config(recipe), folder / "config.yaml")
    return folder


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


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            "trian digits",
            "unknown command 'trian': choose diagnose, evaluate, export, list, report, thomson, train (did you mean "
            "'train'?)",
        ),
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
        ("evaluate nope", "evaluate: nope is no run: there is no config.yaml in it."),
        ("evaluate there --optimizer.rate 1", "evaluate: only settings of data can change, got --optimizer.rate."),
        (
            "evaluate there --protocol robustness --recalibrate 5",
            "evaluate: --recalibrate belongs to --protocol classification.",
        ),
        ("evaluate there --data.nam x", "command line: unknown flag '--data.nam': did you mean '--data.name'?"),
        ("report nope there", "report: not a run, there is no config.yaml in it: nope."),
        ("report", "the following arguments are required: RUN (see hypersphere report --help)"),
        ("diagnose", "the following arguments are required: WHAT (see hypersphere diagnose --help)"),
        ("diagnose nope.pt", "load_weights: there is no file nope.pt."),
        ("diagnose there", r"diagnose: the run in there has no model\.safetensors yet: it has not finished\."),
        ("diagnose there --distance x", r"argument --distance: invalid choice: 'x' .*"),
        ("thomson", "the following arguments are required: --points (see hypersphere thomson --help)"),
        ("thomson --points x", "argument --points: invalid int value: 'x' (see hypersphere thomson --help)"),
        ("thomson --points 1", "thomson: num_points must be a whole number of 2 or more, got 1."),
        ("thomson --points 3 --power -1", r"thomson: power must lie in \[0, 200\], got -1\."),
        ("thomson --points 90000", r"thomson: expected at most 50000 points .*: that takes days, or gigabytes .*"),
        ("thomson --points 3 --out there", "there exists already. Give another --out."),
        ("list energy", r"unknown family 'energy': choose .* \(did you mean 'energies'\?\)"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    recorder: Recorder, capsys: pytest.CaptureFixture[str], words: str, line: str
) -> None:
    saved(Path("there"))
    assert main(words.split()) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    told = printed.err.removeprefix("hypersphere: ").rstrip("\n")
    assert told == line or re.fullmatch(line, told), told


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


def test_diagnose_prints_a_table_and_writes_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    for name in ("plain", "other"):
        torch.save({"state_dict": torch.nn.Linear(20, 12).state_dict(prefix="fc.")}, f"{name}.pt")
    assert main(["diagnose", "plain.pt", "--power", "1", "--half-space"]) == 0
    told = capsys.readouterr().out
    assert re.search(r"^ fc +12 × 20 +0\.\d{4} +\d+% ", told, re.MULTILINE)
    assert "Energy: power 1, euclidean distance, half space." in told
    assert "Assumed: axis 0 of a weight counts its neurons" in told
    words = ["diagnose", "plain.pt", "other.pt", "--near", "60", "--json", "both.json", "--html", "both.html"]
    assert main(words) == 0
    told = capsys.readouterr().out
    assert told.startswith("plain.pt → other.pt\n")
    assert told.endswith("numbers  both.json\npage     both.html\n")
    read = json.loads(Path("both.json").read_text())
    assert list(read) == ["plain.pt", "other.pt"]
    assert read["plain.pt"]["near_angle"] == pytest.approx(math.radians(60))
    assert Path("both.html").stat().st_size > 10_000


def test_diagnose_does_not_open_what_could_run_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(torch.nn.Linear(2, 2), "whole.pt")
    assert main(["diagnose", "whole.pt"]) == 2
    told = capsys.readouterr().err
    assert told.startswith("hypersphere: load_weights: whole.pt is not opened: it holds torch.nn.modules.linear.Linear")
    assert told.count("\n") == 1


def test_thomson_prints_and_keeps_points(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["thomson", "--points", "5", "--dim", "4", "--power", "2", "--starts", "2", "--seed", "3"]
    assert main(words) == 0
    printed = capsys.readouterr()
    # a simplex: (N - 1)^2 / 4
    assert "\nsum over pairs  4.000000000\n" in printed.out
    assert "\nlowest possible 4.000000000\n" in printed.out
    assert "\nstarts          2 of 2 ended here, seed 3\n" in printed.out
    folder = "runs/thomson-5-4d-power2"
    assert printed.out.endswith(
        f"coordinates     {folder}/points.csv\nnumbers         {folder}/thomson.json\n"
        f"picture         {folder}/points.html\n"
    )
    assert printed.err.count("\n") == 2
    assert main(["thomson", "--points", "2", "--half-space", "--distance", "angular", "--starts", "1"]) == 0
    assert "picture         runs/thomson-2-3d-power1-angular-half/points.html\n" in capsys.readouterr().out
    assert main([*words, "--starts", "1"]) == 0
    assert "numbers         runs/thomson-5-4d-power2-2/thomson.json\n" in capsys.readouterr().out


def test_thomson_stopped_by_a_person_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("hypersphere.report.thomson.Watch.__call__", stop)
    assert main(["thomson", "--points", "5"]) == 130
    assert capsys.readouterr().err == "hypersphere: stopped.\n"
    assert list(tmp_path.iterdir()) == []


def test_list_shows_every_family(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    everything = capsys.readouterr().out
    assert re.findall(r"^(\w+):", everything, re.MULTILINE) == list(FAMILIES)
    assert main(["list", "models"]) == 0
    one = capsys.readouterr().out
    assert one in everything
    assert re.search(r"^  cnn9 +CNN-9 of the MHE paper", one, re.MULTILINE)


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--help"],
        ["train", "--help"],
        ["evaluate", "-h"],
        ["report", "-h"],
        ["thomson", "-h"],
        ["diagnose", "-h"],
        ["list", "-h"],
    ],
)
def test_help_is_for_a_person(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert "  hypersphere " in printed.out
    assert "==SUPPRESS==" not in printed.out


def test_every_setting_is_in_the_help_of_train(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--help"]) == 0
    text = capsys.readouterr().out
    assert "How long, how fast and how often:" in text
    assert "--training.evaluate_every" in text


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
