# SPDX-License-Identifier: MIT
"""Sampled energies: against loops, what each is unbiased for, the stated variance, and words at the edges."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

import oracles
from hypersphere.formulas.energies import EnergyKernel
from hypersphere.functional import hyperspherical_energy
from hypersphere.functional.sampling import minibatch_energy, sampled_energy

OPTIONS = list(itertools.product((0.0, 1.0, 2.0), ("euclidean", "angular"), (False, True)))


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def row_energy(weight: Tensor, row: int, **options: object) -> float:
    """Mean energy of one row with all others: what leaves the sum over all pairs together with the row."""
    half = bool(options.get("half_space"))
    others = torch.cat([weight[:row], weight[row + 1 :]])
    points, fewer = (len(rows) * (2 if half else 1) for rows in (weight, others))
    total = oracles.energy(weight.tolist(), **options) * points * (points - 1)
    rest = oracles.energy(others.tolist(), **options) * fewer * (fewer - 1)
    # the pairs of a row stand in the sum in both orders; in half space its antipode's pairs left with it
    # so did, once in each order, the pair of the two
    both = antipode(**options) if half else 0.0
    return ((total - rest) / 2 + both) / (2 if half else 1) / (points - 1)


def antipode(power: float, distance: str, half_space: bool) -> float:
    """f of the largest distance."""
    z = 2.0 if distance == "euclidean" else math.pi
    return -math.log(z) if power == 0 else z**-power


def value_and_gradient(weight: Tensor, function) -> tuple[Tensor, Tensor]:
    leaf = weight.detach().requires_grad_()
    energy = function(leaf)
    return energy.detach(), torch.autograd.grad(energy, leaf)[0]


@pytest.mark.parametrize(("power", "distance", "half_space"), OPTIONS)
def test_one_label_is_one_row_of_the_definition(power: float, distance: str, half_space: bool) -> None:
    weight, options = normal(5, 3), {"power": power, "distance": distance, "half_space": half_space}
    for row in (0, 4):
        found = minibatch_energy(weight, torch.tensor([row]), **options)
        assert found.item() == pytest.approx(row_energy(weight, row, **options), rel=1e-12)


@pytest.mark.parametrize(("power", "distance", "half_space"), OPTIONS)
def test_all_classes_give_the_energy_under_both_rules(power: float, distance: str, half_space: bool) -> None:
    options = {"power": power, "distance": distance, "half_space": half_space}
    for eps in (0.0, 1e-2):
        exact = value_and_gradient(normal(7, 4), lambda w: hyperspherical_energy(w, eps=eps, **options))  # noqa: B023
        labels = {"targets": torch.randperm(7).repeat(2), "unique": torch.tensor([*range(7), 3, -100, 0])}
        for rule, targets in labels.items():
            found = value_and_gradient(
                normal(7, 4), lambda w: minibatch_energy(w, targets, rule=rule, eps=eps, **options)  # noqa: B023
            )  # fmt: skip
            for one, other in zip(found, exact, strict=True):
                assert torch.allclose(one, other, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("half_space", [False, True])
def test_unique_is_the_loop_over_different_labels(half_space: bool) -> None:
    weight = normal(9, 3)
    found = minibatch_energy(
        weight, torch.tensor([4, 1, 4, -100, 8, 1]), rule="unique", power=1.0, half_space=half_space
    )
    subset = weight[[1, 4, 8]].tolist()
    expected = oracles.energy(subset, 1.0)
    if half_space:
        mirrored = 2 * (oracles.energy(subset, 1.0, half_space=True) * 15 - 3 * 0.5) / 2 / 6
        expected = (8 * mirrored + 0.5) / 17
    assert found.item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("half_space", [False, True])
@pytest.mark.parametrize("rule", ["targets", "unique"])
def test_over_all_sets_of_classes_both_rules_average_to_the_energy(rule: str, half_space: bool) -> None:
    """Every set of 3 of 7 classes equally likely: the expectation is a finite sum, value and gradient."""
    weight, options = normal(7, 3), {"power": 1.0, "half_space": half_space}
    exact = value_and_gradient(weight, lambda w: hyperspherical_energy(w, **options))
    found = [
        value_and_gradient(weight, lambda w: minibatch_energy(w, torch.tensor(chosen), rule=rule, **options))  # noqa: B023
        for chosen in itertools.combinations(range(7), 3)
    ]
    for mean, other in zip(map(torch.stack, zip(*found, strict=True)), exact, strict=True):
        assert torch.allclose(mean.mean(dim=0), other, rtol=1e-11, atol=1e-13)
    if rule == "targets":
        rows = torch.stack([minibatch_energy(weight, torch.tensor([row]), **options) for row in range(7)])
        values = torch.stack([value for value, _ in found])
        assert torch.allclose(values.var(correction=0), (1 - 3 / 7) * rows.var() / 3, rtol=1e-10)


@pytest.mark.parametrize("half_space", [False, True])
@pytest.mark.parametrize("impl", ["torch", "blocked"])
def test_random_rows_are_unbiased_with_the_stated_variance(impl: str, half_space: bool) -> None:
    weight, draws, num_rows = normal(12, 4), 600, 4
    options = {"power": 1.0, "half_space": half_space}
    exact, exact_gradient = value_and_gradient(weight, lambda w: hyperspherical_energy(w, **options))
    rows = torch.stack([minibatch_energy(weight, torch.tensor([row]), **options) for row in range(12)])
    variance = (1 - num_rows / 12) * rows.var() / num_rows
    generator = torch.Generator().manual_seed(0)
    leaf = weight.clone().requires_grad_()
    values, errors, gradients = [], [], []
    for _ in range(draws):
        energy, error = sampled_energy(
            leaf, num_rows=num_rows, generator=generator, return_error=True, impl=impl, **options
        )
        gradients.append(torch.autograd.grad(energy, leaf)[0])
        values.append(energy.detach())
        errors.append(error)
        assert not error.requires_grad
    value, gradient, error = torch.stack(values), torch.stack(gradients), torch.stack(errors)
    # five standard errors of a mean, known for the value and estimated for each entry of the gradient
    assert abs(value.mean() - exact) < 5 * (variance / draws).sqrt()
    assert ((gradient.mean(dim=0) - exact_gradient).abs() < 5 * gradient.std(dim=0) / draws**0.5).all()
    # the spread of an observed variance, from the fourth moment of these values
    deviation = (value - exact).square()
    assert abs(deviation.mean() - variance) < 5 * deviation.std() / draws**0.5
    assert abs(error.square().mean() - variance) < 5 * error.square().std() / draws**0.5


def test_a_generator_repeats_the_draw_and_rows_are_not_drawn_twice() -> None:
    weight = normal(6, 2)
    draw = [sampled_energy(weight, num_rows=2, generator=torch.Generator().manual_seed(3)) for _ in range(2)]
    assert torch.equal(*draw)
    pairs = {
        round(minibatch_energy(weight, torch.tensor(pair)).item(), 12) for pair in itertools.combinations(range(6), 2)
    }
    generator = torch.Generator().manual_seed(0)
    found = {round(sampled_energy(weight, num_rows=2, generator=generator).item(), 12) for _ in range(300)}
    assert found == pairs


@pytest.mark.parametrize("half_space", [False, True])
def test_all_rows_give_the_energy_itself(half_space: bool) -> None:
    weight = normal(9, 3, dtype=torch.float32)
    energy, error = sampled_energy(weight, num_rows=9, power=2.0, half_space=half_space, return_error=True)
    assert torch.equal(energy, hyperspherical_energy(weight, power=2.0, half_space=half_space))
    assert error.item() == 0.0
    assert sampled_energy(normal(1, 3), num_rows=1, power=1.0, half_space=True).item() == 0.5


def test_targets_estimate_a_weighted_energy_under_unbalanced_labels() -> None:
    """With labels of frequencies p the expectation is sum_k p_k r_k, and that is not the energy."""
    weight, frequency = normal(6, 3), torch.tensor([0.5, 0.2, 0.1, 0.1, 0.05, 0.05], dtype=torch.float64)
    rows = torch.stack([minibatch_energy(weight, torch.tensor([row]), power=1.0) for row in range(6)])
    weighted, exact = (frequency * rows).sum(), hyperspherical_energy(weight, power=1.0)
    deviation = (frequency * (rows - weighted).square()).sum().sqrt()
    generator = torch.Generator().manual_seed(0)
    for shares, expected in ((frequency, weighted), (torch.full_like(frequency, 1 / 6), exact)):
        labels = torch.multinomial(shares, 40_000, replacement=True, generator=generator).view(400, 100)
        mean = torch.stack([minibatch_energy(weight, batch, power=1.0) for batch in labels]).mean()
        assert abs(mean - expected) < 5 * deviation / 40_000**0.5
    assert abs(weighted - exact) > 20 * deviation / 40_000**0.5


def test_unique_is_unbiased_given_the_number_of_classes() -> None:
    """Balanced labels: the different classes of a batch are, given their number, a uniformly random set."""
    weight = normal(8, 3)
    exact = hyperspherical_energy(weight, power=1.0)
    labels = torch.randint(8, (2500, 4), generator=torch.Generator().manual_seed(0))
    by_count: dict[int, list[Tensor]] = {}
    for batch in labels:
        found = minibatch_energy(weight, batch, rule="unique", power=1.0)
        by_count.setdefault(len(batch.unique()), []).append(found)
    assert set(by_count) == {1, 2, 3, 4}
    assert torch.stack(by_count.pop(1)).eq(0).all()
    for values in map(torch.stack, by_count.values()):
        assert abs(values.mean() - exact) < 5 * values.std() / len(values) ** 0.5


@pytest.mark.parametrize("half_space", [False, True])
@pytest.mark.parametrize(
    ("rule", "targets"),
    [
        ("unique", [2, 2, 2]),
        ("unique", [-100, 1]),
        ("unique", [-100, -100]),
        ("unique", []),
        ("targets", [-100]),
        ("targets", []),
    ],
)
def test_batches_without_a_pair_are_exactly_zero(rule: str, targets: list[int], half_space: bool) -> None:
    labels = torch.tensor(targets, dtype=torch.long)
    for impl in ("torch", "blocked"):
        value, gradient = value_and_gradient(
            normal(4, 3),
            lambda w: minibatch_energy(w, labels, rule=rule, half_space=half_space, power=2.0, impl=impl),  # noqa: B023
        )
        assert value.item() == 0.0
        assert gradient.eq(0).all()


def test_ignored_samples_change_nothing() -> None:
    weight, labels = normal(6, 3), torch.tensor([1, 5, 1])
    for rule in ("targets", "unique"):
        expected = minibatch_energy(weight, labels, rule=rule)
        padded = minibatch_energy(weight, torch.tensor([-1, 1, -1, 5, 1]), rule=rule, ignore_index=-1)
        assert torch.allclose(expected, padded, rtol=1e-14)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int32])
def test_labels_of_any_width_are_the_same_labels(dtype: torch.dtype) -> None:
    """156 in uint8 has the bits of -100 in int8, and is a class like any other."""
    weight, labels = normal(200, 3), torch.tensor([3, 100, 3] if dtype == torch.int8 else [3, 156, 3])
    for rule in ("targets", "unique"):
        expected = minibatch_energy(weight, labels, rule=rule)
        assert torch.equal(minibatch_energy(weight, labels.to(dtype), rule=rule), expected)


@pytest.mark.parametrize("rule", ["targets", "unique"])
def test_gradients_are_those_of_the_value(rule: str) -> None:
    weight, labels = normal(5, 3).requires_grad_(), torch.tensor([0, 3, 3, 2])
    for options in ({}, {"half_space": True, "eps": 0.1}, {"power": 1.0, "distance": "angular"}):
        assert torch.autograd.gradcheck(lambda w: minibatch_energy(w, labels, rule=rule, **options), weight)  # noqa: B023
        assert torch.autograd.gradgradcheck(lambda w: minibatch_energy(w, labels, rule=rule, **options), weight)  # noqa: B023


def test_duplicates_zeros_and_long_rows_stay_finite() -> None:
    weight = normal(6, 3, dtype=torch.float32)
    weight[0], weight[2], weight[3] = 0.0, weight[1], -weight[1]
    weight[4] *= 1e18
    weight[5] *= 1e-20
    for rule, power, half_space in itertools.product(("targets", "unique"), (0.0, 2.0, 6.0), (False, True)):
        value, gradient = value_and_gradient(
            weight,
            lambda w: minibatch_energy(w, torch.arange(6), rule=rule, power=power, half_space=half_space),  # noqa: B023
        )
        assert torch.isfinite(value)
        assert torch.isfinite(gradient).all()


def test_narrow_dtypes_are_computed_in_float32_and_under_autocast_too() -> None:
    weight = normal(8, 16, dtype=torch.float32)
    labels = torch.tensor([0, 4, 4, 7], dtype=torch.int32)
    for rule in ("targets", "unique"):
        exact = minibatch_energy(weight, labels, rule=rule)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(minibatch_energy(weight, labels, rule=rule), exact)
        half = minibatch_energy(weight.bfloat16(), labels, rule=rule)
        assert half.dtype == torch.float32
        assert torch.equal(half, minibatch_energy(weight.bfloat16().float(), labels, rule=rule))


WORDS = [
    ({"num_rows": 6}, r"sampled_energy: num_rows must be at most K, the 5 rows of weight, got 6\."),
    ({"num_rows": 0}, r"sampled_energy: num_rows must be a whole number of 1 or more, got 0\."),
    ({"num_rows": 1, "return_error": True}, r"sampled_energy: one row says nothing of the error\. Use num_rows=2 or"),
    ({"num_rows": 2, "impl": "triton"}, r"sampled_energy: unknown impl 'triton': choose auto, blocked, torch"),
    ({"num_rows": 2, "eps": -1.0}, r"sampled_energy: eps must lie in \[0, 1e\+30\], got -1\."),
    ({"num_rows": 2, "power": 1.0, "kernel": EnergyKernel(torch.exp, torch.exp)},
     r"sampled_energy: give power or kernel, not both; got power=1 and a EnergyKernel\."),
]  # fmt: skip


@pytest.mark.parametrize(("options", "message"), WORDS)
def test_sampling_refuses_in_words(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sampled_energy(normal(5, 3), **options)


def test_batches_are_refused_in_words() -> None:
    weight = normal(5, 3)
    with pytest.raises(
        ValueError,
        match=r"minibatch_energy: targets must lie in \[0, 4\], as there are 5 classes, or be ignore_index=-100; "
        r"got 5 at position 1\.",
    ):
        minibatch_energy(weight, torch.tensor([0, 5]))
    with pytest.raises(
        TypeError, match=r"minibatch_energy: expected targets of an integer dtype, got torch\.float32\."
    ):
        minibatch_energy(weight, torch.tensor([0.0]))
    with pytest.raises(ValueError, match=r"minibatch_energy: expected targets \(N,\), got shape \(1, 1\)\."):
        minibatch_energy(weight, torch.tensor([[0]]))
    with pytest.raises(
        ValueError, match=r"minibatch_energy: unknown rule 'uniq': choose targets, unique \(did you mean"
    ):
        minibatch_energy(weight, torch.tensor([0]), rule="uniq")
    with pytest.raises(ValueError, match=r"minibatch_energy: expected at least 2 class vectors, got K=1\."):
        minibatch_energy(weight[:1], torch.tensor([0]), half_space=True)
    with pytest.raises(
        ValueError, match=r"sampled_energy: expected at least 2 neuron\(s\) of dimension 1 or more, got"
    ):
        sampled_energy(weight[:1], num_rows=1)
