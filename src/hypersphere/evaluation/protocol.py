# SPDX-License-Identifier: MIT
"""The attacks of the robustness protocol, by name, and what each does in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from hypersphere.checks import check_choice, check_count, check_range, lookup
from hypersphere.evaluation.attacks import KEEP, LOSSES, NORMS, Logits, pgd

__all__ = ["ATTACKS", "EPSILON", "TRANSFERRED", "Attack", "choose_attacks"]

EPSILON = 8 / 255
"""The usual largest change of a pixel of [0, 1]: eight grey levels."""
TRANSFERRED = ("fgsm", "bim")
"""Attacks that are also made on another model."""


@dataclass(frozen=True)
class Attack:
    """What `pgd` is called with; one step of the whole radius is FGSM, no random start makes it BIM.

    Args:
        norm: "linf" or "l2".
        epsilon: radius in units of pixels of [0, 1], in [0, 1] for "linf".
        steps: how many.
        step_size: length of each, in the same units.
        loss: "cross_entropy" or "margin".
        random_start: begin at a random point of the ball.
        restarts: how often; an image counts as fooled if one of them fools.
        keep: "last" or "worst" point of the way.
    """

    norm: str = "linf"
    epsilon: float = EPSILON
    steps: int = 1
    step_size: float = EPSILON
    loss: str = "cross_entropy"
    random_start: bool = False
    restarts: int = 1
    keep: str = "last"

    def __post_init__(self) -> None:
        for argument, value, table in (
            ("norm", self.norm, NORMS),
            ("loss", self.loss, LOSSES),
            ("keep", self.keep, KEEP),
        ):
            check_choice("Attack", argument, value, list(table))
        check_count("Attack", "steps", self.steps)
        check_count("Attack", "restarts", self.restarts)
        for argument, size in (("epsilon", self.epsilon), ("step_size", self.step_size)):
            check_range("Attack", argument, size, low=0.0, high=1.0 if self.norm == "linf" else 1e3)

    def __str__(self) -> str:
        """The attack in words."""
        norm = {"linf": "L-inf", "l2": "L2"}[self.norm]
        steps = "one step" if self.steps == 1 else f"{self.steps} steps of {_size(self.step_size, self.norm)}"
        starts = f", {self.restarts} random start{'s' * (self.restarts > 1)}" if self.random_start else ""
        return f"{norm} {_size(self.epsilon, self.norm)}, {steps}{starts}, {self.loss.replace('_', '-')}"

    def scaled(self, factor: float) -> Attack:
        """The same with radius and steps times `factor`; an attack on the whole box [0, 1] stays what it is."""
        if self.is_unbounded:
            return self
        return replace(self, epsilon=self.epsilon * factor, step_size=self.step_size * factor)

    @property
    def is_unbounded(self) -> bool:
        """Whether every image can be reached."""
        return self.norm == "linf" and self.epsilon >= 1.0

    def __call__(self, model: Logits, images: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
        """One run of it: changed images."""
        how = {name: getattr(self, name) for name in ("epsilon", "steps", "step_size", "norm", "loss", "keep")}
        return pgd(model, images, labels, **how, random_start=self.random_start, generator=generator)


def _size(value: float, norm: str) -> str:
    """A radius or step in grey levels where these are a few and round, else as it is."""
    levels = 255 * value
    in_levels = norm == "linf" and value < 0.1 and abs(4 * levels - round(4 * levels)) < 1e-6
    return f"{levels:.4g}/255" if in_levels else f"{value:.3g}"


_BIM = Attack(steps=10, step_size=2 / 255)
_PGD = Attack(steps=20, step_size=2 / 255, random_start=True, restarts=3, keep="worst")
_L2 = Attack(norm="l2", epsilon=0.5, steps=20, step_size=0.1, random_start=True, keep="worst")

ATTACKS: dict[str, Attack] = {
    "fgsm": Attack(),
    "fgsm_margin": Attack(loss="margin"),
    "bim": _BIM,
    "bim_margin": replace(_BIM, loss="margin"),
    "pgd": _PGD,
    "pgd_margin": replace(_PGD, loss="margin"),
    "l2": _L2,
    "l2_large_steps": replace(_L2, step_size=0.5),
    "unbounded": Attack(epsilon=1.0, steps=30, step_size=0.1, keep="worst"),
}
"""The attacks of the protocol."""


def choose_attacks(
    attacks: Sequence[str] | Mapping[str, Attack] | None = None, *, epsilon: float = EPSILON
) -> dict[str, Attack]:
    """Attacks by name, those of the protocol brought to another radius.

    Args:
        attacks: names of `ATTACKS`, or attacks of your own, which are left as they are; None for the whole protocol.
        epsilon: L-inf radius in (0, 1]; radii and steps of the bounded attacks go with it.

    Raises:
        ValueError: if a name is unknown, there is none, or `epsilon` is out of range.

    Example:
        >>> [str(attack) for attack in choose_attacks(["bim", "l2"], epsilon=4 / 255).values()][0]
        'L-inf 4/255, 10 steps of 1/255, cross-entropy'
    """
    if not 0 < epsilon <= 1:
        raise ValueError(
            f"robustness: epsilon must lie in (0, 1], got {epsilon:g}. It is in units of pixels of [0, 1]: 8 / 255 is "
            "eight grey levels."
        )
    if isinstance(attacks, Mapping):
        found = dict(attacks)
    else:
        names = list(ATTACKS) if attacks is None else attacks
        found = {name: lookup("attack", name, ATTACKS).scaled(epsilon / EPSILON) for name in names}
    if not found:
        raise ValueError("robustness: expected one attack or more, got none.")
    return found
