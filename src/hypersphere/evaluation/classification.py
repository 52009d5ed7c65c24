# SPDX-License-Identifier: MIT
"""Closed-set classification: accuracy, loss, confusion, and the features that a report draws."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hypersphere.evaluation.results import write_results

__all__ = ["Classification", "classify", "write_classification"]

Forward = Callable[[Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]


@dataclass(frozen=True)
class Classification:
    """What a pass over labelled images found.

    Args:
        accuracy: share of images whose largest logit is that of their class, in [0, 1].
        loss: mean loss, nats.
        num_samples: N.
        features: (N, D) float16, or None if they were not kept.
        labels: (N,) int64.
        predictions: (N,) int64, -1 where a logit is not a number: such an image has no class and counts as wrong.
    """

    accuracy: float
    loss: float
    num_samples: int
    features: np.ndarray | None
    labels: np.ndarray
    predictions: np.ndarray

    def confusion(self, num_classes: int) -> np.ndarray:
        """(C, C) int64: how many images of the class of the row were taken for the class of the column, if for any."""
        named = self.predictions >= 0
        places = self.labels[named] * num_classes + self.predictions[named]
        counts = np.bincount(places, minlength=num_classes**2)
        return counts.reshape(num_classes, num_classes)


@torch.no_grad()
def classify(
    forward: Forward, batches: Iterable[tuple[Tensor, Tensor]], *, keep_features: bool = False
) -> Classification:
    """Run `forward` over `batches` and count.

    Args:
        forward: (images, labels) -> features (N, D), logits (N, C), mean loss (scalar).
        batches: pairs of images and labels.
        keep_features: hold the features of all images, N·D·2 bytes.

    Raises:
        ValueError: if there are no images.
    """
    features: list[Tensor] = []
    labels: list[Tensor] = []
    predictions: list[Tensor] = []
    losses: list[float] = []
    for images, batch_labels in batches:
        batch_features, logits, loss = forward(images, batch_labels)
        labels.append(batch_labels.cpu())
        predictions.append(logits.argmax(dim=1).masked_fill(logits.isnan().any(dim=1), -1).cpu())
        losses.append(float(loss) * len(batch_labels))
        if keep_features:
            features.append(_as_half(batch_features))
    if not labels:
        raise ValueError("classify: there are no images to evaluate on.")
    all_labels, all_predictions = torch.cat(labels).numpy(), torch.cat(predictions).numpy()
    return Classification(
        accuracy=float((all_labels == all_predictions).mean()),
        loss=float(np.sum(losses) / len(all_labels)),
        num_samples=len(all_labels),
        features=torch.cat(features).numpy() if keep_features else None,
        labels=all_labels,
        predictions=all_predictions,
    )


def _as_half(features: Tensor) -> Tensor:
    """Features in half the memory, unless they are too large for it."""
    wide = features.float().cpu()
    return wide.half() if wide.abs().amax() < 6e4 else wide


def write_classification(
    run: Path,
    result: Classification,
    *,
    class_names: Sequence[str],
    class_vectors: Tensor,
    split: str,
    step: int | None = None,
    stem: str = "classification",
    details: Mapping[str, object] | None = None,
) -> dict[str, object]:
    """Write `evaluation/<stem>.json` and `.npz` into a run folder; the older ones are replaced.

    Args:
        run: the run folder.
        result: of `classify`.
        class_names: C names.
        class_vectors: (C, D), weights of the head.
        split: which images were evaluated.
        step: of the training at which the weights were taken, or None.
        stem: of the two files; a report reads "classification".
        details: more entries of the JSON file.

    Returns:
        The content of the JSON file; loss is None where it is not finite, an accuracy where a class has no images.

    Raises:
        OSError: if a file cannot be written.
    """
    confusion = result.confusion(len(class_names))
    totals = np.bincount(result.labels, minlength=len(class_names))
    summary: dict[str, object] = {
        "protocol": "classification",
        "split": split,
        "num_samples": result.num_samples,
        "accuracy": result.accuracy,
        # JSON has no word for what is not a number
        "loss": result.loss if math.isfinite(result.loss) else None,
        "per_class_accuracy": [
            float(right / total) if total else None for right, total in zip(confusion.diagonal(), totals, strict=True)
        ],
        "class_names": list(class_names),
        "step": step,
        **(details or {}),
    }
    arrays = {
        "labels": result.labels,
        "predictions": result.predictions,
        "confusion": confusion,
        "class_vectors": class_vectors.detach().float().cpu().numpy(),
    }
    if result.features is not None:
        arrays["features"] = result.features
    write_results(run, stem, summary, arrays)
    return summary
