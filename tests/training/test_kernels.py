# SPDX-License-Identifier: MIT
"""Kernels whose length does not count: projected without a change of function, stepped as if they had length 1."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import nn

from hypersphere.config import OptimizerConfig
from hypersphere.models import Classifier
from hypersphere.nn import MarginHead
from hypersphere.nn.decoupled import DecoupledConv2d, DecoupledLinear
from hypersphere.nn.sphere import SphereConv2d, SphereLinear
from hypersphere.training.kernels import AngularKernels, angular_layers
from hypersphere.training.loop import Trainer
from hypersphere.training.optimizer import make_optimizer
from tiny_runs import make_trainer, noise_config, timeless


class Net(nn.Module):
    """Angular and ordinary layers for 1x4x4 images, one of them of kernels whose length counts."""

    num_features = 5

    def __init__(self) -> None:
        super().__init__()
        self.first = SphereConv2d(1, 4, 3, padding=1)
        self.weighted = DecoupledConv2d(4, 4, 3, magnitude="tanh", weighting="linear")
        self.shortcut = nn.Conv2d(4, 4, 1)
        self.last = DecoupledLinear(16, 5, magnitude="linear", angle="sigmoid")

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.last(self.shortcut(self.weighted(self.first(images)).relu()).flatten(1))


def net(seed: int = 0) -> Net:
    torch.manual_seed(seed)
    model = Net()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3.0)
    return model


def with_gradients(model: nn.Module) -> nn.Module:
    model.zero_grad()
    torch.manual_seed(1)
    model(torch.randn(8, 1, 4, 4)).square().mean().backward()
    return model


def test_only_kernels_whose_length_does_not_count_are_found() -> None:
    model = net()
    assert list(angular_layers(model)) == ["first", "last"]
    model.first.weight.requires_grad_(False)
    assert list(angular_layers(model)) == ["last"]


def test_projection_comes_every_n_steps_and_leaves_the_function_and_the_optimizer() -> None:
    model = net().eval()
    images = torch.randn(6, 1, 4, 4)
    config = OptimizerConfig(name="adam", rate=1e-3, project_every=3)
    optimizer = make_optimizer(model, config)
    kernels = AngularKernels(model, config)
    for number in range(1, 8):
        with_gradients(model)
        plain = net().eval()
        plain.load_state_dict(model.state_dict())
        for parameter, other in zip(plain.parameters(), model.parameters(), strict=True):
            parameter.grad = other.grad
        alone = make_optimizer(plain, config)
        alone.load_state_dict(copy.deepcopy(optimizer.state_dict()))
        alone.step()
        kernels.step(optimizer, number)
        lengths = model.first.weight.flatten(1).norm(dim=1)
        if number % 3:
            assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), model.parameters(), strict=True))
            assert lengths.min() > 1.1 or number > 3
            continue
        # w / sqrt(|w|² + eps), of the two angular layers alone
        torch.testing.assert_close(lengths, torch.ones(4), rtol=1e-4, atol=0)
        for name in ("weighted", "shortcut"):
            assert torch.equal(getattr(plain, name).weight, getattr(model, name).weight)
        before, after = plain(images), model(images)
        # a cosine is c / sqrt(1 + eps / |w|²): within eps / 2 of itself
        torch.testing.assert_close(after, before, rtol=2e-4, atol=2e-4 * float(before.detach().abs().max()))
        for one, other in zip(alone.state.values(), optimizer.state.values(), strict=True):
            assert all(torch.equal(value, other[key]) for key, value in one.items())


def stepped(layer: nn.Module, config: OptimizerConfig, *, times: int = 1) -> torch.Tensor:
    """The kernels after some steps on a loss that sees directions alone."""
    torch.manual_seed(2)
    inputs, wanted = torch.randn(20, 6), torch.randn(20, 3)
    optimizer = make_optimizer(layer, config)
    kernels = AngularKernels(layer, config)
    for number in range(1, times + 1):
        optimizer.zero_grad()
        (layer(inputs) - wanted).square().mean().backward()
        kernels.step(optimizer, number)
    return layer.weight.detach().clone()


def pair_of_layers(scales: torch.Tensor) -> tuple[SphereLinear, SphereLinear]:
    """The same directions at length 1 and at other lengths."""
    torch.manual_seed(0)
    short, long = (SphereLinear(6, 3, bias=False, eps=1e-12) for _ in range(2))
    with torch.no_grad():
        short.weight.copy_(nn.functional.normalize(torch.randn(3, 6), dim=1))
        long.weight.copy_(scales * short.weight)
    return short, long


SCALES = torch.tensor([1.0, 7.0, 0.4]).view(3, 1)


@pytest.mark.parametrize("weighted", [True, False])
def test_a_weighted_gradient_gives_a_step_that_no_length_shortens(weighted: bool) -> None:
    config = OptimizerConfig(rate=0.05, weighted_gradients=weighted)
    layers = pair_of_layers(SCALES)
    starts = [layer.weight.detach().clone() for layer in layers]
    short, long = (stepped(layer, config) - start for layer, start in zip(layers, starts, strict=True))
    # a gradient is as long as 1 / |w|; what is left is the rounding of w + step
    torch.testing.assert_close(long, short if weighted else short / SCALES, rtol=1e-4, atol=1e-6)


def test_a_gradient_of_kernels_that_two_layers_share_is_weighted_once() -> None:
    layer, twin = SphereLinear(6, 3, bias=False), SphereLinear(6, 3, bias=False)
    with torch.no_grad():
        layer.weight.mul_(10 / layer.weight.norm(dim=1, keepdim=True))
    twin.weight, start = layer.weight, layer.weight.detach().clone()
    layer.weight.grad = torch.ones(3, 6)
    optimizer = torch.optim.SGD([layer.weight], lr=0.1)
    AngularKernels(nn.ModuleList([layer, twin]), OptimizerConfig(weighted_gradients=True)).step(optimizer, 1)
    torch.testing.assert_close(start - layer.weight, torch.ones(3, 6), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("decay", [0.0, 0.5])
@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_a_weighted_step_of_adam_turns_kernels_of_any_length_alike(name: str, decay: float) -> None:
    config = OptimizerConfig(
        name=name, rate=0.05, weighted_gradients=True, weight_decay=decay, decay_angular=name == "adamw"
    )
    short, long = (stepped(layer, config, times=3) for layer in pair_of_layers(SCALES))
    torch.testing.assert_close(long, SCALES * short, rtol=1e-4, atol=1e-5)
    # against the formula: the step is multiplied, the decay of adamw is not
    layer = pair_of_layers(SCALES)[1]
    start = layer.weight.detach().clone()
    plain = stepped(pair_of_layers(SCALES)[1], OptimizerConfig(name=name, rate=0.05, weight_decay=0.0))
    shrunk = start * (1 - 0.05 * decay) if name == "adamw" else start
    torch.testing.assert_close(stepped(layer, config), shrunk + SCALES * (plain - start), rtol=1e-5, atol=1e-6)


def test_other_parameters_step_as_without() -> None:
    config = OptimizerConfig(name="adam", rate=0.01, weighted_gradients=True)
    ends = []
    for weighted in (True, False):
        model = with_gradients(net())
        optimizer = make_optimizer(model, config)
        if weighted:
            AngularKernels(model, config).step(optimizer, 1)
        else:
            optimizer.step()
        ends.append(dict(model.named_parameters()))
    same = {name for name in ends[0] if torch.equal(ends[0][name], ends[1][name])}
    assert same == set(ends[0]) - {"first.weight", "last.weight"}


def test_what_a_model_has_no_kernels_for_is_refused() -> None:
    plain = nn.Linear(3, 2)
    AngularKernels(plain, OptimizerConfig())
    with pytest.raises(ValueError, match=r"^optimizer\.project_every is 100, but the model has no trained kernels of "):
        AngularKernels(plain, OptimizerConfig(project_every=100))
    with pytest.raises(ValueError, match=r"^optimizer\.weighted_gradients is true, but .* Leave it out, or choose"):
        AngularKernels(plain, OptimizerConfig(weighted_gradients=True))


@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_a_stopped_run_with_both_goes_on_as_if_nothing_had_happened(tmp_path: Path, name: str) -> None:
    config = noise_config(
        optimizer__name=name,
        optimizer__project_every=2,
        optimizer__weighted_gradients=True,
        training__steps=6,
        training__checkpoint_every=3,
    )

    def trainer(folder: str) -> Trainer:
        torch.manual_seed(0)
        return make_trainer(tmp_path / folder, config, classifier=Classifier(Net(), MarginHead(5, 3)))

    whole, first = trainer("whole"), trainer("stopped")
    whole.fit()
    asked = iter([False] * 4 + [True])
    with first.open_files():
        first._evaluate()
        with pytest.raises(KeyboardInterrupt):
            first.advance_to_end(lambda: next(asked))
    second = trainer("stopped")
    second.fit()
    assert timeless(tmp_path / "stopped") == timeless(tmp_path / "whole")
    # the sixth and last step was followed by a projection
    lengths = whole.classifier.model.first.weight.flatten(1).norm(dim=1)
    assert torch.allclose(lengths, torch.ones(4), atol=1e-3)
    for found, expected in zip(second.classifier.parameters(), whole.classifier.parameters(), strict=True):
        assert torch.equal(found, expected)
