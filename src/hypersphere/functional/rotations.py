# SPDX-License-Identifier: MIT
"""Orthogonal matrices from free parameters, by four maps with gradients that are finite wherever the parameters lie."""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from hypersphere.checks import check_choice, check_floating
from hypersphere.formulas.directions import full_precision, unit_rows, widen, working_dtype

__all__ = ["ROTATIONS", "TRIANGULAR", "orthogonal_matrix"]

ROTATIONS = {
    "cayley": "(I + S)(I - S)^-1 of a skew-symmetric S: every rotation without a half turn, D(D-1)/2 numbers",
    "gram_schmidt": "columns made orthonormal one after another, the Q of QR: every orthogonal matrix, D² numbers",
    "householder": "a product of D reflections, up to a sign: almost every rotation, D(D-1)/2 numbers",
    "lowdin": "the orthogonal matrix nearest to a given one, U V^T of its SVD: every orthogonal matrix, D² numbers",
}
# maps that read one triangle of their matrix, and give I for zeros
TRIANGULAR = ("cayley", "householder")


def orthogonal_matrix(raw: Float[Tensor, "*B D D"], *, method: str = "gram_schmidt") -> Float[Tensor, "*B D D"]:
    r"""Orthogonal matrix of free parameters, or a batch of them: R R^T = I up to rounding.

    ================  =====================================  ========================================================
    method            R                                      reads
    ================  =====================================  ========================================================
    "gram_schmidt"    Q of raw = Q T, T upper triangular     the whole matrix; a positive factor of a column changes
                      with a positive diagonal               nothing
    "lowdin"          U V^T of raw = U diag(s) V^T: raw      the whole matrix; a positive factor changes nothing
                      times (raw^T raw)^{-1/2}
    "cayley"          (I + S)(I - S)^{-1}, S = A - A^T       what lies above the diagonal, as A
    "householder"     -H_1 H_2 ... H_D with                  what lies below the diagonal: v_k has zeros above place
                      H_k = I - 2 v_k v_k^T / |v_k|²         k, 1 there, and column k of raw below it
    ================  =====================================  ========================================================

    The first two give I for raw = I, the last two for raw = 0.

    Args:
        raw: free parameters, of sizes up to 1e37 (float32); leading axes are a batch.
        method: a name in `ROTATIONS`.

    Returns:
        R, of the shape of `raw`, float32, or float64 for float64 input; computed in that dtype under autocast too, as
        are its derivatives, of any order in reverse mode. O(D³) operations a matrix.

    Raises:
        ValueError: if `raw` is not square, or the method is unknown.
        TypeError: if `raw` is not a floating-point tensor.

    Edge cases:
        "lowdin" at equal singular values, such as raw = I: exact, by a derivative that divides by s_i + s_j where that
        of the SVD divides by s_i - s_j. At a singular `raw` R is one of several, still orthogonal; directions in which
        it is undetermined (a column that depends on those before it, s_i + s_j = 0; both up to D ulps of the largest)
        have gradient zero. "cayley" and "householder" are smooth everywhere; the rounding of "cayley" grows with S: in
        float32 R R^T is within 1e-7 |S| of I once the spectral norm |S| is above 10.
        The determinant of "cayley" and "householder" is +1; that of the others is +1 or -1 and constant under a small
        enough step.

    Source:
        liu2021opt, which unrolls the steps: there "gram_schmidt" orthonormalises rows one at a time (the transpose of
        this for the transposed matrix; QR by reflections is stable where the unrolled steps lose orthogonality), and
        "householder" is the Q of an unrolled QR too, equal to Gram-Schmidt up to signs; here the vectors of the
        reflections are themselves what is learned, so it is a map of its own. qiu2023oft for "cayley".

    Example:
        >>> orthogonal_matrix(torch.tensor([[0.0, 1.0], [0.0, 0.0]]), method="cayley")
        tensor([[ 0.,  1.],
                [-1.,  0.]])
        >>> orthogonal_matrix(torch.diag(torch.tensor([2.0, 5.0])), method="lowdin")
        tensor([[1., 0.],
                [0., 1.]])
    """
    who = "orthogonal_matrix"
    check_choice(who, "method", method, list(ROTATIONS))
    check_floating(who, "raw", raw)
    if raw.ndim < 2 or raw.shape[-1] != raw.shape[-2] or raw.shape[-1] < 1:
        raise ValueError(f"{who}: expected raw (..., D, D) with D >= 1, got shape {tuple(raw.shape)}.")
    raw = widen(raw, working_dtype(raw.dtype))
    with full_precision(raw.device):
        if method == "householder":
            # D reflections of v_k = e_k make -I, hence the sign
            vectors = unit_rows(raw.tril(-1).mT + _one(raw))[0].mT
            mirrored: Tensor = -_Reflections.apply(vectors)
            return mirrored
        if method == "cayley":
            above = raw.triu(1)
            raw = above - above.mT
        factor: Tensor = _FACTORS[method].apply(raw)
        return factor


def _one(like: Tensor) -> Tensor:
    return torch.eye(like.shape[-1], dtype=like.dtype, device=like.device)


