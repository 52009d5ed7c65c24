# SPDX-License-Identifier: MIT
"""A few drawn images of any size, so that any recipe can be tried at once: for dry runs, not for results."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import numpy as np
import torch

from hypersphere.checks import check_choice
from hypersphere.config.sizes import sides
from hypersphere.data.images import TensorImages

__all__ = ["NUM_CLASSES", "NUM_IMAGES", "load_synthetic"]

NUM_CLASSES = 10
# of each split; train fills the largest batch of a recipe, test is over soon even at full size
NUM_IMAGES: dict[str, int] = {"train": 300, "test": 20}
# standard deviation of the noise of each pixel
_NOISE = 16.0


def load_synthetic(split: str, *, size: int | Sequence[int] = 32) -> TensorImages:
    """Coloured stripes in noise; a class is a colour with a number of stripes, so a network learns them in a few steps.

    Args:
        split: "train" (300 images) or "test" (20), each class alike.
        size: height and width in pixels, >= 1: one number for both, or [height, width].

    Returns:
        Colour images in 10 classes, the same for a split and size every time. Place and direction of the stripes and
        the noise differ from image to image.

    Raises:
        ValueError: if there is no such split or the size is no whole number above 0.

    Example:
        >>> load_synthetic("test", size=16)
        TensorImages('synthetic', 20 colour images 16x16, 10 classes)
    """
    check_choice("synthetic", "split", split, tuple(NUM_IMAGES))
    height, width = sides("synthetic", "size", size)
    # a square is drawn as it always was
    random = np.random.RandomState([list(NUM_IMAGES).index(split), *dict.fromkeys((height, width))])
    num = NUM_IMAGES[split]
    labels = np.arange(num, dtype=np.int64) % NUM_CLASSES
    down, across = ((np.arange(side, dtype=np.float32) + 0.5) / side for side in (height, width))
    images = np.empty((num, 3, height, width), dtype=np.uint8)
    for number, label in enumerate(labels.tolist()):
        colour = np.array(colorsys.hsv_to_rgb(label / NUM_CLASSES, 1.0, 1.0), dtype=np.float32)
        turn, shift = random.uniform(0, 2 * np.pi, 2)
        place = np.cos(turn) * down[:, None] + np.sin(turn) * across[None, :]
        # 1 to 5 stripes across the image
        bright = 0.5 + 0.5 * np.sin(2 * np.pi * (1 + label % 5) * place + shift)
        pixels = 64 + 128 * colour[:, None, None] * bright + _NOISE * random.standard_normal((3, height, width))
        images[number] = np.clip(np.rint(pixels), 0, 255).astype(np.uint8)
    names = [f"colour {label}" for label in range(NUM_CLASSES)]
    return TensorImages(torch.from_numpy(images), torch.from_numpy(labels), names, name="synthetic")
