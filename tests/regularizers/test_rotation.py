# SPDX-License-Identifier: MIT
"""Training by rotation: which layers, the energy that stays, plain weights again, and words for what cannot be."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from hypersphere.functional.rotations import ROTATIONS
from hypersphere.nn import MarginHead
from hypersphere.regularizers import HypersphericalEnergy
from hypersphere.regularizers.rotation import merge_rotations, orthogonality_error, rotate
from hypersphere.training.optimizer import param_groups


def network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 6, 3), nn.Flatten(), nn.Linear(96, 10)
    )


def step(model: nn.Module, optimizer: torch.optim.Optimizer) -> float:
    images = torch.randn(32, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(32) % 10
    loss = nn.functional.cross_entropy(model(images), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


@pytest.mark.parametrize("method", ROTATIONS)
@pytest.mark.parametrize(("init", "block_size"), [("random", None), ("identity", 3)])
def test_energies_stay_and_the_model_learns(method: str, init: str, block_size: int | None) -> None:
    model = network()
    energies = [
        HypersphericalEnergy(power=power, distance=distance, half_space=half_space, include=("0", "3"))
        for power in (0.0, 1.0, 2.0) for distance in ("euclidean", "angular") for half_space in (False, True)
    ]  # fmt: skip
    before = [energy.terms(model) for energy in energies]
    assert rotate(model, method=method, init=init, block_size=block_size).layers == ["0", "3"]
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=0.05, momentum=0.9)
    weight = model[3].weight.detach().clone()
    losses = [step(model, optimizer) for _ in range(30)]
    assert losses[-1] < 0.5 * losses[0]
    assert (model[3].weight - weight).norm() > 0.05
    for energy, old in zip(energies, before, strict=True):
        for name, value in energy.terms(model).items():
            assert value.item() == pytest.approx(old[name].item(), rel=1e-6, abs=1e-6)
    assert max(orthogonality_error(model).values()) < 2e-6


@pytest.mark.parametrize("method", ROTATIONS)
def test_200_steps_leave_rotations_orthogonal(method: str) -> None:
    model = network()
    rotate(model, method=method, init="random", include="0")
    optimizer = torch.optim.SGD(param_groups(model, weight_decay=5e-4), lr=0.05, momentum=0.9)
    for _ in range(200):
        step(model, optimizer)
    assert 0.0 < orthogonality_error(model)["0"] < 2e-6


def test_fine_tuning_starts_where_the_model_is() -> None:
    model = network().eval()
    images = torch.randn(4, 1, 8, 8)
    before = model(images)
    result = rotate(model, block_size=9, train_output=False, exclude="5")
    assert result.layers == ["0", "3"]
    assert torch.equal(model(images), before)
    free = {name: parameter.numel() for name, parameter in model.named_parameters() if parameter.requires_grad}
    # D (b - 1) / 2 numbers for 9 and 72 coordinates
    assert free["0.parametrizations.weight.0.raw"] == 9 * 8 // 2
    assert free["3.parametrizations.weight.0.raw"] == 72 * 8 // 2
    assert set(free) - {"0.parametrizations.weight.0.raw", "3.parametrizations.weight.0.raw"} == {
        "0.bias", "1.weight", "1.bias", "3.bias", "5.weight", "5.bias",
    }  # fmt: skip


def test_merging_gives_the_plain_model_back() -> None:
    model, plain = network().eval(), network()
    rotate(model, method="gram_schmidt", init="random")
    copied, state = copy.deepcopy(model), model.state_dict()
    other = network(seed=1).eval()
    rotate(other, method="gram_schmidt", init="random")
    other.load_state_dict(state, strict=True)
    images = torch.randn(4, 1, 8, 8)
    expected = model(images)
    assert torch.equal(other(images), expected)
    assert merge_rotations(copied) == ["0", "3"]
    assert torch.equal(copied(images), expected)
    assert list(copied.state_dict()) == list(plain.state_dict())
    assert [name for name, _ in copied.named_parameters()] == [name for name, _ in plain.named_parameters()]
    assert all(parameter.requires_grad for parameter in copied.parameters())
    assert type(copied[0]) is nn.Conv2d
    plain.load_state_dict(copied.state_dict(), strict=True)
    assert merge_rotations(copied) == []
    assert orthogonality_error(copied) == {}


def test_a_single_layer_and_other_dtypes() -> None:
    for dtype, inside in ((torch.float64, torch.float64), (torch.bfloat16, torch.float32)):
        layer = nn.Linear(4, 3, dtype=dtype)
        before = layer.weight.detach().clone()
        assert rotate(layer, train_output=False).layers == ["Linear"]
        assert torch.equal(layer.weight, before)
        assert layer.parametrizations.weight[0].raw.dtype == inside
        assert list(orthogonality_error(layer)) == ["Linear"]
        assert merge_rotations(layer) == ["Linear"]


@pytest.mark.parametrize("method", ROTATIONS)
def test_compiled_and_under_autocast(method: str) -> None:
    model = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 3))
    rotate(model, method=method, init="random", output=())
    x = torch.randn(5, 6)
    compiled = torch.compile(lambda value: model(value), fullgraph=True, backend="aot_eager")
    raw = model[0].parametrizations.weight[0].raw
    expected, found = model(x), compiled(x)
    assert torch.allclose(expected, found, atol=1e-6)
    gradients = [torch.autograd.grad(value.sum(), raw)[0] for value in (expected, found)]
    assert torch.allclose(*gradients, atol=1e-5)
    torch.compiler.reset()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        weight = model[0].weight
        assert model(x).dtype == torch.bfloat16
    assert weight.dtype == torch.float32
    assert torch.equal(weight, model[0].weight)


class Everything(nn.Module):
    """A layer of each kind that cannot be rotated, and one that can."""

    def __init__(self) -> None:
        super().__init__()
        self.plain = nn.Linear(4, 4)
        self.grouped = nn.Conv1d(4, 4, 3, groups=2)
        self.up = nn.ConvTranspose1d(4, 4, 3)
        self.attention = nn.MultiheadAttention(4, 2)
        self.normed = nn.utils.parametrizations.weight_norm(nn.Linear(4, 4))
        self.tied = nn.Linear(4, 4)
        self.twin = nn.Linear(4, 4)
        self.twin.weight = self.tied.weight
        self.table = nn.Embedding(5, 4)
        self.head = MarginHead(4, 3)


def test_what_cannot_be_rotated_is_left_out_in_words() -> None:
    result = rotate(Everything(), train_output=False)
    assert result.layers == ["plain", "attention.out_proj"]
    joint = "is no linear layer or convolution of its own"
    assert result.skipped == {
        "grouped": "is a convolution in 2 groups, whose neurons lie in different spaces",
        "up": "is a transposed convolution, whose weight has no row for each neuron",
        "attention.query": joint,
        "attention.key": joint,
        "attention.value": joint,
        "normed": "its weight is computed already, by a parametrization or a hook",
        "tied": "shares its weight with another layer",
        "twin": "shares its weight with 'tied'",
        "table": "is an embedding table, which counts on request only",
        "head": joint,
    }


def test_a_wrapped_model_is_refused_in_words() -> None:
    for wrapped in (nn.DataParallel(network()), torch.compile(network(), backend="eager")):
        with pytest.raises(
            ValueError, match=r"left to rotate \(0: lies in a wrapper; rotate the model before it is wrapped"
        ):
            rotate(wrapped)


def test_the_output_layer_stays_free_unless_asked() -> None:
    model = network()
    assert rotate(model, block_size=3).skipped == {
        "5": "is the output layer, which trains freely (train_output=False rotates it)"
    }
    again = rotate(model, train_output=False)
    assert again.layers == ["5"]
    assert again.skipped["0"] == "its weight is computed already, by a parametrization or a hook"


def test_wrong_arguments_are_refused_in_words() -> None:
    with pytest.raises(
        ValueError, match=r"rotate: unknown method 'cayle': choose cayley, .* \(did you mean 'cayley'\?\)"
    ):
        rotate(network(), method="cayle")
    with pytest.raises(ValueError, match=r"rotate: block_size must be a whole number of 1 or more, got 0\."):
        rotate(network(), block_size=0)
    with pytest.raises(
        ValueError,
        match=r"rotate: block_size=7 does not divide the 9 numbers of a neuron of layer '0'; take a divisor, such as 3",
    ):
        rotate(network(), block_size=7, include="0")
    with pytest.raises(ValueError, match=r"rotate: 2 problems:\n  - block_size=5 .*\n  - block_size=5 "):
        rotate(network(), block_size=5)
    with pytest.raises(
        ValueError,
        match=r"rotate: layer '0' has neurons of 4100 numbers, and R would be a matrix of 4100²; "
        r"give a block_size of at most 4096, such as 205, or exclude the layer\.",
    ):
        rotate(nn.Sequential(nn.Linear(4100, 2), nn.Linear(2, 2)))
    with pytest.raises(ValueError, match=r"rotate: no layer of Linear is left to rotate \(Linear: is the output layer"):
        rotate(nn.Linear(4, 3))
    with pytest.raises(
        ValueError, match=r"rotate: no layer of ReLU is left to rotate \(it has no layer with neurons\)\."
    ):
        rotate(nn.ReLU())
    model = network()
    frozen = [parameter.requires_grad for parameter in model.parameters()]
    with pytest.raises(ValueError, match="problems"):
        rotate(model, block_size=5)
    assert [parameter.requires_grad for parameter in model.parameters()] == frozen


def test_merging_below_another_parametrization_is_refused_in_words() -> None:
    model = network()
    rotate(model, include="0")
    nn.utils.parametrize.register_parametrization(model[0], "weight", nn.Identity())
    with pytest.raises(ValueError, match=r"merge_rotations: layer '0' has parametrizations of its weight besides the"):
        merge_rotations(model)