class _Cayley(torch.autograd.Function):
    """R = (I + S)(I - S)^{-1} of a skew S; dR = (I - S)^{-1} dS (R + I)."""

    generate_vmap_rule = True

    @staticmethod
    def forward(skew: Tensor) -> Tensor:
        one = _one(skew)
        # both factors are functions of S and commute; I - S has no eigenvalue of modulus below 1
        quotient: Tensor = torch.linalg.solve(one - skew, one + skew)
        return quotient

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs, output)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        skew, orthogonal = ctx.saved_tensors
        one = _one(skew)
        with full_precision(skew.device):
            found: Tensor = torch.linalg.solve(one + skew, grads[0]) @ (orthogonal + one).mT
            return found


class _Reflections(torch.autograd.Function):
    """H_1 ... H_D = I - V U^{-1} V^T of unit columns v_k; U is V^T V above the diagonal, 1/2 on it, 0 below."""

    generate_vmap_rule = True

    @staticmethod
    def forward(vectors: Tensor) -> Tensor:
        upper = (vectors.mT @ vectors).triu(1) + _one(vectors) / 2
        product: Tensor = _one(vectors) - vectors @ torch.linalg.solve_triangular(upper, vectors.mT, upper=True)
        return product

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (vectors,) = ctx.saved_tensors
        with full_precision(vectors.device):
            upper = (vectors.mT @ vectors).triu(1) + _one(vectors) / 2
            inner = torch.linalg.solve_triangular(upper, vectors.mT, upper=True)
            outer = torch.linalg.solve_triangular(upper.mT, vectors.mT @ grads[0], upper=False)
            # what U gets: its diagonal does not depend on columns of length 1
            pull = (outer @ inner.mT).triu(1)
            found: Tensor = vectors @ (pull + pull.mT) - grads[0] @ inner.mT - outer.mT
            return found


class _GramSchmidt(torch.autograd.Function):
    """Q of raw = Q T; dQ = Q (L - L^T) with L the strictly lower part of Q^T draw T^{-1}."""

    generate_vmap_rule = True

    @staticmethod
    def forward(raw: Tensor) -> Tensor:
        columns, upper = torch.linalg.qr(raw)
        sign = torch.where(upper.diagonal(dim1=-2, dim2=-1) < 0, -1.0, 1.0).to(raw.dtype)
        orthogonal: Tensor = columns * sign[..., None, :]
        return orthogonal

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs, output)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        raw, orthogonal = ctx.saved_tensors
        with full_precision(raw.device):
            upper = (orthogonal.mT @ raw).triu()
            diagonal = upper.diagonal(dim1=-2, dim2=-1)
            # a column that depends on those before it gets no gradient: it is divided by something huge
            known = diagonal > _rank_tolerance(diagonal)
            divisor = torch.where(known, diagonal, math.sqrt(torch.finfo(raw.dtype).max))
            upper = upper - torch.diag_embed(diagonal) + torch.diag_embed(divisor)
            turned = orthogonal.mT @ grads[0]
            lower = orthogonal @ (turned - turned.mT).tril(-1)
            found: Tensor = torch.linalg.solve_triangular(upper.mT, lower, upper=False, left=False)
            return found


class _PolarFactor(torch.autograd.Function):
    """R = U V^T of raw = R P with P symmetric; dR = R Ω with Ω P + P Ω = R^T draw - draw^T R."""

    generate_vmap_rule = True

    @staticmethod
    def forward(raw: Tensor) -> Tensor:
        left, _, right = torch.linalg.svd(raw)
        orthogonal: Tensor = left @ right
        return orthogonal

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs, output)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        raw, orthogonal = ctx.saved_tensors
        with full_precision(raw.device):
            turned = orthogonal.mT @ grads[0]
            found: Tensor = orthogonal @ _Sylvester.apply(orthogonal.mT @ raw, turned - turned.mT)
            return found


class _Sylvester(torch.autograd.Function):
    """X with X P + P X = K for a symmetric P >= 0 and a skew K; zero where two eigenvalues of P sum to nothing."""

    generate_vmap_rule = True

    @staticmethod
    def forward(symmetric: Tensor, right: Tensor) -> Tensor:
        values, vectors = torch.linalg.eigh((symmetric + symmetric.mT) / 2)
        total = values[..., :, None] + values[..., None, :]
        tolerance = _rank_tolerance(values)[..., None]
        inside = (vectors.mT @ right @ vectors) / total.masked_fill(total <= tolerance, math.inf)
        solution: Tensor = vectors @ inside @ vectors.mT
        return solution

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(inputs[0], output)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        symmetric, solution = ctx.saved_tensors
        with full_precision(symmetric.device):
            # the operator X -> X P + P X is its own adjoint
            grad_right = _Sylvester.apply(symmetric, grads[0])
            pull = -(solution.mT @ grad_right + grad_right @ solution.mT)
            return (pull + pull.mT) / 2, grad_right


_FACTORS: dict[str, type[torch.autograd.Function]] = {
    "cayley": _Cayley,
    "gram_schmidt": _GramSchmidt,
    "lowdin": _PolarFactor,
}


def _rank_tolerance(values: Tensor) -> Tensor:
    """What counts as zero beside the largest of `values` (..., D), as (..., 1): D ulps of it, at least 1e-28."""
    info = torch.finfo(values.dtype)
    largest = values.detach().abs().amax(dim=-1, keepdim=True)
    return (values.shape[-1] * info.eps * largest).clamp_min(info.tiny**0.75)
