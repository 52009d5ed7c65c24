# SPDX-License-Identifier: MIT
"""Uniformity as a regulariser: sums over layers, released settings, poles that training moves, and refusals."""

from __future__ import annotations

import copy
import io
import math

import pytest
import torch
from torch import nn

from hypersphere.functional import covering, gram_log_determinant, hyperspherical_energy, resultant, separation
from hypersphere.functional.uniformity import UNIFORMITIES
from hypersphere.nn import MarginHead
from hypersphere.regularizers import Uniformity

WITH_POLES = ("polarization", "covering")


def small() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 4, 3), nn.Flatten(), nn.Linear(16, 5), nn.Linear(5, 5), nn.Linear(5, 3))


# ----------------------------------------------------------------------------------------------------- what is measured


@pytest.mark.parametrize("half_space", [False, True])
@pytest.mark.parametrize("kind", UNIFORMITIES)
def test_the_sum_over_layers(kind: str, half_space: bool) -> None:
    if kind == "resultant" and half_space:
        return
    model = small().double()
    uniformity = Uniformity(kind, half_space, 0.5, 3.0, eps=1e-4, **({"num_poles": 2} if kind in WITH_POLES else {}))
    total, values = uniformity(model), []
    for index in (0, 2, 3, 4):
        # the output layer stays in full space
        options = {"eps": 1e-4} if kind == "resultant" else {"eps": 1e-4, "half_space": half_space and index != 4}
        if kind in WITH_POLES:
            options["poles"] = uniformity.state.tensors[str(index)]
        values.append(UNIFORMITIES[kind](model[index].weight.flatten(1), **options))
    torch.testing.assert_close(torch.stack(list(uniformity.terms(model).values())), torch.stack(values))
    torch.testing.assert_close(total, 0.5 * sum(values[:3]) + 3 * values[3])
    assert (uniformity.state_dict() == {}) == (kind not in WITH_POLES)


def test_released_settings() -> None:
    model = small()
    hidden, output = [model[index].weight.flatten(1) for index in (0, 2, 3)], model[4].weight
    # both tied pairs of half space count in the program: 0.1 times two
    squares = [2 * separation(rows, squared=True, half_space=True, eps=1e-4) for rows in hidden]
    expected = 0.1 * sum(squares) + separation(output, squared=True, eps=1e-4)
    torch.testing.assert_close(Uniformity.published("separation")(model), expected)
    lengths = [rows.sum(0).norm() for rows in (*hidden, output)]
    expected = 0.01 * sum(lengths[:3]) + 0.1 * lengths[3]
    torch.testing.assert_close(Uniformity.published("resultant")(model), expected)
    determinants = [gram_log_determinant(r, half_space=True, eps=1e-4, reduction="sum") for r in hidden]
    expected = 0.01 * sum(determinants) + 0.1 * gram_log_determinant(output, eps=1e-4, reduction="sum")
    torch.testing.assert_close(Uniformity.published("gram")(model), expected)
    for kind, weights in (("polarization", (1.0, 10.0)), ("covering", (0.01, 0.1))):
        uniformity = Uniformity.published(kind)
        assert (uniformity.hidden_weight, uniformity.output_weight) == weights
        assert (uniformity.half_space, uniformity.output_half_space) == (True, False)
        assert (uniformity.num_poles, uniformity.inner_steps, uniformity.eps) == (1, 10, 1e-4)
        assert uniformity.options == {}
    assert Uniformity.published("covering", inner_steps=3, output_weight=0.0).inner_steps == 3


def test_groups_are_averaged_and_have_their_own_poles() -> None:
    layer = nn.Conv2d(6, 8, 3, groups=2)
    uniformity = Uniformity("covering", num_poles=3, sharpness=2.0)
    value = uniformity(layer)
    poles = uniformity.state.tensors["Conv2d"]
    assert poles.shape == (6, 27)
    alone = [
        covering(group.flatten(1), own, sharpness=2.0)
        for group, own in zip(layer.weight.chunk(2), poles.chunk(2), strict=True)
    ]
    torch.testing.assert_close(value, torch.stack(alone).mean())


