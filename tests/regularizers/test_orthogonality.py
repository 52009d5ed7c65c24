# SPDX-License-Identifier: MIT
"""Orthogonality penalties as a regulariser: sums over layers, probes that only training draws, and refusals."""

from __future__ import annotations

import copy
import io

import pytest
import torch
from torch import nn

from hypersphere.functional import orthogonality, orthonormality, restricted_isometry
from hypersphere.functional.orthogonality import ORTHOGONALITIES
from hypersphere.regularizers import Orthogonality


def small() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 4, 3), nn.Flatten(), nn.Linear(16, 5), nn.Linear(5, 9), nn.Linear(9, 3))


@pytest.mark.parametrize("normalized", [False, True])
@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_the_sum_over_layers(reduction: str, normalized: bool) -> None:
    model = small().double()
    for kind, function in (("orthonormal", orthonormality), ("orthogonal", orthogonality)):
        penalty = Orthogonality(kind, normalized, 0.5, 3.0, reduction=reduction)
        values = [
            function(model[index].weight.flatten(1), normalized=normalized, reduction=reduction)
            for index in (0, 2, 3, 4)
        ]
        torch.testing.assert_close(torch.stack(list(penalty.terms(model).values())), torch.stack(values))
        torch.testing.assert_close(penalty(model), 0.5 * sum(values[:3]) + 3 * values[3])
        assert penalty.state_dict() == {}


def test_the_term_of_spherenet() -> None:
    """lambda * l2_loss(WᵀW - I), where l2_loss halves, of the filters as columns; raw, as released."""
    layer = nn.Conv2d(2, 4, 3)
    columns = layer.weight.flatten(1).T
    released = 2e-4 * 0.5 * (columns.T @ columns - torch.eye(4)).square().sum()
    torch.testing.assert_close(Orthogonality(hidden_weight=1e-4)(layer), released)


def test_groups_are_averaged() -> None:
    layer = nn.Conv2d(6, 8, 3, groups=2)
    expected = torch.stack([orthogonality(group.flatten(1)) for group in layer.weight.chunk(2)]).mean()
    torch.testing.assert_close(Orthogonality("orthogonal")(layer), expected)
    penalty = Orthogonality("restricted_isometry")
    value = penalty(layer)
    probes = penalty.state.tensors["Conv2d"]
    alone = [
        restricted_isometry(group.flatten(1), probe=probe)
        for group, probe in zip(layer.weight.chunk(2), probes, strict=True)
    ]
    torch.testing.assert_close(value, torch.stack(alone).mean())


def test_probes_are_drawn_for_each_step_and_by_training_alone() -> None:
    model, penalty = small(), Orthogonality("restricted_isometry", num_iterations=3, squared=True)
    before = penalty.terms(model)
    assert penalty.state.tensors == {}
    first = penalty(model)
    torch.testing.assert_close(torch.stack(list(before.values())).sum(), first)
    probes = dict(penalty.state.tensors)
    assert [tuple(probes[name].shape) for name in ("0", "2", "3", "4")] == [(1, 4), (1, 5), (1, 5), (1, 3)]
    assert torch.equal(penalty.eval()(model), first)
    assert all(torch.equal(penalty.state.tensors[name], probe) for name, probe in probes.items())
    second = penalty.train()(model)
    assert not torch.equal(first, second)
    terms = penalty.terms(model)
    torch.testing.assert_close(torch.stack(list(terms.values())).sum(), second)
    rows, probe = model[3].weight, penalty.state.tensors["3"][0]
    expected = restricted_isometry(rows, probe=probe, num_iterations=3, squared=True)
    torch.testing.assert_close(terms["3"], expected)


