# SPDX-License-Identifier: MIT
"""The state of a regulariser: its generator, what is saved of it, and what a look leaves behind."""

from __future__ import annotations

import copy
import io

import pytest
import torch
from torch import Tensor

from hypersphere.regularizers.state import LayerState

SHAPES = [(40, 30), (40, 70), (2, 5)]


def drawn(state: LayerState, *shapes: tuple[int, int], dtype: torch.dtype = torch.float32) -> list[Tensor]:
    names = {f"layer {number}": shape for number, shape in enumerate(shapes)}
    state.draw(names, torch.empty(0, dtype=dtype))
    return [state.tensors[name] for name in names]


def test_draws_are_standard_normal_and_independent() -> None:
    first, second = drawn(LayerState(0), (300, 1000), (300, 1000))
    for numbers in (first, second):
        # five standard errors of each moment of 300 000 numbers
        assert numbers.mean().item() == pytest.approx(0.0, abs=5 / 300_000**0.5)
        assert numbers.square().mean().item() == pytest.approx(1.0, abs=5 * (2 / 300_000) ** 0.5)
    assert (first * second).mean().item() == pytest.approx(0.0, abs=5 / 300_000**0.5)


def test_draws_depend_on_seed_and_place_and_not_on_threads_or_grouping() -> None:
    one = drawn(LayerState(3), *SHAPES)
    state = LayerState(3)
    singly = [drawn(state, shape)[0] for shape in SHAPES]
    threads = torch.get_num_threads()
    torch.set_num_threads(1 if threads > 1 else 4)
    try:
        together = drawn(LayerState(3), *SHAPES)
    finally:
        torch.set_num_threads(threads)
    for a, b, c in zip(one, singly, together, strict=True):
        assert torch.equal(a, b)
        assert torch.equal(a, c)
    assert not torch.equal(one[0], drawn(LayerState(4), SHAPES[0])[0])
    assert not torch.equal(one[0], drawn(state, SHAPES[0])[0])


def test_bfloat16_draws_are_the_rounded_ones() -> None:
    (wide,) = drawn(LayerState(0), (3, 4))
    (narrow,) = drawn(LayerState(0), (3, 4), dtype=torch.bfloat16)
    assert narrow.dtype == torch.bfloat16
    assert torch.equal(wide.bfloat16(), narrow)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_saved_state_goes_on_alike(dtype: torch.dtype) -> None:
    state = LayerState(1)
    drawn(state, *SHAPES, dtype=dtype)
    state.clock.steps = 7
    state.put("block.0", torch.arange(3.0))
    state.put("layer 1", torch.ones(2))
    buffer = io.BytesIO()
    torch.save(state.state_dict(), buffer)
    # draws are saved as what they were drawn from
    assert len(buffer.getvalue()) < 4 * 40 * 30
    buffer.seek(0)
    fresh = LayerState(99)
    fresh.load_state_dict(torch.load(buffer, weights_only=True))
    assert fresh.clock.steps == 7
    assert fresh.tensors.keys() == state.tensors.keys()
    for name, tensor in state.tensors.items():
        assert torch.equal(fresh.tensors[name], tensor)
    twin = copy.deepcopy(fresh)
    expected = drawn(state, (4, 4))[0]
    assert torch.equal(drawn(fresh, (4, 4))[0], expected)
    assert torch.equal(drawn(twin, (4, 4))[0], expected)


def test_a_look_leaves_nothing_behind() -> None:
    state = LayerState(1)
    with state.kept():
        inside = drawn(state, (4, 4))[0]
        state.clock.steps += 1
    assert state.tensors == {}
    assert state.clock.steps == 0
    assert torch.equal(drawn(state, (4, 4))[0], inside)


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(ValueError, match=r"LayerState: seed must be"):
        LayerState(-1)
