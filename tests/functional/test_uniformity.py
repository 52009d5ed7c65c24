# SPDX-License-Identifier: MIT
"""Uniformity objectives against loops and closed forms, their optima, their adversary, and awkward input."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from hypersphere.formulas.poles import Covering
from hypersphere.functional import (
    covering,
    gram_log_determinant,
    normalize,
    polarization,
    resultant,
    separation,
    sharpest_poles,
)
from hypersphere.functional.uniformity import UNIFORMITIES

SQUARE = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]], dtype=torch.float64)


def rows(num_neurons: int, dim: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(num_neurons, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def simplex(num_points: int) -> Tensor:
    """Regular simplex: every cosine is -1/(K-1)."""
    return normalize(torch.eye(num_points, dtype=torch.float64) - 1 / num_points)


def both_ends(weight: Tensor, half_space: bool) -> Tensor:
    return torch.cat([weight, -weight]) if half_space else weight


def units(weight: Tensor, eps: float) -> list[list[float]]:
    return [[x / math.sqrt(math.fsum(y * y for y in row) + eps) for x in row] for row in weight.tolist()]


def square_distance(a: Sequence[float], b: Sequence[float]) -> float:
    """2 - 2c, as the released code has it."""
    return 2 - 2 * math.fsum(x * y for x, y in zip(a, b, strict=True))


# ------------------------------------------------------------------------------------------------ independent numbers


@pytest.mark.parametrize("half_space", [False, True])
@pytest.mark.parametrize("eps", [0.0, 1e-2])
def test_equal_the_loops(eps: float, half_space: bool) -> None:
    weight, poles = rows(6, 3), rows(2, 3, seed=1)
    points, directions = units(both_ends(weight, half_space), eps), units(poles, 0.0)
    options = {"half_space": half_space, "eps": eps}

    def close(found: Tensor, expected: float) -> None:
        assert found.item() == pytest.approx(expected, rel=1e-12, abs=1e-13)

    smallest = min(square_distance(a, b) for a, b in itertools.combinations(points, 2))
    close(separation(weight, **options), -math.sqrt(smallest))
    close(separation(weight, squared=True, **options), -smallest)
    close(separation(weight, distance="angular", **options), -math.acos(1 - smallest / 2))
    close(separation(weight, distance="angular", squared=True, **options), -(math.acos(1 - smallest / 2) ** 2))

    distances = [[math.sqrt(square_distance(pole, point)) for point in points] for pole in directions]
    count = len(points)
    for power in (0.0, 1.0, 2.0, 5.5):
        kernel = (lambda z: -math.log(z)) if power == 0 else (lambda z, s=power: z**-s)
        expected = max(-math.fsum(kernel(z) for z in row) / count for row in distances)
        close(polarization(weight, poles, power=power, **options), expected)
    for gamma in (0.5, 10.0):
        soft = [-math.log(math.fsum(math.exp(-gamma * z * z) for z in row) / count) / gamma for row in distances]
        close(covering(weight, poles, sharpness=gamma, **options), max(soft))

    gram = torch.tensor(
        [[math.exp(-0.7 * square_distance(a, b)) for b in points] for a in points], dtype=torch.float64
    ) + 1e-6 * torch.eye(count, dtype=torch.float64)
    expected = -torch.logdet(gram).item()
    close(gram_log_determinant(weight, bandwidth=0.7, reduction="sum", **options), expected)
    close(gram_log_determinant(weight, bandwidth=0.7, **options), expected / count)

    if not half_space:
        total = [math.fsum(column) for column in zip(*points, strict=True)]
        close(resultant(weight, eps=eps), math.hypot(*total) / count)
        raw = weight.sum(dim=0).norm().item()
        close(resultant(weight, normalized=False, reduction="sum"), raw)


def test_released_code_formulas() -> None:
    """What the TensorFlow program adds for a hidden layer, without its weights; cosines there are normalised twice."""
    weight = rows(7, 4, seed=3)
    ends = torch.cat([weight, -weight])
    unit = ends / (ends.square().sum(1, keepdim=True) + 1e-4).sqrt()
    square = 2 - 2 * unit @ unit.T
    upper = square[torch.triu_indices(14, 14, 1).unbind()]
    tied = upper[(upper - upper.min()).abs() < 1e-12]
    assert len(tied) == 2
    released = -tied.sum()
    torch.testing.assert_close(released, 2 * separation(weight, squared=True, half_space=True, eps=1e-4))
    gram = torch.exp(-square) + 1e-6 * torch.eye(14, dtype=torch.float64)
    found = gram_log_determinant(weight, half_space=True, eps=1e-4, reduction="sum")
    torch.testing.assert_close(-torch.logdet(gram), found, rtol=1e-10, atol=0)
    # the second normalisation changes a term by a part in ten thousand
    twice = unit / (unit.square().sum(1, keepdim=True) + 1e-4).sqrt()
    again = torch.exp(-(2 - 2 * twice @ twice.T)) + 1e-6 * torch.eye(14, dtype=torch.float64)
    torch.testing.assert_close(-torch.logdet(again), found, rtol=3e-4, atol=0)


def test_closed_forms_of_the_simplex() -> None:
    points = simplex(5)
    assert separation(points).item() == pytest.approx(-math.sqrt(2.5), rel=1e-14)
    assert separation(points, distance="angular").item() == pytest.approx(-math.acos(-0.25), rel=1e-14)
    assert resultant(points).item() == pytest.approx(0, abs=1e-15)
    # opposite a vertex: the others at cosine 1/4, the vertex at -1
    pole = -points[:1]
    assert polarization(points, pole).item() == pytest.approx(-(4 / 1.5 + 1 / 4) / 5, rel=1e-13)
    soft = -math.log((4 * math.exp(-3 * 1.5) + math.exp(-3 * 4)) / 5) / 3
    assert covering(points, pole, sharpness=3.0).item() == pytest.approx(soft, rel=1e-13)
    # G = (1 - g) I + g 11^T
    g = math.exp(-2.5)
    expected = -(4 * math.log(1 - g + 1e-6) + math.log(1 + 4 * g + 1e-6)) / 5
    assert gram_log_determinant(points).item() == pytest.approx(expected, rel=1e-12)


def test_closed_forms_of_the_square_and_the_cross() -> None:
    assert separation(SQUARE).item() == pytest.approx(-math.sqrt(2), rel=1e-15)
    assert separation(SQUARE[:2], distance="angular", half_space=True).item() == pytest.approx(-math.pi / 2, rel=1e-15)
    pole = torch.tensor([[1.0, 1.0]], dtype=torch.float64)
    near, far = 2 - math.sqrt(2), 2 + math.sqrt(2)
    assert polarization(SQUARE, pole, power=2.0).item() == pytest.approx(-(1 / near + 1 / far) / 2, rel=1e-14)
    assert polarization(SQUARE, pole, power=0.0).item() == pytest.approx(math.log(near * far) / 4, rel=1e-14)
    assert covering(SQUARE, pole, sharpness=1e4).item() == pytest.approx(near + math.log(2) / 1e4, rel=1e-10)
    # lines through the axes: the ends are the cross
    cross = torch.cat([torch.eye(3), -torch.eye(3)]).double()
    for function in (lambda w, h: separation(w, half_space=h), lambda w, h: gram_log_determinant(w, half_space=h)):
        torch.testing.assert_close(function(cross[:3], True), function(cross, False), rtol=1e-13, atol=0)
    # eigenvalues of the circulant Gram matrix of the square
    a, b = math.exp(-2.0), math.exp(-4.0)
    eigenvalues = (1 + 2 * a + b, 1 - b, 1 - b, 1 - 2 * a + b)
    expected = -math.fsum(math.log(x + 1e-6) for x in eigenvalues)
    assert gram_log_determinant(SQUARE, reduction="sum").item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("half_space", [False, True])
def test_half_space_is_the_full_space_of_both_ends(half_space: bool) -> None:
    weight, poles = rows(5, 4), rows(3, 4, seed=1)
    ends = torch.cat([weight, -weight])
    for name, function in UNIFORMITIES.items():
        if name == "resultant":
            continue
        more = (poles,) if name in ("polarization", "covering") else ()
        torch.testing.assert_close(function(weight, *more, half_space=True), function(ends, *more), rtol=1e-11, atol=0)


@pytest.mark.parametrize("name", UNIFORMITIES)
def test_stacked_is_one_by_one(name: str) -> None:
    stack = torch.stack([torch.stack([rows(5, 3, seed=2 * i + j) for j in range(2)]) for i in range(3)])
    poles = rows(3 * 2 * 4, 3, seed=9).view(3, 2, 4, 3)
    more = (poles,) if name in ("polarization", "covering") else ()
    found = UNIFORMITIES[name](stack, *more)
    for i, j in itertools.product(range(3), range(2)):
        single = UNIFORMITIES[name](stack[i, j], *(p[i, j] for p in more))
        torch.testing.assert_close(found[i, j], single, rtol=1e-13, atol=0)


def test_the_nearest_pair_is_found_across_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    weight = rows(11, 3)
    for half_space in (False, True):
        whole = separation(weight, half_space=half_space)
        monkeypatch.setattr("hypersphere.functional.uniformity._ROWS", 3)
        assert torch.equal(separation(weight, half_space=half_space), whole)
        monkeypatch.undo()


# --------------------------------------------------------------------------------------------------------------- laws


@pytest.mark.parametrize("half_space", [False, True])
@pytest.mark.parametrize("eps", [0.0, 1e-2])
def test_gradcheck(eps: float, half_space: bool) -> None:
    weight, poles = rows(5, 3, seed=4).requires_grad_(), rows(2, 3, seed=5).requires_grad_()
    options: dict[str, Any] = {"half_space": half_space, "eps": eps}
    alone: list[Callable[[Tensor], Tensor]] = [
        lambda w: separation(w, **options),
        lambda w: separation(w, distance="angular", **options),
        lambda w: gram_log_determinant(w, ridge=1e-2, **options),
        lambda w: resultant(w, eps=eps),
        lambda w: resultant(w, normalized=False),
    ]
    for function in alone:
        assert torch.autograd.gradcheck(function, weight)
        assert torch.autograd.gradgradcheck(function, weight)
    at_poles: list[Callable[[Tensor, Tensor], Tensor]] = [
        lambda w, p: polarization(w, p, **options),
        lambda w, p: polarization(w, p, power=0.0, **options),
        lambda w, p: covering(w, p, sharpness=2.0, **options),
    ]
    for function in at_poles:
        assert torch.autograd.gradcheck(function, (weight, poles))
        assert torch.autograd.gradgradcheck(function, (weight, poles))


@pytest.mark.parametrize("name", UNIFORMITIES)
def test_invariances(name: str) -> None:
    """Lengths, a rotation of everything, and the order of the rows change nothing; no gradient is radial."""
    weight, poles = rows(6, 4).requires_grad_(), rows(2, 4, seed=1)
    rotation = torch.linalg.qr(rows(4, 4, seed=2))[0]
    with_poles = name in ("polarization", "covering")

    def value(weight: Tensor, poles: Tensor) -> Tensor:
        return UNIFORMITIES[name](weight, *((poles,) if with_poles else ()))

    once = value(weight, poles)
    lengths = torch.rand(6, 1, generator=torch.Generator().manual_seed(3), dtype=torch.float64) * 10 + 0.1
    torch.testing.assert_close(value(weight * lengths, 3 * poles), once, rtol=1e-11, atol=0)
    torch.testing.assert_close(value(weight @ rotation, poles @ rotation), once, rtol=1e-11, atol=0)
    torch.testing.assert_close(value(weight.flip(0), poles.flip(0)), once, rtol=1e-11, atol=0)
    (gradient,) = torch.autograd.grad(once, weight)
    assert gradient.abs().max() > 1e-3
    assert (gradient * weight).sum(1).abs().max() < 1e-12


def test_the_resultant_is_the_polarisation_of_the_squared_distance() -> None:
    weight = rows(6, 3)
    length = 6 * resultant(weight).item()
    pole = normalize(weight).sum(dim=0, keepdim=True)
    total = (normalize(pole) - normalize(weight)).square().sum().item()
    assert total == pytest.approx(12 - 2 * length, rel=1e-13)


def test_near_neighbours_keep_their_digits() -> None:
    for angle in (1e-2, 1e-4, 1e-5):
        weight = torch.tensor([[1.0, 0.0], [math.cos(angle), math.sin(angle)], [-1.0, 0.0]])
        assert -separation(weight, distance="angular").item() == pytest.approx(angle, rel=1e-2 * 1e-5 / angle + 1e-6)
        assert -separation(weight).item() == pytest.approx(angle, rel=1e-2 * 1e-5 / angle + 1e-4)


# ----------------------------------------------------------------------------------------------------------- numerics


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("half_space", [False, True])
@pytest.mark.parametrize(
    "kind", ["plain", "duplicates", "antipodes", "zero rows", "all zero", "all equal", "tiny", "huge", "mixed"]
)
def test_finite_everywhere(kind: str, half_space: bool, dtype: torch.dtype) -> None:
    weight = rows(6, 4, dtype=torch.float32)
    if kind == "duplicates":
        weight[1::2] = weight[::2] * 3
    elif kind == "antipodes":
        weight[1::2] = -weight[::2]
    elif kind == "zero rows":
        weight[::2] = 0
    elif kind == "all zero":
        weight[:] = 0
    elif kind == "all equal":
        weight[:] = weight[0]
    elif kind in ("tiny", "huge"):
        weight *= 1e-20 if kind == "tiny" else 1e18
    elif kind == "mixed":
        weight[0] *= 1e-20
        weight[1] *= 1e18
    weight = weight.to(dtype).clamp(torch.finfo(dtype).min, torch.finfo(dtype).max).requires_grad_()
    # one pole on a neuron, one opposite, one anywhere, one nowhere
    poles = torch.cat([weight.detach()[:1], -weight.detach()[:1], rows(1, 4, dtype=torch.float32).to(dtype)])
    poles = torch.cat([poles, torch.zeros(1, 4, dtype=dtype)])
    for name, function in UNIFORMITIES.items():
        for eps in (0.0, 1e-4):
            options: dict[str, Any] = {"eps": eps}
            if name != "resultant":
                options["half_space"] = half_space
            if name in ("polarization", "covering"):
                moved = sharpest_poles(weight, poles, name, **options)
                assert moved.isfinite().all()
                options["poles"] = poles
            value = function(weight, **options)
            assert value.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
            (gradient,) = torch.autograd.grad(value, weight)
            assert value.isfinite(), name
            assert gradient.isfinite().all(), name
            assert gradient.dtype == dtype


def test_duplicates_and_zero_rows_have_their_values() -> None:
    twice = torch.tensor([[1.0, 2.0, 2.0], [3.0, 6.0, 6.0], [0.0, 0.0, 1.0]])
    assert separation(twice).item() == 0
    zero = torch.tensor([[0.0, 0.0], [1.0, 0.0]])
    assert separation(zero).item() == pytest.approx(-math.sqrt(2))
    assert separation(zero, distance="angular").item() == pytest.approx(-math.pi / 2)
    # one eigenvalue is the ridge itself
    expected = -(math.log(2 + 1e-6) + math.log(1e-6)) / 2
    assert gram_log_determinant(torch.ones(2, 5)).item() == pytest.approx(expected, rel=1e-6)


def test_more_neurons_than_the_kernel_can_tell_apart() -> None:
    weight = rows(600, 2, dtype=torch.float32).requires_grad_()
    value = gram_log_determinant(weight, half_space=True)
    assert 10 < value.item() < -math.log(1e-6)
    value.backward()
    assert weight.grad.isfinite().all()


def test_low_precision_is_computed_in_float32() -> None:
    weight, poles = rows(5, 8, dtype=torch.bfloat16), rows(2, 8, dtype=torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        inside = [separation(weight), polarization(weight, poles), covering(weight, poles), resultant(weight)]
    outside = weight.float(), poles.float()
    expected = [separation(outside[0]), polarization(*outside), covering(*outside), resultant(outside[0])]
    assert torch.equal(torch.stack(inside), torch.stack(expected))


# ------------------------------------------------------------------------------------------------------------ compile


POLES = rows(2, 4, dtype=torch.float32)
COMPILED: dict[str, Callable[[Tensor], Tensor]] = {
    "separation": lambda w: separation(w, distance="angular", half_space=True),
    "polarization": lambda w: polarization(w, sharpest_poles(w, POLES, "polarization", num_steps=2)),
    "covering": lambda w: covering(w, sharpest_poles(w, POLES, Covering(3.0), num_steps=2), half_space=True),
    "resultant": lambda w: resultant(w),
    "gram": lambda w: gram_log_determinant(w, half_space=True),
}


@pytest.mark.parametrize("kind", COMPILED)
def test_compiled_equals_eager(kind: str) -> None:
    torch.compiler.reset()
    function = COMPILED[kind]
    weight = rows(6, 4, dtype=torch.float32).requires_grad_()
    compiled = torch.compile(function, fullgraph=True, backend="aot_eager")(weight)
    torch.testing.assert_close(compiled, function(weight))
    gradients = [torch.autograd.grad(value, weight)[0] for value in (compiled, function(weight))]
    torch.testing.assert_close(*gradients)


# ------------------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda w, p: separation(w[:1]), r"separation: expected weight with K >= 2 and D >= 1, got K=1, D=3"),
        (lambda w, p: separation(w, distance="angle"), r"unknown distance 'angle': choose angular, euclidean"),
        (lambda w, p: separation(w, eps=-1.0), r"separation: eps must lie in \[0, 1e\+30\], got -1"),
        (lambda w, p: resultant(w, reduction="total"), r"unknown reduction 'total': choose mean, sum"),
        (lambda w, p: covering(w, p, sharpness=0.0), r"Covering: sharpness must lie in \[0\.0001, 10000\], got 0"),
        (
            lambda w, p: polarization(w, p[:, :2]),
            r"expected weight \(\.\.\., K, D\) and poles \(\.\.\., P, D\) alike but for K and P, "
            r"got \(5, 3\) and \(2, 2\)",
        ),
        (lambda w, p: gram_log_determinant(w, ridge=0.0), r"ridge must lie in \[1e-09, 1\], got 0"),
        (lambda w, p: gram_log_determinant(w, bandwidth=0.0), r"bandwidth must lie in \[0\.001, 1000\], got 0"),
        (
            lambda w, p: sharpest_poles(w, p, "cover"),
            r"unknown objective 'cover': choose covering, polarization \(did you mean 'covering'\?\)",
        ),
        (lambda w, p: sharpest_poles(w, p, "covering", num_steps=-1), r"num_steps must be a whole number of 0 or more"),
        (lambda w, p: sharpest_poles(w, p, "covering", momentum=1.0), r"momentum must lie in \[0, 0\.9999\], got 1"),
    ],
)
def test_wrong_input_is_refused(call: Callable[[Tensor, Tensor], Tensor], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(torch.ones(5, 3), torch.ones(2, 3))
