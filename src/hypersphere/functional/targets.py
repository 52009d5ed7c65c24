# SPDX-License-Identifier: MIT
"""What a margin, a scale and a gradient mean for the products of features with class vectors."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Integer
from torch import Tensor

from hypersphere.checks import check_choice, check_matrix, check_range
from hypersphere.formulas.directions import full_precision, lengths, unit_rows, widen, working_dtype
from hypersphere.formulas.margins import Margin, Softmax
from hypersphere.functional.classification import check_whole, checked_labels, class_logits, readable
from hypersphere.kernels.classes import Comparison, Plan, own_places, own_products

__all__ = [
    "GRADIENTS",
    "MarginMeasures",
    "MarginTask",
    "check_number",
    "checked_scale",
    "known_labels",
    "own_cosines",
]

GRADIENTS = ("exact", "detached")


class MarginMeasures(NamedTuple):
    """What a margin loss saw on its way; constants to autograd.

    Args:
        own: cosine of each feature with the vector of its own class, (N,).
        nearest: cosine with the nearest vector of another class, (N,); -1 where there is no other.
        right: whether the own class wins without its margin, as it does in inference, (N,); a tie counts as lost.
        satisfied: whether the own class wins with its margin: its logit is above all others, or above 0 and all
            others below for a binary objective, (N,).
        energy: of class vectors, scalar; None where the head has none in its loss.
    """

    own: Float[Tensor, " N"]
    nearest: Float[Tensor, " N"]
    right: Bool[Tensor, " N"]
    satisfied: Bool[Tensor, " N"]
    energy: Float[Tensor, ""] | None = None


@dataclass
class MarginTask:
    """Arguments that have been checked, and what they mean for the products."""

    who: str
    margin: Margin
    scale: float | str | Tensor
    detached: bool
    annealing: float | Tensor
    state: Mapping[str, Tensor]
    bias: Tensor | None
    num_classes: int
    features: Tensor
    unit: Tensor
    norm: Tensor

    @staticmethod
    def of(
        who: str,
        features: Tensor,
        weight: Tensor,
        margin: Margin | None,
        scale: float | str | Tensor,
        gradient: str,
        annealing: float | Tensor,
        state: Mapping[str, Tensor] | None,
        bias: Tensor | None,
    ) -> MarginTask:
        """All checks that need no labels."""
        margin = Softmax() if margin is None else margin
        check_matrix(who, "features", features, "N D")
        check_matrix(who, "weight", weight, "C D")
        check_whole(who, weight)
        check_choice(who, "gradient", gradient, GRADIENTS)
        if features.shape[1] != weight.shape[1] or weight.shape[0] % margin.centers:
            several = f", C a multiple of the {margin.centers} centers" if margin.centers > 1 else ""
            raise ValueError(
                f"{who}: expected features (N, D) and weight (C, D) of one width D{several}, "
                f"got {tuple(features.shape)} and {tuple(weight.shape)}."
            )
        check_number(who, "annealing", annealing, low=0.0, high=1e9)
        if bias is not None:
            check_number(who, "bias", bias)
        scale = checked_scale(who, scale, margin)
        if not margin.normalized and (margin.changes_others or margin.objective == "binary" or bias is not None):
            raise ValueError(
                f"{who}: {type(margin).__name__} is not normalized, so it can change the own class alone, in a softmax "
                "without bias. Give it `normalized = True`."
            )
        start = margin.initial_state()
        if state is None:
            state = {name: features.new_full((), value, dtype=torch.float32) for name, value in start.items()}
        else:
            missing = [name for name in start if name not in state]
            if missing:
                raise ValueError(f"{who}: state lacks {', '.join(missing)}, which {type(margin).__name__} remembers.")
            # a copy: a head may have moved on before the backward pass computes logits again
            state = {name: state[name].detach().clone() for name in start}
        x = widen(features, working_dtype(torch.promote_types(features.dtype, weight.dtype)))
        unit = unit_rows(x)[0]
        classes = weight.shape[0] // margin.centers
        norm = (unit * x).sum(dim=1)
        return MarginTask(who, margin, scale, gradient == "detached", annealing, state, bias, classes, x, unit, norm)

    @property
    def number(self) -> float | Tensor:
        """The scale, 1 where each feature has its own."""
        return 1.0 if isinstance(self.scale, str) else self.scale

    @property
    def bent(self) -> bool:
        """Whether logits of other classes are anything but products of feature and class vector."""
        return self.margin.changes_others or self.bias is not None

    def prepare(self, *, measured: bool = False) -> tuple[Plan, Tensor, tuple[Tensor, ...]]:
        """How classes are compared, rows to compare them with, and parameters of the plan's function."""
        margin, own_norm = self.margin, isinstance(self.scale, str)
        reduction = "softplus" if margin.objective == "binary" else "logsumexp"
        if not self.bent:
            rows = self.features if own_norm or not margin.normalized else self.unit * self.number
            return Plan(margin.normalized, margin.centers, None, reduction, measured), rows, ()
        zero = self.unit.new_zeros(())
        bias = zero if self.bias is None else self.bias.to(zero.dtype).reshape(())
        factor = self.norm[None] if own_norm else (zero + self.number).to(zero.dtype)
        function = functools.partial(_others, margin, self.state, self.detached)
        return Plan(margin.normalized, margin.centers, function, reduction, measured), self.unit, (factor, bias)

    def cosine(self, own: Tensor, length: Tensor) -> tuple[Tensor, Tensor | float]:
        """Of the samples with their own classes: cosines (N,), and what they are multiplied by."""
        if not self.margin.normalized:
            # one after the other: the product of two small lengths may be none
            return _divided(_divided(own, self.norm), length), self.norm * length
        if isinstance(self.scale, str):
            return (own if self.bent else _divided(own, self.norm)), self.norm
        return (own if self.bent else own / self.scale), self.scale

    def harder(self, own: Tensor, length: Tensor) -> Tensor:
        """The logit of each sample's own class, (N,)."""
        cosine, factor = self.cosine(own, length)
        target = self.margin.target(cosine, self.norm, self.state)
        if target is cosine:
            # nothing is made harder, so there is nothing to leave out and nothing to anneal
            if not self.bent:
                return own
        else:
            if self.detached:
                target = _with_gradient_of(target, self.margin.detached(cosine))
            if isinstance(self.annealing, Tensor) or self.annealing > 0:
                share = self.annealing.to(target) if isinstance(self.annealing, Tensor) else self.annealing
                target = target.lerp(self.margin.inference(cosine), share / (1 + share))
        logit = factor * target
        return logit if self.bias is None else logit + self.bias.to(logit.dtype).reshape(())

    def logits(self, weight: Tensor, labels: Tensor) -> Tensor:
        """Logits (N, C) with the margin, of labels as `known_labels` gives them."""
        plan, rows, parameters = self.prepare()
        products = class_logits(rows, weight, normalize="weight" if plan.normalize else "none").t()
        with full_precision(rows.device):
            place = own_places(labels, plan.centers, lambda of_own: products.detach().gather(0, of_own[None])[0])
            place = place.clamp_min(0)
            own = products.gather(0, place[None])[0]
            length = own if plan.normalize else lengths(widen(weight[place], rows.dtype))
            logits = plan.logits(plan.of_classes(products), own, parameters).t()
            classes = torch.arange(self.num_classes, device=labels.device)
            return torch.where(classes == labels[:, None], self.harder(own, length)[:, None], logits)

    def inference(self, weight: Tensor) -> Tensor:
        """Logits (N, C) without labels."""
        plan, rows, _ = self.prepare()
        products = class_logits(rows, weight, normalize="weight" if plan.normalize else "none")
        products = plan.of_classes(products, dim=1)
        if not self.bent:
            return products
        factor = self.norm[:, None] if isinstance(self.scale, str) else self.scale
        logits = factor * self.margin.inference(products)
        return logits if self.bias is None else logits + self.bias.to(logits.dtype).reshape(())

    def measures(self, compared: Comparison, harder: Tensor) -> MarginMeasures:
        """Cosines, and whether the own class wins."""
        with torch.no_grad():
            own, _ = self.cosine(compared.own, compared.length)
            nearest, right = compared.nearest, compared.own > compared.largest
            if self.bent:
                right = own > nearest
            elif self.margin.normalized and not isinstance(self.scale, str):
                nearest = nearest / self.scale
            else:
                nearest = _divided(nearest, self.norm)
            if self.margin.objective == "binary":
                satisfied = (harder > 0) & (compared.largest < 0)
            else:
                satisfied = harder > compared.largest
            return MarginMeasures(own.clamp(-1, 1), nearest.clamp(-1, 1), right, satisfied)


