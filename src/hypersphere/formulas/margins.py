# SPDX-License-Identifier: MIT
"""Margins: what a classification head does to the cosine between a feature and the vector of its own class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

from torch import Tensor

__all__ = ["MARGINS", "Margin", "NormalizedSoftmax", "Softmax"]


class Margin(Protocol):
    """What a head asks of a margin. For one of your own, write a frozen dataclass with these three members."""

    @property
    def normalized(self) -> bool:
        """True where logits are a scale times cosines; False for inner products, and then `target` is not asked."""

    @property
    def default_scale(self) -> float | str:
        """The published factor of the cosines: a number, or "feature" for each feature's own norm."""

    def target(self, cosine: Tensor) -> Tensor:
        """The cosines (N, 1) of the samples with their own classes, made harder; the argument itself for no margin."""


@dataclass(frozen=True)
class Softmax:
    r"""The ordinary classifier without bias: z_j = w_j · x, nothing is normalised and nothing made harder.

    Example:
        >>> Softmax().normalized
        False
    """

    normalized: ClassVar[bool] = False
    default_scale: ClassVar[float] = 1.0

    def target(self, cosine: Tensor) -> Tensor:
        """`cosine` itself."""
        return cosine


@dataclass(frozen=True)
class NormalizedSoftmax:
    r"""Normalised softmax: z_j = scale · cos(theta_j), without a margin; scale 30 unless another is given.

    Scale "feature" makes it the cosine W-Softmax of SphereNet, z_j = |x| cos(theta_j); "learned" makes it NormFace.

    Source:
        wang2017normface; liu2017spherenet, sec. 3.3. The fixed scale is that of CocoLoss in OpenSphere.

    Example:
        >>> NormalizedSoftmax().default_scale
        30.0
    """

    normalized: ClassVar[bool] = True
    default_scale: ClassVar[float] = 30.0

    def target(self, cosine: Tensor) -> Tensor:
        """`cosine` itself."""
        return cosine


MARGINS: dict[str, Margin] = {
    "softmax": Softmax(),
    "normalized_softmax": NormalizedSoftmax(),
}
