# SPDX-License-Identifier: MIT
"""Energies of projected neurons: the exact expectation over projections, loops, learned projections, limits."""

from __future__ import annotations

import functools
import math

import pytest
import torch
from torch import Tensor

import oracles
from hypersphere.functional import (
    adversarial_projection,
    angle_preserving_projection,
    expected_energy,
    grouped_energy,
    hyperspherical_energy,
    projected_energy,
    projection_distortion,
)

LOW = [torch.float16, torch.bfloat16, torch.float32]


def matrices(*shapes: tuple[int, ...], seed: int = 0, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype) for shape in shapes]


# ------------------------------------------------------------------------------------------------------------- formulas


@pytest.mark.parametrize(("power", "distance"), [(0.0, "euclidean"), (2.0, "euclidean"), (1.0, "angular")])
@pytest.mark.parametrize("half_space", [False, True])
def test_the_mean_over_projections_by_loops(power: float, distance: str, half_space: bool) -> None:
    weight, projection = matrices((5, 9), (3, 4, 9))
    found = projected_energy(weight, projection, power=power, distance=distance, half_space=half_space)
    alone = [oracles.energy((weight @ one.T).tolist(), power, distance, half_space) for one in projection]
    assert found.item() == pytest.approx(sum(alone) / 3, rel=1e-12)


def test_groups_of_neurons_share_the_projection() -> None:
    weight, projection = matrices((2, 5, 9), (4, 9))
    alone = [projected_energy(group, projection, half_space=True) for group in weight]
    torch.testing.assert_close(projected_energy(weight, projection, half_space=True), sum(alone) / 2)


def test_the_identity_changes_nothing() -> None:
    (weight,) = matrices((6, 7))
    expected = hyperspherical_energy(weight, power=2.0, eps=1e-4)
    torch.testing.assert_close(projected_energy(weight, torch.eye(7, dtype=torch.float64), eps=1e-4), expected)
    assert projection_distortion(weight, 3 * torch.eye(7, dtype=torch.float64)).item() == pytest.approx(0, abs=1e-12)


# published dimensions (30 and 40 with power 2) and one of each other power
@pytest.mark.parametrize(
    ("dim", "power", "exact"), [(30, 2.0, 14 / 27), (40, 2.0, 38 / 74), (12, 0.0, None), (9, 1.0, None)]
)
def test_orthonormal_neurons_have_the_energy_of_random_directions(dim: int, power: float, exact: float | None) -> None:
    expected = expected_energy(dim, power=power)
    if exact is not None:
        assert expected == pytest.approx(exact, rel=1e-12)
    frame, _ = torch.linalg.qr(matrices((64, 64))[0])
    (projection,) = matrices((400, dim, 64), seed=1)
    energies = torch.stack([projected_energy(frame[:32], one, power=power) for one in projection])
    error = energies.std() / len(energies) ** 0.5
    assert energies.mean().item() == pytest.approx(expected, abs=4 * error.item())
    # the test can tell a departure of a thousandth
    assert error.item() < 1e-3 * abs(expected) + 2e-4


def test_group_energy_by_loops() -> None:
    (weight,) = matrices((4, 6))
    coordinates = torch.tensor([[0, 3], [5, 1], [2, 4]])
    alone = [oracles.energy(weight[:, group].tolist(), 2.0, "euclidean", True) for group in coordinates.tolist()]
    assert grouped_energy(weight, coordinates, half_space=True).item() == pytest.approx(sum(alone) / 3, rel=1e-12)
    twice = grouped_energy(weight.expand(2, 4, 6), coordinates, half_space=True)
    assert twice.item() == pytest.approx(sum(alone) / 3, rel=1e-12)


def test_a_selection_is_a_projection() -> None:
    (weight,) = matrices((4, 6))
    coordinates = torch.tensor([[0, 3, 4], [5, 1, 2]])
    selectors = torch.eye(6, dtype=torch.float64)[coordinates]
    torch.testing.assert_close(grouped_energy(weight, coordinates), projected_energy(weight, selectors))


