# SPDX-License-Identifier: MIT
"""Orthogonal matrices from free parameters: the stated map, exact derivatives, finite at every degeneracy."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from hypersphere.functional.rotations import ROTATIONS, TRIANGULAR, orthogonal_matrix


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def error(matrix: Tensor) -> float:
    matrix = matrix.double()
    return (matrix @ matrix.mT - torch.eye(matrix.shape[-1], dtype=torch.float64)).abs().max().item()


@pytest.mark.parametrize("method", ROTATIONS)
@pytest.mark.parametrize("shape", [(1, 1), (2, 2), (17, 17), (3, 2, 5, 5)])
def test_orthogonal_for_every_shape_and_dtype(method: str, shape: tuple[int, ...]) -> None:
    for dtype, tolerance in ((torch.float64, 2e-14), (torch.float32, 1e-5), (torch.bfloat16, 1e-5)):
        found = orthogonal_matrix(normal(*shape).to(dtype), method=method)
        assert found.shape == shape
        assert found.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
        assert error(found) < tolerance


def gram_schmidt(raw: Tensor) -> Tensor:
    """Columns one after another, as in a textbook."""
    columns: list[Tensor] = []
    for column in raw.T:
        rest = column - sum((column @ done) * done for done in columns) if columns else column
        columns.append(rest / rest.norm())
    return torch.stack(columns, dim=1)


def reflections(raw: Tensor) -> Tensor:
    """Minus the product of D reflections, one at a time."""
    product = -torch.eye(len(raw), dtype=raw.dtype)
    for place in range(len(raw)):
        vector = raw[:, place].clone()
        vector[:place], vector[place] = 0.0, 1.0
        product = product @ (torch.eye(len(raw), dtype=raw.dtype) - 2 * torch.outer(vector, vector) / (vector @ vector))
    return product


def inverse_root(raw: Tensor) -> Tensor:
    """raw (raw^T raw)^{-1/2} by the eigenvalues of raw^T raw."""
    values, vectors = torch.linalg.eigh(raw.T @ raw)
    return raw @ vectors @ torch.diag(values.rsqrt()) @ vectors.T


def quotient(raw: Tensor) -> Tensor:
    """(I + S)(I - S)^{-1} by an explicit inverse."""
    skew = torch.zeros_like(raw)
    for row in range(len(raw)):
        for column in range(row + 1, len(raw)):
            skew[row, column], skew[column, row] = raw[row, column], -raw[row, column]
    one = torch.eye(len(raw), dtype=raw.dtype)
    return (one + skew) @ torch.linalg.inv(one - skew)


DEFINITIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gram_schmidt": gram_schmidt,
    "householder": reflections,
    "lowdin": inverse_root,
    "cayley": quotient,
}


@pytest.mark.parametrize("method", ROTATIONS)
def test_each_map_is_what_it_says(method: str) -> None:
    raw = normal(7, 7)
    assert torch.allclose(orthogonal_matrix(raw, method=method), DEFINITIONS[method](raw), atol=1e-12)


@pytest.mark.parametrize("method", ROTATIONS)
def test_the_start_is_the_identity_exactly(method: str) -> None:
    one = torch.eye(6)
    raw = torch.zeros(6, 6) if method in TRIANGULAR else one
    assert torch.equal(orthogonal_matrix(raw, method=method), one)


@pytest.mark.parametrize("method", TRIANGULAR)
def test_triangular_maps_read_one_triangle_and_give_rotations(method: str) -> None:
    raw = normal(5, 5)
    half = raw.triu(1) if method == "cayley" else raw.tril(-1)
    found = orthogonal_matrix(raw, method=method)
    assert torch.equal(found, orthogonal_matrix(half, method=method))
    assert torch.linalg.det(found).item() == pytest.approx(1.0, abs=1e-12)


def test_an_angle_of_the_cayley_map_is_twice_the_arc_tangent() -> None:
    found = orthogonal_matrix(torch.tensor([[0.0, 0.5], [0.0, 0.0]], dtype=torch.float64), method="cayley")
    assert math.acos(found[0, 0].item()) == pytest.approx(2 * math.atan(0.5), rel=1e-12)


@pytest.mark.parametrize("method", ["gram_schmidt", "lowdin"])
def test_positive_factors_change_nothing(method: str) -> None:
    raw = normal(6, 6)
    factor = torch.tensor([1e-9, 1.0, 3.0, 1e9, 2.0, 0.1]) if method == "gram_schmidt" else 1e-9
    assert torch.allclose(orthogonal_matrix(raw * factor, method=method), orthogonal_matrix(raw, method=method))


@pytest.mark.parametrize("method", ["gram_schmidt", "lowdin"])
def test_a_normal_matrix_gives_uniform_ones(method: str) -> None:
    """Uniform on O(3): E[tr R] = 0, E[(tr R)²] = 1, both signs of the determinant alike."""
    found = orthogonal_matrix(normal(20_000, 3, 3), method=method)
    trace = found.diagonal(dim1=-2, dim2=-1).sum(dim=-1)
    # the fourth moment of the trace is 3
    assert abs(trace.mean().item()) < 5 / 20_000**0.5
    assert trace.square().mean().item() == pytest.approx(1.0, abs=5 * (2 / 20_000) ** 0.5)
    assert abs(torch.linalg.det(found).mean().item()) < 5 / 20_000**0.5


STARTS = {
    "normal": normal(4, 4),
    "identity": torch.eye(4, dtype=torch.float64),
    "orthogonal": gram_schmidt(normal(4, 4, seed=1)),
    "two equal singular values": torch.tensor([[3.0], [3.0], [1.0], [0.5]]) * gram_schmidt(normal(4, 4)),
    "batch": normal(2, 3, 3),
}


@pytest.mark.parametrize("method", ROTATIONS)
@pytest.mark.parametrize("start", STARTS)
def test_derivatives_are_exact(method: str, start: str) -> None:
    raw = STARTS[start].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda r: orthogonal_matrix(r, method=method), raw)
    if start in ("identity", "batch"):
        assert torch.autograd.gradgradcheck(lambda r: orthogonal_matrix(r, method=method), raw)


def test_the_nearest_rotation_has_a_gradient_where_autograd_of_the_svd_has_none() -> None:
    raw = torch.eye(3, requires_grad=True)
    left, _, right = torch.linalg.svd(raw)
    (broken,) = torch.autograd.grad((left @ right)[0, 1], raw)
    assert not torch.isfinite(broken).all()
    (found,) = torch.autograd.grad(orthogonal_matrix(raw, method="lowdin")[0, 1], raw)
    assert torch.equal(found, torch.tensor([[0.0, 0.5, 0.0], [-0.5, 0.0, 0.0], [0.0, 0.0, 0.0]]))


SINGULAR = {
    "zeros": torch.zeros(5, 5),
    "rank one": torch.outer(normal(5, dtype=torch.float32), normal(5, seed=1, dtype=torch.float32)),
    "equal columns": normal(5, 2, dtype=torch.float32)[:, [0, 1, 0, 1, 0]],
    "a zero column": normal(5, 5, dtype=torch.float32) * torch.tensor([1.0, 0.0, 1.0, 1.0, 1.0]),
    "small": normal(5, 5, dtype=torch.float32) * 1e-18,
    "large": normal(5, 5, dtype=torch.float32) * 1e17,
}


@pytest.mark.parametrize("method", ROTATIONS)
@pytest.mark.parametrize("start", SINGULAR)
def test_value_and_gradient_stay_finite(method: str, start: str) -> None:
    raw = SINGULAR[start].clone().requires_grad_()
    found = orthogonal_matrix(raw, method=method)
    (gradient,) = torch.autograd.grad(found, raw, normal(5, 5, dtype=torch.float32))
    if (method, start) != ("cayley", "large"):
        assert error(found) < 1e-5
    assert torch.isfinite(found).all()
    assert torch.isfinite(gradient).all()
    if start == "zeros" and method not in TRIANGULAR:
        assert gradient.abs().max() < 1e-15


def test_known_columns_keep_their_gradient_beside_a_dependent_one() -> None:
    """The third column repeats the first: what the first two do is as if it were not there."""
    raw = normal(5, 3)[:, [0, 1, 0, 2, 2]].requires_grad_()
    coefficient = normal(5, 2)
    (found,) = torch.autograd.grad((orthogonal_matrix(raw)[:, :2] * coefficient).sum(), raw)
    two = raw.detach()[:, :2].requires_grad_()
    (expected,) = torch.autograd.grad((gram_schmidt(two) * coefficient).sum(), two)
    assert torch.allclose(found[:, :2], expected, rtol=1e-9)


@pytest.mark.parametrize("method", ROTATIONS)
def test_mapped_over_an_axis_as_over_a_batch(method: str) -> None:
    raw, coefficient = normal(3, 4, 4), normal(4, 4, seed=1)

    def weighted(matrix: Tensor) -> Tensor:
        return (orthogonal_matrix(matrix, method=method) * coefficient).sum()

    leaf = raw.clone().requires_grad_()
    (expected,) = torch.autograd.grad((orthogonal_matrix(leaf, method=method) * coefficient).sum(), leaf)
    assert torch.allclose(torch.func.vmap(torch.func.grad(weighted))(raw), expected, atol=1e-12)


@pytest.mark.parametrize("method", ROTATIONS)
@pytest.mark.parametrize("dynamic", [pytest.param(False, marks=pytest.mark.slow), True])
def test_compiled_equals_eager(method: str, dynamic: bool) -> None:
    compiled = torch.compile(
        lambda r: orthogonal_matrix(r, method=method), fullgraph=True, backend="aot_eager", dynamic=dynamic
    )
    raw, coefficient = normal(3, 4, 4).requires_grad_(), normal(3, 4, 4, seed=1)
    expected, found = orthogonal_matrix(raw, method=method), compiled(raw)
    assert torch.allclose(expected, found, atol=1e-12)
    gradients = [torch.autograd.grad(matrix, raw, coefficient)[0] for matrix in (expected, found)]
    assert torch.allclose(*gradients, atol=1e-12)
    torch.compiler.reset()


@pytest.mark.parametrize("method", ROTATIONS)
def test_autocast_changes_nothing(method: str) -> None:
    raw = normal(8, 8, dtype=torch.float32).requires_grad_()
    expected = orthogonal_matrix(raw, method=method)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = orthogonal_matrix(raw, method=method)
    assert torch.equal(found, expected)
    gradients = [torch.autograd.grad(matrix[0, 1], raw)[0] for matrix in (found, expected)]
    assert torch.allclose(*gradients, atol=1e-6)
    # nor does a backward that runs inside
    with torch.autocast("cpu", dtype=torch.bfloat16):
        (inside,) = torch.autograd.grad(orthogonal_matrix(raw, method=method)[0, 1], raw)
    assert torch.allclose(inside, gradients[0], atol=1e-6)


@pytest.mark.parametrize("size", [1.0, 1e3, 1e10, 1e19, 1e25])
def test_reflections_stay_orthogonal_for_vectors_of_any_length(size: float) -> None:
    """Also where they are nearly parallel, and where their squares leave the range of the dtype."""
    for noise in (1.0, 1e-3, 0.0):
        raw = (size * (1 + noise * normal(60, 60, dtype=torch.float32))).requires_grad_()
        found = orthogonal_matrix(raw, method="householder")
        assert error(found) < 2e-5
        torch.testing.assert_close(found, reflections(raw.double()).float(), rtol=0, atol=2e-4)
        (gradient,) = torch.autograd.grad(found[3, 5], raw)
        assert torch.isfinite(gradient).all()


def test_the_rounding_of_the_cayley_map_grows_as_stated() -> None:
    raw = normal(65, 65, dtype=torch.float32).triu(1)
    raw /= torch.linalg.matrix_norm(raw - raw.T, ord=2)
    for size in (10, 1e3, 1e5):
        assert error(orthogonal_matrix(raw * size, method="cayley")) < 1e-7 * max(size, 10)


def test_wrong_input_is_refused_in_words() -> None:
    with pytest.raises(
        ValueError, match=r"orthogonal_matrix: unknown method 'caley': choose cayley, .* \(did you mean"
    ):
        orthogonal_matrix(torch.eye(2), method="caley")
    with pytest.raises(
        ValueError, match=r"orthogonal_matrix: expected raw \(\.\.\., D, D\) with D >= 1, got shape \(2, 3\)\."
    ):
        orthogonal_matrix(torch.ones(2, 3))
    with pytest.raises(
        TypeError, match=r"orthogonal_matrix: expected raw of a floating-point dtype, got torch\.int64\."
    ):
        orthogonal_matrix(torch.ones(2, 2, dtype=torch.long))
