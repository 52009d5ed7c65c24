# SPDX-License-Identifier: MIT
"""The recipes of SphereNet and DCNets: the published numbers, and which layers are orthonormal or decay."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from hypersphere.config import Config
from hypersphere.models import Classifier, build
from hypersphere.nn import DecoupledConv2d, MarginHead, SphereConv2d
from hypersphere.regularizers import Orthogonality
from hypersphere.training.optimizer import param_groups
from hypersphere.training.regularization import make_regularizers
from hypersphere.training.settings import differences, make_config

ANGLES = ["cosine", "linear", "sigmoid", "learned-sigmoid"]
SPHERENET = [f"cifar10-spherenet-{angle}" for angle in ANGLES]
ANGULAR = [*SPHERENET, "cifar10-sphere-resnet32", "cifar100-decoupled-tanh"]
ORDINARY = ["cifar10-spherenet-baseline", "cifar10-resnet32"]


def narrow(config: Config) -> Classifier:
    """The network of a recipe with few channels, and its head."""
    model = build(config.model.name, **{**config.model.arguments, "base_width": 4, "image_shape": (3, 8, 8)})
    return Classifier(model, MarginHead(model.num_features, 10))


def decayed(config: Config, classifier: Classifier) -> set[str]:
    options = config.optimizer
    groups = param_groups(
        classifier,
        weight_decay=options.weight_decay,
        decay_norms=options.decay_norms,
        decay_biases=options.decay_biases,
        decay_angular=options.decay_angular,
    )
    return {name for group in groups if group["weight_decay"] > 0 for name in group["names"]}


@pytest.mark.parametrize("name", [*ANGULAR, *ORDINARY])
def test_the_published_numbers(name: str) -> None:
    config = make_config(name)
    decoupled = name == "cifar100-decoupled-tanh"
    assert (config.optimizer.name, config.optimizer.rate, config.optimizer.betas) == ("adam", 1e-3, (0.9, 0.999))
    assert (config.optimizer.weight_decay, config.optimizer.decay_norms) == (5e-4, True)
    assert config.optimizer.project_every == (100 if decoupled else 0)
    assert (config.training.steps, config.training.batch_size) == (42_500 if decoupled else 64_000, 128)
    milestones = [20_000, 30_000, 37_500] if decoupled else [34_000, 54_000]
    assert (config.schedule.unit, config.schedule.milestones, config.schedule.factor) == ("steps", milestones, 0.1)
    assert (config.head.margin, config.head.label_smoothing, config.head.probability_floor) == ("softmax", 0.01, 1e-4)
    assert (config.data.mean, config.data.std, config.data.flip) == ([127.5], [128.0], True)
    assert (config.data.padding, config.data.padding_mode) == ((0, "zero") if "net-" in name else (4, "symmetric"))
    assert {key: config.model.arguments[key] for key in ("norm_eps", "norm_momentum")} == {
        "norm_eps": 1e-3,
        "norm_momentum": 1e-3,
    }
    assert config.training.evaluate_every * 50_000 / 128 == 500
    assert not config.energy.active


@pytest.mark.parametrize(
    ("name", "num_classes", "parameters"),
    [
        ("cifar10-spherenet-baseline", 10, 3_859_712),
        ("cifar10-spherenet-cosine", 10, 3_859_712),
        ("cifar10-resnet32", 10, 16_702_176),
        ("cifar10-sphere-resnet32", 10, 16_702_176),
    ],
)
def test_the_published_number_of_parameters(name: str, num_classes: int, parameters: int) -> None:
    config = make_config(name)
    with torch.device("meta"):
        model = build(config.model.name, **config.model.arguments)
    assert sum(p.numel() for p in model.parameters()) + num_classes * model.num_features == parameters


@pytest.mark.parametrize("name", ANGULAR)
def test_all_angular_layers_and_no_others_are_orthonormal(name: str) -> None:
    config = make_config(name)
    classifier = narrow(config)
    regularizer = make_regularizers(config)["orthogonality"]
    assert isinstance(regularizer, Orthogonality)
    assert (regularizer.kind, regularizer.output_weight) == ("orthonormal", 0)
    decoupled = name == "cifar100-decoupled-tanh"
    # lambda / 2 of the released code
    assert regularizer.hidden_weight == (5e-6 if decoupled else 1e-4)
    assert regularizer.normalized is decoupled
    angular = {
        layer for layer, module in classifier.named_modules() if isinstance(module, SphereConv2d | DecoupledConv2d)
    }
    assert set(regularizer.terms(classifier)) == angular
    assert len(angular) == (10 if "spherenet" in name else 31)
    assert ("model.fc6" in angular) == ("spherenet" in name)


@pytest.mark.parametrize("name", ANGULAR)
def test_what_decays_where_only_directions_count(name: str) -> None:
    config = make_config(name)
    classifier = narrow(config)
    norms = {
        f"{layer}.{parameter}"
        for layer, module in classifier.named_modules()
        if isinstance(module, nn.BatchNorm2d)
        for parameter in ("weight", "bias")
    }
    shortcuts = {f"model.stage{stage}.unit1.shortcut.conv.weight" for stage in (2, 3)} if "resnet" in name else set()
    if name == "cifar100-decoupled-tanh":
        shortcuts = {f"model.stage{stage}.unit1.shortcut.conv.weight" for stage in (2, 3)}
    assert decayed(config, classifier) == norms | shortcuts | {"head.weight"}


@pytest.mark.parametrize("name", ORDINARY)
def test_everything_decays_in_the_baselines(name: str) -> None:
    config = make_config(name)
    classifier = narrow(config)
    assert decayed(config, classifier) == {parameter for parameter, _ in classifier.named_parameters()}
    assert len(make_regularizers(config)) == 0


@pytest.mark.parametrize("angle", ANGLES)
def test_recipes_of_spherenet_differ_in_the_angle_alone(angle: str) -> None:
    changed = differences(make_config("cifar10-spherenet-cosine"), make_config(f"cifar10-spherenet-{angle}"))
    assert {line.split(":")[0].removesuffix(".name") for line in changed if ".angle." not in line} <= {
        "model.arguments.operator_arguments.angle"
    }


def test_a_learned_k_begins_at_that_of_the_released_code() -> None:
    classifier = narrow(make_config("cifar10-spherenet-learned-sigmoid"))
    layers = [layer for layer in classifier.modules() if isinstance(layer, SphereConv2d)]
    assert len(layers) == 10
    for layer in layers:
        assert layer.k is not None
        torch.testing.assert_close(layer.k, torch.full((layer.out_channels,), 0.75))


def test_the_decoupled_network_has_the_published_operator() -> None:
    model = narrow(make_config("cifar100-decoupled-tanh")).model
    root = model.get_submodule("root")
    assert [layer for layer, _ in root.named_children()] == ["conv", "norm"]  # no ReLU
    convolution = root.get_submodule("conv")
    assert isinstance(convolution, DecoupledConv2d)
    assert convolution.radius is not None
    torch.testing.assert_close(convolution.radius, torch.ones(4))
    assert (convolution.magnitude.relative, convolution.magnitude.momentum) == (True, 1e-3)


@pytest.mark.parametrize("name", [*ANGULAR, *ORDINARY])
def test_a_narrow_one_takes_a_step(name: str) -> None:
    config = make_config(name)
    torch.manual_seed(0)
    classifier = narrow(config)
    images, labels = torch.randn(4, 3, 8, 8), torch.tensor([0, 3, 3, 9])
    loss = classifier(images, labels)
    loss = loss + sum(regularizer(classifier) for regularizer in make_regularizers(config).values())
    loss.backward()
    assert loss.isfinite()
    for parameter, value in classifier.named_parameters():
        assert value.grad is not None, parameter
        assert value.grad.isfinite().all(), parameter
    assert classifier.eval()(images).shape == (4, 10)
