# SPDX-License-Identifier: MIT
"""What one pole, a point that looks for a gap between neurons, finds: value and slope as functions of its cosines."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from hypersphere.checks import check_range
from hypersphere.formulas.directions import working_dtype
from hypersphere.formulas.energies import PairPotential, Riesz, energy_dtype

__all__ = ["POLE_OBJECTIVES", "Covering", "Polarization", "PoleObjective"]


class PoleObjective(Protocol):
    """A loss of K neurons at one pole: the neurons lower it, the pole raises it."""

    def value(self, cosine: Tensor) -> Tensor:
        """L of each pole, (..., P), from its cosines with the neurons, (..., P, K)."""

    def slope(self, cosine: Tensor) -> Tensor:
        """dL/dc, (..., P, K)."""

    def working_dtype(self, dtype: torch.dtype) -> torch.dtype:
        """The dtype to compute in for weights of `dtype`."""


@dataclass(frozen=True)
class Polarization:
    r"""L(c) = -(1/K) sum_i f_s(sqrt(2 - 2 c_i)): minus the mean potential at the pole, f_s the kernel of the energy.

    Distances are floored as those of the energy are (`formulas.energies.distance_floor`).

    Args:
        power: exponent s >= 0; 0 is the logarithm.

    Source:
        liu2021uniformity, maximum hyperspherical polarization.

    Example:
        >>> Polarization(power=2.0).value(torch.tensor([0.0, -1.0]))
        tensor(-0.3750)
    """

    power: float = 2.0

    def __post_init__(self) -> None:
        check_range("Polarization", "power", self.power, low=0.0, high=1e4)

    def value(self, cosine: Tensor) -> Tensor:
        """Minus the mean potential."""
        return -PairPotential(Riesz(self.power)).value(cosine).mean(dim=-1)

    def slope(self, cosine: Tensor) -> Tensor:
        """Minus the force of each neuron, over K."""
        return PairPotential(Riesz(self.power)).value_and_force(cosine.clone())[1] / -cosine.shape[-1]

    def working_dtype(self, dtype: torch.dtype) -> torch.dtype:
        """That of the energy."""
        return energy_dtype(dtype, self.power)


@dataclass(frozen=True)
class Covering:
    r"""L(c) = -(1/gamma) ln[(1/K) sum_i exp(-gamma (2 - 2 c_i))]: a soft smallest squared distance to the pole.

    It lies between the smallest squared distance and that plus ln(K) / gamma.

    Args:
        sharpness: gamma in [1e-4, 1e4], per squared distance.

    Source:
        liu2021uniformity, maximum hyperspherical coverage; the soft form is that of the released code.

    Example:
        >>> Covering(sharpness=100.0).value(torch.tensor([0.0, -1.0]))
        tensor(2.0069)
    """

    sharpness: float = 10.0

    def __post_init__(self) -> None:
        check_range("Covering", "sharpness", self.sharpness, low=1e-4, high=1e4)

    def value(self, cosine: Tensor) -> Tensor:
        """The soft smallest squared distance."""
        exponent = (cosine - 1).mul(2 * self.sharpness)
        if self.sharpness < 0.25:
            # close to the mean squared distance; the difference of two logarithms would leave three digits of it
            return exponent.expm1().mean(dim=-1).log1p() / -self.sharpness
        return (math.log(cosine.shape[-1]) - exponent.logsumexp(dim=-1)) / self.sharpness

    def slope(self, cosine: Tensor) -> Tensor:
        """-2 on the nearest neuron, shared softly."""
        return (cosine * (2 * self.sharpness)).softmax(dim=-1).mul(-2)

    def working_dtype(self, dtype: torch.dtype) -> torch.dtype:
        """float32, or float64 for float64."""
        return working_dtype(dtype)


POLE_OBJECTIVES: dict[str, PoleObjective] = {"polarization": Polarization(), "covering": Covering()}
