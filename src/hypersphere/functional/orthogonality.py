# SPDX-License-Identifier: MIT
"""Orthogonality penalties: how far K neurons are from orthonormal, orthogonal, or a restricted isometry."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from hypersphere.checks import check_choice, check_count, check_floating
from hypersphere.formulas.directions import lengths, narrow, unit_rows, widen, working_dtype
from hypersphere.formulas.stacks import check_stack, products

__all__ = ["ORTHOGONALITIES", "orthogonality", "orthonormality", "restricted_isometry"]

# entries beyond it count as it: a fourth power of them leaves room for 2^60 terms in the range of the dtype
_LARGEST_ENTRY = {torch.float32: 2.0**16, torch.float64: 2.0**220}
REDUCTIONS = ("sum", "mean")


def orthonormality(
    weight: Float[Tensor, "*stack K D"], *, normalized: bool = False, reduction: str = "sum"
) -> Float[Tensor, "*stack"]:
    r"""Squared Frobenius distance of W Wᵀ from the identity: neurons of length 1 at right angles have none.

    .. math::
        \|W W^\top - I\|_F^2 = \sum_i (|w_i|^2 - 1)^2 + \sum_{i \ne j} (w_i \cdot w_j)^2

    For K > D it is computed as |WᵀW - I|² + K - D, from the smaller matrix; K - D is the least that it can be, where
    WᵀW = I.

    Args:
        weight: K neurons as rows; leading axes stack matrices, each of which has its own value.
        normalized: take the rows at length 1, so that only angles count; a zero row stays zero.
        reduction: "sum" as published, or "mean" over the K² entries.

    Returns:
        A value >= 0 for each matrix, dimensionless, float32, or float64 for float64 weights.

    Raises:
        ValueError: if `weight` is not (..., K, D) with K, D >= 1, or `reduction` is unknown.
        TypeError: if `weight` is not a floating-point tensor.

    Edge cases:
        Entries beyond ±65536 (2^220 in float64) count as that, with gradient zero, unless `normalized`. Zero rows add
        1 each; duplicates are fine.

    Source:
        bansal2018orthogonality, the soft orthogonality term. liu2017spherenet takes half of it, so that its factor of
        2e-4 is a factor of 1e-4 here.

    Example:
        >>> orthonormality(torch.tensor([[1.0, 0.0], [1.0, 1.0]]))
        tensor(3.)
        >>> orthonormality(torch.tensor([[1.0, 0.0], [1.0, 1.0]]), normalized=True)
        tensor(1.0000)
    """
    who = "orthonormality"
    check_stack(who, "weight", weight)
    check_choice(who, "reduction", reduction, REDUCTIONS)
    rows = _rows(weight, normalized, working_dtype(weight.dtype))
    num_neurons, dim = rows.shape[-2:]
    gram = products(rows, rows.mT) if num_neurons <= dim else products(rows.mT, rows)
    total = _minus_identity(gram).square().sum(dim=(-2, -1)) + max(num_neurons - dim, 0)
    return total if reduction == "sum" else total / num_neurons**2


def orthogonality(
    weight: Float[Tensor, "*stack K D"], *, normalized: bool = False, reduction: str = "sum"
) -> Float[Tensor, "*stack"]:
    r"""Sum of the squared inner products of different neurons: right angles have none, lengths are free.

    .. math::
        \sum_{i \ne j} (w_i \cdot w_j)^2 = \|W W^\top\|_F^2 - \sum_i |w_i|^4

    For K > 2 D it is computed from WᵀW, (D, D), in float64: to 1e-15 of the sum of |w_i|⁴, so that of rows a
    thousandth as long as the longest four digits are left. With `normalized` it is at least K² / D - K (Welch's
    bound, reached by tight frames), or 0 for K <= D.

    Args:
        weight: K >= 2 neurons as rows; leading axes stack matrices, each of which has its own value.
        normalized: take the rows at length 1, so that only angles count; a zero row stays zero.
        reduction: "sum" over ordered pairs i != j, or their "mean".

    Returns:
        A value >= 0 for each matrix, dimensionless, float32, or float64 for float64 weights.

    Raises:
        ValueError: if `weight` is not (..., K, D) with K >= 2 and D >= 1, or `reduction` is unknown.
        TypeError: if `weight` is not a floating-point tensor.

    Edge cases:
        Entries beyond ±65536 (2^220 in float64) count as that, with gradient zero, unless `normalized`. A zero row
        is orthogonal to every row, with gradient zero.

    Source:
        liu2018mhe, the orthogonal baseline (its orthonormal one is `orthonormality`).

    Example:
        >>> orthogonality(torch.tensor([[1.0, 0.0], [1.0, 1.0]]))
        tensor(2.)
    """
    who = "orthogonality"
    check_stack(who, "weight", weight, smallest=2)
    check_choice(who, "reduction", reduction, REDUCTIONS)
    num_neurons, dim = weight.shape[-2:]
    result = working_dtype(weight.dtype)
    if num_neurons <= 2 * dim:
        rows = _rows(weight, normalized, result)
        same = torch.eye(num_neurons, dtype=torch.bool, device=weight.device)
        total = products(rows, rows.mT).masked_fill(same, 0.0).square().sum(dim=(-2, -1))
    else:
        rows = _rows(weight, normalized, torch.float64, _LARGEST_ENTRY[result])
        lengths = rows.square().sum(dim=-1)
        total = products(rows.mT, rows).square().sum(dim=(-2, -1)) - lengths.square().sum(dim=-1)
        # no sum of squares is negative; a difference that is all rounding may be
        total = narrow(total.clamp_min(0.0), result)
    return total if reduction == "sum" else total / (num_neurons * (num_neurons - 1))


def restricted_isometry(
    weight: Float[Tensor, "*stack K D"],
    *,
    normalized: bool = False,
    probe: Float[Tensor, "*stack M"] | None = None,
    num_iterations: int = 2,
    squared: bool = False,
) -> Float[Tensor, "*stack"]:
    r"""Spectral norm of W Wᵀ - I (SRIP), by a few steps of power iteration.

    .. math::
        \sigma = |A x_n|, \quad x_{k+1} = A x_k / |A x_k|, \quad x_1 = p / |p|, \quad
        A = \begin{cases} W W^\top - I & K \le D \\ W^\top W - I & K > D \end{cases}

    with p the probe and n the number of iterations. It is the most by which W stretches or shrinks a squared length,
    and 0 for orthonormal rows (columns, for K > D: W Wᵀ - I would have K - D eigenvalues -1 that no weight can move).
    Each estimate is a lower bound. The matrix A itself is never made, so the cost is O(K D) for each iteration.

    Args:
        weight: K neurons as rows; leading axes stack matrices, each of which has its own value.
        normalized: take the rows at length 1, so that only angles count; a zero row stays zero.
        probe: where the iteration begins, M = min(K, D) numbers for each matrix; None draws normal ones from torch's
            global generator, as the released code does, so that two calls differ.
        num_iterations: products with A, >= 1.
        squared: return σ², as the released code does; the paper has σ.

    Returns:
        A value >= 0 for each matrix, dimensionless, float32, or float64 for float64 weights. The gradient runs through
        the iteration.

    Raises:
        ValueError: if `weight` is not (..., K, D) with K, D >= 1, the probe is of another shape, or `num_iterations`
            is not a whole number of 1 or more.
        TypeError: if `weight` or `probe` is not a floating-point tensor.

    Edge cases:
        Orthonormal rows, or a zero probe: 0 with gradient zero. Entries beyond ±65536 (2^220 in float64) count as that,
        with gradient zero, unless `normalized`.

    Source:
        bansal2018orthogonality, spectral restricted isometry property regularisation; two iterations in its code.

    Example:
        >>> restricted_isometry(torch.diag(torch.tensor([1.0, 2.0])), probe=torch.tensor([0.0, 1.0]))
        tensor(3.)
    """
    who = "restricted_isometry"
    check_stack(who, "weight", weight)
    check_count(who, "num_iterations", num_iterations)
    rows = _rows(weight, normalized, working_dtype(weight.dtype))
    if rows.shape[-2] <= rows.shape[-1]:
        rows = rows.mT
    expected = (*rows.shape[:-2], rows.shape[-1])
    if probe is None:
        probe = torch.randn(expected, dtype=rows.dtype, device=rows.device)
    check_floating(who, "probe", probe)
    if probe.shape != expected:
        raise ValueError(
            f"{who}: expected probe of shape {expected}, min(K, D) numbers for each matrix, got {tuple(probe.shape)}."
        )
    image = probe.to(rows.dtype)
    for _ in range(num_iterations):
        direction = unit_rows(image)[0]
        image = products(rows.mT, products(rows, direction[..., None]))[..., 0] - direction
    sigma = lengths(image)
    return sigma.square() if squared else sigma


ORTHOGONALITIES: dict[str, Callable[..., Tensor]] = {
    "orthonormal": orthonormality,
    "orthogonal": orthogonality,
    "restricted_isometry": restricted_isometry,
}


def _rows(weight: Tensor, normalized: bool, dtype: torch.dtype, largest: float | None = None) -> Tensor:
    """Rows in the dtype to work in, at length 1 or short enough for the fourth power of an entry."""
    wide = widen(weight, dtype)
    if normalized:
        return unit_rows(wide)[0]
    bound = _LARGEST_ENTRY[dtype] if largest is None else largest
    return wide.clamp(-bound, bound)


def _minus_identity(gram: Tensor) -> Tensor:
    return gram - torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
