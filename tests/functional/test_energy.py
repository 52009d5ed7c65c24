# SPDX-License-Identifier: MIT
"""Hyperspherical energy against independent numbers, the laws it obeys, and inputs that break careless code."""

from __future__ import annotations

import itertools
import math
from typing import Any

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import assume, given
from torch import Tensor

import hypersphere.kernels.energy as kernels
import oracles
from hypersphere.formulas.energies import EnergyKernel, distance_floor
from hypersphere.functional import hyperspherical_energy, pairwise_cosine, stacked_energy

IMPLEMENTATIONS = ("torch", "blocked")
POWERS = (0.0, 0.5, 1.0, 2.0, 3.0, 4.0)
SPACES = list(itertools.product(("euclidean", "angular"), (False, True)))
TOLERANCE = {torch.float64: 1e-11, torch.float32: 2e-5, torch.bfloat16: 2e-5}


def value_and_gradient(weight: Tensor, **options: Any) -> tuple[Tensor, Tensor]:
    leaf = weight.detach().clone().requires_grad_()
    energy = hyperspherical_energy(leaf, **options)
    energy.backward()
    return energy.detach(), leaf.grad


def directions(num_neurons: int, dim: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(num_neurons, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


# -- independent numbers ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("impl", IMPLEMENTATIONS)
@pytest.mark.parametrize("case", oracles.energy_cases())
def test_recorded_values_and_gradients(case: dict[str, Any], impl: str) -> None:
    options = {key: case[key] for key in ("power", "distance", "half_space", "eps", "angle_offset")}
    weight = torch.tensor(case["weight"], dtype=torch.float64)
    energy, gradient = value_and_gradient(weight, impl=impl, **options)
    recorded = torch.tensor(case["grad"], dtype=torch.float64)
    assert energy.item() == pytest.approx(case["energy"], rel=1e-12, abs=1e-13)
    # the recorded gradients are central differences: good to about 1e-9 of their size
    assert (gradient - recorded).norm() <= 1e-8 * recorded.norm()


@pytest.mark.parametrize("impl", IMPLEMENTATIONS)
@pytest.mark.parametrize(("distance", "half_space"), SPACES)
@pytest.mark.parametrize("power", POWERS)
def test_equals_the_loop_over_ordered_pairs(power: float, distance: str, half_space: bool, impl: str) -> None:
    weight = directions(7, 4, seed=3)
    for eps, offset in ((0.0, 0.0), (1e-4, 1e-4 if distance == "angular" else 0.0)):
        expected = oracles.energy(weight.tolist(), power, distance, half_space, eps, offset)
        energy = hyperspherical_energy(
            weight, power=power, distance=distance, half_space=half_space, eps=eps, angle_offset=offset, impl=impl
        )
        assert energy.item() == pytest.approx(expected, rel=1e-12, abs=1e-13)


@pytest.mark.parametrize("power", [0.0, 1.0, 2.0])
def test_released_code_formulas(power: float) -> None:
    """The released TensorFlow program: strict upper triangle, eps in the norms, log of the SQUARED distance."""
    weight = directions(9, 5, seed=1)
    unit = weight / (weight.square().sum(1, keepdim=True) + 1e-4).sqrt()
    square = (2 - 2 * unit @ unit.T)[torch.triu_indices(9, 9, 1).unbind()]
    released = {0.0: -square.log(), 1.0: square**-0.5, 2.0: square**-1.0}[power].sum() / (9 * 8 / 2)
    factor = 2.0 if power == 0 else 1.0
    assert torch.allclose(released, factor * hyperspherical_energy(weight, power=power, eps=1e-4), rtol=1e-12)


@pytest.mark.parametrize("power", [0.0, 1.0, 2.0])
def test_released_code_angular_formulas(power: float) -> None:
    weight = directions(9, 5, seed=2)
    unit = weight / (weight.square().sum(1, keepdim=True) + 1e-4).sqrt()
    ratio = (unit @ unit.T)[torch.triu_indices(9, 9, 1).unbind()].acos() / math.pi + 1e-4
    released = -ratio.log().mean() if power == 0 else (ratio**-power).mean()
    ours = hyperspherical_energy(weight, power=power, distance="angular", eps=1e-4, angle_offset=1e-4)
    expected = ours + math.log(math.pi) if power == 0 else ours * math.pi**power
    assert torch.allclose(released, expected, rtol=1e-12)


def test_sum_is_twice_the_sum_over_pairs() -> None:
    square = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]], dtype=torch.float64)
    physicists = 4 / math.sqrt(2) + 2 / 2
    assert hyperspherical_energy(square, power=1.0, reduction="sum").item() == pytest.approx(2 * physicists, rel=1e-14)
    lines = hyperspherical_energy(square[:2], power=1.0, half_space=True, reduction="sum")
    assert lines.item() == pytest.approx(2 * physicists, rel=1e-14)


