# SPDX-License-Identifier: MIT
"""Heads without a margin: softmax over inner products, and over cosines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from hypersphere.formulas.margins.base import Margin

__all__ = ["NormalizedSoftmax", "Softmax"]


@dataclass(frozen=True)
class Softmax(Margin):
    r"""The ordinary classifier without bias: z_j = w_j · x, nothing is normalised and nothing made harder.

    Example:
        >>> Softmax().normalized
        False
    """

    normalized: ClassVar[bool] = False
    default_scale: ClassVar[float] = 1.0


@dataclass(frozen=True)
class NormalizedSoftmax(Margin):
    r"""Normalised softmax: z_j = scale · cos(theta_j), without a margin; scale 30 unless another is given.

    Scale "feature" makes it the cosine W-Softmax of SphereNet, z_j = |x| cos(theta_j); "learned" makes it NormFace.

    Source:
        wang2017normface; liu2017spherenet, sec. 3.3. The fixed scale is that of CocoLoss in OpenSphere.

    Example:
        >>> NormalizedSoftmax().default_scale
        30.0
    """
