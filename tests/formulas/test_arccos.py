# SPDX-License-Identifier: MIT
"""The arc cosine that autograd may meet: values, bounded slope, second derivative."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from hypersphere.formulas.arccos import angle_from_cosine, arc_sine


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_values_and_clamping(dtype: torch.dtype) -> None:
    cosine = torch.tensor([1.5, 1.0, 0.5, 0.0, -0.5, -1.0, -1.5], dtype=dtype)
    expected = torch.tensor([0, 0, math.pi / 3, math.pi / 2, 2 * math.pi / 3, math.pi, math.pi], dtype=dtype)
    assert torch.allclose(angle_from_cosine(cosine), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_an_ulp_below_one_is_one(dtype: torch.dtype) -> None:
    ulp = torch.finfo(dtype).eps
    cosine = torch.tensor([1 - ulp, -1 + ulp], dtype=dtype)
    assert torch.equal(angle_from_cosine(cosine), torch.tensor([0.0, math.pi], dtype=dtype))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("function", [angle_from_cosine, arc_sine])
def test_the_slope_is_zero_within_four_ulps_of_the_end_alone(
    function: Callable[[Tensor], Tensor], dtype: torch.dtype
) -> None:
    steps = torch.tensor([0, 1, 3, 3.5, 4.5, 5, 8], dtype=dtype) * torch.finfo(dtype).eps
    cosine = (1 - steps).requires_grad_()
    (slope,) = torch.autograd.grad(function(cosine).sum(), cosine)
    assert (slope == 0).tolist() == [True, True, True, True, False, False, False]


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 2.0**9), (torch.float64, 2.0**23)])
def test_slope_is_bounded_at_the_ends(dtype: torch.dtype, bound: float) -> None:
    near = 1 - bound**-2 / 4
    cosine = torch.tensor([1.0, -1.0, 0.0, near, -near], dtype=dtype, requires_grad=True)
    angle_from_cosine(cosine).sum().backward()
    assert cosine.grad.tolist() == [0.0, 0.0, -1.0, -bound, -bound]


def test_differentiable_twice() -> None:
    cosine = torch.linspace(-0.95, 0.95, 9, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(angle_from_cosine, cosine)
    assert torch.autograd.gradgradcheck(angle_from_cosine, cosine)


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")  # used by torch's own forward-mode formulas
@pytest.mark.parametrize("function", [angle_from_cosine, arc_sine])
def test_differentiable_forwards_and_in_batches(function: Callable[[Tensor], Tensor]) -> None:
    cosine = torch.linspace(-0.95, 0.95, 9, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(function, cosine, check_forward_ad=True, check_batched_grad=True)
    ends = torch.tensor([1.0, -1.0, 0.0], dtype=torch.float64)
    tangent = torch.func.jvp(function, (ends,), (torch.ones_like(ends),))[1]
    assert tangent.abs().tolist() == [0.0, 0.0, 1.0]
