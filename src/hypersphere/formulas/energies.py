# SPDX-License-Identifier: MIT
"""Pair potentials of hyperspherical energy: a kernel f of a distance on the sphere, its slope, and its floor."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from hypersphere.checks import check_choice, check_range
from hypersphere.formulas.arccos import angle_from_cosine, angle_slope, arc_cosine
from hypersphere.formulas.directions import working_dtype

__all__ = [
    "DISTANCES",
    "ENERGIES",
    "EnergyKernel",
    "PairKernel",
    "PairPotential",
    "Riesz",
    "distance_floor",
    "energy_dtype",
]

DISTANCES = {
    "euclidean": "chord |u_i - u_j| between unit vectors, in [0, 2]",
    "angular": "geodesic angle between unit vectors, in [0, pi] radians (A-MHE)",
}

# exponent of two that a force may reach: rows of norm 1e-20 multiply it by 2^66 and must stay finite
_LARGEST_EXPONENT = {torch.float32: 58.0, torch.float64: 900.0}
# beyond it, energies of near neighbours leave the range of float32
_LARGEST_SINGLE_POWER = 4.0
# from this 1 - c² on, the rounding of c² in float32 is below 1e-5 of it
_SHARP = 2.0**-7
# Gram products of unit rows carry a few ulps of error, so 2 - 2c means nothing below the square of these
_SMALLEST_DISTANCE = {torch.float32: 2.0**-9, torch.float64: 2.0**-23}


class PairKernel(Protocol):
    """Anything with a decreasing `value(z)` and its `derivative(z)`, elementwise on a tensor of distances z > 0."""

    @property
    def value(self) -> Callable[[Tensor], Tensor]:
        """f(z)."""

    @property
    def derivative(self) -> Callable[[Tensor], Tensor]:
        """f'(z) <= 0."""


@dataclass(frozen=True)
class EnergyKernel:
    r"""A kernel of your own: any decreasing f with its derivative, both elementwise on a tensor of distances.

    Args:
        value: f(z) for 0 < z <= pi, finite at the floor of `distance_floor`; must not change its argument.
        derivative: f'(z), the true derivative: the blocked implementation uses it, plain torch differentiates `value`.

    Example:
        >>> gaussian = EnergyKernel(lambda z: torch.exp(-z.square()), lambda z: -2 * z * torch.exp(-z.square()))
        >>> gaussian.value(torch.zeros(1))
        tensor([1.])
    """

    value: Callable[[Tensor], Tensor]
    derivative: Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Riesz:
    r"""Riesz kernel: f_s(z) = z^{-s} for s > 0 and f_0(z) = -ln z, the log of the distance, not of its square.

    Args:
        power: exponent s >= 0, dimensionless, any finite real.

    Raises:
        ValueError: if `power` is negative, infinite or NaN.

    Source:
        liu2018mhe, eq. 1.

    Example:
        >>> Riesz(power=2.0).value(torch.tensor([2.0]))
        tensor([0.2500])
    """

    power: float

    def __post_init__(self) -> None:
        check_range("Riesz", "power", self.power, low=0.0, high=1e4)

    def __str__(self) -> str:
        return f"power {self.power:g}: " + ("-ln z" if self.power == 0 else f"z^-{self.power:g}") + " of the distance z"

    def value(self, distance: Tensor) -> Tensor:
        """f_s(z)."""
        return self.value_of_square(distance.square())

    def derivative(self, distance: Tensor) -> Tensor:
        """f_s'(z): -s z^{-s-1}, or -1/z for s = 0."""
        return -distance * self.slope_of_square(distance.square())

    def value_of_square(self, square: Tensor) -> Tensor:
        """f_s as a function of t = z²: the chord comes squared, so no root is taken that the power does not need."""
        if self.power == 0:
            return square.log().mul(-0.5)
        return _negative_power(square, self.power / 2)

    def slope_of_square(self, square: Tensor) -> Tensor:
        """-f_s'(z)/z as a function of t = z²: s t^{-(s+2)/2}, or 1/t for s = 0."""
        if self.power == 0:
            return square.reciprocal()
        return _negative_power(square, self.power / 2 + 1).mul(self.power)


def _negative_power(base: Tensor, exponent: float) -> Tensor:
    """base^{-exponent}, by products of roots and reciprocals where the exponent is a small multiple of one half."""
    if exponent == 0.5:
        return base.rsqrt()
    if exponent == 1.0:
        return base.reciprocal()
    if exponent == 1.5:
        return base.rsqrt().div(base)
    if exponent == 2.0:
        return base.reciprocal().square()
    return base.pow(-exponent)


ENERGIES: dict[str, Riesz] = {
    "log": Riesz(0.0),
    "coulomb": Riesz(1.0),
    "riesz-2": Riesz(2.0),
}


def distance_floor(dtype: torch.dtype, power: float = 0.0) -> float:
    """Smallest distance (chord, or angle in radians) that enters an energy; nearer pairs count as this far.

    2^-9 where the work is done in float32 and 2^-23 in float64: at the floor, the rounding of a Gram product makes a
    distance uncertain by up to a few percent, ten times farther away by a hundredth of that. It rises where the force
    s z^-(s+2) would leave 2^900: in float64 for powers above 36, to 0.0023 for s = 100. Work is done in float32 for
    inputs up to float32 and powers up to 4, and in float64 for all others (`energy_dtype`). The rounding stays below
    the floor for dimensions up to 1e5.

    Example:
        >>> distance_floor(torch.float32)
        0.001953125
    """
    return _floor(energy_dtype(dtype, power), power)


