# SPDX-License-Identifier: MIT
"""Tests of analysis.references against known optima and against random draws."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hypersphere.functional import minimum_energy
from hypersphere.analysis.references import energy_floor, position, random_smallest_angle, widest_smallest_angle

PLAIN = {"power": 0.0, "distance": "euclidean", "half_space": False}


def test_a_recorded_minimum_is_taken_as_it_is() -> None:
    floor = energy_floor(5, 3, known=-0.44, **PLAIN)
    assert floor is not None
    assert (floor.value, floor.is_reached) == (-0.44, True)


def test_without_a_minimum_more_dimensions_give_a_bound() -> None:
    floor = energy_floor(64, 27, known=math.nan, **PLAIN)
    assert floor is not None
    assert not floor.is_reached
    # the simplex of 64 points, chord² 2N / (N - 1)
    assert floor.value == pytest.approx(-0.5 * math.log(128 / 63), rel=1e-12)


def test_the_bound_lies_below_the_minimum_where_both_are_known() -> None:
    for num_points, dim in [(5, 3), (6, 3), (12, 3), (32, 3), (8, 4)]:
        floor = energy_floor(num_points, dim, known=math.nan, **PLAIN)
        best = minimum_energy(num_points, dim)
        assert floor is not None
        assert best is not None
        assert floor.value < best


def test_nothing_is_known() -> None:
    assert energy_floor(64, 27, known=math.nan, power=1.0, distance="angular", half_space=False) is None
    assert energy_floor(1, 3, known=math.nan, **PLAIN) is None


def test_position() -> None:
    assert position(-0.5, -1.0, 0.0) == 0.5
    assert position(0.5, -1.0, 0.0) == 1.5
    assert math.isnan(position(0.0, -1.0, math.inf))
    assert math.isnan(position(0.0, math.nan, 1.0))
    assert math.isnan(position(0.0, 1.0, 1.0))


@pytest.mark.parametrize(("num_points", "dim"), [(10, 3), (50, 3), (20, 2), (64, 27), (40, 64)])
def test_the_median_of_random_draws(num_points: int, dim: int) -> None:
    rng = np.random.default_rng(0)
    smallest = []
    for _ in range(1000):
        points = rng.standard_normal((num_points, dim))
        points /= np.linalg.norm(points, axis=1, keepdims=True)
        gram = points @ points.T
        np.fill_diagonal(gram, -1)
        smallest.append(math.acos(gram.max()))
    assert random_smallest_angle(num_points, dim) == pytest.approx(float(np.median(smallest)), rel=0.1)


def test_two_points_meet_at_any_angle_in_the_plane() -> None:
    assert random_smallest_angle(2, 2) == pytest.approx(math.pi / 2, rel=1e-3)
    assert math.isnan(random_smallest_angle(1, 3))
    assert math.isnan(random_smallest_angle(5, 1))


def test_many_neurons_in_few_dimensions() -> None:
    # 1 - cos theta = 2 * share on the sphere in space
    pairs = 10_000 * 9_999 / 2
    expected = math.acos(1 - 2 * (1 - 0.5 ** (1 / pairs)))
    assert random_smallest_angle(10_000, 3) == pytest.approx(expected, rel=1e-2)


@pytest.mark.parametrize(
    ("num_points", "dim", "degrees"),
    [(2, 5, 180.0), (3, 2, 120.0), (5, 2, 72.0), (4, 3, 109.471221), (5, 3, 90.0), (6, 3, 90.0), (11, 10, 95.739170)],
)
def test_widest_smallest_angle(num_points: int, dim: int, degrees: float) -> None:
    assert math.degrees(widest_smallest_angle(num_points, dim)) == pytest.approx(degrees)


def test_widest_smallest_angle_unknown() -> None:
    assert math.isnan(widest_smallest_angle(7, 3))
    assert math.isnan(widest_smallest_angle(1, 3))
