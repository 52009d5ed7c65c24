# SPDX-License-Identifier: MIT
"""Energy as a regulariser: values of the released code, sums over layers, gradients, and when it refuses."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import Tensor, nn

import oracles
from hypersphere.formulas.energies import EnergyKernel
from hypersphere.functional import hyperspherical_energy
from hypersphere.models import Classifier, build
from hypersphere.nn import MarginHead
from hypersphere.regularizers import HypersphericalEnergy


def small() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 5), nn.Linear(5, 3))


def gradients(total: Tensor, model: nn.Module) -> dict[str, Tensor]:
    wanted = {name: p for name, p in model.named_parameters() if p.ndim > 1}
    return dict(zip(wanted, torch.autograd.grad(total, list(wanted.values())), strict=True))


# ----------------------------------------------------------------------------------------------------- published values

# what liu2018mhe's released code prints for CNN-9 at its initialisation, weights of that code included: sum over ten
# hidden layers, output layer, sum over hidden layers in half space; then how much the three vary from draw to draw
# (standard deviation over ten seeds)
PUBLISHED = {
    "0": (0.0, "euclidean", (2.0, 20.0), ("-6.90", "-6.91", "-6.94"), (0.0050, 0.0110, 0.0008)),
    "1": (1.0, "euclidean", (1.0, 10.0), ("7.085", "7.08", "7.075"), (0.0020, 0.0039, 0.0005)),
    "2": (2.0, "euclidean", (1.0, 10.0), ("5.03", "5.01", "5.014"), (0.0031, 0.0056, 0.0009)),
    "a0": (0.0, "angular", (1.0, 10.0), ("6.94", "6.94", "6.91"), (0.0031, 0.0070, 0.0004)),
    "a1": (1.0, "angular", (0.1, 1.0), ("2.004", "2.002", "1.999"), (0.0007, 0.0015, 0.0002)),
    "a2": (2.0, "angular", (0.1, 1.0), ("4.027", "4.009", "4.009"), (0.0031, 0.0057, 0.0009)),
}


@pytest.fixture(scope="module")
def cnn9() -> Classifier:
    torch.manual_seed(0)
    model = build("cnn9")
    return Classifier(model, MarginHead(model.num_features, 100))


@pytest.mark.parametrize("case", PUBLISHED)
@torch.no_grad()
def test_values_of_the_released_code_at_initialisation(cnn9: Classifier, case: str) -> None:
    power, distance, (hidden_weight, output_weight), published, spreads = PUBLISHED[case]
    # the code counts angles in units of pi
    unit = math.pi**power if distance == "angular" else 1.0
    shift = math.log(math.pi) if case == "a0" else 0.0
    options = {"power": power, "distance": distance, "eps": 1e-4}
    options["angle_offset"] = 1e-4 if distance == "angular" else 0.0

    def parts(half_space: bool) -> tuple[float, float]:
        terms = HypersphericalEnergy(**options, half_space=half_space).terms(cnn9)
        assert len(terms) == 11
        last = unit * float(terms.pop("head")) + shift
        return hidden_weight * sum(unit * float(term) + shift for term in terms.values()), output_weight * last

    hidden, output = parts(half_space=False)
    half, output_again = parts(half_space=True)
    # as published, the output layer stays in full space
    assert output_again == output
    for found, expected, spread in zip((hidden, output, half), published, spreads, strict=True):
        # half a unit of the last digit given, and three standard deviations of a difference of two draws
        rounding = 0.5 * 10.0 ** -len(expected.partition(".")[2])
        assert found == pytest.approx(float(expected), abs=rounding + 3 * 2**0.5 * spread)


# ----------------------------------------------------------------------------------------------------------------- sums


@pytest.mark.parametrize("half_space", [False, True])
@pytest.mark.parametrize("output_half_space", [False, True])
def test_the_sum_over_layers_by_loops(half_space: bool, output_half_space: bool) -> None:
    model = small().double()
    energy = HypersphericalEnergy(1.0, "angular", half_space, 0.5, 3.0, output_half_space=output_half_space)
    rows = [model[index].weight.detach().flatten(1).tolist() for index in (0, 3, 4)]
    expected = [oracles.energy(weight, 1.0, "angular", half_space) for weight in rows[:2]]
    expected.append(oracles.energy(rows[2], 1.0, "angular", output_half_space))
    assert [term.item() for term in energy.terms(model).values()] == pytest.approx(expected, rel=1e-12)
    assert energy(model).item() == pytest.approx(0.5 * sum(expected[:2]) + 3.0 * expected[2], rel=1e-12)


def test_layers_are_summed_not_averaged() -> None:
    layer = nn.Linear(6, 5)
    twice = nn.Sequential(layer, copy.deepcopy(layer))
    energy = HypersphericalEnergy(power=2.0, output_weight=1.0)
    torch.testing.assert_close(energy(twice), 2 * energy(layer))


def test_groups_are_averaged() -> None:
    layer = nn.Conv2d(6, 8, 3, groups=2)
    expected = torch.stack([hyperspherical_energy(group.flatten(1)) for group in layer.weight.chunk(2)]).mean()
    torch.testing.assert_close(HypersphericalEnergy()(layer), expected)


def test_a_head_outside_the_model_is_the_output() -> None:
    model, head = small(), MarginHead(3, 7)
    energy = HypersphericalEnergy(hidden_weight=0.0, output_weight=2.0)
    torch.testing.assert_close(energy(model, head), 2 * hyperspherical_energy(head.weight))
    assert list(energy.terms(model, head)) == ["MarginHead"]
    assert energy.skipped(model, head)["0"] == "hidden_weight is 0"


def test_a_kernel_of_ones_own() -> None:
    kernel = EnergyKernel(lambda z: torch.exp(-z), lambda z: -torch.exp(-z))
    layer = nn.Linear(6, 5)
    expected = hyperspherical_energy(layer.weight, kernel=kernel)
    torch.testing.assert_close(HypersphericalEnergy(kernel=kernel)(layer), expected)


@pytest.mark.parametrize("impl", ["auto", "torch", "blocked"])
def test_stacking_and_implementations_change_nothing(impl: str) -> None:
    torch.manual_seed(0)
    # three alike and small, two alike and large, one grouped
    layers = [*(nn.Linear(12, 9) for _ in range(3)), *(nn.Linear(300, 150) for _ in range(2))]
    model = nn.ModuleList([*layers, nn.Conv1d(6, 8, 3, groups=2)])
    energy = HypersphericalEnergy(power=1.0, half_space=True, eps=1e-4, impl=impl, output=())
    total = energy(model)
    alone = torch.stack([
        hyperspherical_energy(layer.weight, power=1.0, half_space=True, eps=1e-4, impl="torch") for layer in layers
    ])  # fmt: skip
    for term, expected in zip(energy.terms(model).values(), alone, strict=False):
        torch.testing.assert_close(term, expected)
    grouped = HypersphericalEnergy(power=1.0, half_space=True, eps=1e-4, impl="torch")(model[-1])
    expected = alone.sum() + grouped
    torch.testing.assert_close(total, expected)
    reference = gradients(expected, model)
    for name, gradient in gradients(total, model).items():
        torch.testing.assert_close(gradient, reference[name], rtol=1e-4, atol=1e-7)


# --------------------------------------------------------------------------------------------------------- many neurons


@pytest.mark.parametrize("half_space", [False, True])
def test_drawn_rows_estimate_the_energy_of_a_wide_layer(half_space: bool) -> None:
    model = small()
    with torch.no_grad():
        model[3] = nn.Linear(16, 40).requires_grad_()
        model[4] = nn.Linear(40, 3)
    options = {"power": 1.0, "half_space": half_space}
    exact, energy = HypersphericalEnergy(**options), HypersphericalEnergy(**options, num_rows=4)
    expected = exact.terms(model)
    drawn = []
    for _ in range(400):
        energy(model)
        drawn.append(energy.terms(model))
        assert [drawn[-1][name] for name in ("0", "4")] == [expected[name] for name in ("0", "4")]
    wide = torch.stack([terms["3"] for terms in drawn])
    error = wide.std() / len(wide) ** 0.5
    assert wide.mean().item() == pytest.approx(expected["3"].item(), abs=4 * error.item())
    assert 0 < error < 0.01


def test_drawn_rows_are_kept_between_steps_and_resumed() -> None:
    model, energy = small(), HypersphericalEnergy(num_rows=3)
    first = [energy(model).item() for _ in range(3)]
    assert len(set(first)) == 3
    assert set(energy.state.tensors) == {"0", "3"}
    fresh = HypersphericalEnergy(num_rows=3, seed=9)
    fresh.load_state_dict(energy.state_dict())
    assert fresh.terms(model) == energy.terms(model)
    assert fresh(model) == energy(model)
    assert HypersphericalEnergy().state_dict() == {}
    with pytest.raises(ValueError, match=r"HypersphericalEnergy: num_rows must be a whole number of 1 or more, got 0"):
        HypersphericalEnergy(num_rows=0)


def test_drawn_rows_of_a_larger_layer_are_not_taken_for_those_of_a_smaller() -> None:
    energy = HypersphericalEnergy(num_rows=8, output=())
    energy(nn.Linear(3, 1000))
    smaller = nn.Linear(3, 9)
    assert energy.eval()(smaller).isfinite()
    assert energy.train()(smaller).isfinite()


def test_drawn_rows_compile() -> None:
    model = small()
    eager, compiled = (HypersphericalEnergy(power=1.0, num_rows=3) for _ in range(2))
    step = torch.compile(lambda network: compiled(network), fullgraph=True, backend="aot_eager")
    for _ in range(3):
        torch.testing.assert_close(step(model), eager(model))


# ------------------------------------------------------------------------------------------------------------- numerics


def test_low_precision_weights_are_measured_in_float32() -> None:
    model = small().to(torch.bfloat16)
    total = HypersphericalEnergy()(model)
    assert total.dtype == torch.float32
    total.backward()
    assert model[0].weight.grad.dtype == torch.bfloat16
    with torch.autocast("cpu", torch.bfloat16):
        inside = HypersphericalEnergy()(small())
    torch.testing.assert_close(inside, HypersphericalEnergy()(small()), rtol=0, atol=0)


def test_gradients_are_tangential_and_those_of_differences() -> None:
    model = small().double()
    energy = HypersphericalEnergy(power=2.0, output_weight=10.0)
    found = gradients(energy(model), model)
    for name, gradient in found.items():
        weight = model.get_parameter(name)
        radial = (weight * gradient).flatten(1).sum(1)
        torch.testing.assert_close(radial, torch.zeros_like(radial), atol=1e-12, rtol=0)
        direction = torch.randn_like(weight)
        with torch.no_grad():
            weight.add_(direction, alpha=1e-6)
            above = energy(model)
            weight.sub_(direction, alpha=2e-6)
            below = energy(model)
            weight.add_(direction, alpha=1e-6)
        assert float((above - below) / 2e-6) == pytest.approx(float((gradient * direction).sum()), rel=1e-6)


def test_the_plain_implementation_can_be_differentiated_twice() -> None:
    layer = nn.Linear(4, 3).double()
    (gradient,) = torch.autograd.grad(HypersphericalEnergy(impl="torch")(layer), layer.weight, create_graph=True)
    (second,) = torch.autograd.grad(gradient.square().sum(), layer.weight)
    assert second.isfinite().all()
    assert second.any()


def test_a_parametrised_layer_is_pushed_through_its_originals() -> None:
    layer = nn.utils.parametrizations.weight_norm(nn.Linear(6, 5))
    HypersphericalEnergy()(layer).backward()
    magnitude, direction = layer.parametrizations.weight.original0, layer.parametrizations.weight.original1
    assert direction.grad.abs().max() > 1e-3
    # the energy does not depend on lengths
    torch.testing.assert_close(magnitude.grad, torch.zeros_like(magnitude), atol=1e-6, rtol=0)


def test_descending_spreads_the_neurons() -> None:
    torch.manual_seed(0)
    layer, energy = nn.Linear(3, 4), HypersphericalEnergy(power=1.0)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.3)
    for _ in range(300):
        optimizer.zero_grad()
        energy(layer).backward()
        optimizer.step()
    # four points on the sphere: the tetrahedron
    assert energy(layer).item() == pytest.approx((8 / 3) ** -0.5, rel=1e-4)


@pytest.mark.parametrize(
    "options", [{}, {"half_space": True, "power": 2.0}, {"impl": "blocked"}, {"include": ["0", "1*"], "exclude": "13"}]
)
def test_compiled_equals_eager(options: dict[str, object]) -> None:
    torch.compiler.reset()
    torch.manual_seed(0)
    # a name like "13" is only met in a deep network
    model = nn.Sequential(nn.Linear(5, 4), *(nn.Linear(4, 4) for _ in range(13 if "include" in options else 2)))
    nn.utils.parametrizations.orthogonal(model[1])
    energy = HypersphericalEnergy(**options)
    images = torch.randn(2, 5)

    def loss(images: Tensor) -> Tensor:
        return model(images).square().mean() + energy(model)

    found = torch.compile(loss, fullgraph=True, backend="aot_eager")(images)
    trained = [p for p in model.parameters() if p.requires_grad]
    compiled = torch.autograd.grad(found, trained)
    expected = loss(images)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(compiled, torch.autograd.grad(expected, trained))


# ---------------------------------------------------------------------------------------------------------- as a module


def test_it_keeps_no_state_and_can_be_copied() -> None:
    model, energy = small(), HypersphericalEnergy(power=1.0, include="*", output="3")
    assert energy.state_dict() == {}
    assert list(energy.parameters()) == []
    assert torch.equal(copy.deepcopy(energy)(model), energy(model))
    assert repr(energy) == (
        "HypersphericalEnergy(power=1, distance='euclidean', half_space=False, output_half_space=False, "
        "hidden_weight=1, output_weight=1, eps=0)"
    )


def test_replaced_weights_are_seen() -> None:
    model, energy = small(), HypersphericalEnergy()
    energy(model)
    model[3].weight = nn.Parameter(torch.eye(5, 16))
    torch.testing.assert_close(energy.terms(model)["3"], torch.tensor(2.0).sqrt().log().neg())


# ------------------------------------------------------------------------------------------------------ what it refuses


def test_a_layer_of_too_few_neurons_is_skipped_in_words() -> None:
    model = nn.Sequential(nn.Conv2d(4, 4, 3, groups=4), nn.Conv2d(4, 1, 1), nn.Flatten(), nn.Linear(9, 3))
    energy = HypersphericalEnergy()
    assert list(energy.terms(model)) == ["3"]
    assert energy.skipped(model) == {
        "0": "1 neuron in each group is too few, an energy needs 2",
        "1": "1 neuron is too few, an energy needs 2",
    }


def test_frozen_layers_are_skipped() -> None:
    model = small()
    model[0].requires_grad_(False)
    assert HypersphericalEnergy().skipped(model) == {"0": "its weight is frozen"}


def test_a_model_with_nothing_to_regularise_is_refused() -> None:
    with pytest.raises(ValueError, match=r"no layer of ReLU is left to regularise \(it has no layer with neurons\)"):
        HypersphericalEnergy()(nn.ReLU())
    expected = (
        r"HypersphericalEnergy: no layer of Sequential is left to regularise \("
        r"0: is an embedding table, which counts on request only; 1: output_weight is 0\)"
    )
    with pytest.raises(ValueError, match=expected):
        HypersphericalEnergy(output_weight=0.0)(nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 3)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden_weight": -1.0}, r"HypersphericalEnergy: hidden_weight must lie in \[0, 1e\+30\], got -1"),
        ({"output_weight": math.nan}, r"HypersphericalEnergy: output_weight must lie in \[0, 1e\+30\], got nan"),
        ({"eps": -1e-4}, r"HypersphericalEnergy: eps must lie in \[0, inf\], got -0\.0001"),
        ({"power": -1.0}, r"power must lie in \[0, 10000\], got -1"),
        ({"distance": "angle"}, r"unknown distance 'angle': choose angular, euclidean"),
        ({"impl": "block"}, r"unknown impl 'block': choose auto, blocked, torch \(did you mean 'blocked'\?\)"),
        ({"angle_offset": 1e-4}, r"angle_offset is added to the angle, so it needs distance='angular'"),
    ],
)
def test_wrong_options_are_refused_at_once(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        HypersphericalEnergy(**options)
