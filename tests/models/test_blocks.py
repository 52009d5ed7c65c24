# SPDX-License-Identifier: MIT
"""Parts of networks: padding on TensorFlow's grid, what follows a convolution, and what a unit adds up."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from hypersphere.models.blocks import Layers, SamePadding, Unit, in_full_precision
from hypersphere.models.operators import make_convolution

CONV = make_convolution("conv")
LAYERS = Layers(
    CONV,
    CONV,
    norm=True,
    norm_eps=1e-3,
    norm_momentum=0.1,
    activation="relu",
    tf_padding=False,
    device=None,
    dtype=None,
)


def padding(size: int, kernel_size: int, stride: int) -> list[int]:
    """Pixels before and after a row of `size` ones, by looking where they went."""
    padded = SamePadding(kernel_size, stride)(torch.ones(1, 1, 1, size))[0, 0].amax(0)
    first = int(padded.argmax())
    return [first, len(padded) - first - size]


@pytest.mark.parametrize(
    ("size", "kernel_size", "expected"),
    [(32, 3, [0, 1]), (224, 7, [2, 3]), (112, 3, [0, 1]), (33, 3, [1, 1]), (32, 1, [0, 0]), (225, 7, [3, 3])],
)
def test_padding_at_stride_two_is_that_of_tensorflow(size: int, kernel_size: int, expected: list[int]) -> None:
    assert padding(size, kernel_size, 2) == expected
    convolved = nn.functional.conv2d(
        SamePadding(kernel_size, 2)(torch.ones(1, 1, size, size)), torch.ones(1, 1, kernel_size, kernel_size), stride=2
    )
    assert convolved.shape[2:] == ((size + 1) // 2, (size + 1) // 2)


def test_padding_before_a_maximum_never_wins() -> None:
    images = -torch.rand(2, 3, 8, 8) - 1
    pooled = replace(LAYERS, tf_padding=True).pooled()(images)
    assert torch.equal(pooled, nn.functional.max_pool2d(images, 3, 2, ceil_mode=True))
    assert replace(LAYERS).pooled()(images).shape == pooled.shape == (2, 3, 4, 4)


def test_strided_layers_alone_are_shifted() -> None:
    shifted = replace(LAYERS, tf_padding=True)
    assert [type(layer).__name__ for layer in shifted.convolved(2, 4, stride=2)][:2] == ["SamePadding", "Conv2d"]
    assert [type(layer).__name__ for layer in shifted.convolved(2, 4)] == ["Conv2d", "BatchNorm2d", "ReLU"]
    symmetric, moved = LAYERS.convolved(1, 1, stride=2).eval(), shifted.convolved(1, 1, stride=2).eval()
    moved.load_state_dict(symmetric.state_dict())
    images = torch.randn(1, 1, 9, 9)
    # the symmetric grid reads rows -1, 1, 3, ..., the other 0, 2, 4, ...: an image moved by one pixel joins them
    torch.testing.assert_close(moved(images[..., 1:, 1:])[..., :3, :3], symmetric(images[..., 0:8, 0:8])[..., 1:, 1:])


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, ["conv", "norm", "activation"]),
        ({"norm": False}, ["conv", "activation"]),
        ({"activation": "none"}, ["conv", "norm"]),
        ({"activation": "prelu"}, ["conv", "norm", "activation"]),
        ({"norm": False, "activation": "none"}, ["conv"]),
    ],
)
def test_what_follows_a_convolution(changed: dict[str, Any], expected: list[str]) -> None:
    layer = replace(LAYERS, **changed).convolved(2, 4)
    assert [name for name, _ in layer.named_children()] == expected
    assert [name for name, _ in replace(LAYERS, **changed).convolved(2, 4, activated=False).named_children()] == [
        name for name in expected if name != "activation"
    ]


def test_prelu_begins_as_relu_with_a_slope_for_each_channel() -> None:
    activation = replace(LAYERS, activation="prelu").activated(5)
    assert isinstance(activation, nn.PReLU)
    assert torch.equal(activation.weight, torch.zeros(5))


@pytest.mark.parametrize("activate_sum", [True, False])
def test_a_unit_is_the_sum_of_both_ways(activate_sum: bool) -> None:
    unit = Unit(LAYERS, 3, 4, stride=2, activate_sum=activate_sum).eval()
    images = torch.randn(2, 3, 8, 8)
    assert unit.shortcut is not None
    assert [name for name, _ in unit.shortcut.named_children()] == ["conv", "norm"]
    assert unit.shortcut.conv.kernel_size == (1, 1)
    added = unit.second(unit.first(images)) + unit.shortcut(images)
    assert torch.equal(unit(images), added.relu() if activate_sum else added)


def test_the_shortcut_is_the_identity_where_it_can_be() -> None:
    unit = Unit(LAYERS, 3, 3, activate_sum=False).eval()
    assert unit.shortcut is None
    nn.init.zeros_(unit.second.conv.weight)
    images = torch.randn(2, 3, 5, 5)
    assert torch.equal(unit(images), images)


def test_shortcuts_are_ordinary_whatever_the_operator() -> None:
    class Other(nn.Conv2d):
        pass

    unit = Unit(replace(LAYERS, convolution=Other), 3, 4, stride=2)
    kinds = {name: type(layer) for name, layer in unit.named_modules() if isinstance(layer, nn.Conv2d)}
    assert kinds == {"first.conv": Other, "second.conv": Other, "shortcut.conv": nn.Conv2d}


def test_last_layers_run_in_the_dtype_of_their_weights_whatever_autocast_says() -> None:
    torch.manual_seed(0)
    layers = [nn.Linear(12, 3), nn.BatchNorm1d(3)]
    maps = torch.randn(4, 3, 2, 2)
    wanted = layers[1](layers[0](maps.flatten(1)))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(in_full_precision(maps, *layers), wanted)
        low = in_full_precision(maps.bfloat16(), *layers)
        # and afterwards autocast is on again
        assert layers[0](maps.flatten(1)).dtype == torch.bfloat16
    assert low.dtype == torch.float32
    assert torch.equal(low, layers[1](layers[0](maps.bfloat16().float().flatten(1))))
    assert in_full_precision(maps.double(), nn.Linear(12, 3, dtype=torch.float64)).dtype == torch.float64
    assert in_full_precision(maps.bfloat16(), nn.Linear(12, 3, dtype=torch.bfloat16)).dtype == torch.bfloat16
