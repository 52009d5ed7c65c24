# SPDX-License-Identifier: MIT
"""Energy of very many neurons: time and extra memory of the exact energy and of one sampled from 256 rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
from torch import Tensor

from benchmarks.common import Row, compare, peak_memory
from hypersphere.functional import hyperspherical_energy, sampled_energy

DIM = 512
NUM_ROWS = 256
MEASURED = (10_000, 100_000)
LARGEST = 1_000_000


def exact(weight: Tensor) -> None:
    """Exact energy, forward and backward."""
    weight.grad = None
    hyperspherical_energy(weight, impl="blocked").backward()


def sampled(weight: Tensor, num_rows: int) -> None:
    """The same from random rows."""
    weight.grad = None
    sampled_energy(weight, num_rows=num_rows, impl="blocked").backward()


def exact_step(num_neurons: int, dim: int) -> Callable[[], object]:
    """Set up one exact step; its gradient is part of the extra memory."""
    torch.manual_seed(0)
    exact(torch.randn(2048, dim, requires_grad=True))
    return partial(exact, torch.randn(num_neurons, dim, requires_grad=True))


def sampled_step(num_neurons: int, dim: int, num_rows: int) -> Callable[[], object]:
    """Set up one sampled step; its gradient is part of the extra memory."""
    torch.manual_seed(0)
    sampled(torch.randn(2048, dim, requires_grad=True), min(num_rows, 2047))
    return partial(sampled, torch.randn(num_neurons, dim, requires_grad=True), num_rows)


def rows(
    measured: Sequence[int] = MEASURED, largest: int = LARGEST, dim: int = DIM, num_rows: int = NUM_ROWS
) -> Iterator[Row]:
    """Both energies as far as the exact one can be waited for; beyond, the exact one from timed blocks of its rows."""
    for num_neurons in measured:
        size = f"K={num_neurons} D={dim}"
        yield from both(f"exact energy forward + backward, {size}", partial(exact_step, num_neurons, dim))
        yield from both(
            f"sampled energy forward + backward, {size}, {num_rows} rows",
            partial(sampled_step, num_neurons, dim, num_rows),
            bound=gradient_mib(num_neurons, dim) + 128,
        )
    torch.manual_seed(0)
    weight = torch.randn(measured[0], dim, requires_grad=True)
    yield compare(
        f"sampled energy forward + backward, K={measured[0]} D={dim}, {num_rows} rows", "the exact energy",
        partial(sampled, weight, num_rows), partial(exact, weight), bound=None, rounds=5,
    )  # fmt: skip
    del weight
    size = f"K={largest} D={dim}"
    yield from both(
        f"sampled energy forward + backward, {size}, {num_rows} rows",
        partial(sampled_step, largest, dim, num_rows),
        bound=gradient_mib(largest, dim) + 128,
    )
    yield extrapolated(largest, dim)


def gradient_mib(num_neurons: int, dim: int) -> float:
    """Size of the gradient in float32."""
    return num_neurons * dim * 4 / 2**20


def both(what: str, setup: Callable[[], Callable[[], object]], bound: float | None = None) -> Iterator[Row]:
    """Extra memory and seconds of one call in a fresh process."""
    memory = peak_memory(what, "extra memory", setup, bound=bound)
    yield memory
    elapsed = memory.detail["seconds"]
    yield Row(what, "one call", "s", elapsed, None, (elapsed, elapsed), {})


def extrapolated(num_neurons: int, dim: int) -> Row:
    """Seconds that the exact energy would take: a block of 1024 rows against all, timed, times half the blocks.

    The exact energy visits each pair of blocks once where blocks of rows against all visit it twice.
    """
    block = min(1024, num_neurons - 1)
    timed = peak_memory("", "", partial(sampled_step, num_neurons, dim, block), bound=None).detail["seconds"]
    blocks = num_neurons / block
    seconds = timed * blocks / 2
    return Row(
        f"exact energy forward + backward, K={num_neurons} D={dim}",
        "EXTRAPOLATED from a timed block of rows",
        "s",
        seconds,
        None,
        (seconds, seconds),
        {"seconds_of_one_block": timed, "rows_of_one_block": block, "blocks": blocks},
    )
