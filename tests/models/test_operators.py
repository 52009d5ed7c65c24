# SPDX-License-Identifier: MIT
"""Operators by name: what makes a network's convolutions, and the words for arguments that an operator lacks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from hypersphere.models import CNN, DigitsCNN, ResNet, build_classifier, load_classifier, save_classifier
from hypersphere.models.operators import OPERATORS, make_convolution
from hypersphere.nn import DecoupledConv2d, SphereConv2d


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


def test_names_and_mappings_say_what_a_layer_computes() -> None:
    arguments = {"angle": {"name": "sigmoid", "k": 0.5, "learnable": True}, "magnitude": "learned_tanh", "gain": True}
    layer = make_convolution("decoupled", arguments)(3, 4, 3)
    assert isinstance(layer, DecoupledConv2d)
    assert layer.k is not None
    assert layer.radius is not None
    assert layer.gain is not None
    torch.testing.assert_close(layer.k, torch.full((4,), 0.5))
    torch.testing.assert_close(layer.radius, torch.ones(4))
    assert isinstance(make_convolution("sphere")(3, 4, 3), SphereConv2d)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"angle": "linea"}, r"unknown angle 'linea': choose .* \(did you mean 'linear'\?\)"),
        ({"angle": {"k": 0.5}}, r"angle: a mapping needs the key 'name'"),
        ({"angle": {"name": "sigmoid", "k": -1}}, r"Sigmoid: k must lie in \[0\.001, 1000\] radians, got -1"),
        ({"eps": 2.0}, r"SphereConv2d: eps must lie in \[0, 1\], got 2"),
        ({"weighting": "line"}, r"SphereConv2d: unknown weighting 'line'"),
    ],
)
def test_wrong_values_are_refused_when_the_network_is_built(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CNN(1, widths=[4], image_shape=(1, 8, 8), operator="sphere", operator_arguments=arguments)


def test_an_operator_of_the_users_gets_its_own_arguments() -> None:
    layer = make_convolution(Own, {"sharpness": 2.5})(3, 4, 1)
    assert isinstance(layer, Own)
    assert (layer.sharpness, layer.bias) == (2.5, None)


@pytest.mark.parametrize(
    ("operator", "arguments", "message"),
    [
        ("spher", {}, r"unknown operator 'spher': choose conv, decoupled, sphere \(did you mean 'sphere'\?\)"),
        (
            "sphere",
            {"angel": "linear"},
            r"operator 'sphere': unknown argument 'angel': choose angle, eps, .* \(did you mean 'angle'\?\)",
        ),
        (
            "sphere",
            {"magnitude": "ball", "angel": "linear"},
            r"(?s)operator 'sphere': 2 problems:\n  - unknown argument 'magnitude'.*  - unknown argument 'angel'",
        ),
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


NETWORKS: list[Callable[..., nn.Module]] = [
    lambda **given: CNN(1, widths=[4, 6], image_shape=(1, 8, 8), **given),
    lambda **given: CNN(1, widths=[4, 6], image_shape=(1, 8, 8), norm=False, activation="none", **given),
    lambda **given: DigitsCNN(4, **given),
    lambda **given: ResNet([1, 1], base_width=4, image_shape=(1, 8, 8), **given),
    lambda **given: ResNet([1, 1], base_width=4, image_shape=(1, 8, 8), norm=False, pool="full", **given),
]
OPERATOR_CASES: list[dict[str, Any]] = [
    {"operator": "sphere"},
    {"operator": "sphere", "operator_arguments": {"angle": "linear", "gain": True}},
    {"operator": "sphere", "operator_arguments": {"angle": {"name": "sigmoid", "k": 0.75, "learnable": True}}},
    {"operator": "decoupled", "operator_arguments": {"angle": "square_cosine", "magnitude": "learned_ball"}},
    {"operator": "decoupled", "operator_arguments": {"magnitude": {"name": "segmented", "beta": 0.25}}},
]


@pytest.mark.parametrize("given", OPERATOR_CASES)
@pytest.mark.parametrize("network", NETWORKS)
def test_every_network_learns_with_every_operator(network: Callable[..., nn.Module], given: dict[str, Any]) -> None:
    torch.manual_seed(0)
    model = network(**given)
    shape = (8, *model.image_shape)
    with torch.autocast("cpu", torch.bfloat16):
        model(torch.randn(shape)).float().square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
    assert sum(isinstance(layer, DecoupledConv2d) for layer in model.modules()) >= 3
    assert model.eval()(torch.zeros(shape)).isfinite().all()


@pytest.mark.parametrize("network", NETWORKS)
def test_meta_then_real_starts_what_operators_learn(network: Callable[..., nn.Module]) -> None:
    arguments = {"angle": "learned_sigmoid", "magnitude": "learned_tanh", "gain": True}
    with torch.device("meta"):
        model = network(operator="decoupled", operator_arguments=arguments)
    model.to_empty(device="cpu")
    if isinstance(model, DigitsCNN):
        for layer in model.modules():
            if layer is not model and hasattr(layer, "reset_parameters"):
                layer.reset_parameters()
    else:
        model.reset_parameters()
    for layer in model.modules():
        if isinstance(layer, DecoupledConv2d):
            assert layer.k is not None
            assert layer.radius is not None
            torch.testing.assert_close(layer.k, torch.full_like(layer.k, 0.75))
            torch.testing.assert_close(layer.radius, torch.ones_like(layer.radius))
            assert layer.running_norm == 1
            assert layer.num_batches_tracked == 0
    assert model(torch.randn(4, *model.image_shape)).isfinite().all()


@pytest.mark.parametrize("given", OPERATOR_CASES)
def test_operators_survive_being_saved(tmp_path: Path, given: dict[str, Any]) -> None:
    torch.manual_seed(0)
    data = {"name": "digits", "class_names": list("abc"), "image_shape": [1, 8, 8], "mean": [8.0], "std": [8.0]}
    spec = {"model": {"name": "resnet32", "arguments": {"base_width": 2} | given}, "head": {}, "data": data}
    classifier = build_classifier(spec)
    classifier(torch.randn(4, 1, 8, 8))  # moves running norms
    save_classifier(tmp_path, classifier, spec)
    other, _ = load_classifier(tmp_path)
    images = torch.randn(2, 1, 8, 8)
    assert torch.equal(other(images), classifier.eval()(images))


@pytest.mark.parametrize(
    ("network", "given"),
    [
        *((NETWORKS[0], given) for given in OPERATOR_CASES),
        (NETWORKS[3], OPERATOR_CASES[0]),
        *(pytest.param(NETWORKS[3], given, marks=pytest.mark.slow) for given in OPERATOR_CASES[1:]),
    ],
)
def test_compiled_equals_eager(network: Callable[..., nn.Module], given: dict[str, Any]) -> None:
    torch.compiler.reset()
    model, images = network(**given).eval(), torch.randn(3, 1, 8, 8)
    compiled = torch.compile(lambda x: model(x), fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(images), model(images))
