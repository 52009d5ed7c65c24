# SPDX-License-Identifier: MIT
"""Operators by name: what makes a network's convolutions, and the words for arguments that an operator lacks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from hypersphere.models import CNN, DigitsCNN, ResNet
from hypersphere.models.operators import OPERATORS, make_convolution


class Own(nn.Conv2d):
    """An operator of the user's."""

    def __init__(self, *arguments: Any, sharpness: float = 1.0, **rest: Any) -> None:
        super().__init__(*arguments, **rest)
        self.sharpness = sharpness


@pytest.mark.parametrize("name", OPERATORS)
def test_every_operator_takes_what_a_convolution_takes(name: str) -> None:
    make = make_convolution(name, dtype=torch.float64)
    layer = make(4, 6, 3, stride=2, padding=1, groups=2)
    assert isinstance(layer, nn.Conv2d)
    assert layer.bias is None
    assert make(4, 6, 3, bias=True).bias is not None
    assert layer(torch.zeros(2, 4, 8, 8, dtype=torch.float64)).shape == (2, 6, 4, 4)


@pytest.mark.parametrize("name", OPERATORS)
def test_every_operator_has_one_line_about_it(name: str) -> None:
    assert 20 < len(OPERATORS[name][1]) < 100


def test_an_operator_of_the_users_gets_its_own_arguments() -> None:
    layer = make_convolution(Own, {"sharpness": 2.5})(3, 4, 1)
    assert isinstance(layer, Own)
    assert (layer.sharpness, layer.bias) == (2.5, None)


@pytest.mark.parametrize(
    ("operator", "arguments", "message"),
    [
        ("convolution", {}, r"unknown operator 'convolution': choose conv"),
        ("conv", {"angle": "linear"}, r"operator 'conv': it takes no arguments of its own, got angle\."),
    ],
)
def test_wrong_operators_are_refused_in_words(operator: str, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_convolution(operator, arguments)


@pytest.mark.parametrize(
    "network",
    [
        lambda **given: CNN(1, widths=[4], image_shape=(1, 8, 8), **given),
        lambda **given: DigitsCNN(4, **given),
        lambda **given: ResNet([1, 1], base_width=4, image_shape=(1, 8, 8), **given),
    ],
)
def test_networks_pass_the_arguments_on(network: Callable[..., nn.Module]) -> None:
    model = network(operator=Own, operator_arguments={"sharpness": 3.0})
    made = [layer for layer in model.modules() if isinstance(layer, Own)]
    assert len(made) >= 2
    assert all(layer.sharpness == 3.0 for layer in made)
    with pytest.raises(ValueError, match=r"operator 'conv': it takes no arguments of its own, got sharpness\."):
        network(operator_arguments={"sharpness": 3.0})
