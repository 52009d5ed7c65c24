# SPDX-License-Identifier: MIT
"""The smallest change that fools a model, image by image: attacks of the package foolbox, then a search on a line."""

from __future__ import annotations

import os
import warnings
from typing import Any

import torch
from jaxtyping import Float, Integer
from torch import Tensor, nn

from hypersphere.checks import check_choice, check_count
from hypersphere.evaluation.attacks import NORMS, Logits
from hypersphere.functional.classification import checked_labels

__all__ = ["MINIMUM_ATTACKS", "fooled_by", "nearest_on_line", "require_foolbox", "row_norms", "smallest_perturbation"]

MINIMUM_ATTACKS: dict[str, tuple[str, ...]] = {
    "l2": ("L2DeepFoolAttack", "DDNAttack"),
    # foolbox 3.3.4 projects nothing in its FMN attack for L2 (it divides a norm by itself), in that for L-inf it does
    "linf": ("LinfDeepFoolAttack", "LInfFMNAttack"),
}
"""Norm -> classes of foolbox.attacks; the smallest change that one of them finds counts."""

_HALVINGS = 12


def smallest_perturbation(
    model: Logits,
    images: Float[Tensor, "N *shape"],
    labels: Integer[Tensor, "N"],
    *,
    norm: str = "l2",
    steps: int = 100,
    seed: int = 0,
) -> Float[Tensor, "N *shape"]:
    """The nearest image that is misclassified, as far as attacks can tell: an upper bound on the least change.

    All attacks of `MINIMUM_ATTACKS` run, and the nearest result is drawn towards the image along their line.

    Args:
        model: images in [0, 1] -> logits (N, C), in evaluation mode.
        images: (N, ...), float32 or float64, pixels in [0, 1].
        labels: (N,) true classes.
        norm: "l2" or "linf".
        steps: of the attacks that walk (DDN, FMN), >= 1; DeepFool stops by itself, after 50 at most.
        seed: of the directions that DDN draws where a gradient is zero.

    Returns:
        (N, ...) in [0, 1], detached; the image itself where it is misclassified already or where no attack found
        anything: `fooled_by` tells these apart.

    Raises:
        ImportError: if foolbox is not installed.
        TypeError: as `fooled_by`.
        ValueError: as `fooled_by`, if a choice is unknown, or `steps` is no whole number of 1 or more.

    Source:
        DeepFool: moosavi2016deepfool. DDN: rony2019decoupling. FMN: pintor2021fast. As in foolbox, rauber2017foolbox.
    """
    check_choice("smallest_perturbation", "norm", norm, list(NORMS))
    check_count("smallest_perturbation", "steps", steps)
    with torch.inference_mode(False):
        best = images.detach().clone()
        # foolbox knows no shorter integers
        labels = labels.long().clone()
        size = torch.full((len(images),), torch.inf, dtype=images.dtype, device=images.device)
        open_ones = ~fooled_by(model, best, labels)
        if not bool(open_ones.any()):
            return best
        chosen = best[open_ones]
        for found in _attacked(model, chosen, labels[open_ones], norm, steps, seed):
            valid = torch.isfinite(found).flatten(1).all(dim=1) & fooled_by(model, found, labels[open_ones])
            length = row_norms(found - chosen, norm).masked_fill(~valid, torch.inf)
            nearer = length < size[open_ones]
            places = open_ones.nonzero().squeeze(1)[nearer]
            best[places], size[places] = found[nearer], length[nearer]
        return nearest_on_line(model, images, best, labels)


def fooled_by(model: Logits, images: Float[Tensor, "N *shape"], labels: Integer[Tensor, "N"]) -> Tensor:
    """Whether each image is taken for another class, (N,) bool; logits that are not a number name none.

    Raises:
        TypeError: if labels are no integers.
        ValueError: if there is not one label an image, or one is none of the C classes (checked on the CPU).
    """
    if not len(images):
        return torch.zeros(0, dtype=torch.bool, device=images.device)
    with torch.no_grad():
        logits = model(images)
    wrong: Tensor = logits.argmax(dim=1) != checked_labels("attack", labels, *logits.shape)
    return wrong | logits.isnan().any(dim=1)


