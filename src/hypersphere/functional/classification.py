# SPDX-License-Identifier: MIT
"""From features and class vectors to inner products or cosines, and from logits to a loss."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Integer
from torch import Tensor

from hypersphere.checks import check_choice, check_matrix, check_range
from hypersphere.formulas.directions import full_precision, unit_rows, working_dtype
from hypersphere.kernels.classes import inverse_norms
from hypersphere.kernels.eligible import reasons_not

__all__ = ["check_whole", "checked_labels", "class_logits", "cross_entropy", "readable"]


def class_logits(
    features: Float[Tensor, "N D"], weight: Float[Tensor, "C D"], *, normalize: str = "both"
) -> Float[Tensor, "N C"]:
    r"""Inner products of N features with C class vectors, or their cosines.

    Args:
        features: x, N rows.
        weight: w, one row for each class.
        normalize: "both" for cosines cos(theta_ij), "weight" for |x_i| cos(theta_ij), "none" for x_i · w_j. The norms
            of the class vectors are divided out of the product: there is no normalised copy of `weight`, forward or
            backward.

    Returns:
        Logits in float32, or float64 where an input is; the product runs in that dtype, under autocast too.

    Raises:
        ValueError: if a shape is not (N, D) and (C, D), or `normalize` is unknown.
        TypeError: if an input is not a floating-point tensor.

    Edge cases:
        A zero class vector has logit zero and gradient zero unless `normalize="none"`; so has a zero feature with
        "both". Cosines may leave [-1, 1] by rounding. Norms from 1e-20 to 1e+18 are exact in float32.

    Example:
        >>> class_logits(torch.tensor([[3.0, 4.0]]), torch.tensor([[2.0, 0.0], [0.0, 2.0]]))
        tensor([[0.6000, 0.8000]])
    """
    who = "class_logits"
    check_matrix(who, "features", features, "N D")
    check_matrix(who, "weight", weight, "C D")
    check_whole(who, weight)
    check_choice(who, "normalize", normalize, ("both", "weight", "none"))
    if features.shape[1] != weight.shape[1]:
        raise ValueError(
            f"{who}: expected features (N, D) and weight (C, D) of one width D, "
            f"got {tuple(features.shape)} and {tuple(weight.shape)}."
        )
    dtype = working_dtype(torch.promote_types(features.dtype, weight.dtype))
    features, weight = features.to(dtype), weight.to(dtype)
    with full_precision(features.device):
        if normalize == "none":
            return features @ weight.T
        rows = unit_rows(features)[0] if normalize == "both" else features
        if not torch.compiler.is_compiling() and reasons_not(rows, weight):
            return (rows @ weight.T) * inverse_norms(weight).T
        logits: Tensor = _ProductWithDirections.apply(rows, weight)[0]
        return logits


def cross_entropy(
    logits: Float[Tensor, "N C"],
    labels: Integer[Tensor, "N"],
    *,
    label_smoothing: float = 0.0,
    probability_floor: float = 0.0,
) -> Float[Tensor, ""]:
    r"""Softmax cross-entropy, the mean over N samples, with smoothed labels and a floor under the probabilities.

    .. math::
        L = -\frac{1}{N} \sum_{i} \sum_{k} t_{ik} \ln(p_{ik} + f), \qquad
        t_{ik} = (1 - \varepsilon) [k = y_i] + \varepsilon / C

    Args:
        logits: any finite values; the softmax runs in float32 or wider.
        labels: y, integers in [0, C).
        label_smoothing: epsilon in [0, 1], dimensionless; the released code of MHE has 0.01.
        probability_floor: f in [0, 1], dimensionless; the released code has 1e-4. It bounds the loss by -ln f and
            takes away the gradient of samples whose own class has a probability far below f.

    Returns:
        Scalar, nats, float32 or wider.

    Raises:
        ValueError: for wrong shapes, no samples, a number out of range, or a label that is no class (seen on CPU
            tensors, while not compiling).
        TypeError: if labels are not integers.

    Source:
        liu2018mhe, released code.

    Example:
        >>> cross_entropy(torch.zeros(2, 4), torch.tensor([0, 3]))
        tensor(1.3863)
        >>> cross_entropy(torch.tensor([[0.0, 1e4]]), torch.tensor([0]), probability_floor=1e-4)
        tensor(9.2103)
    """
    who = "cross_entropy"
    check_matrix(who, "logits", logits, "N C")
    check_range(who, "label_smoothing", label_smoothing, low=0.0, high=1.0)
    check_range(who, "probability_floor", probability_floor, low=0.0, high=1.0)
    labels = checked_labels(who, labels, *logits.shape)
    logits = logits.to(working_dtype(logits.dtype))
    if probability_floor == 0:
        return F.cross_entropy(logits, labels, label_smoothing=label_smoothing)
    log_probability = (logits.softmax(dim=1) + probability_floor).log()
    own = log_probability.gather(1, labels[:, None]).mean()
    return -own if label_smoothing == 0 else -torch.lerp(own, log_probability.mean(), label_smoothing)


def checked_labels(
    who: str, labels: Tensor, num_samples: int, num_classes: int, *, ignore_index: int | None = None
) -> Tensor:
    """Labels as int64, before anything is compared with them: -100 is 156 in uint8.

    Raises unless they are (N,), of integers, and on a CPU outside a compiler each of them a class or ignored.
    """
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise TypeError(f"{who}: expected labels of an integer dtype, got {labels.dtype}.")
    if labels.shape != (num_samples,) or num_samples < 1:
        raise ValueError(
            f"{who}: expected N >= 1 samples and labels (N,), got {num_samples} samples and labels "
            f"{tuple(labels.shape)}."
        )
    labels = labels.long()
    if readable(labels):
        wrong = (labels < 0) | (labels >= num_classes)
        if ignore_index is not None:
            wrong &= labels != ignore_index
        wrong = wrong.nonzero()
        if len(wrong):
            position = int(wrong[0, 0])
            raise ValueError(
                f"{who}: labels must lie in [0, {num_classes - 1}], as there are {num_classes} classes; "
                f"got {int(labels[position])} at position {position}."
            )
    return labels


def readable(values: Tensor) -> bool:
    """Whether values can be looked at: on a CPU, outside compilers, exporters and torch.func."""
    return values.device.type == "cpu" and not reasons_not(values)


def check_whole(who: str, weight: Tensor) -> None:
    """Raise where only a part of the class vectors is in this process."""
    if not torch.compiler.is_compiling() and type(weight).__name__ == "DTensor":
        raise ValueError(
            f"{who}: the class vectors are divided among processes (DTensor), and each sample needs all of them. Call "
            "the head itself, for which FSDP gathers them, or pass weight.full_tensor()."
        )


class _ProductWithDirections(torch.autograd.Function):
    """x · w_j / |w_j| for all rows, with the division folded into the product and into its gradient."""

    @staticmethod
    def forward(rows: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        inverse = inverse_norms(weight)
        return (rows @ weight.T).mul_(inverse.T), inverse

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: tuple[Tensor, Tensor]) -> None:
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(*inputs, *output)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        rows, weight, logits, inverse = ctx.saved_tensors
        grad = grads[0]
        if torch.is_grad_enabled():
            # a second derivative is wanted: differentiate the plain expression instead
            plain = (rows @ weight.T) * inverse_norms(weight).T
            wanted = [tensor for tensor, need in zip((rows, weight), ctx.needs_input_grad, strict=True) if need]
            found = iter(torch.autograd.grad(plain, wanted, grad, create_graph=True))
            return tuple(next(found) if need else None for need in ctx.needs_input_grad)
        grad_rows = (grad * inverse.T) @ weight if ctx.needs_input_grad[0] else None
        grad_weight = None
        if ctx.needs_input_grad[1]:
            # (g^T x - w (sum_i g_i z_i) / |w|) / |w|, in an order in which norms of 1e-20 overflow nowhere
            radial = (grad * logits).sum(dim=0)[:, None] * inverse
            grad_weight = (grad.T @ rows).addcmul_(weight, radial, value=-1).mul_(inverse)
        return grad_rows, grad_weight
