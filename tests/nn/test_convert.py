# SPDX-License-Identifier: MIT
"""Converting a model in place and back: what is kept, what is new, and that the converted model trains."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from hypersphere.functional import decoupled_conv2d
from hypersphere.nn.convert import convert, revert
from hypersphere.nn.decoupled import DecoupledConv2d, DecoupledLayer, DecoupledLinear
from hypersphere.nn.plan import plan_conversion
from hypersphere.nn.rotation import Rotation
from hypersphere.nn.sphere import SphereConv2d


class Residual(nn.Module):
    """A block whose layers lie in attributes, a list and a dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 6, 3, stride=2, padding=1, bias=False)
        self.more = nn.ModuleList([nn.Conv2d(6, 6, 3, padding=2, dilation=2, groups=3)])
        self.named = nn.ModuleDict({"shortcut": nn.Conv2d(4, 6, 1, stride=2)})

    def forward(self, x: Tensor) -> Tensor:
        return self.more[0](self.conv(x).relu()) + self.named["shortcut"](x)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding="same", padding_mode="reflect"),
        nn.ReLU(),
        Residual(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(6, 5),
        nn.ReLU(),
        nn.Linear(5, 3),
    )


def images(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*(shape or (2, 1, 8, 8)), generator=torch.Generator().manual_seed(1), dtype=dtype)


def decoupled(model: nn.Module) -> list[str]:
    return [name for name, module in model.named_modules() if isinstance(module, DecoupledLayer)]


# ----------------------------------------------------------------------------------------------------- what is computed


@pytest.mark.parametrize("options", [{}, {"linear": True}, {"include": "*"}, {"exclude": "2.*"}, {"include": "7"}])
def test_a_model_becomes_what_the_plan_says(options: dict) -> None:
    model = network()
    planned = [row.name for row in plan_conversion(model, **options) if row.action == "convert"]
    assert convert(model, **options) is model
    assert decoupled(model) == planned
    assert model(images()).shape == (2, 3)


def test_a_layer_computes_its_decoupled_form() -> None:
    layer = nn.Conv2d(4, 6, 3, stride=2, padding=1, dilation=2, groups=2)
    x = images(2, 4, 9, 9)
    convert(layer, angle="sigmoid", magnitude="linear", weighting="linear", eps=1e-3)
    options = {"angle": "sigmoid", "magnitude": "linear", "weighting": "linear", "eps": 1e-3}
    expected = decoupled_conv2d(x, layer.weight, layer.bias, 2, 1, 2, 2, **options)
    assert torch.equal(layer(x), expected)


def test_a_converted_layer_equals_one_that_was_made_decoupled() -> None:
    options = {"angle": "learned_sigmoid", "magnitude": "learned_tanh", "gain": True}
    found, made = convert(nn.Conv2d(4, 6, 3), **options), DecoupledConv2d(4, 6, 3, **options)
    assert repr(found) == repr(made)
    assert list(found.state_dict()) == list(made.state_dict())
    assert vars(found).keys() == vars(made).keys()
    with torch.no_grad():
        made.weight.copy_(found.weight)
        made.bias.copy_(found.bias)
    for key, value in made.state_dict().items():
        assert torch.equal(found.state_dict()[key], value), key
    x = images(2, 4, 9, 9)
    assert torch.equal(found(x), made(x))
    assert torch.equal(found.eval()(x), made.eval()(x))


def test_one_conversion_leaves_the_function() -> None:
    # cosine, linear magnitude and kernels with their lengths: |w| |x| cos(theta)
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 2e-6)):
        model, x = network().to(dtype), images(dtype=dtype)
        expected = model(x)
        convert(model, angle="cosine", magnitude="linear", weighting="linear", include="*")
        assert len(decoupled(model)) == 6
        assert torch.allclose(model(x), expected, rtol=0, atol=tolerance)
        assert (convert(network().to(dtype), include="*")(x) - expected).abs().max() > 0.01


# --------------------------------------------------------------------------------------------------------- what is kept


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_parameters_stay_the_same_objects(dtype: torch.dtype) -> None:
    model = network().to(dtype).to(memory_format=torch.channels_last)
    model[0].weight.requires_grad_(False)
    model[2].eval()
    before = dict(model.named_parameters())
    state = {key: value.clone() for key, value in model.state_dict().items()}
    strides = {key: value.stride() for key, value in state.items()}
    training = {name: module.training for name, module in model.named_modules()}
    generator = torch.get_rng_state()
    convert(model, linear=True)
    assert torch.equal(torch.get_rng_state(), generator)
    after = dict(model.named_parameters())
    assert list(after) == list(before)
    assert all(after[name] is parameter for name, parameter in before.items())
    assert [name for name, parameter in after.items() if not parameter.requires_grad] == ["0.weight"]
    assert all(torch.equal(value, state[key]) and value.dtype == dtype for key, value in model.state_dict().items())
    assert {key: value.stride() for key, value in model.state_dict().items()} == strides
    assert {name: module.training for name, module in model.named_modules()} == training


