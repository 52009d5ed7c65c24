# SPDX-License-Identifier: MIT
"""Energy rows of the performance contract: time against a Gram product and against autograd, and peak memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor

from benchmarks.common import Row, compare, peak_memory
from hypersphere.functional import hyperspherical_energy

SIZES = ((4096, 576), (8192, 512))


def step(weight: Tensor, impl: str, power: float) -> None:
    """Energy, forward and backward."""
    weight.grad = None
    hyperspherical_energy(weight, power=power, impl=impl).backward()


def textbook(weight: Tensor, power: float) -> None:
    """Equation 1 as it stands: K×K distances, kernel, mean over i < j, backward through all of it."""
    weight.grad = None
    unit = torch.nn.functional.normalize(weight)
    distance = (2 - 2 * unit @ unit.T + torch.eye(len(weight))).clamp_min(1e-6).sqrt()
    value = -distance.log() if power == 0 else distance.pow(-power)
    (value.triu(1).sum() * 2 / (len(weight) * (len(weight) - 1))).backward()


def large_step(num_neurons: int, dim: int) -> Callable[[], object]:
    """Set up one energy step of a large layer; its gradient is part of the extra memory."""
    torch.manual_seed(0)
    weight = torch.randn(num_neurons, dim, requires_grad=True)
    step(torch.randn(2048, dim, requires_grad=True), "blocked", 0.0)
    return partial(step, weight, "blocked", 0.0)


def rows() -> Iterator[Row]:
    """Every energy row, measured."""
    torch.manual_seed(0)
    for num_neurons, dim in SIZES:
        weight = torch.randn(num_neurons, dim, requires_grad=True)
        matrix = weight.detach()
        for power in (0.0, 1.0, 2.0):
            name = f"energy forward + backward, K={num_neurons} D={dim}, power {power:g}, float32"
            yield compare(
                name, "1.5 Gram products W @ W.T", partial(step, weight, "blocked", power),
                lambda matrix=matrix: matrix @ matrix.T, bound=1.10, factor=1.5,
            )  # fmt: skip
            yield compare(
                name, "textbook autograd on the K×K matrix", partial(step, weight, "blocked", power),
                partial(textbook, weight, power), bound=0.30, rounds=11,
            )  # fmt: skip
    gradient = 32768 * 512 * 4 / 2**20
    yield peak_memory(
        "energy forward + backward, K=32768 D=512",
        "extra memory",
        partial(large_step, 32768, 512),
        bound=gradient + 128,
        rounds=5,
    )
    yield peak_memory(
        "energy forward + backward, K=100000 D=512", "extra memory", partial(large_step, 100_000, 512), bound=1024
    )