@pytest.mark.parametrize("objective", ["cosine", "angle"])
def test_distortion_by_loops(objective: str) -> None:
    weight, projection = matrices((4, 6), (3, 6))

    def measure(rows: list[list[float]], i: int, j: int) -> float:
        inner = sum(a * b for a, b in zip(rows[i], rows[j], strict=True))
        cosine = inner / math.hypot(*rows[i]) / math.hypot(*rows[j])
        return math.acos(cosine) if objective == "angle" else cosine

    before, after = weight.tolist(), (weight @ projection.T).tolist()
    total = sum((measure(before, i, j) - measure(after, i, j)) ** 2 for i in range(4) for j in range(4) if i != j)
    norm = projection_distortion(weight, projection, objective=objective, reduction="norm")
    mean = projection_distortion(weight, projection, objective=objective)
    assert norm.item() == pytest.approx(total**0.5, rel=1e-12)
    assert mean.item() == pytest.approx((total / 12) ** 0.5, rel=1e-12)


# -------------------------------------------------------------------------------------------------- learned projections


@pytest.mark.parametrize("objective", ["cosine", "angle"])
@pytest.mark.parametrize(("rate", "normalized"), [(0.3, False), (0.01, True)])
def test_the_distortion_falls(objective: str, rate: float, normalized: bool) -> None:
    weight, start = matrices((24, 60), (12, 60), dtype=torch.float32)
    distortions = [projection_distortion(weight, start, objective=objective).item()]
    projection = start
    for _ in range(5):
        projection = angle_preserving_projection(
            weight, projection, num_steps=20, rate=rate, normalized=normalized, objective=objective
        )
        distortions.append(projection_distortion(weight, projection, objective=objective).item())
    assert distortions == sorted(distortions, reverse=True)
    assert distortions[-1] < 0.5 * distortions[0]


