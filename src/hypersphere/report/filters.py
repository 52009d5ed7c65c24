# SPDX-License-Identifier: MIT
"""First-layer filters as small pictures that a page can hold."""

from __future__ import annotations

import base64
import io

import numpy as np

__all__ = ["filter_pixels", "picture"]


def filter_pixels(image: np.ndarray) -> np.ndarray:
    """A filter (C, H, W) as pixels (H, W) or (H, W, 3), uint8: zero is middle grey, the largest weight full contrast.

    Raises:
        ValueError: unless C is 1 or 3.
    """
    if image.ndim != 3 or image.shape[0] not in (1, 3):
        raise ValueError(f"filter_pixels: expected a filter (1 or 3, H, W), got shape {image.shape}.")
    finite = np.nan_to_num(image.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    reach = np.abs(finite).max() or 1.0
    pixels = np.rint(127.5 + 127.5 * finite / reach).astype(np.uint8)
    return pixels[0] if len(pixels) == 1 else np.moveaxis(pixels, 0, -1)


def picture(pixels: np.ndarray) -> str:
    """PNG of uint8 pixels (H, W) or (H, W, 3) as a data URI."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
