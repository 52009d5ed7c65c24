# SPDX-License-Identifier: MIT
"""What the examples of the page on operators say is so: the scaling lemmas, and the swap of magnitude and phase."""

from __future__ import annotations

import runpy
from typing import Any

import pytest
import torch
from torch import Tensor

from house import ROOT


@pytest.fixture(scope="module")
def layers() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "examples" / "10_condition_of_two_layers.py"))


@pytest.fixture(scope="module")
def fourier() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "examples" / "09_swap_magnitude_and_phase.py"))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_lemma_1_holds_inner_products_are_conditioned_worse_at_least_as_c_squared(layers: Any, seed: int) -> None:
    u, v = layers["weights"](seed)
    kernels, inputs, rank = layers["KERNELS"], layers["INPUTS"], layers["RANK"]
    assert kernels * v.square().sum() <= inputs * u.square().sum() * (1 + 1e-12)
    start = layers["condition"](layers["products"], u, v)
    for c in (2, 4, 8):
        found = layers["condition"](layers["products"], c * u, v / c)
        assert found >= c**2 * start
        # the Hessian at an optimum is J^T J, J = [I x V, U x I]: its nonzero eigenvalues are those of J J^T
        exact = torch.kron(torch.eye(kernels), (v / c) @ (v / c).T) + torch.kron(c * u @ (c * u).T, torch.eye(inputs))
        values = torch.linalg.eigvalsh(exact)[-(kernels + inputs - rank) * rank :]
        assert found == pytest.approx(float(values[-1] / values[0]), rel=1e-9)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_lemma_2_does_not_hold_for_cosines_of_kernels_of_any_length(layers: Any, seed: int) -> None:
    u, v = layers["weights"](seed)
    numbers = [layers["condition"](layers["cosines"], c * u, v / c) for c in (1, 2, 4, 8)]
    assert numbers == sorted(numbers)
    assert numbers[-1] > 64 * numbers[0]

    # with the divisors left as they were before scaling, as one may read it, neither
    lengths = [x.norm(dim=1, keepdim=True) for x in (u, v)]

    def divided(a: Tensor, b: Tensor) -> Tensor:
        return (a / lengths[0]) @ (b / lengths[1]).T

    # the eigenvalue zero has another multiplicity here: that of plain products
    layers["condition"].__globals__["products"] = divided
    frozen = [layers["condition"](divided, c * u, v / c) for c in (1, 8)]
    layers["condition"].__globals__["products"] = layers["products"]
    assert frozen[1] > 64 * frozen[0]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_on_a_product_of_spheres_cosines_are_conditioned_alike(layers: Any, seed: int) -> None:
    u, v = layers["weights"](seed)
    numbers = [layers["condition"](layers["cosines"], c * u, v / c, spheres=True) for c in (1, 2, 8, 1e3)]
    assert numbers == pytest.approx([numbers[0]] * 4, rel=1e-9)
    assert numbers[0] < layers["condition"](layers["cosines"], u, v)


def test_the_correlation_of_a_swap_has_a_closed_form(fourier: Any) -> None:
    one, other = torch.rand(2, 50, 8, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    swapped = fourier["swap"](one, other)
    sizes = [torch.fft.fft2(images).abs().flatten(1)[:, 1:] for images in (one, other)]
    exact = (sizes[0] * sizes[1]).sum(dim=1) / (sizes[0].norm(dim=1) * sizes[1].norm(dim=1))
    torch.testing.assert_close(fourier["correlation"](swapped, other), exact, rtol=0, atol=1e-12)
    # the same in the other direction, and the brightness of the one that gave the magnitude
    torch.testing.assert_close(fourier["correlation"](fourier["swap"](other, one), one), exact, rtol=0, atol=1e-12)
    torch.testing.assert_close(swapped.mean(dim=(1, 2)), one.mean(dim=(1, 2)))
    torch.testing.assert_close(fourier["swap"](one, one), one)
