# SPDX-License-Identifier: MIT
"""Networks of the ArcFace paper: the published sizes, where norms stand, what is learned, and what a module must do."""

from __future__ import annotations

import functools
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hypersphere.models import IResNet, build
from hypersphere.models.iresnet import NormFirstUnit
from hypersphere.nn import SphereConv2d
from module_checks import check_compiled, check_meta_then_real, check_round_trip

TINY: dict[str, Any] = {"units": [1, 2], "base_width": 4, "num_features": 5, "image_shape": (3, 10, 7)}
# depth -> units of each stage, and the published millions of parameters
PUBLISHED = {
    18: ((2, 2, 2, 2), 24.0),
    34: ((3, 4, 6, 3), 34.1),
    50: ((3, 4, 14, 3), 43.6),
    100: ((3, 13, 30, 3), 65.2),
    200: ((6, 26, 60, 6), 118.8),
}


def counted(units: tuple[int, ...]) -> int:
    """Parameters, the fixed scales of the last norm among them."""
    inputs = 64
    total = 3 * 64 * 9 + 2 * 64 + 64
    for index, count in enumerate(units):
        width = 64 * 2**index
        for number in range(count):
            # kernels; three norms; slopes
            total += (inputs + width) * width * 9 + 2 * inputs + 2 * width + 2 * width + width
            if number == 0:
                total += inputs * width + 2 * width
            inputs = width
    return total + 2 * 512 + 25_088 * 512 + 512 + 2 * 512


@pytest.mark.parametrize("depth", PUBLISHED)
def test_published_depths_have_their_size(depth: int) -> None:
    units, millions = PUBLISHED[depth]
    with torch.device("meta"):
        model = build(f"iresnet{depth}")
    parameters = sum(parameter.numel() for parameter in model.parameters())
    assert parameters == counted(units)
    assert round(parameters / 1e6, 1) == millions
    convolutions = {name: layer for name, layer in model.named_modules() if isinstance(layer, nn.Conv2d)}
    assert all(layer.bias is None for layer in convolutions.values())
    # shortcuts are not counted, the linear layer is
    assert len([name for name in convolutions if "shortcut" not in name]) + 1 == {200: 198}.get(depth, depth)
    assert [name for name, layer in convolutions.items() if layer.stride == (2, 2)] == [
        f"stage{index}.unit1.{name}" for index in (1, 2, 3, 4) for name in ("conv2", "shortcut.conv")
    ]
    assert {layer.eps for layer in model.modules() if isinstance(layer, nn.BatchNorm2d | nn.BatchNorm1d)} == {1e-5}
    assert model(torch.zeros(2, 3, 112, 112, device="meta")).shape == (2, 512) == (2, model.num_features)


