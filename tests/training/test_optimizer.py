# SPDX-License-Identifier: MIT
"""Which parameters decay by how much, and which optimiser a config makes."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from hypersphere.config import OptimizerConfig
from hypersphere.models import build
from hypersphere.nn import MarginHead
from hypersphere.nn.decoupled import DecoupledConv2d, DecoupledLinear
from hypersphere.nn.recurrent import SphereGRUCell
from hypersphere.nn.sphere import SphereConv2d
from hypersphere.training.optimizer import make_optimizer, param_groups, set_rate


class Everything(nn.Module):
    """One layer of each kind that decay looks at."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)
        self.batch = nn.BatchNorm2d(2)
        self.layer = nn.LayerNorm(4)
        self.group = nn.GroupNorm(1, 2)
        self.head = MarginHead(4, 3, margin="normalized_softmax", scale="learned")


NORMS = {f"{norm}.{name}" for norm in ("batch", "layer", "group") for name in ("weight", "bias")}
WEIGHTS = {"conv.weight", "head.weight"}


def decayed(**rules: bool) -> set[str]:
    groups = param_groups(Everything(), weight_decay=0.1, **rules)
    return {name for group in groups if group["weight_decay"] for name in group["names"]}


def test_each_kind_of_parameter_follows_its_rule() -> None:
    assert decayed() == WEIGHTS | NORMS | {"conv.bias"}
    assert decayed(decay_norms=False) == WEIGHTS | {"conv.bias"}
    assert decayed(decay_biases=False) == WEIGHTS | NORMS
    assert decayed(decay_norms=False, decay_biases=False) == WEIGHTS


class Angular(nn.Module):
    """One layer of each kind whose kernels count by their direction, and one where they count by their length too."""

    def __init__(self) -> None:
        super().__init__()
        learned = {"angle": "learned_sigmoid", "gain": True}
        self.sphere = SphereConv2d(1, 2, 3, **learned)
        self.ball = DecoupledConv2d(2, 2, 3, magnitude="learned_ball", bias=False, **learned)
        self.power = DecoupledLinear(2, 2, magnitude="power")
        self.weighted = DecoupledLinear(2, 2, magnitude="tanh", weighting="linear")
        self.shortcut = nn.Conv2d(1, 2, 1, bias=False)
        self.cell = SphereGRUCell(2, 3, angle="learned_sigmoid")


@pytest.mark.parametrize("angular", [False, True])
def test_angular_kernels_decay_only_if_asked_and_what_shapes_an_operator_never(angular: bool) -> None:
    model = Angular()
    groups = param_groups(model, weight_decay=0.1, decay_norms=True, decay_biases=False, decay_angular=angular)
    decaying, still = (set(group["names"]) for group in groups)
    kernels = {"sphere.weight", "ball.weight", "power.weight", "cell.weight_ih", "cell.weight_hh"}
    gains = {"sphere.gain", "ball.gain", "cell.gain"}
    assert decaying == {"weighted.weight", "shortcut.weight"} | gains | (kernels if angular else set())
    shapes = {"sphere.raw_k", "ball.raw_k", "cell.raw_k", "ball.raw_radius", "power.exponent"}
    biases = {"sphere.bias", "power.bias", "weighted.bias", "cell.bias"}
    assert still == shapes | biases | (set() if angular else kernels)
    # what computes a kernel follows the rule of the kernel
    parametrizations.weight_norm(model.sphere)
    parametrizations.orthogonal(model.shortcut)
    groups = param_groups(model, weight_decay=0.1, decay_norms=True, decay_biases=False, decay_angular=angular)
    of_sphere = {f"sphere.parametrizations.weight.original{number}" for number in (0, 1)}
    assert of_sphere <= set(groups[0 if angular else 1]["names"])
    assert "shortcut.parametrizations.weight.original" in groups[0]["names"]
    # a gain is the scale of a normalisation
    without = param_groups(model, weight_decay=0.1, decay_norms=False)[0]["names"]
    assert not gains & set(without)


def test_slopes_of_prelu_decay_only_if_asked() -> None:
    model = nn.Sequential(nn.Linear(2, 3, bias=False), nn.PReLU(3), nn.PReLU())
    decaying, still = param_groups(model, weight_decay=0.1)
    assert (decaying["names"], still["names"]) == (["0.weight"], ["1.weight", "2.weight"])
    (decaying,) = param_groups(model, weight_decay=0.1, decay_slopes=True)
    assert decaying["names"] == ["0.weight", "1.weight", "2.weight"]


