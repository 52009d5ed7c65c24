# SPDX-License-Identifier: MIT
"""Networks by name: every entry builds, and a wrong name or argument is answered with the nearest right one."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from hypersphere.formulas.angles import Cosine
from hypersphere.models import MODELS, build
from hypersphere.models.table import model_parameters
from hypersphere.nn import SphereConv2d

LARGE = {"base_width": 2, "image_shape": (3, 32, 32)}
IMAGENET = ["plain-cnn9", "plain-cnn12", "resnet18", "resnet27", "resnet34", "decoupled-resnet18"]
FACES = [name for name in MODELS if name.startswith(("sphereface", "iresnet"))]
SMALL = {"digits-cnn": {"width": 2}} | dict.fromkeys(IMAGENET, LARGE) | dict.fromkeys(FACES, LARGE)


@pytest.mark.parametrize("name", MODELS)
def test_every_model_makes_as_many_features_as_it_says(name: str) -> None:
    model = build(name, **SMALL.get(name, {"base_width": 2, "image_shape": (3, 8, 8)}))
    assert model(torch.zeros(2, *model.image_shape)).shape == (2, model.num_features)


@pytest.mark.parametrize("name", MODELS)
def test_every_model_has_one_line_about_it(name: str) -> None:
    factory, line = MODELS[name]
    assert callable(factory)
    assert 20 < len(line) < 100
    assert "\n" not in line


@pytest.mark.parametrize("name", ["spherenet-cnn9", "sphere-resnet32"])
def test_networks_of_spheres_have_the_published_size(name: str) -> None:
    with torch.device("meta"):
        model = build(name)
    # with ten classes; an angle fixed by name has nothing to learn
    published = {"spherenet-cnn9": 3_859_712, "sphere-resnet32": 16_702_176}[name]
    assert sum(parameter.numel() for parameter in model.parameters()) + 10 * model.num_features == published
    convolutions = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d)]
    ordinary = [layer for layer in convolutions if not isinstance(layer, SphereConv2d)]
    assert [layer.kernel_size for layer in ordinary] == ([(1, 1)] * 2 if name == "sphere-resnet32" else [])
    assert {layer.angle for layer in convolutions if isinstance(layer, SphereConv2d)} == {Cosine()}


def test_depth_can_be_changed_by_argument() -> None:
    assert model_parameters("cnn9")["convs_per_block"].default == 3
    model = build("cnn9", convs_per_block=1, base_width=2, image_shape=[1, 8, 8])
    assert hasattr(model, "conv3_0")
    assert not hasattr(model, "conv3_1")


def test_an_unknown_model_is_answered_with_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"unknown model 'cnn_9': choose cnn15, .* \(did you mean 'cnn9'\?\)"):
        build("cnn_9")


def test_an_unknown_argument_is_answered_with_the_nearest() -> None:
    expected = r"model 'cnn9': unknown argument 'base_witdh': choose activation, .* \(did you mean 'base_width'\?\)"
    with pytest.raises(ValueError, match=expected):
        build("cnn9", base_witdh=3)
