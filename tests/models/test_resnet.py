# SPDX-License-Identifier: MIT
"""Residual and plain networks: the published sizes, where layers stand, and what a module of torch must do."""

from __future__ import annotations

import functools
from typing import Any

import pytest
import torch
from torch import nn

from hypersphere.models import ResNet, build
from module_checks import check_compiled, check_meta_then_real, check_round_trip

TINY: dict[str, Any] = {"units": [1, 2], "base_width": 4, "image_shape": (2, 8, 8)}


def on_meta(name: str, **arguments: Any) -> nn.Module:
    """A network of full size without its memory."""
    with torch.device("meta"):
        return build(name, **arguments)


def num_weights(model: nn.Module, *kinds: type[nn.Module]) -> int:
    layers = [layer for layer in model.modules() if isinstance(layer, kinds)]
    return sum(parameter.numel() for layer in layers for parameter in layer.parameters(recurse=False))


def convolutions(model: nn.Module) -> dict[str, nn.Conv2d]:
    return {name: layer for name, layer in model.named_modules() if isinstance(layer, nn.Conv2d)}


def test_resnet32_has_the_published_number_of_parameters() -> None:
    model = on_meta("resnet32")
    parameters = sum(parameter.numel() for parameter in model.parameters())
    # 16.70 M with ten classes and 16.74 M with a hundred
    assert parameters + 10 * model.num_features == 16_702_176
    assert parameters + 100 * model.num_features == 16_736_736
    # the classifier is the 32nd layer, the two shortcuts are not counted
    names = list(convolutions(model))
    assert len([name for name in names if "shortcut" not in name]) == 31
    assert [name for name in names if "shortcut" in name] == [
        "stage2.unit1.shortcut.conv",
        "stage3.unit1.shortcut.conv",
    ]
    assert model.num_features == 384


def test_decoupled_resnet18_has_the_published_layers() -> None:
    model = on_meta("decoupled-resnet18")
    layers = convolutions(model)
    assert len(layers) == 18
    # 42.9 M with the thousand classes
    assert num_weights(model, nn.Conv2d) + 1000 * model.num_features == 42_920_320
    assert [layer.out_channels for layer in layers.values()] == [128] * 3 + [256] * 5 + [512] * 7 + [1024] * 3
    strided = [name for name, layer in layers.items() if layer.stride == (2, 2)]
    assert strided == ["root.conv", "stage2.entry.conv", "stage3.entry.conv", "stage4.entry.conv"]
    assert layers["root.conv"].kernel_size == (7, 7)
    activations = [name for name, layer in model.named_modules() if isinstance(layer, nn.PReLU)]
    assert len(activations) == 11  # root, three entries, the first of each of seven units; none after a sum
    assert not any(isinstance(layer, nn.ReLU) for layer in model.modules())
    assert not any(name.endswith("second.activation") for name in activations)
    assert model(torch.zeros(1, 3, 224, 224, device="meta")).shape == (1, 1024)


@pytest.mark.parametrize(
    ("name", "parameters"),
    # those of the usual ResNet-18 and -34, whose thousand classes have a bias
    [("resnet18", 11_689_512 - 513_000), ("resnet34", 21_797_672 - 513_000)],
)
def test_the_usual_residual_networks_have_their_usual_size(name: str, parameters: int) -> None:
    model = on_meta(name)
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters
    assert model(torch.zeros(1, 3, 224, 224, device="meta")).shape == (1, 512)


@pytest.mark.parametrize(("name", "count"), [("plain-cnn9", 9), ("plain-cnn12", 12), ("resnet27", 27)])
def test_networks_known_by_name_have_as_many_layers_as_it_says(name: str, count: int) -> None:
    model = on_meta(name)
    layers = convolutions(model)
    assert len(layers) == count
    assert not any("shortcut" in layer for layer in layers)
    assert ("full" in layers) == (name == "resnet27")
    assert model(torch.zeros(1, 3, 224, 224, device="meta")).shape == (1, 512)


def test_stages_halve_the_map_and_double_the_width() -> None:
    model = ResNet([1, 1, 1], base_width=2, image_shape=(1, 13, 20))
    maps = model.root(torch.zeros(1, 1, 13, 20))
    shapes = []
    for stage in (model.stage1, model.stage2, model.stage3):
        maps = stage(maps)
        shapes.append(tuple(maps.shape[1:]))
    assert shapes == [(2, 13, 20), (4, 7, 10), (8, 4, 5)]


@pytest.mark.parametrize("layout", ["shortcut", "entry", "plain"])
@pytest.mark.parametrize("tf_padding", [False, True])
@pytest.mark.parametrize("stem", ["small", "large"])
@pytest.mark.parametrize("side", [32, 27])
def test_the_full_layer_covers_the_last_map(layout: Any, tf_padding: bool, stem: Any, side: int) -> None:
    arguments: dict[str, Any] = {"layout": layout, "stem": stem, "tf_padding": tf_padding, "base_width": 2}
    arguments["image_shape"] = (3, side, 20)
    full = ResNet([1, 1, 1], **arguments, pool="full", feature_width=7)
    assert full(torch.randn(2, 3, side, 20)).shape == (2, 7) == (2, full.num_features)
    assert full.full is not None
    assert full.full.bias is None
    average = ResNet([1, 1, 1], **arguments)
    assert average(torch.randn(2, 3, side, 20)).shape == (2, 8) == (2, average.num_features)
    assert ResNet([1, 1, 1], **arguments, pool="full").num_features == 8


def test_averaged_features_are_the_means_of_the_last_map() -> None:
    model = ResNet(**TINY).eval()
    images = torch.randn(3, 2, 8, 8)
    maps = model.stage2(model.stage1(model.root(images)))
    torch.testing.assert_close(model(images), maps.flatten(2).mean(2))