def by_hand(model: IResNet, images: Tensor) -> Tensor:
    """The network in evaluation mode written out, from nothing but the names of its tensors."""
    state = model.state_dict()

    def normed(maps: Tensor, name: str) -> Tensor:
        mean, var, scale, shift = (
            state[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")
        )
        shape = (-1, *[1] * (maps.ndim - 2))
        return (maps - mean.view(shape)) / (var.view(shape) + 1e-5).sqrt() * scale.view(shape) + shift.view(shape)

    def activated(maps: Tensor, name: str) -> Tensor:
        return maps.clamp(min=0) + state[f"{name}.weight"].view(-1, 1, 1) * maps.clamp(max=0)

    maps = activated(normed(F.conv2d(images, state["root.conv.weight"], padding=1), "root.norm"), "root.activation")
    for stage, count in enumerate(TINY["units"], start=1):
        for number in range(1, count + 1):
            name, stride = f"stage{stage}.unit{number}", 2 if number == 1 else 1
            inner = F.conv2d(normed(maps, f"{name}.norm0"), state[f"{name}.conv1.weight"], padding=1)
            inner = activated(normed(inner, f"{name}.norm1"), f"{name}.activation")
            inner = normed(F.conv2d(inner, state[f"{name}.conv2.weight"], stride=stride, padding=1), f"{name}.norm2")
            if stride == 2:
                around = F.conv2d(maps, state[f"{name}.shortcut.conv.weight"], stride=2)
                maps = normed(around, f"{name}.shortcut.norm")
            maps = maps + inner
    features = normed(maps, "norm").flatten(1) @ state["full.weight"].T + state["full.bias"]
    return normed(features, "feature_norm")


def test_layers_stand_where_the_released_code_has_them() -> None:
    torch.manual_seed(0)
    model = IResNet(**TINY, dtype=torch.float64).eval()
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if name.endswith("running_var"):
                tensor.uniform_(0.5, 2.0)
            elif tensor.is_floating_point():
                tensor.normal_(std=0.5)
    images = torch.randn(4, 3, 10, 7, dtype=torch.float64)
    torch.testing.assert_close(model(images), by_hand(model, images))


def test_the_scale_of_features_is_fixed_unless_it_is_to_be_learned() -> None:
    torch.manual_seed(0)
    images = torch.randn(16, 3, 10, 7)
    fixed, learned = IResNet(**TINY), IResNet(**TINY, learn_feature_scale=True)
    still = [name for name, parameter in fixed.named_parameters() if not parameter.requires_grad]
    assert still == ["feature_norm.weight"]
    assert all(parameter.requires_grad for parameter in learned.parameters())
    assert list(fixed.state_dict()) == list(learned.state_dict())
    features = fixed(images)
    torch.testing.assert_close(features.mean(0), torch.zeros(5), atol=1e-5, rtol=0)
    torch.testing.assert_close(features.var(0, correction=0), torch.ones(5), atol=1e-3, rtol=0)
    fixed.reset_parameters()
    assert not fixed.feature_norm.weight.requires_grad


def test_weights_start_as_those_of_the_released_code() -> None:
    torch.manual_seed(0)
    model = IResNet([1, 1], base_width=32, num_features=64, image_shape=(3, 16, 16))
    for name, layer in model.named_modules():
        weight = getattr(layer, "weight", None)
        if isinstance(layer, nn.Conv2d):
            # the standard error of a standard deviation is std / sqrt(2 n); five of them
            assert layer.weight.std().item() == pytest.approx(0.1, abs=5 * 0.1 / (2 * layer.weight.numel()) ** 0.5), (
                name
            )
        elif isinstance(layer, nn.Linear):
            bound = layer.in_features**-0.5
            assert layer.weight.abs().max().item() == pytest.approx(bound, rel=20 / layer.weight.numel())
        elif weight is not None:
            start = 0.25 if isinstance(layer, nn.PReLU) else 1.0
            assert torch.equal(weight, torch.full_like(weight, start)), name


def test_dropout_is_drawn_in_training_alone() -> None:
    torch.manual_seed(0)
    model = IResNet(**TINY, dropout=0.5)
    images = torch.randn(8, 3, 10, 7)
    assert not torch.equal(model(images), model(images))
    model.eval()
    assert torch.equal(model(images), model(images))
    model.train()
    model.dropout.p = 0.0
    assert torch.equal(model(images), model(images))


def test_the_operator_makes_all_but_the_shortcuts() -> None:
    model = IResNet(**TINY, operator="sphere")
    convolutions = {name: layer for name, layer in model.named_modules() if isinstance(layer, nn.Conv2d)}
    ordinary = [name for name, layer in convolutions.items() if not isinstance(layer, SphereConv2d)]
    assert ordinary == ["stage1.unit1.shortcut.conv", "stage2.unit1.shortcut.conv"]
    assert model(torch.randn(2, 3, 10, 7)).shape == (2, 5)


def test_trains_in_bfloat16_with_channels_last_and_gives_features_in_float32() -> None:
    torch.manual_seed(0)
    model = IResNet(**TINY).to(memory_format=torch.channels_last)
    images = torch.randn(6, 3, 10, 7).contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        features = model(images)
        assert model.root(images).dtype == torch.bfloat16
    assert features.dtype == torch.float32
    # what rounding to bfloat16 on the way would leave of the last eight bits
    assert not torch.equal(features, features.bfloat16().float())
    (features * torch.randn(6, 5)).sum().backward()
    trained = [p for p in model.parameters() if p.requires_grad]
    assert all(p.grad is not None and p.grad.isfinite().all() and p.dtype == torch.float32 for p in trained)


def test_compiled_equals_eager() -> None:
    check_compiled(IResNet(**TINY), autocast=torch.float32)


def test_meta_then_real() -> None:
    check_meta_then_real(functools.partial(IResNet, **TINY))


def test_state_and_copy_round_trip() -> None:
    copied = check_round_trip(functools.partial(IResNet, **TINY))
    assert not copied.feature_norm.weight.requires_grad


def test_a_unit_of_one_shape_has_no_shortcut() -> None:
    normed = {"device": None, "dtype": None}
    assert NormFirstUnit(nn.Conv2d, 4, 4, 1, normed).shortcut is None
    for inputs, stride in ((4, 2), (3, 1)):
        unit = NormFirstUnit(nn.Conv2d, inputs, 4, stride, normed)
        assert unit(torch.randn(2, inputs, 5, 5)).shape == (2, 4, -(-5 // stride), -(-5 // stride))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"units": []}, r"IResNet: expected units of at least one stage, got none\."),
        ({"units": [1, 0]}, r"IResNet: the units of a stage must be a whole number of 1 or more, got 0"),
        ({"base_width": 0}, r"IResNet: base_width must be a whole number of 1 or more, got 0"),
        ({"num_features": 2.0}, r"IResNet: num_features must be a whole number of 1 or more, got 2\.0"),
        ({"image_shape": (3, 3, 8)}, r"IResNet: height of image_shape must be a whole number of 4 or more, got 3"),
        ({"dropout": 1.0}, r"IResNet: dropout must lie in \[0, 1\), got 1\."),
        ({"norm_momentum": 2.0}, r"IResNet: norm_momentum must lie in \[0, 1\], got 2"),
        ({"operator": "con"}, r"unknown operator 'con': choose conv"),
    ],
)
def test_wrong_arguments_are_refused_in_words(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        IResNet(**{**TINY, **arguments})


def test_wrong_images_are_refused_in_words() -> None:
    with pytest.raises(ValueError, match=r"IResNet: expected images \(N, 3, 10, 7\), got \(5, 3, 9, 9\)\. Give image_"):
        IResNet(**TINY)(torch.zeros(5, 3, 9, 9))
