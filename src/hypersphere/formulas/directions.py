# SPDX-License-Identifier: MIT
"""Directions of vectors: u = w / sqrt(|w|² + eps) without underflow, overflow or division by zero."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["own_cosine", "unit_rows", "working_dtype"]

# rows whose largest entry is below this count as zero: their reciprocal norm would overflow
_ZERO_ROW = {torch.float32: 1e-30, torch.float64: 1e-290}


def working_dtype(dtype: torch.dtype) -> torch.dtype:
    """float32 for every dtype narrower than that, float64 for float64."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def unit_rows(vectors: Tensor, eps: float = 0.0) -> tuple[Tensor, Tensor]:
    """Directions along the last axis and the factor that made them, both differentiable.

    Args:
        vectors: (..., D), float32 or float64.
        eps: added inside the square root, >= 0.

    Returns:
        u (..., D) and 1 / sqrt(|w|² + eps) (..., 1); both are zero for a row that counts as zero (eps = 0, largest
        entry below 1e-30 in float32 and 1e-290 in float64), and so is its gradient.
    """
    # u does not depend on a common factor, so the factor that keeps squares in range is a constant to autograd
    largest = vectors.detach().abs().amax(dim=-1, keepdim=True)
    zero = largest < _ZERO_ROW[vectors.dtype]
    size = largest.clamp_min(eps**0.5) if eps else largest.masked_fill(zero, 1.0)
    scaled = vectors / size
    square = scaled.square().sum(dim=-1, keepdim=True)
    if eps:
        square = square + eps / size.square()
        factor = square.rsqrt()
    else:
        factor = square.masked_fill(zero, 1.0).rsqrt().masked_fill(zero, 0.0)
    return scaled * factor, factor / size


def own_cosine(unit: Tensor, eps: float) -> Tensor:
    """u · u of the rows of `unit_rows`, (...): below 1 by eps / (|w|² + eps), exactly 1 (or 0, zero row) for eps = 0.

    Without the rounding, the angle between w and -w would be off by 3e-4 rad in float32.
    """
    square = unit.square().sum(dim=-1)
    return square if eps else square.round()