def test_the_operator_makes_all_but_the_shortcuts() -> None:
    class Other(nn.Conv2d):
        pass

    model = ResNet(**TINY, pool="full", operator=Other)
    kinds = {name: type(layer) is Other for name, layer in convolutions(model).items()}
    assert [name for name, other in kinds.items() if not other] == ["stage2.unit1.shortcut.conv"]
    assert {"root.conv", "stage1.unit1.first.conv", "full"} <= {name for name, other in kinds.items() if other}
    assert all(layer.bias is None for layer in convolutions(model).values())


def test_without_norm_there_is_none_and_roots_may_stay_linear() -> None:
    model = ResNet(**TINY, norm=False, activate_root=False)
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in model.modules())
    assert [name for name, _ in model.root.named_children()] == ["conv"]
    assert ResNet(**TINY).root.activation is not None
    bare = ResNet(**TINY, activation="none", norm=False)
    images = torch.randn(2, 2, 8, 8)
    torch.testing.assert_close(bare(2 * images), 2 * bare(images))  # linear then


def test_norms_have_the_published_constants_and_can_be_changed() -> None:
    assert (ResNet(**TINY).root.norm.eps, ResNet(**TINY).root.norm.momentum) == (1e-3, 1e-3)
    norm = ResNet(**TINY, norm_eps=1e-5, norm_momentum=0.1).stage2.unit1.shortcut.norm
    assert (norm.eps, norm.momentum) == (1e-5, 0.1)


def test_convolutions_start_from_he_normal() -> None:
    torch.manual_seed(0)
    for name, layer in convolutions(ResNet([1, 1], base_width=32)).items():
        std = (2 / layer.weight[0].numel()) ** 0.5
        # the standard error of a standard deviation is std / sqrt(2 n); five of them
        assert layer.weight.std().item() == pytest.approx(std, abs=5 * std / (2 * layer.weight.numel()) ** 0.5), name


def test_decoupled_networks_start_as_their_code_does() -> None:
    torch.manual_seed(0)
    model = build("decoupled-resnet18", base_width=16, image_shape=(3, 32, 32))
    for name, layer in convolutions(model).items():
        weight = layer.weight
        if ".unit" in name:
            assert weight.std().item() == pytest.approx(0.01, abs=5 * 0.01 / (2 * weight.numel()) ** 0.5), name
        else:
            area = layer.kernel_size[0] ** 2
            bound = (6 / (area * (layer.in_channels + layer.out_channels))) ** 0.5
            assert weight.abs().max() <= bound
            # the largest of n uniform numbers misses their bound by about 1 / n of it
            assert weight.abs().max().item() == pytest.approx(bound, rel=20 / weight.numel()), name


def test_trains_in_bfloat16_with_channels_last() -> None:
    model = ResNet(**TINY, activation="prelu").to(memory_format=torch.channels_last)
    images = torch.randn(4, 2, 8, 8).contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        features = model(images)
    features.float().square().sum().backward()
    assert features.dtype == torch.bfloat16
    assert all(p.grad is not None and p.grad.isfinite().all() and p.dtype == torch.float32 for p in model.parameters())


@pytest.mark.parametrize("arguments", [{}, {"layout": "entry", "stem": "large", "tf_padding": True, "pool": "full"}])
def test_compiled_equals_eager(arguments: dict[str, Any]) -> None:
    check_compiled(ResNet(**TINY, **arguments), autocast=torch.bfloat16)


def test_meta_then_real() -> None:
    model = check_meta_then_real(functools.partial(ResNet, **TINY, activation="prelu"))
    assert torch.equal(model.root.activation.weight, torch.zeros(4))


def test_state_and_copy_round_trip() -> None:
    check_round_trip(functools.partial(ResNet, **TINY))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"units": []}, r"ResNet: expected units of at least one stage, got none\."),
        ({"units": [1, 0]}, r"ResNet: the units of a stage must be a whole number of 1 or more, got 0"),
        ({"base_width": 0}, r"ResNet: base_width must be a whole number of 1 or more, got 0"),
        ({"layout": "plan"}, r"ResNet: unknown layout 'plan': choose .* \(did you mean 'plain'\?\)"),
        ({"stem": "huge"}, r"ResNet: unknown stem 'huge': choose large, small"),
        ({"activation": "rely"}, r"ResNet: unknown activation 'rely': choose .* \(did you mean 'relu'\?\)"),
        ({"pool": "avg"}, r"ResNet: unknown pool 'avg': choose average, full"),
        ({"initialization": "hey"}, r"ResNet: unknown initialization 'hey': choose .* \(did you mean 'he'\?\)"),
        ({"norm_momentum": 2.0}, r"ResNet: norm_momentum must lie in \[0, 1\], got 2"),
        ({"feature_width": 8}, r"ResNet: feature_width is for pool='full', got pool='average'\. Leave one of them out"),
        ({"pool": "full", "feature_width": 0}, r"ResNet: feature_width must be a whole number of 1 or more, got 0"),
        ({"image_shape": (3, 4, 3)}, r"ResNet: width of image_shape must be a whole number of 4 or more, got 3"),
        ({"stem": "large"}, r"ResNet: height of image_shape must be a whole number of 16 or more, got 8"),
        ({"operator": "con"}, r"unknown operator 'con': choose conv"),
    ],
)
def test_wrong_arguments_are_refused_in_words(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ResNet(**{"image_shape": (3, 8, 8), "base_width": 2, **arguments})


def test_wrong_images_are_refused_in_words() -> None:
    with pytest.raises(ValueError, match=r"ResNet: expected images \(N, 2, 8, 8\), got \(5, 2, 9, 9\)\. Give image_"):
        ResNet(**TINY)(torch.zeros(5, 2, 9, 9))