@pytest.mark.parametrize("impl", IMPLEMENTATIONS)
def test_half_space_is_the_full_energy_of_both_ends(impl: str) -> None:
    weight = directions(6, 3)
    for power, distance in itertools.product((0.0, 1.0, 2.5), ("euclidean", "angular")):
        both = hyperspherical_energy(torch.cat([weight, -weight]), power=power, distance=distance)
        half = hyperspherical_energy(weight, power=power, distance=distance, half_space=True, impl=impl)
        assert torch.allclose(half, both, rtol=1e-12)


@pytest.mark.parametrize("impl", IMPLEMENTATIONS)
@pytest.mark.parametrize("distance", ["euclidean", "angular"])
def test_a_kernel_of_the_users_own(distance: str, impl: str) -> None:
    cubic = EnergyKernel(lambda z: z**-3, lambda z: -3 * z**-4)
    weight = directions(8, 3)
    given_power = value_and_gradient(weight, power=3.0, distance=distance, half_space=True, impl=impl)
    given_kernel = value_and_gradient(weight, kernel=cubic, distance=distance, half_space=True, impl=impl)
    assert torch.allclose(given_power[0], given_kernel[0], rtol=1e-12)
    assert torch.allclose(given_power[1], given_kernel[1], rtol=1e-9)


def test_stacked_is_one_by_one() -> None:
    stack = torch.stack([directions(5, 4, seed=seed) for seed in range(3)])
    for impl in IMPLEMENTATIONS:
        stacked = stacked_energy(stack, power=1.0, half_space=True, impl=impl)
        single = [hyperspherical_energy(matrix, power=1.0, half_space=True) for matrix in stack]
        assert torch.allclose(stacked, torch.stack(single), rtol=1e-12)


# -- laws -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("impl", IMPLEMENTATIONS)
@pytest.mark.parametrize(("distance", "half_space"), SPACES)
@pytest.mark.parametrize("power", POWERS)
def test_gradcheck(power: float, distance: str, half_space: bool, impl: str) -> None:
    weight = directions(5, 3, seed=4).requires_grad_()
    options = {"power": power, "distance": distance, "half_space": half_space, "impl": impl}
    assert torch.autograd.gradcheck(lambda w: hyperspherical_energy(w, **options), weight)
    assert torch.autograd.gradcheck(lambda w: hyperspherical_energy(w, eps=1e-2, **options), weight)
    if impl == "torch":
        assert torch.autograd.gradgradcheck(lambda w: hyperspherical_energy(w, **options), weight)


@pytest.mark.parametrize("impl", IMPLEMENTATIONS)
@given(
    seed=st.integers(0, 10_000),
    num_neurons=st.integers(2, 40),
    dim=st.integers(2, 12),
    power=st.sampled_from(POWERS),
    space=st.sampled_from(SPACES),
)
def test_invariances(impl: str, seed: int, num_neurons: int, dim: int, power: float, space: tuple[str, bool]) -> None:
    """Row scale, rotation and permutation change nothing; the gradient has no radial part and no torque."""
    distance, half_space = space
    options = {"power": power, "distance": distance, "half_space": half_space, "impl": impl}
    weight = directions(num_neurons, dim, seed)
    cosine = pairwise_cosine(weight).fill_diagonal_(0)
    # 2 - 2c keeps 16 digits minus twice those of the distance
    assume(cosine.max() < 1 - 1e-4 and (not half_space or cosine.min() > -1 + 1e-4))
    energy, gradient = value_and_gradient(weight, **options)
    generator = torch.Generator().manual_seed(seed)
    scale = torch.rand(num_neurons, 1, generator=generator, dtype=torch.float64) * 10 + 0.1
    rotation = torch.linalg.qr(torch.randn(dim, dim, generator=generator, dtype=torch.float64))[0]
    order = torch.randperm(num_neurons, generator=generator)
    close = {"rel": 1e-9, "abs": 1e-12}
    assert hyperspherical_energy(weight * scale, **options).item() == pytest.approx(energy.item(), **close)
    assert hyperspherical_energy(weight @ rotation, **options).item() == pytest.approx(energy.item(), **close)
    assert hyperspherical_energy(weight[order], **options).item() == pytest.approx(energy.item(), **close)
    size = gradient.abs().max() * weight.norm(dim=1).max() + 1e-12
    assert (gradient * weight).sum(1).abs().max() <= 1e-9 * size
    assert (gradient.T @ weight - weight.T @ gradient).abs().max() <= 1e-9 * num_neurons * size


