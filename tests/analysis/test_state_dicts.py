# SPDX-License-Identifier: MIT
"""The axis rule of bare state dicts, held against what the layers themselves say."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from hypersphere.analysis.state_dicts import neurons_of_tensors
from hypersphere.regularizers import find_neurons


def shapes(tensors: dict[str, object], **options: bool) -> dict[str, tuple[int, ...]]:
    return {layer.name: tuple(layer.weight.shape) for layer in neurons_of_tensors(tensors, **options)[0].layers}


class Mixed(nn.Module):
    """One of every layer that the rule reads as the layer itself does."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(30, 8)
        self.conv = nn.Conv2d(3, 6, 3)
        self.up = nn.ConvTranspose2d(6, 4, 2)
        self.norm = nn.GroupNorm(2, 4)
        self.attention = nn.MultiheadAttention(8, 2)
        self.mixed = nn.MultiheadAttention(8, 2, kdim=5, vdim=6)
        self.spectral = nn.utils.parametrizations.spectral_norm(nn.Linear(5, 7))
        self.normed = nn.utils.parametrizations.weight_norm(nn.Conv1d(4, 6, 3))
        self.pruned = nn.utils.prune.random_unstructured(nn.Linear(8, 6), "weight", 0.5)
        self.gate = nn.Linear(8, 1)
        self.head = nn.Linear(8, 5, bias=False)


def test_layers_are_read_as_their_types_say() -> None:
    torch.manual_seed(0)
    model = Mixed()
    found, rule = neurons_of_tensors(model.state_dict())
    assert rule.endswith("needs no rule. Read by axis 1: up.")
    expected = {layer.name: layer.weight for layer in find_neurons(model).layers if layer.name != "gate"}
    assert {layer.name for layer in found.layers} == set(expected)
    for layer in found.layers:
        unit = nn.functional.normalize(layer.weight, dim=-1)
        torch.testing.assert_close(unit, nn.functional.normalize(expected[layer.name].detach(), dim=-1))
    # lengths too, but for the one factor of a spectral norm
    for layer in found.layers:
        if layer.name != "spectral":
            torch.testing.assert_close(layer.weight, expected[layer.name].detach())
    assert {name: found.skipped[name] for name in ("embedding.weight", "gate", "conv.bias", "norm.weight")} == {
        "embedding.weight": "is an embedding table, which counts on request only",
        "gate": "has one neuron, and so no pair",
        "conv.bias": "is a bias",
        "norm.weight": "is no matrix",
    }
    assert found.skipped["pruned.weight_mask"] == "is the mask of a pruned weight, read together with it"
    assert "normed.parametrizations.weight.original0" in found.skipped
    assert shapes(model.state_dict(), embeddings=True)["embedding"] == (30, 8)


def test_the_older_weight_norm() -> None:
    direction, length = torch.randn(4, 3), torch.rand(4, 1)
    (layer,) = neurons_of_tensors({"fc.weight_g": length, "fc.weight_v": direction})[0].layers
    assert layer.name == "fc"
    torch.testing.assert_close(layer.weight, nn.functional.normalize(direction, dim=1) * length)


def test_a_bias_tells_where_the_neurons_are() -> None:
    # as the Conv1D of GPT-2: (inputs, outputs); the square one follows the others
    block = {"c_attn.weight": torch.randn(8, 24), "c_attn.bias": torch.zeros(24)}
    square = {"c_proj.weight": torch.randn(8, 8), "c_proj.bias": torch.zeros(8)}
    layers, rule = neurons_of_tensors(block | square)
    found = {layer.name: layer.weight for layer in layers.layers}
    assert rule.endswith(" Read by axis 1: c_attn, c_proj.")
    assert torch.equal(found["c_attn"], block["c_attn.weight"].T)
    assert torch.equal(found["c_proj"], square["c_proj.weight"].T)
    # among layers as torch.nn has them it is left as it is
    plain = {"fc.weight": torch.randn(24, 8), "fc.bias": torch.zeros(24)}
    assert torch.equal(neurons_of_tensors(plain | square)[0].layers[1].weight, square["c_proj.weight"])


@pytest.mark.parametrize(
    ("name", "tensor", "reason"),
    [
        ("bn1.running_mean", torch.ones(4), "is no matrix"),
        ("count", 3, "is no tensor but a int"),
        ("fc.weight", torch.ones(4, 3, dtype=torch.int8), "its weight is of dtype torch.int8"),
        ("fc.weight", torch.ones(0, 3), "is empty"),
        ("layer_norm.weight", torch.ones(4, 3), "belongs to a normalisation"),
        ("model.embed_tokens.weight", torch.ones(4, 3), "is an embedding table, which counts on request only"),
        ("pos_embed", torch.ones(1, 4, 3), "is an embedding table, which counts on request only"),
        ("wte.weight", torch.ones(4, 3), "is an embedding table, which counts on request only"),
        ("relative_position_bias_table", torch.ones(4, 3), "is a bias"),
        ("gate.weight", torch.ones(6, 1), "its neurons are single numbers, which have no direction"),
        (
            "fc.parametrizations.weight.original",
            torch.ones(4, 3),
            "is parametrised in a way that the file does not tell",
        ),
    ],
)
def test_what_is_left_out_is_told(name: str, tensor: object, reason: str) -> None:
    found, _ = neurons_of_tensors({name: tensor})
    assert found.layers == []
    assert list(found.skipped.values()) == [reason]


def test_what_only_sounds_like_a_table() -> None:
    assert shapes({"patch_embed.proj.weight": torch.ones(4, 3, 2, 2), "w": torch.ones(3, 2)}) == {
        "patch_embed.proj": (4, 12),
        "w": (3, 2),
    }


def test_names_are_strings() -> None:
    with pytest.raises(TypeError, match=r"diagnose: expected a state dict, whose names are strings, got the key 0\."):
        neurons_of_tensors({0: torch.ones(2, 2)})  # type: ignore[dict-item]
