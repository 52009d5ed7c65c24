# SPDX-License-Identifier: MIT
"""The blocked energy against plain torch: every block boundary, every option, compiled as well as eager."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from hypersphere.formulas.energies import EnergyKernel, PairPotential, Riesz
from hypersphere.functional import hyperspherical_energy, pairwise_angle, pairwise_cosine, stacked_energy
from hypersphere.kernels.energy import block_rows, energy_and_gradient, reasons_not

OPTIONS = list(itertools.product((0.0, 1.0, 2.0, 2.5), ("euclidean", "angular"), (False, True)))


def both(weight: Tensor, **options: object) -> list[tuple[Tensor, Tensor]]:
    results = []
    for impl in ("torch", "blocked"):
        leaf = weight.clone().requires_grad_()
        energy = hyperspherical_energy(leaf, impl=impl, **options)
        (3 * energy).backward()
        results.append((energy.detach(), leaf.grad))
    return results


# one block, a block and one row, three blocks with a short last one
@pytest.mark.parametrize("num_neurons", [2, 17, 255, 256, 257, 600])
@pytest.mark.parametrize(("power", "distance", "half_space"), OPTIONS)
def test_parity_with_plain_torch(num_neurons: int, power: float, distance: str, half_space: bool) -> None:
    weight = torch.randn(num_neurons, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(num_neurons))
    for eps in (0.0, 1e-2):
        plain, blocked = both(weight, power=power, distance=distance, half_space=half_space, eps=eps)
        # the nearest of many random pairs are a hundredth apart, where a distance keeps twelve digits
        assert torch.allclose(plain[0], blocked[0], rtol=1e-11)
        assert torch.allclose(plain[1], blocked[1], rtol=1e-7, atol=1e-10 * plain[1].abs().max().item())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_parity_in_low_precision(dtype: torch.dtype) -> None:
    weight = torch.randn(1023, 40, generator=torch.Generator().manual_seed(0)).to(dtype)
    plain, blocked = both(weight, power=1.0, half_space=True)
    assert torch.allclose(plain[0], blocked[0], rtol=1e-6)
    assert plain[1].dtype == blocked[1].dtype == dtype
    error = (plain[1].float() - blocked[1].float()).norm() / plain[1].float().norm()
    assert error < {torch.float32: 1e-4, torch.bfloat16: 1e-2, torch.float16: 1e-2}[dtype]


def test_blocks_cover_the_matrix_for_every_count() -> None:
    cpu = torch.device("cpu")
    assert [block_rows(k, cpu) for k in (2, 2048, 4096, 8192, 100_000)] == [256, 256, 512, 1024, 1024]
    assert block_rows(100, torch.device("cuda")) == 4096


@pytest.mark.parametrize("power", [0.0, 1.0, 2.0])
# several at a time with some left over, one at a time in one block, in two blocks
@pytest.mark.parametrize("shape", [(3, 40, 60), (19, 128, 150), (2, 256, 300), (2, 300, 90)])
@pytest.mark.parametrize("eps", [0.0, 1e-2])
@pytest.mark.parametrize("half_space", [False, True])
def test_a_stack_agrees_with_the_plain_form(
    power: float, shape: tuple[int, int, int], eps: float, half_space: bool
) -> None:
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)
    options = {"power": power, "half_space": half_space, "eps": eps}
    expected, found = (stacked_energy(weight, impl=impl, **options) for impl in ("torch", "blocked"))
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
    factors = torch.arange(1.0, 1 + len(weight), dtype=torch.float64)
    gradients = [torch.autograd.grad((factors * value).sum(), weight)[0] for value in (found, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("power", [0.0, 2.0])
def test_the_short_form_of_lines_gives_way_to_near_pairs(power: float) -> None:
    potential = PairPotential(Riesz(power))
    cosine = torch.tensor([0.3, -0.9, 0.0, 0.99])
    value, force = potential.line_value_and_force(cosine.clone())
    both = [potential.value_and_force(sign * cosine) for sign in (1, -1)]
    torch.testing.assert_close(value, both[0][0] + both[1][0], rtol=2e-6, atol=1e-6)
    torch.testing.assert_close(force, both[0][1] - both[1][1], rtol=2e-5, atol=1e-6)
    for near in (0.997, -0.997, 1.0, -1.0, math.nan):
        assert potential.line_value_and_force(torch.tensor([0.3, near])) is None
    assert PairPotential(Riesz(1.0)).line_value_and_force(cosine) is None
    assert PairPotential(Riesz(0.0), "angular").line_value_and_force(cosine) is None


def test_value_alone_allocates_no_gradient() -> None:
    weight = torch.randn(300, 4, generator=torch.Generator().manual_seed(0))
    potential = PairPotential(Riesz(1.0))
    value, gradient = energy_and_gradient(weight[None], potential, half_space=False, eps=0.0, need_gradient=False)
    assert gradient.numel() == 0
    assert value.dtype == torch.float64
    expected = hyperspherical_energy(weight.double(), power=1.0, impl="torch")
    assert value.item() == pytest.approx(expected.item(), rel=1e-6)


def test_many_pairs_lose_nothing_visible() -> None:
    """Half of the rows are one direction, half the opposite: the mean is known, the pairs are 10^9."""
    weight = torch.tensor([[1.0, 1.0, 1.0]]).repeat(30_000, 1)
    weight[::2] *= -1
    near = 2.0**-9
    pairs_apart = 15_000 * 15_000 * 2 / (30_000 * 29_999)
    expected = pairs_apart / 2 + (1 - pairs_apart) / near
    with torch.no_grad():
        energy = hyperspherical_energy(weight, power=1.0, impl="blocked")
    assert energy.item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("dynamic", [pytest.param(False, marks=pytest.mark.slow), True])
@pytest.mark.parametrize("impl", ["torch", "blocked"])
@pytest.mark.parametrize(("power", "distance", "half_space"), [(0.0, "euclidean", True), (2.0, "angular", True)])
def test_compiled_equals_eager(power: float, distance: str, half_space: bool, impl: str, dynamic: bool) -> None:
    def energy(weight: Tensor) -> Tensor:
        return hyperspherical_energy(weight, power=power, distance=distance, half_space=half_space, impl=impl)

    compiled = torch.compile(energy, fullgraph=True, backend="aot_eager", dynamic=dynamic)
    eager_leaf = torch.randn(40, 6, generator=torch.Generator().manual_seed(0)).requires_grad_()
    leaf = eager_leaf.detach().clone().requires_grad_()
    expected, found = energy(eager_leaf), compiled(leaf)
    expected.backward()
    found.backward()
    assert torch.allclose(expected, found, rtol=1e-6)
    assert torch.allclose(eager_leaf.grad, leaf.grad, rtol=1e-4, atol=1e-7)
    torch.compiler.reset()


def test_kernel_objects_are_blocked_in_eager_only() -> None:
    kernel = EnergyKernel(lambda z: 1 / z, lambda z: -1 / z**2)
    weight = torch.randn(5, 3)
    assert reasons_not(weight, kernel) == []
    compiled = torch.compile(lambda w: hyperspherical_energy(w, kernel=kernel), fullgraph=True, backend="aot_eager")
    assert torch.allclose(compiled(weight), hyperspherical_energy(weight, power=1.0), rtol=1e-6)
    torch.compiler.reset()


def test_kernel_objects_are_refused_in_words_when_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = EnergyKernel(lambda z: 1 / z, lambda z: -1 / z**2)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    with pytest.raises(
        ValueError, match=r"impl='blocked' cannot run here: a kernel object of your own cannot be compiled"
    ):
        hyperspherical_energy(torch.randn(5, 3), kernel=kernel, impl="blocked")


def test_geometry_compiles() -> None:
    a, b = torch.randn(4, 3), torch.randn(5, 3)
    for function in (pairwise_angle, pairwise_cosine):
        compiled = torch.compile(lambda x, y, f=function: f(x, y), fullgraph=True, backend="aot_eager")
        assert torch.allclose(compiled(a, b), function(a, b), atol=1e-6)
    torch.compiler.reset()


def test_operator_is_well_formed() -> None:
    weight = torch.randn(2, 6, 3, dtype=torch.float64, requires_grad=True)
    arguments = (weight, 1.0, "euclidean", True, 0.0, 0.0, True)
    # aot autograd would differentiate the saved gradient too, which is refused in words
    checks = ("test_schema", "test_autograd_registration", "test_faketensor")
    torch.library.opcheck(torch.ops.hypersphere.blocked_energy.default, arguments, test_utils=checks)
