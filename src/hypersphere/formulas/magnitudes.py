# SPDX-License-Identifier: MIT
"""Magnitude functions h(r) of decoupled convolution: what the length of a patch adds to its angle."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from hypersphere.checks import check_flag, check_range
from hypersphere.formulas.specs import as_spec

__all__ = [
    "MAGNITUDES",
    "RADIUS_FLOOR",
    "Ball",
    "Linear",
    "Log",
    "Magnitude",
    "MagnitudeLike",
    "Mix",
    "Power",
    "Segmented",
    "Sphere",
    "Tanh",
    "as_magnitude",
    "radius_from_raw",
    "raw_from_radius",
]

RADIUS_FLOOR = 1e-4
"""What a learned radius never falls below."""

# a length or radius below this counts as this where it is divided by or its logarithm is taken
_SMALLEST = 1e-15


@dataclass(frozen=True)
class Magnitude(abc.ABC):
    """h as a function of the patch norm r >= 0, with at most one number that can be learned (a radius or an exponent).

    A frozen specification; the layer that uses one owns what is learned. For one of your own, write a frozen dataclass
    with `value` and `value_and_slopes`.

    Args:
        alpha: scale, > 0, dimensionless.
    """

    alpha: float = 1.0

    parameter: ClassVar[str | None] = None
    # fields of those that have them; without an annotation here, so that they are not fields of all
    relative = False
    learnable = False

    def __post_init__(self) -> None:
        check_range(type(self).__name__, "alpha", self.alpha, low=1e-6, high=1e6)
        check_flag(type(self).__name__, "relative", self.relative)
        check_flag(type(self).__name__, "learnable", self.learnable)

    @abc.abstractmethod
    def value(self, norm: Tensor, parameter: Tensor | None = None) -> Tensor:
        """h(r), differentiable; `parameter` in place of the specification's own, broadcast over `norm`."""

    @abc.abstractmethod
    def value_and_slopes(self, norm: Tensor, parameter: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor | None]:
        """h, dh/dr and, where `parameter` is given, dh/dparameter, without autograd."""


@dataclass(frozen=True)
class Sphere(Magnitude):
    """h = alpha: only the angle counts. Its gradient grows as 1 / r up to the cap that eps sets.

    Source:
        liu2018decoupled, sec. 3.2 (SphereConv).

    Example:
        >>> Sphere().value(torch.tensor([0.5, 2.0]))
        tensor([1., 1.])
    """

    def value(self, norm: Tensor, parameter: Tensor | None = None) -> Tensor:
        """The constant alpha."""
        return torch.full_like(norm, self.alpha)

    def value_and_slopes(self, norm: Tensor, parameter: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor | None]:
        """alpha and 0."""
        return self.value(norm), torch.zeros_like(norm), None


class _WithRadius(Magnitude):
    """What magnitudes whose shape changes at a radius have in common; the fields stand in each of them."""

    parameter: ClassVar[str | None] = "radius"
    radius: float
    momentum: float

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(type(self).__name__, "radius", self.radius, low=2 * RADIUS_FLOOR, high=1e18)
        check_range(type(self).__name__, "momentum", self.momentum, low=0.0, high=1.0)

    def _radius(self, norm: Tensor, parameter: Tensor | None) -> Tensor:
        found = torch.full_like(norm[..., :1], self.radius) if parameter is None else parameter
        return found.clamp_min(_SMALLEST)


@dataclass(frozen=True)
class Ball(_WithRadius):
    r"""h = alpha min(r, rho) / rho: linear inside the ball, constant outside.

    Args:
        alpha: scale, > 0, dimensionless.
        radius: rho > 0: in units of the layer's mean patch norm (`relative`) or of the input.
        relative: as the released code: the radius is a multiple of the mean patch norm, that of the batch in training
            (its gradient counts), a running mean in evaluation.
        learnable: one radius for each output channel, started from this value, kept above 1e-4.
        momentum: share of the newest batch in the running mean, in [0, 1]; released code 1e-3, which lags. The first
            batches are averaged, so that the running mean never leans towards its start.

    Raises:
        ValueError: for a number out of range.

    Edge cases:
        At r = rho the slope is that of the inside, alpha / rho.

    Source:
        liu2018decoupled, sec. 3.2 (BallConv).

    Example:
        >>> Ball(radius=2.0).value(torch.tensor([1.0, 4.0]))
        tensor([0.5000, 1.0000])
    """

    radius: float = 1.0
    relative: bool = True
    learnable: bool = False
    momentum: float = 0.01

    def value(self, norm: Tensor, parameter: Tensor | None = None) -> Tensor:
        """alpha min(r, rho) / rho."""
        radius = self._radius(norm, parameter)
        return self.alpha * torch.where(norm <= radius, norm / radius, 1.0)

    def value_and_slopes(self, norm: Tensor, parameter: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor | None]:
        """alpha / rho and -alpha r / rho² inside, 0 and 0 outside."""
        radius = self._radius(norm, parameter)
        inside = (norm <= radius).to(norm.dtype)
        slope = inside * (self.alpha / radius)
        value = slope * norm + self.alpha * (1 - inside)
        return value, slope, None if parameter is None else -slope * (norm / radius)


