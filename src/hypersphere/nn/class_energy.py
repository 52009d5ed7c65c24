# SPDX-License-Identifier: MIT
"""Hyperspherical energy of class vectors in the loss of a head: what SphereFace+ adds to SphereFace."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float, Integer
from torch import Tensor

from hypersphere.checks import check_choice, check_range
from hypersphere.formulas.energies import DISTANCES
from hypersphere.formulas.specs import as_spec
from hypersphere.functional.sampling import RULES, minibatch_energy

__all__ = ["ClassEnergy", "ClassEnergyLike", "as_class_energy"]


@dataclass(frozen=True)
class ClassEnergy:
    r"""`weight` times the energy of class vectors, estimated from the classes of a batch; a frozen specification.

    Added to SphereFace it makes SphereFace+: L = L_SphereFace + weight · 1 / (N (C-1)) sum_i sum_{j != y_i} f_s.

    Args:
        weight: 0 or more. The paper has 1 for its classifiers.
        power: s, 0 for -log of the distance; see `functional.hyperspherical_energy`, as all but `rule`.
        distance: "euclidean" or "angular".
        half_space: add the antipode of every class vector.
        rule: "targets" (classes of the batch against all, the paper's) or "unique" (against each other, the way of
            OpenSphere, which has the angular distance, power 2 and weight 0.1 or 1).
        eps: added inside the square root of the norms.

    Raises:
        ValueError: if a number is out of range or a name unknown.

    Source:
        liu2018mhe, sec. 3.6 and 4.3. The released layer of that name pushes class vectors from their mean instead,
        with weights that hang on a fault of its own; they mean nothing here.

    Example:
        >>> ClassEnergy(power=2.0)
        ClassEnergy(weight=1.0, power=2.0, distance='euclidean', half_space=False, rule='targets', eps=0.0)
    """

    weight: float = 1.0
    power: float = 0.0
    distance: str = "euclidean"
    half_space: bool = False
    rule: str = "targets"
    eps: float = 0.0

    def __post_init__(self) -> None:
        who = "ClassEnergy"
        check_range(who, "weight", self.weight, low=0.0, high=1e9)
        check_range(who, "power", self.power, low=0.0, high=64.0)
        check_choice(who, "distance", self.distance, tuple(DISTANCES))
        check_choice(who, "rule", self.rule, RULES)
        check_range(who, "eps", self.eps, low=0.0, high=1.0)

    def value(
        self, vectors: Float[Tensor, "C D"], labels: Integer[Tensor, " N"], *, ignore_index: int = -100
    ) -> Float[Tensor, ""]:
        """The energy, without its weight, of C class vectors and the labels of a batch."""
        return minibatch_energy(
            vectors,
            labels,
            rule=self.rule,
            ignore_index=ignore_index,
            power=self.power,
            distance=self.distance,
            half_space=self.half_space,
            eps=self.eps,
        )


ClassEnergyLike = Mapping[str, Any] | ClassEnergy
"""How a user gives one: as an object, or as a mapping of its arguments."""


def as_class_energy(value: ClassEnergyLike) -> ClassEnergy:
    """The energy that a mapping such as {"weight": 1.0, "power": 2.0} or an object means.

    Raises:
        ValueError: for an unknown argument, or a value out of range.
        TypeError: for anything else.

    Example:
        >>> as_class_energy({"power": 1.0}).power
        1.0
    """
    named = value if isinstance(value, ClassEnergy) else {"name": "energy", **value}
    return as_spec("class energy", named, {"energy": ClassEnergy()}, ClassEnergy)
