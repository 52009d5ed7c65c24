# SPDX-License-Identifier: MIT
"""SphereFace networks: the published sizes, where activations stand, how they start, and what a module must do."""

from __future__ import annotations

import functools
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hypersphere.models import SphereFaceNet, build
from hypersphere.models.sphereface import ResidualBranch
from hypersphere.nn import SphereConv2d
from module_checks import check_compiled, check_meta_then_real, check_round_trip

TINY: dict[str, Any] = {"units": [0, 1, 2], "base_width": 4, "num_features": 5, "image_shape": (3, 14, 12)}
# depth -> units of each stage, and millions of parameters with the biases that the released code holds at zero
PUBLISHED = {
    4: ((0, 0, 0, 0), 12.56),
    10: ((0, 1, 2, 0), 15.22),
    20: ((1, 2, 4, 1), 22.67),
    36: ((2, 4, 8, 2), 32.78),
    64: ((3, 8, 16, 3), 48.20),
}


def counted(units: tuple[int, ...], pixels: int) -> tuple[int, int]:
    """Parameters of a network for 3 channels whose last map has so many pixels; biases held at zero besides."""
    total = held = 0
    channels = 3
    for index, count in enumerate(units):
        width = 64 * 2**index
        # kernels, biases, slopes
        total += channels * width * 9 + width + width
        total += count * 2 * (width * width * 9 + width)
        held += count * 2 * width
        channels = width
    return total + channels * pixels * 512 + 512, held


@pytest.mark.parametrize("depth", PUBLISHED)
def test_published_depths_have_their_size(depth: int) -> None:
    units, millions = PUBLISHED[depth]
    with torch.device("meta"):
        model = build(f"sphereface{depth}")
    parameters = sum(parameter.numel() for parameter in model.parameters())
    own, held = counted(units, 7 * 6)
    assert parameters == own
    assert round((own + held) / 1e6, 2) == millions
    convolutions = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d)]
    assert len(convolutions) == depth
    assert {layer.kernel_size for layer in convolutions} == {(3, 3)}
    # each convolution has an activation, and there is nothing else besides fc5
    assert len([layer for layer in model.modules() if isinstance(layer, nn.PReLU)]) == depth
    kinds = {type(layer) for layer in model.modules() if not list(layer.children())}
    assert kinds == {nn.Conv2d, nn.PReLU, nn.Linear}
    assert model.fc5.in_features == 21_504
    assert model(torch.zeros(1, 3, 112, 96, device="meta")).shape == (1, 512) == (1, model.num_features)


def test_numbers_of_the_docstring() -> None:
    own, held = counted(PUBLISHED[20][0], 7 * 6)
    assert f"{own:,} parameters of SphereFace-20 in place of {own + held:,}".replace(",", " ") in str(
        SphereFaceNet.__doc__
    ).replace("\n        ", " ")


def test_square_faces_have_a_larger_last_layer() -> None:
    with torch.device("meta"):
        model = build("sphereface20", image_shape=(3, 112, 112))
    assert model.fc5.weight.shape == (512, 25_088)
    assert sum(parameter.numel() for parameter in model.parameters()) == counted(PUBLISHED[20][0], 49)[0]


def by_hand(model: SphereFaceNet, images: Tensor) -> Tensor:
    """The network written out, from nothing but the names of its tensors."""
    state = model.state_dict()

    def convolved(maps: Tensor, name: str, stride: int) -> Tensor:
        maps = F.conv2d(maps, state[f"{name}.conv.weight"], state.get(f"{name}.conv.bias"), stride, 1)
        slope = state[f"{name}.activation.weight"].view(-1, 1, 1)
        return maps.clamp(min=0) + slope * maps.clamp(max=0)

    for stage in (1, 2, 3):
        images = convolved(images, f"stage{stage}.entry", 2)
        for unit in range(1, TINY["units"][stage - 1] + 1):
            name = f"stage{stage}.unit{unit}"
            images = images + convolved(convolved(images, f"{name}.first", 1), f"{name}.second", 1)
    return images.flatten(1) @ state["fc5.weight"].T + state["fc5.bias"]


def test_layers_stand_where_the_released_code_has_them() -> None:
    torch.manual_seed(0)
    model = SphereFaceNet(**TINY, dtype=torch.float64)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3)
    images = torch.randn(4, 3, 14, 12, dtype=torch.float64)
    torch.testing.assert_close(model(images), by_hand(model, images))
    assert (model(images) < 0).any()


