# SPDX-License-Identifier: MIT
"""A whole run: from a config to a folder with weights, metrics, evaluation and report."""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator

from hypersphere.checks import check_count
from hypersphere.config import Config, DataConfig
from hypersphere.data import ImageSet, load_images, normalize_pixels
from hypersphere.evaluation import classify, write_classification
from hypersphere.files import write_atomically
from hypersphere.models import Classifier, build_classifier, load_classifier, save_classifier
from hypersphere.training.adversary import Adversary
from hypersphere.training.batches import training_batches
from hypersphere.training.checkpoint import CHECKPOINT
from hypersphere.training.environment import current_device, describe_environment, slow_precision
from hypersphere.training.folder import CONFIG_FILE, check_folder, claimed, result_stem
from hypersphere.training.head import head_spec
from hypersphere.training.loop import Trainer, autocast
from hypersphere.training.operators import record_operators
from hypersphere.training.recalibrate import recalibrate
from hypersphere.training.settings import read_config, save_config
from hypersphere.training.start import start_from

__all__ = ["RunResult", "check_fit", "evaluate", "train", "trained_steps"]

logger = logging.getLogger(__name__)

# the files of a run's own evaluation, and what stands behind the name of one with new running statistics
OFFICIAL, AGAIN = "classification", "-recalibrated"


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
        recalibrated: accuracy with running statistics measured again, which are those of the saved model; None where
            `training.recalibrate` is 0.
    """

    folder: Path
    accuracy: float
    split: str
    steps: int
    seconds: float
    report: Path | None
    already_finished: bool = False
    recalibrated: float | None = None


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
        BlockingIOError: if another process is training in `out`.
        ValueError: if a setting is wrong, or differs from those of the run to resume.
        Diverged: if the loss is no longer finite.
        KeyboardInterrupt: after Ctrl-C, once a checkpoint is written.
        OSError: if a file cannot be read or written.

    Edge cases:
        Nothing is written before all data is read and the model is built. Started by torchrun or `accelerate launch`,
        all processes call it alike; the first one writes.
    """
    if config.training.threads is not None:
        torch.set_num_threads(config.training.threads)
    accelerator = make_accelerator()
    if accelerator.is_main_process:
        check_folder(config, out, resume=resume)
        slow = slow_precision(accelerator.device, config.training.precision)
        if slow is not None:
            logger.warning(slow)
    # the first process decodes, the others find its result in the cache
    with accelerator.main_process_first():
        images = load_images(config.data, split="train", whole=True)
        test = load_images(config.data, split="test")
        held_out, split = (
            (load_images(config.data, split="validation"), "validation") if config.data.validation else (test, "test")
        )
    _check_sets(images if config.data.crop is None else images.center_crop(config.data.crop), test)
    seed_everything(config.training.seed)
    spec = make_spec(config, test)
    # numbers that do not fit the channels must be heard before anything is written
    _normalizer(spec["data"])(torch.zeros(0, *test.image_shape, dtype=torch.uint8))
    classifier = build_classifier(spec)
    start = None
    # a run that goes on has what it started from in its checkpoint
    if config.training.start_from is not None and not (out / CHECKPOINT).is_file():
        start = start_from(classifier, config.training.start_from)
        logger.info("start from %s", start.sentence())
    if accelerator.num_processes > 1:
        # the same weights everywhere, but dropout of its own for each share of a batch
        seed_everything(config.training.seed, accelerator.process_index)
    trainer = Trainer(config, out, images, held_out, split, classifier, accelerator, start=start, quiet=quiet)
    with _begun(config, out, accelerator):
        trainer.fit()
        return _finish(trainer, spec, test, resume)


@contextlib.contextmanager
def _begun(config: Config, out: Path, accelerator: Accelerator) -> Iterator[None]:
    """The folder with its first files, held against other processes."""
    if not accelerator.is_main_process:
        accelerator.wait_for_everyone()
        yield
        return
    out.mkdir(parents=True, exist_ok=True)
    with claimed(out):
        if not (out / CONFIG_FILE).is_file():
            save_config(config, out / CONFIG_FILE)
        if not (out / "environment.json").is_file():
            environment = describe_environment(
                accelerator.device, seed=config.training.seed, num_processes=accelerator.num_processes
            )
            write_atomically(out / "environment.json", json.dumps(environment, indent=2) + "\n")
        accelerator.wait_for_everyone()
        yield