@pytest.mark.parametrize("half_space", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_an_adversarial_projection_is_worse_than_the_random_one_it_starts_from(half_space: bool, seed: int) -> None:
    weight, start = matrices((24, 60), (12, 60), seed=seed)
    options = {"power": 2.0, "half_space": half_space}
    random = projected_energy(weight, start, **options).item()
    plain = adversarial_projection(weight, start, rate=0.1, **options)
    strong = adversarial_projection(weight, start, rate=0.02, normalized=True, **options)
    assert projected_energy(weight, plain, **options).item() > random
    assert projected_energy(weight, strong, **options).item() > 1.02 * random


def test_an_adversary_without_a_bound_has_no_maximum() -> None:
    weight, start = matrices((24, 60), (12, 60))
    worst = adversarial_projection(weight, start, num_steps=300, rate=0.01, normalized=True)
    assert projected_energy(weight, worst).item() > 10 * projected_energy(weight, start).item()


def test_steps_follow_the_gradient() -> None:
    weight, start = matrices((5, 8), (3, 8))
    leaf = start.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(projected_energy(weight, leaf, power=1.0), leaf)
    plain = adversarial_projection(weight, start, num_steps=1, rate=0.7, power=1.0)
    torch.testing.assert_close(plain, start + 0.7 * gradient)
    normalized = adversarial_projection(weight, start, num_steps=1, rate=0.7, power=1.0, normalized=True)
    torch.testing.assert_close(normalized, start + 0.7 * start.norm() * gradient / gradient.norm())
    assert torch.equal(adversarial_projection(weight, start, num_steps=0), start)


def test_an_unrolled_step_has_the_second_order_gradient() -> None:
    weight, start = matrices((4, 6), (3, 6))
    weight.requires_grad_()

    def adversarial(rows: Tensor) -> Tensor:
        learned = adversarial_projection(rows, start, num_steps=2, rate=0.5, power=1.0, unrolled=True)
        return projected_energy(rows, learned, power=1.0, half_space=True)

    def preserving(rows: Tensor) -> Tensor:
        learned = angle_preserving_projection(rows, start, num_steps=2, rate=0.1, normalized=True, unrolled=True)
        return projected_energy(rows, learned, power=2.0)

    def by_angle(rows: Tensor) -> Tensor:
        learned = angle_preserving_projection(rows, start, num_steps=1, rate=0.1, objective="angle", unrolled=True)
        return projected_energy(rows, learned, power=2.0)

    for function in (adversarial, preserving, by_angle):
        assert torch.autograd.gradcheck(function, weight)
    assert not adversarial_projection(weight, start).requires_grad
    detached = adversarial_projection(weight, start, num_steps=2, rate=0.5, power=1.0)
    alternating = torch.autograd.grad(projected_energy(weight, detached, power=1.0, half_space=True), weight)[0]
    assert (alternating - torch.autograd.grad(adversarial(weight), weight)[0]).abs().max() > 1e-6


# ------------------------------------------------------------------------------------------------------------- numerics


def test_the_gradient_is_the_true_one() -> None:
    weight, projection = matrices((4, 6), (2, 3, 6))
    weight.requires_grad_()
    by_hand = functools.partial(projected_energy, eps=1e-4, impl="blocked")
    by_angle = functools.partial(projection_distortion, objective="angle")
    for function in (projected_energy, by_hand):
        assert torch.autograd.gradcheck(functools.partial(function, projection=projection), weight)
    for function in (projection_distortion, by_angle):
        assert torch.autograd.gradcheck(functools.partial(function, projection=projection[0]), weight)
    coordinates = torch.tensor([[0, 2], [3, 5]])
    assert torch.autograd.gradcheck(functools.partial(grouped_energy, coordinates=coordinates), weight)


@pytest.mark.parametrize("dtype", LOW)
def test_finite_for_zero_rows_duplicates_and_antipodes(dtype: torch.dtype) -> None:
    weight, projection = matrices((6, 8), (2, 3, 8), dtype=torch.float32)
    weight[0], weight[1], weight[3] = 0.0, weight[2], -weight[2]
    weight = weight.to(dtype).requires_grad_()
    one = projection[0]
    learned = [
        adversarial_projection(weight, one, rate=0.05, normalized=True, unrolled=True, num_steps=2),
        angle_preserving_projection(weight, one, unrolled=True, objective="angle"),
    ]
    values = [projected_energy(weight, p, half_space=True) for p in (projection, *learned)]
    values += [projection_distortion(weight, one, objective="angle"), grouped_energy(weight, torch.tensor([[0, 1]]))]
    for value in values:
        assert value.dtype == torch.float32
        assert value.isfinite()
        (gradient,) = torch.autograd.grad(value, weight, retain_graph=True)
        assert gradient.dtype == dtype
        assert gradient.isfinite().all()


@pytest.mark.parametrize("norm", [1e-20, 1e18])
def test_norms_do_not_matter(norm: float) -> None:
    weight, projection = matrices((6, 8), (3, 8), dtype=torch.float32)
    small = (norm * weight).requires_grad_()
    for function in (projected_energy, projection_distortion):
        value = function(small, projection)
        torch.testing.assert_close(value, function(weight, projection), rtol=1e-5, atol=0)
        (gradient,) = torch.autograd.grad(value, small)
        assert gradient.isfinite().all()


def test_bfloat16_products_are_near() -> None:
    weight, projection = matrices((32, 200), (10, 20, 200), dtype=torch.float32)
    exact = projected_energy(weight, projection)
    rounded = projected_energy(weight, projection.bfloat16())
    assert rounded.dtype == torch.float32
    torch.testing.assert_close(rounded, exact, rtol=1e-3, atol=0)


def test_autocast_changes_nothing() -> None:
    weight, projection = matrices((12, 40), (8, 40), dtype=torch.float32)
    weight.requires_grad_()

    def adversarial(rows: Tensor) -> Tensor:
        learned = adversarial_projection(rows, projection, num_steps=3, rate=0.02, normalized=True, unrolled=True)
        return projected_energy(rows, learned, half_space=True)

    def preserving(rows: Tensor) -> Tensor:
        return projected_energy(rows, angle_preserving_projection(rows, projection, unrolled=True))

    for function in (adversarial, preserving, functools.partial(projection_distortion, projection=projection)):
        value = function(weight)
        (gradient,) = torch.autograd.grad(value, weight)
        with torch.autocast("cpu", torch.bfloat16):
            under = function(weight)
            (slope,) = torch.autograd.grad(under, weight)
        torch.testing.assert_close(under, value, rtol=1e-6, atol=0)
        torch.testing.assert_close(slope, gradient, rtol=1e-5, atol=1e-7)


def test_equal_angles_have_gradient_zero() -> None:
    weight = torch.eye(3, requires_grad=True)
    value = projection_distortion(weight, torch.eye(3))
    assert value.item() == 0
    assert torch.equal(torch.autograd.grad(value, weight)[0], torch.zeros(3, 3))
    still = angle_preserving_projection(weight, torch.eye(3), num_steps=3, normalized=True)
    assert torch.equal(still, torch.eye(3))


def test_compiled_equals_eager() -> None:
    weight, projection = matrices((5, 8), (2, 3, 8), dtype=torch.float32)
    weight.requires_grad_()
    functions = [
        lambda rows: projected_energy(rows, projection, half_space=True),
        lambda rows: grouped_energy(rows, torch.tensor([[0, 1], [2, 3]])),
        lambda rows: projection_distortion(rows, projection[0], objective="angle"),
        lambda rows: projected_energy(rows, adversarial_projection(rows, projection[0], num_steps=2, unrolled=True)),
        lambda rows: projected_energy(rows, angle_preserving_projection(rows, projection[0])),
    ]
    for function in functions:
        eager = function(weight)
        compiled = torch.compile(function, fullgraph=True, backend="aot_eager")(weight)
        torch.testing.assert_close(compiled, eager)
        torch.testing.assert_close(torch.autograd.grad(compiled, weight), torch.autograd.grad(eager, weight))


# --------------------------------------------------------------------------------------------------------------- errors


def test_wrong_input_is_told() -> None:
    weight, projection = torch.ones(4, 6), torch.ones(3, 5)
    with pytest.raises(ValueError, match=r"projected_energy: expected weight \(..., K, D\).*got \(4, 6\) and \(3, 5\)"):
        projected_energy(weight, projection)
    with pytest.raises(ValueError, match=r"projection_distortion: unknown objective 'cosines'.*mean 'cosine'"):
        projection_distortion(weight, torch.ones(3, 6), objective="cosines")
    with pytest.raises(ValueError, match=r"projection_distortion: expected at least 2 neurons, got 1"):
        projection_distortion(torch.ones(1, 6), torch.ones(3, 6))
    with pytest.raises(ValueError, match=r"angle_preserving_projection: rate must lie in \[0, 1e\+06\], got -0.1"):
        angle_preserving_projection(weight, torch.ones(3, 6), rate=-0.1)
    with pytest.raises(ValueError, match=r"adversarial_projection: num_steps must be a whole number of 0 or more"):
        adversarial_projection(weight, torch.ones(3, 6), num_steps=-1)
    with pytest.raises(ValueError, match=r"projected_energy: expected .* none empty, got \(4, 6\) and \(0, 3, 6\)"):
        projected_energy(weight, torch.ones(0, 3, 6))
    with pytest.raises(ValueError, match=r"grouped_energy: expected coordinates \(C, P\) with C, P >= 1, got \(0, 2\)"):
        grouped_energy(weight, torch.ones(0, 2, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"adversarial_projection: rate must lie in \[0, 1e\+06\], got inf"):
        adversarial_projection(weight, torch.ones(3, 6), rate=float("inf"))
    with pytest.raises(TypeError, match=r"grouped_energy: .*weight"):
        grouped_energy(torch.ones(4, 6, dtype=torch.int64), torch.tensor([[0, 1]]))
