# SPDX-License-Identifier: MIT
"""The energy of chosen rows in chunks against plain torch: chunk boundaries, options, dtypes, strides, compiled."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from hypersphere.formulas.energies import EnergyKernel, PairPotential, Riesz
from hypersphere.functional import sampling
from hypersphere.functional.sampling import minibatch_energy, sampled_energy
from hypersphere.kernels import rows as kernel_rows
from hypersphere.kernels.rows import chunk_rows, reasons_not, row_energies, rows_and_gradient

OPTIONS = list(itertools.product((0.0, 2.5), ("euclidean", "angular"), (False, True)))


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def both(weight: Tensor, targets: Tensor, **options: object) -> list[tuple[Tensor, Tensor]]:
    """Value and gradient of three times the energy, plain and in chunks."""
    results = []
    for impl in ("torch", "blocked"):
        leaf = weight.detach().requires_grad_()
        energy = minibatch_energy(leaf, targets, impl=impl, **options)
        (3 * energy).backward()
        results.append((energy.detach(), leaf.grad))
    return results


@pytest.fixture(params=[5, 16])
def small_chunks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_rows, "chunk_rows", lambda device: request.param)


# the shapes lie on both sides of a chunk's end, and so do the rows; labels repeat, and some are left out
@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize(("num_neurons", "num_rows"), [(2, 1), (17, 16), (17, 33), (32, 7)])
@pytest.mark.parametrize(("power", "distance", "half_space"), OPTIONS)
def test_parity_with_plain_torch(
    num_neurons: int, num_rows: int, power: float, distance: str, half_space: bool
) -> None:
    targets = torch.randint(num_neurons, (num_rows,), generator=torch.Generator().manual_seed(1))
    targets[1::5] = -100
    for eps in (0.0, 1e-2):
        plain, chunked = both(
            normal(num_neurons, 9), targets, power=power, distance=distance, half_space=half_space, eps=eps
        )
        assert torch.allclose(plain[0], chunked[0], rtol=1e-12)
        assert torch.allclose(plain[1], chunked[1], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("num_neurons", "num_rows", "dim"), [(1023, 17, 17), (1025, 1023, 3), (1023, 1, 1), (2049, 1025, 2)]
)
@pytest.mark.parametrize("half_space", [False, True])
def test_parity_at_the_real_chunk(num_neurons: int, num_rows: int, dim: int, half_space: bool) -> None:
    targets = torch.randint(num_neurons, (num_rows,), generator=torch.Generator().manual_seed(1))
    plain, chunked = both(normal(num_neurons, dim), targets, power=1.0, half_space=half_space)
    assert torch.allclose(plain[0], chunked[0], rtol=1e-9)
    error = (plain[1] - chunked[1]).norm()
    assert error <= 1e-7 * plain[1].norm()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("power", [1.0, 6.0])
def test_parity_in_low_precision(dtype: torch.dtype, power: float) -> None:
    weight = normal(1023, 17, dtype=torch.float32).to(dtype)
    plain, chunked = both(weight, torch.arange(0, 1023, 5), power=power)
    assert plain[0].dtype == chunked[0].dtype == torch.float32
    assert torch.allclose(plain[0], chunked[0], rtol=2e-6)
    assert plain[1].dtype == chunked[1].dtype == dtype
    error = (plain[1].float() - chunked[1].float()).norm() / plain[1].float().norm()
    assert error < {torch.float32: 1e-5, torch.bfloat16: 1e-2, torch.float16: 1e-2}[dtype]


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("stride", ["transposed", "every other", "expanded"])
def test_strides_are_followed(stride: str) -> None:
    matrix = normal(17, 17)
    weight = {"transposed": matrix.T, "every other": matrix[:, ::2], "expanded": matrix[:1].expand(17, -1)}[stride]
    plain, chunked = both(weight, torch.tensor([0, 16, 3]), power=2.0)
    contiguous = minibatch_energy(weight.contiguous(), torch.tensor([0, 16, 3]), power=2.0)
    assert torch.equal(plain[0], contiguous)
    assert torch.allclose(plain[0], chunked[0], rtol=1e-12)
    assert torch.allclose(plain[1], chunked[1], rtol=1e-9, atol=1e-12)


def test_zero_and_equal_rows_stay_finite() -> None:
    weight = normal(9, 4, dtype=torch.float32)
    weight[0], weight[2], weight[3] = 0.0, weight[1], -weight[1]
    weight[4] *= 1e18
    weight[5] *= 1e-18
    for power, half_space in itertools.product((0.0, 2.0), (False, True)):
        plain, chunked = both(weight, torch.arange(9), power=power, half_space=half_space)
        assert torch.isfinite(chunked[1]).all()
        assert torch.allclose(plain[0], chunked[0], rtol=1e-6)
        scale = weight.norm(dim=1, keepdim=True).clamp_min(1e-18)
        assert torch.allclose(plain[1] * scale, chunked[1] * scale, rtol=1e-3, atol=1e-3)


def test_row_energies_come_one_by_one_and_without_gradient_there_is_none() -> None:
    weight, rows = normal(40, 5), torch.tensor([3, 3, 39])
    share = torch.tensor([0.5, 0.0, 2.0], dtype=torch.float64)
    potential = PairPotential(Riesz(1.0))
    energy, means, gradient = rows_and_gradient(
        weight, rows, share, potential, half_space=False, eps=0.0, need_gradient=False
    )
    assert gradient.numel() == 0
    for row, mean in zip(rows, means, strict=True):
        assert torch.allclose(mean, minibatch_energy(weight, row[None], power=1.0), rtol=1e-12)
    assert torch.allclose(energy, 0.5 * means[0] + 2 * means[2])


def test_a_retained_graph_gives_the_same_gradient_twice() -> None:
    weight = normal(17, 3).requires_grad_()
    energy = minibatch_energy(weight, torch.tensor([1, 2]), impl="blocked")
    (first,) = torch.autograd.grad(2 * energy, weight, retain_graph=True)
    kept = first.clone()
    (second,) = torch.autograd.grad(3 * energy, weight)
    assert torch.equal(first, kept)
    assert torch.allclose(second, 1.5 * first, rtol=1e-12)


def test_a_second_derivative_is_refused_in_words() -> None:
    weight = normal(17, 3).requires_grad_()
    energy = minibatch_energy(weight, torch.tensor([1, 2]), impl="blocked")
    (gradient,) = torch.autograd.grad(energy, weight, create_graph=True)
    with pytest.raises(RuntimeError, match=r"has no second derivative\. Use impl='torch' to differentiate twice"):
        torch.autograd.grad(gradient.square().sum(), weight)


def test_kernel_objects_run_and_are_refused_where_they_cannot(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = EnergyKernel(lambda z: torch.exp(-z.square()), lambda z: -2 * z * torch.exp(-z.square()))
    plain, chunked = both(normal(17, 3), torch.tensor([1, 5]), kernel=kernel)
    assert torch.allclose(plain[0], chunked[0], rtol=1e-12)
    assert torch.allclose(plain[1], chunked[1], rtol=1e-9, atol=1e-12)
    assert reasons_not(normal(3, 2), kernel) == []
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    with pytest.raises(
        ValueError, match=r"minibatch_energy: impl='blocked' cannot run here: a kernel object of your own"
    ):
        minibatch_energy(normal(3, 2), torch.tensor([0]), kernel=kernel, impl="blocked")


COMPILED: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "targets, chunks": lambda w, y: minibatch_energy(w, y, power=1.0, half_space=True, impl="blocked"),
    "targets, plain": lambda w, y: minibatch_energy(w, y, power=2.0, distance="angular", impl="torch"),
    "unique": lambda w, y: minibatch_energy(w, y, rule="unique", half_space=True),
    "all rows": lambda w, y: sampled_energy(w, num_rows=40),
}


@pytest.mark.parametrize("dynamic", [pytest.param(False, marks=pytest.mark.slow), True])
@pytest.mark.parametrize("name", COMPILED)
def test_compiled_equals_eager(name: str, dynamic: bool) -> None:
    function = COMPILED[name]
    compiled = torch.compile(lambda w, y: function(w, y), fullgraph=True, backend="aot_eager", dynamic=dynamic)
    eager_leaf = normal(40, 6, dtype=torch.float32).requires_grad_()
    leaf = eager_leaf.detach().clone().requires_grad_()
    targets = torch.tensor([3, 39, 3, -100, 0])
    expected, found = function(eager_leaf, targets), compiled(leaf, targets)
    expected.backward()
    found.backward()
    assert torch.allclose(expected, found, rtol=1e-6)
    assert torch.allclose(eager_leaf.grad, leaf.grad, rtol=1e-4, atol=1e-7)
    torch.compiler.reset()


@pytest.mark.parametrize("impl", ["torch", "blocked"])
def test_sampling_compiles_in_one_graph(impl: str) -> None:
    compiled = torch.compile(
        lambda w: sampled_energy(w, num_rows=3, power=2.0, return_error=True, impl=impl),
        fullgraph=True,
        backend="aot_eager",
    )
    leaf = torch.eye(7, requires_grad=True)
    energy, error = compiled(leaf)
    energy.backward()
    # orthogonal rows: whichever are drawn, each pair has 1/2
    assert energy.item() == pytest.approx(0.5, rel=1e-6)
    assert error.item() == pytest.approx(0.0, abs=1e-6)
    assert leaf.grad is not None
    torch.compiler.reset()


class _Largest(TorchDispatchMode):
    """Remembers the largest tensor that an operation made."""

    numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        for tensor in made if isinstance(made, tuple | list) else (made,):
            # views of what is there already are nothing new
            if isinstance(tensor, Tensor) and tensor._base is None:
                self.numel = max(self.numel, tensor.numel())
        return made


def test_no_array_is_larger_than_the_gradient_or_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """With more rows than a block too: their cosines with all rows never stand side by side, (b, K)."""
    monkeypatch.setattr(kernel_rows, "chunk_rows", lambda device: 8)
    weight = normal(100, 3).requires_grad_()
    for half_space in (False, True):
        with _Largest() as largest:
            sampled_energy(weight, num_rows=50, impl="blocked", half_space=half_space).backward()
        assert largest.numel == weight.numel()
        with _Largest() as largest, torch.no_grad():
            sampled_energy(weight, num_rows=50, impl="blocked", half_space=half_space)
        assert largest.numel <= 100  # the permutation of the rows


def test_the_choice_is_plain_for_small_inputs_only(monkeypatch: pytest.MonkeyPatch) -> None:
    called = []
    monkeypatch.setattr(sampling, "row_energies", lambda *a, **k: called.append(1) or row_energies(*a, **k))
    weight = normal(2049, 2)
    sampled_energy(weight, num_rows=500)
    assert called == []
    sampled_energy(weight, num_rows=520)
    assert called == [1]
    assert chunk_rows(torch.device("cpu")) == 1024
    assert chunk_rows(torch.device("cuda")) == 4096


def test_operator_is_well_formed() -> None:
    weight = normal(6, 3).requires_grad_()
    share = torch.full((2,), 0.5, dtype=torch.float64)
    arguments = (weight, torch.tensor([1, 4]), share, 1.0, "euclidean", True, 0.0, 0.0, True)
    # aot autograd would differentiate the saved gradient too, which is refused in words
    checks = ("test_schema", "test_autograd_registration", "test_faketensor")
    torch.library.opcheck(torch.ops.hypersphere.row_energies.default, arguments, test_utils=checks)
