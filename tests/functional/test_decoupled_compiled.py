# SPDX-License-Identifier: MIT
"""Decoupled convolution as compilers see it: one graph, the same numbers, images read as they lie in memory."""

from __future__ import annotations

import itertools
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._inductor.utils import run_fw_bw_and_get_code

from hypersphere.formulas.angles import ANGLES
from hypersphere.formulas.magnitudes import MAGNITUDES
from hypersphere.functional import decoupled_conv2d


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize(
    ("angle", "magnitude", "weighting"),
    [("cosine", "sphere", None), ("sigmoid", "ball", "linear"), ("linear", "segmented", "joint")],
)
def test_compiled_in_one_graph_equals_eager(angle: str, magnitude: str, weighting: str | None, groups: int) -> None:
    torch.compiler.reset()
    inputs, weight = normal(2, 4, 6, 5).requires_grad_(), normal(6, 4 // groups, 3, 3, seed=1).requires_grad_()
    how: dict[str, Any] = {"angle": angle, "magnitude": magnitude, "weighting": weighting}

    def function(inputs: Tensor, weight: Tensor) -> Tensor:
        return decoupled_conv2d(inputs, weight, None, 2, 1, 1, groups, **how)

    compiled = torch.compile(lambda x, w: function(x, w), fullgraph=True, backend="aot_eager")
    results = []
    for run in (function, compiled):
        output = run(inputs, weight)
        results.append((output.detach(), *torch.autograd.grad(output.square().sum(), (inputs, weight))))
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-13)


def test_sizes_may_be_numbers_that_the_compiler_has_not_fixed() -> None:
    torch.compiler.reset()
    inputs, weight = normal(1, 2, 7, 7), normal(3, 2, 3, 3, seed=1)

    @torch.compile(backend="aot_eager", fullgraph=True, dynamic=True)
    def compiled(stride: int) -> Tensor:
        return decoupled_conv2d(inputs, weight, stride=stride, padding=stride)

    for stride in (1, 2, 3):
        torch.testing.assert_close(
            compiled(stride), decoupled_conv2d(inputs, weight, stride=stride, padding=stride), rtol=1e-12, atol=1e-13
        )


@pytest.mark.slow
@pytest.mark.parametrize(("angle", "magnitude"), list(itertools.product(ANGLES, MAGNITUDES)))
def test_every_pair_in_one_graph_equals_eager(angle: str, magnitude: str) -> None:
    """With everything given that can be learned of the pair."""
    torch.compiler.reset()
    learned = {"gain": normal(6, seed=3)}
    if ANGLES[angle].learnable:
        learned["k"] = normal(6, seed=4).abs() + 0.1
    if MAGNITUDES[magnitude].learnable:
        learned[MAGNITUDES[magnitude].parameter] = (
            torch.tensor(0.3).double() if magnitude == "power" else normal(6, seed=5).abs() + 0.3
        )
    tensors = [x.requires_grad_() for x in (normal(2, 4, 6, 5), normal(6, 4, 3, 3, seed=1), *learned.values())]

    def function(inputs: Tensor, weight: Tensor, *values: Tensor) -> Tensor:
        given: dict[str, Any] = dict(zip(learned, values, strict=True))
        return decoupled_conv2d(inputs, weight, padding=1, angle=angle, magnitude=magnitude, **given)

    results = []
    for run in (function, torch.compile(lambda *x: function(*x), fullgraph=True, backend="aot_eager")):
        output = run(*tensors)
        results.append((output.detach(), *torch.autograd.grad(output.square().sum(), tensors)))
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-12)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is deprecated")  # of torch itself
@pytest.mark.parametrize(
    ("angle", "magnitude"),
    [("cosine", "sphere"), ("linear", "tanh"), ("sigmoid", "sphere"), ("square_cosine", "segmented")],
)
def test_generated_code_equals_eager_and_reads_channels_last_as_it_lies(angle: str, magnitude: str) -> None:
    def function(inputs: Tensor, weight: Tensor) -> Tensor:
        return decoupled_conv2d(inputs, weight, padding=1, angle=angle, magnitude=magnitude)

    images = normal(4, 16, 8, 8).float().contiguous(memory_format=torch.channels_last)
    kernels = normal(16, 16, 3, 3, seed=1).float().contiguous(memory_format=torch.channels_last)
    results, compiled = [], torch.compile(function, fullgraph=True)
    for run in (function, compiled):
        inputs, weight = (x.clone().requires_grad_() for x in (images, kernels))
        output, sources = run_fw_bw_and_get_code(partial(run, inputs, weight))
        results.append((output, inputs.grad, weight.grad))
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=2e-6)
    # with an axis of groups between, outputs were computed transposed and then copied: a tenth more time
    assert len(sources) == 2
    assert not any("transpose_mxn" in source for source in sources)
