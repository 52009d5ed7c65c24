# SPDX-License-Identifier: MIT
"""Attacks along the gradient of an image: FGSM, and BIM and PGD in the L-inf and L2 balls around it."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float, Integer
from torch import Tensor

from hypersphere.checks import check_choice, check_count, check_range
from hypersphere.formulas.directions import unit_rows, widen, working_dtype
from hypersphere.functional.classification import checked_labels

__all__ = ["KEEP", "LOSSES", "NORMS", "Logits", "class_margin", "fgsm", "input_gradient", "pgd"]

Logits = Callable[[Tensor], Tensor]
"""What is attacked: images (N, ...) with pixels in [0, 1] -> logits (N, C)."""

NORMS = {
    "linf": "largest change of a pixel",
    "l2": "Euclidean length of the change of the whole image",
}
LOSSES = {
    "cross_entropy": "the loss of training, whose gradient fades where the network is sure",
    "margin": "largest logit of another class minus that of the own class, whose gradient does not fade",
}
KEEP = {
    "last": "the image after the last step",
    "worst": "of the images after each step, the one of the largest class margin: any step that fools counts",
}


def fgsm(
    model: Logits,
    images: Float[Tensor, "N *shape"],
    labels: Integer[Tensor, "M"],
    *,
    epsilon: float,
    norm: str = "linf",
    loss: str = "cross_entropy",
) -> Float[Tensor, "N *shape"]:
    """Fast gradient (sign) method: one step of the whole length `epsilon` where the loss rises fastest.

    x' = clip(x + ε sign(∇L))  in L-inf,     x' = clip(x + ε ∇L / |∇L|)  in L2,     L the loss of the own class.

    Args:
        model: images in [0, 1] -> logits (N, C). In evaluation mode: statistics of a batch would tie images together.
        images: (N, ...), float32 or float64, pixels in [0, 1].
        labels: (N,) true classes.
        epsilon: size of the change in units of pixels of [0, 1], >= 0; 8 / 255 is eight grey levels.
        norm: "linf" or "l2", how the size is measured.
        loss: "cross_entropy" of the logits, or "margin"; see `LOSSES`.

    Returns:
        Changed images, (N, ...), in [0, 1]; detached. No parameter's gradient is touched.

    Raises:
        TypeError: if images are not float32 or float64, or labels no integers.
        ValueError: if a pixel lies outside [0, 1] or a label is none of the C classes (checked on the CPU), shapes do
            not fit, or a choice is unknown.

    Edge cases:
        Where the gradient is zero, not a number, or in L2 below 1e-30, the image is left as it is.

    Source:
        goodfellow2015explaining; the form in L2 as in madry2018towards.

    Example:
        >>> def above_half(images):
        ...     return torch.cat([0.5 - images, images - 0.5], dim=1)
        >>> fgsm(above_half, torch.tensor([[0.6]]), torch.tensor([1]), epsilon=0.25)
        tensor([[0.3500]])
    """
    return pgd(model, images, labels, epsilon=epsilon, steps=1, step_size=epsilon, norm=norm, loss=loss)


def pgd(
    model: Logits,
    images: Float[Tensor, "N *shape"],
    labels: Integer[Tensor, "M"],
    *,
    epsilon: float,
    steps: int,
    step_size: float,
    norm: str = "linf",
    loss: str = "cross_entropy",
    random_start: bool = False,
    keep: str = "last",
    generator: torch.Generator | None = None,
) -> Float[Tensor, "N *shape"]:
    """Projected gradient steps in a ball around each image; without a random start this is BIM, the iterated FGSM.

    After each step the image is brought back into the ball of radius `epsilon` and into [0, 1].

    Args:
        model: as for `fgsm`.
        images: as for `fgsm`.
        labels: (N,) true classes.
        epsilon: radius of the ball in units of pixels of [0, 1], >= 0.
        steps: how many, >= 1; each costs the model one forward and one backward.
        step_size: length of each in the same units, >= 0.
        norm: "linf" or "l2".
        loss: "cross_entropy" or "margin".
        random_start: begin at a point drawn evenly from the ball, not at the image.
        keep: "last" or "worst"; see `KEEP`. "worst" costs one more forward, and counts the start too.
        generator: of the random start, on the CPU; None for the global one.

    Returns:
        Changed images, (N, ...), in the ball and in [0, 1]; detached. No parameter's gradient is touched.

    Raises:
        TypeError: as `fgsm`.
        ValueError: as `fgsm`, or if a number is out of range.

    Edge cases:
        As for `fgsm`, step by step; an image whose gradient is zero everywhere stays where it started.

    Source:
        BIM: kurakin2017adversarial. Random start and L2: madry2018towards. The margin as loss: carlini2017evaluating,
        without its floor.

    Example:
        >>> def above_half(images):
        ...     return torch.cat([0.5 - images, images - 0.5], dim=1)
        >>> pgd(above_half, torch.tensor([[0.6]]), torch.tensor([1]), epsilon=0.25, steps=3, step_size=0.1)
        tensor([[0.3500]])
    """
    _check(images, labels, norm=norm, loss=loss)
    check_choice("pgd", "keep", keep, list(KEEP))
    check_count("pgd", "steps", steps)
    for argument, value in (("epsilon", epsilon), ("step_size", step_size)):
        check_range("pgd", argument, value, low=0.0, high=1e6)
    # attacks are called from loops without gradients, where tensors may be of inference mode
    with torch.inference_mode(False):
        origin, labels = images.detach().clone(), labels.clone()
        points = origin
        if random_start:
            points = _project(origin + epsilon * _in_ball(origin, norm, generator), origin, epsilon, norm)
        worst, largest = points, torch.full((len(images),), -torch.inf, dtype=images.dtype, device=images.device)
        for _ in range(steps):
            gradient, margins = input_gradient(model, points, labels, loss=loss)
            worst, largest = _larger(worst, largest, points, margins)
            points = _project(points + step_size * _ascent(gradient, norm), origin, epsilon, norm)
        if keep == "last":
            return points
        with torch.no_grad():
            margins = class_margin(model(points), labels).to(points.dtype)
        return _larger(worst, largest, points, margins)[0]


def input_gradient(
    model: Logits, images: Float[Tensor, "N *shape"], labels: Integer[Tensor, "M"], *, loss: str = "cross_entropy"
) -> tuple[Float[Tensor, "N *shape"], Float[Tensor, "N"]]:
    """Gradient of each image's own loss with respect to the image, and its class margin.

    Args:
        model: as for `fgsm`.
        images: (N, ...), float32 or float64.
        labels: (N,) true classes.
        loss: "cross_entropy" or "margin".

    Returns:
        The gradient (N, ...), zero where it is not a number and the largest number in place of infinity, and margins
        (N,), both detached.

    Raises:
        TypeError: if labels are no integers.
        ValueError: if the model does not return logits (N, C) of two classes or more, or as `class_margin`.

    Edge cases:
        A model that does not depend on its images has gradient zero.
    """
    with torch.enable_grad():
        points = images.detach().requires_grad_()
        logits = model(points)
        if logits.ndim != 2 or len(logits) != len(images) or logits.shape[1] < 2:
            raise ValueError(
                f"an attack needs logits (N, C) of two classes or more: for images {tuple(images.shape)} the model "
                f"returned {tuple(logits.shape)}."
            )
        logits = widen(logits, working_dtype(logits.dtype))
        margins = class_margin(logits, labels)
        # a sum, so that no image's gradient depends on how many stand beside it
        value = margins.sum() if loss == "margin" else F.cross_entropy(logits, labels.long(), reduction="sum")
        gradient = None
        if value.requires_grad:
            (gradient,) = torch.autograd.grad(value, points, allow_unused=True)
    if gradient is None:
        gradient = torch.zeros_like(images)
    return gradient.nan_to_num(nan=0.0), margins.detach().to(images.dtype)


def class_margin(logits: Float[Tensor, "N C"], labels: Integer[Tensor, "N"]) -> Float[Tensor, "N"]:
    """Largest logit of another class minus that of the own class, (N,): above zero where the image is misclassified.

    Raises:
        TypeError: if labels are no integers.
        ValueError: if there is not one label an image, or one is none of the C classes (checked on the CPU).

    Example:
        >>> class_margin(torch.tensor([[3.0, 1.0, 2.0]]), torch.tensor([0]))
        tensor([-1.])
    """
    # a batch may be empty, which that check does not allow
    if len(logits):
        labels = checked_labels("attack", labels, *logits.shape)
    own = labels.long()[:, None]
    others: Tensor = logits.scatter(1, own, -torch.inf).amax(dim=1)
    return others - logits.gather(1, own).squeeze(1)


def _check(images: Tensor, labels: Tensor, *, norm: str, loss: str) -> None:
    check_choice("attack", "norm", norm, list(NORMS))
    check_choice("attack", "loss", loss, list(LOSSES))
    if images.dtype not in (torch.float32, torch.float64):
        raise TypeError(
            f"attack: expected images in float32 or float64 with pixels in [0, 1], got {images.dtype}. Bytes become "
            "such images by dividing by 255."
        )
    if labels.ndim != 1 or len(labels) != len(images):
        raise ValueError(
            f"attack: expected images (N, ...) and labels (N,), got {tuple(images.shape)} and {tuple(labels.shape)}."
        )
    if images.device.type == "cpu" and images.numel() and not bool(((images >= 0) & (images <= 1)).all()):
        raise ValueError(
            f"attack: pixels must lie in [0, 1], got {images.min():g} to {images.max():g}. Put the normalisation of "
            "the images into the model."
        )


def _rows(tensor: Tensor) -> Tensor:
    return tensor.reshape(len(tensor), -1)


def _ascent(gradient: Tensor, norm: str) -> Tensor:
    """The step of length 1 along which the loss rises fastest; zero where the gradient is."""
    if norm == "linf":
        return gradient.sign()
    unit: Tensor = unit_rows(_rows(gradient))[0]
    return unit.view_as(gradient)


def _project(points: Tensor, origin: Tensor, epsilon: float, norm: str) -> Tensor:
    """The nearest points in the ball, then in [0, 1]; the second step leaves no ball, as the centre is in the box."""
    if norm == "linf":
        return points.clamp((origin - epsilon).clamp_min(0.0), (origin + epsilon).clamp_max(1.0))
    change = _rows(points - origin)
    length = torch.linalg.vector_norm(change, dim=1, keepdim=True)
    factor = (epsilon / length.clamp_min(torch.finfo(length.dtype).tiny)).clamp_max(1.0)
    inside: Tensor = origin + (change * factor).view_as(origin)
    return inside.clamp(0.0, 1.0)


def _in_ball(images: Tensor, norm: str, generator: torch.Generator | None) -> Tensor:
    """A point for each image, drawn evenly from the ball of radius 1; the same on every device."""
    rows = _rows(images)
    if norm == "linf":
        drawn = 2 * torch.rand(rows.shape, generator=generator, dtype=images.dtype) - 1
    else:
        direction = unit_rows(torch.randn(rows.shape, generator=generator, dtype=images.dtype))[0]
        share = torch.rand((len(rows), 1), generator=generator, dtype=images.dtype)
        # the volume within a radius grows as its D-th power
        drawn = direction * share ** (1 / max(1, rows.shape[1]))
    placed: Tensor = drawn.to(images.device).view_as(images)
    return placed


def _larger(worst: Tensor, largest: Tensor, points: Tensor, margins: Tensor) -> tuple[Tensor, Tensor]:
    """Of two points for each image the one with the larger margin."""
    better = margins > largest
    shape = (-1, *([1] * (points.ndim - 1)))
    return torch.where(better.view(shape), points, worst), torch.where(better, margins, largest)
