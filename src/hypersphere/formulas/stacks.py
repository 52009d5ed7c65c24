# SPDX-License-Identifier: MIT
"""Stacks of neuron matrices, (..., K, D): what arrives at the door of a function, and products of their rows."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from hypersphere.checks import check_floating
from hypersphere.formulas.directions import full_precision

__all__ = ["check_stack", "products"]


def check_stack(who: str, argument: str, value: Tensor, *, axes: str = "K D", smallest: int = 1) -> None:
    """Raise unless `value` is (..., K, D), of a floating-point dtype, with K >= `smallest` and D >= 1."""
    check_floating(who, argument, value)
    letter, other = axes.split()
    if value.ndim < 2:
        raise ValueError(f"{who}: expected {argument} (..., {letter}, {other}), got shape {tuple(value.shape)}.")
    num_rows, dim = value.shape[-2:]
    if num_rows < smallest or dim < 1:
        raise ValueError(
            f"{who}: expected {argument} with {letter} >= {smallest} and {other} >= 1, "
            f"got {letter}={num_rows}, {other}={dim}."
        )


def products(rows: Tensor, columns: Tensor) -> Tensor:
    """Matrix product (..., M, D) @ (..., D, N) in the dtype of its factors, under autocast too.

    So are its derivatives, also where `backward` runs under autocast, as it does in compiled code that is called there.
    """
    device = rows.device.type
    if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
        product: Tensor = _Product.apply(rows, columns)
        return product
    return torch.matmul(rows, columns)


class _Product(torch.autograd.Function):
    """A matrix product whose derivatives are matrix products out of the reach of autocast, any number of times."""

    generate_vmap_rule = True

    @staticmethod
    def forward(rows: Tensor, columns: Tensor) -> Tensor:
        with full_precision(rows.device):
            return torch.matmul(rows, columns)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None]:
        rows, columns = ctx.saved_tensors
        of_rows, of_columns = ctx.needs_input_grad
        # leading axes that one factor lacks are summed
        return (
            _Product.apply(grads[0], columns.mT).sum_to_size(rows.shape) if of_rows else None,
            _Product.apply(rows.mT, grads[0]).sum_to_size(columns.shape) if of_columns else None,
        )
