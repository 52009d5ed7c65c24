# SPDX-License-Identifier: MIT
"""Layers measured in stacks: the same numbers, in their order; options are called by their names."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from hypersphere.functional import gram_log_determinant, resultant, separation
from hypersphere.regularizers.layers import NeuronLayer
from hypersphere.regularizers.measures import check_options, in_stacks, num_groups


def layers() -> list[NeuronLayer]:
    generator = torch.Generator().manual_seed(0)
    shapes = [(4, 3), (2, 4, 3), (4, 3), (300, 150), (4, 3), (300, 150), (2, 4, 3)]
    return [
        NeuronLayer(str(number), torch.randn(shape, generator=generator), number == 4)
        for number, shape in enumerate(shapes)
    ]


def test_stacked_is_one_by_one_in_order() -> None:
    given = layers()
    calls = []

    def measure(weight: Tensor, chosen: list[NeuronLayer]) -> Tensor:
        calls.append([layer.name for layer in chosen])
        return resultant(weight)

    found = in_stacks(given, measure, lambda layer: layer.is_output)
    for layer, value in zip(given, found, strict=True):
        assert value.shape == (num_groups(layer),)
        groups = layer.weight if layer.weight.ndim == 3 else layer.weight[None]
        torch.testing.assert_close(value, torch.stack([resultant(group) for group in groups]))
    # the output layer differs, and large layers win nothing by company
    assert calls == [["0", "2"], ["1", "6"], ["3"], ["4"], ["5"]]


def test_what_is_measured_may_have_axes() -> None:
    found = in_stacks(layers(), lambda weight, chosen: weight.mean(dim=-2))
    assert [tuple(value.shape) for value in found[:3]] == [(1, 3), (2, 3), (1, 3)]


def test_options_are_those_of_the_function() -> None:
    check_options("R", "gram", gram_log_determinant, ["bandwidth", "ridge"], not_here=("half_space", "eps"))
    with pytest.raises(
        ValueError, match=r"^R: 'separation' has no option 'square': it has distance, squared \(did you mean 'squared'"
    ):
        check_options("R", "separation", separation, ["square"], not_here=("half_space", "eps"))
    with pytest.raises(ValueError, match=r"'separation' has no option 'eps': it has distance, squared\."):
        check_options("R", "separation", separation, ["eps"], not_here=("half_space", "eps"))
