# SPDX-License-Identifier: MIT
"""The network of two features: its layers, and that two are enough to tell ten digits apart."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from hypersphere.models import MnistCNN, build


def test_layers_stand_as_in_the_pictures_of_the_papers() -> None:
    with torch.device("meta"):
        model = build("mnist-cnn")
    assert isinstance(model, MnistCNN)
    convolutions = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d)]
    assert [layer.out_channels for layer in convolutions] == [32, 32, 64, 64, 128, 128]
    names = [f"{kind}{number}" for number in (1, 2) for kind in ("conv", "norm", "activation")]
    assert [name for name, _ in model.stage2.named_children()] == [*names, "pool"]
    # 28 → 14 → 7 → 3, and nothing behind the linear layer
    assert model.feature.in_features == 128 * 3 * 3
    assert next(reversed(model._modules.values())) is model.feature
    assert model(torch.zeros(3, 1, 28, 28, device="meta")).shape == (3, 2) == (3, model.num_features)


def test_sizes_can_be_changed() -> None:
    model = MnistCNN(4, num_features=3, kernel_size=5, norm=False, image_shape=(3, 9, 17))
    assert model(torch.zeros(2, 3, 9, 17)).shape == (2, 3)
    assert {layer.kernel_size for layer in model.modules() if isinstance(layer, nn.Conv2d)} == {(5, 5)}
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in model.modules())
    # a convolution has either a norm or a bias
    assert all(layer.bias is not None for layer in model.modules() if isinstance(layer, nn.Conv2d))
    assert all(layer.bias is None for layer in MnistCNN(4).modules() if isinstance(layer, nn.Conv2d))


def test_features_are_float32_in_bfloat16_too() -> None:
    model, images = MnistCNN(4), torch.randn(4, 1, 28, 28)
    with torch.autocast("cpu", torch.bfloat16):
        features = model(images)
    assert features.dtype == torch.float32
    features.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_compiled_equals_eager() -> None:
    torch.compiler.reset()
    model, images = MnistCNN(4).eval(), torch.randn(4, 1, 28, 28)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(images), model(images))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"base_width": 0}, r"MnistCNN: base_width must be a whole number of 1 or more, got 0"),
        ({"num_features": "2"}, r"MnistCNN: num_features must be a whole number of 1 or more, got '2'"),
        ({"kernel_size": 4}, r"MnistCNN: kernel_size must be odd, so that maps keep their size, got 4\."),
        ({"image_shape": (1, 28, 7)}, r"MnistCNN: width of image_shape must be a whole number of 8 or more, got 7"),
        ({"operator": "conf"}, r"unknown operator 'conf': choose conv"),
    ],
)
def test_wrong_arguments_are_refused_in_words(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MnistCNN(**arguments)


def test_wrong_images_are_refused_in_words() -> None:
    with pytest.raises(ValueError, match=r"MnistCNN: expected images \(N, 1, 28, 28\), got \(2, 3, 28, 28\)"):
        MnistCNN()(torch.zeros(2, 3, 28, 28))
