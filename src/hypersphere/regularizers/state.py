# SPDX-License-Identifier: MIT
"""What a regulariser keeps between steps: a random generator, a step count, and tensors by layer name."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hypersphere.checks import check_count

__all__ = ["Clock", "LayerState"]


class Clock:
    """Counts steps; a plain object, so that compiled code takes the count for a variable."""

    def __init__(self) -> None:
        self.steps = 0


class LayerState(nn.Module):
    """State of a regulariser, saved and loaded as the extra state of its module, so before its first step too.

    The generator is a seed and a count: matrix number n is drawn from a stream of its own, derived from both. So draws
    for different layers are independent, run side by side, and do not depend on the number of threads. Every process
    of a distributed run draws the same.

    Args:
        seed: of the generator, >= 0.

    Attributes:
        clock: training steps so far.
        tensors: by layer name.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        check_count("LayerState", "seed", seed, low=0)
        self.generator = torch.tensor([seed, 0])
        self.clock = Clock()
        self.tensors: dict[str, Tensor] = {}

    def gaussians(self, shapes: Sequence[tuple[int, int]], like: Tensor) -> list[Tensor]:
        """A matrix of independent standard normal numbers for each shape, on the device of `like`.

        bfloat16 if `like` is, else float32.
        """
        sizes = [size for shape in shapes for size in shape]
        drawn: list[Tensor] = _gaussians(self.generator, sizes, like)
        return drawn

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """A block after which the state is as it was before."""
        generator, steps, tensors = self.generator.clone(), self.clock.steps, dict(self.tensors)
        try:
            yield
        finally:
            self.generator, self.clock.steps, self.tensors = generator, steps, tensors

    def get_extra_state(self) -> dict[str, Any]:
        """What `state_dict` holds of it: tensors and numbers only."""
        tensors = {name: tensor.detach().clone() for name, tensor in self.tensors.items()}
        return {"generator": self.generator.clone(), "steps": self.clock.steps, "tensors": tensors}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Put back what `get_extra_state` gave."""
        self.generator = state["generator"].clone()
        self.clock.steps = state["steps"]
        self.tensors = {name: tensor.clone() for name, tensor in state["tensors"].items()}


@torch.library.custom_op("hypersphere::gaussians", mutates_args=("generator",))
def _gaussians(generator: Tensor, sizes: Sequence[int], like: Tensor) -> list[Tensor]:
    seed, count = generator.tolist()
    shapes = list(zip(sizes[::2], sizes[1::2], strict=True))
    dtype = torch.bfloat16 if like.dtype == torch.bfloat16 else torch.float32

    def draw(number: int) -> Tensor:
        stream = np.random.SeedSequence([seed, count + number]).generate_state(1, np.uint64)
        own = torch.Generator(like.device).manual_seed(int(stream[0] >> 1))
        return torch.randn(shapes[number], generator=own, device=like.device).to(dtype)

    generator[1] += len(shapes)
    if like.device.type != "cpu" or torch.get_num_threads() == 1:
        return [draw(number) for number in range(len(shapes))]
    # one stream cannot be drawn by several threads, several streams can
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        return list(pool.map(draw, range(len(shapes))))


@_gaussians.register_fake
def _(generator: Tensor, sizes: Sequence[int], like: Tensor) -> list[Tensor]:
    dtype = torch.bfloat16 if like.dtype == torch.bfloat16 else torch.float32
    shapes = zip(sizes[::2], sizes[1::2], strict=True)
    return [like.new_empty(shape, dtype=dtype) for shape in shapes]