@dataclass(frozen=True)
class Tanh(_WithRadius):
    r"""h = alpha tanh(r / rho): a smooth ball; arguments as those of `Ball`.

    Source:
        liu2018decoupled, sec. 3.2 (TanhConv).

    Example:
        >>> Tanh(radius=2.0).value(torch.tensor([0.0, 2.0]))
        tensor([0.0000, 0.7616])
    """

    radius: float = 1.0
    relative: bool = True
    learnable: bool = False
    momentum: float = 0.01

    def value(self, norm: Tensor, parameter: Tensor | None = None) -> Tensor:
        """alpha tanh(r / rho)."""
        return self.alpha * torch.tanh(norm / self._radius(norm, parameter))

    def value_and_slopes(self, norm: Tensor, parameter: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor | None]:
        """(alpha / rho) sech²(r / rho), and -r / rho times that."""
        radius = self._radius(norm, parameter)
        ratio = norm / radius
        tanh = ratio.tanh()
        slope = (1 - tanh * tanh) * (self.alpha / radius)
        return self.alpha * tanh, slope, None if parameter is None else -slope * ratio


@dataclass(frozen=True)
class Segmented(_WithRadius):
    r"""h = alpha r up to rho, beta r + (alpha - beta) rho above: two straight pieces.

    Args:
        alpha: slope inside, > 0.
        beta: slope outside, >= 0; released code 0.5.
        radius: rho > 0, where the slope changes; see `Ball`, also for what follows.
        relative: whether it is in units of the mean patch norm.
        learnable: whether it is learned for each output channel.
        momentum: of the running mean.

    Edge cases:
        At r = rho the slope is alpha.

    Source:
        liu2018decoupled, sec. 3.2 (SegConv).

    Example:
        >>> Segmented(radius=2.0, beta=0.5).value(torch.tensor([1.0, 4.0]))
        tensor([1., 3.])
    """

    beta: float = 0.5
    radius: float = 1.0
    relative: bool = True
    learnable: bool = False
    momentum: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("Segmented", "beta", self.beta, low=0.0, high=1e6)

    def value(self, norm: Tensor, parameter: Tensor | None = None) -> Tensor:
        """Alpha r inside, beta r + (alpha - beta) rho outside."""
        radius = self._radius(norm, parameter)
        return torch.where(norm <= radius, self.alpha * norm, self.beta * norm + (self.alpha - self.beta) * radius)

    def value_and_slopes(self, norm: Tensor, parameter: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor | None]:
        """Slopes alpha and 0 inside, beta and alpha - beta outside."""
        radius = self._radius(norm, parameter)
        inside = (norm <= radius).to(norm.dtype)
        slope = inside * (self.alpha - self.beta) + self.beta
        of_radius = (1 - inside) * (self.alpha - self.beta)
        return slope * norm + of_radius * radius, slope, None if parameter is None else of_radius


@dataclass(frozen=True)
class Linear(Magnitude):
    r"""h = alpha r: with the cosine, a convolution with kernels of length 1; with weighting "linear" the ordinary one.

    Source:
        liu2018decoupled, sec. 3.2 (LinearConv).

    Example:
        >>> Linear(alpha=2.0).value(torch.tensor([1.0, 4.0]))
        tensor([2., 8.])
    """

    def value(self, norm: Tensor, parameter: Tensor | None = None) -> Tensor:
        """Alpha r."""
        return self.alpha * norm

    def value_and_slopes(self, norm: Tensor, parameter: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor | None]:
        """Slope alpha."""
        return self.value(norm), torch.full_like(norm, self.alpha), None


