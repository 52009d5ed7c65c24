# SPDX-License-Identifier: MIT
"""The state of a regulariser: its generator, what is saved of it, and what a look leaves behind."""

from __future__ import annotations

import copy
import io

import pytest
import torch

from hypersphere.regularizers.state import LayerState

SHAPES = [(40, 30), (40, 70), (2, 5)]


def test_draws_are_standard_normal_and_independent() -> None:
    first, second = LayerState(0).gaussians([(300, 1000), (300, 1000)], torch.empty(0))
    for drawn in (first, second):
        # five standard errors of each moment of 300 000 numbers
        assert drawn.mean().item() == pytest.approx(0.0, abs=5 / 300_000**0.5)
        assert drawn.square().mean().item() == pytest.approx(1.0, abs=5 * (2 / 300_000) ** 0.5)
    assert (first * second).mean().item() == pytest.approx(0.0, abs=5 / 300_000**0.5)


def test_draws_depend_on_seed_and_place_and_not_on_threads_or_grouping() -> None:
    one = LayerState(3).gaussians(SHAPES, torch.empty(0))
    state = LayerState(3)
    singly = [state.gaussians([shape], torch.empty(0))[0] for shape in SHAPES]
    threads = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        together = LayerState(3).gaussians(SHAPES, torch.empty(0))
    finally:
        torch.set_num_threads(threads)
    for a, b, c in zip(one, singly, together, strict=True):
        assert torch.equal(a, b)
        assert torch.equal(a, c)
    again = LayerState(4).gaussians(SHAPES, torch.empty(0))
    assert not torch.equal(one[0], again[0])
    assert not torch.equal(one[0], state.gaussians(SHAPES[:1], torch.empty(0))[0])


def test_bfloat16_draws_are_the_rounded_ones() -> None:
    (wide,) = LayerState(0).gaussians([(3, 4)], torch.empty(0))
    (narrow,) = LayerState(0).gaussians([(3, 4)], torch.empty(0, dtype=torch.bfloat16))
    assert narrow.dtype == torch.bfloat16
    assert torch.equal(wide.bfloat16(), narrow)


def test_a_saved_state_goes_on_alike() -> None:
    state = LayerState(1)
    state.gaussians(SHAPES, torch.empty(0))
    state.clock.steps = 7
    state.tensors["block.0"] = torch.arange(3.0)
    buffer = io.BytesIO()
    torch.save(state.state_dict(), buffer)
    buffer.seek(0)
    fresh = LayerState(99)
    fresh.load_state_dict(torch.load(buffer, weights_only=True))
    assert fresh.clock.steps == 7
    assert torch.equal(fresh.tensors["block.0"], torch.arange(3.0))
    twin = copy.deepcopy(fresh)
    expected = state.gaussians([(4, 4)], torch.empty(0))[0]
    assert torch.equal(fresh.gaussians([(4, 4)], torch.empty(0))[0], expected)
    assert torch.equal(twin.gaussians([(4, 4)], torch.empty(0))[0], expected)


def test_a_look_leaves_nothing_behind() -> None:
    state = LayerState(1)
    with state.kept():
        inside = state.gaussians([(4, 4)], torch.empty(0))[0]
        state.tensors["x"] = inside
        state.clock.steps += 1
    assert state.tensors == {}
    assert state.clock.steps == 0
    assert torch.equal(state.gaussians([(4, 4)], torch.empty(0))[0], inside)


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(ValueError, match=r"LayerState: seed must be"):
        LayerState(-1)
