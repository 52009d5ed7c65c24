# SPDX-License-Identifier: MIT
"""Angle functions against their published forms in the angle, their slopes against autograd, and both at the ends."""

from __future__ import annotations

import math

import pytest
import torch

from hypersphere.formulas.angles import ANGLES, Angle, Linear, Sigmoid, SquareCosine

EVERY = [*ANGLES.values(), Sigmoid(k=0.05), Sigmoid(k=0.7), Sigmoid(k=2.0)]
ENDS = [1.0, -1.0, 1 + 1e-7, -1 - 1e-7, 1.01, -1.01, 0.0]


def published(angle: Angle, theta: float) -> float:
    """The formulas of the papers, in theta."""
    if isinstance(angle, Linear):
        return 1 - 2 * theta / math.pi
    if isinstance(angle, Sigmoid):
        k = angle.k
        end, here = math.exp(-math.pi / (2 * k)), math.exp(theta / k - math.pi / (2 * k))
        return (1 + end) / (1 - end) * (1 - here) / (1 + here)
    if isinstance(angle, SquareCosine):
        return math.copysign(math.cos(theta) ** 2, math.cos(theta))
    return math.cos(theta)


@pytest.mark.parametrize("angle", EVERY, ids=str)
def test_equal_the_published_forms(angle: Angle) -> None:
    thetas = torch.linspace(0.05, math.pi - 0.05, 61, dtype=torch.float64)
    expected = torch.tensor([published(angle, theta) for theta in thetas.tolist()], dtype=torch.float64)
    torch.testing.assert_close(angle.value(thetas.cos()), expected, rtol=0, atol=2e-14)
    torch.testing.assert_close(angle.value_and_slopes(thetas.cos())[0], expected, rtol=0, atol=2e-14)


@pytest.mark.parametrize("angle", EVERY, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_one_at_no_angle_zero_at_a_right_one_and_odd(angle: Angle, dtype: torch.dtype) -> None:
    ends = angle.value(torch.tensor([1.0, 0.0, -1.0], dtype=dtype))
    torch.testing.assert_close(ends, torch.tensor([1.0, 0.0, -1.0], dtype=dtype), rtol=0, atol=torch.finfo(dtype).eps)
    cosines = torch.linspace(-1, 1, 101, dtype=dtype)
    values = angle.value(cosines)
    assert bool((values.diff() >= 0).all())
    torch.testing.assert_close(values, -values.flip(0), rtol=0, atol=4 * torch.finfo(dtype).eps)


@pytest.mark.parametrize("angle", EVERY, ids=str)
def test_slopes_are_those_of_autograd_and_of_any_order(angle: Angle) -> None:
    cosine = torch.linspace(-0.99, 0.98, 40, dtype=torch.float64).requires_grad_()
    value, slope, of_k = angle.value_and_slopes(cosine.detach())
    (expected,) = torch.autograd.grad(angle.value(cosine).sum(), cosine)
    torch.testing.assert_close(slope, expected, rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(angle.slope(cosine.detach()), expected, rtol=1e-12, atol=1e-13)
    assert of_k is None
    assert value.shape == cosine.shape
    torch.autograd.gradcheck(angle.value, cosine)
    torch.autograd.gradgradcheck(angle.value, cosine.detach()[1:30:7].requires_grad_())


@pytest.mark.parametrize("k", [0.05, 0.3, 0.75, 2.0])
def test_the_slope_in_k(k: float) -> None:
    cosine = torch.linspace(-0.99, 0.98, 40, dtype=torch.float64)
    learned = torch.tensor(k, dtype=torch.float64, requires_grad=True)
    angle = Sigmoid(k=0.3)
    (expected,) = torch.autograd.grad(angle.value(cosine, learned).sum(), learned)
    value, slope, of_k = angle.value_and_slopes(cosine, learned.detach())
    assert of_k is not None
    assert of_k.sum().item() == pytest.approx(expected.item(), rel=1e-10, abs=1e-13)
    fixed = Sigmoid(k=k).value_and_slopes(cosine)
    # a fixed k up to 1 takes another formula: both are right to an ulp of the largest value, 6
    torch.testing.assert_close((value, slope), fixed[:2], rtol=1e-12, atol=2e-14)


@pytest.mark.parametrize("angle", EVERY, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_finite_at_and_beyond_the_ends(angle: Angle, dtype: torch.dtype) -> None:
    cosine = torch.tensor(ENDS, dtype=dtype, requires_grad=True)
    value = angle.value(cosine)
    (gradient,) = torch.autograd.grad(value.sum(), cosine)
    assert bool(value.isfinite().all())
    assert bool(gradient.isfinite().all())
    slopes = angle.value_and_slopes(cosine.detach())
    torch.testing.assert_close((value.detach(), gradient), slopes[:2])
    if isinstance(angle, Linear | Sigmoid):
        assert value.detach()[:6].abs().max().item() <= 1 + torch.finfo(dtype).eps
        assert gradient[:2].tolist() == [0.0, 0.0]  # the mean of all limits


def test_published_slopes_of_the_sigmoid() -> None:
    """Slopes per radian at the end and in the middle, for k = 0.1, 0.3, 0.5, 0.7, 2."""
    for k, end, middle in (
        (0.1, 3e-6, 5.0),
        (0.3, 0.0355, 1.685),
        (0.5, 0.173, 1.090),
        (0.7, 0.306, 0.884),
        (2, 0.576, 0.669),
    ):
        thetas = torch.tensor([1e-4, math.pi / 2], dtype=torch.float64)
        slopes = Sigmoid(k=k).slope(thetas.cos()) * thetas.sin()
        assert slopes[0].item() == pytest.approx(end, rel=0.02)
        assert slopes[1].item() == pytest.approx(middle, rel=1e-3)