@dataclass(frozen=True)
class Log(Magnitude):
    r"""h = alpha log(1 + r).

    Source:
        liu2018decoupled, sec. 3.2 (LogConv).

    Example:
        >>> Log().value(torch.tensor([0.0, 1.0]))
        tensor([0.0000, 0.6931])
    """

    def value(self, norm: Tensor, parameter: Tensor | None = None) -> Tensor:
        """Alpha log(1 + r)."""
        return self.alpha * torch.log1p(norm)

    def value_and_slopes(self, norm: Tensor, parameter: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor | None]:
        """Slope alpha / (1 + r)."""
        return self.value(norm), self.alpha / (1 + norm), None


@dataclass(frozen=True)
class Mix(Magnitude):
    r"""h = alpha r + beta log(1 + r).

    Args:
        alpha: factor of the linear part, > 0.
        beta: factor of the logarithm, >= 0.

    Source:
        liu2018decoupled, table 3 (MixConv), which names it without a formula that could be read; the sum is how the
        name is understood here.

    Example:
        >>> Mix(alpha=1.0, beta=0.5).value(torch.tensor([0.0, 1.0]))
        tensor([0.0000, 1.3466])
    """

    beta: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("Mix", "beta", self.beta, low=0.0, high=1e6)

    def value(self, norm: Tensor, parameter: Tensor | None = None) -> Tensor:
        """Alpha r + beta log(1 + r)."""
        return self.alpha * norm + self.beta * torch.log1p(norm)

    def value_and_slopes(self, norm: Tensor, parameter: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor | None]:
        """Slope alpha + beta / (1 + r)."""
        return self.value(norm), self.alpha + self.beta / (1 + norm), None


@dataclass(frozen=True)
class Power(Magnitude):
    r"""h = alpha r^q: from the angle alone (q = 0) to the ordinary inner product (q = 1), by one number for each layer.

    Args:
        alpha: scale, > 0.
        exponent: q, in [-1, 2].
        learnable: whether q is learned, started from this value.

    Edge cases:
        Norms below 1e-15 count as that, so that a power or logarithm of zero never arises.

    Source:
        The rescaled SphereNorm of liu2017spherenet "degrades to the ordinary convolution"; this form of it is ours.

    Example:
        >>> Power(exponent=0.5).value(torch.tensor([1.0, 4.0]))
        tensor([1., 2.])
    """

    exponent: float = 0.0
    learnable: bool = True

    parameter: ClassVar[str | None] = "exponent"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("Power", "exponent", self.exponent, low=-1.0, high=2.0)

    def value(self, norm: Tensor, parameter: Tensor | None = None) -> Tensor:
        """Alpha exp(q log r)."""
        exponent = self.exponent if parameter is None else parameter
        return self.alpha * torch.exp(exponent * norm.clamp_min(_SMALLEST).log())

    def value_and_slopes(self, norm: Tensor, parameter: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor | None]:
        """Slopes q h / r and h log r."""
        exponent = self.exponent if parameter is None else parameter
        norm = norm.clamp_min(_SMALLEST)
        logarithm = norm.log()
        value = self.alpha * torch.exp(exponent * logarithm)
        return value, exponent * value / norm, None if parameter is None else value * logarithm


def radius_from_raw(raw: Tensor) -> Tensor:
    """A learned radius of what is trained, as in the released code: raw² + 1e-4."""
    return raw.square() + RADIUS_FLOOR


def raw_from_radius(radius: float) -> float:
    """Where training starts for a radius above 1e-4."""
    return float((radius - RADIUS_FLOOR) ** 0.5)


MAGNITUDES: dict[str, Magnitude] = {
    "sphere": Sphere(),
    "ball": Ball(),
    "tanh": Tanh(),
    "linear": Linear(),
    "segmented": Segmented(),
    "log": Log(),
    "mix": Mix(),
    "power": Power(),
    "learned_ball": Ball(learnable=True),
    "learned_tanh": Tanh(learnable=True),
    "learned_segmented": Segmented(learnable=True),
}


MagnitudeLike = str | Mapping[str, Any] | Magnitude
"""How a user gives a magnitude: by name, by a mapping with a name, or as an object."""


def as_magnitude(value: MagnitudeLike) -> Magnitude:
    """The magnitude that a name, a mapping such as {"name": "ball", "radius": 2.0} or an object means.

    Raises:
        ValueError: for an unknown name or argument, or a value out of range.
        TypeError: for anything else.

    Example:
        >>> as_magnitude({"name": "linear", "alpha": 2.0})
        Linear(alpha=2.0)
    """
    return as_spec("magnitude", value, MAGNITUDES, Magnitude)  # type: ignore[type-abstract]
