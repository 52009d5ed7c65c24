# SPDX-License-Identifier: MIT
"""The cosine of a multiple of an angle, falling on beyond pi: what most angular margins are made of."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from hypersphere.formulas.arccos import SINE_FLOOR, angle_from_cosine, arc_cosine, inverse_sine

__all__ = ["falling_cosine"]


def falling_cosine(cosine: Tensor, multiplier: float = 1.0, offset: float | Tensor = 0.0) -> Tensor:
    r"""psi(t) = (-1)^q cos(t) - 2q with t = m theta + a and q = floor(t / pi), as a function of c = cos(theta).

    The monotone extension of the cosine: 1 at t = 0, -1 at pi, -3 at 2 pi, decreasing and continuous with its
    derivative. psi(m theta) is the target of L-Softmax and SphereFace, psi(theta + a) that of ArcFace.

    Args:
        cosine: c, any shape, float32 or float64; outside [-1, 1] counts as the bound.
        multiplier: m > 0; real.
        offset: a >= 0 in radians, a number or a tensor that broadcasts with `cosine`.

    Returns:
        psi, same dtype; differentiable in c and a, any number of times.

    Edge cases:
        With a = 0, dpsi/dc tends to m² at theta = 0, and for whole m at theta = pi too, and that is what is returned.
        Otherwise it grows as sin(t) / sin(theta): it is bounded there by that of `formulas.arccos`, and the part that
        grows is zero within four ulps of c = +-1, where it is multiplied by a vanishing derivative of c in any case.
        It is nowhere negative.

    Source:
        liu2016lsoftmax, eq. 5; liu2017sphereface, eq. 7.

    Example:
        >>> falling_cosine(torch.tensor([1.0, 0.0, -1.0], dtype=torch.float64), 4)
        tensor([ 1., -3., -7.], dtype=torch.float64)
    """
    if multiplier == 1 and not isinstance(offset, Tensor) and offset == 0:
        return cosine
    shift = offset if isinstance(offset, Tensor) else cosine.new_full((), offset)
    function = _FallingCosine if torch.compiler.is_compiling() else _FallingBothWays
    found: Tensor = function.apply(cosine, shift, float(multiplier), offset is not shift)
    return found


class _FallingCosine(torch.autograd.Function):
    """Elementwise; its derivatives are written in differentiable operations."""

    generate_vmap_rule = True

    @staticmethod
    def forward(cosine: Tensor, offset: Tensor, multiplier: float, fixed: bool) -> Tensor:
        total = arc_cosine(cosine.clamp(-1, 1)) * multiplier + offset
        turns = _turns(total, multiplier, offset, fixed)
        return torch.addcmul(-2 * turns, _sign(turns), total.cos())

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, float, bool], output: Tensor) -> None:
        ctx.save_for_backward(*inputs[:2])
        ctx.multiplier, ctx.fixed = inputs[2:]

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, Tensor | None, None, None]:
        cosine, offset = ctx.saved_tensors
        of_cosine, of_offset = _slopes(cosine, offset, ctx.multiplier, ctx.fixed)
        wanted = (grad_outputs[0] * of_offset).sum_to_size(offset.shape) if ctx.needs_input_grad[1] else None
        return grad_outputs[0] * of_cosine, wanted, None, None


class _FallingBothWays(_FallingCosine):
    """The same with a forward-mode derivative, which compilers do not take."""

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, float, bool], output: Tensor) -> None:
        _FallingCosine.setup_context(ctx, inputs, output)
        ctx.save_for_forward(*inputs[:2])

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> Tensor:
        cosine, offset = ctx.saved_tensors
        slopes = _slopes(cosine, offset, ctx.multiplier, ctx.fixed)
        return sum(
            (t * s for t, s in zip(tangents, slopes, strict=False) if t is not None), torch.zeros_like(slopes[0])
        )


def _slopes(cosine: Tensor, offset: Tensor, multiplier: float, fixed: bool) -> tuple[Tensor, Tensor]:
    """dpsi/dc and dpsi/da, in differentiable operations."""
    angle = angle_from_cosine(cosine)
    turned = angle * multiplier
    total = turned + offset
    sign = _sign(_turns(total.detach(), multiplier, offset.detach(), fixed))
    inverse = inverse_sine(cosine)
    slope = offset.cos() * _quotient(cosine, turned, inverse, multiplier) + offset.sin() * turned.cos() * inverse
    # it never falls with the cosine; what is left of a slope without its growing part might
    return (sign * slope * multiplier).clamp_min(0), -sign * total.sin()


def _turns(total: Tensor, multiplier: float, offset: Tensor, fixed: bool) -> Tensor:
    """How often pi lies in the angle; at the very end of the range, as just before it."""
    turns = (total / math.pi).floor()
    if not fixed:
        return turns
    last = (multiplier + offset / math.pi - 1e-6).ceil() - 1
    return torch.minimum(turns, last.clamp_min(0))


def _sign(turns: Tensor) -> Tensor:
    return 1 - 2 * turns.remainder(2)


def _quotient(cosine: Tensor, turned: Tensor, inverse: Tensor, multiplier: float) -> Tensor:
    """sin(m theta) / sin(theta), with its limits where that is 0 / 0."""
    quotient = turned.sin() * inverse
    square = torch.addcmul(cosine.new_ones(()), cosine, cosine, value=-1)
    flat = square < SINE_FLOOR[cosine.dtype] ** 2
    quotient = torch.where(flat & (cosine > 0), multiplier, quotient)
    if multiplier == round(multiplier):
        quotient = torch.where(flat & (cosine < 0), multiplier * (-1) ** (int(multiplier) - 1), quotient)
    return quotient
