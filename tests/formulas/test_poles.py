# SPDX-License-Identifier: MIT
"""Objectives of one pole: their slopes, their limits, and what they refuse."""

from __future__ import annotations

import math

import pytest
import torch

from hypersphere.formulas.poles import POLE_OBJECTIVES, Covering, Polarization, PoleObjective

OBJECTIVES = [Polarization(0.0), Polarization(1.0), Polarization(2.5), Covering(0.01), Covering(0.5), Covering(30.0)]


@pytest.mark.parametrize("objective", OBJECTIVES, ids=str)
def test_the_slope_is_the_derivative(objective: PoleObjective) -> None:
    cosine = torch.rand(3, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 1.9 - 0.95
    cosine.requires_grad_()
    value = objective.value(cosine)
    assert value.shape == (3,)
    (derivative,) = torch.autograd.grad(value.sum(), cosine)
    before = cosine.detach().clone()
    torch.testing.assert_close(objective.slope(cosine.detach()), derivative, rtol=1e-10, atol=1e-13)
    assert torch.equal(before, cosine)
    # a pole that leaves a neuron raises the objective
    assert (derivative <= 0).all()


def test_covering_lies_above_the_smallest_square_by_the_logarithm_at_most() -> None:
    cosine = torch.rand(50, 9, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 2 - 1
    nearest = (2 - 2 * cosine).amin(dim=-1)
    for sharpness in (0.1, 10.0, 1e4):
        excess = Covering(sharpness).value(cosine) - nearest
        assert excess.min() >= -1e-12
        assert excess.max() <= math.log(9) / sharpness + 1e-12


@pytest.mark.parametrize("sharpness", [1e-4, 0.01, 0.2, 0.3, 10.0])
def test_covering_keeps_its_digits_at_any_sharpness(sharpness: float) -> None:
    cosine = torch.rand(4, 1000, generator=torch.Generator().manual_seed(2)) * 2 - 1
    square = (2 - 2 * cosine.double()).mul(-sharpness)
    expected = square.expm1().mean(dim=-1).log1p() / -sharpness
    torch.testing.assert_close(Covering(sharpness).value(cosine).double(), expected, rtol=3e-6, atol=0)


def test_a_pole_on_a_neuron_feels_nothing() -> None:
    assert Polarization(2.0).slope(torch.ones(1, 1)).item() == 0
    assert Polarization(2.0).value(torch.ones(1, 1)).item() == -(2.0**18)


def test_wide_powers_are_computed_in_float64() -> None:
    assert Polarization(5.0).working_dtype(torch.float32) == torch.float64
    assert Polarization(2.0).working_dtype(torch.bfloat16) == torch.float32
    assert Covering().working_dtype(torch.float64) == torch.float64


def test_defaults_are_those_of_the_released_code() -> None:
    assert {"polarization": Polarization(2.0), "covering": Covering(10.0)} == POLE_OBJECTIVES


def test_parameters_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match=r"Polarization: power must lie in \[0, 10000\], got -1"):
        Polarization(-1.0)
    with pytest.raises(ValueError, match=r"Covering: sharpness must lie in \[0\.0001, 10000\], got 0"):
        Covering(0.0)