def test_layers_of_one_shape_are_as_if_alone() -> None:
    torch.manual_seed(0)
    model = nn.ModuleList([nn.Linear(6, 5) for _ in range(3)])
    for kind in UNIFORMITIES:
        uniformity = Uniformity(kind, output=())
        terms = {name: term for _ in range(2) for name, term in (uniformity(model), uniformity.terms(model))[1].items()}
        for name, layer in model.named_children():
            options = {"poles": uniformity.state.tensors[name]} if kind in WITH_POLES else {}
            torch.testing.assert_close(terms[name], UNIFORMITIES[kind](layer.weight, **options))


def test_a_head_outside_the_model_is_the_output() -> None:
    model, head = small(), MarginHead(3, 7)
    uniformity = Uniformity("resultant", hidden_weight=0.0, output_weight=2.0)
    torch.testing.assert_close(uniformity(model, head), 2 * resultant(head.weight))
    assert uniformity.skipped(model, head)["0"] == "hidden_weight is 0"


# ---------------------------------------------------------------------------------------------------------------- poles


@pytest.mark.parametrize("kind", WITH_POLES)
def test_only_training_moves_the_poles(kind: str) -> None:
    model, uniformity = small(), Uniformity(kind)
    looked = uniformity.terms(model)
    assert uniformity.state.tensors == {}
    first = uniformity(model)
    torch.testing.assert_close(torch.stack(list(looked.values())).sum(), first)
    poles = dict(uniformity.state.tensors)
    assert torch.equal(uniformity.eval()(model), first)
    uniformity.terms(model)
    assert all(uniformity.state.tensors[name] is pole for name, pole in poles.items())
    second = uniformity.train()(model)
    # ten more steps of the adversary against the same neurons
    assert second > first
    assert not any(torch.equal(uniformity.state.tensors[name], pole) for name, pole in poles.items())
    assert uniformity.state.clock.steps == 2
    assert not any(pole.requires_grad for pole in uniformity.state.tensors.values())


@pytest.mark.parametrize("kind", WITH_POLES)
def test_a_saved_state_goes_on_alike(kind: str) -> None:
    model, uniformity = small(), Uniformity(kind, num_poles=2, seed=3)
    uniformity(model), uniformity(model)
    buffer = io.BytesIO()
    torch.save(uniformity.state_dict(), buffer)
    buffer.seek(0)
    fresh, twin = Uniformity(kind, num_poles=2, seed=8), copy.deepcopy(uniformity)
    fresh.load_state_dict(torch.load(buffer, weights_only=True))
    for _ in range(3):
        total = uniformity(model)
        assert torch.equal(fresh(model), total)
        assert torch.equal(twin(model), total)