def test_an_optimiser_made_before_goes_on() -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    convert(model)
    before = model[0].weight.detach().clone()
    model(images()).square().sum().backward()
    optimizer.step()
    assert not torch.equal(model[0].weight, before)


def test_hooks_and_references_stay() -> None:
    model, seen = network(), []
    layer, old = model[0], [model[0]]
    kept = layer.register_forward_hook(lambda module, inputs, output: seen.append(type(module).__name__))
    gone = layer.register_forward_pre_hook(lambda module, inputs: seen.append("before"))
    layer.note = "a remark of the user's"
    convert(model)
    assert model[0] is layer is old[0]
    assert layer.note == "a remark of the user's"
    model(images())
    gone.remove()
    model(images())
    kept.remove()
    model(images())
    assert seen == ["before", "DecoupledConv2d", "DecoupledConv2d"]


def test_shared_layers_and_tied_weights() -> None:
    layer = nn.Conv2d(4, 4, 3, padding=1)
    model = nn.ModuleList([layer, nn.ModuleDict({"again": layer}), nn.Conv2d(4, 4, 3), nn.Linear(4, 2)])
    model[2].weight = layer.weight
    convert(model)
    assert type(model[0]) is DecoupledConv2d
    assert model[0] is model[1]["again"]
    assert model[2].weight is layer.weight


@pytest.mark.parametrize("make", [lambda: nn.Conv1d(2, 4, 3), lambda: nn.Conv3d(2, 4, 3), lambda: nn.Linear(2, 4)])
def test_a_bare_layer(make: Callable[[], nn.Module]) -> None:
    layer = make()
    found = convert(layer)
    assert found is layer
    assert type(found).__name__ == f"Decoupled{type(make()).__name__}"
    assert type(revert(found)) is type(make())


def test_the_meta_device() -> None:
    with torch.device("meta"):
        model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(4, 2))
    convert(model, angle="learned_sigmoid", magnitude="learned_ball", gain=True)
    assert all(value.is_meta for value in model.state_dict().values())


def test_a_converted_model_is_copied_stored_and_compiled() -> None:
    options = {"angle": "learned_sigmoid", "magnitude": "ball"}
    model, x = convert(network(), **options).eval(), images()
    expected = model(x)
    assert torch.equal(copy.deepcopy(model)(x), expected)
    other = convert(network(), **options).eval()
    other.load_state_dict(model.state_dict(), strict=True)
    assert torch.equal(other(x), expected)
    compiled = torch.compile(lambda x: model(x), fullgraph=True, backend="aot_eager")
    assert torch.allclose(compiled(x), expected, atol=1e-6)
    torch.compiler.reset()


def test_checkpoints_fit_before_and_after() -> None:
    ordinary, model = network(), convert(network())
    assert list(model.state_dict()) == list(ordinary.state_dict())
    model.load_state_dict(ordinary.state_dict(), strict=True)
    ordinary.load_state_dict(model.state_dict(), strict=True)


# ---------------------------------------------------------------------------------------------------------- what is new


def test_what_is_learned_has_the_dtype_and_freedom_of_its_layer() -> None:
    model = network().double()
    model[0].requires_grad_(False)
    convert(model, angle="learned_sigmoid", magnitude="learned_ball", gain=True)
    new = {
        name: p for name, p in model.named_parameters() if name.rpartition(".")[2] in ("raw_k", "raw_radius", "gain")
    }
    assert len(new) == 9
    assert {parameter.dtype for parameter in new.values()} == {torch.float64}
    assert [name for name, parameter in new.items() if not parameter.requires_grad] == [
        "0.raw_k",
        "0.raw_radius",
        "0.gain",
    ]
    assert torch.allclose(model[2].conv.k, torch.full((6,), 0.75, dtype=torch.float64))
    model(images(dtype=torch.float64)).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters() if p.requires_grad)


# --------------------------------------------------------------------------------------------------------------- revert


def test_there_and_back() -> None:
    model, x = network(), images()
    expected, text = model(x), repr(model)
    facts = {name: (type(module), set(vars(module))) for name, module in model.named_modules()}
    state = {key: value.clone() for key, value in model.state_dict().items()}
    parameters = dict(model.named_parameters())
    for magnitude in ("sphere", "tanh"):
        convert(model, magnitude=magnitude, linear=True)
        model(x)
        assert revert(model) is model
        assert decoupled(model) == []
        assert repr(model) == text
        assert {name: (type(module), set(vars(module))) for name, module in model.named_modules()} == facts
        assert list(model.state_dict()) == list(state)
        assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
        assert all(parameter is parameters[name] for name, parameter in model.named_parameters())
        assert torch.equal(model(x), expected)


def test_what_was_learned_is_named_when_it_is_lost() -> None:
    model = convert(network(), angle="learned_sigmoid", gain=True, include="0")
    words = r"revert: an ordinary layer has no place for gain of '0', raw_k of '0', which were dropped\."
    with pytest.warns(UserWarning, match=words):
        revert(model)
    assert list(model.state_dict()) == list(network().state_dict())


