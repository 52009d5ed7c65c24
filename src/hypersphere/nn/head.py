# SPDX-License-Identifier: MIT
"""The classification head: class vectors, and the loss of features against them under a margin of choice."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Integer
from torch import Tensor, nn

from hypersphere.checks import check_count, check_range, lookup
from hypersphere.formulas.directions import working_dtype
from hypersphere.formulas.margins import MARGINS, Margin
from hypersphere.functional.classification import cross_entropy, margin_logits

__all__ = ["MarginHead"]


class MarginHead(nn.Module):
    r"""Class vectors with a softmax loss: `head(x, y)` is the loss, `head(x)` the logits for inference.

    Args:
        in_features: D, width of the features, >= 1.
        num_classes: C, >= 1.
        margin: name in `formulas.margins.MARGINS` or an object with parameters of its own. "softmax": inner products,
            no bias; "normalized_softmax": scale · cos(theta).
        scale: what multiplies the cosines. "default": the margin's published number; "feature": each feature's own
            norm; a number in [1e-6, 1e6]; "learned": one number for all, trained as its logarithm `log_scale` and
            started from the published one. A margin of plain inner products takes "default" only.
        label_smoothing: epsilon in [0, 1]; see `functional.cross_entropy`.
        probability_floor: added to every probability before the logarithm, in [0, 1].
        device: where the parameters are made.
        dtype: float32 or float64. Whatever the model is cast to afterwards (`.half()`, `.to(torch.bfloat16)`), the
            parameters of the head keep this dtype: features may be narrower, class vectors may not.

    Shape:
        x (N, D) of any floating-point dtype, y (N,) of integers -> loss, scalar; logits (N, C). Both in float32, or
        float64 where an input is; nothing in here runs in low precision under autocast.

    Raises:
        ValueError: for a number out of range, an unknown name, wrong shapes, or a label that is no class (seen on CPU
            tensors, while not compiling; elsewhere the device asserts).
        TypeError: if labels are not integers or features not floating point.

    Example:
        >>> head = MarginHead(8, 3, margin="normalized_softmax")
        >>> features, labels = torch.randn(5, 8), torch.tensor([0, 1, 2, 0, 1])
        >>> head(features, labels).shape, head(features).shape
        (torch.Size([]), torch.Size([5, 3]))
    """

    log_scale: nn.Parameter | None

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        *,
        margin: str | Margin = "softmax",
        scale: float | str = "default",
        label_smoothing: float = 0.0,
        probability_floor: float = 0.0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        for argument, value in (("in_features", in_features), ("num_classes", num_classes)):
            check_count("MarginHead", argument, value, low=1)
        for argument, share in (("label_smoothing", label_smoothing), ("probability_floor", probability_floor)):
            check_range("MarginHead", argument, share, low=0.0, high=1.0)
        if dtype not in (None, torch.float32, torch.float64):
            raise ValueError(
                f"MarginHead: dtype must be torch.float32 or torch.float64, got {dtype}. Class vectors are not kept in "
                "low precision; the features may be."
            )
        self.in_features = in_features
        self.num_classes = num_classes
        self.margin = lookup("margin", margin, MARGINS) if isinstance(margin, str) else margin
        self.scale = _checked_scale(scale, self.margin)
        self.label_smoothing = label_smoothing
        self.probability_floor = probability_floor
        dtype = dtype or working_dtype(torch.get_default_dtype())
        self.weight = nn.Parameter(torch.empty(num_classes, in_features, device=device, dtype=dtype))
        log_scale = nn.Parameter(torch.empty(1, device=device, dtype=dtype)) if scale == "learned" else None
        self.register_parameter("log_scale", log_scale)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw class vectors from N(0, 2 / D), as the released code of MHE does; a learned scale starts anew."""
        nn.init.normal_(self.weight, std=math.sqrt(2 / self.in_features))
        if self.log_scale is not None:
            start = self.margin.default_scale
            nn.init.constant_(self.log_scale, math.log(30.0 if isinstance(start, str) else start))

    def forward(self, x: Float[Tensor, "N D"], y: Integer[Tensor, "N"] | None = None) -> Float[Tensor, "*batch"]:
        """The mean loss (scalar) of features (N, D) with labels (N,); without labels the inference logits (N, C)."""
        if y is None:
            return self._logits(x, None)
        return cross_entropy(
            self.margin_logits(x, y), y, label_smoothing=self.label_smoothing, probability_floor=self.probability_floor
        )

    def margin_logits(self, x: Float[Tensor, "N D"], y: Integer[Tensor, "N"]) -> Float[Tensor, "N C"]:
        """The logits (N, C) that enter the loss, each sample's own class made harder by the margin."""
        return self._logits(x, y)

    def arguments(self) -> dict[str, Any]:
        """What rebuilds this head, in plain values: `MarginHead(**head.arguments())`.

        Raises:
            ValueError: if the margin is an object that `MARGINS` does not name.
        """
        names = [name for name, margin in MARGINS.items() if margin == self.margin]
        if not names:
            raise ValueError(f"MarginHead: {self.margin!r} has no name in MARGINS, so it cannot be written down.")
        return {
            "in_features": self.in_features,
            "num_classes": self.num_classes,
            "margin": names[0],
            "scale": self.scale,
            "label_smoothing": self.label_smoothing,
            "probability_floor": self.probability_floor,
        }

    def extra_repr(self) -> str:
        """The arguments, on one line."""
        return (
            f"in_features={self.in_features}, num_classes={self.num_classes}, margin={self.margin}, "
            f"scale={self.scale}, label_smoothing={self.label_smoothing}, probability_floor={self.probability_floor}"
        )

    def _logits(self, x: Tensor, y: Tensor | None) -> Tensor:
        if x.ndim != 2 or x.shape[1] != self.in_features:
            raise ValueError(f"MarginHead: expected features (N, {self.in_features}), got {tuple(x.shape)}.")
        scale = self.scale if self.log_scale is None else self.log_scale.exp()
        return margin_logits(x, self.weight, y, margin=self.margin, scale=scale)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> MarginHead:
        """Move the parameters as any module does, but never to a narrower dtype."""

        def keep_precision(tensor: Tensor) -> Tensor:
            moved = fn(tensor)
            if moved.dtype == tensor.dtype or moved.dtype in (torch.float32, torch.float64):
                return moved
            return tensor.to(moved.device)

        module: MarginHead = super()._apply(keep_precision, recurse)
        return module


def _checked_scale(scale: float | str, margin: Margin) -> float | str:
    """The scale as given, or a ValueError in words."""
    if not margin.normalized and scale != "default":
        raise ValueError(
            f"MarginHead: {type(margin).__name__} has no scale, its logits are plain inner products; got {scale!r}. "
            "Use margin='normalized_softmax' for a scale times cosines."
        )
    if isinstance(scale, str):
        lookup("scale", scale, dict.fromkeys(("default", "feature", "learned")))
        return scale
    check_range("MarginHead", "scale", scale, low=1e-6, high=1e6)
    return float(scale)
