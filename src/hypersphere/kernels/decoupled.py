# SPDX-License-Identifier: MIT
"""Decoupled convolution with its elementwise work in few passes, and one output-sized tensor kept for its gradient."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hypersphere.formulas.angles import Angle, Cosine
from hypersphere.formulas.directions import divide_rows, full_precision, narrow, working_dtype
from hypersphere.formulas.magnitudes import Magnitude, Sphere
from hypersphere.formulas.patches import Window, channel_squares, part_rows
from hypersphere.kernels.eligible import batched

__all__ = ["Arguments", "Operator", "fused"]

# r² of a patch that counts as zero where eps is 0: the square of 1 / r, which the gradient has, must not overflow.
# A smaller eps would do nothing for it, and counts as 0
_ZERO_PATCH = 1e-30


@dataclass(frozen=True)
class Operator:
    """f = factor · h(r) · g(c) + bias of every patch with every kernel, c their cosine and r the norm of the patch.

    Args:
        angle: g.
        magnitude: h.
        window: where kernels are laid.
        eps: added to the square of the patch norm.
        joint: whether h sees the product of the patch norm with the length of the kernel.
    """

    angle: Angle
    magnitude: Magnitude
    window: Window
    eps: float
    joint: bool = False

    def norms(self, squares: Tensor) -> tuple[Tensor, Tensor]:
        """r and 1 / r from sums of squares over patches, differentiable; with eps = 0 both are 0 for a zero patch."""
        if self.eps >= _ZERO_PATCH:
            # the derivative of rsqrt has 1 / r³, which leaves the range of float32 before r² does
            norm = (squares + self.eps).sqrt()
            return norm, norm.reciprocal()
        zero = squares < _ZERO_PATCH
        safe = squares.masked_fill(zero, 1.0)
        return safe.sqrt().masked_fill(zero, 0.0), safe.rsqrt().masked_fill(zero, 0.0)

    def mean(self, norm: Tensor) -> Tensor:
        """The mean patch norm, (); 0 for an empty batch."""
        return norm.mean() if norm.numel() else norm.sum()

    @property
    def folds(self) -> bool:
        """Whether the factor of an output multiplies the kernel instead, which is smaller: for a cosine."""
        return isinstance(self.angle, Cosine)

    def kernels(self, arguments: Arguments) -> tuple[Tensor, Tensor]:
        """Kernels at length 1 in the working dtype, and those that meet the input, in its dtype; differentiable."""
        weight, factor = arguments.weight, arguments.factor
        unit = divide_rows(weight, arguments.lengths)
        kernels = unit
        if factor is not None and self.folds:
            kernels = unit * factor.view(-1, *[1] * (weight.ndim - 1))
        return unit, narrow(kernels, arguments.inputs.dtype)

    def products(self, inputs: Tensor, kernels: Tensor) -> Tensor:
        """Inner products in the dtype of the input; in float16 those beyond its range are at its ends."""
        found: Tensor = self.window.products(inputs, kernels)
        if found.dtype == torch.float16:
            largest = torch.finfo(found.dtype).max
            found = found.clamp(-largest, largest)
        return found

    @property
    def channels(self) -> int:
        """The axis of the channels of `by_group`."""
        # compilers keep channels_last of images, and of nothing with one more axis: it is there only if it is needed
        return 1 if self.window.groups == 1 else 2

    def by_group(self, values: Tensor) -> Tensor:
        """(N, C, *S) as (N, G, C / G, *S), and a vector (C,) as (G, C / G, 1...) that fits to it; no G if that is 1."""
        groups, space = self.window.groups, len(self.window.size)
        if values.ndim == 1:
            values = values.reshape(-1, *[1] * space)
        if groups == 1:
            return values
        grouped: Tensor = values.unflatten(values.ndim - 1 - space, (groups, -1))
        return grouped

    def over_channels(self, maps: Tensor) -> Tensor:
        """Maps with one channel for each group, (N, G, *S), in a shape that fits to `by_group`."""
        return maps if self.window.groups == 1 else maps.unsqueeze(2)


@dataclass(frozen=True)
class Arguments:
    """The tensors of one call.

    Args:
        inputs: (N, C, *S).
        weight: kernels (O, C / G, *size), of any length, in the working dtype.
        lengths: (O,), what kernels are divided by; 0 for one that counts as zero.
        k: (O,) or (), of the angle, in place of its own.
        parameter: (O,) or (), radius or exponent of the magnitude, in place of its own.
        factor: (O,), of every output.
        joint: (O,), lengths of the kernels as a joint magnitude sees them.
        bias: (O,).
        mean: (), the mean patch norm that a relative radius is a multiple of; None for that of this batch.
    """

    inputs: Tensor
    weight: Tensor
    lengths: Tensor
    k: Tensor | None = None
    parameter: Tensor | None = None
    factor: Tensor | None = None
    joint: Tensor | None = None
    bias: Tensor | None = None
    mean: Tensor | None = None

    def tensors(self) -> tuple[Tensor | None, ...]:
        """All of them, in order."""
        return (
            self.inputs,
            self.weight,
            self.lengths,
            self.k,
            self.parameter,
            self.factor,
            self.joint,
            self.bias,
            self.mean,
        )


Plain = Callable[[Arguments, Operator], tuple[Tensor, Tensor]]
"""The same in plain differentiable operations: what a second derivative is taken of."""


def fused(arguments: Arguments, operator: Operator, plain: Plain) -> tuple[Tensor, Tensor]:
    """Outputs (N, O, *places) in the dtype of the input and the mean patch norm () as a constant.

    Kept for the gradient: the input, the weight as it was given, the inner products in the dtype of the input, and maps
    with one channel for each group. Where no gradient will be asked for, outputs take the memory of the inner products.
    """
    asked = (tensor is not None and tensor.requires_grad for tensor in arguments.tensors())
    if not (torch.is_grad_enabled() and any(asked)):
        return _Call(operator, arguments).outputs(in_place=True)
    found: tuple[Tensor, Tensor] = _Fused.apply(operator, plain, *arguments.tensors())
    return found


class _Fused(torch.autograd.Function):
    """The chain rule by hand; differentiated twice, it hands over to the plain form."""

    @staticmethod
    def forward(ctx: Any, operator: Operator, plain: Plain, *tensors: Tensor | None) -> tuple[Tensor, Tensor]:
        call = _Call(operator, Arguments(*tensors))  # type: ignore[arg-type]
        output, mean = call.outputs()
        ctx.mark_non_differentiable(mean)
        ctx.operator, ctx.plain, ctx.spent = operator, plain, False
        ctx.save_for_backward(*tensors, call.squares, call.dots)
        return output, mean

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        *tensors, squares, dots = ctx.saved_tensors
        arguments = Arguments(*tensors)
        # dtypes are those of the forward pass, whatever autocast says now
        with full_precision(grads[0].device):
            # differentiated again, or many gradients at once
            if torch.is_grad_enabled() or batched(grads[0]):
                return None, None, *_by_plain(arguments, ctx.operator, ctx.plain, ctx.needs_input_grad[2:], grads[0])
            # a graph that was retained: the first pass has used up the inner products
            call = _Call(ctx.operator, arguments, squares, None if ctx.spent else dots)
            ctx.spent = True
            return None, None, *call.gradients(grads[0], ctx.needs_input_grad[2:])


def _by_plain(
    arguments: Arguments, operator: Operator, plain: Plain, needed: tuple[bool, ...], grad: Tensor
) -> list[Tensor | None]:
    """Gradients by operations of PyTorch: of many at once, and such as can be differentiated again."""
    # each under a name of its own: one argument may be another, or be computed from it, and must not get its share too
    with torch.enable_grad():
        own = [None if tensor is None else tensor.view_as(tensor) for tensor in arguments.tensors()]
        output, _ = plain(Arguments(*own), operator)  # type: ignore[arg-type]
    wanted = [tensor for tensor, need in zip(own, needed, strict=True) if need]
    found = iter(torch.autograd.grad(output, wanted, grad, create_graph=torch.is_grad_enabled(), allow_unused=True))  # type: ignore[arg-type]
    return [next(found) if need else None for need in needed]


class _Call:
    """One call with what both directions need: maps over all patches; the rest is done a part of the batch at a time.

    Letters: y inner products with unit kernels, r patch norm, c = y / r, g(c), h(r) or h of what stands for r.
    """

    def __init__(
        self, operator: Operator, arguments: Arguments, squares: Tensor | None = None, dots: Tensor | None = None
    ) -> None:
        self.operator = operator
        self.arguments = arguments
        self.magnitude = operator.magnitude
        self.radius: float = getattr(operator.magnitude, "radius", 1.0)
        self.scratch: dict[int, Tensor] = {}
        self.dtype = working_dtype(arguments.inputs.dtype)
        # bfloat16 has the range of float32: a factor that was found in float32 is rounded once, as what it multiplies
        # was, and three passes become one. float16 has not, and a small factor would be lost.
        self.rounds_factors = arguments.inputs.dtype in (self.dtype, torch.bfloat16)
        groups, window = operator.window.groups, operator.window
        if squares is None:
            squares = window.sums(channel_squares(arguments.inputs, groups, self.dtype))
        self.squares = squares
        self.unit, self.kernels = operator.kernels(arguments)
        self.dots = operator.products(arguments.inputs, self.kernels) if dots is None else dots
        norm, inverse = operator.norms(squares)
        self.mean = operator.mean(norm) if arguments.mean is None else arguments.mean.to(self.dtype)
        self.norm, self.inverse = operator.over_channels(norm), operator.over_channels(inverse)
        self.k = self._vector(arguments.k)
        self.factor = None if operator.folds else self._vector(arguments.factor)
        self.joint = self._vector(arguments.joint)
        self.share = self._vector(arguments.parameter)
        self.parameter = self.share
        if self.magnitude.relative:
            self.parameter = self.mean * (self.radius if self.share is None else self.share)
        # where every channel has the same h, it is computed once for each patch
        self.one_for_all = self.joint is None and (self.parameter is None or self.parameter.ndim == 0)
        # then g = c needs one pass less: what else multiplies an output is in its kernel
        self.direct = self.one_for_all and operator.folds
        # where it is constant too and k is fixed, only the slope of the angle is asked for
        self.only_tangential = self.one_for_all and self.k is None and isinstance(operator.magnitude, Sphere)
        if self.one_for_all:
            self.height = self.magnitude.value_and_slopes(self.norm, self.parameter)
            self.scale = self.height[0] * self.inverse

    def _vector(self, values: Tensor | None) -> Tensor | None:
        if values is None:
            return None
        values = values.detach().to(self.dtype)
        return self.operator.by_group(values) if values.ndim else values

    def _parts(self) -> Iterator[slice]:
        total, rows = self.dots.shape[0], part_rows(self.dots)
        return (slice(start, start + rows) for start in range(0, total, rows))

    def _height(self, part: slice) -> tuple[Tensor, Tensor, Tensor | None]:
        """h, its slope in what stands for r, and its slope in radius or exponent."""
        if self.one_for_all:
            value, slope, of_parameter = self.height
            return value[part], slope[part], None if of_parameter is None else of_parameter[part]
        norm = self.norm[part] if self.joint is None else self.norm[part] * self.joint
        return self.operator.magnitude.value_and_slopes(norm, self.parameter)

    def _memory(self, number: int, like: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        """Memory for one part, the same for all: new memory may cost more than what is computed there."""
        found = self.scratch.get(number)
        if found is None or found.shape != like.shape:
            found = self.scratch[number] = torch.empty_like(like, dtype=dtype)
        return found

    def _scaled(self, values: Tensor, factor: Tensor, out: Tensor | None = None) -> Tensor:
        """A product in the working dtype, in new memory or that of `out`."""
        if values.dtype == self.dtype:
            return torch.mul(values, factor, out=out)
        return (values.to(self.dtype) if out is None else out.copy_(values)).mul_(factor)

    def _cosine(self, dots: Tensor, inverse: Tensor) -> Tensor:
        """c of a part, in memory that is used again for the next."""
        return self._scaled(dots, inverse, self._memory(0, dots, self.dtype))

    def _store(self, target: Tensor, values: Tensor, factor: Tensor) -> None:
        """A product in the memory and the dtype of `target`."""
        if values.dtype == target.dtype and self.rounds_factors:
            torch.mul(values, factor.to(values.dtype), out=target)
        else:
            target.copy_(self._scaled(values, factor))

    def outputs(self, *, in_place: bool = False) -> tuple[Tensor, Tensor]:
        """f, in new memory or in that of the inner products, and the mean patch norm."""
        output = self.dots if in_place else torch.empty_like(self.dots)
        angle, bias = self.operator.angle, self._vector(self.arguments.bias)
        targets, dots = self.operator.by_group(output), self.operator.by_group(self.dots)
        if self.direct and self.rounds_factors and bias is None:
            # one pass with nothing in between: there is nothing to keep in a cache
            self._store(targets, dots, self.scale)
            return output, self.mean.detach().clone()
        for part in self._parts():
            height = self._height(part)[0]
            value = angle.value_(self._cosine(dots[part], self.inverse[part]), self.k)
            if self.one_for_all and self.factor is None and bias is None and value.dtype == output.dtype:
                torch.mul(value, height, out=targets[part])
                continue
            value = value.mul_(height) if self.one_for_all else value * height
            if self.factor is not None:
                value.mul_(self.factor)
            if bias is not None:
                value.add_(bias)
            targets[part] = value
        return output, self.mean.detach().clone()

    def gradients(self, grad: Tensor, needed: tuple[bool, ...]) -> list[Tensor | None]:
        """With respect to all arguments, None where it is not needed. The inner products are overwritten by their own.

        New memory of that size costs about as much as all elementwise work. Nobody else has seen that tensor.
        """
        operator, arguments = self.operator, self.arguments
        of_dots = self.dots.data  # where autograd does not count changes
        sums = _Sums(operator.channels)
        dots, given, target = (operator.by_group(x) for x in (self.dots, grad, of_dots))
        if self.direct:
            of_norm = self._directly(dots, given, target, sums, needed)
        else:
            of_norm = torch.zeros_like(self.norm)
            for part in self._parts():
                self._part(part, dots[part], given[part], target[part], of_norm[part], sums, needed)
        of_parameter = self._of_radius(sums, of_norm)
        folded = operator.folds and needed[5]
        of_inputs, of_kernels = operator.window.products_backward(
            of_dots, arguments.inputs, self.kernels, of_inputs=needed[0], of_kernels=any(needed[1:3]) or folded
        )
        if of_inputs is not None:
            self._add_norm(of_inputs, (of_norm * self.inverse).flatten(1, operator.channels))
        of_weight, of_lengths, of_factor = self._of_kernels(of_kernels)
        found = [of_inputs, of_weight, of_lengths, sums.take("k"), of_parameter]
        found += [of_factor if operator.folds else sums.take("factor"), sums.take("joint")]
        found += [sums.take("bias"), sums.take("mean") if arguments.mean is not None else None]
        done: list[Tensor | None] = []
        for gradient, need, tensor in zip(found, needed, arguments.tensors(), strict=True):
            if tensor is None or not need:
                done.append(None)
            elif gradient is None:
                done.append(torch.zeros_like(tensor))
            else:
                gradient = gradient.reshape(tensor.shape) if tensor.ndim else gradient.sum()
                done.append(narrow(gradient, tensor.dtype))
        return done

    def _directly(self, dots: Tensor, given: Tensor, target: Tensor, sums: _Sums, needed: tuple[bool, ...]) -> Tensor:
        """dL/dr where g = c; dL/dy into `target`. A product of gradient and y stands for all, and no slope is taken."""
        _, of_height, of_parameter = self.height
        scale = self.scale.to(target.dtype) if self.rounds_factors else self.scale
        pull, asked = torch.zeros_like(self.norm), needed[0] or of_parameter is not None
        for part in self._parts():
            grad = given[part]
            if needed[7]:
                sums.add("bias", grad.to(self.dtype))
            if asked:
                if self.rounds_factors:
                    products = torch.mul(grad, dots[part], out=self._memory(0, grad))
                else:
                    products = self._scaled(dots[part], grad.to(self.dtype))
                torch.sum(products, self.operator.channels, keepdim=True, dtype=self.dtype, out=pull[part])
            self._store(target[part], grad, scale[part])
        pull.mul_(self.inverse)
        if of_parameter is not None:
            sums.add_all("parameter", pull * of_parameter)
        return pull.mul_(of_height - self.scale)

    def _part(
        self,
        part: slice,
        dots: Tensor,
        given: Tensor,
        target: Tensor,
        of_norm: Tensor,
        sums: _Sums,
        needed: tuple[bool, ...],
    ) -> None:
        """dL/dy of a part, into `target`; adds dL/dr, and what other arguments get from these patches."""
        norm, inverse, channels = self.norm[part], self.inverse[part], self.operator.channels
        height, of_height, of_parameter = self._height(part)
        grad = given.to(self.dtype)
        if needed[7]:
            sums.add("bias", grad)
        cosine = self._cosine(dots, inverse)
        if self.only_tangential and not needed[5]:
            scratch = self._memory(1, cosine), self._memory(2, cosine)
            angular = self.operator.angle.slope(cosine, self.k, scratch).mul_(grad)
            if self.factor is not None:
                angular.mul_(self.factor)
            if needed[0]:
                of_norm -= cosine.mul_(angular).sum(channels, keepdim=True).mul_(self.scale[part])
            self._store(target, angular, self.scale[part])
            return
        value, slope, of_k = self.operator.angle.value_and_slopes(cosine, self.k)
        if needed[5]:
            sums.add("factor", grad * value * height)
        if self.factor is not None:
            grad = grad * self.factor
        if of_k is not None:
            sums.add("k", of_k.mul_(grad).mul_(height))
        radial = grad * value
        angular = slope.mul_(grad)
        if self.one_for_all:
            radial, tangential = radial.sum(channels, keepdim=True), (angular * cosine).sum(channels, keepdim=True)
            of_norm += radial * of_height - tangential * self.scale[part]
            if of_parameter is not None:
                sums.add_all("parameter", radial * of_parameter)
            self._store(target, angular, self.scale[part])
            return
        if of_parameter is not None:
            assert self.parameter is not None
            collect = sums.add if self.parameter.ndim else sums.add_all
            collect("parameter", radial * of_parameter)
        radial.mul_(of_height)
        if self.joint is not None:
            sums.add("joint", radial * norm)
            radial.mul_(self.joint)
        angular.mul_(height)
        of_norm += radial.sum(channels, keepdim=True) - (angular * cosine).sum(channels, keepdim=True) * inverse
        self._store(target, angular, inverse)

    def _of_radius(self, sums: _Sums, of_norm: Tensor) -> Tensor | None:
        """dL/d radius or exponent as it was given; where the radius hangs on the mean norm, that gets its share too."""
        found = sums.take("parameter")
        if found is None or not self.magnitude.relative:
            return found
        # radius = share · mean
        share: Any = self.radius if self.share is None else self.share.reshape(found.shape)
        of_mean = (found * share).sum()
        if self.arguments.mean is None:
            of_norm += of_mean / of_norm.numel()
        else:
            sums.put("mean", of_mean)
        return None if self.share is None else found * self.mean

    def _of_kernels(self, grad: Tensor | None) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """dL/d weight at constant lengths, dL/d lengths, and dL/d factor where that is in the kernels."""
        if grad is None:
            return None, None, None
        arguments, unit, axes = self.arguments, self.unit, tuple(range(1, self.unit.ndim))
        grad = grad.to(unit.dtype)
        # u · dL/du of every kernel
        along, of_factor = (unit * grad).sum(dim=axes), None
        if self.operator.folds and arguments.factor is not None:
            factor = arguments.factor.to(unit.dtype)
            grad = grad * factor.view(-1, *[1] * len(axes))
            along, of_factor = along * factor, along
        # u = w / n
        return divide_rows(grad, arguments.lengths), -divide_rows(along, arguments.lengths), of_factor

    def _add_norm(self, of_inputs: Tensor, of_squares: Tensor) -> None:
        """Add x · sumsᵀ(dL/dr / r), the derivative through the patch norm, in place."""
        inputs, groups = self.arguments.inputs, self.operator.window.groups
        shape = torch.Size((inputs.shape[0], groups, *inputs.shape[2:]))
        back = self.operator.over_channels(self.operator.window.sums_backward(of_squares, shape))
        targets, sources = self.operator.by_group(of_inputs), self.operator.by_group(inputs)
        if self.rounds_factors:
            targets.addcmul_(sources, back.to(of_inputs.dtype))
            return
        rows = part_rows(inputs)
        for start in range(0, inputs.shape[0], rows):
            part = slice(start, start + rows)
            targets[part] = self._scaled(sources[part], back[part]).add_(targets[part].to(self.dtype))


class _Sums:
    """Gradients of small arguments, collected over the parts of a batch."""

    def __init__(self, channels: int) -> None:
        self.channels = channels
        self.found: dict[str, Tensor] = {}

    def add(self, name: str, values: Tensor) -> None:
        """Sum over batch and places, (n, ..., *places), up to the axis of the channels."""
        self.put(name, values.sum(dim=(0, *range(1 + self.channels, values.ndim))))

    def add_all(self, name: str, values: Tensor) -> None:
        """Sum over everything."""
        self.put(name, values.sum())

    def put(self, name: str, values: Tensor) -> None:
        """Add what is summed already."""
        self.found[name] = self.found[name] + values if name in self.found else values

    def take(self, name: str) -> Tensor | None:
        """What was collected, None for nothing."""
        return self.found.get(name)