def make_accelerator() -> Accelerator:
    """Devices and processes as the environment gives them; precision is the trainer's own affair."""
    return Accelerator(mixed_precision="no", cpu=not torch.accelerator.is_available())


def seed_everything(*seeds: int) -> None:
    """Set the random generators of Python, NumPy and PyTorch from one or more numbers >= 0."""
    derived = [int(word) for word in np.random.SeedSequence(seeds).generate_state(3)] if len(seeds) > 1 else seeds * 3
    random.seed(derived[0])
    np.random.seed(derived[1] % 2**32)
    torch.manual_seed(derived[2])


def make_spec(config: Config, images: ImageSet) -> dict[str, Any]:
    """What `model.json` says: enough to rebuild the model and to feed it."""
    return {
        "model": {"name": config.model.name, "arguments": config.model.arguments},
        "head": head_spec(config),
        "data": {
            "name": config.data.name,
            "class_names": images.class_names,
            "image_shape": list(images.image_shape),
            "size": config.data.size,
            "resize": config.data.resize,
            "crop": config.data.crop,
            "channel_order": config.data.channel_order,
            "mean": config.data.mean,
            "std": config.data.std,
        },
    }


def _normalizer(data: Mapping[str, Any]) -> Callable[[torch.Tensor], torch.Tensor]:
    """From pixels to what the network sees, as a section `data` says; models of before say nothing of the order."""
    order = data.get("channel_order", "rgb")
    return functools.partial(normalize_pixels, mean=data["mean"], std=data["std"], channel_order=order)


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

    def outcome(accuracies: list[float], page: Path | None, *, already_finished: bool = False) -> RunResult:
        accuracy, recalibrated = [*accuracies, None][:2]
        assert accuracy is not None
        seconds = trainer.progress.seconds
        return RunResult(out, accuracy, "test", trainer.total_steps, seconds, page, already_finished, recalibrated)

    def word(**how: Any) -> float:
        found = classify(trainer.forward, test.batches(test.evaluation_batch), keep_features=True)
        vectors = trainer.classifier.class_vectors
        names, step = test.class_names, trainer.total_steps
        write_classification(out, found, class_names=names, class_vectors=vectors, split="test", step=step, **how)
        return found.accuracy

    batches = trainer.config.training.recalibrate
    summaries = [OFFICIAL, *([f"{OFFICIAL}{AGAIN}"] if batches else [])]
    done = [_summary(out, stem) for stem in summaries]
    if resumed and report.is_file() and all(one.get("step") == trainer.total_steps for one in done):
        return outcome([float(one["accuracy"]) for one in done], report, already_finished=True)
    accuracies, written = [float("nan")], None
    trainer.wrapped.eval()
    if accelerator.is_main_process:
        accuracies = [word()]
    if batches:
        trainer.recalibrate()
    if accelerator.is_main_process:
        if batches:
            before = accuracies[0]
            accuracies.append(word(stem=summaries[1], details={"recalibration": _recalibration(batches, before)}))
        save_classifier(out, trainer.classifier, spec)
        record_operators(out, trainer.classifier, test, trainer.forward, split="test", step=trainer.total_steps)
        written = _write_report(out)
    accelerator.wait_for_everyone()
    return outcome(accuracies, written)


def _summary(run: Path, stem: str) -> dict[str, Any]:
    """What an evaluation of a run wrote; empty where there is none."""
    path = run / "evaluation" / f"{stem}.json"
    return dict(json.loads(path.read_text())) if path.is_file() else {}


def _recalibration(batches: int, accuracy_before: float | None) -> dict[str, Any]:
    return {"batches": batches, "accuracy_before": accuracy_before}


def _write_report(run: Path) -> Path | None:
    """The page, or None and a warning: a run must not be lost to its picture."""
    try:
        from hypersphere.report import write_report

        return write_report(run)
    except Exception as error:
        logger.warning("no report was written for %s: %s", run, str(error) or type(error).__name__)
        return None


