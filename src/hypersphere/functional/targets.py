# SPDX-License-Identifier: MIT
"""What a margin, a scale and a gradient mean for the products of features with class vectors."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from hypersphere.checks import check_choice, check_matrix, check_range
from hypersphere.formulas.directions import full_precision, lengths, unit_rows, widen, working_dtype
from hypersphere.formulas.margins import Margin, Softmax
from hypersphere.functional.classification import check_labels, class_logits
from hypersphere.kernels.classes import Comparison, Plan, own_products

__all__ = ["GRADIENTS", "MarginMeasures", "MarginTask", "checked_scale", "known_labels"]

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
    dtype: torch.dtype

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
        check_choice(who, "gradient", gradient, GRADIENTS)
        if features.shape[1] != weight.shape[1] or weight.shape[0] % margin.centers:
            several = f", C a multiple of the {margin.centers} centers" if margin.centers > 1 else ""
            raise ValueError(
                f"{who}: expected features (N, D) and weight (C, D) of one width D{several}, "
                f"got {tuple(features.shape)} and {tuple(weight.shape)}."
            )
        if not isinstance(annealing, Tensor):
            check_range(who, "annealing", annealing, low=0.0, high=1e9)
        dtype = working_dtype(torch.promote_types(features.dtype, weight.dtype))
        if state is None:
            start = margin.initial_state().items()
            state = {name: features.new_full((), value, dtype=torch.float32) for name, value in start}
        scale = checked_scale(who, scale, margin)
        classes = weight.shape[0] // margin.centers
        return MarginTask(who, margin, scale, gradient == "detached", annealing, state, bias, classes, dtype)

    @property
    def number(self) -> float | Tensor:
        """The scale, 1 where each feature has its own."""
        return 1.0 if isinstance(self.scale, str) else self.scale

    def norm(self, features: Tensor) -> Tensor:
        """Lengths of the features, (N,)."""
        return lengths(widen(features, self.dtype))

    def prepare(
        self, features: Tensor, weight: Tensor, labels: Tensor | None
    ) -> tuple[Plan, Tensor, tuple[Tensor, ...]]:
        """How classes are compared, rows to compare them with, and parameters of the plan's function."""
        x, margin = widen(features, self.dtype), self.margin
        objective = "softplus" if margin.objective == "binary" else "logsumexp"
        plan = Plan(normalize=margin.normalized, centers=margin.centers, reduction=objective)
        if labels is None or not margin.changes_others:
            rows = x if isinstance(self.scale, str) or not margin.normalized else unit_rows(x)[0] * self.scale
            return plan, rows, ()
        unit = unit_rows(x)[0]
        factor = self.norm(features) if isinstance(self.scale, str) else torch.as_tensor(self.scale).to(unit)
        own, _, _ = own_products(unit.detach(), weight.detach().to(self.dtype), labels, plan)
        bias = unit.new_zeros(()) if self.bias is None else self.bias.to(self.dtype).reshape(())
        parameters = (factor[None] if factor.ndim else factor, own[None], bias)
        return dataclasses.replace(plan, function=self._others), unit, parameters

    def _others(self, cosine: Tensor, factor: Tensor, own: Tensor, bias: Tensor) -> Tensor:
        found = self.margin.others(cosine, own, self.state)
        if self.detached:
            easy = self.margin.detached(cosine)
            found = easy + (found - easy).detach()
        return torch.addcmul(bias, factor, found)

    def cosine(self, features: Tensor, own: Tensor, length: Tensor) -> tuple[Tensor, Tensor | float, Tensor]:
        """Of the samples with their own classes: cosines (N,), what they are multiplied by, lengths of features."""
        x, margin = widen(features, self.dtype), self.margin
        unit, inverse = unit_rows(x)
        norm = (unit * x).sum(dim=1)
        if not margin.normalized:
            # one after the other: the product of two small lengths may be none
            return own * inverse[:, 0] * _reciprocal(length), norm * length, norm
        if margin.changes_others:
            return own, norm if isinstance(self.scale, str) else self.scale, norm
        if isinstance(self.scale, str):
            return own * inverse[:, 0], norm, norm
        return own / self.scale, self.scale, norm

    def harder(self, features: Tensor, own: Tensor, length: Tensor) -> Tensor:
        """The logit of each sample's own class, (N,)."""
        cosine, factor, norm = self.cosine(features, own, length)
        target = self.margin.target(cosine, norm, self.state)
        if target is cosine:
            # nothing is made harder, so there is nothing to leave out and nothing to anneal
            if not self.margin.changes_others:
                return own
        else:
            if self.detached:
                easy = self.margin.detached(cosine)
                target = easy + (target - easy).detach()
            if isinstance(self.annealing, Tensor) or self.annealing > 0:
                share = self.annealing.to(target) if isinstance(self.annealing, Tensor) else self.annealing
                target = (share * self.margin.inference(cosine) + target) / (1 + share)
        logit = factor * target
        return logit if self.bias is None else logit + self.bias.to(logit.dtype).reshape(())

    def logits(self, features: Tensor, weight: Tensor, labels: Tensor) -> Tensor:
        """Logits (N, C) with the margin, of labels as `known_labels` gives them."""
        plan, rows, parameters = self.prepare(features, weight, labels)
        products = class_logits(rows, weight, normalize="weight" if plan.normalize else "none").t()
        with full_precision(features.device):
            _, place, length = own_products(rows, widen(weight, rows.dtype), labels, plan)
            own = products.gather(0, place.clamp_min(0)[None])[0]
            logits = plan.logits(plan.of_classes(products), parameters).t()
            harder = self.harder(features, own, length)
            classes = torch.arange(self.num_classes, device=labels.device)
            return torch.where(classes == labels[:, None], harder[:, None], logits)

    def inference(self, features: Tensor, weight: Tensor) -> Tensor:
        """Logits (N, C) without labels."""
        if not self.margin.changes_others:
            plan, rows, _ = self.prepare(features, weight, None)
            logits = class_logits(rows, weight, normalize="weight" if plan.normalize else "none")
            return plan.of_classes(logits.t()).t()
        cosine = class_logits(features, weight)
        plan = Plan(centers=self.margin.centers)
        found = self.margin.inference(plan.of_classes(cosine.t()).t())
        factor = self.norm(features)[:, None] if isinstance(self.scale, str) else self.scale
        logits = factor * found
        return logits if self.bias is None else logits + self.bias.to(logits.dtype).reshape(())

    def measures(self, features: Tensor, compared: Comparison, harder: Tensor) -> MarginMeasures:
        """Cosines, and whether the own class wins."""
        with torch.no_grad():
            own, _, norm = self.cosine(features, compared.own, compared.length)
            nearest, right = compared.nearest, compared.own > compared.largest
            if self.margin.changes_others:
                right = own > nearest
            elif self.margin.normalized and not isinstance(self.scale, str):
                nearest = nearest / self.scale
            else:
                nearest = nearest * _reciprocal(norm)
            if self.margin.objective == "binary":
                satisfied = (harder > 0) & (compared.largest < 0)
            else:
                satisfied = harder > compared.largest
            return MarginMeasures(own.clamp(-1, 1), nearest.clamp(-1, 1), right, satisfied)


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
    elif not isinstance(scale, Tensor):
        check_range(who, "scale", scale, low=1e-6, high=1e6)
        scale = float(scale)
    if (scale == "feature") is not (margin.default_scale == "feature") and margin.weighs_loss:
        wanted = "'feature', the length of each" if margin.default_scale == "feature" else "one number"
        raise ValueError(f"{who}: the loss of {name} is weighed by its scale, which must be {wanted}; got {scale!r}.")
    return scale


def known_labels(who: str, labels: Tensor, num_samples: int, num_classes: int, ignore_index: int) -> Tensor:
    """Labels (N,) int64 with -1 for samples that do not count."""
    check_labels(who, labels, num_samples, num_classes, ignore_index=ignore_index)
    return labels.long().masked_fill(labels == ignore_index, -1)


def _reciprocal(length: Tensor) -> Tensor:
    """1 / length, 0 where that is 0."""
    zero = length == 0
    return length.masked_fill(zero, 1.0).reciprocal().masked_fill(zero, 0.0)
