# SPDX-License-Identifier: MIT
"""A run ends the same however often it is killed, leaves what it promises, and loses nothing to a mistake."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from house import ROOT
from hypersphere.config import DataConfig
from hypersphere.data import load_images
from hypersphere.models import load_classifier
from hypersphere.training import run as run_room
from hypersphere.training.checkpoint import CHECKPOINT
from hypersphere.training.loop import Trainer
from hypersphere.training.run import evaluate, train
from hypersphere.training.settings import read_config
from tiny_runs import digits_config, lines, timeless, weights, with_training

FILES = {"config.yaml", "environment.json", "metrics.jsonl", "model.json", "model.safetensors"}


@pytest.fixture(autouse=True)
def no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Writing pages takes longer than these runs, and has tests of its own."""

    def write(run: Path) -> Path:
        page = run / "report.html"
        page.write_text("<title>a run</title>")
        return page

    monkeypatch.setattr("hypersphere.report.write_report", write)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was never interrupted; tests only read it."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_room, "_write_report", lambda run: None)
        train(digits_config(), folder, quiet=True)
    return folder


def test_a_run_leaves_what_it_promises(tmp_path: Path, finished: Path) -> None:
    result = train(digits_config(), tmp_path / "run", quiet=True)
    assert {path.name for path in (tmp_path / "run").iterdir() if path.is_file()} == FILES | {"report.html"}
    assert (tmp_path / "run" / CHECKPOINT).is_file()
    assert read_config(tmp_path / "run" / "config.yaml") == digits_config()
    assert (result.steps, result.split, result.already_finished) == (7, "test", False)
    assert result.report == tmp_path / "run" / "report.html"
    summary = json.loads((tmp_path / "run" / "evaluation" / "classification.json").read_text())
    assert (summary["step"], summary["num_samples"], summary["split"]) == (7, 500, "test")
    assert summary["accuracy"] == result.accuracy == lines(tmp_path / "run", "evaluation")[-1]["accuracy"]
    # the same seed on the same machine: the same bytes
    assert weights(tmp_path / "run") == weights(finished)
    assert timeless(tmp_path / "run") == timeless(finished)
    assert [line["step"] for line in lines(finished, "train")] == [2, 4, 6, 7]
    assert [line["step"] for line in lines(finished, "evaluation")] == [0, 4, 7]


def test_another_seed_gives_other_weights(tmp_path: Path, finished: Path) -> None:
    train(digits_config(training__seed=1), tmp_path / "run", quiet=True)
    assert weights(tmp_path / "run") != weights(finished)


def test_two_runs_of_different_precision_in_one_process(tmp_path: Path) -> None:
    for precision in ("float32", "bfloat16", "float32"):
        config = digits_config(training__precision=precision, training__steps=1)
        assert train(config, tmp_path / f"{len(list(tmp_path.iterdir()))}", quiet=True).steps == 1
    assert weights(tmp_path / "0") == weights(tmp_path / "2") != weights(tmp_path / "1")


def test_tuning_sees_the_validation_split_and_the_last_word_is_on_test(tmp_path: Path) -> None:
    train(digits_config(data__validation=0.2), tmp_path / "run", quiet=True)
    assert {line["split"] for line in lines(tmp_path / "run", "evaluation")} == {"validation"}
    summary = json.loads((tmp_path / "run" / "evaluation" / "classification.json").read_text())
    assert (summary["split"], summary["num_samples"]) == ("test", 500)


# -- interruptions ----------------------------------------------------------------------------------------------------


def killed(folder: Path, *, num_trials: int, seed: int) -> dict[str, object]:
    """What `killed_runs.py` found."""
    command = [sys.executable, str(ROOT / "tests" / "killed_runs.py"), str(folder), str(num_trials), str(seed)]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=1200)
    assert run.returncode == 0, run.stderr
    found: dict[str, object] = json.loads(run.stdout.splitlines()[-1])
    return found


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_run_killed_at_any_line_ends_bit_for_bit_as_if_it_had_not_been(tmp_path: Path) -> None:
    found = killed(tmp_path, num_trials=6, seed=0)
    assert found["different"] == []
    assert found["kills"] >= 6
    assert found["lines"] > 5000


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_run_killed_at_very_many_lines(tmp_path: Path) -> None:
    found = killed(tmp_path, num_trials=150, seed=int(time.time()))
    assert found["different"] == []


