# SPDX-License-Identifier: MIT
"""What a head asks of a margin."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

__all__ = ["BatchStatistics", "Margin", "State"]

State = Mapping[str, Tensor]
"""What a margin remembers between steps, as scalars by name; the head owns them."""


@dataclass(frozen=True)
class BatchStatistics:
    """What a margin with a memory learns from a training batch, the batches of all processes together.

    Args:
        cosine: mean cosine of the samples with their own classes, scalar.
        norm: mean length of the features, scalar; see `Margin.length_bounds`.
        deviation: standard deviation of the lengths, with the divisor N - 1, scalar; 0 for one sample.
    """

    cosine: Tensor
    norm: Tensor
    deviation: Tensor


@dataclass(frozen=True)
class Margin:
    """What is made of the cosines of features with class vectors; a frozen specification without tensors of its own.

    For one of your own, write a frozen dataclass with `target`, and with whatever else differs from what stands here.
    All methods work elementwise on cosines of any shape, in float32 or float64, and are differentiable.

    Attributes:
        normalized: whether logits are a scale times cosines; otherwise they are inner products, and the target is
            multiplied by the lengths of feature and class vector.
        default_scale: the published factor of the cosines: a number, or "feature" for each feature's own length.
        objective: "softmax" for cross-entropy, "binary" for one logistic loss for each class.
        centers: class vectors of each class; its cosine is the largest of theirs.
        balance: weight of the own class in a binary objective; all others have what it lacks to 1.
        length_bounds: what the lengths of features are held in before a margin with a memory learns from them.
    """

    normalized: ClassVar[bool] = True
    default_scale: ClassVar[float | str] = 30.0
    objective: ClassVar[str] = "softmax"
    length_bounds: ClassVar[tuple[float, float]] = (0.0, math.inf)
    # fields of those that have them; without an annotation here, so that they are no fields of all
    centers = 1
    balance = 0.5

    def target(self, cosine: Tensor, norm: Tensor, state: State) -> Tensor:
        """The logit of the own class in units of the scale; `cosine` itself where nothing is made harder.

        Args:
            cosine: of the samples with their own classes.
            norm: lengths of the features, of a shape that broadcasts with `cosine`.
            state: see `initial_state`.
        """
        return cosine

    def others(self, cosine: Tensor, own: Tensor, state: State) -> Tensor:
        """Logits of all other classes in units of the scale; `own` is the sample's cosine with its own, no gradient."""
        return self.inference(cosine)

    def inference(self, cosine: Tensor) -> Tensor:
        """Logits without labels, in units of the scale; any increasing function of the cosine ranks classes alike."""
        return cosine

    @property
    def changes_others(self) -> bool:
        """Whether the logit of another class is anything but scale times cosine."""
        kind = type(self)
        return kind.others is not Margin.others or kind.inference is not Margin.inference

    @property
    def weighs_loss(self) -> bool:
        """Whether the objective is multiplied by something that goes with the default scale."""
        return type(self).loss_factor is not Margin.loss_factor

    def detached(self, cosine: Tensor) -> Tensor:
        """What stands for `target` and `others` in the backward pass where the margin's own gradient is left out."""
        return cosine

    def loss_factor(self, scale: float | Tensor) -> float | Tensor:
        """What the objective is multiplied by."""
        return 1.0

    def penalty(self, norm: Tensor, scale: float | Tensor) -> Tensor | None:
        """A loss of each feature's length alone, (N,), that is added to the objective."""
        return None

    def initial_state(self) -> dict[str, float]:
        """What is remembered between steps, and where it starts; empty for most."""
        return {}

    def advance(self, state: State, batch: BatchStatistics) -> dict[str, Tensor]:
        """The state after one more training batch, in use for that batch already."""
        return dict(state)
