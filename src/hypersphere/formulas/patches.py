# SPDX-License-Identifier: MIT
"""Patches: where a kernel is laid on its input, products with what lies under it, and lengths of what lies under it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from hypersphere.checks import check_choice, check_floating

__all__ = ["Size", "Window", "batched", "channel_squares", "part_rows", "sizes_of", "window_of"]

Size = int | Sequence[int]

_CONVOLUTIONS: dict[int, Callable[..., Tensor]] = {0: F.linear, 1: F.conv1d, 2: F.conv2d, 3: F.conv3d}

# numbers that are worked on together: what a processor's cache holds, more where launching work is what costs
_PART, _PART_OF_ACCELERATOR = 2**19, 2**25


@dataclass(frozen=True)
class Window:
    """The places of a kernel of some size; no size at all is the whole input, as a dense layer has it.

    Args:
        size: of the kernel along each axis of space; () for a dense layer.
        stride: between places, along each axis.
        padding: zeros on both sides, along each axis.
        dilation: between the points of a kernel, along each axis.
        groups: parts of the channels that do not see each other.
    """

    size: tuple[int, ...] = ()
    stride: tuple[int, ...] = ()
    padding: tuple[int, ...] = ()
    dilation: tuple[int, ...] = ()
    groups: int = 1

    @property
    def pointwise(self) -> bool:
        """Whether a patch is one point and every point is a patch."""
        return set(self.size) <= {1} and set(self.stride) <= {1} and not any(self.padding)

    def products(self, inputs: Tensor, kernels: Tensor) -> Tensor:
        """Inner products of every patch with every kernel, (N, C, *S) and (O, C / G, *size) -> (N, O, *places)."""
        convolve = _CONVOLUTIONS[len(self.size)]
        if not self.size:
            return convolve(inputs, kernels)
        return convolve(inputs, kernels, None, self.stride, self.padding, self.dilation, self.groups)

    def products_backward(
        self, grad: Tensor, inputs: Tensor, kernels: Tensor, *, of_inputs: bool, of_kernels: bool
    ) -> tuple[Tensor | None, Tensor | None]:
        """Gradients of `products` with respect to inputs and kernels, each where it is wanted."""
        if not self.size:
            return grad @ kernels if of_inputs else None, grad.T @ inputs if of_kernels else None
        found = torch.ops.aten.convolution_backward(
            grad,
            inputs,
            kernels,
            None,
            self.stride,
            self.padding,
            self.dilation,
            False,
            [0] * len(self.size),
            self.groups,
            [of_inputs, of_kernels, False],
        )
        return found[0], found[1]

    def sums(self, squares: Tensor) -> Tensor:
        """Sums over every patch of maps, (N, G, *S) -> (N, G, *places), differentiable.

        A box filter, one axis after the other, as a few additions of shifted maps.
        """
        if self.pointwise:
            return squares
        found = F.pad(squares, [amount for pad in reversed(self.padding) for amount in (pad, pad)])
        for axis in range(len(self.size)):
            found = _added(self._shifts(found, axis))
        return found

    def sums_backward(self, grad: Tensor, shape: torch.Size) -> Tensor:
        """The transpose of `sums`: what all places give back to each point of maps of `shape`, (N, G, *S)."""
        if self.pointwise:
            return grad
        padded = [side + 2 * pad for side, pad in zip(shape[2:], self.padding, strict=True)]
        for axis in reversed(range(len(self.size))):
            whole = grad.new_zeros((*grad.shape[: 2 + axis], padded[axis], *grad.shape[3 + axis :]))
            for shift in self._shifts(whole, axis):
                shift += grad
            grad = whole
        for axis, (pad, side) in enumerate(zip(self.padding, shape[2:], strict=True)):
            grad = grad.narrow(2 + axis, pad, side)
        return grad

    def _shifts(self, padded: Tensor, axis: int) -> list[Tensor]:
        """For each point of a kernel along an axis, what lies under it at every place."""
        size, stride, dilation = self.size[axis], self.stride[axis], self.dilation[axis]
        places = (padded.shape[2 + axis] - dilation * (size - 1) - 1) // stride + 1
        before: list[slice] = [slice(None)] * (2 + axis)
        starts = range(0, size * dilation, dilation)
        return [padded[(*before, slice(start, start + stride * (places - 1) + 1, stride))] for start in starts]


def _added(maps: list[Tensor]) -> Tensor:
    found = maps[0]
    for one in maps[1:]:
        found = found + one
    return found


def part_rows(values: Tensor) -> int:
    """How many rows of a batch are worked on together, 1 or more."""
    numbers = _PART if values.device.type == "cpu" else _PART_OF_ACCELERATOR
    return max(1, numbers * values.shape[0] // max(1, values.numel()))


def channel_squares(inputs: Tensor, groups: int, dtype: torch.dtype) -> Tensor:
    """Sums of squares over the channels of each group, without autograd: (N, C, *S) -> (N, G, *S) in `dtype`.

    A part of the batch at a time, all in the same memory, so that the squares stay in a processor's cache.
    """
    out = inputs.new_empty((inputs.shape[0], groups, *inputs.shape[2:]), dtype=dtype)
    part = part_rows(inputs)
    squares = torch.empty_like(inputs[:part], dtype=dtype)
    for source, target in zip(inputs.split(part), out.split(part), strict=True):
        square = squares[: len(source)]
        # an operation that casts its input for `out` copies it first
        torch.square(source, out=square) if source.dtype == dtype else square.copy_(source).square_()
        torch.sum(square.unflatten(1, (groups, -1)), dim=2, out=target)
    return out


def batched(who: str, input: Tensor, weight: Tensor, dims: int, groups: int) -> tuple[Tensor, tuple[int, ...]]:
    """The input with exactly one axis before the channels, and the axes that stood there."""
    check_floating(who, "input", input)
    check_floating(who, "weight", weight)
    if weight.ndim != 2 + dims:
        raise ValueError(
            f"{who}: expected weight ({', '.join(['O', 'C / groups', 'kT', 'kH', 'kW'][: 2 + dims])}), "
            f"got shape {tuple(weight.shape)}."
        )
    if 0 in weight.shape[2:]:
        raise ValueError(f"{who}: a kernel needs at least one point, got weight {tuple(weight.shape)}.")
    if isinstance(groups, bool) or not isinstance(groups, int) or groups < 1 or weight.shape[0] % groups:
        raise ValueError(f"{who}: groups must divide the {weight.shape[0]} kernels, got {groups!r}.")
    axis = input.ndim - 1 - dims
    wanted = weight.shape[1] * groups
    fits = axis in (0, 1) if dims else axis >= 0
    if not fits or input.shape[axis] != wanted:
        space = "".join(f", {letter}" for letter in ("T", "H", "W")[3 - dims :]) if dims else ""
        fitting = f"(N, {wanted}{space}) for weight {tuple(weight.shape)} and groups={groups}"
        if not dims:
            fitting = f"(..., {wanted}) for weight {tuple(weight.shape)}"
        raise ValueError(f"{who}: expected input {fitting}, got shape {tuple(input.shape)}.")
    leading = tuple(input.shape[:axis])
    if axis == 1:
        return input, leading
    return input.reshape(-1, *input.shape[axis:]), leading


def window_of(
    who: str, inputs: Tensor, weight: Tensor, stride: Size, padding: Size | str, dilation: Size, groups: int
) -> tuple[Tensor, Window]:
    """Where the kernels go; an input that needs one more zero on one side than on the other gets it here."""
    size = tuple(weight.shape[2:])
    if not size:
        return inputs, Window()
    dims = len(size)
    strides = sizes_of(who, "stride", stride, dims, low=1)
    dilations = sizes_of(who, "dilation", dilation, dims, low=1)
    if isinstance(padding, str):
        check_choice(who, "padding", padding, ["same", "valid"])
        if padding == "same" and set(strides) != {1}:
            raise ValueError(f"{who}: padding='same' is for stride 1, got stride {strides}. Give numbers.")
        totals = [step * (side - 1) if padding == "same" else 0 for step, side in zip(dilations, size, strict=True)]
        paddings = tuple(total // 2 for total in totals)
        if any(total % 2 for total in totals):
            # as torch: the odd one comes last
            inputs = F.pad(inputs, [amount for total in reversed(totals) for amount in (0, total % 2)])
    else:
        paddings = sizes_of(who, "padding", padding, dims, low=0)
    reach = [step * (side - 1) + 1 for step, side in zip(dilations, size, strict=True)]
    room = [side + 2 * pad for side, pad in zip(inputs.shape[2:], paddings, strict=True)]
    if not torch.compiler.is_compiling() and any(have < need for have, need in zip(room, reach, strict=True)):
        raise ValueError(
            f"{who}: the kernel covers {tuple(reach)} points, the padded input has only {tuple(room)}. Pad more, or "
            "give a smaller kernel."
        )
    return inputs, Window(size, strides, paddings, dilations, groups)


def sizes_of(who: str, argument: str, value: Size, dims: int, *, low: int) -> tuple[int, ...]:
    """One number for each axis of space, from one for all of them or from as many."""
    sizes = tuple(value) if isinstance(value, Sequence) else (value,) * dims
    if len(sizes) == 1:
        sizes *= dims
    whole = all(_is_whole(side) and side >= low for side in sizes)
    if len(sizes) != dims or not whole:
        raise ValueError(
            f"{who}: {argument} must be a whole number of {low} or more, or {dims} of them, got {value!r}."
        )
    return sizes


def _is_whole(side: object) -> bool:
    """Numbers of Python and numpy, tensors of one; `isinstance` for those that a compiler has not fixed yet."""
    return not isinstance(side, bool) and (isinstance(side, int) or hasattr(side, "__index__"))