@pytest.mark.parametrize("step", range(1, 7))
def test_a_run_stopped_after_any_step_goes_on_bit_for_bit(
    tmp_path: Path, finished: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    advance = Trainer._advance

    def stop_after(trainer: Trainer, images: torch.Tensor, labels: torch.Tensor, *, due: int) -> None:
        advance(trainer, images, labels, due=due)
        if due == step:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Trainer, "_advance", stop_after)
    with pytest.raises(KeyboardInterrupt, match=r"^$"):
        train(digits_config(), tmp_path / "run", quiet=True)
    monkeypatch.setattr(Trainer, "_advance", advance)
    assert torch.load(tmp_path / "run" / CHECKPOINT, weights_only=True)["progress"]["step"] == step
    assert not (tmp_path / "run" / "model.safetensors").exists()
    result = train(digits_config(), tmp_path / "run", resume=True, quiet=True)
    assert not result.already_finished
    assert weights(tmp_path / "run") == weights(finished)
    assert timeless(tmp_path / "run") == timeless(finished)


def test_a_finished_run_says_so_and_changes_nothing(tmp_path: Path) -> None:
    train(digits_config(), tmp_path / "run", quiet=True)
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    result = train(digits_config(), tmp_path / "run", resume=True, quiet=True)
    assert result.already_finished
    assert result.accuracy == json.loads((tmp_path / "run/evaluation/classification.json").read_text())["accuracy"]
    assert {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()} == before


def test_a_terminal_that_asks_to_stop_gets_a_checkpoint_and_the_way_on(tmp_path: Path) -> None:
    out = tmp_path / "run"
    words = ["train", "digits", "--out", str(out)]
    words += ["--training.steps", "100000", "--training.threads", "1", "--training.log_every", "1"]
    script = f"import sys; from hypersphere.cli import main; sys.exit(main({words!r}))"
    with subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and process.poll() is None:
            if (out / "metrics.jsonl").exists() and lines_so_far(out) > 3:
                break
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert errors.splitlines()[-1] == f"hypersphere: stopped; go on with: hypersphere train --resume --out {out}"
    assert "Traceback" not in errors
    stored = torch.load(out / CHECKPOINT, weights_only=True)["progress"]
    assert stored["step"] == lines(out, "train")[-1]["step"]
    assert stored["metrics_bytes"] == (out / "metrics.jsonl").stat().st_size


def lines_so_far(run: Path) -> int:
    return (run / "metrics.jsonl").read_bytes().count(b"\n")


# -- mistakes ---------------------------------------------------------------------------------------------------------


