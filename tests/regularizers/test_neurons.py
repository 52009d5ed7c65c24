# SPDX-License-Identifier: MIT
"""The rule of each layer type: a neuron holds exactly the weights that its output depends on."""

from __future__ import annotations

import gc
import itertools

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounterWithBackend
from torch.nn.utils import parametrizations, prune, spectral_norm

from hypersphere.nn import MarginHead
from hypersphere.regularizers import HypersphericalEnergy, neurons
from hypersphere.regularizers.neurons import has_neurons, neurons_in_any_order

CONVOLUTIONS = [nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d]


def axes(kind: type[nn.Module]) -> int:
    return int(kind.__name__[-2])


def by_loop(layer: nn.Module) -> Tensor:
    """(G, K, D) gathered one weight at a time from the definition of a (transposed) convolution."""
    weight, groups = layer.weight.detach(), layer.groups
    per_group = layer.out_channels // groups
    inputs = layer.in_channels // groups
    positions = list(itertools.product(*map(range, layer.kernel_size)))
    rows = torch.empty(groups, per_group, inputs * len(positions))
    for group, unit in itertools.product(range(groups), range(per_group)):
        values = []
        for channel, position in itertools.product(range(inputs), positions):
            if layer.transposed:
                values.append(weight[(group * inputs + channel, unit, *position)])
            else:
                values.append(weight[(group * per_group + unit, channel, *position)])
        rows[group, unit] = torch.stack(values)
    return rows


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("kind", CONVOLUTIONS)
def test_convolutions_against_a_loop(kind: type[nn.Module], groups: int) -> None:
    layer = kind(4, 6, tuple(range(2, 2 + axes(kind))), groups=groups)
    (rows,) = neurons(layer).values()
    expected = by_loop(layer)
    assert torch.equal(rows, expected[0] if groups == 1 else expected)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("kind", CONVOLUTIONS)
def test_an_output_channel_depends_on_its_own_neuron_only(kind: type[nn.Module], groups: int) -> None:
    layer = kind(4, 6, 3, groups=groups, bias=False)
    images = torch.randn(2, 4, *[5] * axes(kind))
    (rows,) = neurons(layer).values()
    rows = rows.reshape(6, -1)
    for channel in range(6):
        (gradient,) = torch.autograd.grad(layer(images)[:, channel].square().sum(), layer.weight)
        layer.weight.grad = gradient
        reached = torch.zeros(6, dtype=torch.bool)
        for other in range(6):
            (mask,) = torch.autograd.grad(rows[other].sum(), layer.weight, retain_graph=True)
            reached[other] = (gradient * mask).any()
            if other == channel:
                assert torch.equal(gradient != 0, mask != 0)
        assert reached.nonzero().flatten().tolist() == [channel]


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Linear(5, 3), (3, 5)),
        (nn.Embedding(7, 4), (7, 4)),
        (nn.EmbeddingBag(7, 4), (7, 4)),
        (MarginHead(5, 3), (3, 5)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_rows_of_a_matrix(layer: nn.Module, shape: tuple[int, int]) -> None:
    (rows,) = neurons(layer).values()
    assert rows is layer.weight
    assert rows.shape == shape


@pytest.mark.parametrize("layer", [nn.ReLU(), nn.BatchNorm2d(3), nn.LayerNorm(3), nn.Sequential(nn.Linear(2, 2))])
def test_other_layers_have_none(layer: nn.Module) -> None:
    assert neurons(layer) == {}


def test_a_depthwise_convolution_has_one_neuron_in_each_group() -> None:
    assert neurons(nn.Conv2d(6, 6, 3, groups=6))[""].shape == (6, 1, 9)


@pytest.mark.parametrize("groups", [1, 2])
def test_any_order_is_a_view_of_channels_last_filters(groups: int) -> None:
    layer = nn.Conv2d(4, 6, 3, groups=groups)
    (natural,) = neurons(layer).values()
    assert torch.equal(neurons_in_any_order(layer)[""], natural)
    layer.to(memory_format=torch.channels_last)
    (view,) = neurons_in_any_order(layer).values()
    assert view.data_ptr() == layer.weight.data_ptr()
    assert torch.equal(neurons(layer)[""], natural)
    torch.testing.assert_close(view @ view.mT, natural @ natural.mT)
    view.square().sum().backward()
    assert torch.equal(layer.weight.grad, 2 * layer.weight)
    assert layer.weight.grad.stride() == layer.weight.stride()
    # everything else comes as it always does
    for other in (nn.ConvTranspose2d(2, 3, 2), nn.Linear(3, 2), nn.MultiheadAttention(4, 2)):
        found = neurons_in_any_order(other)
        assert all(torch.equal(found[part], rows) for part, rows in neurons(other).items())


def test_attention_gives_query_key_and_value() -> None:
    layer = nn.MultiheadAttention(6, 2)
    parts = neurons(layer)
    assert list(parts) == ["query", "key", "value"]
    assert torch.equal(torch.cat(list(parts.values())), layer.in_proj_weight)
    apart = nn.MultiheadAttention(6, 2, kdim=4, vdim=3)
    assert [tuple(rows.shape) for rows in neurons(apart).values()] == [(6, 6), (6, 4), (6, 3)]
    assert neurons(apart)["key"] is apart.k_proj_weight


def test_subclasses_follow_their_parent_and_others_can_be_registered() -> None:
    class Angular(nn.Conv2d):
        pass

    assert neurons(Angular(2, 3, 1))[""].shape == (3, 2)

    class Transposed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(5, 3))

    assert neurons(Transposed()) == {}

    @neurons.register(Transposed)
    def _(layer: Transposed) -> dict[str, Tensor]:
        return {"": layer.weight.T}

    assert neurons(Transposed())[""].shape == (3, 5)


