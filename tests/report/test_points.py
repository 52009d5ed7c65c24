# SPDX-License-Identifier: MIT
"""Tests of report.points: hull edges against Euler's formula and known solids, figures that plotly accepts."""

from __future__ import annotations

import numpy as np
import pytest

from figures import checked, names
from hypersphere.analysis.thomson import Configuration, thomson
from hypersphere.report.points import angle_figure, circle_figure, hull_links, space_figure

CUBE = np.array([[x, y, z] for x in (1, -1) for y in (1, -1) for z in (1, -1)]) / 3**0.5


def degrees(links: np.ndarray, count: int) -> dict[int, int]:
    found, times = np.unique(np.bincount(links.ravel(), minlength=count), return_counts=True)
    return dict(zip(found.tolist(), times.tolist(), strict=True))


def found(num_points: int, dim: int = 3, **how: object) -> Configuration:
    return thomson(num_points, dim, starts=1, **how)


@pytest.mark.parametrize(
    ("num_points", "expected"),
    [(4, {3: 4}), (5, {3: 2, 4: 3}), (6, {4: 6}), (8, {4: 8}), (12, {5: 12}), (24, {5: 24}), (32, {5: 12, 6: 20})],
)
def test_links_are_the_edges_of_the_known_solids(num_points: int, expected: dict[int, int]) -> None:
    # tetrahedron, bipyramid, octahedron, square antiprism, icosahedron, snub cube, capped icosidodecahedron
    assert degrees(hull_links(found(num_points).points.numpy()), num_points) == expected


def test_a_cube_has_no_diagonals() -> None:
    assert degrees(hull_links(CUBE), 8) == {3: 8}
    turned = CUBE @ np.linalg.qr(np.random.default_rng(0).standard_normal((3, 3)))[0]
    assert degrees(hull_links(turned), 8) == {3: 8}


def test_links_agree_with_scipy() -> None:
    spatial = pytest.importorskip("scipy.spatial")
    points = found(60).points.numpy()
    faces = spatial.ConvexHull(points).simplices
    edges = {tuple(sorted((int(face[a]), int(face[b])))) for face in faces for a, b in ((0, 1), (1, 2), (0, 2))}
    # all faces of this one are triangles, so Euler's formula counts 3 N - 6 edges
    assert len(edges) == 3 * 60 - 6
    assert set(map(tuple, hull_links(points).tolist())) == edges


def test_flat_sets_have_their_outline() -> None:
    square = np.array([[1.0, 0, 0], [0, 1, 0], [-1, 0, 0], [0, -1, 0]])
    assert hull_links(square).tolist() == [[0, 1], [0, 3], [1, 2], [2, 3]]
    assert len(hull_links(found(3).points.numpy())) == 3


def test_points_are_coloured_by_their_neighbours() -> None:
    figure = checked(space_figure(found(32)))
    assert names(figure) == ["5 neighbours: 12", "6 neighbours: 20"]
    markers = [trace for trace in figure["data"] if trace.get("mode") == "markers"]
    assert len({trace["marker"]["color"] for trace in markers}) == 2
    assert sorted(text for trace in markers for text in trace["text"])[:2] == ["point 1", "point 10"]


def test_half_space_shows_both_ends() -> None:
    figure = checked(space_figure(found(6, half_space=True)))
    assert names(figure) == ["5 neighbours: 12"]
    filled, hollow = (trace for trace in figure["data"] if trace.get("mode") == "markers")
    assert (filled["marker"]["symbol"], hollow["marker"]["symbol"]) == ("circle", "circle-open")
    assert -np.array(filled["x"]) == pytest.approx(np.array(hollow["x"]))
    assert hollow["text"][0] == "opposite of point 1"


@pytest.mark.parametrize(("num_points", "half_space"), [(1, True), (2, False), (2, True)])
def test_few_points_are_drawn_too(num_points: int, half_space: bool) -> None:
    checked(space_figure(found(num_points, half_space=half_space)))
    checked(circle_figure(found(num_points, 2, half_space=half_space)))


def test_many_points_are_drawn_without_links() -> None:
    rows = np.random.default_rng(0).standard_normal((3000, 3))
    some = found(2)
    points = type(some.points)(rows / np.linalg.norm(rows, axis=1, keepdims=True))
    figure = checked(space_figure(Configuration(**{**vars(some), "points": points.double()})))
    assert names(figure) == ["3000 points"]


def test_the_circle_shows_a_polygon() -> None:
    figure = checked(circle_figure(found(7, 2)))
    outline, marks = figure["data"][1:]
    sides = np.diff(np.stack([outline["x"], outline["y"]], axis=1), axis=0)
    assert np.linalg.norm(sides, axis=1) == pytest.approx(np.full(7, 2 * np.sin(np.pi / 7)), abs=1e-6)
    assert len(marks["x"]) == 7
    assert len(checked(circle_figure(found(3, 2, half_space=True)))["data"]) == 4


@pytest.mark.parametrize(("dim", "half_space"), [(2, False), (3, True), (4, False), (200, False), (1000, True)])
def test_angles_sum_to_all_pairs(dim: int, half_space: bool) -> None:
    figure = checked(angle_figure(found(12, dim, half_space=half_space)))
    bars, line = figure["data"]
    assert bars["y"].sum() == pytest.approx(1)
    # the expected share of random pairs per bin, integrated over all angles
    assert np.trapezoid(line["y"], line["x"]) / bars["width"] == pytest.approx(1, abs=1e-9)


def test_the_icosahedron_has_three_angles() -> None:
    bars = angle_figure(found(12))["data"][0]
    assert bars["y"][bars["y"] > 0] == pytest.approx([5 / 11, 5 / 11, 1 / 11])
    assert np.array(bars["x"])[bars["y"] > 0].tolist() == [65.0, 115.0, 180.0]
