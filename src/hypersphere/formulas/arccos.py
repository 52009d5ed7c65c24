# SPDX-License-Identifier: MIT
"""The angle of a cosine with a bounded derivative, the one place where an arc cosine meets autograd."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

__all__ = ["SINE_FLOOR", "angle_from_cosine", "angle_slope", "arc_cosine", "arc_sine", "inverse_sine"]

# sin(theta) is floored here in the derivative: sqrt of the rounding error of a cosine
SINE_FLOOR = {torch.float32: 2.0**-9, torch.float64: 2.0**-23}


def arc_cosine(cosine: Tensor) -> Tensor:
    """arccos in radians, without autograd; within four ulps of 1 a cosine counts as exactly 1 or -1.

    The cosine of equal or opposite rows misses 1 by an ulp or two, which would put their angle off by 3e-4 rad in
    float32 and 2e-8 rad in float64.
    """
    return torch.where(_at_the_end(cosine), cosine.sign(), cosine).acos()


def _at_the_end(cosine: Tensor) -> Tensor:
    return cosine.abs() > 1 - 4 * torch.finfo(cosine.dtype).eps


class _OfCosine(torch.autograd.Function):
    """A function of the cosine whose derivative is written in differentiable operations, so it can be repeated."""

    generate_vmap_rule = True

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)


class _BothWays(_OfCosine):
    """The same with a forward-mode derivative, which compilers do not take."""

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)


class _AngleFromCosine(_OfCosine):
    """Arc cosine of a clamped cosine."""

    @staticmethod
    def forward(cosine: Tensor) -> Tensor:
        return arc_cosine(cosine)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> Tensor:
        return grad_outputs[0] * angle_slope(ctx.saved_tensors[0])


class _AngleBothWays(_BothWays, _AngleFromCosine):
    """Elementwise, so that forward and backward are one product."""

    jvp = staticmethod(_AngleFromCosine.backward)


def angle_slope(cosine: Tensor) -> Tensor:
    """d theta / dc: -1 / sin(theta), bounded; zero where the cosine counts as 1 or -1."""
    return -inverse_sine(cosine)


def inverse_sine(cosine: Tensor, out: Tensor | None = None) -> Tensor:
    """1 / sin(theta), at most 2^9 (float32) or 2^23 (float64), and zero where the cosine counts as 1 or -1.

    |c| > 1 - 4 ulps is 1 - c² < 8 ulps, which is what is asked here: such a square becomes infinite. With `out`, memory
    like that of `cosine`, everything happens there, without autograd.
    """
    end, floor = 8 * torch.finfo(cosine.dtype).eps, SINE_FLOOR[cosine.dtype] ** 2
    square = torch.addcmul(cosine.new_ones(()), cosine, cosine, value=-1, out=out)
    if out is not None:
        return torch.threshold_(square, end, math.inf).clamp_min_(floor).rsqrt_()
    return torch.nn.functional.threshold(square, end, math.inf).clamp_min(floor).rsqrt()


def angle_from_cosine(cosine: Tensor) -> Tensor:
    r"""theta = arccos(c) in radians, in [0, pi], with d theta / dc = -1 / max(sin theta, floor), 0 at the ends.

    Args:
        cosine: any shape, float32 or float64; outside [-1, 1] or within four ulps of a bound counts as the bound.

    Returns:
        Angles in radians, same shape and dtype.

    Edge cases:
        Within four ulps of c = +-1 the derivative is zero: the mean of all directional limits. Next to it, it is
        bounded by 2^9 (float32) or 2^23 (float64).

    Example:
        >>> angle_from_cosine(torch.tensor([1.0, 0.0, -1.0]))
        tensor([0.0000, 1.5708, 3.1416])
    """
    function = _AngleFromCosine if torch.compiler.is_compiling() else _AngleBothWays
    angle: Tensor = function.apply(cosine)
    return angle


class _ArcSine(_OfCosine):
    """Arc sine of a clamped cosine."""

    @staticmethod
    def forward(cosine: Tensor) -> Tensor:
        return cosine.clamp(-1, 1).asin_()

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> Tensor:
        return grad_outputs[0] * inverse_sine(ctx.saved_tensors[0])


class _ArcSineBothWays(_BothWays, _ArcSine):
    """Elementwise, so that forward and backward are one product."""

    jvp = staticmethod(_ArcSine.backward)


def arc_sine(cosine: Tensor) -> Tensor:
    """pi/2 - theta in radians, in [-pi/2, pi/2], exact near a right angle; derivative as that of the angle, negated.

    Nothing is rounded to 1 here, as it is in `angle_from_cosine`: that costs more than the arc sine itself. Where the
    rounding of a cosine decides, within 4 ulps of +-1, the angle is right to 1e-3 rad in float32.

    Example:
        >>> arc_sine(torch.tensor([1.0, 0.0, -2.0]))
        tensor([ 1.5708,  0.0000, -1.5708])
    """
    function = _ArcSine if torch.compiler.is_compiling() else _ArcSineBothWays
    found: Tensor = function.apply(cosine)
    return found
