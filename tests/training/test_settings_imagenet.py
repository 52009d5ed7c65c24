# SPDX-License-Identifier: MIT
"""The recipes for ImageNet: the published numbers where there are some, what differs between two, and that all run."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from hypersphere.config import Config
from hypersphere.models import Classifier, build
from hypersphere.nn import DecoupledConv2d, MarginHead, SphereConv2d
from hypersphere.training.optimizer import param_groups
from hypersphere.training.regularization import make_regularizers
from hypersphere.training.run import evaluate, train
from hypersphere.training.settings import differences, make_config, recipe_names
from tiny_runs import lines

IMAGENET = [name for name in recipe_names() if name.startswith("imagenet-")]
CHOSEN = [name for name in IMAGENET if name != "imagenet-decoupled-resnet18"]
NUM_TRAIN = 1_281_167


def on_meta(config: Config, **arguments: Any) -> Classifier:
    """The network of a recipe without memory, and its head."""
    with torch.device("meta"):
        model = build(config.model.name, **{**config.model.arguments, **arguments})
        return Classifier(model, MarginHead(model.num_features, 1000))


def narrow(config: Config) -> Classifier:
    """The network of a recipe with few channels for small images, and its head."""
    model = build(config.model.name, **{**config.model.arguments, "base_width": 4, "image_shape": (3, 32, 32)})
    return Classifier(model, MarginHead(model.num_features, 10))


def changed(first: str, second: str, **settings: str) -> list[str]:
    base = make_config(first, [f"--{key.replace('__', '.')}={value}" for key, value in settings.items()])
    return [line.split(":")[0] for line in differences(base, make_config(second))]


def test_which_there_are() -> None:
    assert IMAGENET == [
        "imagenet-decoupled-resnet18",
        "imagenet-plain-cnn9",
        "imagenet-resnet18",
        "imagenet-resnet18-mhe",
        "imagenet-resnet18-orthonormal",
        "imagenet-resnet34-mhe",
        "imagenet-sphere-resnet27",
        "imagenet-spherenet-cnn9",
    ]


@pytest.mark.parametrize("name", IMAGENET)
def test_images_are_cut_from_256_to_224(name: str) -> None:
    config = make_config(name)
    assert (config.data.name, config.data.size, config.data.crop, config.data.flip) == ("imagenet", 256, 224, True)
    assert config.data.resize == ("crop" if name in CHOSEN else "squeeze")
    assert on_meta(config).model.image_shape == (3, 224, 224)


def test_the_published_numbers_of_the_decoupled_network() -> None:
    config = make_config("imagenet-decoupled-resnet18")
    steps, schedule, optimizer = config.training.steps, config.schedule, config.optimizer
    assert (steps, config.training.batch_size) == (700_000, 40)
    assert [round(share * steps) for share in schedule.milestones] == [200_000, 375_000, 550_000]
    assert (schedule.name, schedule.unit, schedule.factor) == ("steps", "run", 0.1)
    assert (optimizer.name, optimizer.rate, optimizer.momentum, optimizer.weight_decay) == ("sgd", 0.1, 0.9, 1e-4)
    assert (optimizer.project_every, optimizer.decay_angular, optimizer.decay_norms) == (100, False, True)
    assert (config.data.mean, config.data.std) == ([121.6, 116.6, 102.7], [1.0])
    assert (config.head.label_smoothing, config.head.probability_floor) == (0.01, 1e-4)
    # an epoch has 32 029 steps
    assert round(config.training.evaluate_every * (NUM_TRAIN // 40)) == 4000
    regularizer = make_regularizers(config)["orthogonality"]
    assert (regularizer.kind, regularizer.normalized, regularizer.hidden_weight) == ("orthonormal", True, 5e-6)
    assert regularizer.output_weight == 0


def test_the_decoupled_network_has_the_published_size() -> None:
    classifier = on_meta(make_config("imagenet-decoupled-resnet18"))
    layers = [layer for layer in classifier.modules() if isinstance(layer, DecoupledConv2d)]
    assert Counter(layer.out_channels for layer in layers) == {128: 3, 256: 5, 512: 7, 1024: 3}
    # "42.9 M weights": kernels and classifier
    weights = sum(layer.weight.numel() for layer in layers) + classifier.head.weight.numel()
    assert round(weights / 1e6, 1) == 42.9
    config = make_config("imagenet-decoupled-resnet18")
    groups = param_groups(classifier, weight_decay=1e-4, decay_angular=config.optimizer.decay_angular)
    kernels = {f"{name}.weight" for name, layer in classifier.named_modules() if isinstance(layer, DecoupledConv2d)}
    decayed = {name for group in groups if group["weight_decay"] > 0 for name in group["names"]}
    assert kernels.isdisjoint(decayed)
    assert "head.weight" in decayed


@pytest.mark.parametrize(
    ("name", "arguments", "millions"),
    [
        # 11.69 and 21.80 are those of the usual networks, bias of the classifier left out
        ("imagenet-resnet18", {}, 11.689),
        ("imagenet-resnet34-mhe", {}, 21.797),
    ],
)
def test_the_residual_networks_are_the_usual_ones(name: str, arguments: dict[str, Any], millions: float) -> None:
    classifier = on_meta(make_config(name), **arguments)
    assert round(sum(parameter.numel() for parameter in classifier.parameters()) / 1e6, 3) == millions


@pytest.mark.parametrize("name", CHOSEN)
def test_what_is_not_published_is_the_same_everywhere(name: str) -> None:
    same = {"model", "energy", "orthogonality", "optimizer.decay_angular"}
    for difference in changed("imagenet-resnet18", name):
        assert any(difference == part or difference.startswith(f"{part}.") for part in same), difference
    config = make_config(name)
    assert [round(90 * share) for share in config.schedule.milestones] == [30, 60]


def test_a_recipe_differs_from_its_baseline_in_one_thing() -> None:
    energy = {"hidden_weight", "output_weight", "power", "half_space", "eps"}
    found = changed("imagenet-resnet18", "imagenet-resnet18-mhe")
    assert set(found) == {f"energy.{name}" for name in energy}
    assert changed("imagenet-resnet18-mhe", "imagenet-resnet34-mhe", model__name="resnet34") == []
    assert changed("imagenet-resnet18", "imagenet-resnet18-orthonormal") == ["orthogonality.kind"]
    operator = {
        line.removeprefix("model.arguments.") for line in changed("imagenet-plain-cnn9", "imagenet-spherenet-cnn9")
    }
    assert {line.split(".")[0] for line in operator} == {"operator", "operator_arguments", "optimizer"}


@pytest.mark.parametrize("name", IMAGENET)
def test_a_narrow_one_takes_a_step(name: str) -> None:
    config = make_config(name)
    torch.manual_seed(0)
    classifier = narrow(config)
    loss = classifier(torch.randn(4, 3, 32, 32), torch.tensor([0, 3, 3, 9]))
    loss = loss + sum(regularizer(classifier) for regularizer in make_regularizers(config).values())
    loss.backward()
    for parameter, value in classifier.named_parameters():
        assert value.grad is not None, parameter
        assert value.grad.isfinite().all(), parameter
    angular = [layer for layer in classifier.modules() if isinstance(layer, SphereConv2d | DecoupledConv2d)]
    expected = {"imagenet-spherenet-cnn9": 9, "imagenet-sphere-resnet27": 27, "imagenet-decoupled-resnet18": 18}
    assert len(angular) == expected.get(name, 0)


@pytest.mark.slow
@pytest.mark.parametrize("name", IMAGENET)
def test_a_dry_run_at_full_size(name: str, tmp_path: Path) -> None:
    flags = ["--data.name=synthetic", "--training.batch_size=4", "--training.steps=2", "--training.log_every=1"]
    found = train(make_config(name, [*flags, "--training.threads=1"]), tmp_path / "run", quiet=True)
    assert found.report is not None
    assert [line["step"] for line in lines(tmp_path / "run", "train")] == [1, 2]
    again, _ = evaluate(tmp_path / "run")
    assert again["accuracy"] == found.accuracy