def evaluate(
    folder: Path, *, data: DataConfig | None = None, split: str = "test", recalibrate: int = 0
) -> tuple[dict[str, Any], Path]:
    """Evaluate the trained classifier of a run folder, and write the result into it.

    Args:
        folder: a finished run.
        data: other images than the run's own, of the same classes and the same shape.
        split: which of them.
        recalibrate: training batches of the run from which running statistics are measured again before, for this
            evaluation alone: those that would have come after its last step. 0 takes the model as it was saved.

    Returns:
        The content of the JSON file that was written, and its path: `evaluation/classification.json` for the run's own
        test images, with data and split in its name for others, so that the last word on the run stays, and with
        "-recalibrated" behind it where the running statistics are not those as trained. The content then says in
        `recalibration` from how many batches they are, and the accuracy of the saved model.

    Raises:
        FileNotFoundError: if the folder holds no trained model.
        ValueError: if the images do not fit the model, or no layer of it has statistics to measure again.
    """
    check_count("evaluate", "recalibrate", recalibrate, low=0)
    classifier, spec = load_classifier(folder)
    config = read_config(folder / CONFIG_FILE)
    images = load_images(data or config.data, split=split)
    expected = spec["data"]
    check_fit(images, expected, folder)
    device = current_device()
    classifier.to(device)

    normalized = _normalizer(expected)

    def forward(pixels: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        with autocast(config, device):
            features = classifier.features(normalized(pixels.to(device)))
            return features, classifier.head(features), classifier.head(features, labels.to(device))

    own = split == "test" and data in (None, config.data)
    stem = OFFICIAL if own else result_stem(OFFICIAL, images.name, split)
    details = {}
    if recalibrate:
        before = classify(forward, images.batches(images.evaluation_batch)).accuracy
        _recalibrate(classifier, config, recalibrate, first=trained_steps(folder) or 0, device=device)
        details["recalibration"] = _recalibration(recalibrate, before)
    elif own and config.training.recalibrate:
        # the run has measured them itself and kept no others
        known = _summary(folder, OFFICIAL).get("accuracy")
        details["recalibration"] = _recalibration(config.training.recalibrate, known)
    if details:
        stem += AGAIN
    summary = write_classification(
        folder,
        classify(forward, images.batches(images.evaluation_batch), keep_features=True),
        class_names=images.class_names,
        class_vectors=classifier.class_vectors,
        split=split,
        step=trained_steps(folder),
        stem=stem,
        details=details,
    )
    if own and not recalibrate:
        record_operators(folder, classifier, images, forward, split=split, step=trained_steps(folder))
    return summary, folder / "evaluation" / f"{stem}.json"


def _recalibrate(classifier: Classifier, config: Config, batches: int, *, first: int, device: torch.device) -> None:
    """What `Trainer.recalibrate` does, in one process."""
    images = load_images(config.data, split="train", whole=True)
    adversary = Adversary(config, classifier).as_of_now()
    normalized = _normalizer(vars(config.data))
    parts = (
        adversary(normalized(pixels.to(device)), labels.to(device), step, 0, number)
        for step, batch in enumerate(training_batches(images, config, first, first + batches), start=first)
        for number, (pixels, labels) in enumerate(
            zip(*(half.chunk(config.training.accumulate) for half in batch), strict=True), start=1
        )
    )
    with autocast(config, device):
        recalibrate(classifier, parts)


def check_fit(images: ImageSet, expected: dict[str, Any], folder: Path) -> None:
    """Raise ValueError unless the images have the shape and the classes that the model was trained on."""
    if list(images.image_shape) != expected["image_shape"]:
        raise ValueError(
            f"{images.name} holds images of shape {tuple(images.image_shape)}, the model in {folder} was trained on "
            f"{tuple(expected['image_shape'])}."
        )
    known = expected["class_names"]
    if images.class_names != known:
        pairs = zip([*images.class_names, None], [*known, None], strict=False)
        here, there = next(pair for pair in pairs if pair[0] != pair[1])
        raise ValueError(
            f"{images.name} has {images.num_classes} classes, the model in {folder} was trained on {len(known)}; the "
            f"first difference is {here!r} here, {there!r} there."
        )


def trained_steps(folder: Path) -> int | None:
    """Steps behind the weights of a finished run, as its last evaluation says."""
    path = folder / "evaluation" / "classification.json"
    if not path.is_file():
        return None
    step = json.loads(path.read_text()).get("step")
    return int(step) if isinstance(step, int) else None
