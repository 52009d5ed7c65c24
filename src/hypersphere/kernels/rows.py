# SPDX-License-Identifier: MIT
"""Energy of a few rows against all rows: value and gradient in one pass over chunks of the matrix, never copied."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from hypersphere.formulas.directions import full_precision, narrow, own_cosine, unit_rows, working_dtype
from hypersphere.formulas.energies import PairPotential, Riesz, energy_dtype
from hypersphere.kernels.energy import _project_, reasons_not

__all__ = ["chunk_rows", "reasons_not", "row_energies", "rows_and_gradient"]

_NO_SECOND_DERIVATIVE = (
    "sampled_energy: impl='blocked' computes the gradient together with the value and has no second derivative. "
    "Use impl='torch' to differentiate twice."
)


def chunk_rows(device: torch.device) -> int:
    """Rows of the matrix that are looked at together: what stays in a processor's cache, more on an accelerator."""
    return 1024 if device.type == "cpu" else 4096


def rows_and_gradient(
    weight: Tensor,
    rows: Tensor,
    share: Tensor,
    potential: PairPotential,
    *,
    half_space: bool,
    eps: float,
    need_gradient: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Energies r_i of chosen rows, their sum with shares, and the gradient of that sum with respect to all rows.

    Args:
        weight: (K, D), read a chunk at a time.
        rows: (b,) indices in [0, K), repetitions welcome.
        share: (b,) q_i.
        potential: of one pair.
        half_space: add the antipode of every neuron; the pair of a row with its own counts.
        eps: added inside the square root of the norms.
        need_gradient: whether to compute it.

    Returns:
        sum_i q_i r_i as a float64 scalar; r_i (b,), float64: the mean energy of row i with all other points; the
        gradient (K, D), empty unless asked for. Extra memory: the gradient and blocks of a fixed size. 3·b·K·D
        multiply-adds, b·K·D without gradient.
    """
    num_neurons, chunk = weight.shape[0], chunk_rows(weight.device)
    dtype = energy_dtype(weight.dtype, potential.power)
    gradient = weight.new_zeros(weight.shape, dtype=dtype) if need_gradient else weight.new_empty(0, dtype=dtype)
    count = 2 * num_neurons - 1 if half_space else num_neurons - 1
    means = torch.zeros(len(rows), dtype=torch.float64, device=weight.device)
    for start in range(0, len(rows), chunk):
        mine = slice(start, start + chunk)
        index = rows[mine]
        left, inverse = unit_rows(weight[index].to(dtype), eps)
        factor = share[mine, None].to(dtype) / count
        scaled, pull = left * factor, torch.zeros_like(left)
        for first in range(0, num_neurons, chunk):
            columns = slice(first, first + chunk)
            unit, inverse_norm = unit_rows(weight[columns].to(dtype), eps)
            value, force = _block(left, unit, index - first, potential, half_space, eps)
            means[mine] += value
            if need_gradient:
                pull.addmm_(force, unit)
                push = force.T @ scaled
                _project_(push, unit, inverse_norm)
                gradient[columns] += push
        if need_gradient:
            _project_(pull, left, inverse * factor)
            gradient.index_add_(0, index, pull)
    means /= count
    return (share.double() * means).sum(), means, gradient


def _block(
    left: Tensor, right: Tensor, position: Tensor, potential: PairPotential, half_space: bool, eps: float
) -> tuple[Tensor, Tensor]:
    """Sums over the columns of a block of pair energies (b,), float64, and d phi / dc of its pairs (b, c).

    `position` (b,) says which column is the row itself, outside [0, c) where none is.
    """
    inside = ((position >= 0) & (position < len(right)))[:, None]
    own = position.clamp(0, len(right) - 1)[:, None]

    def set_own(block: Tensor, new: Tensor | float) -> None:
        # one number of each row is looked at, so nothing waits for the device to say which rows are inside
        block.scatter_(1, own, torch.where(inside, new, block.gather(1, own)))

    cosine = left @ right.T
    mirrored = cosine.neg() if half_space else None
    value, force = potential.value_and_force(cosine)
    set_own(value, 0.0)
    set_own(force, 0.0)
    total = value.sum(dim=1, dtype=torch.float64)
    if mirrored is not None:
        set_own(mirrored, -own_cosine(left, eps)[:, None])
        # the virtual neuron of row i is -u_i, and the pair (i, -i) belongs to the sum
        value, mirrored_force = potential.value_and_force(mirrored)
        total += value.sum(dim=1, dtype=torch.float64)
        if not eps:
            set_own(mirrored_force, 0.0)  # w and -w are opposite however w moves
        force.sub_(mirrored_force)
    return total, force


def _in_working_dtype(
    weight: Tensor, rows: Tensor, share: Tensor, potential: PairPotential, half_space: bool, eps: float, need: bool
) -> tuple[Tensor, Tensor, Tensor]:
    with full_precision(weight.device):
        energy, means, gradient = rows_and_gradient(
            weight, rows, share, potential, half_space=half_space, eps=eps, need_gradient=need
        )
    dtype = working_dtype(weight.dtype)
    return narrow(energy, dtype), narrow(means, dtype), gradient


@torch.library.custom_op("hypersphere::row_energies", mutates_args=())
def _row_energies_op(
    weight: Tensor,
    rows: Tensor,
    share: Tensor,
    power: float,
    distance: str,
    half_space: bool,
    eps: float,
    angle_offset: float,
    need_gradient: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    potential = PairPotential(Riesz(power), distance, angle_offset)
    return _in_working_dtype(weight, rows, share, potential, half_space, eps, need_gradient)


@_row_energies_op.register_fake
def _(
    weight: Tensor,
    rows: Tensor,
    share: Tensor,
    power: float,
    distance: str,
    half_space: bool,
    eps: float,
    angle_offset: float,
    need_gradient: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    dtype = working_dtype(weight.dtype)
    shape = weight.shape if need_gradient else (0,)
    gradient = weight.new_empty(shape, dtype=energy_dtype(weight.dtype, power))
    return weight.new_empty((), dtype=dtype), weight.new_empty(rows.shape, dtype=dtype), gradient


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(output[2])
    ctx.dtype = inputs[0].dtype


def _differentiate(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
    if grads[2] is not None:
        raise RuntimeError(_NO_SECOND_DERIVATIVE)
    (gradient,) = ctx.saved_tensors
    return (None if grads[0] is None else narrow(grads[0] * gradient, ctx.dtype), *[None] * 8)


_row_energies_op.register_autograd(_differentiate, setup_context=_save)


class _RowEnergies(torch.autograd.Function):
    """The same outside a compiler: takes kernel objects, and scales the one gradient in place instead of copying it."""

    @staticmethod
    def forward(
        ctx: Any,
        weight: Tensor,
        rows: Tensor,
        share: Tensor,
        potential: PairPotential,
        half_space: bool,
        eps: float,
        need_gradient: bool,
    ) -> tuple[Tensor, Tensor]:
        options = (potential, half_space, eps, need_gradient)
        energy, means, gradient = _in_working_dtype(weight, rows, share, *options)
        ctx.mark_non_differentiable(means)
        ctx.save_for_backward(weight, rows, share)
        ctx.options, ctx.gradient = options, gradient
        return energy, means

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        gradient, ctx.gradient = ctx.gradient, None
        if gradient is None:
            # a graph that was retained: the first backward gave the only copy away
            gradient = _in_working_dtype(*ctx.saved_tensors, *ctx.options)[2]
        weight = ctx.saved_tensors[0]
        with torch.no_grad():
            found = narrow(gradient.mul_(grads[0]), weight.dtype)
        if torch.is_grad_enabled():
            found = _OnceOnly.apply(found, weight, grads[0])
        return (found, *[None] * 6)


class _OnceOnly(torch.autograd.Function):
    """A gradient that refuses to be differentiated, where autograd would take it for a constant."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, weight: Tensor, grad_energy: Tensor) -> Tensor:
        return gradient.view_as(gradient)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, None, None]:
        raise RuntimeError(_NO_SECOND_DERIVATIVE)


def row_energies(
    weight: Tensor, rows: Tensor, share: Tensor, potential: PairPotential, *, half_space: bool, eps: float
) -> tuple[Tensor, Tensor]:
    """sum_i q_i r_i, differentiable once in `weight`, and the r_i as constants; see `rows_and_gradient`."""
    need_gradient = weight.requires_grad and torch.is_grad_enabled()
    kernel = potential.kernel
    if torch.compiler.is_compiling() and isinstance(kernel, Riesz):
        energy, means, _ = _row_energies_op(
            weight,
            rows,
            share,
            kernel.power,
            potential.distance,
            half_space,
            eps,
            potential.angle_offset,
            need_gradient,
        )
        return energy, means.detach()
    found: tuple[Tensor, Tensor] = _RowEnergies.apply(weight, rows, share, potential, half_space, eps, need_gradient)
    return found
