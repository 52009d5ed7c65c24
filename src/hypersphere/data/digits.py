# SPDX-License-Identifier: MIT
"""The 1797 scanned 8x8 digits that ship with scikit-learn, with a division that never changes."""

from __future__ import annotations

import numpy as np
import torch

from hypersphere.checks import check_choice
from hypersphere.data.division import hold_out
from hypersphere.data.extras import needed_for
from hypersphere.data.images import TensorImages

__all__ = ["NUM_TEST", "load_digits"]

NUM_TEST = 500


def load_digits(split: str) -> TensorImages:
    """Grey 8x8 images of the digits 0 to 9.

    Args:
        split: "train" (1297 images) or "test" (500, with 48 to 51 of each digit).

    Returns:
        Images with the 17 grey levels of the source, 0..16, spread over 0..255.

    Raises:
        ValueError: if there is no such split.
        ImportError: if scikit-learn is not installed.

    Edge cases:
        The images are in the order of scikit-learn. The division is this project's own: 500 images drawn from each
        digit in proportion, with seed 0, whatever the settings of a run. Writers are not told apart in the source, so
        the same hand can be in both parts.

    Source:
        The test part of "Optical Recognition of Handwritten Digits" (Alpaydin and Kaynak 1998, UCI repository).
    """
    check_choice("digits", "split", split, ("train", "test"))
    with needed_for("the digits data set"):
        import sklearn.datasets
    bunch = sklearn.datasets.load_digits()
    labels = bunch.target.astype(np.int64)
    # 16 becomes 255, 8 becomes 128
    pixels = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[:, None]
    rest, held = hold_out(labels, NUM_TEST, role="test", seed=0)
    chosen = held if split == "test" else rest
    names = [str(digit) for digit in range(10)]
    return TensorImages(torch.from_numpy(pixels[chosen]), torch.from_numpy(labels[chosen]), names, name="digits")