def test_a_mistake_leaves_no_folder_behind(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown model 'digits-cn'"):
        train(digits_config(model__name="digits-cn"), tmp_path / "run", quiet=True)
    with pytest.raises(ValueError, match=r"unknown data set 'digts'.*did you mean 'digits'"):
        train(digits_config(data__name="digts"), tmp_path / "run", quiet=True)
    with pytest.raises(ValueError, match=r"training.batch_size is 5000, but the train split of digits has only 1297"):
        train(digits_config(training__batch_size=5000), tmp_path / "run", quiet=True)
    assert list(tmp_path.iterdir()) == []


def test_a_run_is_not_written_over(finished: Path) -> None:
    before = weights(finished)
    with pytest.raises(FileExistsError, match=r"whole exists already. Give another --out, or --resume"):
        train(digits_config(), finished, quiet=True)
    assert weights(finished) == before


def test_a_run_is_not_resumed_with_other_settings(finished: Path) -> None:
    config = with_training(digits_config(), seed=3)
    with pytest.raises(ValueError, match=r"with other settings: training.seed: 0 in the run, 3 now. Leave them"):
        train(config, finished, resume=True, quiet=True)


def test_a_report_that_fails_does_not_lose_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(run: Path) -> Path:
        raise ZeroDivisionError

    monkeypatch.setattr("hypersphere.report.write_report", fail)
    result = train(digits_config(training__steps=1), tmp_path / "run", quiet=True)
    assert result.report is None
    assert (tmp_path / "run" / "evaluation" / "classification.json").is_file()
    assert caplog.messages == [f"no report was written for {tmp_path / 'run'}: ZeroDivisionError"]


def test_train_and_test_must_belong_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def other_test(config: DataConfig, *, split: str, whole: bool = False) -> object:
        images = load_images(config, split=split, whole=whole)
        images.class_names = images.class_names[:9] + (["nine"] if split == "test" else ["9"])
        return images

    monkeypatch.setattr(run_room, "load_images", other_test)
    with pytest.raises(ValueError, match=r"digits: train and test differ, 10 classes of images \(1, 8, 8\) against 10"):
        train(digits_config(), tmp_path / "run", quiet=True)


def test_a_run_learns_from_random_parts_and_is_judged_by_the_middle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The shape that the model sees is that of the part, and `evaluate` prepares images alike."""
    seen: list[tuple[int, ...]] = []
    step = Trainer._step

    def watched(trainer: Trainer, images: torch.Tensor, labels: torch.Tensor) -> None:
        seen.append(tuple(images.shape))
        step(trainer, images, labels)

    monkeypatch.setattr(Trainer, "_step", watched)
    config = with_training(digits_config(), steps=3)
    config.data = DataConfig(name="synthetic", size=12, resize="squeeze", crop=8)
    found = train(config, tmp_path / "run", quiet=True)
    assert seen == [(48, 3, 8, 8)] * 3
    prepared = json.loads((tmp_path / "run" / "model.json").read_text())["data"]
    assert prepared["image_shape"] == [3, 8, 8]
    assert (prepared["size"], prepared["resize"], prepared["crop"]) == (12, "squeeze", 8)
    again, _ = evaluate(tmp_path / "run")
    assert (again["accuracy"], again["num_samples"]) == (found.accuracy, 20)
    config.data.crop = 13
    with pytest.raises(ValueError, match=r"synthetic: data\.crop is 13, larger than its images of 12x12"):
        train(config, tmp_path / "other", quiet=True)


# -- evaluation of a finished run -------------------------------------------------------------------------------------


@pytest.fixture
def copied(tmp_path: Path, finished: Path) -> Path:
    """A finished run that a test may change."""
    folder = tmp_path / "copied"
    folder.mkdir()
    for path in [path for path in finished.rglob("*") if path.is_file() and path.parent.name != "state"]:
        target = folder / path.relative_to(finished)
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(path.read_bytes())
    return folder


def test_evaluating_again_finds_the_same(copied: Path) -> None:
    before = json.loads((copied / "evaluation" / "classification.json").read_text())
    with np.load(copied / "evaluation" / "classification.npz") as archive:
        arrays = {name: archive[name] for name in archive.files}
    summary, path = evaluate(copied)
    assert path == copied / "evaluation" / "classification.json"
    assert json.loads(path.read_text()) == summary
    # another number of threads may add in another order
    assert summary.pop("loss") == pytest.approx(before.pop("loss"), rel=1e-5)
    assert summary == before
    with np.load(copied / "evaluation" / "classification.npz") as archive:
        assert set(archive.files) == set(arrays)
        for name, array in arrays.items():
            np.testing.assert_allclose(archive[name], array, rtol=1e-2, atol=1e-3)


def test_other_images_get_files_of_their_own(copied: Path) -> None:
    before = (copied / "evaluation" / "classification.json").read_bytes()
    summary, path = evaluate(copied, split="train")
    assert path.name == "classification-digits-train.json"
    assert json.loads(path.read_text()) == summary
    assert (summary["split"], summary["num_samples"], summary["step"]) == ("train", 1297, 7)
    assert (copied / "evaluation" / "classification.json").read_bytes() == before


def test_the_last_word_agrees_with_the_model_on_disk(copied: Path) -> None:
    classifier, spec = load_classifier(copied)
    test = load_images("digits", split="test")
    with np.load(copied / "evaluation" / "classification.npz") as arrays:
        labels, predictions, confusion = arrays["labels"], arrays["predictions"], arrays["confusion"]
        features = torch.from_numpy(arrays["features"]).float()
        np.testing.assert_array_equal(arrays["class_vectors"], classifier.head.weight.detach().numpy())
    np.testing.assert_array_equal(labels, test.labels.numpy())
    pixels = (test.images.float() - spec["data"]["mean"][0]) / spec["data"]["std"][0]
    with torch.no_grad():
        torch.testing.assert_close(classifier.features(pixels), features, rtol=2e-3, atol=2e-3)
        np.testing.assert_array_equal(classifier(pixels).argmax(1).numpy(), predictions)
    assert confusion.sum() == 500
    assert (confusion.diagonal() == np.bincount(labels[labels == predictions], minlength=10)).all()


def test_images_that_do_not_fit_the_model_are_refused(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = load_images("digits", split="test")
    images.class_names = [*images.class_names[:9], "nine"]
    monkeypatch.setattr(run_room, "load_images", lambda config, split: images)
    with pytest.raises(
        ValueError,
        match=re.escape(
            f"digits has 10 classes, the model in {copied} was trained on 10; the first difference is 'nine' here, "
            "'9' there."
        ),
    ):
        evaluate(copied)
    images.image_shape = (3, 8, 8)
    with pytest.raises(ValueError, match=r"digits holds images of shape \(3, 8, 8\), the model in .* on \(1, 8, 8\)."):
        evaluate(copied)


def test_a_run_that_is_not_done_cannot_be_evaluated(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no file .*model.json"):
        evaluate(tmp_path)


def test_the_precision_of_training_is_that_of_evaluation(copied: Path) -> None:
    config = digits_config(training__precision="bfloat16")
    run_room.save_config(config, copied / "config.yaml")
    narrow, _ = evaluate(copied)
    run_room.save_config(replace(config, training=digits_config().training), copied / "config.yaml")
    exact, _ = evaluate(copied)
    assert narrow["loss"] != exact["loss"]
    assert narrow["loss"] == pytest.approx(exact["loss"], rel=0.02)