def own_cosines(
    features: Float[Tensor, "N D"], weight: Float[Tensor, "CS D"], labels: Integer[Tensor, " N"], centers: int = 1
) -> Float[Tensor, " N"]:
    """Cosine of each feature with the nearest vector of its own class, a constant, for labels of `known_labels`."""
    dtype = working_dtype(torch.promote_types(features.dtype, weight.dtype))
    unit = unit_rows(features.detach().to(dtype))[0]
    products = functools.partial(_cosines, unit, weight.detach())
    return products(own_places(labels, centers, products).clamp_min(0)) * (labels >= 0)


def _cosines(unit: Tensor, weight: Tensor, rows: Tensor) -> Tensor:
    """Of N directions with one row each of the weight."""
    return own_products(unit, weight[rows].to(unit.dtype), normalize=True)


def _others(
    margin: Margin,
    state: Mapping[str, Tensor],
    detached: bool,
    cosine: Tensor,
    own: Tensor,
    factor: Tensor,
    bias: Tensor,
) -> Tensor:
    """Logits of other classes; a plan keeps this until the backward pass, so it holds no tensors but the state."""
    found = margin.others(cosine, own, state)
    if detached:
        found = _with_gradient_of(found, margin.detached(cosine))
    return torch.addcmul(bias, factor, found)


