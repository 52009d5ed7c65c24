# SPDX-License-Identifier: MIT
"""Pair potentials: the two forms of a kernel agree, the force is the derivative, floors hold what they promise."""

from __future__ import annotations

import math

import pytest
import torch

from hypersphere.formulas.energies import DISTANCES, ENERGIES, EnergyKernel, PairPotential, Riesz, distance_floor

POWERS = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 7.3)
LOGISTIC = EnergyKernel(lambda z: torch.sigmoid(-z), lambda z: -torch.sigmoid(-z) * torch.sigmoid(z))


@pytest.mark.parametrize("power", POWERS)
def test_riesz_value_and_derivative(power: float) -> None:
    z = torch.linspace(0.1, 2.0, 20, dtype=torch.float64)
    value = -z.log() if power == 0 else z**-power
    derivative = -1 / z if power == 0 else -power * z ** (-power - 1)
    kernel = Riesz(power)
    assert torch.allclose(kernel.value(z), value, rtol=1e-13)
    assert torch.allclose(kernel.derivative(z), derivative, rtol=1e-13)


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("kernel", [*(Riesz(power) for power in POWERS), LOGISTIC])
def test_force_is_the_derivative_by_the_cosine(kernel: Riesz | EnergyKernel, distance: str) -> None:
    potential = PairPotential(kernel, distance)
    cosine = torch.linspace(-0.99, 0.99, 31, dtype=torch.float64, requires_grad=True)
    value = potential.value(cosine)
    (slope,) = torch.autograd.grad(value.sum(), cosine)
    again, force = potential.value_and_force(cosine.detach().clone())
    assert torch.allclose(value, again, rtol=1e-12)
    assert torch.allclose(slope, force, rtol=1e-10)
    assert (force >= 0).all()


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("power", [0.0, 2.0, 8.0, 50.0])
def test_floor_saturates_the_value_and_ends_the_force(power: float, dtype: torch.dtype, distance: str) -> None:
    potential = PairPotential(Riesz(power), distance)
    cosine = torch.tensor([1.0, 1.0 + 1e-6, -1.0, 0.0], dtype=dtype)
    value, force = potential.value_and_force(cosine.clone())
    floor = potential.floor(dtype)
    expected = -math.log(floor) if power == 0 else floor**-power
    assert value[0].item() == pytest.approx(expected, rel=1e-4)
    assert value[1] == value[0]
    assert force[:2].tolist() == [0.0, 0.0]
    assert torch.isfinite(value).all()
    assert torch.isfinite(force).all()
    leaf = cosine.requires_grad_()
    assert torch.allclose(potential.value(leaf), value)


def test_floor_rises_with_the_power_so_that_forces_fit() -> None:
    assert distance_floor(torch.float32) == 2.0**-9
    assert distance_floor(torch.float64, 2.0) == 2.0**-23
    for dtype, largest in ((torch.float32, 2.0**58), (torch.float64, 2.0**900)):
        for power in (0.0, 4.0, 10.0, 20.0, 300.0):
            floor = PairPotential(Riesz(power)).floor(dtype)
            assert power * floor ** -(power + 2) < largest * 1.001
    assert distance_floor(torch.float32, 100.0) == distance_floor(torch.float64, 100.0)


def test_table_of_names() -> None:
    assert {name: kernel.power for name, kernel in ENERGIES.items()} == {"log": 0.0, "coulomb": 1.0, "riesz-2": 2.0}


def test_wrong_options_are_explained() -> None:
    with pytest.raises(ValueError, match=r"Riesz: power must lie in \[0, 10000\], got inf"):
        Riesz(math.inf)
    with pytest.raises(
        ValueError, match=r"hyperspherical_energy: unknown distance 'geodesic': choose angular, euclidean"
    ):
        PairPotential(Riesz(1.0), "geodesic")