def test_layers_that_were_made_decoupled_become_ordinary_too() -> None:
    made = nn.Sequential(SphereConv2d(1, 4, 3), DecoupledLinear(4, 2))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [type(layer) for layer in revert(made)] == [nn.Conv2d, nn.Linear]
        assert type(revert(nn.Conv2d(1, 4, 3))) is nn.Conv2d


class Twofold(SphereConv2d):
    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(input)


def test_what_cannot_be_reverted_is_refused_in_words() -> None:
    model = convert(network())
    parametrize.register_parametrization(model[0], "weight", Rotation(9))
    with pytest.raises(ValueError, match=r"revert: layer '0' is parametrised; remove its parametrizations first\."):
        revert(model)
    with pytest.raises(ValueError, match=r"revert: layer '0' is Twofold, a subclass, which may compute"):
        revert(nn.Sequential(Twofold(3, 4, 3)))
    with pytest.raises(
        ValueError, match=r"revert: layer 'OptimizedModule' is wrapped as OptimizedModule; do this before"
    ):
        revert(torch.compile(convert(network()), backend="eager"))
    with pytest.raises(TypeError, match=r"revert: expected a module \(torch\.nn\.Module\), got dict\."):
        revert({})


# --------------------------------------------------------------------------------------------------------------- errors


def test_a_model_with_nothing_to_convert_is_refused_in_words() -> None:
    words = r"convert: no layer of Sequential is left to convert \(1: is the output layer\)\."
    with pytest.raises(ValueError, match=words):
        convert(nn.Sequential(nn.ReLU(), nn.Linear(3, 2)))
    words = r"convert: no layer of ReLU is left to convert \(it has no convolution or linear layer\)\."
    with pytest.raises(ValueError, match=words):
        convert(nn.ReLU())
    with pytest.raises(ValueError, match=r"convert: no layer of DecoupledConv2d is left .* is decoupled already\)"):
        convert(convert(nn.Conv2d(1, 2, 3)))
    with pytest.raises(TypeError, match=r"convert: expected a module \(torch\.nn\.Module\), got list\."):
        convert([nn.Conv2d(1, 2, 3)])
    with pytest.raises(ValueError, match=r"convert: include pattern '9' matches no layer among 0, 2\.conv, 2\.more\.0"):
        convert(network(), include="9")


def test_a_refused_model_is_left_as_it_was() -> None:
    model = network()
    with pytest.raises(ValueError, match="eps"):
        convert(model, eps=-1.0)
    assert decoupled(model) == []


# ------------------------------------------------------------------------------------------------------------- training


def digits() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Scanned digits of scikit-learn as images (N, 1, 8, 8) around zero, 1297 to train and 500 to test."""
    datasets = pytest.importorskip("sklearn.datasets")
    pixels, labels = datasets.load_digits(return_X_y=True)
    x, y = torch.tensor(pixels, dtype=torch.float32).view(-1, 1, 8, 8) / 8 - 1, torch.tensor(labels)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    return x[order[500:]], y[order[500:]], x[order[:500]], y[order[:500]]


def epochs(model: nn.Module, logits: Callable[[Tensor], Tensor], num: int) -> tuple[list[float], float]:
    """Losses of all steps and the accuracy on the test digits."""
    x, y, test, answers = digits()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    losses = []
    model.train()
    for _ in range(num):
        for rows in torch.randperm(len(x)).split(32):
            loss = nn.functional.cross_entropy(logits(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    # after forty steps the running variances still hold a part of the 1 that they started from, which is large
    # beside outputs that are cosines: they are taken anew from one pass over the training digits
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None
    with torch.no_grad():
        for rows in torch.arange(len(x)).split(100):
            logits(x[rows])
        model.eval()
        return losses, float((logits(test).argmax(dim=1) == answers).float().mean())


def test_a_model_of_torch_learns_real_digits_in_one_epoch() -> None:
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for before, after in ((1, 16), (16, 32)):
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU(), nn.MaxPool2d(2)]
    model = convert(nn.Sequential(*layers, nn.Flatten(), nn.Linear(128, 10)), angle="linear")
    assert decoupled(model) == ["0", "4"]
    losses, accuracy = epochs(model, model, 1)
    assert sum(losses[-5:]) < 0.3 * sum(losses[:5])
    assert accuracy > 0.9


def test_a_resnet_of_another_library_learns_real_digits_in_one_epoch() -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.ResNetConfig(
        num_channels=1, embedding_size=16, hidden_sizes=[16, 32], depths=[1, 1], layer_type="basic", num_labels=10
    )
    model = transformers.ResNetForImageClassification(config)
    names = list(model.state_dict())
    convert(model, angle="cosine", magnitude="tanh")
    assert len(decoupled(model)) == 5

    def logits(x: Tensor) -> Tensor:
        return model(nn.functional.interpolate(x, scale_factor=2.0)).logits

    losses, accuracy = epochs(model, logits, 1)
    assert sum(losses[-5:]) < 0.3 * sum(losses[:5])
    assert accuracy > 0.9
    revert(model)
    assert decoupled(model) == []
    assert list(model.state_dict()) == names
    assert logits(digits()[2]).isfinite().all()
