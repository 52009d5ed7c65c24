# SPDX-License-Identifier: MIT
"""The falling cosine: against its definition and the closed forms without an angle, with its limits and derivatives."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from hypersphere.formulas.multiples import falling_cosine
from margin_loops import psi

COSINES = torch.linspace(-1, 1, 201, dtype=torch.float64)
INNER = torch.tensor([-0.9, -0.6, -0.35, 0.05, 0.3, 0.72, 0.95], dtype=torch.float64)


def slope(cosine: Tensor, multiplier: float, offset: float = 0.0) -> Tensor:
    cosine = cosine.clone().requires_grad_()
    return torch.autograd.grad(falling_cosine(cosine, multiplier, offset).sum(), cosine)[0]


@pytest.mark.parametrize("multiplier", [1.0, 1.5, 1.7, 2.0, 3.0, 4.0, 7.3, 10.0])
@pytest.mark.parametrize("offset", [0.0, 0.5, 3.0])
def test_by_its_definition(multiplier: float, offset: float) -> None:
    found = falling_cosine(COSINES, multiplier, offset)
    expected = [psi(math.acos(c), multiplier, offset) for c in COSINES.tolist()]
    torch.testing.assert_close(found, COSINES.new_tensor(expected), rtol=0, atol=2e-14)
    in_single = falling_cosine(COSINES.float(), multiplier, offset)
    torch.testing.assert_close(in_single.double(), found, rtol=0, atol=1e-5 * multiplier)


def test_published_values() -> None:
    ends = torch.tensor([1.0, -1.0], dtype=torch.float64)
    for m in range(1, 11):
        torch.testing.assert_close(falling_cosine(ends, m), ends.new_tensor([1.0, 1.0 - 2 * m]), rtol=0, atol=1e-13)
    assert falling_cosine(ends, 1.7)[1].item() == pytest.approx(-2.588, abs=5e-4)


def closed_form(c: Tensor, multiplier: int) -> tuple[Tensor, Tensor]:
    """Value and slope as the released layers compute them, from signs and powers."""
    s0 = c.sign()
    if multiplier == 1:
        return c, torch.ones_like(c)
    if multiplier == 2:
        return 2 * s0 * c**2 - 1, 4 * s0 * c
    if multiplier == 3:
        s1 = (c.abs() - 0.5).sign()
        return s1 * (4 * c**3 - 3 * c) + s0 * (1 + s1) - 2, s1 * (12 * c**2 - 3)
    s3 = s0 * (2 * c**2 - 1).sign()
    return s3 * (8 * c**4 - 8 * c**2 + 1) + 2 * s0 + s3 - 3, s3 * (32 * c**3 - 16 * c)


@pytest.mark.parametrize("multiplier", [1, 2, 3, 4])
def test_closed_forms_of_the_release(multiplier: int) -> None:
    # at the breakpoints a sign of 0 is not what is meant
    inside = COSINES[(COSINES.abs() != 0.5) & (COSINES != 0)]
    value, expected = closed_form(inside, multiplier)
    torch.testing.assert_close(falling_cosine(inside, multiplier), value, rtol=0, atol=3e-14)
    torch.testing.assert_close(slope(inside, multiplier), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("multiplier", [2.0, 3.0, 4.0, 10.0])
def test_limits_of_the_slope(multiplier: float) -> None:
    """m² at both ends for whole m, also where rounding has carried the cosine past them."""
    for dtype in (torch.float32, torch.float64):
        few = 3 * torch.finfo(dtype).eps
        ends = torch.tensor([1.0, -1.0, 1 + few, -1 - few, 1 - few, few - 1], dtype=dtype)
        torch.testing.assert_close(slope(ends, multiplier), torch.full_like(ends, multiplier**2), rtol=1e-6, atol=0)


@pytest.mark.parametrize(("multiplier", "offset"), [(1.5, 0.0), (1.0, 0.5), (4.0, 1.0), (1 / 1.5, 0.0)])
def test_slopes_are_bounded_where_they_have_no_limit(multiplier: float, offset: float) -> None:
    for dtype, largest in ((torch.float32, 2.0**9), (torch.float64, 2.0**23)):
        eps = torch.finfo(dtype).eps
        near = 1 - eps * 2.0 ** torch.arange(0, 20, dtype=dtype)
        found = slope(torch.cat([near, -near]), multiplier, offset)
        assert found.isfinite().all()
        assert (found.abs() <= 1.01 * multiplier * largest + multiplier**2).all()
        assert (found >= 0).all()


@given(
    multiplier=st.floats(1, 10),
    offset=st.floats(0, math.pi),
    angles=st.lists(st.floats(0, math.pi), min_size=2, max_size=20),
)
def test_falls_with_the_angle(multiplier: float, offset: float, angles: list[float]) -> None:
    cosine = torch.tensor(sorted(angles), dtype=torch.float64).cos()
    assert (falling_cosine(cosine, multiplier, offset).diff() <= 1e-12).all()
    if (multiplier, offset) != (1, 0):
        assert (slope(cosine, multiplier, offset) >= 0).all()
    in_single = falling_cosine(cosine.float(), multiplier, offset)
    assert (in_single.diff() <= 1e-5 * multiplier).all()


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")
@pytest.mark.parametrize("multiplier", [1.0, 1.7, 4.0])
def test_derivatives_of_angle_and_offset(multiplier: float) -> None:
    cosine = INNER.clone().requires_grad_()
    for offset in (torch.tensor(0.4, dtype=torch.float64), torch.linspace(0.1, 0.7, 7, dtype=torch.float64)):
        inputs = (cosine, offset.requires_grad_())
        check = lambda c, a: falling_cosine(c, multiplier, a)  # noqa: E731
        assert torch.autograd.gradcheck(check, inputs, check_forward_ad=True)
        assert torch.autograd.gradgradcheck(check, inputs)
    table = (INNER[:, None].clone().requires_grad_(), torch.full((1, 3), 0.3, dtype=torch.float64, requires_grad=True))
    assert torch.autograd.gradcheck(lambda c, a: falling_cosine(c, multiplier, a), table)
    if multiplier != 1:
        assert torch.autograd.gradcheck(lambda c: falling_cosine(c, multiplier), (cosine,), check_forward_ad=True)
        assert torch.autograd.gradgradcheck(lambda c: falling_cosine(c, multiplier), (cosine,))


def test_under_a_map_over_samples() -> None:
    each = torch.func.vmap(torch.func.grad(lambda c: falling_cosine(c, 3.5, 0.2)))(INNER)
    torch.testing.assert_close(each, slope(INNER, 3.5, 0.2))


def test_nothing_to_do_is_nothing_done() -> None:
    assert falling_cosine(INNER, 1) is INNER
    assert falling_cosine(INNER, 1.0, 0.0) is INNER


def test_outside_its_range_a_cosine_is_its_bound() -> None:
    wide = torch.tensor([1.5, -1.5], dtype=torch.float64)
    assert torch.equal(falling_cosine(wide, 3.0), falling_cosine(wide.clamp(-1, 1), 3.0))


def test_compiled_equals_eager() -> None:
    torch.compiler.reset()
    compiled = torch.compile(lambda c: falling_cosine(c, 3.5, 0.2), backend="aot_eager", fullgraph=True)
    cosine = INNER.clone().requires_grad_()
    torch.testing.assert_close(compiled(cosine), falling_cosine(cosine, 3.5, 0.2))
    torch.testing.assert_close(torch.autograd.grad(compiled(cosine).sum(), cosine)[0], slope(INNER, 3.5, 0.2))