def test_halves_are_rounded_up() -> None:
    model = SphereFaceNet([0, 0, 0], base_width=2, image_shape=(1, 13, 9))
    shapes, maps = [], torch.zeros(1, 1, 13, 9)
    for name in model.stages:
        maps = model.get_submodule(name)(maps)
        shapes.append(tuple(maps.shape[1:]))
    assert shapes == [(2, 7, 5), (4, 4, 3), (8, 2, 2)]
    assert model.fc5.in_features == 32


def test_weights_start_as_those_of_the_released_code() -> None:
    torch.manual_seed(0)
    model = SphereFaceNet([1, 1], base_width=32, num_features=64, image_shape=(3, 16, 16))
    for name, layer in model.named_modules():
        if isinstance(layer, nn.PReLU):
            assert torch.equal(layer.weight, torch.full((len(layer.weight),), 0.25)), name
        elif isinstance(layer, nn.Conv2d) and ".unit" in name:
            # the standard error of a standard deviation is std / sqrt(2 n); five of them
            assert layer.weight.std().item() == pytest.approx(0.01, abs=5 * 0.01 / (2 * layer.weight.numel()) ** 0.5)
            assert layer.bias is None, name
        elif isinstance(layer, nn.Conv2d | nn.Linear):
            bound = (3 / layer.weight[0].numel()) ** 0.5
            assert layer.weight.abs().max() <= bound
            # the largest of n uniform numbers misses their bound by about 1 / n of it
            assert layer.weight.abs().max().item() == pytest.approx(bound, rel=20 / layer.weight.numel()), name
            assert layer.bias is not None
            assert not layer.bias.any(), name


def test_the_operator_makes_every_convolution() -> None:
    own = {"angle": "linear"}
    model = SphereFaceNet(**TINY, operator="sphere", operator_arguments=own)
    convolutions = {name: layer for name, layer in model.named_modules() if isinstance(layer, nn.Conv2d)}
    assert len(convolutions) == 9
    assert all(isinstance(layer, SphereConv2d) for layer in convolutions.values())
    assert [name for name, layer in convolutions.items() if layer.bias is not None] == [
        f"stage{index}.entry.conv" for index in (1, 2, 3)
    ]
    assert model(torch.randn(2, 3, 14, 12)).shape == (2, 5)


def test_trains_in_bfloat16_with_channels_last_and_gives_features_in_float32() -> None:
    torch.manual_seed(0)
    model = SphereFaceNet(**TINY).to(memory_format=torch.channels_last)
    images = torch.randn(4, 3, 14, 12).contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        features = model(images)
        maps = images
        for name in model.stages:
            maps = model.get_submodule(name)(maps)
    assert (features.dtype, maps.dtype) == (torch.float32, torch.bfloat16)
    # the last product is one of float32 numbers
    assert torch.equal(features, F.linear(maps.float().flatten(1), model.fc5.weight, model.fc5.bias))
    features.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() and p.dtype == torch.float32 for p in model.parameters())


def test_compiled_equals_eager() -> None:
    check_compiled(SphereFaceNet(**TINY), autocast=torch.float32)


def test_meta_then_real() -> None:
    check_meta_then_real(functools.partial(SphereFaceNet, **TINY))


def test_state_and_copy_round_trip() -> None:
    check_round_trip(functools.partial(SphereFaceNet, **TINY))


def test_a_branch_adds_to_its_input() -> None:
    branch = ResidualBranch(nn.Conv2d, 3)
    nn.init.zeros_(branch.second.conv.weight)
    images = torch.randn(2, 3, 4, 4)
    assert torch.equal(branch(images), images)
    assert branch.second.conv.bias is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"units": []}, r"SphereFaceNet: expected units of at least one stage, got none\."),
        ({"units": [1, -1]}, r"SphereFaceNet: the units of a stage must be a whole number of 0 or more, got -1"),
        ({"base_width": 0}, r"SphereFaceNet: base_width must be a whole number of 1 or more, got 0"),
        ({"num_features": 0}, r"SphereFaceNet: num_features must be a whole number of 1 or more, got 0"),
        ({"image_shape": (3, 8, 7)}, r"SphereFaceNet: width of image_shape must be a whole number of 8 or more, got 7"),
        ({"operator": "con"}, r"unknown operator 'con': choose conv"),
    ],
)
def test_wrong_arguments_are_refused_in_words(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SphereFaceNet(**{**TINY, **arguments})


def test_wrong_images_are_refused_in_words() -> None:
    with pytest.raises(ValueError, match=r"SphereFaceNet: expected images \(N, 3, 14, 12\), got \(5, 3, 12, 14\)\. Gi"):
        SphereFaceNet(**TINY)(torch.zeros(5, 3, 12, 14))
