# SPDX-License-Identifier: MIT
"""A whole run: from a config to a folder with weights, metrics, evaluation and report."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from hypersphere.config import Config, DataConfig
from hypersphere.data import ImageSet, load_images, normalize_pixels
from hypersphere.evaluation import classify, write_classification
from hypersphere.files import write_atomically
from hypersphere.models import build_classifier, load_classifier, save_classifier
from hypersphere.training.environment import describe_environment
from hypersphere.training.loop import Trainer
from hypersphere.training.settings import differences, read_config, save_config

__all__ = ["RunResult", "evaluate", "train"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunResult:
    """What came out of a run.

    Args:
        folder: the run folder.
        accuracy: on `split`, in [0, 1].
        split: the images of the last evaluation.
        steps: optimiser steps.
        seconds: of training and evaluation, interruptions left out.
        report: the page, or None if it could not be written.
        already_finished: nothing was left to do.
    """

    folder: Path
    accuracy: float
    split: str
    steps: int
    seconds: float
    report: Path | None
    already_finished: bool = False


def train(config: Config, out: Path, *, resume: bool = False, quiet: bool = False) -> RunResult:
    """Train as `config` says, and leave everything in the folder `out`.

    Args:
        config: all settings.
        out: the run folder, made here. It must not hold anything unless `resume` is given.
        resume: go on from the last checkpoint of `out`; the result is the one of a run that was never interrupted.
        quiet: show no progress.

    Raises:
        FileExistsError: if `out` holds something and `resume` is not given.
        FileNotFoundError: if `resume` is given and `out` is no run folder.
        ValueError: if a setting is wrong, or differs from those of the run to resume.
        Diverged: if the loss is no longer finite.
        KeyboardInterrupt: after Ctrl-C, once a checkpoint is written.
        OSError: if a file cannot be read or written.

    Edge cases:
        Nothing is written before all data is read and the model is built.
    """
    _check_folder(config, out, resume)
    if config.training.threads is not None:
        torch.set_num_threads(config.training.threads)
    accelerator = make_accelerator(config)
    images = load_images(config.data, split="train")
    test = load_images(config.data, split="test")
    held_out, split = (
        (load_images(config.data, split="validation"), "validation") if config.data.validation else (test, "test")
    )
    _check_sets(images, test)
    torch.manual_seed(config.training.seed)
    spec = make_spec(config, images)
    classifier = build_classifier(spec)
    trainer = Trainer(config, out, images, held_out, split, classifier, accelerator, quiet=quiet)
    if accelerator.is_main_process and not resume:
        out.mkdir(parents=True, exist_ok=True)
        save_config(config, out / "config.yaml")
        environment = describe_environment(
            accelerator.device, seed=config.training.seed, num_processes=accelerator.num_processes
        )
        write_atomically(out / "environment.json", json.dumps(environment, indent=2) + "\n")
    accelerator.wait_for_everyone()
    trainer.fit()
    return _finish(trainer, spec, test, resume)


def make_accelerator(config: Config) -> Accelerator:
    """Devices and processes as the environment gives them, precision as the config says."""
    mixed = {"float32": "no", "bfloat16": "bf16"}[config.training.precision]
    return Accelerator(mixed_precision=mixed, cpu=not torch.accelerator.is_available())


def make_spec(config: Config, images: ImageSet) -> dict[str, Any]:
    """What `model.json` says: enough to rebuild the model and to feed it."""
    head = config.head
    return {
        "model": {"name": config.model.name, "arguments": config.model.arguments},
        "head": {
            "margin": head.margin,
            "scale": head.scale,
            "label_smoothing": head.label_smoothing,
            "probability_floor": head.probability_floor,
        },
        "data": {
            "name": config.data.name,
            "class_names": images.class_names,
            "image_shape": list(images.image_shape),
            "mean": config.data.mean,
            "std": config.data.std,
        },
    }


def _check_folder(config: Config, out: Path, resume: bool) -> None:
    """Refuse to write over a run, and to go on with another run's settings."""
    if not resume:
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise FileExistsError(f"{out} exists already. Give another --out, or --resume to go on with that run.")
        return
    if not (out / "config.yaml").is_file():
        raise FileNotFoundError(f"{out} is no run folder to resume: it has no config.yaml.")
    changed = differences(read_config(out / "config.yaml"), config)
    if changed:
        raise ValueError(f"cannot resume {out} with other settings: {'; '.join(changed)}.")


def _check_sets(train: ImageSet, test: ImageSet) -> None:
    if train.class_names != test.class_names or train.image_shape != test.image_shape:
        raise ValueError(
            f"{train.name}: train and test differ, {train.num_classes} classes of images {train.image_shape} against "
            f"{test.num_classes} of {test.image_shape}."
        )


def _finish(trainer: Trainer, spec: dict[str, Any], test: ImageSet, resumed: bool) -> RunResult:
    """The last word: weights, evaluation on test, report."""
    out, accelerator = trainer.folder, trainer.accelerator
    report = out / "report.html"
    summary_path = out / "evaluation" / "classification.json"

    def outcome(accuracy: float, page: Path | None, *, already_finished: bool = False) -> RunResult:
        seconds = trainer.progress.seconds
        return RunResult(out, accuracy, "test", trainer.total_steps, seconds, page, already_finished)

    if resumed and report.is_file() and summary_path.is_file():
        summary = json.loads(summary_path.read_text())
        if summary.get("step") == trainer.total_steps:
            return outcome(summary["accuracy"], report, already_finished=True)
    accuracy, written = float("nan"), None
    if accelerator.is_main_process:
        trainer.wrapped.eval()
        found = classify(trainer.forward, test.batches(512), keep_features=True)
        save_classifier(out, trainer.classifier, spec)
        write_classification(
            out,
            found,
            class_names=test.class_names,
            class_vectors=trainer.classifier.class_vectors,
            split="test",
            step=trainer.total_steps,
        )
        accuracy, written = found.accuracy, _write_report(out)
    accelerator.wait_for_everyone()
    return outcome(accuracy, written)


def _write_report(run: Path) -> Path | None:
    """The page, or None and a warning: a run must not be lost to its picture."""
    try:
        from hypersphere.report import write_report

        return write_report(run)
    except (ImportError, OSError, ValueError) as error:
        logger.warning("no report was written for %s: %s", run, error)
        return None


def evaluate(folder: Path, *, data: DataConfig | None = None, split: str = "test") -> dict[str, Any]:
    """Evaluate the trained classifier of a run folder, and write the result into it.

    Args:
        folder: a finished run.
        data: other images than the run's own; they must have as many classes and the same shape.
        split: which of them.

    Returns:
        The content of `evaluation/classification.json`.

    Raises:
        FileNotFoundError: if the folder holds no trained model.
        ValueError: if the images do not fit the model.
    """
    classifier, spec = load_classifier(folder)
    config = read_config(folder / "config.yaml")
    images = load_images(data or config.data, split=split)
    expected = spec["data"]
    if images.num_classes != len(expected["class_names"]) or list(images.image_shape) != expected["image_shape"]:
        raise ValueError(
            f"{images.name} has {images.num_classes} classes of images {tuple(images.image_shape)}, but the model in "
            f"{folder} was trained on {len(expected['class_names'])} classes of {tuple(expected['image_shape'])}."
        )

    def forward(pixels: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        features = classifier.features(normalize_pixels(pixels, expected["mean"], expected["std"]))
        return features, classifier.head(features), classifier.head(features, labels)

    result = classify(forward, images.batches(512), keep_features=True)
    return write_classification(
        folder, result, class_names=images.class_names, class_vectors=classifier.class_vectors, split=split
    )
