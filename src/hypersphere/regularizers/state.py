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
    """Counts steps and draws; a plain object, so that compiled code takes the counts for variables."""

    def __init__(self) -> None:
        self.steps = 0
        self.draws = 0


class LayerState(nn.Module):
    """State of a regulariser, saved and loaded as the extra state of its module, so before its first step too.

    The generator is a seed and a count: draw number n comes from a stream of its own, derived from both. So draws for
    different layers are independent, are made side by side, and do not depend on the number of threads. Every process
    of a distributed run makes the same draws.

    Args:
        seed: of the generator, >= 0.

    Attributes:
        clock: training steps and draws so far.
        tensors: by layer name.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        check_count("LayerState", "seed", seed, low=0)
        self.seed = seed
        self.clock = Clock()
        self.tensors: dict[str, Tensor] = {}
        # layer -> number and shape of the draw that its tensor is, unchanged: they say all of it, so it is not saved
        self._drawn: dict[str, tuple[int, int, int]] = {}

    def draw(self, shapes: dict[str, tuple[int, int]], like: Tensor) -> None:
        """Give each named layer a matrix of independent standard normal numbers, on the device of `like`.

        bfloat16 if `like` is, else float32.
        """
        first = self.clock.draws
        self.clock.draws = first + len(shapes)
        numbered = {name: (first + place, *shape) for place, (name, shape) in enumerate(shapes.items())}
        self._drawn |= numbered
        self.tensors |= _draw(self.seed, numbered, like)

    def put(self, name: str, tensor: Tensor) -> None:
        """Give a layer a tensor that is no plain draw."""
        self._drawn.pop(name, None)
        self.tensors[name] = tensor

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """A block after which the state is as it was before."""
        before = self.clock.steps, self.clock.draws, dict(self.tensors), dict(self._drawn)
        try:
            yield
        finally:
            self.clock.steps, self.clock.draws, self.tensors, self._drawn = before

    def get_extra_state(self) -> dict[str, Any]:
        """What `state_dict` holds of it: tensors and numbers only."""
        drawn = {}
        for name, origin in self._drawn.items():
            tensor = self.tensors[name]
            drawn[name] = {"origin": origin, "like": torch.empty(0, dtype=tensor.dtype), "device": str(tensor.device)}
        put = {name: tensor.detach().clone() for name, tensor in self.tensors.items() if name not in drawn}
        counts = {"seed": self.seed, "steps": self.clock.steps, "draws": self.clock.draws}
        return counts | {"tensors": put, "drawn": drawn}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Put back what `get_extra_state` gave."""
        self.seed, self.clock.steps, self.clock.draws = (state[key] for key in ("seed", "steps", "draws"))
        self.tensors = {name: tensor.clone() for name, tensor in state["tensors"].items()}
        self._drawn = {name: tuple(one["origin"]) for name, one in state["drawn"].items()}
        for name, one in state["drawn"].items():
            # a run that moves to another device cannot have the same numbers
            device = torch.device(one["device"])
            known = device.type == "cpu" or torch.accelerator.is_available()
            like = one["like"].to(device if known else "cpu")
            self.tensors |= _draw(self.seed, {name: self._drawn[name]}, like)


def _draw(seed: int, numbered: dict[str, tuple[int, int, int]], like: Tensor) -> dict[str, Tensor]:
    flat = [number for origin in numbered.values() for number in origin]
    return dict(zip(numbered, _gaussians(seed, flat, like), strict=True))


@torch.library.custom_op("hypersphere::gaussians", mutates_args=())
def _gaussians(seed: int, numbered: Sequence[int], like: Tensor) -> list[Tensor]:
    """Matrices of standard normal numbers; `numbered` holds stream, rows and columns of each."""

    def draw(stream: int, rows: int, columns: int) -> Tensor:
        entropy = np.random.SeedSequence([seed, stream]).generate_state(1, np.uint64)
        generator = torch.Generator(like.device).manual_seed(int(entropy[0] >> np.uint64(1)))
        numbers = torch.randn(rows, columns, generator=generator, device=like.device)
        return numbers.to(_dtype(like))

    threads = torch.get_num_threads() if like.device.type == "cpu" else 1
    columns = [numbered[place::3] for place in range(3)]
    if threads == 1:
        return list(map(draw, *columns))
    # a stream is drawn by one thread, several streams by several
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(draw, *columns))


@_gaussians.register_fake
def _(seed: int, numbered: Sequence[int], like: Tensor) -> list[Tensor]:
    shapes = zip(numbered[1::3], numbered[2::3], strict=True)
    return [like.new_empty(shape, dtype=_dtype(like)) for shape in shapes]


def _dtype(like: Tensor) -> torch.dtype:
    return torch.bfloat16 if like.dtype == torch.bfloat16 else torch.float32
