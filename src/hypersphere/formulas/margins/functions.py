# SPDX-License-Identifier: MIT
"""Margins that make something of every class: another function of the angle, harder negatives, own weights."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from hypersphere.checks import check_choice, check_range
from hypersphere.formulas.angles import Angle, Cosine, Linear, Sigmoid
from hypersphere.formulas.arccos import angle_from_cosine
from hypersphere.formulas.margins.angular import BEYOND_PI, added_angle
from hypersphere.formulas.margins.base import BatchStatistics, Margin, State
from hypersphere.formulas.multiples import falling_cosine

__all__ = ["Circle", "CurricularFace", "GASoftmax", "SphereFaceR"]

_ANGLES = {"linear": Linear, "cosine": Cosine, "sigmoid": Sigmoid}
# published weights of the loss of SphereFace-R, by the normalisation of features
_LOSS_WEIGHTS = {"hard": 50.0, "soft": 50.0, "none": 1.0}


@dataclass(frozen=True)
class GASoftmax(Margin):
    r"""Generalised angular softmax: logits |x| g(theta_j), the own one |x| g(m theta). With m = 1 it is W-Softmax.

    Args:
        angle_function: g. "linear": 1 - 2 theta / pi, at m theta too. "cosine": cos(theta) and psi(m theta), which is
            SphereFace. "sigmoid": the S-shaped g of SphereConv, at m theta too, where it is flat beyond pi: badly
            misclassified samples have a small gradient. Or one of these three as an object of `hypersphere.angles`,
            which is kept as its name and its k.
        multiplier: m, real, in [1, 10].
        k: of the sigmoid, in radians, in [1e-3, 1e3].

    Raises:
        ValueError: if g is unknown or has a learned k, or a number is out of range.

    Source:
        liu2017spherenet, sec. 3.3. The multiplier 1.5 is that of OpenSphere, which has scale 30 and the gradient of
        m = 1.

    Example:
        >>> GASoftmax("linear", 2.0).target(torch.tensor([0.0]), torch.ones(1), {})
        tensor([-1.])
    """

    angle_function: str | Angle = "linear"
    multiplier: float = 1.5
    k: float = 0.3
    default_scale: ClassVar[str] = "feature"

    def __post_init__(self) -> None:
        if isinstance(self.angle_function, Angle):
            # plain values, so that margins that are equal compare as equal and can be written down
            name, k = _named(self.angle_function, self.k)
            object.__setattr__(self, "angle_function", name)
            object.__setattr__(self, "k", k)
        else:
            check_choice("GASoftmax", "angle_function", self.angle_function, tuple(_ANGLES))
        check_range("GASoftmax", "multiplier", self.multiplier, low=1.0, high=10.0)
        check_range("GASoftmax", "k", self.k, low=1e-3, high=1e3, unit="radians")

    def target(self, cosine: Tensor, norm: Tensor, state: State) -> Tensor:
        """g(m theta)."""
        if self.angle_function == "cosine":
            return falling_cosine(cosine, self.multiplier)
        if self.multiplier == 1:
            return self.inference(cosine)
        total = angle_from_cosine(cosine) * self.multiplier
        if self.angle_function == "linear":
            return 1 - total * (2 / math.pi)
        return torch.tanh((math.pi / 2 - total) / (2 * self.k)) / math.tanh(math.pi / (4 * self.k))

    def inference(self, cosine: Tensor) -> Tensor:
        """g(theta)."""
        if self.angle_function == "sigmoid":
            return Sigmoid(self.k).value(cosine)
        return (Linear() if self.angle_function == "linear" else Cosine()).value(cosine)

    def detached(self, cosine: Tensor) -> Tensor:
        """g(theta): the multiplier alone has no gradient."""
        return self.inference(cosine)


def _named(angle: Angle, k: float) -> tuple[str, float]:
    """The name of an angle function and its k, the given one where it has none."""
    if angle.learnable:
        raise ValueError(
            f"GASoftmax: a learned k belongs to a layer, and a margin owns no parameters; got {angle}. Give it "
            "learnable=False."
        )
    for name, kind in _ANGLES.items():
        if type(angle) is kind:
            return name, angle.k if isinstance(angle, Sigmoid) else k
    raise ValueError(f"GASoftmax: expected an angle function of {', '.join(_ANGLES)}, got {angle}.")


@dataclass(frozen=True)
class SphereFaceR(Margin):
    r"""SphereFace-R: the margin on the own class (v1) or on all others (v2), features of length 1, near 1, or free.

    v1 has cos(min(m theta, pi)) for the own class; v2 has cos(theta_j / m) for all others. The loss is weighted by
    `loss_weight` / scale ("hard", "soft") or `loss_weight` ("none"). Published with gradient="detached".

    Args:
        version: 1 or 2.
        multiplier: m, real, in [1, 10]; released 1.5 (v2 in its configuration: 1.4, scale 60).
        normalization: of features. "hard": every length counts as the scale (30). "soft": the own length counts, and
            `norm_weight` · | |x| - `norm_goal` | is added. "none": the own length counts.
        loss_weight: above 0; None for the released one: 50, and 1 for "none".
        norm_weight: of the soft normalisation, 0 or more; released 0.01.
        norm_goal: above 0; released 30.

    Raises:
        ValueError: if a number is out of range or `normalization` unknown.

    Source:
        liu2022spherefacer, sec. 3 and 4; OpenSphere. The paper may square the penalty; the release does not.

    Example:
        >>> SphereFaceR(version=1, multiplier=2.0).target(torch.tensor([0.5, -0.5]), torch.ones(2), {})
        tensor([-0.5000, -1.0000])
    """

    version: int = 2
    multiplier: float = 1.5
    normalization: str = "hard"
    loss_weight: float | None = None
    norm_weight: float = 0.01
    norm_goal: float = 30.0

    def __post_init__(self) -> None:
        who = "SphereFaceR"
        check_choice(who, "version", repr(self.version), ("1", "2"))
        check_choice(who, "normalization", self.normalization, ("hard", "soft", "none"))
        check_range(who, "multiplier", self.multiplier, low=1.0, high=10.0)
        if self.loss_weight is not None:
            check_range(who, "loss_weight", self.loss_weight, low=1e-6, high=1e6)
        check_range(who, "norm_weight", self.norm_weight, low=0.0, high=1e6)
        check_range(who, "norm_goal", self.norm_goal, low=1e-6, high=1e6)

    @property
    def default_scale(self) -> float | str:  # type: ignore[override]
        """30 for features of one length, otherwise their own."""
        return 30.0 if self.normalization == "hard" else "feature"

    @property
    def changes_others(self) -> bool:
        """Only the second version does."""
        return self.version == 2

    def target(self, cosine: Tensor, norm: Tensor, state: State) -> Tensor:
        """cos(min(m theta, pi)) in v1, c itself in v2."""
        return falling_cosine(cosine, self.multiplier).clamp_min(-1) if self.version == 1 else cosine

    def others(self, cosine: Tensor, own: Tensor, state: State) -> Tensor:
        """c itself in v1, cos(theta / m) in v2."""
        return cosine if self.version == 1 else falling_cosine(cosine, 1 / self.multiplier)

    def loss_factor(self, scale: float | Tensor) -> float | Tensor:
        """`loss_weight`, over the scale where features are to have one length."""
        weight = _LOSS_WEIGHTS[self.normalization] if self.loss_weight is None else self.loss_weight
        if self.normalization == "none":
            return weight
        return weight / (self.norm_goal if self.normalization == "soft" else scale)

    def penalty(self, norm: Tensor, scale: float | Tensor) -> Tensor | None:
        """`norm_weight` · | |x| - `norm_goal` |."""
        return self.norm_weight * (norm - self.norm_goal).abs() if self.normalization == "soft" else None


@dataclass(frozen=True)
class CurricularFace(Margin):
    r"""CurricularFace: ArcFace for the own class; other classes that are nearer than it weigh more as training goes on.

    Where cos(theta_j) > cos(theta + m), the logit of class j is cos(theta_j) (t + cos(theta_j)); t is the running mean
    of cos(theta), moved before it is used.

    Args:
        angle: m in radians, in [0, pi]; published 0.5 with scale 64.
        beyond_pi: see `ArcFace`; the release has "guard".
        momentum: share of the batch in t, in [0, 1]; released 0.01.

    Raises:
        ValueError: if a number is out of range or `beyond_pi` unknown.

    Source:
        huang2020curricularface, eq. 10 and 11.

    Example:
        >>> CurricularFace().others(torch.tensor([0.9, 0.0]), torch.tensor(0.5), {"running_cosine": torch.tensor(0.2)})
        tensor([0.9900, 0.0000])
    """

    angle: float = 0.5
    beyond_pi: str = "continue"
    momentum: float = 0.01
    default_scale: ClassVar[float] = 64.0

    def __post_init__(self) -> None:
        check_range("CurricularFace", "angle", self.angle, low=0.0, high=math.pi, unit="radians")
        check_choice("CurricularFace", "beyond_pi", self.beyond_pi, BEYOND_PI)
        check_range("CurricularFace", "momentum", self.momentum, low=0.0, high=1.0)

    def target(self, cosine: Tensor, norm: Tensor, state: State) -> Tensor:
        """cos(theta + m)."""
        return added_angle(cosine, self.angle, self.beyond_pi)

    def others(self, cosine: Tensor, own: Tensor, state: State) -> Tensor:
        """c, or c (t + c) where that class is nearer than the own one with its margin."""
        hard = cosine > added_angle(own, self.angle, "cosine")
        return torch.where(hard, cosine * (state["running_cosine"].to(cosine.dtype) + cosine), cosine)

    def initial_state(self) -> dict[str, float]:
        """t = 0."""
        return {"running_cosine": 0.0}

    def advance(self, state: State, batch: BatchStatistics) -> dict[str, Tensor]:
        """t moves towards the mean cosine of the batch."""
        return {"running_cosine": state["running_cosine"].lerp(batch.cosine, self.momentum)}


@dataclass(frozen=True)
class Circle(Margin):
    r"""Circle loss with class vectors: each logit weighs more the farther it is from where it should be.

    The own logit is scale · a (c - (1 - m)) with a = max(1 + m - c, 0), that of another class scale · b (c - m) with
    b = max(c + m, 0); a and b are constants to autograd. Cross-entropy of these is the published loss with one
    positive, log(1 + sum exp(others) exp(-own)).

    Args:
        relaxation: m in [0, 1]; published 0.25 with scale 256 for faces.

    Raises:
        ValueError: if m is out of range.

    Source:
        sun2020circle, eq. 6 to 9.

    Example:
        >>> Circle(0.25).target(torch.tensor([0.75, 0.25]), torch.ones(2), {})
        tensor([ 0.0000, -0.5000])
    """

    relaxation: float = 0.25
    default_scale: ClassVar[float] = 256.0

    def __post_init__(self) -> None:
        check_range("Circle", "relaxation", self.relaxation, low=0.0, high=1.0)

    def target(self, cosine: Tensor, norm: Tensor, state: State) -> Tensor:
        """a (c - (1 - m))."""
        weight = (1 + self.relaxation - cosine.detach()).clamp_min(0)
        return weight * (cosine - (1 - self.relaxation))

    def others(self, cosine: Tensor, own: Tensor, state: State) -> Tensor:
        """b (c - m)."""
        weight = (cosine.detach() + self.relaxation).clamp_min(0)
        return weight * (cosine - self.relaxation)