def _with_gradient_of(value: Tensor, easy: Tensor) -> Tensor:
    """`value`, for which `easy` stands in the backward pass."""
    return easy + (value - easy).detach()


def check_number(
    who: str, argument: str, value: float | Tensor, *, low: float = float("-inf"), high: float = float("inf")
) -> None:
    """Raise unless `value` is a number in [low, high], or a tensor of one, which is read where labels are too."""
    if isinstance(value, Tensor):
        if value.shape not in ((), (1,)):
            raise ValueError(f"{who}: expected {argument} to be one number, got shape {tuple(value.shape)}.")
        if not readable(value):
            return
        value = float(value.detach())
    check_range(who, argument, value, low=low, high=high)


def checked_scale(who: str, scale: float | str | Tensor, margin: Margin) -> float | str | Tensor:
    """What multiplies cosines: "feature", or a number.

    Raises:
        ValueError: if the scale is unknown, out of range, or none that this margin can have.
    """
    name = type(margin).__name__
    if isinstance(scale, str) and scale == "default":
        return margin.default_scale
    if not margin.normalized:
        raise ValueError(
            f"{who}: {name} has no scale, its logits are inner products with lengths as they are; got {scale!r}. Use "
            "scale='default', or margin='normalized_softmax' for a scale times cosines."
        )
    if isinstance(scale, str):
        check_choice(who, "scale", scale, ("default", "feature"))
    else:
        # one that is learned may go where nobody would start
        low, high = (1e-38, math.inf) if isinstance(scale, Tensor) else (1e-6, 1e6)
        check_number(who, "scale", scale, low=low, high=high)
        scale = scale if isinstance(scale, Tensor) else float(scale)
    if (scale == "feature") is not (margin.default_scale == "feature") and margin.weighs_loss:
        wanted = "'feature', the length of each" if margin.default_scale == "feature" else "one number"
        raise ValueError(f"{who}: the loss of {name} is weighed by its scale, which must be {wanted}; got {scale!r}.")
    return scale


def known_labels(who: str, labels: Tensor, num_samples: int, num_classes: int, ignore_index: int) -> Tensor:
    """Labels (N,) int64 with -1 for samples that do not count.

    Where labels cannot be read, one that is no class becomes one that every look-up refuses.
    """
    known = checked_labels(who, labels, num_samples, num_classes, ignore_index=ignore_index)
    return known.masked_fill(known < 0, num_classes).masked_fill(known == ignore_index, -1)


def _divided(value: Tensor, length: Tensor) -> Tensor:
    """value / length, 0 where that is 0.

    The length over itself carries the derivative, so that neither that nor its square is ever multiplied or divided by
    alone: at lengths of 1e-20 and 1e+18 they leave float32.
    """
    zero = length == 0
    fixed = length.detach().masked_fill(zero, 1.0)
    return (value / fixed).masked_fill(zero, 0.0) / (length / fixed).masked_fill(zero, 1.0)