def test_gradient_scales_as_one_over_the_norm() -> None:
    weight = directions(6, 4)
    _, once = value_and_gradient(weight, power=1.0)
    _, twice = value_and_gradient(2 * weight, power=1.0)
    assert torch.allclose(once, 2 * twice, rtol=1e-12)


# -- numerics contract ------------------------------------------------------------------------------------------------


def awkward(kind: str, num_neurons: int, dim: int, seed: int) -> Tensor:
    """Rows that break careless code, float32."""
    weight = directions(num_neurons, dim, seed, torch.float32)
    if kind == "duplicates":
        weight[1::2] = weight[: len(weight[1::2])] * 3
    elif kind == "antipodes":
        weight[1] = -weight[0]
    elif kind == "zero rows":
        weight[::2] = 0
    elif kind == "all equal":
        weight[:] = weight[0]
    elif kind == "tiny":
        weight *= 1e-20 / weight.norm(dim=1, keepdim=True)
    elif kind == "huge":
        weight *= 1e18 / weight.norm(dim=1, keepdim=True)
    elif kind == "mixed":
        weight[0] *= 1e-20
        weight[1] *= 1e18
    return weight


KINDS = ("plain", "duplicates", "antipodes", "zero rows", "all equal", "tiny", "huge", "mixed")


@pytest.mark.parametrize("impl", IMPLEMENTATIONS)
@pytest.mark.parametrize("kind", KINDS)
@given(
    seed=st.integers(0, 1000),
    num_neurons=st.integers(2, 60),
    dim=st.integers(1, 40),
    dtype=st.sampled_from([torch.float32, torch.float64, torch.bfloat16, torch.float16]),
    power=st.sampled_from((*POWERS, 10.0, 100.0)),
    space=st.sampled_from(SPACES),
    eps=st.sampled_from([0.0, 1e-4]),
)
def test_finite_value_and_gradient(
    impl: str,
    kind: str,
    seed: int,
    num_neurons: int,
    dim: int,
    dtype: torch.dtype,
    power: float,
    space: tuple[str, bool],
    eps: float,
) -> None:
    weight = awkward(kind, num_neurons, dim, seed)
    if dtype == torch.float16 and kind in ("tiny", "huge", "mixed"):
        dtype = torch.float32  # float16 cannot hold these norms
    energy, gradient = value_and_gradient(
        weight.to(dtype), power=power, distance=space[0], half_space=space[1], eps=eps, impl=impl
    )
    assert energy.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert gradient.dtype == dtype
    assert torch.isfinite(energy)
    assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("impl", IMPLEMENTATIONS)
@pytest.mark.parametrize("norm", [1e-20, 1e-10, 1.0, 1e10, 1e18])
def test_norm_does_not_matter_in_float32(norm: float, impl: str) -> None:
    weight = directions(50, 30, dtype=torch.float32)
    unit = weight / weight.norm(dim=1, keepdim=True)
    reference, slope = value_and_gradient(unit, power=2.0, impl="torch")
    energy, gradient = value_and_gradient(unit * norm, power=2.0, impl=impl)
    assert energy.item() == pytest.approx(reference.item(), rel=1e-6)
    assert torch.allclose(gradient * norm, slope, rtol=1e-3, atol=1e-4 * slope.abs().max().item())


