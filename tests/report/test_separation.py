# SPDX-License-Identifier: MIT
"""Tests of report.separation."""

from __future__ import annotations

import math

import numpy as np
import pytest

from figures import checked, names
from hypersphere.report.separation import between_figure, measure_separation, within_figure
from run_folders import classification_arrays

TETRAHEDRON = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]], dtype=np.float32)


def plane(*degrees: float) -> np.ndarray:
    theta = np.radians(degrees)
    return np.stack([np.cos(theta), np.sin(theta)], axis=1).astype(np.float32)


def test_angles_one_can_check_by_hand() -> None:
    features = plane(10, 350, 80, 100) * np.array([[1], [3], [2], [5]], dtype=np.float32)
    found = measure_separation(features, np.array([0, 0, 1, 1]), plane(0, 95))
    assert np.degrees(found.own_vector) == pytest.approx([10, 10, 15, 5], abs=1e-4)
    assert np.degrees(found.other_vector) == pytest.approx([85, 105, 80, 100], abs=1e-4)
    assert np.degrees(found.own_mean) == pytest.approx([10, 10, 10, 10], abs=1e-4)
    assert np.degrees(found.means) == pytest.approx([90], abs=1e-4)
    assert np.degrees(found.vectors) == pytest.approx([95], abs=1e-4)
    assert found.closest is not None
    assert found.closest[:2] == (0, 1)
    assert (found.num_classes, found.num_without_direction) == (2, 0)


def test_without_class_vectors_the_means_stand_in() -> None:
    found = measure_separation(plane(0, 40, 200), np.array([2, 5, 7]), None)
    assert len(found.own_vector) == len(found.other_vector) == len(found.vectors) == 0
    assert found.closest is not None
    assert found.closest[:2] == (2, 5)
    assert math.degrees(found.closest[2]) == pytest.approx(40, abs=1e-4)
    assert names(checked(within_figure(found))) == ["mean direction of own class"]
    assert names(checked(between_figure(found))) == ["between mean directions of classes", "spread evenly: 120.0°"]


def test_a_simplex_lies_on_the_dashed_line() -> None:
    found = measure_separation(TETRAHEDRON, np.arange(4), TETRAHEDRON)
    assert np.degrees(found.vectors) == pytest.approx(np.full(6, 109.471221), abs=1e-4)
    figure = checked(between_figure(found))
    assert names(figure)[-1] == "spread evenly: 109.5°"
    assert figure["data"][-1]["x"] == pytest.approx([109.471221] * 2)


def test_features_without_a_direction_are_counted() -> None:
    features = np.concatenate([plane(0, 90), [[0, 0], [np.nan, 1], [np.inf, 1]]]).astype(np.float32)
    found = measure_separation(features, np.array([0, 1, 0, 1, 1]), plane(0, 90))
    assert found.num_without_direction == 3
    assert len(found.own_vector) == 2


def test_one_class_has_no_angles_between() -> None:
    found = measure_separation(plane(0, 10), np.array([0, 0]), plane(0))
    assert found.closest is None
    assert len(found.vectors) == len(found.means) == len(found.other_vector) == 0
    checked(within_figure(found))


def test_class_vectors_that_miss_a_class_are_not_used() -> None:
    found = measure_separation(plane(0, 10, 90), np.array([0, 0, 4]), plane(0, 90))
    assert len(found.vectors) == 0
    assert found.closest is not None
    assert found.closest[:2] == (0, 4)


def test_chunks_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    arrays = classification_arrays(TETRAHEDRON, num_samples=100)
    features = arrays["features"].astype(np.float32)
    whole = measure_separation(features, arrays["labels"], TETRAHEDRON)
    monkeypatch.setattr("hypersphere.report.separation._CHUNK", 7)
    parts = measure_separation(features, arrays["labels"], TETRAHEDRON)
    assert parts.own_vector == pytest.approx(whole.own_vector)
    assert parts.other_vector == pytest.approx(whole.other_vector)


def test_a_draw_of_very_many_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hypersphere.report.separation.MANY_CLASSES", 4)
    vectors = plane(*range(0, 100, 10))
    found = measure_separation(vectors, np.arange(10), vectors)
    assert found.num_classes == 10
    assert len(found.vectors) == len(found.means) == 6
    assert len(found.own_vector) == 10
    assert found.closest is not None
    first, second, angle = found.closest
    assert math.degrees(angle) == pytest.approx(10 * (second - first), abs=1e-4)


def test_shares_sum_to_one() -> None:
    arrays = classification_arrays(TETRAHEDRON, num_samples=300)
    found = measure_separation(arrays["features"].astype(np.float32), arrays["labels"], TETRAHEDRON)
    figure = checked(within_figure(found))
    assert names(figure) == ["own class vector", "nearest other class vector", "mean direction of own class"]
    for trace in figure["data"]:
        assert trace["y"].sum() == pytest.approx(1.0)
