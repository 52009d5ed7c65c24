# SPDX-License-Identifier: MIT
"""Tests of report.neurons."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from hypersphere.models.store import build_classifier, save_classifier
from hypersphere.report.neurons import Neurons, closest_pairs, cosines, read_weights
from run_folders import model_spec


def save(folder: Path, spec: dict[str, Any]) -> nn.Module:
    torch.manual_seed(0)
    classifier = build_classifier(spec)
    save_classifier(folder, classifier, spec)
    return classifier


def test_layers_and_filters_of_a_model(tmp_path: Path) -> None:
    classifier = save(tmp_path, model_spec())
    found = read_weights(tmp_path)
    assert found.layers[0].weight.shape == (8, 9)
    assert found.layers[-1].name == "head"
    assert found.filters is not None
    first = next(classifier.parameters())
    assert np.array_equal(found.filters.images, first.detach().numpy())
    assert found.filters.name == found.layers[0].name


def test_colour_filters(tmp_path: Path) -> None:
    save(tmp_path, model_spec(name="cnn6", image_shape=(3, 8, 8), base_width=4))
    found = read_weights(tmp_path)
    assert found.filters is not None
    assert found.filters.images.shape == (4, 3, 3, 3)


def test_two_channels_have_no_picture(tmp_path: Path) -> None:
    save(tmp_path, model_spec(name="cnn6", image_shape=(2, 8, 8), base_width=4))
    found = read_weights(tmp_path)
    assert found.filters is None
    assert found.why_no_filters == (
        "The filters of `model.conv1_0` have 2 channels; 1 (grey) or 3 (colour) can be shown."
    )


def test_no_model_yet(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"^there is no model\.safetensors in the run folder yet$"):
        read_weights(tmp_path)


def test_a_damaged_model_is_named(tmp_path: Path) -> None:
    save(tmp_path, model_spec())
    (tmp_path / "model.safetensors").write_bytes(b"\x00" * 20)
    with pytest.raises(ValueError, match=r"model\.safetensors is damaged"):
        read_weights(tmp_path)


def test_cosines_are_shown_in_an_order_of_their_own() -> None:
    weight = np.random.default_rng(0).standard_normal((12, 5)).astype(np.float32)
    gram, numbers = cosines(weight)
    assert sorted(numbers.tolist()) == list(range(12))
    unit = weight / np.linalg.norm(weight, axis=1, keepdims=True)
    assert gram == pytest.approx(unit[numbers] @ unit[numbers].T, abs=1e-6)


def test_large_layers_are_drawn_from() -> None:
    weight = np.random.default_rng(0).standard_normal((50, 5)).astype(np.float32)
    gram, numbers = cosines(weight, limit=10)
    assert gram.shape == (10, 10)
    assert len(set(numbers.tolist())) == 10


def test_closest_pairs_come_first() -> None:
    theta = np.radians([0.0, 90.0, 91.0, 200.0, 195.0])
    weight = (np.stack([np.cos(theta), np.sin(theta)], axis=1) * [[1], [2], [3], [4], [5]]).astype(np.float32)
    first, second, *_ = closest_pairs(weight)
    assert (first.first, first.second) == (1, 2)
    assert math.degrees(first.angle) == pytest.approx(1.0, abs=1e-3)
    assert (second.first, second.second) == (3, 4)
    assert len(closest_pairs(weight, count=100)) == 10


def test_rows_without_a_direction_have_no_pair() -> None:
    weight = np.eye(4, dtype=np.float32)
    weight[0] = 0
    weight[1, 2] = np.nan
    assert [(pair.first, pair.second) for pair in closest_pairs(weight)] == [(2, 3)]
    assert closest_pairs(weight[:2]) == []


def test_what_can_be_compared() -> None:
    assert Neurons("a", np.eye(2)).can_be_compared
    assert not Neurons("a", np.eye(2)[:1]).can_be_compared
    assert not Neurons("a", np.full((2, 2), np.nan)).can_be_compared
