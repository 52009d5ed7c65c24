# SPDX-License-Identifier: MIT
"""Margin losses: from features and class vectors to logits with a margin, and to the loss without holding them all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, overload

import torch
from jaxtyping import Float, Integer
from torch import Tensor
from torch.nn import functional as F

from hypersphere.checks import check_choice, check_range
from hypersphere.formulas.directions import full_precision, widen
from hypersphere.formulas.margins import Margin
from hypersphere.functional.classification import readable
from hypersphere.functional.targets import MarginMeasures, MarginTask, check_number, known_labels
from hypersphere.kernels.classes import Comparison, compare, compare_plain
from hypersphere.kernels.eligible import reasons_not

__all__ = ["IMPLEMENTATIONS", "check_class_weights", "check_objective", "margin_logits", "margin_loss"]

IMPLEMENTATIONS = ("auto", "torch", "chunked")
# logits up to which the plain form is as fast, and can be differentiated twice
_LARGEST_PLAIN = 2**16


def margin_logits(
    features: Float[Tensor, "N D"],
    weight: Float[Tensor, "CS D"],
    labels: Integer[Tensor, " N"] | None = None,
    *,
    margin: Margin | None = None,
    scale: float | str | Tensor = "default",
    gradient: str = "exact",
    annealing: float | Tensor = 0.0,
    state: Mapping[str, Tensor] | None = None,
    bias: Tensor | None = None,
    ignore_index: int = -100,
) -> Float[Tensor, "N C"]:
    r"""Logits of N features and C classes, made harder by a margin where labels are given.

    .. math::
        z_{iy} = s_i \frac{\lambda\, g(\cos\theta_{iy}) + \varphi(\theta_{iy})}{1 + \lambda} + b, \qquad
        z_{ij} = s_i\, h(\cos\theta_{ij}) + b

    with the margin's target phi, and its g (inference) and h (other classes), which are the cosine itself for most.

    Args:
        features: x, N rows.
        weight: w, one row for each class, or as many as the margin has centers, side by side.
        labels: the own class of each sample, integers in [0, C), or `ignore_index`; None for inference: g everywhere.
        margin: a member of `hypersphere.margins`; None for the ordinary softmax, whose logits are x_i · w_j.
        scale: s. "default" (the margin's published one), "feature" (|x_i|), or a positive number or scalar tensor.
        gradient: "exact", or "detached": backward takes phi and h for the cosine (characteristic gradient detachment).
        annealing: lambda >= 0, a number or scalar tensor; 0 is the margin itself, a large one no margin. It
            is of the own class alone: what a margin makes of others stays.
        state: what the margin remembers; None for its start.
        bias: b, a scalar tensor, for margins of a binary objective.
        ignore_index: label of samples without a class; their logits are without a margin.

    Returns:
        (N, C), float32, or float64 where an input is.

    Raises:
        ValueError: for wrong shapes, a label that is no class (seen on CPU tensors, while not compiling), an option
            that is unknown or out of range, or a scale for a margin without one.
        TypeError: if labels are not integers or features not floating point.

    Edge cases:
        A zero feature or class vector has the cosine 0 with everything. All values and gradients are finite.

    Example:
        >>> from hypersphere.formulas.margins import CosFace
        >>> margin_logits(torch.tensor([[3.0, 4.0]]), torch.eye(2), torch.tensor([1]), margin=CosFace(0.5), scale=10.0)
        tensor([[6., 3.]])
    """
    task = MarginTask.of("margin_logits", features, weight, margin, scale, gradient, annealing, state, bias)
    if labels is None:
        return task.inference(weight)
    return task.logits(weight, known_labels(task.who, labels, features.shape[0], task.num_classes, ignore_index))


@overload
def margin_loss(
    features: Float[Tensor, "N D"],
    weight: Float[Tensor, "CS D"],
    labels: Integer[Tensor, " N"],
    *,
    margin: Margin | None = ...,
    scale: float | str | Tensor = ...,
    gradient: str = ...,
    annealing: float | Tensor = ...,
    state: Mapping[str, Tensor] | None = ...,
    bias: Tensor | None = ...,
    class_weights: Float[Tensor, " C"] | None = ...,
    label_smoothing: float = ...,
    probability_floor: float = ...,
    ignore_index: int = ...,
    num_samples: float | Tensor | None = ...,
    impl: str = ...,
    with_measures: Literal[False] = ...,
) -> Float[Tensor, ""]: ...


@overload
def margin_loss(
    features: Float[Tensor, "N D"],
    weight: Float[Tensor, "CS D"],
    labels: Integer[Tensor, " N"],
    *,
    margin: Margin | None = ...,
    scale: float | str | Tensor = ...,
    gradient: str = ...,
    annealing: float | Tensor = ...,
    state: Mapping[str, Tensor] | None = ...,
    bias: Tensor | None = ...,
    class_weights: Float[Tensor, " C"] | None = ...,
    label_smoothing: float = ...,
    probability_floor: float = ...,
    ignore_index: int = ...,
    num_samples: float | Tensor | None = ...,
    impl: str = ...,
    with_measures: Literal[True],
) -> tuple[Float[Tensor, ""], MarginMeasures]: ...


def margin_loss(
    features: Float[Tensor, "N D"],
    weight: Float[Tensor, "CS D"],
    labels: Integer[Tensor, " N"],
    *,
    margin: Margin | None = None,
    scale: float | str | Tensor = "default",
    gradient: str = "exact",
    annealing: float | Tensor = 0.0,
    state: Mapping[str, Tensor] | None = None,
    bias: Tensor | None = None,
    class_weights: Float[Tensor, " C"] | None = None,
    label_smoothing: float = 0.0,
    probability_floor: float = 0.0,
    ignore_index: int = -100,
    num_samples: float | Tensor | None = None,
    impl: str = "auto",
    with_measures: bool = False,
) -> Float[Tensor, ""] | tuple[Float[Tensor, ""], MarginMeasures]:
    r"""The loss of `margin_logits`, without their N·C numbers in memory where these are many.

    Cross-entropy, or a logistic loss for each class where the margin's objective is binary, times the margin's own
    factor, plus its penalty on the lengths of features; the mean over samples with a class.

    .. math::
        L = \frac{1}{\sum_i a_{y_i}} \sum_i a_{y_i} \ln\Big(1 + \sum_{j \ne y_i} e^{z_{ij} - z_{iy}}\Big)

    Only one column of the logits has the margin, so classes are met a chunk at a time: a running ln sum exp forward;
    backward the probabilities of a chunk become its part of both gradients. Class vectors are never copied: their
    lengths are divided out of the products.

    Args:
        features: x, N rows.
        weight: w, one row for each class, or as many as the margin has centers, side by side.
        labels: the own class of each sample, integers in [0, C), or `ignore_index`.
        margin: see `margin_logits`, as all up to `bias`.
        scale: s.
        gradient: "exact" or "detached".
        annealing: lambda.
        state: what the margin remembers.
        bias: b.
        class_weights: a, (C,) >= 0, of the samples of each class; None for 1.
        label_smoothing: epsilon in [0, 1]: share of the target spread over all classes, weighted by `class_weights` as
            in torch; for softmax only.
        probability_floor: f in [0, 1], added to the own probability before its logarithm; for softmax only.
        ignore_index: label of samples that do not count.
        num_samples: what the sum over samples is divided by, in place of their number (or the sum of their weights):
            on R processes that average gradients, the number over all processes, divided by R.
        impl: "torch" (plain: all logits in memory, differentiable any number of times), "chunked", or "auto":
            "torch" for few logits and wherever "chunked" cannot run.
        with_measures: also return what was seen on the way.

    Returns:
        Scalar, float32, or float64 where an input is; with `with_measures` a pair.

    Raises:
        ValueError: see `margin_logits`; also for smoothing with a floor or with a binary objective.
        TypeError: if labels are not integers or features not floating point.

    Edge cases:
        No sample with a class: 0, with gradient 0. A single class: 0 for softmax. A floor together with smoothing needs
        all logits in memory, whatever `impl` is.

    Example:
        >>> from hypersphere.formulas.margins import CosFace
        >>> features, labels = torch.tensor([[3.0, 4.0]]), torch.tensor([1])
        >>> margin_loss(features, torch.eye(2), labels, margin=CosFace(0.2), scale=10.0)
        tensor(0.6931)
    """
    who = "margin_loss"
    task = MarginTask.of(who, features, weight, margin, scale, gradient, annealing, state, bias)
    check_choice(who, "impl", impl, IMPLEMENTATIONS)
    check_objective(who, task.margin, label_smoothing, probability_floor)
    if class_weights is not None:
        check_class_weights(who, class_weights, task.num_classes)
    if num_samples is not None:
        check_number(who, "num_samples", num_samples, low=0.0)
    known = known_labels(who, labels, features.shape[0], task.num_classes, ignore_index)
    plan, rows, parameters = task.prepare(measured=with_measures)
    vectors = widen(weight, rows.dtype)
    a = None if class_weights is None else class_weights.detach().to(rows.dtype)
    spread = (rows.new_ones(task.num_classes) if a is None else a) if label_smoothing else None
    with full_precision(features.device):
        compared = _choose(who, impl, rows, vectors)(rows, vectors, known, plan, parameters=parameters, weights=spread)
        own = task.harder(compared.own, compared.length)
        counts = (known >= 0).to(rows.dtype)
        mine = counts if a is None else a[known.clamp_min(0)] * counts
        losses, smooth = _objective(task, compared, own, known, spread)
        if probability_floor:
            logits = task.logits(weight, known) if spread is not None else None
            losses, smooth = _floored(losses, probability_floor, logits, spread)
        # a sample without a class has no number that could spoil the sum
        weighted = torch.where(known >= 0, losses, 0.0) * mine
        if label_smoothing:
            weighted = (1 - label_smoothing) * weighted + label_smoothing * torch.where(known >= 0, smooth, 0.0)
        divisor = mine.sum() if num_samples is None else (rows.new_zeros(()) + num_samples).reshape(())
        # without a sample the sum is zero, and so is the loss
        divisor = torch.where(divisor > 0, divisor, 1.0)
        weighted = weighted * task.margin.loss_factor(task.number)
        penalty = task.margin.penalty(task.norm, task.number)
        if penalty is not None:
            weighted = weighted + penalty * mine
        loss = weighted.sum() / divisor
    return (loss, task.measures(compared, own)) if with_measures else loss


# softplus(z) is z to the last bit above this
_EXACT = {torch.float32: 20.0, torch.float64: 40.0}


def _objective(
    task: MarginTask, compared: Comparison, own: Tensor, labels: Tensor, spread: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Loss of each sample (N,), and what takes its place in the share that is spread over all classes."""
    if task.margin.objective == "binary":
        balance = task.margin.balance
        return -balance * F.logsigmoid(own) + (1 - balance) * compared.reduced, own
    losses = F.softplus(compared.reduced - own, threshold=_EXACT[own.dtype])
    if spread is None:
        return losses, losses
    whole = spread.sum() * (own + losses) - compared.total - spread[labels.clamp_min(0)] * own
    return losses, whole / task.num_classes


def _floored(losses: Tensor, floor: float, logits: Tensor | None, spread: Tensor | None) -> tuple[Tensor, Tensor]:
    """The same with a floor under every probability; the share of all classes needs their logits (N, C)."""
    own = -torch.log((-losses).exp() + floor)
    if logits is None or spread is None:
        return own, own
    return own, -torch.log(logits.softmax(dim=1) + floor) @ spread / spread.shape[0]


def check_objective(who: str, margin: Margin, label_smoothing: float, probability_floor: float) -> None:
    """Raise unless both numbers lie in [0, 1], and are 0 for an objective that has no use for them."""
    check_range(who, "label_smoothing", label_smoothing, low=0.0, high=1.0)
    check_range(who, "probability_floor", probability_floor, low=0.0, high=1.0)
    if margin.objective == "binary" and (label_smoothing or probability_floor):
        raise ValueError(
            f"{who}: label_smoothing and probability_floor are for softmax; the objective of {type(margin).__name__} "
            "is one yes or no for each class. Leave them at 0."
        )


def check_class_weights(who: str, class_weights: Tensor, num_classes: int) -> None:
    """Raise unless they are (C,), and 0 or more where their values can be looked at."""
    wrong = class_weights.shape != (num_classes,)
    least = ""
    if readable(class_weights) and not (class_weights >= 0).all():
        wrong, least = True, f" with a least of {float(class_weights.min()):g}"
    if wrong:
        raise ValueError(
            f"{who}: expected class_weights ({num_classes},) of numbers of 0 or more, got "
            f"{tuple(class_weights.shape)}{least}."
        )


def _choose(who: str, impl: str, rows: Tensor, weight: Tensor) -> Callable[..., Comparison]:
    reasons = reasons_not(rows, weight)
    if impl == "chunked" and reasons:
        raise ValueError(f"{who}: impl='chunked' cannot run here: {'; '.join(reasons)}. Use impl='auto'.")
    if impl == "torch" or reasons or (impl == "auto" and rows.shape[0] * weight.shape[0] <= _LARGEST_PLAIN):
        return compare_plain
    return compare
