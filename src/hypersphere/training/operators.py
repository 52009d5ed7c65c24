# SPDX-License-Identifier: MIT
"""What the operators of a finished model do with a few images, written into its run."""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from torch import Tensor, nn

from hypersphere.analysis.operators import measure_operators, write_operators
from hypersphere.data import ImageSet

__all__ = ["SHOWN", "record_operators"]

logger = logging.getLogger(__name__)

SHOWN = 256
"""Images of 32x32 points that layers are shown; of larger ones fewer, as many points, but eight at least."""
_FEWEST = 8
_POINTS = 32 * 32
# points of the images of one batch
_AT_ONCE = 32 * _POINTS


def record_operators(
    run: Path,
    model: nn.Module,
    images: ImageSet,
    forward: Callable[[Tensor, Tensor], object],
    *,
    split: str,
    step: int | None = None,
) -> bool:
    """Measure every convolution and dense layer on a few images; `evaluation/operators.json` and `.npz` hold it.

    Args:
        run: the run folder.
        model: whose layers are measured.
        images: which ones are taken from, spread over the whole set.
        forward: (images, labels) -> anything; runs the model.
        split: what `images` are.
        step: of the training at which the weights were taken, or None.

    Returns:
        Whether it was written. Whatever goes wrong becomes a warning: no run is lost to its description.
    """
    try:
        num, batches = _some(images)
        found = measure_operators(model, batches, forward=lambda batch: forward(*batch))
        if found:
            write_operators(run, found, num_samples=num, split=split, step=step)
        return bool(found)
    except Exception as error:
        logger.warning("the operators of %s were not measured: %s", run, str(error) or type(error).__name__)
        return False


def _some(images: ImageSet) -> tuple[int, Iterator[tuple[Tensor, Tensor]]]:
    """How many images are shown, and their batches."""
    points = math.prod(images.image_shape[1:])
    count = min(len(images), max(_FEWEST, min(SHOWN, SHOWN * _POINTS // points)))
    size = min(count, max(1, _AT_ONCE // points))
    try:
        return count, images.subset(np.linspace(0, len(images) - 1, count).round().astype(np.int64)).batches(size)
    except ValueError:
        # those that arrive over the network come in an order of their own
        rounds = max(1, count // size)
        return min(len(images), rounds * size), itertools.islice(images.batches(size), rounds)
