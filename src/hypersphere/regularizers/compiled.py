# SPDX-License-Identifier: MIT
"""Moves the state of a regulariser on from inside compiled code, as one operator that is not looked into."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import torch
from torch import Tensor

__all__ = ["Advances", "enroll", "state_after_step"]


class Advances(Protocol):
    """Anything whose state moves on by one step, given the layers of a model in parts."""

    def advance_from_compiled(
        self, names: Sequence[str], wanted: Sequence[str], weights: Sequence[Tensor], outputs: Sequence[bool]
    ) -> list[Tensor]:
        """Make one step; copies of the state's tensors for the `wanted` layers."""


_NUMBERS = itertools.count()
_ENROLLED: weakref.WeakValueDictionary[int, Advances] = weakref.WeakValueDictionary()


def enroll(regularizer: Advances) -> int:
    """A number by which the operator finds a regulariser, since only tensors and numbers pass through its schema."""
    number = next(_NUMBERS)
    _ENROLLED[number] = regularizer
    return number


def state_after_step(
    number: int,
    names: Sequence[str],
    weights: Sequence[Tensor],
    outputs: Sequence[bool],
    before: dict[str, Tensor],
    likes: dict[str, Tensor],
) -> dict[str, Tensor]:
    """What `LayerState.tensors` holds after one more step.

    Args:
        number: of the regulariser.
        names: of the layers.
        weights: theirs.
        outputs: which of them are output layers.
        before: what it holds now. That makes the arguments of two steps differ: equal calls a compiler makes one.
        likes: empty tensors of the dtypes and shapes that it will hold.
    """
    detached = [weight.detach() for weight in weights]
    given = number, detached, list(outputs), list(before.values()), list(likes.values())
    moved = _advance("\n".join(names), "\n".join(likes), *given)
    return dict(zip(likes, moved, strict=True))


@torch.library.custom_op("hypersphere::advance_regularizer", mutates_args=())
def _advance(
    names: str,
    wanted: str,
    number: int,
    weights: Sequence[Tensor],
    outputs: Sequence[bool],
    before: Sequence[Tensor],
    likes: Sequence[Tensor],
) -> list[Tensor]:
    advance = _ENROLLED[number].advance_from_compiled
    # an operator runs below autograd, which learned projections need; a thread of its own starts above it
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(advance, names.split("\n"), wanted.split("\n"), weights, outputs).result()


@_advance.register_fake
def _(
    names: str,
    wanted: str,
    number: int,
    weights: Sequence[Tensor],
    outputs: Sequence[bool],
    before: Sequence[Tensor],
    likes: Sequence[Tensor],
) -> list[Tensor]:
    return [torch.empty_like(like) for like in likes]
