# SPDX-License-Identifier: MIT
"""Magnitudes: their formulas, slopes against autograd, how they contain each other, and their ranges."""

from __future__ import annotations

import math

import pytest
import torch

from hypersphere.formulas.magnitudes import (
    MAGNITUDES,
    Ball,
    Linear,
    Log,
    Magnitude,
    Mix,
    Power,
    Segmented,
    Sphere,
    Tanh,
)

NORMS = torch.tensor([1e-3, 0.5, 1.3, 1.7, 2.0, 30.0], dtype=torch.float64)
FORMULAS = [
    (Sphere(1.3), lambda r: 1.3),
    (Ball(1.3, 1.7), lambda r: 1.3 * min(r, 1.7) / 1.7),
    (Tanh(1.3, 1.7), lambda r: 1.3 * math.tanh(r / 1.7)),
    (Linear(1.3), lambda r: 1.3 * r),
    (Segmented(1.3, 0.4, 1.7), lambda r: 1.3 * r if r <= 1.7 else 0.4 * r + 0.9 * 1.7),
    (Log(1.3), lambda r: 1.3 * math.log1p(r)),
    (Mix(1.3, 0.4), lambda r: 1.3 * r + 0.4 * math.log1p(r)),
    (Power(1.3, 0.7), lambda r: 1.3 * r**0.7),
]


@pytest.mark.parametrize(("magnitude", "formula"), FORMULAS, ids=lambda x: str(x) if isinstance(x, Magnitude) else "")
def test_equal_their_formulas(magnitude: Magnitude, formula: object) -> None:
    assert callable(formula)
    expected = torch.tensor([formula(r) for r in NORMS.tolist()], dtype=torch.float64)
    torch.testing.assert_close(magnitude.value(NORMS), expected, rtol=1e-13, atol=0)


@pytest.mark.parametrize("magnitude", [magnitude for magnitude, _ in FORMULAS], ids=str)
def test_slopes_are_those_of_autograd(magnitude: Magnitude) -> None:
    norm = NORMS.clone().requires_grad_()
    number = {"radius": 1.2, "exponent": 0.4}.get(magnitude.parameter or "")
    parameter = None if number is None else torch.tensor(number, dtype=torch.float64, requires_grad=True)
    value = magnitude.value(norm, parameter)
    found = magnitude.value_and_slopes(norm.detach(), None if parameter is None else parameter.detach())
    torch.testing.assert_close(found[0], value.detach(), rtol=1e-13, atol=0)
    if value.requires_grad:
        (slope,) = torch.autograd.grad(value.sum(), norm, retain_graph=True, materialize_grads=True)
        torch.testing.assert_close(found[1], slope, rtol=1e-12, atol=1e-15)
    else:
        assert not found[1].any()
    if parameter is not None:
        (of_parameter,) = torch.autograd.grad(value.sum(), parameter)
        assert found[2] is not None
        assert found[2].sum().item() == pytest.approx(of_parameter.item(), rel=1e-12)


def test_how_they_contain_each_other() -> None:
    torch.testing.assert_close(Segmented(1.3, 1.3, 0.9).value(NORMS), Linear(1.3).value(NORMS))
    torch.testing.assert_close(Segmented(1 / 1.7, 0.0, 1.7).value(NORMS), Ball(1.0, 1.7).value(NORMS))
    torch.testing.assert_close(Mix(1.3, 0.0).value(NORMS), Linear(1.3).value(NORMS))
    torch.testing.assert_close(Power(exponent=0.0).value(NORMS), Sphere().value(NORMS))
    torch.testing.assert_close(Power(exponent=1.0).value(NORMS), Linear().value(NORMS))
    small, large = NORMS * 1e-4, NORMS + 1e3
    torch.testing.assert_close(Ball(radius=2.0).value(small), Linear().value(small) / 2)
    torch.testing.assert_close(Tanh(radius=2.0).value(small), Linear().value(small) / 2, rtol=1e-5, atol=0)
    torch.testing.assert_close(Ball(radius=2.0).value(large), Sphere().value(large))
    torch.testing.assert_close(Tanh(radius=2.0).value(large), Sphere().value(large))


@pytest.mark.parametrize(("magnitude", "slope"), [(Ball(1.3, 2.0), 0.65), (Segmented(1.3, 0.5, 2.0), 1.3)], ids=str)
def test_at_the_radius_the_slope_is_that_of_the_inside(magnitude: Magnitude, slope: float) -> None:
    norm = torch.tensor([2.0], dtype=torch.float64, requires_grad=True)
    assert magnitude.value_and_slopes(norm.detach())[1].item() == pytest.approx(slope, rel=1e-15)
    assert torch.autograd.grad(magnitude.value(norm), norm)[0].item() == pytest.approx(slope, rel=1e-15)


@pytest.mark.parametrize("name", list(MAGNITUDES))
@pytest.mark.parametrize("norm", [0.0, 1e-20, 1e18])
def test_finite_at_every_length(name: str, norm: float) -> None:
    magnitude = MAGNITUDES[name]
    number = {"radius": torch.tensor(0.0), "exponent": torch.tensor(0.5)}.get(magnitude.parameter or "")
    for part in magnitude.value_and_slopes(torch.tensor([norm]), number)[:2]:
        assert bool(part.isfinite().all())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Sphere(0.0), r"Sphere: alpha must lie in \[1e-06, 1e\+06\], got 0"),
        (lambda: Ball(radius=0.0), r"Ball: radius must lie in \[0.0002, 1e\+18\], got 0"),
        (lambda: Tanh(momentum=2.0), r"Tanh: momentum must lie in \[0, 1\], got 2"),
        (lambda: Segmented(beta=-1.0), r"Segmented: beta must lie in \[0, 1e\+06\], got -1"),
        (lambda: Mix(beta=-1.0), r"Mix: beta must lie in \[0, 1e\+06\], got -1"),
        (lambda: Power(exponent=3.0), r"Power: exponent must lie in \[-1, 2\], got 3"),
        (lambda: Ball(relative="false"), r"Ball: relative must be True or False, got 'false'"),
        (lambda: Ball(learnable="no"), r"Ball: learnable must be True or False, got 'no'"),
        (lambda: Ball(radius=True), r"Ball: radius must be a number, got True"),
    ],
)
def test_numbers_out_of_range(make: object, message: str) -> None:
    assert callable(make)
    with pytest.raises((TypeError, ValueError), match=message):
        make()
