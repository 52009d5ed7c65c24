# SPDX-License-Identifier: MIT
"""Which classes a loss meets when there are too many for each step: all of the batch, and others by chance."""

from __future__ import annotations

import torch
from jaxtyping import Float, Integer
from torch import Tensor

from hypersphere.checks import check_count
from hypersphere.functional.classification import checked_labels

__all__ = ["class_scores", "highest_classes", "num_sampled", "sample_classes"]

# of a class that is in the batch; all others have less than 1
_PRESENT = 2.0


def sample_classes(
    labels: Integer[Tensor, " N"],
    num_classes: int,
    rate: float,
    *,
    ignore_index: int = -100,
    generator: torch.Generator | None = None,
) -> tuple[Integer[Tensor, " S"], Integer[Tensor, " N"]]:
    r"""A set of classes for one loss: those of the batch, and others drawn without replacement, int(rate · C) in all.

    A loss over these classes alone is that of PartialFC. It is not weighed for what was left out.

    Args:
        labels: integers in [0, C), or `ignore_index`.
        num_classes: C, >= 1.
        rate: share of the classes, in (0, 1].
        ignore_index: label of samples that do not count.
        generator: where the others are drawn from, on the device of `labels`; the global one by default.

    Returns:
        The classes (S,), int64, in rising order, and the labels (N,), int64, as places in them, -100 for samples that
        do not count. S is int(rate · C), at least 1; with more classes in the batch than that, exactly these.

    Raises:
        ValueError: for wrong shapes, a rate out of range or a label that is no class (seen on CPU tensors).
        TypeError: if labels are not integers.

    Edge cases:
        How many classes there are is read back from the device.

    Source:
        an2021partial; its released code.

    Example:
        >>> sample_classes(torch.tensor([7, 2, 7]), 10, 0.2)
        (tensor([2, 7]), tensor([1, 0, 1]))
    """
    scores = class_scores(labels, num_classes, ignore_index=ignore_index, generator=generator)
    return highest_classes(scores, labels, rate, ignore_index=ignore_index)


def class_scores(
    labels: Integer[Tensor, " N"],
    num_classes: int,
    *,
    ignore_index: int = -100,
    generator: torch.Generator | None = None,
) -> Float[Tensor, " C"]:
    """A number for each class: 2 for those of the batch, otherwise one drawn from [0, 1). The highest are taken.

    Several processes agree on one set by the largest of their numbers, where all but one draw zeros.
    """
    check_count("sample_classes", "num_classes", num_classes, low=1)
    labels = checked_labels("sample_classes", labels, labels.shape[0], num_classes, ignore_index=ignore_index)
    # in float64, so that no two numbers are the same; one place more, for the samples that do not count
    scores = torch.rand(num_classes + 1, generator=generator, dtype=torch.float64, device=labels.device)
    scores[labels.masked_fill(labels == ignore_index, num_classes)] = _PRESENT
    return scores[:num_classes]


def highest_classes(
    scores: Float[Tensor, " C"], labels: Integer[Tensor, " N"], rate: float, *, ignore_index: int = -100
) -> tuple[Integer[Tensor, " S"], Integer[Tensor, " N"]]:
    """The classes with the highest `class_scores` and the labels as places in them; see `sample_classes`."""
    present = int((scores == _PRESENT).sum())
    size = max(num_sampled(scores.shape[0], rate), present)
    index = scores.topk(size).indices.sort().values
    labels = labels.long()
    ignored = labels == ignore_index
    places = torch.searchsorted(index, labels.masked_fill(ignored, 0))
    return index, places.masked_fill(ignored, -100)


def num_sampled(num_classes: int, rate: float) -> int:
    """int(rate · C), at least 1: how many classes a loss meets, unless the batch has more.

    Raises:
        ValueError: if the rate is not in (0, 1].

    Example:
        >>> num_sampled(100, 0.29)
        29
    """
    if not 0 < rate <= 1:
        raise ValueError(f"sample_classes: rate must lie in (0, 1], got {rate:g}.")
    # 0.29 · 100 is a little less than 29
    return max(1, int(rate * num_classes + 1e-6))
