# SPDX-License-Identifier: MIT
"""Training images replaced by attacked ones, made by the network as it stands at that step."""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import Tensor

from hypersphere.config import Config
from hypersphere.evaluation.attacks import pgd
from hypersphere.models import Classifier
from hypersphere.nn.modes import evaluation_mode

__all__ = ["Adversary"]


class Adversary:
    """Attacks training batches as section `adversary` says; gives them back as they are where it says "none".

    The attack sees the network in evaluation mode: that is the network which will be attacked in the end, each image
    is then attacked by itself and not together with its batch, dropout draws nothing, and no running statistic moves
    by images that are only tried. It raises the cross-entropy of the inference logits; a margin of the head belongs to
    training alone.

    Args:
        config: sections adversary, data and training are read.
        classifier: the network that trains; not a wrapper for several processes, whose gradients it would gather.
    """

    def __init__(self, config: Config, classifier: Classifier) -> None:
        self.config = config
        self.settings = config.adversary
        self.seed = config.training.seed
        self.classifier = classifier
        self._mean, self._std = (
            torch.tensor(part).float().view(-1, 1, 1) for part in (config.data.mean, config.data.std)
        )

    def __call__(self, pixels: Tensor, targets: Tensor, *place: int) -> Tensor:
        """Attacked images in the form that training has them.

        Args:
            pixels: (N, C, H, W), mean subtracted and divided by the deviation.
            targets: (N,) true classes.
            place: whole numbers that tell this batch from every other of the run; with the seed they decide the random
                start, so that a resumed run repeats.
        """
        settings = self.settings
        if not settings.active or not len(pixels):
            return pixels
        mean, std = (part.to(pixels.device) for part in (self._mean, self._std))
        entropy = np.random.SeedSequence([self.seed, *place]).generate_state(1, np.uint64)
        generator = torch.Generator().manual_seed(int(entropy[0] >> 1))
        one = settings.attack == "fgsm"
        with evaluation_mode(self.classifier):
            attacked = pgd(
                lambda images: self._logits((255 * images - mean) / std),
                # back to [0, 1], where rounding may have left it by a hair
                ((pixels * std + mean) / 255).clamp(0.0, 1.0),
                targets,
                epsilon=settings.epsilon,
                steps=1 if one else settings.steps,
                step_size=settings.epsilon if one else settings.step_size,
                norm=settings.norm,
                random_start=settings.random_start,
                generator=generator,
            )
        return (255 * attacked - mean) / std

    def as_of_now(self) -> Adversary:
        """One that attacks a copy of the network, whatever becomes of the network afterwards."""
        return Adversary(self.config, copy.deepcopy(self.classifier)) if self.settings.active else self

    def _logits(self, pixels: Tensor) -> Tensor:
        logits = self.classifier(pixels)
        assert isinstance(logits, Tensor)
        return logits