def test_the_seed_decides_where_poles_begin() -> None:
    model = small()
    one, same, other = (Uniformity("covering", inner_steps=0, seed=seed)(model) for seed in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_a_layer_that_changes_its_width_gets_new_poles() -> None:
    uniformity = Uniformity("polarization", output=())
    uniformity(nn.Linear(8, 5))
    uniformity(nn.Linear(9, 5))
    assert uniformity.state.tensors["Linear"].shape == (1, 9)


# ------------------------------------------------------------------------------------------------------------- training


@pytest.mark.parametrize("half_space", [False, True])
@pytest.mark.parametrize("kind", UNIFORMITIES)
def test_descending_spreads_the_neurons(kind: str, half_space: bool) -> None:
    if kind == "resultant" and half_space:
        return
    torch.manual_seed(0)
    layer = nn.Linear(3, 8, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(8, 3) + 1.5)
    options = {} if kind == "resultant" else {"half_space": half_space}
    if kind in WITH_POLES:
        # all over the sphere, so that nothing depends on where the adversary is
        options["poles"] = torch.randn(3000, 3)

    def measure() -> tuple[float, float]:
        energy = hyperspherical_energy(layer.weight, power=2.0, half_space=half_space)
        return UNIFORMITIES[kind](layer.weight, **options).item(), energy.item()

    value, energy = measure()
    uniformity = Uniformity(kind, half_space, output=(), **({"num_poles": 8} if kind in WITH_POLES else {}))
    optimizer = torch.optim.SGD(layer.parameters(), lr=2.0, momentum=0.9)
    for step in range(150):
        optimizer.param_groups[0]["lr"] = 2 * 0.98**step
        optimizer.zero_grad()
        uniformity(layer).backward()
        optimizer.step()
    assert measure()[0] < value - 0.05
    assert measure()[1] < (0.5 if kind == "resultant" else 0.25) * energy


@pytest.mark.parametrize("kind", UNIFORMITIES)
def test_low_precision_weights(kind: str) -> None:
    model, uniformity = small().to(torch.bfloat16), Uniformity(kind)
    total = uniformity(model)
    assert total.dtype == torch.float32
    total.backward()
    assert model[0].weight.grad.dtype == torch.bfloat16
    torch.testing.assert_close(total, Uniformity(kind)(copy.deepcopy(model).float()))


@pytest.mark.parametrize("kind", ["separation", "covering"])
def test_compiled_equals_eager(kind: str) -> None:
    torch.compiler.reset()
    model = small()[:3]
    eager, compiled = Uniformity(kind), Uniformity(kind)
    step = torch.compile(lambda: compiled(model), fullgraph=True, backend="aot_eager")
    parameters = [p for p in model.parameters() if p.ndim > 1]
    # poles move on in compiled code too
    for _ in range(3):
        found, expected = step(), eager(model)
        torch.testing.assert_close(found, expected)
        torch.testing.assert_close(torch.autograd.grad(found, parameters), torch.autograd.grad(expected, parameters))


# ------------------------------------------------------------------------------------------------------ what it refuses


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("cover", {}, r"unknown kind of uniformity 'cover': choose covering, gram, .* \(did you mean 'covering'\?\)"),
        ("covering", {"power": 2.0}, r"Uniformity: 'covering' has no option 'power': it has sharpness\."),
        ("covering", {"sharpness": 0.0}, r"Covering: sharpness must lie in"),
        ("polarization", {"power": -1.0}, r"Polarization: power must lie in"),
        ("separation", {"distance": "angle"}, r"separation: unknown distance 'angle'"),
        ("gram", {"ridge": 0.0}, r"gram_log_determinant: ridge must lie in"),
        ("resultant", {"half_space": True}, r"Uniformity: in half space the resultant of every layer is 0\."),
        ("covering", {"num_poles": 0}, r"Uniformity: num_poles must be a whole number of 1 or more, got 0"),
        ("covering", {"inner_steps": -1}, r"Uniformity: inner_steps must be a whole number of 0 or more, got -1"),
        ("covering", {"inner_momentum": 1.0}, r"Uniformity: inner_momentum must lie in \[0, 0\.9999\], got 1"),
        ("separation", {"eps": math.nan}, r"Uniformity: eps must lie in \[0, 1e\+30\], got nan"),
        ("separation", {"eps": math.inf}, r"Uniformity: eps must lie in \[0, 1e\+30\], got inf"),
        ("covering", {"inner_rate": math.inf}, r"Uniformity: inner_rate must lie in \[0, 1000\], got inf"),
        ("separation", {"output_weight": -1.0}, r"Uniformity: output_weight must lie in \[0, 1e\+30\], got -1"),
    ],
)
def test_wrong_options_are_refused_at_once(kind: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Uniformity(kind, **options)


def test_small_layers_are_skipped_in_words() -> None:
    model = nn.Sequential(nn.Conv2d(4, 1, 1), nn.Flatten(), nn.Linear(9, 3))
    assert Uniformity().skipped(model) == {"0": "1 neuron is too few, uniformity needs 2"}


def test_it_says_what_it_is() -> None:
    assert repr(Uniformity("separation", distance="angular")) == (
        "Uniformity('separation', distance='angular', half_space=False, output_half_space=False, "
        "hidden_weight=1, output_weight=1, eps=0)"
    )
    assert "num_poles=1, inner_steps=10, inner_rate=0.05" in repr(Uniformity.published("covering"))
