# SPDX-License-Identifier: MIT
"""Decoupled layers: as their functions compute, as the layers of torch behave, and what they learn and keep."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import prune
from torch.utils.checkpoint import checkpoint

import hypersphere as hs
from hypersphere.formulas.angles import ANGLES
from hypersphere.formulas.magnitudes import MAGNITUDES, Ball, Power, Segmented, Tanh
from hypersphere.functional import decoupled_conv2d, decoupled_linear, patch_norms
from hypersphere.functional.decoupled import unit_kernels

Make = Callable[..., nn.Module]
LAYERS: list[tuple[Make, tuple[int, ...]]] = [
    (lambda **how: hs.nn.DecoupledConv1d(4, 6, 3, stride=2, padding=1, **how), (2, 4, 9)),
    (lambda **how: hs.nn.DecoupledConv2d(4, 6, 3, padding=1, groups=2, **how), (2, 4, 7, 8)),
    (lambda **how: hs.nn.DecoupledConv3d(4, 6, (1, 3, 2), **how), (2, 4, 3, 5, 4)),
    (lambda **how: hs.nn.DecoupledLinear(4, 6, **how), (2, 3, 4)),
]
EVERYTHING: dict[str, Any] = {"angle": "learned_sigmoid", "magnitude": "learned_ball", "gain": True}


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize(("make", "shape"), LAYERS)
def test_strict_state_dict_copies_pickles_and_meta(make: Make, shape: tuple[int, ...]) -> None:
    layer = make(**EVERYTHING)
    layer(normal(*shape))
    other = make(**EVERYTHING)
    other.load_state_dict(layer.state_dict(), strict=True)
    layer.eval()
    expected = layer(normal(*shape))
    for copied in (other, copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(copied.eval()(normal(*shape)), expected)
    empty = make(**EVERYTHING, device="meta")
    assert empty.state_dict().keys() == layer.state_dict().keys()
    assert empty(torch.zeros(shape, device="meta")).shape == expected.shape
    empty.to_empty(device="cpu").reset_parameters()
    assert all(bool(x.isfinite().all()) for x in empty.state_dict().values())


def test_names_of_what_is_learned_and_kept() -> None:
    names = {"weight", "bias", "raw_k", "raw_radius", "gain", "running_norm", "num_batches_tracked"}
    assert LAYERS[1][0](**EVERYTHING).state_dict().keys() == names
    assert hs.nn.SphereConv2d(3, 4, 3).state_dict().keys() == {"weight", "bias"}
    full = hs.nn.DecoupledConv2d(3, 4, 3, bias=False, magnitude="power", gain=True)
    assert full.state_dict().keys() == {"weight", "exponent", "gain"}
    absolute = hs.nn.DecoupledLinear(3, 4, magnitude=Tanh(relative=False))
    assert absolute.state_dict().keys() == {"weight", "bias"}


def test_starts_are_those_of_the_specification() -> None:
    layer = hs.nn.DecoupledLinear(3, 4, angle={"name": "learned_sigmoid", "k": 0.5}, magnitude=Ball(1, 2.0, True, True))
    assert layer.k is not None
    assert layer.radius is not None
    torch.testing.assert_close(layer.k, torch.full((4,), 0.5))
    torch.testing.assert_close(layer.radius, torch.full((4,), 2.0))
    plain = hs.nn.SphereConv2d(3, 4, 3)
    assert plain.k is None
    assert plain.radius is None
    exponent = hs.nn.DecoupledLinear(3, 4, magnitude=Power(exponent=0.5)).exponent
    assert exponent is not None
    assert exponent.item() == 0.5
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.fill_(7.0)
    layer(normal(5, 3))
    layer.reset_parameters()
    torch.testing.assert_close(layer.k, torch.full((4,), 0.5))
    assert layer.running_norm is not None
    assert layer.num_batches_tracked is not None
    assert (layer.running_norm.item(), layer.num_batches_tracked.item()) == (1.0, 0)


def test_a_learned_k_and_radius_never_leave_their_range() -> None:
    layer = hs.nn.DecoupledLinear(3, 4, **EVERYTHING)
    with torch.no_grad():
        for raw in (layer.raw_k, layer.raw_radius):
            assert raw is not None
            raw.copy_(torch.tensor([-3.0, -0.1, 0.0, 2.0]))
    assert layer.k is not None
    assert layer.radius is not None
    assert bool((layer.k >= 0.05).all())
    assert bool((layer.radius >= 1e-4).all())
    layer(normal(5, 3)).sum().backward()
    assert all(bool(x.grad.isfinite().all()) for x in layer.parameters())


@pytest.mark.parametrize("name", list(MAGNITUDES))
def test_equals_its_function(name: str) -> None:
    layer = hs.nn.DecoupledConv2d(4, 6, 3, 2, 1, magnitude=name, angle="learned_sigmoid", weighting="linear", gain=True)
    inputs = normal(2, 4, 7, 8)
    expected = decoupled_conv2d(
        inputs,
        layer.weight,
        layer.bias,
        2,
        1,
        angle=layer.angle,
        magnitude=layer.magnitude,
        weighting="linear",
        k=layer.k,
        radius=layer.radius,
        exponent=layer.exponent,
        gain=layer.gain,
    )
    torch.testing.assert_close(layer(inputs), expected)


def test_the_running_norm_is_an_average_first_and_then_follows() -> None:
    layer = hs.nn.DecoupledConv2d(3, 4, 3, magnitude=Ball(momentum=0.25))
    seen = []
    running = 0.0
    for number in range(1, 8):
        inputs = (1 + number) * normal(2, 3, 6, 6, seed=number)
        layer(inputs)
        seen.append(patch_norms(inputs, 3).mean().item())
        running += max(0.25, 1 / number) * (seen[-1] - running)
        assert layer.running_norm is not None
        assert layer.running_norm.item() == pytest.approx(running, rel=1e-5)
        if number <= 4:
            assert running == pytest.approx(sum(seen) / number, rel=1e-9)
    assert layer.num_batches_tracked is not None
    assert layer.num_batches_tracked.item() == 7
    layer.eval()
    expected = decoupled_conv2d(
        inputs, layer.weight, layer.bias, magnitude=layer.magnitude, mean_norm=layer.running_norm
    )
    torch.testing.assert_close(layer(inputs), expected)
    assert layer.num_batches_tracked.item() == 7


@pytest.mark.parametrize("angle", list(ANGLES))
def test_projection_leaves_the_function_alone(angle: str) -> None:
    layer = hs.nn.DecoupledConv2d(3, 4, 3, angle=angle, magnitude="tanh")
    with torch.no_grad():
        layer.weight.mul_(5)
    before, weight = layer(normal(2, 3, 6, 6)), layer.weight
    layer.project_()
    assert layer.weight is weight
    torch.testing.assert_close(layer.weight.flatten(1).norm(dim=1), torch.ones(4), rtol=0, atol=1e-4)
    # the eps of the norm, 1e-4 beside a square of 1 instead of a larger one, is all that changes
    torch.testing.assert_close(layer(normal(2, 3, 6, 6)), before, rtol=1e-4, atol=2e-5)


@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated")
@pytest.mark.parametrize(
    "compute",
    [
        nn.utils.parametrizations.weight_norm,
        nn.utils.weight_norm,
        lambda layer: prune.random_unstructured(layer, "weight", 0.5),
    ],
)
def test_projection_of_a_computed_weight_is_refused(compute: Callable[[nn.Module], nn.Module]) -> None:
    layer = compute(hs.nn.SphereConv2d(3, 4, 3))
    with pytest.raises(ValueError, match=r"project_: the weight is computed by a parametrization"):
        layer.project_()


def test_an_empty_batch_leaves_the_running_norm_alone() -> None:
    layer = hs.nn.DecoupledConv2d(3, 4, 3, magnitude="tanh")
    layer(torch.zeros(0, 3, 6, 6)).sum().backward()
    assert layer.running_norm is not None
    assert layer.num_batches_tracked is not None
    assert (layer.running_norm.item(), layer.num_batches_tracked.item()) == (1.0, 0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_the_running_norm_is_at_least_float32(dtype: torch.dtype) -> None:
    layer = hs.nn.DecoupledConv2d(3, 4, 3, magnitude="tanh", dtype=dtype)
    assert layer.running_norm is not None
    assert layer.running_norm.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)


def test_the_running_norm_stays_in_float32_where_the_layer_does_not() -> None:
    layer = hs.nn.DecoupledConv2d(3, 4, 3, magnitude="tanh").to(torch.bfloat16)
    assert layer.running_norm is not None
    assert (layer.weight.dtype, layer.running_norm.dtype) == (torch.bfloat16, torch.float32)
    inputs = torch.ones(2, 3, 6, 6, dtype=torch.bfloat16)
    for _ in range(300):
        layer(inputs)
    layer.eval()(2 * inputs)
    # |x|² of a patch of ones; steps of 1 % would be lost in bfloat16
    assert layer.running_norm.item() == pytest.approx(27**0.5, rel=1e-5)
    assert layer.double().running_norm.dtype == torch.float64


@pytest.mark.parametrize("bad", [math.inf, math.nan])
def test_a_batch_that_overflowed_leaves_the_running_norm_alone(bad: float) -> None:
    layer = hs.nn.DecoupledConv2d(3, 4, 3, magnitude="tanh")
    assert layer.running_norm is not None
    assert layer.num_batches_tracked is not None
    for value, met, norm in ((bad, 0, 1.0), (1.0, 1, 27**0.5), (bad, 1, 27**0.5), (2.0, 2, 1.5 * 27**0.5)):
        layer(torch.full((1, 3, 6, 6), value))
        assert layer.num_batches_tracked.item() == met
        assert layer.running_norm.item() == pytest.approx(norm, rel=1e-4)


def test_checkpointed_activations_give_the_same_gradients() -> None:
    layer = hs.nn.DecoupledConv2d(3, 4, 3, **EVERYTHING)
    inputs, found = normal(2, 3, 6, 6), []
    for run in (layer, lambda x: checkpoint(layer, x, use_reentrant=False)):
        found.append(torch.autograd.grad(run(inputs).square().sum(), list(layer.parameters())))
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


def test_gradients_of_each_sample_by_vmap() -> None:
    layer = hs.nn.SphereConv2d(3, 4, 3, angle="linear")
    inputs, parameters = normal(3, 3, 6, 6), dict(layer.named_parameters())

    def loss(parameters: dict[str, Tensor], image: Tensor) -> Tensor:
        found: Tensor = torch.func.functional_call(layer, parameters, (image[None],))
        return found.square().sum()

    each = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(parameters, inputs)
    whole = torch.autograd.grad(layer(inputs).square().sum(), list(layer.parameters()))
    for name, expected in zip(parameters, whole, strict=True):
        torch.testing.assert_close(each[name].sum(0), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "how",
    [
        {"padding": 1},
        pytest.param({"padding": "same", "dilation": 2}, marks=pytest.mark.slow),
        pytest.param({"stride": 2}, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_one_compiled_program_for_all_sizes(how: dict[str, Any]) -> None:
    layer = hs.nn.DecoupledConv2d(3, 4, 3, **how, **EVERYTHING)
    other = copy.deepcopy(layer)
    compiled = torch.compile(lambda x: other(x), fullgraph=True, backend="aot_eager", dynamic=True)
    for shape in ((2, 3, 7, 8), (3, 3, 9, 10), (5, 3, 12, 6)):
        torch.testing.assert_close(compiled(normal(*shape)), layer(normal(*shape)), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(other.running_norm, layer.running_norm)


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_other_kinds_of_padding(mode: str) -> None:
    layer = hs.nn.DecoupledConv2d(3, 4, 3, padding=(2, 1), padding_mode=mode, magnitude="linear", weighting="linear")
    ordinary = nn.Conv2d(3, 4, 3, padding=(2, 1), padding_mode=mode)
    ordinary.load_state_dict(layer.state_dict())
    inputs = normal(2, 3, 6, 6)
    torch.testing.assert_close(layer(inputs), ordinary(inputs), rtol=1e-5, atol=1e-6)


def test_padding_by_name() -> None:
    layer = hs.nn.DecoupledConv2d(3, 4, 3, padding="same", magnitude="linear", weighting="linear")
    inputs = normal(2, 3, 6, 6)
    expected = F.conv2d(inputs, layer.weight, layer.bias, padding="same")
    torch.testing.assert_close(layer(inputs), expected, rtol=1e-5, atol=1e-6)


def test_neurons_are_found_by_regularisers() -> None:
    model = nn.Sequential(hs.nn.SphereConv2d(3, 8, 3), nn.Flatten(), hs.nn.SphereLinear(8, 5))
    energy = hs.regularizers.HypersphericalEnergy(half_space=True)
    assert list(energy.terms(model)) == ["0", "2"]


@pytest.mark.parametrize(("make", "shape"), LAYERS)
def test_half_precision_and_autocast(make: Make, shape: tuple[int, ...]) -> None:
    layer = make(**EVERYTHING)
    expected = layer.eval()(normal(*shape))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = layer(normal(*shape))
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), expected, rtol=0.03, atol=0.01)
    assert layer.weight.dtype == torch.float32
    narrow = layer.to(torch.bfloat16)(normal(*shape).to(torch.bfloat16))
    torch.testing.assert_close(narrow.float(), expected, rtol=0.05, atol=0.02)


@pytest.mark.parametrize("training", [True, pytest.param(False, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("make", "shape"), LAYERS)
def test_compiled_in_one_graph_equals_eager(make: Make, shape: tuple[int, ...], training: bool) -> None:
    torch.compiler.reset()
    layer = make(**EVERYTHING, dtype=torch.float64).train(training)
    other = copy.deepcopy(layer)
    inputs = normal(*shape, dtype=torch.float64)
    compiled = torch.compile(lambda x: other(x), fullgraph=True, backend="aot_eager")
    expected, found = layer(inputs), compiled(inputs)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-13)
    expected.square().sum().backward()
    found.square().sum().backward()
    for one, two in zip(layer.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(two.grad, one.grad, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(other.running_norm, layer.running_norm)


def test_an_angular_network_learns() -> None:
    torch.manual_seed(0)
    inputs = torch.randn(256, 6)
    labels = (decoupled_linear(inputs, torch.randn(4, 6), angle="linear")).argmax(1)
    model = nn.Sequential(hs.nn.SphereLinear(6, 32, angle="sigmoid"), nn.ReLU(), hs.nn.SphereLinear(32, 4, gain=True))
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    for _ in range(150):
        loss = F.cross_entropy(8 * model(inputs), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert (model(inputs).argmax(1) == labels).float().mean().item() > 0.9


def test_repr_says_what_it_is() -> None:
    layer = hs.nn.DecoupledConv2d(3, 4, 3, angle="linear", magnitude=Segmented(), weighting="linear", gain=True)
    text = repr(layer)
    assert text.startswith("DecoupledConv2d(3, 4, kernel_size=(3, 3), stride=(1, 1), angle=Linear(), ")
    assert "magnitude=Segmented(alpha=1.0, beta=0.5, radius=1.0" in text
    assert text.endswith("eps=0.0001, weighting='linear', gain=True)")


def test_a_running_norm_that_was_saved_narrow_is_read_wide() -> None:
    layer = hs.nn.DecoupledConv2d(3, 4, 3, magnitude="ball")
    state = {
        name: value.bfloat16() if value.is_floating_point() else value for name, value in layer.state_dict().items()
    }
    layer.load_state_dict(state, assign=True)
    assert layer.running_norm is not None
    assert (layer.weight.dtype, layer.running_norm.dtype) == (torch.bfloat16, torch.float32)
    layer(torch.ones(1, 3, 8, 8, dtype=torch.bfloat16))
    assert layer.running_norm.item() == pytest.approx(27**0.5, rel=1e-5)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"angle": "cosin"}, r"unknown angle 'cosin'.*did you mean 'cosine'"),
        ({"magnitude": "bal"}, r"unknown magnitude 'bal'.*did you mean 'ball'"),
        ({"weighting": "x"}, r"DecoupledConv2d: unknown weighting 'x': choose joint, linear, separate"),
        ({"eps": 2.0}, r"DecoupledConv2d: eps must lie in \[0, 1\], got 2"),
        ({"eps": True}, r"DecoupledConv2d: eps must be a number, got True"),
        ({"gain": "no"}, r"DecoupledConv2d: gain must be True or False, got 'no'"),
    ],
)
def test_what_is_wrong_is_said(how: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        hs.nn.DecoupledConv2d(3, 4, 3, **how)


@pytest.mark.parametrize("magnitude", ["sphere", "ball", "power", "learned_tanh"])
@pytest.mark.parametrize("angle", ["cosine", "learned_sigmoid"])
def test_a_graph_by_fx_computes_the_same(angle: str, magnitude: str) -> None:
    model = nn.Sequential(
        hs.nn.DecoupledConv2d(3, 4, 3, padding="same", angle=angle, magnitude=magnitude, gain=True),
        nn.ReLU(),
        hs.nn.DecoupledConv2d(4, 4, 3, padding=1, padding_mode="reflect"),
    ).eval()
    graph = torch.fx.symbolic_trace(model)
    for size in (8, 5):
        images = torch.randn(2, 3, size, size)
        torch.testing.assert_close(graph(images), model(images), rtol=0, atol=0)


def test_unit_kernels() -> None:
    weight = normal(4, 3, 2, 2)
    unit, lengths = unit_kernels(weight, 0.25)
    torch.testing.assert_close(unit * lengths.view(-1, 1, 1, 1), weight)
    torch.testing.assert_close(lengths, (weight.square().sum((1, 2, 3)) + 0.25).sqrt())
