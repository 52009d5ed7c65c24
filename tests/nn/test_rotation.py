# SPDX-License-Identifier: MIT
"""A rotation of the neurons of one layer: sizes, starts, shapes, precision, and the habits of a module."""

from __future__ import annotations

import copy
import itertools

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from hypersphere.functional import hyperspherical_energy
from hypersphere.functional.rotations import ROTATIONS, TRIANGULAR
from hypersphere.nn.rotation import Rotation


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("method", ROTATIONS)
@pytest.mark.parametrize(("dim", "block_size"), [(12, None), (12, 12), (12, 4), (12, 3), (12, 1)])
def test_free_parameters_are_counted(method: str, dim: int, block_size: int | None) -> None:
    rotation = Rotation(dim, method=method, block_size=block_size)
    size = block_size or dim
    expected = dim * (size - 1) // 2 if method in TRIANGULAR else dim * size
    assert sum(parameter.numel() for parameter in rotation.parameters()) == expected
    assert rotation.matrix().shape == (dim // size, size, size)


@pytest.mark.parametrize("method", ROTATIONS)
@pytest.mark.parametrize("block_size", [None, 3])
def test_the_identity_leaves_a_weight_bit_for_bit(method: str, block_size: int | None) -> None:
    weight = normal(5, 2, 3, 1)
    rotation = Rotation(6, method=method, block_size=block_size)
    assert torch.equal(rotation(weight), weight)
    assert rotation.orthogonality_error() == 0.0


@pytest.mark.parametrize("method", ROTATIONS)
def test_a_random_start_rotates_each_block_of_coordinates(method: str) -> None:
    torch.manual_seed(0)
    rotation = Rotation(6, method=method, block_size=3, init="random", dtype=torch.float64)
    weight = normal(4, 2, 3, dtype=torch.float64)
    full = torch.block_diag(*rotation.matrix())
    assert torch.allclose(rotation(weight), (weight.flatten(1) @ full.T).view_as(weight), atol=1e-14)
    assert (full - torch.eye(6)).abs().max() > 0.1
    assert 0.0 < rotation.orthogonality_error() < 1e-14


SPACES = list(itertools.product((0.0, 1.0, 2.0), ("euclidean", "angular"), (False, True)))


@pytest.mark.parametrize("method", ROTATIONS)
def test_no_energy_changes_while_a_loss_is_followed(method: str) -> None:
    torch.manual_seed(0)
    for dtype, tolerance in ((torch.float32, 1e-6), (torch.float64, 1e-12)):
        layer = nn.Linear(8, 6, dtype=dtype)
        weight0 = layer.weight.detach().clone()
        rotation = Rotation(8, method=method, init="random", dtype=dtype)
        parametrize.register_parametrization(layer, "weight", rotation)
        x, y = normal(64, 8).to(dtype), normal(64, 6, seed=1).to(dtype)
        optimizer = torch.optim.SGD([rotation.raw], lr=0.1, momentum=0.9)
        losses = []
        for _ in range(200):
            loss = nn.functional.mse_loss(layer(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert losses[-1] < 0.98 * losses[0]
        assert rotation.orthogonality_error() < (3e-6 if dtype == torch.float32 else 1e-14)
        weight = layer.weight.detach()
        assert (weight - weight0).norm() > 0.1
        for power, distance, half_space in SPACES:
            options = {"power": power, "distance": distance, "half_space": half_space}
            before, after = (hyperspherical_energy(rows, **options).item() for rows in (weight0, weight))
            assert after == pytest.approx(before, rel=tolerance, abs=tolerance)


def test_precision_is_kept_where_the_model_is_cast() -> None:
    rotation = Rotation(4, init="random").to(torch.bfloat16)
    assert rotation.raw.dtype == torch.float32
    assert rotation.double().raw.dtype == torch.float64
    weight = normal(3, 4).bfloat16()
    assert rotation(weight).dtype == torch.bfloat16
    exact = Rotation(4, init="random")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(exact(normal(3, 4)), exact(normal(3, 4)))
        inside = exact(normal(3, 4))
        (gradient,) = torch.autograd.grad(inside[0, 0], exact.raw)
    assert torch.equal(inside, exact(normal(3, 4)))
    assert torch.equal(gradient, torch.autograd.grad(exact(normal(3, 4))[0, 0], exact.raw)[0])


def test_the_order_of_memory_is_kept() -> None:
    rotation = Rotation(18, init="random")
    weight = normal(4, 2, 3, 3)
    found = rotation(weight.contiguous(memory_format=torch.channels_last))
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert rotation(weight).is_contiguous()
    assert torch.equal(found, rotation(weight))


def test_a_module_like_those_of_torch() -> None:
    rotation = Rotation(6, method="lowdin", block_size=2, init="random")
    assert repr(rotation) == "Rotation(dim=6, method='lowdin', block_size=2, init='random')"
    other = Rotation(6, method="lowdin", block_size=2)
    other.load_state_dict(rotation.state_dict(), strict=True)
    assert torch.equal(other.matrix(), copy.deepcopy(rotation).matrix())
    other.reset_parameters()
    assert other.orthogonality_error() == 0.0
    assert Rotation(6, device="meta").raw.is_meta


@pytest.mark.parametrize("method", ROTATIONS)
def test_compiled_equals_eager(method: str) -> None:
    rotation, weight = Rotation(6, method=method, block_size=3, init="random"), normal(4, 6)
    compiled = torch.compile(lambda w: rotation(w), fullgraph=True, backend="aot_eager")
    expected, found = rotation(weight), compiled(weight)
    assert torch.allclose(expected, found, atol=1e-6)
    gradients = [torch.autograd.grad(value[0, 0], rotation.raw)[0] for value in (expected, found)]
    assert torch.allclose(*gradients, atol=1e-6)
    torch.compiler.reset()


WORDS = [
    ({"dim": 0}, r"Rotation: dim must be a whole number of 1 or more, got 0\."),
    ({"dim": 6, "block_size": 4}, r"Rotation: block_size must divide dim, got block_size=4 and dim=6\."),
    ({"dim": 6, "method": "euler"}, r"Rotation: unknown method 'euler': choose cayley, gram_schmidt"),
    ({"dim": 6, "init": "zeros"}, r"Rotation: unknown init 'zeros': choose identity, random"),
    ({"dim": 6, "dtype": torch.float16}, r"Rotation: dtype must be torch\.float32 or torch\.float64, got"),
]  # fmt: skip


@pytest.mark.parametrize(("options", "message"), WORDS)
def test_wrong_arguments_are_refused_in_words(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Rotation(**options)


def test_whole_numbers_are_refused_in_words() -> None:
    with pytest.raises(TypeError, match=r"Rotation: expected weight0 of a floating-point dtype, got torch\.int64\."):
        Rotation(6)(torch.ones(2, 6, dtype=torch.long))


@pytest.mark.parametrize("shape", [(5, 7), (6,)])
def test_another_dimension_is_refused_in_words(shape: tuple[int, ...]) -> None:
    with pytest.raises(
        ValueError, match=r"Rotation: expected a weight \(K, \.\.\.\) of neurons with 6 numbers, got \("
    ):
        Rotation(6)(torch.ones(shape))
