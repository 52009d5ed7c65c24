# SPDX-License-Identifier: MIT
"""Margins on the own class alone: its angle multiplied, an angle added, a cosine subtracted."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from hypersphere.checks import check_choice, check_count, check_range
from hypersphere.formulas.arccos import angle_from_cosine
from hypersphere.formulas.margins.base import Margin, State
from hypersphere.formulas.multiples import falling_cosine

__all__ = ["BEYOND_PI", "ArcFace", "Combined", "CosFace", "LSoftmax", "SphereFace", "SubCenterArcFace"]

BEYOND_PI = ("continue", "guard", "clamp", "cosine")
"""What can become of an angle that the margin carries past pi, where the cosine would rise again."""


@dataclass(frozen=True)
class LSoftmax(Margin):
    r"""L-Softmax: the own logit |w| |x| psi(m theta), all others w_j · x; neither lengths are divided out.

    Args:
        multiplier: m, real, in [1, 10]; 1 is the ordinary softmax. Published 2 for CIFAR-10, 4 for MNIST.

    Raises:
        ValueError: if m is out of range.

    Source:
        liu2016lsoftmax, eq. 4 to 6; released code, whose gradient is the exact one.

    Example:
        >>> LSoftmax(2).target(torch.tensor([0.5]), torch.ones(1), {})
        tensor([-0.5000])
    """

    multiplier: float = 2.0
    normalized: ClassVar[bool] = False
    default_scale: ClassVar[float] = 1.0

    def __post_init__(self) -> None:
        check_range("LSoftmax", "multiplier", self.multiplier, low=1.0, high=10.0)

    def target(self, cosine: Tensor, norm: Tensor, state: State) -> Tensor:
        """psi(m theta), see `formulas.multiples`."""
        return falling_cosine(cosine, self.multiplier)


@dataclass(frozen=True)
class SphereFace(Margin):
    r"""SphereFace (A-Softmax): class vectors of length 1, the own logit |x| psi(m theta), all others |x| cos(theta_j).

    From scratch, a multiplier of 3 or more needs the annealing of the release (`hypersphere.schedules`). SphereFace as
    OpenSphere has it is multiplier 1.5 or 1.7 with scale 30 and gradient="detached".

    Args:
        multiplier: m, real, in [1, 10]; published 4. Decision boundaries of unequal classes are for whole numbers as
            in the paper; any real m gives a decreasing continuous target from 1 to psi(m pi).

    Raises:
        ValueError: if m is out of range.

    Edge cases:
        The slope in the cosine is m² at theta = 0, and at 180 degrees for whole m.

    Source:
        liu2017sphereface, eq. 7. The gradient of the release is not that of this loss: it ignores the margin in w and
        rescales that of x.

    Example:
        >>> SphereFace(4).target(torch.tensor([1.0, -1.0]), torch.ones(2), {})
        tensor([ 1., -7.])
    """

    multiplier: float = 4.0
    default_scale: ClassVar[str] = "feature"

    def __post_init__(self) -> None:
        check_range("SphereFace", "multiplier", self.multiplier, low=1.0, high=10.0)

    def target(self, cosine: Tensor, norm: Tensor, state: State) -> Tensor:
        """psi(m theta), see `formulas.multiples`."""
        return falling_cosine(cosine, self.multiplier)


@dataclass(frozen=True)
class CosFace(Margin):
    r"""CosFace (AM-Softmax): the own logit scale · (cos(theta) - m).

    Args:
        cosine: m in [0, 2]; published 0.35 with scale 64 (AM-Softmax: with 30), 0.40 for large noisy sets.

    Raises:
        ValueError: if m is out of range.

    Source:
        wang2018cosface, eq. 4; wang2018amsoftmax.

    Example:
        >>> CosFace(0.25).target(torch.tensor([0.5]), torch.ones(1), {})
        tensor([0.2500])
    """

    cosine: float = 0.35
    default_scale: ClassVar[float] = 64.0

    def __post_init__(self) -> None:
        check_range("CosFace", "cosine", self.cosine, low=0.0, high=2.0)

    def target(self, cosine: Tensor, norm: Tensor, state: State) -> Tensor:
        """c - m."""
        return cosine - self.cosine


@dataclass(frozen=True)
class ArcFace(Margin):
    r"""ArcFace: the own logit scale · cos(theta + m).

    Args:
        angle: m in radians, in [0, pi]; published 0.5 with scale 64.
        beyond_pi: what happens where theta + m > pi. "continue": -cos(theta + m) - 2, decreasing and smooth. "guard":
            cos(theta) - m sin(m), as in the first releases: with a jump, which is downwards for m up to 2.33. "clamp":
            -1, without gradient. "cosine": cos(theta + m) rises again, as in current InsightFace.

    Raises:
        ValueError: if m is out of range or `beyond_pi` unknown.

    Edge cases:
        The slope in the cosine is sin(theta + m) / sin(theta), bounded near 0 and 180 degrees; see `formulas.arccos`.

    Source:
        deng2019arcface, eq. 3.

    Example:
        >>> ArcFace(math.pi / 3).target(torch.tensor([1.0, -1.0], dtype=torch.float64), torch.ones(2), {})
        tensor([ 0.5000, -1.5000], dtype=torch.float64)
    """

    angle: float = 0.5
    beyond_pi: str = "continue"
    default_scale: ClassVar[float] = 64.0

    def __post_init__(self) -> None:
        check_range(type(self).__name__, "angle", self.angle, low=0.0, high=math.pi, unit="radians")
        check_choice(type(self).__name__, "beyond_pi", self.beyond_pi, BEYOND_PI)

    def target(self, cosine: Tensor, norm: Tensor, state: State) -> Tensor:
        """cos(theta + m), or what stands for it beyond pi."""
        return added_angle(cosine, self.angle, self.beyond_pi)


@dataclass(frozen=True)
class SubCenterArcFace(ArcFace):
    r"""Sub-centre ArcFace: several vectors for each class, of which the nearest counts; ArcFace of its angle.

    Args:
        angle: m in radians, in [0, pi].
        beyond_pi: see `ArcFace`.
        centers: vectors of each class, 1 or more; published 3. Rows of a class lie side by side in the head's weight.

    Raises:
        ValueError: if a number is out of range or `beyond_pi` unknown.

    Edge cases:
        The gradient reaches the nearest vector only.

    Source:
        deng2020subcenter, sec. 3.3.

    Example:
        >>> SubCenterArcFace(centers=2).centers
        2
    """

    centers: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("SubCenterArcFace", "centers", self.centers, low=1)


@dataclass(frozen=True)
class Combined(Margin):
    r"""All three together: the own logit scale · (psi(m1 theta + m2) - m3), psi the decreasing extension of the cosine.

    Args:
        multiplier: m1, real, in [1, 10].
        angle: m2 in radians, in [0, pi].
        cosine: m3 in [0, 2].

    Raises:
        ValueError: if a number is out of range.

    Source:
        deng2019arcface, eq. 4, with (1, 0.3, 0.2) the combination of its tables.

    Example:
        >>> Combined(1.0, 0.0, 0.25).target(torch.tensor([0.5]), torch.ones(1), {})
        tensor([0.2500])
    """

    multiplier: float = 1.0
    angle: float = 0.3
    cosine: float = 0.2
    default_scale: ClassVar[float] = 64.0

    def __post_init__(self) -> None:
        check_range("Combined", "multiplier", self.multiplier, low=1.0, high=10.0)
        check_range("Combined", "angle", self.angle, low=0.0, high=math.pi, unit="radians")
        check_range("Combined", "cosine", self.cosine, low=0.0, high=2.0)

    def target(self, cosine: Tensor, norm: Tensor, state: State) -> Tensor:
        """psi(m1 theta + m2) - m3."""
        return falling_cosine(cosine, self.multiplier, self.angle) - self.cosine


def added_angle(cosine: Tensor, angle: float | Tensor, beyond_pi: str) -> Tensor:
    """cos(theta + m) of c = cos(theta), m in radians, a number or of a shape that broadcasts; see `ArcFace`."""
    falling = falling_cosine(cosine, 1.0, angle)
    if beyond_pi == "continue":
        return falling
    if beyond_pi == "guard":
        shift = cosine.new_zeros(()) + angle
        return torch.where(cosine > -shift.cos(), falling, cosine - shift * shift.sin())
    if beyond_pi == "clamp":
        return falling.clamp_min(-1)
    # beyond pi, psi is -cos - 2, so that -psi - 2 is the cosine again; an angle of pi or less carries no further
    return torch.where(angle_from_cosine(cosine.detach()) + angle > math.pi, -falling - 2, falling)
