# SPDX-License-Identifier: MIT
"""SphereFace2: one logistic loss for each class in place of a softmax over all."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from hypersphere.checks import check_choice, check_range
from hypersphere.formulas.margins.base import Margin, State
from hypersphere.formulas.multiples import falling_cosine

__all__ = ["SphereFace2"]

# released margins of the three kinds
_MARGINS = {"cosine": 0.4, "angle": 0.5, "multiplier": 1.7}


@dataclass(frozen=True)
class SphereFace2(Margin):
    r"""SphereFace2: is it this class or not, asked of every class with one shared bias.

    With g(c) = 2 ((c + 1) / 2)^t - 1 and scale r, the logits are, for the own class and for all others,

    - "cosine" (C): r (g(c) - m) + b and r (g(c_j) + m) + b;
    - "angle" (A): r g(cos(min(theta + m, pi))) + b and r g(c_j) + b;
    - "multiplier" (M): r g(cos(min(m theta, pi))) + b and r g(c_j) + b;

    and the loss of a sample is `loss_weight` / r · (balance · softplus(-z_y) + (1 - balance) sum_j softplus(z_j)).

    Args:
        kind: "cosine", "angle" or "multiplier".
        margin: m; None for the released one: 0.4, 0.5 (radians) and 1.7.
        balance: weight of the own class, in [0, 1]; published 0.7.
        sharpness: t, in [1, 100]; published 3.
        loss_weight: above 0; released 50 (10 with VGGFace2). It is not in the paper's formula.

    Raises:
        ValueError: if `kind` is unknown or a number out of range.

    Edge cases:
        g is flat at 180 degrees for t > 1. The release replaces its slope by 1, for which gradient="detached" stands.

    Source:
        wen2022sphereface2, eq. 4 and 6; the bias starts where the loss of right angles is least.

    Example:
        >>> SphereFace2().inference(torch.tensor([1.0, 0.0, -1.0]))
        tensor([ 1.0000, -0.7500, -1.0000])
    """

    kind: str = "cosine"
    margin: float | None = None
    balance: float = 0.7
    sharpness: float = 3.0
    loss_weight: float = 50.0
    default_scale: ClassVar[float] = 40.0
    objective: ClassVar[str] = "binary"

    def __post_init__(self) -> None:
        who = "SphereFace2"
        check_choice(who, "kind", self.kind, tuple(_MARGINS))
        low, high = {"cosine": (0.0, 2.0), "angle": (0.0, math.pi), "multiplier": (1.0, 10.0)}[self.kind]
        if self.margin is not None:
            check_range(who, "margin", self.margin, low=low, high=high)
        check_range(who, "balance", self.balance, low=0.0, high=1.0)
        check_range(who, "sharpness", self.sharpness, low=1.0, high=100.0)
        check_range(who, "loss_weight", self.loss_weight, low=1e-6, high=1e6)

    @property
    def size(self) -> float:
        """The margin, that of the release where none was given."""
        return _MARGINS[self.kind] if self.margin is None else self.margin

    def target(self, cosine: Tensor, norm: Tensor, state: State) -> Tensor:
        """g of the harder cosine, less the margin for "cosine"."""
        if self.kind == "angle":
            cosine = falling_cosine(cosine, 1.0, self.size).clamp_min(-1)
        elif self.kind == "multiplier":
            cosine = falling_cosine(cosine, self.size).clamp_min(-1)
        harder = self.inference(cosine)
        return harder - self.size if self.kind == "cosine" else harder

    def others(self, cosine: Tensor, own: Tensor, state: State) -> Tensor:
        """g, with the margin added for "cosine"."""
        found = self.inference(cosine)
        return found + self.size if self.kind == "cosine" else found

    def inference(self, cosine: Tensor) -> Tensor:
        """g(c)."""
        return 2 * ((cosine + 1) / 2).clamp(0, 1).pow(self.sharpness) - 1

    def loss_factor(self, scale: float | Tensor) -> float | Tensor:
        """`loss_weight` / r."""
        return self.loss_weight / scale

    def first_bias(self, num_classes: int, scale: float) -> float:
        """The bias that makes the loss least when every feature is at right angles to every class vector.

        With z = balance / ((1 - balance) (K - 1)) and the two logits a_y, a_j there without bias,
        b = ln(2z) - a_j - ln(1 - z + sqrt((1 - z)² + 4 z exp(a_y - a_j))).

        Args:
            num_classes: K, 1 or more.
            scale: r.

        Edge cases:
            0 for a single class, or a balance of 0 or 1, where no finite bias is best.

        Example:
            >>> round(SphereFace2().first_bias(10572, 40.0), 3)
            5.582
        """
        if num_classes < 2 or self.balance in (0.0, 1.0):
            return 0.0
        right = torch.zeros((), dtype=torch.float64)
        one = torch.ones_like(right)
        own, other = (scale * float(z) for z in (self.target(right, one, {}), self.others(right, right, {})))
        share = self.balance / ((1 - self.balance) * (num_classes - 1))
        # sqrt((1 - z)² + 4 z e^d) without overflow: the exponential is taken out of the root where it is large
        half = max(own - other, 0.0) / 2
        root = math.sqrt((1 - share) ** 2 * math.exp(-2 * half) + 4 * share * math.exp(own - other - 2 * half))
        if share > 1:
            # few classes: 1 - z + root is what two large numbers leave, and 4 z e^d / (z - 1 + root)
            return math.log((share - 1) * math.exp(-half) + root) + half - own - math.log(2)
        return math.log(2 * share) - other - half - math.log((1 - share) * math.exp(-half) + root)