@pytest.mark.parametrize("impl", IMPLEMENTATIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equal_rows_sit_at_the_floor_without_force(dtype: torch.dtype, impl: str) -> None:
    weight = torch.tensor([[1.0, 2.0, 2.0], [2.0, 4.0, 4.0]], dtype=dtype)
    for distance in ("euclidean", "angular"):
        energy, gradient = value_and_gradient(weight, power=1.0, distance=distance, impl=impl)
        assert energy.item() == pytest.approx(1 / distance_floor(dtype, 1.0), rel=1e-6)
        assert torch.equal(gradient, torch.zeros_like(weight))


@pytest.mark.parametrize("impl", IMPLEMENTATIONS)
def test_a_zero_row_is_orthogonal_to_all_and_feels_nothing(impl: str) -> None:
    weight = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    energy, gradient = value_and_gradient(weight, power=2.0, impl=impl)
    assert energy.item() == pytest.approx(0.5)
    assert torch.equal(gradient[0], torch.zeros(2))


def test_antipodes_in_angle_have_a_bounded_gradient() -> None:
    weight = torch.tensor([[1.0, 2.0, 3.0], [-1.0, -2.0, -3.0]])
    for impl in IMPLEMENTATIONS:
        _, gradient = value_and_gradient(weight, power=1.0, distance="angular", impl=impl)
        assert gradient.abs().max() < 1e-3


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("num_neurons", [2, 17, 1023, 1025, 5000])
def test_low_precision_agrees_with_float64(num_neurons: int, dtype: torch.dtype) -> None:
    weight = directions(num_neurons, 24, dtype=dtype)
    exact, slope = value_and_gradient(weight.double(), power=1.0)
    energy, gradient = value_and_gradient(weight, power=1.0)
    assert energy.item() == pytest.approx(exact.item(), rel=2e-6)
    error = (gradient.double() - slope).norm() / slope.norm()
    assert error < (1e-4 if dtype == torch.float32 else 1e-2)  # bfloat16 stores the gradient with 8 bits


def test_autocast_does_not_reach_the_products() -> None:
    weight = directions(64, 32, dtype=torch.float32)
    for impl in IMPLEMENTATIONS:
        plain, slope = value_and_gradient(weight, power=2.0, impl=impl)
        leaf = weight.clone().requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            cast = hyperspherical_energy(leaf, power=2.0, impl=impl)
        cast.backward()
        assert torch.equal(plain, cast)
        assert torch.equal(slope, leaf.grad)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            (inside,) = torch.autograd.grad(hyperspherical_energy(leaf, power=2.0, impl=impl), leaf)
        assert torch.equal(slope, inside)


@pytest.mark.parametrize("impl", IMPLEMENTATIONS)
def test_strided_input(impl: str) -> None:
    weight = directions(12, 40, dtype=torch.float32)
    energy, gradient = value_and_gradient(weight[::2, ::3], power=1.0, impl=impl)
    dense, slope = value_and_gradient(weight[::2, ::3].contiguous(), power=1.0, impl=impl)
    assert torch.equal(energy, dense)
    assert torch.equal(gradient, slope)


def test_no_gradient_is_computed_when_none_is_wanted() -> None:
    weight = directions(2000, 8, dtype=torch.float32).requires_grad_()
    with torch.no_grad():
        quiet = hyperspherical_energy(weight, power=1.0)
    assert not quiet.requires_grad
    assert quiet.item() == pytest.approx(hyperspherical_energy(weight, power=1.0).item(), rel=1e-6)


@pytest.mark.parametrize("impl", IMPLEMENTATIONS)
@pytest.mark.parametrize(("distance", "half_space"), SPACES)
def test_large_powers_keep_their_value_in_float32(distance: str, half_space: bool, impl: str) -> None:
    weight = directions(7, 3, dtype=torch.float32)
    for power in (10.0, 30.0):
        options = {"power": power, "distance": distance, "half_space": half_space, "impl": impl}
        exact, slope = value_and_gradient(weight.double(), **options)
        energy, gradient = value_and_gradient(weight, **options)
        assert energy.dtype == gradient.dtype == torch.float32
        assert energy.item() == pytest.approx(exact.item(), rel=1e-5)
        assert torch.allclose(gradient.double(), slope, rtol=1e-4, atol=1e-6 * slope.abs().max().item())


def test_implementations_agree_at_the_floor() -> None:
    weight = torch.tensor([[1.0, 0.0], [0.9999980926513672, 0.0019378112629055977]])
    gradients = [value_and_gradient(weight, power=2.0, impl=impl)[1] for impl in IMPLEMENTATIONS]
    assert torch.equal(gradients[0], gradients[1])


@pytest.mark.parametrize("impl", IMPLEMENTATIONS)
def test_tiny_epsilon_beside_tiny_rows(impl: str) -> None:
    for weight, eps in ((torch.zeros(3, 4), 1e-60), (directions(3, 4, dtype=torch.float32) * 1e-30, 1e-50)):
        energy, gradient = value_and_gradient(weight, eps=eps, impl=impl)
        assert torch.isfinite(energy)
        assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("impl", IMPLEMENTATIONS)
def test_gaussian_kernel_in_half_space(impl: str) -> None:
    gaussian = EnergyKernel(lambda z: torch.exp(-z.square()), lambda z: -2 * z * torch.exp(-z.square()))
    weight = directions(6, 3).requires_grad_()
    for distance in ("euclidean", "angular"):
        options = {"kernel": gaussian, "distance": distance, "half_space": True, "impl": impl}
        assert torch.autograd.gradcheck(lambda w, options=options: hyperspherical_energy(w, **options), weight)


def test_a_wrong_derivative_is_not_hidden() -> None:
    broken = EnergyKernel(lambda z: 1 / z, lambda z: z * math.nan)
    _, gradient = value_and_gradient(directions(4, 3), kernel=broken, impl="blocked")
    assert torch.isnan(gradient).all()


def test_a_power_attribute_of_the_users_kernel_means_nothing() -> None:
    class Harmonic:
        power = -2.0

        @property
        def value(self) -> Any:
            return lambda z: -z.square()

        @property
        def derivative(self) -> Any:
            return lambda z: -2 * z

    weight = directions(4, 3)
    results = [value_and_gradient(weight, kernel=Harmonic(), impl=impl) for impl in IMPLEMENTATIONS]
    assert torch.allclose(results[0][1], results[1][1], rtol=1e-10)


@pytest.mark.parametrize("distance", ["euclidean", "angular"])
def test_functional_transforms_take_the_plain_form(distance: str) -> None:
    def energy(weight: Tensor) -> Tensor:
        return hyperspherical_energy(weight, power=1.0, distance=distance)

    large = directions(1030, 4, dtype=torch.float32)
    _, gradient = value_and_gradient(large, power=1.0, distance=distance)
    assert torch.allclose(torch.func.grad(energy)(large), gradient, rtol=1e-2, atol=1e-6)
    stack = torch.stack([directions(5, 3, seed=seed) for seed in range(3)])
    each = torch.stack([torch.func.grad(energy)(matrix) for matrix in stack])
    assert torch.allclose(torch.func.vmap(torch.func.grad(energy))(stack), each)
    with pytest.raises(ValueError, match=r"torch.func and forward-mode derivatives are for the plain form"):
        torch.func.grad(lambda w: hyperspherical_energy(w, impl="blocked"))(large)


def test_auto_is_blocked_for_many_neurons_and_plain_for_few(monkeypatch: pytest.MonkeyPatch) -> None:
    used = []
    blocked = kernels.energy_and_gradient

    def spy(*args: Any, **options: Any) -> tuple[Tensor, Tensor]:
        used.append(options["need_gradient"])
        return blocked(*args, **options)

    monkeypatch.setattr(kernels, "energy_and_gradient", spy)
    value_and_gradient(directions(1024, 3, dtype=torch.float32))
    assert used == []
    value_and_gradient(directions(1025, 3, dtype=torch.float32))
    assert used == [True]
    hyperspherical_energy(directions(1025, 3, dtype=torch.float32))
    assert used == [True, False]


def test_meta_tensors_have_a_shape_and_no_value() -> None:
    weight = torch.empty(5, 3, device="meta")
    for impl in IMPLEMENTATIONS:
        assert hyperspherical_energy(weight, impl=impl).shape == ()
    assert pairwise_cosine(weight).shape == (5, 5)


def test_an_empty_stack_has_no_energies() -> None:
    for impl in IMPLEMENTATIONS:
        assert stacked_energy(torch.ones(0, 4, 3), impl=impl).shape == (0,)


# -- wrong input ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weight", "options", "message"),
    [
        (torch.ones(1, 3), {}, r"hyperspherical_energy: expected at least 2 neuron\(s\).*got K=1, D=3"),
        (torch.ones(0, 3), {"half_space": True}, r"expected at least 1 neuron\(s\).*got K=0"),
        (torch.ones(3, 0), {}, r"got K=3, D=0"),
        (torch.ones(3), {}, r"hyperspherical_energy: expected weight \(K, D\), got shape \(3,\)"),
        (torch.ones(2, 2), {"power": -1.0}, r"Riesz: power must lie in \[0, 10000\], got -1"),
        (torch.ones(2, 2), {"power": math.nan}, r"Riesz: power must lie in .* got nan"),
        (torch.ones(2, 2), {"eps": -1e-4}, r"hyperspherical_energy: eps must lie in \[0, 1e\+30\], got -0.0001"),
        (torch.ones(2, 2), {"distance": "angle"}, r"unknown distance 'angle': choose angular, euclidean"),
        (torch.ones(2, 2), {"distance": "euclidian"}, r"did you mean 'euclidean'\?"),
        (torch.ones(2, 2), {"reduction": "none"}, r"unknown reduction 'none': choose mean, sum"),
        (torch.ones(2, 2), {"impl": "triton"}, r"unknown impl 'triton': choose auto, blocked, torch"),
        (
            torch.ones(2, 2),
            {"angle_offset": 0.1},
            r"angle_offset is added to the angle, so it needs distance='angular'",
        ),
        (torch.ones(2, 2), {"angle_offset": 2.0, "distance": "angular"}, r"angle_offset must lie in \[0, 1\]"),
        (
            torch.ones(2, 2),
            {"power": 1.0, "kernel": EnergyKernel(torch.exp, torch.exp)},
            r"give power or kernel, not both; got power=1 and a EnergyKernel",
        ),
    ],
)
def test_wrong_input_is_explained(weight: Tensor, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        hyperspherical_energy(weight, **options)


def test_integers_are_refused() -> None:
    # the run-time annotation checker would speak first; the door's own sentence is what users read
    with pytest.raises(TypeError, match=r"expected weight of a floating-point dtype, got torch.int64. Call .float\(\)"):
        hyperspherical_energy.__wrapped__(torch.ones(2, 2, dtype=torch.int64))


def test_second_derivative_of_the_blocked_form_is_refused() -> None:
    cubic = EnergyKernel(lambda z: z**-3, lambda z: -3 * z**-4)
    for options in ({"power": 1.0}, {"kernel": cubic}):
        weight = directions(4, 3).requires_grad_()
        energy = hyperspherical_energy(weight, impl="blocked", **options)
        (gradient,) = torch.autograd.grad(energy, weight, create_graph=True)
        with pytest.raises(RuntimeError, match=r"has no second derivative. Use impl='torch' to differentiate twice"):
            gradient.sum().backward()


def test_blocked_names_why_it_cannot_run() -> None:
    class Wrapped(Tensor):
        pass

    weight = directions(3, 2).as_subclass(Wrapped)
    with pytest.raises(ValueError, match=r"impl='blocked' cannot run here: weight is a Wrapped .* Use impl='auto'"):
        hyperspherical_energy(weight, impl="blocked")
    assert torch.isfinite(hyperspherical_energy(weight))


@pytest.mark.parametrize("half_space", [False, True])
def test_an_energy_beyond_the_range_still_has_the_gradient_of_all_other_pairs(half_space: bool) -> None:
    weight = directions(6, 3, dtype=torch.float32)
    weight[1] = weight[0]
    options = {"power": 6.0, "half_space": half_space}
    energies, slopes = zip(*(value_and_gradient(weight, impl=impl, **options) for impl in IMPLEMENTATIONS), strict=True)
    assert all(energy == torch.finfo(torch.float32).max for energy in energies)
    exact, expected = value_and_gradient(weight.double(), **options)
    assert exact > torch.finfo(torch.float32).max
    for slope in slopes:
        assert slope.norm() > 0.1
        torch.testing.assert_close(slope.double(), expected, rtol=1e-5, atol=1e-6)