def test_types_that_are_gone_are_nothing_to_compiled_code() -> None:
    """The dispatch remembers types by weak references; code that was guarded by them is made again, or fails."""
    torch.compiler.reset()
    kinds = [type(f"Kind{number}", (nn.Module,), {}) for number in range(3)]
    assert not any(has_neurons(kind()) for kind in kinds)
    model, energy = nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 6)), HypersphericalEnergy()
    counter = CompileCounterWithBackend("aot_eager")
    step = torch.compile(lambda: energy(model), fullgraph=True, backend=counter)
    first = step()
    kinds.clear()
    gc.collect()
    assert step() == first
    assert counter.frame_count == 1


def test_gradients_reach_what_a_parametrisation_trains() -> None:
    layer = parametrizations.weight_norm(nn.Linear(4, 3))
    (rows,) = neurons(layer).values()
    assert torch.equal(rows, layer.weight)
    rows.sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in layer.parametrizations.parameters())


@pytest.mark.filterwarnings("ignore:.*weight_norm. is deprecated")
def test_the_older_weight_norm_is_computed_anew() -> None:
    layer = nn.utils.weight_norm(nn.Linear(4, 3))
    with torch.no_grad():
        layer.weight_v.mul_(torch.tensor([[-1.0], [1.0], [1.0]]))
    # the attribute is what the last forward pass left
    stale = layer.weight.detach().clone()
    (rows,) = neurons(layer).values()
    assert torch.allclose(rows[0], -stale[0])
    rows.square().sum().backward()
    assert layer.weight_g.grad is not None


def test_the_older_spectral_norm_gives_its_directions_and_takes_no_step() -> None:
    layer = spectral_norm(nn.Linear(4, 3))
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    (rows,) = neurons(layer).values()
    layer.eval()
    cosine = nn.functional.cosine_similarity(rows, layer.weight)
    torch.testing.assert_close(cosine, torch.ones(3))
    assert all(torch.equal(value, before[name]) for name, value in layer.state_dict().items())
    rows.sum().backward()
    assert layer.weight_orig.grad is not None


def test_pruned_weights_are_masked_anew() -> None:
    layer = prune.l1_unstructured(nn.Linear(4, 3), "weight", amount=5)
    with torch.no_grad():
        layer.weight_orig.add_(1.0)
    (rows,) = neurons(layer).values()
    assert torch.equal(rows, layer.weight_orig * layer.weight_mask)
    assert (rows == 0).sum() == 5
