# SPDX-License-Identifier: MIT
"""Names by pattern, what is said of patterns without a layer, and the rule for the output layer."""

from __future__ import annotations

import pytest
from torch import nn
from torch.ao.nn.quantized.dynamic import Linear

from hypersphere.nn import MarginHead
from hypersphere.nn.selection import is_head, name_patterns, output_layers, unmatched


class WithClassifier(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.classifier = nn.Linear(4, 2)
        self.projection = nn.Linear(4, 4)

    def get_classifier(self) -> nn.Module:
        return self.classifier


def test_patterns_cross_dots_and_one_needs_no_brackets() -> None:
    (pattern,) = name_patterns("block*.conv?")
    assert pattern.matches("block1.unit.conv2")
    assert not pattern.matches("head", "block1.conv12")
    assert name_patterns([pattern, "head"]) == (pattern, *name_patterns("head"))
    assert name_patterns(name for name in ("a", "b")) == name_patterns(["a", "b"])


@pytest.mark.parametrize("given", [4, [4], None])
def test_what_is_no_pattern(given: object) -> None:
    with pytest.raises(TypeError, match="patterns of layer names: expected a string or a sequence of strings, got"):
        name_patterns(given)  # type: ignore[arg-type]


def test_a_pattern_without_a_layer_is_told_with_the_nearest_name() -> None:
    patterns = name_patterns(["conv1", "conf2", "zzz"])
    assert unmatched("include", patterns, ["conv1", "conv2"]) == [
        "include pattern 'conf2' matches no layer (did you mean 'conv2'?).",
        "include pattern 'zzz' matches no layer among conv1, conv2.",
    ]


def test_heads_come_first_then_what_the_model_says_then_the_last_linear() -> None:
    model, head = WithClassifier(), MarginHead(4, 2)
    layers = [model.classifier, model.projection]
    assert is_head(head)
    assert output_layers([model, head], [*layers, head]) == {id(head)}
    assert output_layers([model], layers) == {id(model.classifier)}
    assert output_layers([nn.Sequential(*layers)], layers) == {id(model.projection)}
    attention = nn.MultiheadAttention(4, 2)
    assert output_layers([attention], [layers[0], attention.out_proj]) == {id(layers[0])}
    assert output_layers([nn.Conv2d(1, 2, 3)], [nn.Conv2d(1, 2, 3)]) == set()


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_quantised_linear_layer_may_be_the_last() -> None:
    layer, quantised = nn.Linear(4, 4), Linear(4, 2)
    assert output_layers([], [layer, quantised]) == {id(quantised)}
