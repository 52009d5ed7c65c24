# SPDX-License-Identifier: MIT
"""Angle functions g(theta) of SphereConv, decoupled convolution and generalised softmax, written in the cosine."""

from __future__ import annotations

import abc
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hypersphere.checks import check_flag, check_range
from hypersphere.formulas.arccos import arc_sine, inverse_sine
from hypersphere.formulas.specs import as_spec

__all__ = [
    "ANGLES",
    "SMALLEST_K",
    "Angle",
    "AngleLike",
    "Cosine",
    "Linear",
    "Sigmoid",
    "SquareCosine",
    "as_angle",
    "k_from_raw",
    "raw_from_k",
]

SMALLEST_K = 0.05
"""The floor of a learned k."""


Scratch = tuple[Tensor, Tensor]
"""Memory to write in: new memory may cost more than what is computed there."""


@dataclass(frozen=True)
class Angle(abc.ABC):
    """g as a function of c = cos(theta): g(1) = 1, g(0) = 0, g(-1) = -1, increasing and odd.

    A frozen specification; the layer that uses one owns what is learned. For one of your own, write a frozen dataclass
    with `value` and `value_and_slopes`.
    """

    # fields of those that have them; without an annotation here, so that they are not fields of all
    learnable = False

    @abc.abstractmethod
    def value(self, cosine: Tensor, k: Tensor | None = None) -> Tensor:
        """g(c), dimensionless, differentiable; `k` in place of the specification's own, broadcast over `cosine`."""

    @abc.abstractmethod
    def value_and_slopes(self, cosine: Tensor, k: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor | None]:
        """g, dg/dc and, where `k` is given, dg/dk, without autograd; `cosine` must not be changed."""

    def value_(self, cosine: Tensor, k: Tensor | None = None) -> Tensor:
        """g(c) without autograd, in the memory of `cosine` or in new memory; for one that can, override it."""
        return self.value(cosine, k)

    def slope(self, cosine: Tensor, k: Tensor | None = None, scratch: Scratch | None = None) -> Tensor:
        """dg/dc alone, without autograd; for one that costs less without g, override it.

        `scratch` is memory for two tensors like `cosine`, which the result may lie in.
        """
        return self.value_and_slopes(cosine, k)[1]


@dataclass(frozen=True)
class Cosine(Angle):
    r"""g = cos(theta), the angle of the ordinary inner product. Nothing is clamped: its slope is 1 everywhere.

    Source:
        liu2017spherenet, sec. 3.1.

    Example:
        >>> Cosine().value(torch.tensor([1.0, 0.5]))
        tensor([1.0000, 0.5000])
    """

    def value(self, cosine: Tensor, k: Tensor | None = None) -> Tensor:
        """c itself."""
        return cosine

    def value_and_slopes(self, cosine: Tensor, k: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor | None]:
        """c, 1 and nothing."""
        return cosine, torch.ones_like(cosine), None


@dataclass(frozen=True)
class Linear(Angle):
    r"""g = 1 - 2 theta / pi = (2 / pi) asin(c): slope 2 / pi per radian at every angle.

    Edge cases:
        At c = +-1 the gradient has a cone point: its limits point everywhere with the same length, and their mean,
        zero, is what is returned there (within four ulps). Next to it dg/dc is bounded; see `formulas.arccos`.

    Source:
        liu2017spherenet, sec. 3.1.

    Example:
        >>> Linear().value(torch.tensor([1.0, 0.5]))
        tensor([1.0000, 0.3333])
    """

    def value(self, cosine: Tensor, k: Tensor | None = None) -> Tensor:
        """(2 / pi) asin(c)."""
        return arc_sine(cosine) * (2 / math.pi)

    def value_and_slopes(self, cosine: Tensor, k: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor | None]:
        """(2 / pi) asin(c), 2 / (pi sin(theta)) and nothing."""
        return cosine.clamp(-1, 1).asin_().mul_(2 / math.pi), self.slope(cosine), None

    def value_(self, cosine: Tensor, k: Tensor | None = None) -> Tensor:
        """(2 / pi) asin(c) in place."""
        return cosine.clamp_(-1, 1).asin_().mul_(2 / math.pi)

    def slope(self, cosine: Tensor, k: Tensor | None = None, scratch: Scratch | None = None) -> Tensor:
        """2 / (pi sin(theta))."""
        return inverse_sine(cosine, out=scratch and scratch[0]).mul_(2 / math.pi)