def test_biases_may_have_a_rate_of_their_own() -> None:
    model = Everything()
    alike = param_groups(model, weight_decay=0.1, rate=0.2)
    assert [set(group) for group in alike] == [{"params", "weight_decay", "names"}] * 2
    *others, biases = param_groups(model, weight_decay=0.1, decay_biases=False, rate=0.2, bias_rate_factor=2.0)
    # shifts of norms are no biases here
    assert biases["names"] == ["conv.bias"]
    assert (biases["lr"], biases["rate_factor"], biases["weight_decay"]) == (0.4, 2.0, 0.0)
    assert not any("lr" in group for group in others)
    (decaying,) = param_groups(model, weight_decay=0.1, rate=0.2, bias_rate_factor=2.0)[2:]
    assert (decaying["names"], decaying["weight_decay"]) == (["conv.bias"], 0.1)
    # what an ordinary loop makes of the groups
    rates = {group["weight_decay"]: group["lr"] for group in torch.optim.SGD([*others, biases], lr=0.2).param_groups}
    assert rates == {0.1: 0.2, 0.0: 0.4}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, r"param_groups: bias_rate_factor is 2, but there is no rate to multiply\. Give rate\."),
        ({"rate": 0.0}, r"param_groups: rate and bias_rate_factor must be above 0, got 0 and 2\."),
        ({"rate": 1.0, "bias_rate_factor": -1.0}, r"rate and bias_rate_factor must be above 0, got 1 and -1\."),
    ],
)
def test_a_rate_that_cannot_be_multiplied_is_refused(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        param_groups(Everything(), weight_decay=0.1, **({"bias_rate_factor": 2.0} | settings))


def test_the_rate_of_a_run_moves_all_groups_and_survives_a_checkpoint() -> None:
    config = OptimizerConfig(rate=0.1, bias_rate_factor=2.0, decay_biases=False)
    optimizer = make_optimizer(Everything(), config)
    again = make_optimizer(Everything(), config)
    again.load_state_dict(optimizer.state_dict())
    for one in (optimizer, again):
        set_rate(one, 0.01)
        assert [group["lr"] for group in one.param_groups] == [0.01, 0.01, 0.02]


def test_the_published_recipe_of_sphereface_is_that_of_its_solver() -> None:
    model = build("sphereface4", base_width=2, num_features=3, image_shape=(3, 16, 16))
    rules = {"decay_biases": False, "decay_slopes": True, "bias_rate_factor": 2.0}
    optimizer = make_optimizer(model, OptimizerConfig(rate=0.1, momentum=0.0, weight_decay=5e-4, **rules))
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    for name, parameter in model.named_parameters():
        bias = name.endswith("bias")
        wanted = before[name] - (0.2 if bias else 0.1 * (1 + 5e-4 * before[name]))
        torch.testing.assert_close(parameter.detach(), wanted, msg=name)


def test_groups_hold_every_trained_parameter_once() -> None:
    model = Everything()
    model.again = model.conv
    model.layer.weight.requires_grad_(False)
    groups = param_groups(model, weight_decay=0.1)
    names = [name for group in groups for name in group["names"]]
    assert sorted(names) == sorted(name for name, _ in model.named_parameters() if name != "layer.weight")
    assert sum(len(group["params"]) for group in groups) == len(names)


def test_a_group_without_members_is_left_out() -> None:
    groups = param_groups(nn.Linear(2, 2), weight_decay=0.1)
    assert [group["weight_decay"] for group in groups] == [0.1]


def test_published_decay_is_a_gradient_of_5e_4_times_the_parameter_batchnorm_included() -> None:
    model = build("cnn6", base_width=2, image_shape=(1, 8, 8))
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimizer = make_optimizer(model, OptimizerConfig(rate=0.1, momentum=0.0, weight_decay=5e-4))
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    assert any("norm" in name for name in before)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.detach(), before[name] * (1 - 0.1 * 5e-4), msg=name)


@pytest.mark.parametrize(
    ("name", "kind"), [("sgd", torch.optim.SGD), ("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)]
)
def test_a_name_makes_its_optimizer(name: str, kind: type) -> None:
    config = OptimizerConfig(name=name, rate=0.02, betas=(0.8, 0.9), momentum=0.7, nesterov=True)
    optimizer = make_optimizer(nn.Linear(2, 2), config)
    assert type(optimizer) is kind
    (group,) = optimizer.param_groups
    expected = {"lr": 0.02, "weight_decay": 5e-4}
    expected |= {"momentum": 0.7, "nesterov": True} if name == "sgd" else {"betas": (0.8, 0.9)}
    assert {key: group[key] for key in expected} == expected
