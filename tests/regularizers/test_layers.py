# SPDX-License-Identifier: MIT
"""Finding neurons in models of all kinds: names, output layers, shared and unwanted weights, and patterns."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from hypersphere.models import Classifier, build
from hypersphere.nn import MarginHead
from hypersphere.regularizers import find_neurons


def small() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 5), nn.Linear(5, 3))


def shapes(*models: nn.Module, **options: object) -> dict[str, tuple[int, ...]]:
    return {layer.name: tuple(layer.weight.shape) for layer in find_neurons(*models, **options).layers}


def outputs(*models: nn.Module, **options: object) -> list[str]:
    return [layer.name for layer in find_neurons(*models, **options).layers if layer.is_output]


def test_names_and_shapes_of_a_plain_model() -> None:
    assert shapes(small()) == {"0": (4, 18), "3": (5, 16), "4": (3, 5)}
    assert find_neurons(small()).skipped == {}


def test_the_published_net_has_ten_hidden_layers_and_one_output() -> None:
    model = build("cnn9")
    found = find_neurons(Classifier(model, MarginHead(model.num_features, 100)))
    hidden = {layer.name: tuple(layer.weight.shape) for layer in found.layers if not layer.is_output}
    assert len(hidden) == 10
    assert hidden["model.conv1_0"] == (64, 27)
    assert hidden["model.fc6"] == (256, 4096)
    assert [layer.name for layer in found.layers if layer.is_output] == ["head"]


def test_nothing_is_written_on_the_model() -> None:
    model = small()
    before = {key: set(vars(module)) for key, module in model.named_modules()}
    find_neurons(model)
    assert {key: set(vars(module)) for key, module in model.named_modules()} == before
    assert not any(p._backward_hooks for p in model.parameters())


def test_a_bare_layer_is_called_by_its_type() -> None:
    assert shapes(nn.Linear(4, 3)) == {"Linear": (3, 4)}


def test_several_modules() -> None:
    assert list(shapes(small(), MarginHead(3, 9))) == ["0", "3", "4", "MarginHead"]
    assert list(shapes(nn.Linear(4, 3), nn.Linear(3, 2), nn.Linear(2, 2))) == ["Linear", "Linear (2)", "Linear (3)"]
    assert list(shapes(small(), small())) == ["0", "3", "4", "Sequential.0", "Sequential.3", "Sequential.4"]
    model = small()
    assert list(shapes(model, model[3])) == ["0", "3", "4"]


# ------------------------------------------------------------------------------------------------------------- wrappers


@pytest.mark.usefixtures("alone")
def test_wrappers_leave_no_trace_in_the_names() -> None:
    plain = shapes(small())
    assert shapes(nn.DataParallel(small())) == plain
    assert shapes(torch.compile(small(), backend="eager")) == plain
    assert shapes(torch.optim.swa_utils.AveragedModel(small())) == plain
    inner = nn.Sequential(nn.DataParallel(torch.compile(small(), backend="eager")), MarginHead(3, 4))
    assert list(shapes(inner)) == ["0.0", "0.3", "0.4", "1"]
    assert shapes(nn.parallel.DistributedDataParallel(small())) == plain


def test_an_attribute_called_module_is_no_wrapper() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = nn.Linear(3, 2)

    assert list(shapes(Net())) == ["module"]


# --------------------------------------------------------------------------------------------------------- output layer


def test_the_last_linear_is_the_output() -> None:
    assert outputs(small()) == ["4"]
    assert outputs(nn.Conv2d(2, 3, 1)) == []
    assert outputs(small()[:1], nn.Linear(7, 2)) == ["Linear"]


def test_a_head_comes_before_the_last_linear() -> None:
    model = nn.ModuleDict({"head": MarginHead(4, 3), "body": nn.Linear(8, 4)})
    assert outputs(model) == ["head"]


def test_a_foreign_head_is_known_by_its_methods() -> None:
    class Head(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(3, 4))

        def margin_logits(self, x: Tensor, y: Tensor) -> Tensor:
            return x @ self.weight.T

    assert outputs(Head(), nn.Linear(4, 4)) == ["Head"]


@pytest.mark.parametrize("method", ["get_classifier", "get_output_embeddings"])
def test_a_model_may_say_itself(method: str) -> None:
    class Net(nn.Sequential):
        pass

    setattr(Net, method, lambda self: self[0])
    assert outputs(Net(nn.Linear(4, 3), nn.Linear(4, 4))) == ["0"]
    assert outputs(nn.DataParallel(Net(nn.Linear(4, 3), nn.Linear(4, 4)))) == ["0"]
    setattr(Net, method, lambda self: (self[0], self[1]))
    assert outputs(Net(nn.Linear(4, 3), nn.Linear(4, 3), nn.Linear(2, 2))) == ["0", "1"]
    setattr(Net, method, lambda self: nn.Identity())
    assert outputs(Net(nn.Linear(4, 3), nn.Linear(4, 4))) == ["1"]
    setattr(Net, method, lambda self: None)
    assert outputs(Net(nn.Linear(4, 3), nn.Linear(4, 4))) == ["1"]


def test_the_output_can_be_named_or_denied() -> None:
    assert outputs(small(), output="3") == ["3"]
    assert outputs(small(), output=["0", "4"]) == ["0", "4"]
    assert outputs(small(), output=()) == []
    assert outputs(nn.Sequential(small(), MarginHead(3, 4)), output="0.*") == ["0.0", "0.3", "0.4"]
    with pytest.raises(ValueError, match=r"find_neurons: output pattern '5' matches no layer among 0, 3, 4\."):
        find_neurons(small(), output="5")


def test_leaving_the_output_out_promotes_no_other_layer() -> None:
    assert outputs(small(), exclude=["4"]) == []


# ------------------------------------------------------------------------------------------------------------ attention


def test_a_transformer_layer_counts_every_matrix_once() -> None:
    found = shapes(nn.TransformerEncoderLayer(6, 2, 8))
    assert found == {
        "self_attn.query": (6, 6),
        "self_attn.key": (6, 6),
        "self_attn.value": (6, 6),
        "self_attn.out_proj": (6, 6),
        "linear1": (8, 6),
        "linear2": (6, 8),
    }


def test_the_projection_inside_attention_is_no_classifier() -> None:
    assert outputs(nn.ModuleList([nn.Linear(4, 4), nn.MultiheadAttention(4, 2)])) == ["0"]


# ---------------------------------------------------------------------------------------------------- left out, and why


def test_a_shared_layer_counts_once() -> None:
    layer = nn.Linear(4, 4)
    assert shapes(nn.Sequential(layer, nn.ReLU(), layer)) == {"0": (4, 4)}


def test_a_shared_weight_counts_once() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2))
    model[1].weight = model[0].weight
    found = find_neurons(model)
    assert [layer.name for layer in found.layers] == ["0", "2"]
    assert found.skipped == {"1": "shares its weight with '0'"}
    # what is left out does not stand for what shares its weight
    assert list(shapes(model, exclude=["0"])) == ["1", "2"]


def test_a_weight_tied_to_the_output_counts_as_output() -> None:
    model = nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 9, bias=False))
    model[1].weight = model[0].weight
    found = find_neurons(model)
    assert [(layer.name, layer.is_output) for layer in found.layers] == [("1", True)]
    assert found.skipped == {"0": "is an embedding table, which counts on request only"}
    found = find_neurons(model, embeddings=True)
    assert [(layer.name, layer.is_output) for layer in found.layers] == [("1", True)]
    assert found.skipped == {"0": "shares its weight with '1'"}


def test_shared_parametrised_weights_count_once() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2))
    for layer in model[:2]:
        nn.utils.parametrizations.weight_norm(layer)
    first, second = (layer.parametrizations.weight for layer in model[:2])
    second.original0, second.original1 = first.original0, first.original1
    assert find_neurons(model).skipped == {"1": "shares its weight with '0'"}


def test_embeddings_on_request() -> None:
    model = nn.Sequential(nn.Embedding(9, 4), nn.EmbeddingBag(5, 4))
    assert shapes(model) == {}
    assert shapes(model, embeddings=True) == {"0": (9, 4), "1": (5, 4)}


def test_frozen_layers_are_left_out_on_request() -> None:
    model = small()
    model[0].weight.requires_grad_(False)
    assert list(shapes(model)) == ["0", "3", "4"]
    with torch.no_grad():
        found = find_neurons(model, trainable_only=True)
    assert [layer.name for layer in found.layers] == ["3", "4"]
    assert found.skipped == {"0": "its weight is frozen"}


def test_what_a_parametrisation_is_made_of_is_no_layer() -> None:
    class Rotation(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(4, 4, bias=False)

        def forward(self, weight: Tensor) -> Tensor:
            return self.inner(weight)

    layer = nn.Linear(4, 3)
    layer.weight.requires_grad_(False)
    nn.utils.parametrize.register_parametrization(layer, "weight", Rotation())
    found = find_neurons(nn.Sequential(layer, nn.Linear(3, 2)), trainable_only=True)
    assert [layer.name for layer in found.layers] == ["0", "1"]
    found.layers[0].weight.sum().backward()
    assert layer.parametrizations.weight[0].inner.weight.grad is not None


def test_single_numbers_have_no_direction() -> None:
    found = find_neurons(nn.Sequential(nn.Conv2d(1, 5, 1), nn.Linear(5, 3)))
    assert found.skipped == {"0": "its neurons are single numbers, which have no direction"}


def test_a_type_without_a_rule_is_mentioned() -> None:
    found = find_neurons(nn.Sequential(nn.GRU(4, 3), nn.LayerNorm(3), nn.PReLU(), nn.Linear(3, 2)))
    assert found.skipped == {"0": "no rule says what the neurons of a GRU are (weight_ih_l0, weight_hh_l0)"}


def test_lazy_layers_must_have_seen_a_batch_unless_left_out() -> None:
    model = nn.Sequential(nn.LazyLinear(3), nn.Linear(3, 2))
    with pytest.raises(ValueError, match=r"layer '0' is lazy and has no weight yet\. Run one batch through the model"):
        find_neurons(model)
    assert list(shapes(model, exclude=["0"])) == ["1"]
    model(torch.zeros(1, 4))
    assert shapes(model) == {"0": (3, 4), "1": (2, 3)}


def test_a_shard_is_refused_in_words() -> None:
    layer = nn.Linear(4, 3)
    layer.weight = nn.Parameter(torch.zeros(6))
    with pytest.raises(
        ValueError, match=r"layer 'Linear' as \(K, D\) or \(G, K, D\), got \(6,\)\. If its weight is sharded"
    ):
        find_neurons(layer)


def test_only_modules_are_looked_into() -> None:
    with pytest.raises(TypeError, match=r"find_neurons: expected modules \(torch\.nn\.Module\), got OrderedDict"):
        find_neurons(small().state_dict())


# ------------------------------------------------------------------------------------------------------------- patterns


def test_include_and_exclude() -> None:
    model = nn.ModuleDict({"body": small(), "other": nn.Linear(3, 2)})
    assert list(shapes(model, include=["body.*"])) == ["body.0", "body.3", "body.4"]
    assert list(shapes(model, include="body.*", exclude=["*.3", "*.4"])) == ["body.0"]
    found = find_neurons(model, include=["other"], exclude="body.3")
    assert found.skipped == {
        "body.0": "matches no pattern of include",
        "body.3": "matches 'body.3' of exclude",
        "body.4": "matches no pattern of include",
    }


def test_patterns_of_parts() -> None:
    model = nn.TransformerEncoderLayer(6, 2, 8)
    assert list(shapes(model, include=["self_attn"])) == ["self_attn.query", "self_attn.key", "self_attn.value"]
    assert list(shapes(model, include=["*.key"])) == ["self_attn.key"]
    assert "self_attn.query" not in shapes(model, exclude=["self_attn"])


def test_every_pattern_that_matches_nothing_is_named() -> None:
    model = nn.ModuleDict({"body": small(), "other": nn.Linear(3, 2)})
    with pytest.raises(ValueError, match=r"include pattern 'othr' matches no layer \(did you mean 'other'\?\)"):
        find_neurons(model, include=["othr"])
    expected = (
        r"find_neurons: 2 problems:\n  - include pattern 'x\*' matches no layer among "
        r"body\.0, body\.3, body\.4, other\.\n  - exclude pattern "
        r"'body\.5' matches no layer \(did you mean 'body\.[034]'\?\)\."
    )
    with pytest.raises(ValueError, match=expected):
        find_neurons(model, include=["x*"], exclude=["body.5"])


def test_weights_are_those_of_the_moment() -> None:
    model = small()
    before = find_neurons(model)
    model[0].weight = nn.Parameter(copy.deepcopy(model[0].weight) + 1)
    after = find_neurons(model)
    torch.testing.assert_close(after.layers[0].weight, before.layers[0].weight + 1)
