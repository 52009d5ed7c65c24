# SPDX-License-Identifier: MIT
"""Tests of report.sphere."""

from __future__ import annotations

import numpy as np
import pytest

from figures import checked, names
from hypersphere.report.sphere import MOST_POINTS, plane_figure, sphere_figure, sphere_view
from run_folders import classification_arrays

NAMES = ["cat", "<dog>", "cow", "hen"]


def arrays(dim: int, *, classes: int = 4, num_samples: int = 80) -> dict[str, np.ndarray]:
    vectors = np.random.default_rng(dim).standard_normal((classes, dim))
    return classification_arrays(vectors, num_samples=num_samples)


def view_of(found: dict[str, np.ndarray], classes: list[int], *, vectors: bool = True):
    given = found["class_vectors"] if vectors else None
    return sphere_view(found["features"].astype(np.float32), found["labels"], found["predictions"], given, classes)


def test_three_dimensions_are_shown_as_they_are() -> None:
    found = arrays(3)
    view = view_of(found, [0, 1, 2, 3])
    features = found["features"].astype(np.float64)
    assert view.points == pytest.approx(features / np.linalg.norm(features, axis=1, keepdims=True), abs=1e-6)
    assert view.correct.tolist() == (found["labels"] == found["predictions"]).tolist()
    assert (view.kept, view.fitted_to) == (1.0, "")


def test_two_dimensions_keep_their_length() -> None:
    found = arrays(2)
    view = view_of(found, [0, 1, 2, 3])
    assert view.points == pytest.approx(found["features"].astype(np.float64))
    assert np.linalg.norm(view.vectors[0]) == pytest.approx(1.0)


def test_more_dimensions_are_projected_and_brought_back_to_the_sphere() -> None:
    found = arrays(20)
    view = view_of(found, [0, 1, 2, 3])
    assert view.fitted_to == "class vectors"
    assert np.linalg.norm(view.points, axis=1) == pytest.approx(np.ones(80))
    assert 0 < view.kept < 1
    assert all(np.linalg.norm(vector) == pytest.approx(1.0) for vector in view.vectors.values())


def test_a_view_of_what_lies_in_three_dimensions_is_exact() -> None:
    turn = np.linalg.qr(np.random.default_rng(0).standard_normal((9, 9)))[0][:3]
    low = arrays(3)
    high = low | {"features": low["features"] @ turn, "class_vectors": low["class_vectors"] @ turn}
    flat, view = view_of(low, [0, 1, 2, 3]), view_of(high, [0, 1, 2, 3])
    assert view.kept == pytest.approx(1.0, abs=1e-5)
    assert view.points @ view.points.T == pytest.approx(flat.points @ flat.points.T, abs=1e-3)


@pytest.mark.parametrize(("classes", "vectors"), [([0, 1], True), ([0, 1, 2], False)])
def test_without_three_class_vectors_features_fix_the_view(classes: list[int], vectors: bool) -> None:
    view = view_of(arrays(12), classes, vectors=vectors)
    assert view.fitted_to == "features"
    assert len(view.vectors) == (2 if vectors else 0)


def test_features_without_a_direction_are_left_out() -> None:
    found = arrays(3)
    found["features"][0] = 0
    found["features"][1] = np.nan
    assert len(view_of(found, [0, 1]).points) == 78


def test_many_points_are_drawn_from_and_coloured_ones_come_first() -> None:
    found = arrays(3, classes=40, num_samples=8000)
    view = view_of(found, [3, 7])
    assert len(view.points) == MOST_POINTS
    assert int(np.isin(view.labels, [3, 7]).sum()) == 400
    again = view_of(found, [3, 7])
    assert np.array_equal(view.points, again.points)
    everything = view_of(found, list(range(40)))
    assert len(everything.points) == MOST_POINTS


@pytest.mark.parametrize("dim", [2, 3, 7])
def test_figures(dim: int) -> None:
    found = arrays(dim)
    draw = plane_figure if dim == 2 else sphere_figure
    figure = checked(draw(view_of(found, [0, 1, 2, 3]), NAMES, [0, 1, 2, 3]))
    assert names(figure) == ["cat", "&lt;dog&gt;", "cow", "hen"]
    arrows = [trace for trace in figure["data"] if str(trace.get("hovertemplate", "")).startswith("class vector")]
    assert len(arrows) == 4
    points = [trace for trace in figure["data"] if trace["mode"] == "markers"] if dim == 2 else [
        trace for trace in figure["data"] if trace.get("mode") == "markers"
    ]  # fmt: skip
    assert sum(len(trace["x"]) for trace in points) == 80
    hollow = [trace for trace in points if trace["marker"]["symbol"] == "circle-open"]
    assert sum(len(trace["x"]) for trace in hollow) == int((found["labels"] != found["predictions"]).sum())


@pytest.mark.parametrize("dim", [2, 3])
def test_classes_without_a_colour_are_grey(dim: int) -> None:
    draw = plane_figure if dim == 2 else sphere_figure
    figure = checked(draw(view_of(arrays(dim), [1, 3]), NAMES, [1, 3]))
    assert names(figure) == ["2 other classes", "&lt;dog&gt;", "hen"]


def test_the_first_look_is_at_the_side_with_most_points() -> None:
    found = arrays(3)
    found["features"] = np.tile(np.array([[-1.0, 0.1, 0.0]]), (80, 1))
    eye = sphere_figure(view_of(found, [0]), NAMES, [0])["layout"]["scene"]["camera"]["eye"]
    assert eye["x"] < -1.0
    assert np.linalg.norm(list(eye.values())) == pytest.approx(1.3, abs=1e-2)


def test_no_class_vectors_no_arrows() -> None:
    figure = checked(sphere_figure(view_of(arrays(3), [0, 1], vectors=False), NAMES, [0, 1]))
    assert not any("class vector" in str(trace.get("hovertemplate")) for trace in figure["data"])
