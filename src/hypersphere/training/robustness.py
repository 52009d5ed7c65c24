# SPDX-License-Identifier: MIT
"""Attacks on the model of a finished run: what is attacked, on which images, and where the result goes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hypersphere.checks import check_count
from hypersphere.config import DataConfig
from hypersphere.data import ImageSet, load_images
from hypersphere.evaluation.attacks import Logits
from hypersphere.evaluation.minimum_norm import require_foolbox
from hypersphere.evaluation.protocol import EPSILON, choose_attacks
from hypersphere.evaluation.robustness import measure_robustness, write_robustness
from hypersphere.models import Classifier, PixelClassifier, load_classifier
from hypersphere.training.environment import current_device
from hypersphere.training.folder import CONFIG_FILE, result_stem
from hypersphere.training.run import check_fit, trained_steps
from hypersphere.training.settings import read_config

__all__ = ["SAMPLES", "evaluate_robustness", "lines", "pixels_to_logits"]

SAMPLES = 1000
"""How many images are attacked when nobody says."""
_BATCH = 250


def evaluate_robustness(
    folder: Path,
    *,
    data: DataConfig | None = None,
    split: str = "test",
    source: Path | None = None,
    samples: int | None = None,
    epsilon: float = EPSILON,
    minimum: bool = True,
    seed: int = 0,
    quiet: bool = False,
) -> tuple[dict[str, Any], Path]:
    """Attack the trained classifier of a run folder in float32, and write the result into it.

    Args:
        folder: a finished run.
        data: other images than the run's own, of the same classes and the same shape.
        split: which of them.
        source: another finished run on the same classes and shape, on which attacks are made that are tried here.
        samples: how many images, drawn by seed, the same for every run on the split; None for 1000, or all if fewer.
        epsilon: L-inf radius in units of pixels of [0, 1].
        minimum: look for the smallest change of each image too; needs the extra `robustness`.
        seed: of the draw and of random starts.
        quiet: show no progress.

    Returns:
        The content of the JSON file that was written, and its path: `evaluation/robustness.json` for the run's own
        test images, with data and split in its name for others.

    Raises:
        FileNotFoundError: if a folder holds no trained model.
        ImportError: if `minimum` is asked for and foolbox is not installed.
        ValueError: if images or source do not fit the model, or a number is out of range.
    """
    choose_attacks(epsilon=epsilon)
    check_count("robustness", "seed", seed, low=0)
    if minimum:
        # before data is read
        require_foolbox()
    classifier, spec = load_classifier(folder)
    other = None
    if source is not None:
        _check_source(folder, source)
        other, other_spec = load_classifier(source)
        _check_same(folder, spec["data"], source, other_spec["data"])
    config = read_config(folder / CONFIG_FILE)
    images = load_images(data or config.data, split=split)
    check_fit(images, spec["data"], folder)
    indices = draw_samples(images, samples, seed=seed)
    device = current_device()
    found = measure_robustness(
        pixels_to_logits(classifier, spec["data"], device),
        _batches(images.subset(indices), device, quiet),
        epsilon=epsilon,
        source=pixels_to_logits(other, other_spec["data"], device) if other is not None else None,
        minimum=minimum,
        seed=seed,
    )
    own = split == "test" and data in (None, config.data)
    stem = "robustness" if own else result_stem("robustness", images.name, split)
    summary = write_robustness(
        folder,
        found,
        split=split,
        indices=indices,
        source_name=None if source is None else source.resolve().name,
        step=trained_steps(folder),
        stem=stem,
    )
    return summary, folder / "evaluation" / f"{stem}.json"


def pixels_to_logits(classifier: Classifier, data: dict[str, Any], device: torch.device) -> Logits:
    """Images (N, C, H, W) in [0, 1] -> logits: the run's own mean and deviation are part of what is attacked.

    Args:
        classifier: put on `device`, in evaluation mode, its parameters without gradient.
        data: section `data` of `model.json`; mean and deviation are in units of pixels 0..255.
        device: where images will be.
    """
    deployed = PixelClassifier(classifier, data).to(device).eval().requires_grad_(False)

    def logits(images: Tensor) -> Tensor:
        found: Tensor = deployed(255 * images)["logits"]
        return found

    return logits


def draw_samples(images: ImageSet, samples: int | None, *, seed: int) -> np.ndarray:
    """Numbers of the images to attack in rising order, a function of seed and size alone.

    Raises:
        ValueError: if there are fewer images than asked for.
    """
    if samples is None:
        samples = min(SAMPLES, len(images))
    check_count("robustness", "samples", samples)
    if samples > len(images):
        raise ValueError(f"robustness: {samples} samples asked for, but this split of {images.name} has {len(images)}.")
    return np.sort(np.random.default_rng(seed).choice(len(images), samples, replace=False))


def lines(summary: dict[str, Any]) -> list[str]:
    """What was found as a person reads it: a table, quantiles, and the checks for masked gradients."""
    source = summary["source"]
    rows = [("", "right", "made on the source" if source else "")]
    rows.append(("no attack", f"{summary['clean_accuracy']:.2%}", ""))
    for one in summary["attacks"]:
        transferred = f"{one['transfer_accuracy']:.2%}" if "transfer_accuracy" in one else ""
        rows.append((f"{one['name']}: {one['description']}", f"{one['robust_accuracy']:.2%}", transferred))
    words = {"linf": "L-inf", "l2": "L2"}
    rows += [
        (f"all bounded {words[norm]} attacks together", f"{share:.2%}", "")
        for norm, share in summary["together"].items()
        if share is not None
    ]
    width = max(len(row[0]) for row in rows)
    text = [f"{name:<{width}}  {own:>8}  {other}".rstrip() for name, own, other in rows]
    if source:
        text.append(f"the source {source['name']} is right for {source['accuracy']:.2%} when left alone")
    for norm, sizes in summary["minimum"].items():
        half, tenth = (_length(sizes[name], norm) for name in ("median", "tenth"))
        text.append(
            f"smallest change that fools, {words[norm]}: median {half}, a tenth of the images below {tenth}; "
            f"none found for {sizes['num_not_found']} of {sizes['num_samples']}"
        )
    text.append(f"signs of masked gradients: {summary['num_suspicious']} of {len(summary['findings'])} checks")
    text += [f"  {'!' if one['suspicious'] else ' '} {one['text']}" for one in summary["findings"]]
    return text


def _length(value: float | None, norm: str) -> str:
    if value is None:
        return "unknown"
    return f"{255 * value:.2f}/255" if norm == "linf" else f"{value:.3f}"


def _batches(images: ImageSet, device: torch.device, quiet: bool) -> Iterator[tuple[Tensor, Tensor]]:
    """Images in [0, 1]; at a terminal a line says how many are done."""
    shown = sys.stderr.isatty() and not quiet
    done = 0
    for pixels, labels in images.batches(_BATCH):
        if shown:
            sys.stderr.write(f"\r\x1b[2Kattacked {done} of {len(images)} images")
            sys.stderr.flush()
        yield pixels.to(device).float() / 255, labels.to(device)
        done += len(labels)
    if shown:
        sys.stderr.write("\r\x1b[2K")


def _check_source(folder: Path, source: Path) -> None:
    if folder.resolve() == source.resolve():
        raise ValueError(
            f"robustness: {source} is the run itself; attacks made on it are the other columns already. Give as "
            "source a run of another seed or another network."
        )


def _check_same(folder: Path, data: dict[str, Any], source: Path, other: dict[str, Any]) -> None:
    """Raise ValueError unless two models answer the same question about the same images."""
    if data["image_shape"] != other["image_shape"]:
        raise ValueError(
            f"robustness: the source {source} was trained on images of shape {tuple(other['image_shape'])}, {folder} "
            f"on {tuple(data['image_shape'])}."
        )
    if data["class_names"] != other["class_names"]:
        raise ValueError(
            f"robustness: the source {source} knows other classes than {folder}: {len(other['class_names'])} against "
            f"{len(data['class_names'])}, or of other names or in another order."
        )
