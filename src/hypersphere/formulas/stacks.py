# SPDX-License-Identifier: MIT
"""Stacks of neuron matrices, (..., K, D): what arrives at the door of a function, and products of their rows."""

from __future__ import annotations

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
    """Matrix product (..., M, D) @ (..., D, N) in the dtype of its factors, under autocast too."""
    with full_precision(rows.device):
        return torch.matmul(rows, columns)
