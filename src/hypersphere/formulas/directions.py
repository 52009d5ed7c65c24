# SPDX-License-Identifier: MIT
"""Directions of vectors: u = w / sqrt(|w|² + eps) without underflow, overflow or division by zero."""

from __future__ import annotations

import contextlib
from typing import Any

import torch
from torch import Tensor

__all__ = [
    "divide_rows",
    "full_precision",
    "kernel_lengths",
    "lengths",
    "narrow",
    "own_cosine",
    "unit_rows",
    "widen",
    "working_dtype",
]

# rows whose largest entry is below this count as zero: their reciprocal norm would overflow
_ZERO_ROW = {torch.float32: 1e-30, torch.float64: 1e-290}


def working_dtype(dtype: torch.dtype) -> torch.dtype:
    """float32 for every dtype narrower than that, float64 for float64."""
    return torch.float64 if dtype == torch.float64 else torch.float32


class _Widen(torch.autograd.Function):
    """A cast to a wider dtype whose gradient, on its way back, saturates instead of overflowing."""

    generate_vmap_rule = True

    @staticmethod
    def forward(narrow: Tensor, dtype: torch.dtype) -> Tensor:
        return narrow.to(dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, torch.dtype], output: Tensor) -> None:
        ctx.narrow, ctx.wide = inputs[0].dtype, inputs[1]

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        return narrow(grad_outputs[0], ctx.narrow), None


def widen(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """`tensor.to(dtype)`, with a gradient that never becomes infinite by being narrowed again."""
    if tensor.dtype == dtype:
        return tensor
    wide: Tensor = _Widen.apply(tensor, dtype)
    return wide


class _Narrow(torch.autograd.Function):
    """A cast to a narrower dtype that stops at its ends; its gradient is that of a cast there too."""

    generate_vmap_rule = True

    @staticmethod
    def forward(wide: Tensor, dtype: torch.dtype) -> Tensor:
        largest = torch.finfo(dtype).max
        return wide.clamp(-largest, largest).to(dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, torch.dtype], output: Tensor) -> None:
        ctx.wide = inputs[0].dtype

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        return grad_outputs[0].to(ctx.wide), None


def narrow(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """`tensor.to(dtype)` with values beyond the range of `dtype` at its ends; differentiable as if it had none.

    One pair of equal neurons can take an energy out of the range; all others still have a gradient then.
    """
    if torch.finfo(dtype).max >= torch.finfo(tensor.dtype).max:
        return tensor.to(dtype)
    narrowed: Tensor = _Narrow.apply(tensor, dtype)
    return narrowed


def full_precision(device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """A block in which autocast leaves matrix products alone."""
    if torch.amp.is_autocast_available(device.type):
        return torch.autocast(device.type, enabled=False)
    return contextlib.nullcontext()


def unit_rows(vectors: Tensor, eps: float = 0.0) -> tuple[Tensor, Tensor]:
    """Directions along the last axis and the factor that made them, both differentiable.

    Args:
        vectors: (..., D), float32 or float64.
        eps: added inside the square root, >= 0.

    Returns:
        u (..., D) and 1 / sqrt(|w|² + eps) (..., 1); both are zero for a row that counts as zero (eps = 0, largest
        entry below 1e-30 in float32 and 1e-290 in float64), and so is its gradient.
    """
    # u does not depend on a common factor, so the factor that keeps squares in range is a constant to autograd
    largest = vectors.detach().abs().amax(dim=-1, keepdim=True)
    smallest = _ZERO_ROW[vectors.dtype]
    if eps:
        # an eps whose root is below the smallest size counts as that size squared
        root = max(eps**0.5, smallest)
        size = largest.clamp_min(root)
        scaled = vectors / size
        factor = (scaled.square().sum(dim=-1, keepdim=True) + (root / size).square()).rsqrt()
    else:
        zero = largest < smallest
        size = largest.masked_fill(zero, 1.0)
        scaled = (vectors / size).masked_fill(zero, 0.0)
        square = scaled.square().sum(dim=-1, keepdim=True).masked_fill(zero, 1.0)
        factor = square.rsqrt().masked_fill(zero, 0.0)
    return scaled * factor, factor / size


def lengths(vectors: Tensor) -> Tensor:
    """Lengths along the last axis, (...), float32 or float64; 0 with gradient zero for a row that counts as zero."""
    return (unit_rows(vectors)[0] * vectors).sum(dim=-1)


def own_cosine(unit: Tensor, eps: float) -> Tensor:
    """u · u of the rows of `unit_rows`, (...): below 1 by eps / (|w|² + eps), exactly 1 (or 0, zero row) for eps = 0.

    Without the rounding, the angle between w and -w would be off by 3e-4 rad in float32.
    """
    square = unit.square().sum(dim=-1)
    return square if eps else square.round()


def kernel_lengths(weight: Tensor, eps: float) -> Tensor:
    """sqrt(|w|² + eps) over all axes but the first, (O,), of float32 or float64; kept are the weight and the lengths.

    An eps below 1e-30 counts as 0: a kernel that counts as zero, as in `unit_rows`, has length 0 and gradient zero.
    """
    function = _KernelLengths if torch.compiler.is_compiling() else _KernelLengthsBothWays
    found: Tensor = function.apply(weight, eps)
    return found


class _KernelLengths(torch.autograd.Function):
    """The gradient is w / n: by way of squares it would leave the range of float32, or keep scaled kernels."""

    generate_vmap_rule = True

    @staticmethod
    def forward(weight: Tensor, eps: float) -> Tensor:
        axes = tuple(range(1, weight.ndim))
        if eps >= 1e-30:
            return (weight.square().sum(dim=axes) + eps).sqrt()
        largest = weight.abs().amax(dim=axes)
        zero = largest < _ZERO_ROW[weight.dtype]
        size = largest.masked_fill(zero, torch.inf)
        scaled = divide_rows(weight, size)
        return (scaled.square().sum(dim=axes).sqrt() * largest).masked_fill(zero, 0.0)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, float], output: Tensor) -> None:
        ctx.save_for_backward(inputs[0], output)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        weight, found = ctx.saved_tensors
        # not the gradient by n first: either may be at an end of the range of float32
        return divide_rows(weight, found) * grad_outputs[0].view(-1, *[1] * (weight.ndim - 1)), None


class _KernelLengthsBothWays(_KernelLengths):
    """The same with a forward-mode derivative, which compilers do not take."""

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, float], output: Tensor) -> None:
        _KernelLengths.setup_context(ctx, inputs, output)
        ctx.save_for_forward(inputs[0], output)

    @staticmethod
    def jvp(ctx: Any, *grad_inputs: Tensor | None) -> Tensor:
        weight, found = ctx.saved_tensors
        assert grad_inputs[0] is not None
        return (divide_rows(weight, found) * grad_inputs[0]).sum(dim=tuple(range(1, weight.ndim)))


def divide_rows(values: Tensor, lengths: Tensor) -> Tensor:
    """Values (O, ...) divided by lengths (O,), zero where the length is."""
    divisors = lengths.masked_fill(lengths == 0, torch.inf)
    return values / divisors.view(-1, *[1] * (values.ndim - 1))
