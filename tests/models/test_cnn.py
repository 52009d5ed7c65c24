# SPDX-License-Identifier: MIT
"""The CNN family: the published sizes and initialisation, and what a module of torch must be able to do."""

from __future__ import annotations

import functools
from typing import Any

import pytest
import torch
from torch import nn

from hypersphere.models import CNN
from module_checks import check_compiled, check_meta_then_real, check_round_trip

TINY = {"convs_per_block": 2, "widths": [4, 6], "image_shape": (2, 8, 8)}


def count(layers: nn.Module, kind: type[nn.Module]) -> int:
    return sum(p.numel() for layer in layers.modules() if isinstance(layer, kind) for p in layer.parameters())


def test_cnn9_has_the_published_number_of_parameters() -> None:
    with torch.device("meta"):
        model = CNN(3)
    # 100 classes without bias complete the published net
    assert count(model, nn.Conv2d) + 100 * model.num_features == 2_992_832
    assert count(model, nn.BatchNorm2d) == 2_688
    assert sum(p.numel() for p in model.parameters()) == count(model, nn.Conv2d) + count(model, nn.BatchNorm2d)


def test_widths_follow_the_first() -> None:
    def widths(**arguments: Any) -> list[int]:
        model = CNN(1, image_shape=(1, 8, 8), **arguments)
        return [layer.out_channels for layer in model.children() if isinstance(layer, nn.Conv2d)]

    assert widths(base_width=5) == [5, 10, 20, 20]
    assert widths(base_width=6, width_factors=(1, 1.5, 2)) == [6, 9, 12, 12]
    assert widths(widths=[3, 4], width_factors=(7, 7, 7)) == [3, 4, 4]


def test_without_activation_nothing_follows_a_norm() -> None:
    model = CNN(**TINY, activation="none")
    assert not any(isinstance(layer, nn.ReLU) for layer in model.modules())
    assert list(dict(model.named_children()))[:3] == ["conv1_0", "norm1_0", "conv1_1"]
    linear = CNN(1, widths=[4], image_shape=(1, 2, 2), norm=False, activation="none")
    images = torch.randn(3, 1, 2, 2)
    # only the maximum is left, which halves and doubles with its input
    torch.testing.assert_close(linear(2 * images), 2 * linear(images))


@pytest.mark.parametrize(("convs_per_block", "name"), [(2, "cnn6"), (3, "cnn9"), (5, "cnn15")])
def test_depth_and_names(convs_per_block: int, name: str) -> None:
    model = CNN(convs_per_block, base_width=2, image_shape=(3, 8, 8))
    convolutions = [key for key, layer in model.named_children() if isinstance(layer, nn.Conv2d)]
    expected = [f"conv{block}_{index}" for block in (1, 2, 3) for index in range(convs_per_block)]
    assert convolutions == [*expected, "fc6"]
    # the papers' count leaves out fc6 and the classifier
    assert len(expected) == int(name.removeprefix("cnn"))


def test_convolutions_start_from_he_normal() -> None:
    torch.manual_seed(0)
    for name, layer in CNN(2, base_width=32).named_children():
        if isinstance(layer, nn.Conv2d):
            std = (2 / layer.weight[0].numel()) ** 0.5
            # the standard error of a standard deviation is std / sqrt(2 n); five of them
            assert layer.weight.std().item() == pytest.approx(std, abs=5 * std / (2 * layer.weight.numel()) ** 0.5), (
                name
            )


def test_the_feature_layer_is_linear_as_published() -> None:
    model = CNN(**TINY).eval()
    assert not hasattr(model, "norm6")
    assert list(dict(model.named_children()))[-2:] == ["pool2", "fc6"]
    assert (model(torch.randn(64, 2, 8, 8)) < 0).any()
    clean = CNN(**TINY, feature_norm=True)
    features = clean(torch.randn(64, 2, 8, 8))
    torch.testing.assert_close(features.mean(0), torch.zeros(6), atol=1e-5, rtol=0)


