# SPDX-License-Identifier: MIT
"""Margins that hang on the length of the feature, which grows with the quality of an image."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from hypersphere.checks import check_choice, check_range, problems
from hypersphere.formulas.arccos import angle_from_cosine
from hypersphere.formulas.margins.angular import BEYOND_PI, added_angle
from hypersphere.formulas.margins.base import BatchStatistics, Margin, State

__all__ = ["AdaFace", "MagFace"]


@dataclass(frozen=True)
class MagFace(Margin):
    r"""MagFace: ArcFace with an angle that grows with the feature's length, and a penalty that asks for length.

    With a = |x| held in [l, u], the angle is m(a) = (a - l) / (u - l) · (m_u - m_l) + m_l, and
    `penalty_weight` · (a / u² + 1 / a) is added to the loss. Gradients flow through a; outside [l, u] it is constant.

    Args:
        shortest: l, above 0; published 10.
        longest: u > l; published 110.
        smallest_angle: m_l in radians, in [0, pi]; published 0.45.
        largest_angle: m_u in radians, in [m_l, pi]; published 0.8.
        penalty_weight: 0 or more; released script 35. The paper asks for at least
            s (m_u - m_l) / (u - l) · u² l² / (u² - l²), 22.6 for the values here and scale 64.
        beyond_pi: see `ArcFace`; the release has another rule, which is not monotone, from 90 degrees on.

    Raises:
        ValueError: if a number is out of range or `beyond_pi` unknown.

    Source:
        meng2021magface, eq. 3 and 4.

    Example:
        >>> import torch
        >>> MagFace().penalty(torch.tensor([10.0]), 64.0)
        tensor([3.5289])
    """

    shortest: float = 10.0
    longest: float = 110.0
    smallest_angle: float = 0.45
    largest_angle: float = 0.8
    penalty_weight: float = 35.0
    beyond_pi: str = "continue"
    default_scale: ClassVar[float] = 64.0

    def __post_init__(self) -> None:
        who = "MagFace"
        check_range(who, "shortest", self.shortest, low=1e-6, high=1e6)
        check_range(who, "longest", self.longest, low=1e-6, high=1e6)
        check_range(who, "smallest_angle", self.smallest_angle, low=0.0, high=math.pi, unit="radians")
        check_range(who, "largest_angle", self.largest_angle, low=0.0, high=math.pi, unit="radians")
        check_range(who, "penalty_weight", self.penalty_weight, low=0.0, high=1e6)
        check_choice(who, "beyond_pi", self.beyond_pi, BEYOND_PI)
        wrong = []
        if self.longest <= self.shortest:
            wrong.append(f"longest must be above shortest, got {self.longest:g} and {self.shortest:g}.")
        if self.largest_angle < self.smallest_angle:
            given = f"{self.largest_angle:g} and {self.smallest_angle:g}"
            wrong.append(f"largest_angle must not be below smallest_angle, got {given}.")
        problems(who, wrong)

    def target(self, cosine: Tensor, norm: Tensor, state: State) -> Tensor:
        """cos(theta + m(a))."""
        slope = (self.largest_angle - self.smallest_angle) / (self.longest - self.shortest)
        angle = (norm.clamp(self.shortest, self.longest) - self.shortest) * slope + self.smallest_angle
        return added_angle(cosine, angle.to(cosine.dtype), self.beyond_pi)

    def penalty(self, norm: Tensor, scale: float | Tensor) -> Tensor | None:
        """`penalty_weight` · (a / u² + 1 / a)."""
        length = norm.clamp(self.shortest, self.longest)
        return self.penalty_weight * (length / self.longest**2 + length.reciprocal())


@dataclass(frozen=True)
class AdaFace(Margin):
    r"""AdaFace: for long features (good images) a margin in the cosine, for short ones one in the angle instead.

    With n = |x| held in [1e-3, 100], without gradient, and q = h (n - mean) / (deviation + 1e-3) held in [-1, 1], the
    own logit is scale · (cos(theta - m q) - (m + m q)), the angle held in [1e-3, pi - 1e-3]. Mean and deviation of
    n are running ones.

    Args:
        margin: m in [0, 1]; published 0.4 with scale 64.
        sharpness: h, 0 or more; published 0.333.
        momentum: share of the batch in mean and deviation, in [0, 1]; command line of the release 0.01.

    Raises:
        ValueError: if a number is out of range.

    Source:
        kim2022adaface, eq. 10 and 11; the running moments start from 20 and 100 as in the release.

    Example:
        >>> import torch
        >>> state = {"running_mean": torch.tensor(20.0), "running_deviation": torch.tensor(100.0)}
        >>> AdaFace().target(torch.tensor([0.5]), torch.tensor([20.0]), state)
        tensor([0.1000])
    """

    margin: float = 0.4
    sharpness: float = 0.333
    momentum: float = 0.01
    default_scale: ClassVar[float] = 64.0
    length_bounds: ClassVar[tuple[float, float]] = (1e-3, 100.0)

    def __post_init__(self) -> None:
        check_range("AdaFace", "margin", self.margin, low=0.0, high=1.0)
        check_range("AdaFace", "sharpness", self.sharpness, low=0.0, high=1e3)
        check_range("AdaFace", "momentum", self.momentum, low=0.0, high=1.0)

    def target(self, cosine: Tensor, norm: Tensor, state: State) -> Tensor:
        """cos(theta - m q) - (m + m q)."""
        length = norm.detach().clamp(*self.length_bounds)
        mean, deviation = (state[name].to(length.dtype) for name in ("running_mean", "running_deviation"))
        quality = (self.sharpness * (length - mean) / (deviation + 1e-3)).clamp(-1, 1)
        angle = angle_from_cosine(cosine) - self.margin * quality.to(cosine.dtype)
        return angle.clamp(1e-3, math.pi - 1e-3).cos() - self.margin * (1 + quality)

    def initial_state(self) -> dict[str, float]:
        """Mean 20, deviation 100."""
        return {"running_mean": 20.0, "running_deviation": 100.0}

    def advance(self, state: State, batch: BatchStatistics) -> dict[str, Tensor]:
        """Both move towards those of the batch."""
        return {
            "running_mean": state["running_mean"].lerp(batch.norm, self.momentum),
            "running_deviation": state["running_deviation"].lerp(batch.deviation, self.momentum),
        }
