# SPDX-License-Identifier: MIT
"""Orthogonality penalties against loops and exact spectra, in both Gram matrices, and at the edges of the dtypes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from hypersphere.functional import orthogonality, orthonormality, restricted_isometry
from hypersphere.functional.orthogonality import ORTHOGONALITIES

SHAPES = [(3, 5), (5, 5), (6, 5), (9, 4), (13, 3), (1, 4)]


def rows(num_neurons: int, dim: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(num_neurons, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def frame(num_neurons: int, dim: int, seed: int = 0) -> Tensor:
    """Orthonormal rows, or orthonormal columns where there are more rows than that."""
    columns = torch.linalg.qr(rows(max(num_neurons, dim), min(num_neurons, dim), seed))[0]
    return columns if num_neurons >= dim else columns.T


def loop(weight: Tensor, normalized: bool) -> tuple[float, float]:
    """Both sums, one inner product at a time."""
    vectors = weight.tolist()
    if normalized:
        vectors = [[x / math.hypot(*v) for x in v] for v in vectors]
    own = other = 0.0
    for (i, a), (j, b) in itertools.product(enumerate(vectors), repeat=2):
        inner = math.fsum(x * y for x, y in zip(a, b, strict=True))
        if i == j:
            own += (inner - 1) ** 2
        else:
            other += inner**2
    return own + other, other


# ------------------------------------------------------------------------------------------------ independent numbers


@pytest.mark.parametrize("normalized", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_equal_the_loops(shape: tuple[int, int], normalized: bool) -> None:
    weight = rows(*shape)
    whole, off = loop(weight, normalized)
    num_neurons = shape[0]
    assert orthonormality(weight, normalized=normalized).item() == pytest.approx(whole, rel=1e-12, abs=1e-13)
    mean = orthonormality(weight, normalized=normalized, reduction="mean")
    assert mean.item() == pytest.approx(whole / num_neurons**2, rel=1e-12, abs=1e-13)
    if num_neurons > 1:
        assert orthogonality(weight, normalized=normalized).item() == pytest.approx(off, rel=1e-12, abs=1e-13)
        mean = orthogonality(weight, normalized=normalized, reduction="mean")
        assert mean.item() == pytest.approx(off / (num_neurons * (num_neurons - 1)), rel=1e-12, abs=1e-13)


@pytest.mark.parametrize("normalized", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_many_iterations_find_the_spectral_norm(shape: tuple[int, int], normalized: bool) -> None:
    weight = rows(*shape, seed=1)
    unit = weight / weight.norm(dim=1, keepdim=True) if normalized else weight
    smaller = unit @ unit.T if shape[0] <= shape[1] else unit.T @ unit
    exact = torch.linalg.matrix_norm(smaller - torch.eye(len(smaller), dtype=torch.float64), 2).item()
    probe = rows(1, len(smaller), seed=2)[0]
    found = restricted_isometry(weight, normalized=normalized, probe=probe, num_iterations=2000)
    assert found.item() == pytest.approx(exact, rel=1e-9, abs=1e-12)
    few = [restricted_isometry(weight, normalized=normalized, probe=probe, num_iterations=n).item() for n in (1, 2, 5)]
    # each further product brings the estimate nearer, from below
    assert few == sorted(few)
    assert few[-1] <= exact * (1 + 1e-12) + 1e-12


@pytest.mark.parametrize("shape", [(3, 5), (9, 4)])
def test_two_iterations_are_those_of_the_released_code(shape: tuple[int, int]) -> None:
    weight, probe = rows(*shape), rows(1, min(shape), seed=3)[0]
    smaller = weight @ weight.T if shape[0] <= shape[1] else weight.T @ weight
    matrix = smaller - torch.eye(len(smaller), dtype=torch.float64)
    u = probe / probe.norm()
    v = matrix.T @ u / (matrix.T @ u).norm()
    u = matrix @ v / (matrix @ v).norm()
    sigma = u @ (matrix @ v)
    assert restricted_isometry(weight, probe=probe).item() == pytest.approx(sigma.item(), rel=1e-12)
    assert restricted_isometry(weight, probe=probe, squared=True).item() == pytest.approx(sigma.item() ** 2, rel=1e-12)


def test_closed_forms() -> None:
    # orthonormal rows and tight frames
    assert orthonormality(frame(4, 6)).item() == pytest.approx(0, abs=1e-28)
    assert orthonormality(frame(6, 4)).item() == pytest.approx(2, rel=1e-14)
    assert orthogonality(3 * frame(4, 6)).item() == pytest.approx(0, abs=1e-26)
    for shape in ((4, 6), (6, 4), (5, 5)):
        probe = rows(1, min(shape))[0]
        assert restricted_isometry(frame(*shape), probe=probe).item() == pytest.approx(0, abs=1e-14)
    # a simplex of K unit vectors: every cosine is -1/(K-1)
    simplex = torch.eye(5, dtype=torch.float64) - 0.2
    assert orthogonality(simplex, normalized=True).item() == pytest.approx(20 / 16, rel=1e-13)
    # the cross-polytope, a tight frame, meets Welch's bound K²/D - K
    cross = torch.cat([torch.eye(3), -torch.eye(3)]).double()
    assert orthogonality(cross).item() == 6.0
    assert orthogonality(torch.cat([cross, cross])).item() == pytest.approx(144 / 3 - 12, rel=1e-14)
    assert restricted_isometry(cross, probe=rows(1, 3)[0]).item() == pytest.approx(1.0, rel=1e-14)


def test_stacked_is_one_by_one() -> None:
    for shape in ((3, 5), (9, 4)):
        stack = torch.stack([torch.stack([rows(*shape, seed=2 * i + j) for j in range(2)]) for i in range(3)])
        probes = rows(6, min(shape), seed=9).view(3, 2, -1)
        for function in (orthonormality, orthogonality):
            single = [[function(matrix).item() for matrix in pair] for pair in stack]
            torch.testing.assert_close(function(stack), torch.tensor(single, dtype=torch.float64))
        both = restricted_isometry(stack, probe=probes)
        assert both.shape == (3, 2)
        assert both[2, 1].item() == pytest.approx(restricted_isometry(stack[2, 1], probe=probes[2, 1]).item())


def test_a_probe_is_drawn_when_none_is_given() -> None:
    weight = rows(4, 6)
    torch.manual_seed(5)
    drawn = restricted_isometry(weight)
    torch.manual_seed(5)
    given = restricted_isometry(weight, probe=torch.randn(4, dtype=torch.float64))
    assert torch.equal(drawn, given)


# --------------------------------------------------------------------------------------------------------------- laws


@pytest.mark.parametrize("normalized", [False, True])
@pytest.mark.parametrize("shape", [(3, 5), (5, 3), (7, 3)])
def test_gradcheck(shape: tuple[int, int], normalized: bool) -> None:
    weight = rows(*shape, seed=4).requires_grad_()
    probe = rows(1, min(shape), seed=5)[0]
    for function in (
        lambda w: orthonormality(w, normalized=normalized),
        lambda w: orthogonality(w, normalized=normalized, reduction="mean"),
        lambda w: restricted_isometry(w, normalized=normalized, probe=probe),
    ):
        assert torch.autograd.gradcheck(function, weight)
        assert torch.autograd.gradgradcheck(function, weight)


@pytest.mark.parametrize("name", ORTHOGONALITIES)
def test_normalized_ignores_lengths(name: str) -> None:
    weight, lengths = rows(5, 4), torch.rand(5, 1, dtype=torch.float64) + 0.5
    options = {"probe": rows(1, 4)[0]} if name == "restricted_isometry" else {}
    function = ORTHOGONALITIES[name]
    one = function(weight, normalized=True, **options)
    assert function(weight * lengths, normalized=True, **options).item() == pytest.approx(one.item(), rel=1e-12)
    assert function(weight * lengths, **options).item() != pytest.approx(function(weight, **options).item(), rel=1e-3)


def test_the_difference_of_fourth_powers_is_safe() -> None:
    """Rows of very unequal length, many of them: what is wanted is a billionth of what cancels."""
    weight = rows(40, 3, dtype=torch.float32)
    weight[1:] *= 1e-3
    weight[0] *= 30
    exact = loop(weight.double(), False)[1]
    assert orthogonality(weight).item() == pytest.approx(exact, rel=1e-5)


# ------------------------------------------------------------------------------------------------------------ optimum


@pytest.mark.parametrize("shape", [(4, 6), (8, 4)])
def test_descending_reaches_the_optimum(shape: tuple[int, int]) -> None:
    num_neurons, dim = shape
    floors = {
        "orthonormal": max(0, num_neurons - dim),
        "orthogonal": max(0, num_neurons**2 / dim - num_neurons),
    }
    for name, floor in floors.items():
        leaf = rows(*shape, seed=6).requires_grad_()
        optimizer = torch.optim.LBFGS(
            [leaf], max_iter=300, tolerance_grad=1e-12, tolerance_change=0, line_search_fn="strong_wolfe"
        )

        def closure(leaf: Tensor = leaf, name: str = name, optimizer: torch.optim.Optimizer = optimizer) -> Tensor:
            optimizer.zero_grad()
            value = ORTHOGONALITIES[name](leaf, normalized=name == "orthogonal")
            value.backward()
            return value

        optimizer.step(closure)
        assert closure().item() == pytest.approx(floor, abs=1e-12, rel=1e-12)


@pytest.mark.parametrize("shape", [(4, 6), (8, 4)])
def test_the_restricted_isometry_is_reached_from_random_probes(shape: tuple[int, int]) -> None:
    leaf, generator = (rows(*shape, seed=6) / 2).requires_grad_(), torch.Generator().manual_seed(0)
    optimizer = torch.optim.SGD([leaf], lr=0.01)
    for _ in range(600):
        optimizer.zero_grad()
        probe = torch.randn(min(shape), generator=generator, dtype=torch.float64)
        restricted_isometry(leaf, probe=probe, squared=True).backward()
        optimizer.step()
    smaller = leaf @ leaf.T if shape[0] <= shape[1] else leaf.T @ leaf
    assert torch.linalg.matrix_norm(smaller - torch.eye(4, dtype=torch.float64), 2).item() < 1e-3


# ----------------------------------------------------------------------------------------------------------- numerics


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(4, 6), (6, 6), (7, 6), (15, 3)])
@pytest.mark.parametrize("normalized", [False, True])
@pytest.mark.parametrize("kind", ["plain", "duplicates", "zero rows", "all zero", "tiny", "huge", "largest"])
def test_finite_everywhere(kind: str, normalized: bool, shape: tuple[int, int], dtype: torch.dtype) -> None:
    weight = rows(*shape, dtype=torch.float32)
    if kind == "duplicates":
        weight[1::2] = weight[0]
    elif kind == "zero rows":
        weight[::2] = 0
    elif kind == "all zero":
        weight[:] = 0
    elif kind == "tiny":
        weight *= 1e-20
    elif kind in ("huge", "largest"):
        weight *= 1e18 if kind == "huge" else 1e37
    weight = weight.to(dtype).clamp(torch.finfo(dtype).min, torch.finfo(dtype).max).requires_grad_()
    probe = rows(1, min(shape), dtype=torch.float32)[0]
    for value in (
        orthonormality(weight, normalized=normalized),
        orthogonality(weight, normalized=normalized),
        restricted_isometry(weight, normalized=normalized, probe=probe, num_iterations=3, squared=True),
    ):
        assert value.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
        (gradient,) = torch.autograd.grad(value, weight)
        assert value.isfinite()
        assert gradient.isfinite().all()
        assert gradient.dtype == dtype


def test_low_precision_is_computed_in_float32() -> None:
    weight = rows(5, 8, dtype=torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        inside = orthonormality(weight)
    assert torch.equal(inside, orthonormality(weight.float()))


def test_an_orthonormal_frame_stays() -> None:
    weight = torch.eye(3, 5).requires_grad_()
    total = orthonormality(weight) + orthogonality(weight) + restricted_isometry(weight, probe=torch.ones(3))
    (gradient,) = torch.autograd.grad(total, weight)
    assert total.item() == 0
    assert not gradient.any()


# ------------------------------------------------------------------------------------------------------------ compile


@pytest.mark.parametrize("shape", [(4, 6), (9, 4)])
def test_compiled_equals_eager(shape: tuple[int, int]) -> None:
    torch.compiler.reset()
    probe = rows(1, min(shape), dtype=torch.float32)[0]
    functions: list[Callable[[Tensor], Tensor]] = [
        lambda w: orthonormality(w, normalized=True),
        lambda w: orthogonality(w),
        lambda w: restricted_isometry(w, probe=probe),
    ]
    for function in functions:
        weight = rows(*shape, dtype=torch.float32).requires_grad_()
        compiled = torch.compile(function, fullgraph=True, backend="aot_eager")(weight)
        torch.testing.assert_close(compiled, function(weight))
        gradients = [torch.autograd.grad(value, weight)[0] for value in (compiled, function(weight))]
        torch.testing.assert_close(*gradients)


# ------------------------------------------------------------------------------------------------------------- errors


def test_wrong_input_is_refused() -> None:
    with pytest.raises(ValueError, match=r"orthonormality: expected weight \(\.\.\., K, D\), got shape \(3,\)"):
        orthonormality(torch.ones(3))
    with pytest.raises(ValueError, match=r"orthogonality: expected weight with K >= 2 and D >= 1, got K=1, D=3"):
        orthogonality(torch.ones(1, 3))
    with pytest.raises(ValueError, match=r"unknown reduction 'meen': choose mean, sum \(did you mean 'mean'\?\)"):
        orthonormality(torch.ones(2, 3), reduction="meen")
    with pytest.raises(ValueError, match=r"num_iterations must be a whole number of 1 or more, got 0"):
        restricted_isometry(torch.ones(2, 3), num_iterations=0)
    with pytest.raises(
        ValueError, match=r"expected probe of shape \(2,\), min\(K, D\) numbers for each matrix, got \(3,\)"
    ):
        restricted_isometry(torch.ones(2, 3), probe=torch.ones(3))


def test_one_long_row_among_zeros_has_no_penalty_below_zero() -> None:
    """From the smaller Gram matrix it is a difference of two equal numbers, and rounding takes either side."""
    long = 1000 * torch.randn(50, 2, generator=torch.Generator().manual_seed(0))
    weight = torch.nn.functional.pad(long[:, None], (0, 0, 0, 8)).requires_grad_()
    found = orthogonality(weight)
    assert found.shape == (50,)
    assert (found >= 0).all()
    size = long.norm(dim=1)
    assert (found <= 1e-15 * size**4).all()
    (gradient,) = torch.autograd.grad(found.sum(), weight)
    assert (gradient.abs().amax(dim=(1, 2)) <= 1e-14 * size**3).all()
