# SPDX-License-Identifier: MIT
"""Blocked hyperspherical energy: value and gradient in one pass over the upper triangle, never a K×K matrix."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from hypersphere.formulas.directions import full_precision, narrow, own_cosine, unit_rows, working_dtype
from hypersphere.formulas.energies import PairKernel, PairPotential, Riesz, energy_dtype
from hypersphere.kernels.eligible import transformed

__all__ = ["blocked_energy", "energy_and_gradient", "reasons_not"]

_NO_SECOND_DERIVATIVE = (
    "hyperspherical_energy: impl='blocked' computes the gradient together with the value and has no second derivative. "
    "Use impl='torch' to differentiate twice."
)


def block_rows(num_neurons: int, device: torch.device) -> int:
    """Rows of one square block: an eighth of K where that stays in a processor's cache, larger on an accelerator."""
    if device.type != "cpu":
        return 4096
    # an eighth keeps the part of the diagonal blocks that is computed twice at 1/16 of the Gram product
    return min(1024, max(256, -(-num_neurons // 8)))


def matrices_together(num_neurons: int, device: torch.device) -> int:
    """How many small matrices are worked on at once: few enough that their cosines stay in a processor's cache."""
    numbers = 2**17 if device.type == "cpu" else 2**24
    return max(1, numbers // num_neurons**2)


def reasons_not(weight: Tensor, kernel: PairKernel) -> list[str]:
    """Every reason why the blocked implementation cannot run on this input; empty when it can."""
    reasons = []
    if not isinstance(kernel, Riesz) and torch.compiler.is_compiling():
        reasons.append("a kernel object of your own cannot be compiled here (use power=, or run without torch.compile)")
    if not torch.compiler.is_compiling():
        if type(weight) not in (Tensor, torch.nn.Parameter):
            reasons.append(f"weight is a {type(weight).__name__} (takes plain tensors and parameters)")
        if transformed() or forward_ad.unpack_dual(weight).tangent is not None:
            reasons.append("torch.func and forward-mode derivatives are for the plain form")
    return reasons


def energy_and_gradient(
    weight: Tensor, potential: PairPotential, *, half_space: bool, eps: float, need_gradient: bool
) -> tuple[Tensor, Tensor]:
    """Mean pair energies of (B, K, D) neurons in float64, (B,), and their gradients (B, K, D) (empty unless asked for).

    Extra memory: unit rows and gradient, 2·B·K·D numbers, and a few blocks. Blocks (i, j) with j > i stand for both
    halves of the symmetric matrix: K²D multiply-adds for the cosines and 2K²D for the gradient.
    """
    num_neurons, block = weight.shape[1], block_rows(weight.shape[1], weight.device)
    bounds = [(start, min(start + block, num_neurons)) for start in range(0, num_neurons, block)]
    dtype = energy_dtype(weight.dtype, potential.power)
    if len(bounds) == 1:
        unit, inverse_norm = unit_rows(weight.to(dtype), eps)
    else:
        # a block at a time, since what lies between is larger than the result
        unit = weight.new_empty(weight.shape, dtype=dtype)
        inverse_norm = unit.new_empty(*weight.shape[:2], 1)
        for first, last in bounds:
            unit[:, first:last], inverse_norm[:, first:last] = unit_rows(weight[:, first:last].to(dtype), eps)
    own = unit.new_empty(weight.shape[:2])
    if half_space:
        for first, last in bounds:
            own[:, first:last] = own_cosine(unit[:, first:last], eps)
    gradient = torch.empty_like(unit) if need_gradient else unit.new_empty(0)
    total = torch.zeros(len(weight), dtype=torch.float64, device=unit.device)
    together = matrices_together(num_neurons, weight.device) if len(bounds) == 1 else 1
    for first in range(0, len(weight), together):
        # one matrix without its axis: products of matrices are faster than those of stacks of one
        some = slice(first, first + together) if together > 1 else first
        slope = gradient[some] if need_gradient else None
        total[some] = _some(unit[some], slope, own[some], bounds, potential, half_space, eps)
    count = num_neurons * (2 * num_neurons - 1 if half_space else num_neurons - 1)
    if need_gradient:
        for first, last in bounds:
            factor = inverse_norm[:, first:last] * (2 / count)
            _project_(gradient[:, first:last], unit[:, first:last], factor)
    return total / count, gradient


def _some(
    unit: Tensor,
    gradient: Tensor | None,
    own: Tensor,
    bounds: list[tuple[int, int]],
    potential: PairPotential,
    half_space: bool,
    eps: float,
) -> Tensor:
    """Sums over ordered pairs of (K, D) or (b, K, D) unit rows, float64; sums of forces are written to `gradient`."""
    if len(bounds) == 1:
        total, force = _block(unit, unit, potential, half_space, eps, own)
        if gradient is not None:
            torch.matmul(force, unit, out=gradient)
        return total
    if gradient is not None:
        gradient.zero_()
    total = torch.zeros((), dtype=torch.float64, device=unit.device)
    for rows, columns in _upper_blocks(bounds):
        left, right = unit[slice(*rows)], unit[slice(*columns)]
        value, force = _block(left, right, potential, half_space, eps, own[slice(*rows)] if rows == columns else None)
        total += value if rows == columns else 2 * value
        if gradient is None:
            continue
        gradient[slice(*rows)].addmm_(force, right)
        if rows != columns:
            gradient[slice(*columns)].addmm_(force.T, left)
    return total


def _upper_blocks(bounds: list[tuple[int, int]]) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """Pairs of row ranges that cover the upper triangle, the diagonal blocks included."""
    for index, rows in enumerate(bounds):
        for columns in bounds[index:]:
            yield rows, columns


def _block(
    left: Tensor, right: Tensor, potential: PairPotential, half_space: bool, eps: float, diagonal: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Sum of the pair energies of one block, or of each of a stack of blocks, in float64, and d phi / dc of its pairs.

    `diagonal` is given where left and right are the same rows; in half space it holds u_i · u_i.
    """
    cosine = left @ right.mT
    if half_space and diagonal is not None:
        return _diagonal_block_of_lines(cosine, potential, eps, diagonal)
    lines = potential.line_value_and_force(cosine) if half_space else None
    if lines is not None:
        return _sum(lines[0]), lines[1]
    mirrored = cosine.neg() if half_space else None
    value, force = potential.value_and_force(cosine)
    if diagonal is not None:
        _diagonal(value).zero_()
        _diagonal(force).zero_()
    total = _sum(value)
    if mirrored is not None:
        value, mirrored_force = potential.value_and_force(mirrored)
        total += _sum(value)
        force.sub_(mirrored_force)
    return total, force


def _diagonal_block_of_lines(
    cosine: Tensor, potential: PairPotential, eps: float, diagonal: Tensor
) -> tuple[Tensor, Tensor]:
    """`_block` of rows with themselves in half space, where a row meets its own virtual neuron."""
    # the virtual neuron of row i is -u_i, and the pair (i, -i) belongs to the sum
    value, own_force = potential.value_and_force(-diagonal)
    total = value.sum(dim=-1, dtype=torch.float64)
    # i = j is no pair: a right angle in its place, whose energy is taken off again
    _diagonal(cosine).zero_()
    lines = potential.line_value_and_force(cosine)
    if lines is None:
        mirrored = cosine.neg()
        value, force = potential.value_and_force(cosine)
        mirrored_value, mirrored_force = potential.value_and_force(mirrored)
        value.add_(mirrored_value)
        force.sub_(mirrored_force)
    else:
        value, force = lines
    _diagonal(value).zero_()
    total += _sum(value)
    # w and -w are opposite however w moves, unless eps shortens them
    _diagonal(force).copy_(own_force.neg_() if eps else torch.zeros_like(diagonal))
    return total, force


def _diagonal(blocks: Tensor) -> Tensor:
    return blocks.diagonal(dim1=-2, dim2=-1)


def _sum(blocks: Tensor) -> Tensor:
    return blocks.sum(dim=(-2, -1), dtype=torch.float64)


def _project_(gradient: Tensor, unit: Tensor, factor: Tensor) -> None:
    """From dE/du to dE/dw in place: (g - u (u·g)) / sqrt(|w|² + eps), exact with eps since d|w|_eps/dw = u."""
    radial = (gradient * unit).sum(dim=-1, keepdim=True)
    gradient.addcmul_(unit, radial, value=-1).mul_(factor)


@torch.library.custom_op("hypersphere::blocked_energy", mutates_args=())
def _blocked_energy_op(
    weight: Tensor,
    power: float,
    distance: str,
    half_space: bool,
    eps: float,
    angle_offset: float,
    need_gradient: bool,
) -> tuple[Tensor, Tensor]:
    potential = PairPotential(Riesz(power), distance, angle_offset)
    return _in_working_dtype(weight, potential, half_space, eps, need_gradient)


@_blocked_energy_op.register_fake
def _(
    weight: Tensor,
    power: float,
    distance: str,
    half_space: bool,
    eps: float,
    angle_offset: float,
    need_gradient: bool,
) -> tuple[Tensor, Tensor]:
    shape = weight.shape if need_gradient else (0,)
    energy = weight.new_empty(len(weight), dtype=working_dtype(weight.dtype))
    return energy, weight.new_empty(shape, dtype=energy_dtype(weight.dtype, power))


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(output[1])
    ctx.dtype = inputs[0].dtype


def _differentiate(ctx: Any, grad_energy: Tensor | None, grad_gradient: Tensor | None) -> tuple[Tensor | None, ...]:
    if grad_gradient is not None:
        raise RuntimeError(_NO_SECOND_DERIVATIVE)
    (gradient,) = ctx.saved_tensors
    return (None if grad_energy is None else narrow(grad_energy[:, None, None] * gradient, ctx.dtype), *[None] * 6)


_blocked_energy_op.register_autograd(_differentiate, setup_context=_save)


class _BlockedEnergyOfKernel(torch.autograd.Function):
    """The same for a kernel object, which cannot pass through an operator's schema."""

    @staticmethod
    def forward(
        weight: Tensor, potential: PairPotential, half_space: bool, eps: float, need_gradient: bool
    ) -> tuple[Tensor, Tensor]:
        return _in_working_dtype(weight, potential, half_space, eps, need_gradient)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        _save(ctx, inputs, output)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor | None) -> tuple[Tensor | None, ...]:
        return _differentiate(ctx, *grad_outputs)[:5]


def _in_working_dtype(
    weight: Tensor, potential: PairPotential, half_space: bool, eps: float, need_gradient: bool
) -> tuple[Tensor, Tensor]:
    with full_precision(weight.device):
        energy, gradient = energy_and_gradient(
            weight, potential, half_space=half_space, eps=eps, need_gradient=need_gradient
        )
    return narrow(energy, working_dtype(weight.dtype)), gradient


def blocked_energy(weight: Tensor, potential: PairPotential, *, half_space: bool, eps: float) -> Tensor:
    """Mean pair energies (B,) of (B, K, D) neurons, differentiable once: `hyperspherical_energy(impl="blocked")`."""
    need_gradient = weight.requires_grad and torch.is_grad_enabled()
    kernel = potential.kernel
    if isinstance(kernel, Riesz):
        energy: Tensor = _blocked_energy_op(
            weight, kernel.power, potential.distance, half_space, eps, potential.angle_offset, need_gradient
        )[0]
    else:
        energy = _BlockedEnergyOfKernel.apply(weight, potential, half_space, eps, need_gradient)[0]
    return energy
