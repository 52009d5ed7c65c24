# SPDX-License-Identifier: MIT
"""Sums over patches against unfolding, and their transpose against autograd."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from hypersphere.formulas.patches import Window, channel_squares

WINDOWS = [
    Window((3,), (1,), (0,), (1,)),
    Window((4,), (3,), (2,), (2,)),
    Window((3, 3), (1, 1), (1, 1), (1, 1)),
    Window((3, 2), (2, 1), (1, 0), (1, 2)),
    Window((5, 1), (2, 3), (2, 0), (1, 1)),
    Window((1, 1), (2, 2), (0, 0), (1, 1)),
    Window((2, 3, 2), (1, 2, 1), (1, 1, 0), (2, 1, 1)),
]
CONVOLUTIONS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


def maps(window: Window, groups: int = 2) -> torch.Tensor:
    shape = (2, groups, *[9, 8, 7][: len(window.size)])
    return torch.rand(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("window", WINDOWS, ids=str)
def test_sums_equal_a_convolution_with_ones(window: Window) -> None:
    squares = maps(window)
    ones = torch.ones(2, 1, *window.size, dtype=torch.float64)
    convolve = CONVOLUTIONS[len(window.size)]
    expected = convolve(squares, ones, None, window.stride, window.padding, window.dilation, 2)
    torch.testing.assert_close(window.sums(squares), expected)


@pytest.mark.parametrize("window", WINDOWS, ids=str)
def test_the_transpose_is_what_autograd_finds(window: Window) -> None:
    squares = maps(window).requires_grad_()
    sums = window.sums(squares)
    grad = torch.rand(sums.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    (expected,) = torch.autograd.grad(sums, squares, grad)
    torch.testing.assert_close(window.sums_backward(grad, squares.shape), expected)


def test_sums_equal_unfolded_patches() -> None:
    inputs = torch.randn(2, 6, 7, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    patches = F.unfold(inputs, (3, 2), dilation=(2, 1), padding=(1, 0), stride=(1, 2))
    window = Window((3, 2), (1, 2), (1, 0), (2, 1))
    found = window.sums(channel_squares(inputs, 1, torch.float64))
    torch.testing.assert_close(found.flatten(1), patches.square().sum(1))


@pytest.mark.parametrize("groups", [1, 2, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_squares_of_channels_in_parts(groups: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hypersphere.formulas.patches._PART", 100)
    inputs = torch.randn(5, 6, 4, 3, generator=torch.Generator().manual_seed(0)).to(dtype)
    expected = inputs.float().square().unflatten(1, (groups, -1)).sum(2)
    torch.testing.assert_close(channel_squares(inputs, groups, torch.float32), expected)


def test_a_dense_layer_is_one_patch() -> None:
    inputs, kernels = torch.randn(4, 6), torch.randn(5, 6)
    window = Window()
    torch.testing.assert_close(window.products(inputs, kernels), inputs @ kernels.T)
    squares = channel_squares(inputs, 1, torch.float32)
    assert window.sums(squares) is squares