def test_a_saved_state_goes_on_alike() -> None:
    model, penalty = small(), Orthogonality("restricted_isometry", seed=3)
    penalty(model), penalty(model)
    buffer = io.BytesIO()
    torch.save(penalty.state_dict(), buffer)
    buffer.seek(0)
    fresh, twin = Orthogonality("restricted_isometry", seed=8), copy.deepcopy(penalty)
    fresh.load_state_dict(torch.load(buffer, weights_only=True))
    for _ in range(3):
        total = penalty(model)
        assert torch.equal(fresh(model), total)
        assert torch.equal(twin(model), total)


@pytest.mark.parametrize("kind", ORTHOGONALITIES)
def test_descending_sets_neurons_at_right_angles(kind: str) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 6), nn.Linear(6, 4))
    with torch.no_grad():
        for layer in model:
            layer.weight.add_(0.3)
    penalty = Orthogonality(kind, normalized=kind == "orthogonal")
    rate = 0.2 if kind == "orthogonal" else 0.02
    optimizer = torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9)
    before = orthogonality(model[0].weight, normalized=True)
    for step in range(250):
        optimizer.param_groups[0]["lr"] = rate * 0.98**step
        optimizer.zero_grad()
        penalty(model).backward()
        optimizer.step()
    for layer in model:
        assert orthogonality(layer.weight, normalized=True) < 1e-2 * before


@pytest.mark.parametrize("kind", ORTHOGONALITIES)
def test_low_precision_weights(kind: str) -> None:
    model, penalty = small().to(torch.bfloat16), Orthogonality(kind)
    total = penalty(model)
    assert total.dtype == torch.float32
    total.backward()
    assert model[0].weight.grad.dtype == torch.bfloat16
    torch.testing.assert_close(total, Orthogonality(kind)(copy.deepcopy(model).float()))


@pytest.mark.parametrize("kind", ["orthonormal", "restricted_isometry"])
def test_compiled_equals_eager(kind: str) -> None:
    torch.compiler.reset()
    model = small()[:3]
    eager, compiled = Orthogonality(kind), Orthogonality(kind)
    step = torch.compile(lambda: compiled(model), fullgraph=True, backend="aot_eager")
    parameters = [p for p in model.parameters() if p.ndim > 1]
    # probes are drawn in compiled code too
    for _ in range(3):
        found, expected = step(), eager(model)
        torch.testing.assert_close(found, expected)
        torch.testing.assert_close(torch.autograd.grad(found, parameters), torch.autograd.grad(expected, parameters))


def test_small_layers_are_skipped_in_words() -> None:
    model = nn.Sequential(nn.Conv2d(4, 4, 3, groups=4), nn.Conv2d(4, 1, 1), nn.Flatten(), nn.Linear(9, 3))
    assert Orthogonality().skipped(model) == {
        "0": "1 neuron in each group is too few, orthogonality needs 2",
        "1": "1 neuron is too few, orthogonality needs 2",
    }


def test_wrong_options_are_refused_at_once() -> None:
    with pytest.raises(ValueError, match=r"unknown kind of orthogonality 'orthonormality': choose orthogonal, orthon"):
        Orthogonality("orthonormality")
    with pytest.raises(ValueError, match=r"Orthogonality: 'orthogonal' has no option 'squared': it has reduction"):
        Orthogonality("orthogonal", squared=True)
    with pytest.raises(ValueError, match=r"'restricted_isometry' has no option 'probe': it has num_iterations"):
        Orthogonality("restricted_isometry", probe=torch.ones(3))
    with pytest.raises(ValueError, match=r"unknown reduction 'max': choose mean, sum"):
        Orthogonality(reduction="max")
    with pytest.raises(ValueError, match=r"Orthogonality: hidden_weight must lie in \[0, 1e\+30\], got -1"):
        Orthogonality(hidden_weight=-1.0)


def test_it_says_what_it_is() -> None:
    assert repr(Orthogonality("orthogonal", reduction="mean", output_weight=0.0)) == (
        "Orthogonality('orthogonal', normalized=False, reduction='mean', hidden_weight=1, output_weight=0)"
    )
