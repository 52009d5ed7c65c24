# SPDX-License-Identifier: MIT
"""Directions, cosines and angles: accuracy where float32 loses it, and gradients where others have NaN."""

from __future__ import annotations

import math

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given

from hypersphere.formulas.directions import lengths
from hypersphere.functional import normalize, pairwise_angle, pairwise_cosine


def pair_at(theta: float, dim: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Two float32 vectors of random length at a known angle, and that angle of the rounded vectors, in float64."""
    generator = torch.Generator().manual_seed(seed)
    basis = torch.linalg.qr(torch.randn(dim, 2, generator=generator, dtype=torch.float64))[0].T
    a = (3.7 * basis[0]).float()
    b = (0.2 * (math.cos(theta) * basis[0] + math.sin(theta) * basis[1])).float()
    return a[None], b[None]


def exact_angle(a: torch.Tensor, b: torch.Tensor) -> float:
    """2 atan2(|u - v|, |u + v|) in float64: accurate at every angle."""
    u, v = (x.double() / x.double().norm() for x in (a[0], b[0]))
    return 2 * math.atan2((u - v).norm().item(), (u + v).norm().item())


@pytest.mark.parametrize("dim", [2, 3, 128, 2048])
@pytest.mark.parametrize("theta", [1e-3, 1e-2, 0.5, math.pi / 2, 3.0, math.pi - 1e-3, math.pi])
def test_angle_is_right_to_a_microradian(theta: float, dim: int) -> None:
    a, b = pair_at(theta, dim)
    assert pairwise_angle(a, b).item() == pytest.approx(exact_angle(a, b), abs=1e-6)
    assert pairwise_angle(a, b).item() == pytest.approx(theta, abs=2e-6)


@given(
    seed=st.integers(0, 1000),
    kind=st.sampled_from(["equal", "opposite", "zero", "tiny", "huge", "plain"]),
    dtype=st.sampled_from([torch.float32, torch.float64, torch.bfloat16]),
)
def test_finite_everywhere(seed: int, kind: str, dtype: torch.dtype) -> None:
    a = torch.randn(4, 5, generator=torch.Generator().manual_seed(seed))
    b = {"equal": a, "opposite": -2 * a, "zero": 0 * a, "tiny": 1e-20 * a, "huge": 1e18 * a, "plain": a.roll(1, 0)}[
        kind
    ]
    for function in (pairwise_angle, pairwise_cosine):
        left, right = a.to(dtype).requires_grad_(), b.to(dtype).requires_grad_()
        result = function(left, right)
        result.sum().backward()
        assert result.dtype == dtype
        for tensor in (result, left.grad, right.grad):
            assert torch.isfinite(tensor).all()


def test_parallel_and_opposite_rows_have_no_gradient() -> None:
    for factor in (2.0, -2.0):
        a = torch.tensor([[1.0, 2.0, 3.0]], dtype=torch.float64, requires_grad=True)
        pairwise_angle(a, factor * a.detach()).sum().backward()
        assert a.grad.abs().max() < 1e-7


def test_gradcheck() -> None:
    a = torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    b = torch.randn(2, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    for function in (pairwise_angle, pairwise_cosine):
        assert torch.autograd.gradcheck(function, (a, b))
        assert torch.autograd.gradgradcheck(function, (a, b))
    for eps in (0.0, 0.1):
        assert torch.autograd.gradcheck(lambda x, eps=eps: normalize(x, eps=eps), a)
        assert torch.autograd.gradgradcheck(lambda x, eps=eps: normalize(x, eps=eps), a)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_normalize_keeps_dtype_and_direction(dtype: torch.dtype) -> None:
    vectors = torch.tensor([[3.0, 4.0], [0.0, 0.0]], dtype=dtype)
    unit = normalize(vectors)
    assert unit.dtype == dtype
    assert torch.allclose(unit, torch.tensor([[0.6, 0.8], [0.0, 0.0]], dtype=dtype))


@pytest.mark.parametrize("norm", [1e-20, 1e-6, 1.0, 1e18, 3e38])
def test_normalize_holds_over_all_norms(norm: float) -> None:
    vectors = torch.tensor([[0.6, -0.8]]) * norm
    assert torch.allclose(normalize(vectors), torch.tensor([[0.6, -0.8]]), rtol=1e-6)


def test_normalize_puts_epsilon_inside_the_root() -> None:
    vectors = torch.tensor([[3.0, 4.0], [0.0, 0.0], [1e-20, 0.0]], dtype=torch.float64)
    expected = vectors / (vectors.square().sum(1, keepdim=True) + 1e-4).sqrt()
    assert torch.allclose(normalize(vectors, eps=1e-4), expected, rtol=1e-14)


def test_zero_row_has_no_gradient_without_epsilon_and_a_bounded_one_with_it() -> None:
    zero = torch.zeros(1, 3, requires_grad=True)
    normalize(zero).sum().backward()
    assert torch.equal(zero.grad, torch.zeros(1, 3))
    zero.grad = None
    normalize(zero, eps=1e-4).sum().backward()
    assert torch.allclose(zero.grad, torch.full((1, 3), 100.0))


def test_any_number_of_leading_axes_and_empty_input() -> None:
    assert normalize(torch.ones(2, 3, 4)).norm(dim=-1).allclose(torch.ones(2, 3))
    assert normalize(torch.ones(0, 4)).shape == (0, 4)


def test_wrong_input_is_explained() -> None:
    a = torch.ones(2, 3)
    with pytest.raises(ValueError, match=r"pairwise_cosine: expected a \(N, D\) and b \(M, D\) with the same D, got"):
        pairwise_cosine.__wrapped__(a, torch.ones(2, 4))
    with pytest.raises(ValueError, match=r"pairwise_angle: expected a \(N, D\), got shape \(3,\)"):
        pairwise_angle.__wrapped__(torch.ones(3))
    with pytest.raises(ValueError, match=r"normalize: eps must lie in \[0, 1e\+30\], got -1"):
        normalize(a, eps=-1.0)
    with pytest.raises(TypeError, match=r"normalize: expected vectors of a floating-point dtype, got torch.int64"):
        normalize.__wrapped__(torch.ones(2, 3, dtype=torch.int64))


def test_lengths_have_a_gradient_wherever_they_are() -> None:
    vectors = torch.tensor([[3.0, 4.0], [0.0, 0.0], [3e18, 4e18], [3e-20, 4e-20]], requires_grad=True)
    found = lengths(vectors)
    torch.testing.assert_close(found, torch.tensor([5.0, 0.0, 5e18, 5e-20]), rtol=1e-6, atol=0)
    (gradient,) = torch.autograd.grad(found.sum(), vectors)
    direction = torch.tensor([0.6, 0.8])
    torch.testing.assert_close(gradient, torch.stack([direction, 0 * direction, direction, direction]))