@dataclass(frozen=True)
class Sigmoid(Angle):
    r"""g = coth(pi / 4k) tanh((pi/2 - theta) / 2k), which is the published fraction of exponentials without overflow.

    k near 0 makes a step at 90 degrees, a large k makes `Linear`.

    Args:
        k: width of the step in radians, > 0; released code 0.3.
        learnable: one k for each output channel, started from this value and kept above 0.05 as |raw| + 0.05. The
            released code starts at 0.75, the poster at 0.5.

    Raises:
        ValueError: if k is not in [1e-3, 1e3], or learnable and below 0.05.

    Edge cases:
        As `Linear`; dg/dk is zero at 0, 90 and 180 degrees.

    Source:
        liu2017spherenet, sec. 3.1; the form with tanh is equal to 1e-15 and is due to the identity
        (1 - e^-2a) / (1 + e^-2a) = tanh(a).

    Example:
        >>> Sigmoid(k=0.3).value(torch.tensor([1.0, 0.5]))
        tensor([1.0000, 0.7102])
    """

    k: float = 0.3
    learnable: bool = False

    def __post_init__(self) -> None:
        check_flag("Sigmoid", "learnable", self.learnable)
        check_range("Sigmoid", "k", self.k, low=1e-3, high=1e3, unit="radians")
        if self.learnable:
            check_range(
                "Sigmoid", "k", self.k, low=SMALLEST_K, high=1e3, unit="radians", hint="A learned k starts there."
            )

    def value(self, cosine: Tensor, k: Tensor | None = None) -> Tensor:
        """coth(pi / 4k) tanh(asin(c) / 2k)."""
        width, coth = self._width(k)
        curve: Tensor = self._tanh(arc_sine(cosine) * (1 / width), k) * coth
        return curve

    def value_and_slopes(self, cosine: Tensor, k: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor | None]:
        """g; coth(A) sech²(t) / (2k sin(theta)); (A tanh(t) / sinh²(A) - t coth(A) sech²(t)) / k.

        A = pi / 4k and t = asin(c) / 2k.
        """
        width, coth = self._width(k)
        double = cosine.clamp(-1, 1).asin_().div_(width)  # 2t
        tanh = self._tanh(double, k)
        rising = torch.addcmul(tanh.new_ones(()), tanh, tanh, value=-1)  # sech²(t)
        of_k = None
        if k is not None:
            end = math.pi / (4 * k)
            of_k = double.mul_(rising).mul_(coth / (-2 * k)).add_(tanh * (end / (k * end.sinh().square())))
        return tanh.mul_(coth), inverse_sine(cosine).mul_(rising.mul_(coth / (2 * width))), of_k

    def value_(self, cosine: Tensor, k: Tensor | None = None) -> Tensor:
        """As `value`, for a fixed k in place."""
        if k is not None or self.k > 1:
            return self.value(cosine, k)
        rise = cosine.clamp_(-1, 1).asin_().div_(self.k).sigmoid_()
        return torch.add(rise.new_full((), -1.0), rise, alpha=2, out=rise).mul_(self._width(None)[1])

    def slope(self, cosine: Tensor, k: Tensor | None = None, scratch: Scratch | None = None) -> Tensor:
        """dg/dc alone, in fewer passes for a fixed k: sech²(t) is 4 s (1 - s) with s = sigmoid(2t)."""
        if k is not None or self.k > 1:
            return self.value_and_slopes(cosine, k)[1]
        first, second = scratch or (None, None)
        rise = torch.clamp(cosine, -1, 1, out=first).asin_().div_(self.k).sigmoid_()
        bell = rise.addcmul_(rise, rise, value=-1)
        return bell.mul_(inverse_sine(cosine, out=second)).mul_(2 * self._width(None)[1] / self.k)

    def _width(self, k: Tensor | None) -> tuple[Any, Any]:
        """k and coth(pi / 4k), numbers or tensors."""
        if k is None:
            return self.k, 1 / math.tanh(math.pi / (4 * self.k))
        return k, torch.tanh(math.pi / (4 * k)).reciprocal()

    def _tanh(self, double: Tensor, k: Tensor | None) -> Tensor:
        """tanh(t) of 2t."""
        if k is None and self.k <= 1:
            # several times as fast, and right to an ulp of 1; for larger k, coth(A) would make more of that ulp
            return torch.add(double.new_full((), -1.0), torch.sigmoid(double), alpha=2)
        return torch.tanh(double / 2)


@dataclass(frozen=True)
class SquareCosine(Angle):
    r"""g = sign(cos theta) cos²(theta) = c |c|; flat at 90 degrees, where random pairs of many dimensions lie.

    Source:
        liu2018decoupled, sec. 3.3.

    Example:
        >>> SquareCosine().value(torch.tensor([1.0, -0.5]))
        tensor([ 1.0000, -0.2500])
    """

    def value(self, cosine: Tensor, k: Tensor | None = None) -> Tensor:
        """c |c|."""
        return cosine * cosine.abs()

    def value_and_slopes(self, cosine: Tensor, k: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor | None]:
        """c |c|, 2 |c| and nothing."""
        size = cosine.abs()
        return cosine * size, size.mul_(2), None

    def slope(self, cosine: Tensor, k: Tensor | None = None, scratch: Scratch | None = None) -> Tensor:
        """2 |c|."""
        return torch.abs(cosine, out=scratch and scratch[0]).mul_(2)


def k_from_raw(raw: Tensor) -> Tensor:
    """A learned k of what is trained, as in the released code: |raw| + 0.05."""
    return raw.abs() + SMALLEST_K


def raw_from_k(k: float) -> float:
    """Where training starts for a k of 0.05 or more."""
    return k - SMALLEST_K


ANGLES: dict[str, Angle] = {
    "cosine": Cosine(),
    "linear": Linear(),
    "sigmoid": Sigmoid(),
    "learned_sigmoid": Sigmoid(k=0.75, learnable=True),
    "square_cosine": SquareCosine(),
}


AngleLike = str | Mapping[str, Any] | Angle
"""How a user gives an angle function: by name, by a mapping with a name, or as an object."""


def as_angle(value: AngleLike) -> Angle:
    """The angle function that a name, a mapping such as {"name": "sigmoid", "k": 0.5} or an object means.

    Raises:
        ValueError: for an unknown name or argument, or a value out of range.
        TypeError: for anything else.

    Example:
        >>> as_angle({"name": "sigmoid", "k": 0.5})
        Sigmoid(k=0.5, learnable=False)
    """
    # mypy: an abstract class is what the user's own specifications derive from
    return as_spec("angle", value, ANGLES, Angle)  # type: ignore[type-abstract]