def _floor(dtype: torch.dtype, power: float) -> float:
    exponent = _LARGEST_EXPONENT[dtype] - math.log2(max(power, 1.0))
    return max(_SMALLEST_DISTANCE[dtype], math.exp2(-exponent / (power + 2)))


def energy_dtype(dtype: torch.dtype, power: float) -> torch.dtype:
    """The dtype in which an energy of this power is computed for weights of `dtype`."""
    return torch.float64 if power > _LARGEST_SINGLE_POWER else working_dtype(dtype)


@dataclass(frozen=True)
class PairPotential:
    r"""What one pair of neurons adds to the energy, as a function of its cosine c.

    Euclidean: phi(c) = f(D) with D² = 2 - 2c. Angular: phi(c) = f(theta + pi * angle_offset) with theta = arccos c.
    `force` is d phi / dc >= 0, the coefficient in dE/dw_i = sum_j force(c_ij) (u_j - c_ij u_i) / |w_i|.

    Limits: D (or theta) up to `distance_floor` counts as the floor and has force zero. Where c counts as -1, the
    angular force, whose direction is undefined there, is zero too.
    """

    kernel: PairKernel
    distance: str = "euclidean"
    angle_offset: float = 0.0

    def __post_init__(self) -> None:
        check_choice("hyperspherical_energy", "distance", self.distance, list(DISTANCES))
        check_range("hyperspherical_energy", "angle_offset", self.angle_offset, low=0.0, high=1.0, unit="(units of pi)")
        if self.angle_offset and self.distance != "angular":
            raise ValueError(
                "hyperspherical_energy: angle_offset is added to the angle, so it needs distance='angular', "
                f"got distance={self.distance!r}."
            )

    def floor(self, dtype: torch.dtype) -> float:
        """The floor for cosines of `dtype`; a kernel of the user's own takes the one of power 0."""
        return _floor(dtype, self.power)

    @property
    def power(self) -> float:
        """Exponent of the kernel, 0 for a kernel of the user's own."""
        return self.kernel.power if isinstance(self.kernel, Riesz) else 0.0

    def value(self, cosine: Tensor) -> Tensor:
        """phi(c), differentiable any number of times."""
        floor = self.floor(cosine.dtype)
        if self.distance == "angular":
            theta = angle_from_cosine(cosine)
            return self.kernel.value(theta.masked_fill(theta <= floor, floor) + math.pi * self.angle_offset)
        square = 2 - 2 * cosine
        return _value_of_square(self.kernel, square.masked_fill(square <= floor**2, floor**2))

    def value_and_force(self, cosine: Tensor) -> tuple[Tensor, Tensor]:
        """phi(c) and d phi / dc in one pass, without autograd; `cosine` is scratch and may be overwritten."""
        floor = self.floor(cosine.dtype)
        if self.distance == "angular":
            theta = arc_cosine(cosine)
            near = theta <= floor
            shifted = theta.clamp_min(floor) + math.pi * self.angle_offset
            slope = angle_slope(cosine).masked_fill_(near, 0.0)
            return self.kernel.value(shifted), self.kernel.derivative(shifted) * slope
        square = cosine.mul_(-2).add_(2).clamp_min_(floor**2)
        value = _value_of_square(self.kernel, square)
        if isinstance(self.kernel, Riesz):
            # a floored pair has no force: one pass sends it to infinity, where the slope of a power is zero
            far = torch.threshold_(square, floor**2, math.inf)
            return value, self.kernel.slope_of_square(far)
        distance = square.sqrt()
        return value, (-self.kernel.derivative(distance) / distance).masked_fill_(square <= floor**2, 0.0)

    def line_value_and_force(self, cosine: Tensor) -> tuple[Tensor, Tensor] | None:
        """phi(c) + phi(-c) and its derivative, in half the passes, from 4 (1 - c²) = (2 - 2c)(2 + 2c).

        None where that is not shorter or not as exact: for kernels other than the chord's powers 0 and 2; where two
        lines are within 5 degrees, since rounding c² then shows; and off the processor, where asking means waiting.
        """
        if not isinstance(self.kernel, Riesz) or self.distance != "euclidean" or cosine.device.type != "cpu":
            return None
        if self.power not in (0, 2):
            return None
        negative = torch.addcmul(cosine.new_full((), -1.0), cosine, cosine)  # c² - 1
        if not float(negative.amax()) < -_SHARP:
            return None
        if self.power == 2:
            # 1 / (2 - 2c) + 1 / (2 + 2c) = 1 / (1 - c²), and its slope 2c / (1 - c²)²
            value = negative.reciprocal_()
            force = value.square().mul_(cosine).mul_(2)
            return value.neg_(), force
        # -ln(4 (1 - c²)) / 2, and its slope c / (1 - c²)
        value = negative.mul(-4).log_().mul_(-0.5)
        return value, cosine.div(negative).neg_()


def _value_of_square(kernel: PairKernel, square: Tensor) -> Tensor:
    """f(sqrt(t)), by the kernel's own shorter form when it has one."""
    return kernel.value_of_square(square) if isinstance(kernel, Riesz) else kernel.value(square.sqrt())