def test_norms_have_the_published_constants_and_can_be_changed() -> None:
    norm = CNN(**TINY).norm1_0
    assert (norm.eps, norm.momentum) == (1e-3, 1e-3)
    norm = CNN(**TINY, norm_eps=1e-5, norm_momentum=0.1).norm2_1
    assert (norm.eps, norm.momentum) == (1e-5, 0.1)
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in CNN(**TINY, norm=False).modules())


@pytest.mark.parametrize(
    ("arguments", "width"),
    [({}, 6), ({"feature_width": 9}, 9), ({"image_shape": (2, 13, 9)}, 6), ({"norm": False}, 6), ({"widths": [5]}, 5)],
)
def test_feature_shape(arguments: dict[str, object], width: int) -> None:
    model = CNN(**{**TINY, **arguments})
    assert model(torch.randn(3, *model.image_shape)).shape == (3, width) == (3, model.num_features)


def test_the_operator_is_passed_in() -> None:
    class Grouped(nn.Conv2d):
        pass

    made = [layer for layer in CNN(**TINY, operator=Grouped).children() if isinstance(layer, Grouped)]
    assert len(made) == 5
    assert all(layer.bias is None for layer in made)
    strict = functools.partial(nn.Conv2d, padding_mode="zeros")
    assert CNN(**TINY, operator=strict)(torch.zeros(1, 2, 8, 8)).shape == (1, 6)


def test_trains_in_bfloat16_with_channels_last() -> None:
    model = CNN(**TINY).to(memory_format=torch.channels_last)
    images = torch.randn(4, 2, 8, 8).contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        features = model(images)
    features.float().square().sum().backward()
    assert features.dtype == torch.bfloat16
    assert all(p.grad is not None and p.grad.isfinite().all() and p.dtype == torch.float32 for p in model.parameters())


def test_compiled_equals_eager() -> None:
    check_compiled(CNN(**TINY), autocast=torch.bfloat16)


def test_meta_then_real() -> None:
    check_meta_then_real(functools.partial(CNN, **TINY))


def test_state_and_copy_round_trip() -> None:
    check_round_trip(functools.partial(CNN, **TINY))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"convs_per_block": 0}, r"CNN: convs_per_block must be a whole number of 1 or more, got 0"),
        ({"base_width": "many"}, r"CNN: base_width must be a whole number of 1 or more, got 'many'"),
        ({"base_width": 2.5}, r"CNN: base_width must be a whole number of 1 or more, got 2\.5"),
        ({"width_factors": []}, r"CNN: expected widths of at least one block, got none"),
        ({"width_factors": (1, 0.001)}, r"CNN: the width of a block must be a whole number of 1 or more, got 0"),
        ({"activation": "rely"}, r"CNN: unknown activation 'rely': choose none, relu \(did you mean 'relu'\?\)"),
        ({"widths": []}, r"CNN: expected widths of at least one block, got none"),
        ({"widths": [4, -1]}, r"CNN: the width of a block must be a whole number of 1 or more, got -1"),
        ({"feature_width": 0}, r"CNN: feature_width must be a whole number of 1 or more, got 0"),
        ({"image_shape": (32, 32)}, r"CNN: image_shape must be \(channels, height, width\), got \(32, 32\)"),
        ({"image_shape": (3, 32, 7)}, r"CNN: width of image_shape must be a whole number of 8 or more, got 7"),
        ({"norm_momentum": 1.5}, r"CNN: norm_momentum must lie in \[0, 1\], got 1\.5"),
        ({"operator": "con"}, r"unknown operator 'con': choose conv, decoupled, sphere \(did you mean 'conv'\?\)"),
    ],
)
def test_wrong_arguments_are_refused_in_words(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CNN(**arguments)


def test_wrong_images_are_refused_in_words() -> None:
    with pytest.raises(ValueError, match=r"CNN: expected images \(N, 2, 8, 8\), got \(5, 2, 9, 9\)\. Give image_shape"):
        CNN(**TINY)(torch.zeros(5, 2, 9, 9))