def row_norms(change: Float[Tensor, "N *shape"], norm: str) -> Float[Tensor, "N"]:
    """L2 or L-inf norm of each image's change, (N,)."""
    rows = change.reshape(len(change), -1)
    norms: Tensor = torch.linalg.vector_norm(rows, ord=2 if norm == "l2" else torch.inf, dim=1)
    return norms


def nearest_on_line(
    model: Logits, images: Float[Tensor, "N *shape"], found: Float[Tensor, "N *shape"], labels: Integer[Tensor, "N"]
) -> Float[Tensor, "N *shape"]:
    """Misclassified points drawn towards their images by halving, to 1/4096 of the distance; they stay misclassified.

    Args:
        model: as above.
        images: where to go.
        found: (N, ...), misclassified; one that is not is left where it is.
        labels: (N,) true classes.
    """
    outside = fooled_by(model, found, labels)
    near, far = torch.zeros_like(outside, dtype=images.dtype), torch.ones_like(outside, dtype=images.dtype)
    shape = (-1, *([1] * (images.ndim - 1)))
    points = found
    for _ in range(_HALVINGS):
        middle = (near + far) / 2
        between = images + middle.view(shape) * (found - images)
        wrong = fooled_by(model, between, labels)
        points = torch.where((wrong & outside).view(shape), between, points)
        near, far = torch.where(wrong, near, middle), torch.where(wrong, middle, far)
    return points


def _attacked(
    model: Logits, images: Tensor, labels: Tensor, norm: str, steps: int, seed: int
) -> list[Float[Tensor, "N *shape"]]:
    """What each attack of the norm makes of the images, all of them correctly classified."""
    foolbox = require_foolbox()
    wrapped = foolbox.PyTorchModel(_Opaque(model).eval(), bounds=(0, 1), device=images.device)
    criterion = foolbox.criteria.Misclassification(labels)
    found = []
    devices = [images.device] if images.device.type == "cuda" else []
    with torch.random.fork_rng(devices), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        for name in MINIMUM_ATTACKS[norm]:
            torch.manual_seed(seed)
            attack = getattr(foolbox.attacks, name)
            made = attack() if "DeepFool" in name else attack(steps=steps)
            _, points, _ = made(wrapped, images, criterion, epsilons=None)
            found.append(points.detach().clamp(0.0, 1.0))
    return found


class _ImagesOnly(torch.autograd.Function):
    """Logits whose gradient reaches images alone: foolbox calls backward, which would fill that of parameters too."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, model: Logits) -> Tensor:
        with torch.enable_grad():
            ctx.images = images.detach().requires_grad_()
            ctx.logits = model(ctx.images)
        detached: Tensor = ctx.logits.detach()
        return detached

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        gradient = None
        if ctx.logits.requires_grad:
            (gradient,) = torch.autograd.grad(ctx.logits, ctx.images, grad_outputs[0], allow_unused=True)
        return torch.zeros_like(ctx.images) if gradient is None else gradient, None


class _Opaque(nn.Module):
    """A callable as the module that foolbox asks for, without its parameters: foolbox would move them."""

    def __init__(self, model: Logits) -> None:
        super().__init__()
        self._model = (model,)

    def forward(self, images: Tensor) -> Tensor:
        (model,) = self._model
        logits: Tensor = _ImagesOnly.apply(images, model) if torch.is_grad_enabled() else model(images)
        return logits


def require_foolbox() -> Any:
    """The package foolbox, whose import warns of old names and asks for the program git, which nothing here needs.

    Raises:
        ImportError: if it is not installed.
    """
    quiet = "GIT_PYTHON_REFRESH" not in os.environ
    if quiet:
        os.environ["GIT_PYTHON_REFRESH"] = "quiet"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import foolbox
    except ModuleNotFoundError as error:
        raise ImportError(
            f'minimum-norm attacks need the package {error.name}: pip install "hypersphere[robustness]", or leave '
            "them out with --no-minimum (minimum=False)."
        ) from error
    finally:
        if quiet:
            os.environ.pop("GIT_PYTHON_REFRESH", None)
    return foolbox
