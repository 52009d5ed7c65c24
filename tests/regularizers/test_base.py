# SPDX-License-Identifier: MIT
"""What every regulariser gets from its base: weights of layers, and a state that only training moves."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from hypersphere.regularizers.base import LayerRegularizer, too_few
from hypersphere.regularizers.layers import NeuronLayer
from hypersphere.regularizers.state import LayerState


class Counting(LayerRegularizer):
    """The number of steps it has made, for every layer."""

    def __init__(self, **options: float) -> None:
        super().__init__(**options)
        self.state = LayerState(0)

    def _measure(self, layers: Sequence[NeuronLayer]) -> list[Tensor]:
        return [self.state.tensors[layer.name].sum() for layer in layers]

    def _advance(self, layers: Sequence[NeuronLayer]) -> None:
        for layer in layers:
            self.state.put(layer.name, self.state.tensors.get(layer.name, torch.zeros(1)) + 1)


def model() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 5), nn.Linear(5, 2))


def test_layers_are_weighted_and_summed() -> None:
    assert Counting(hidden_weight=2.0, output_weight=10.0)(model()).item() == 2 + 2 + 10


def test_only_a_forward_pass_in_training_moves_the_state() -> None:
    network, counting = model(), Counting()
    assert counting.terms(network)["0"].item() == 1
    assert counting.state.tensors == {}
    assert [counting(network).item() for _ in range(3)] == [3, 6, 9]
    assert counting.terms(network)["1"].item() == 3
    assert counting.eval()(network).item() == 9
    assert counting.train()(network).item() == 12
    assert counting.state.clock.steps == 4


def test_an_abstract_regularizer_cannot_be_made() -> None:
    with pytest.raises(TypeError, match="abstract"):
        LayerRegularizer()


def test_weights_are_checked_in_the_name_of_the_class() -> None:
    with pytest.raises(ValueError, match=r"Counting: output_weight must"):
        Counting(output_weight=-1.0)


def test_nothing_left_is_told_in_the_name_of_the_class() -> None:
    with pytest.raises(ValueError, match=r"Counting: no layer of Linear is left to regularise \(Linear: output_weight"):
        Counting(output_weight=0.0)(nn.Linear(3, 3))


def test_too_few_says_how_many_are_needed() -> None:
    assert too_few(NeuronLayer("a", torch.ones(2, 3), False), 2) is None
    grouped = NeuronLayer("a", torch.ones(4, 1, 3), False)
    assert too_few(grouped, 2, "a penalty") == "1 neuron in each group is too few, a penalty needs 2"
