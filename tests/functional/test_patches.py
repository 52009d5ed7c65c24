# SPDX-License-Identifier: MIT
"""Lengths and cosines of patches against unfolding, and what they refuse."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from hypersphere.functional import patch_cosines, patch_norms
from hypersphere.functional.decoupled import unit_kernels


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("place", [(1, 1, 1, 1), (2, 1, 1, 2), (1, 2, 2, 1)])
def test_patch_norms_equal_unfolding(place: tuple[int, int, int, int]) -> None:
    stride, padding, dilation, groups = place
    inputs = normal(2, 4, 6, 5)
    found = patch_norms(inputs, 3, *place)
    for group, part in enumerate(inputs.chunk(groups, dim=1)):
        patches = F.unfold(part, 3, dilation, padding, stride)
        expected = (patches.square().sum(1) + 1e-4).sqrt()
        torch.testing.assert_close(found[:, group].flatten(1), expected)


def test_cosines_of_patches() -> None:
    inputs, weight = normal(2, 4, 6, 5), normal(6, 4, 3, 3, seed=1)
    expected = F.conv2d(inputs, weight) / patch_norms(inputs, 3) / unit_kernels(weight, 1e-4)[1].view(-1, 1, 1)
    torch.testing.assert_close(patch_cosines(inputs, weight), expected)


def test_a_dense_weight_takes_vectors() -> None:
    inputs, weight = normal(3, 7), normal(5, 7, seed=1)
    torch.testing.assert_close(patch_cosines(inputs, weight, eps=0.0), F.normalize(inputs) @ F.normalize(weight).T)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: patch_norms(torch.zeros(2, 3), 3), r"patch_norms: expected input \(N, C, L\), \(N, C, H, W\)"),
        (lambda: patch_norms(torch.zeros(2, 3, 9), 3, groups=2), r"C divisible by groups=2, got shape \(2, 3, 9\)"),
        (lambda: patch_norms(torch.zeros(2, 3, 9), (3, 3)), r"kernel_size must be a whole number of 1 or more, or 1"),
        (lambda: patch_norms(torch.zeros(2, 3, 9), "3"), r"kernel_size must be a whole number of 1 or more, or 1"),
        (lambda: patch_norms(torch.zeros(2, 3, 9), 3, eps=-1.0), r"patch_norms: eps must lie in \[0, inf\], got -1"),
        (lambda: patch_norms(torch.zeros(2, 3, 9), 3, groups=0), r"patch_norms: groups must be a whole number of 1"),
        (
            lambda: patch_cosines(torch.zeros(2, 3), torch.zeros(3)),
            r"patch_cosines: expected weight \(O, D\) or \(O, C / groups, \*size\), got shape \(3,\)",
        ),
    ],
)
def test_what_is_wrong_is_said(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
