# SPDX-License-Identifier: MIT
"""The batches that training sees, augmented, as a function of seed and step alone."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from hypersphere.config import Config
from hypersphere.data import ImageSet, augment

__all__ = ["check_batches", "training_batches"]


def training_batches(
    images: ImageSet, config: Config, first: int, last: int, *, rank: int = 0, world_size: int = 1
) -> Iterator[tuple[Tensor, Tensor]]:
    """One process's share of the batch of each step from `first` to `last`, the latter left out.

    Args:
        images: the train split, of one batch or more.
        config: sections data and training are read.
        first: number of steps before the first of these batches.
        last: number of steps behind the last of them; an epoch that ends before is followed by the next.
        rank: number of this process.
        world_size: processes that share a batch.

    Returns:
        Pairs of images (N, C, H, W), uint8, and labels (N,).
    """
    data, settings = config.data, config.training
    steps_per_epoch = images.num_batches(settings.batch_size, drop_last=True)
    step = first
    while step < last:
        epoch, start = divmod(step, steps_per_epoch)
        batches = images.batches(
            settings.batch_size,
            seed=settings.seed,
            epoch=epoch,
            shuffle=True,
            drop_last=True,
            start=start,
            rank=rank,
            world_size=world_size,
            images_per_identity=_per_identity(config),
        )
        for index, (pixels, labels) in enumerate(batches, start=start):
            seeds = np.random.SeedSequence([settings.seed, epoch, index, rank])
            generator = torch.Generator().manual_seed(int(seeds.generate_state(1, np.uint64)[0] >> 1))
            pixels = augment(
                pixels,
                padding=data.padding,
                padding_mode=data.padding_mode,
                crop=data.crop,
                flip=data.flip,
                generator=generator,
            )
            yield pixels, labels
            step += 1
            if step >= last:
                return


def check_batches(images: ImageSet, config: Config) -> None:
    """Raise ValueError if the train split cannot give such batches, before anything is done with them."""
    images.batches(config.training.batch_size, shuffle=True, drop_last=True, images_per_identity=_per_identity(config))


def _per_identity(config: Config) -> int | None:
    return config.data.images_per_identity if config.data.sampler == "identity" else None
