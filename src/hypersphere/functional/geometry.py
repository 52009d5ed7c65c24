# SPDX-License-Identifier: MIT
"""Directions, cosines and angles of vectors, finite for every finite input."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from hypersphere.checks import check_floating, check_matrix, check_range
from hypersphere.formulas.arccos import angle_from_cosine
from hypersphere.formulas.directions import unit_rows, widen, working_dtype
from hypersphere.formulas.stacks import products

__all__ = ["normalize", "pairwise_angle", "pairwise_cosine"]


def normalize(vectors: Float[Tensor, "*batch D"], *, eps: float = 0.0) -> Float[Tensor, "*batch D"]:
    r"""Unit vectors u = w / sqrt(|w|² + eps) along the last axis.

    Args:
        vectors: rows of any length; norms from 1e-20 to 1e+18 neither underflow nor overflow in float32.
        eps: added inside the square root, in squared units of `vectors`, >= 0; the official code uses 1e-4.

    Returns:
        Same shape and dtype; computed in float32 or wider. With eps > 0 the rows are slightly shorter than 1.

    Raises:
        TypeError: if `vectors` is not a floating-point tensor.
        ValueError: if eps is negative.

    Edge cases:
        A zero row (largest entry below 1e-30 in float32) stays zero with gradient zero when eps = 0; with eps > 0 its
        gradient is 1 / sqrt(eps).

    Source:
        liu2018mhe, sec. 3; the position of eps is that of the released code.

    Example:
        >>> normalize(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
        tensor([[0.6000, 0.8000],
                [0.0000, 0.0000]])
    """
    check_floating("normalize", "vectors", vectors)
    check_range("normalize", "eps", eps, low=0.0, high=1e30)
    if vectors.numel() == 0:
        return vectors
    return unit_rows(widen(vectors, working_dtype(vectors.dtype)), eps)[0].to(vectors.dtype)


def pairwise_cosine(a: Float[Tensor, "N D"], b: Float[Tensor, "M D"] | None = None) -> Float[Tensor, "N M"]:
    r"""Cosines c_ij = u_i · v_j between the rows of `a` and of `b` (of `a` itself when `b` is None).

    Args:
        a: N rows.
        b: M rows, or None for the rows of `a`.

    Returns:
        Cosines in [-1, 1], dtype of `a`; products accumulate in float32 or wider, autocast or not.

    Raises:
        ValueError: if a shape is not (N, D) and (M, D).

    Edge cases:
        A zero row has cosine 0 with every row, and gradient zero.

    Example:
        >>> pairwise_cosine(torch.tensor([[2.0, 0.0], [0.0, 5.0]]))
        tensor([[1., 0.],
                [0., 1.]])
    """
    _check_sets("pairwise_cosine", a, b)
    return _cosine(a, b, working_dtype(a.dtype)).clamp(-1, 1).to(a.dtype)


def pairwise_angle(a: Float[Tensor, "N D"], b: Float[Tensor, "M D"] | None = None) -> Float[Tensor, "N M"]:
    r"""Angles theta_ij in radians between the rows of `a` and of `b` (of `a` itself when `b` is None).

    Args:
        a: N rows.
        b: M rows, or None for the rows of `a`.

    Returns:
        Angles in [0, pi] radians, dtype of `a`. The product runs in float64, since a float32 cosine resolves no angle
        below 3e-4: float32 input is right to 1e-6 rad everywhere, 0 and pi included; N·M·8 bytes are held meanwhile.
        Angles below 4e-8 rad count as 0, and those as near to pi as pi.

    Raises:
        ValueError: if a shape is not (N, D) and (M, D).

    Edge cases:
        Parallel and opposite rows have gradient zero, the mean of the directional limits. A zero row is at pi/2 from
        every row.

    Example:
        >>> pairwise_angle(torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 1e-3]]))
        tensor([[0.0010]])
    """
    _check_sets("pairwise_angle", a, b)
    return angle_from_cosine(_cosine(a, b, torch.float64)).to(a.dtype)


def _check_sets(who: str, a: Tensor, b: Tensor | None) -> None:
    """Raise unless `a` is (N, D) and `b`, if there is one, (M, D)."""
    check_matrix(who, "a", a, "N D")
    if b is not None:
        check_matrix(who, "b", b, "M D")
        if b.shape[1] != a.shape[1]:
            raise ValueError(
                f"{who}: expected a (N, D) and b (M, D) with the same D, got {tuple(a.shape)} and {tuple(b.shape)}."
            )


def _cosine(a: Tensor, b: Tensor | None, dtype: torch.dtype) -> Tensor:
    """Inner products of unit rows in `dtype`, which autocast leaves alone."""
    left = unit_rows(widen(a, dtype))[0] if a.numel() else a.to(dtype)
    right = left if b is None else unit_rows(widen(b, dtype))[0] if b.numel() else b.to(dtype)
    return products(left, right.mT)
