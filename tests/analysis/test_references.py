# SPDX-License-Identifier: MIT
"""Tests of analysis.references against known optima and against random draws."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from hypersphere.analysis.references import (
    _envelope_bound,
    _welch_bound,
    energy_floor,
    position,
    random_smallest_angle,
    widest_smallest_angle,
)
from hypersphere.functional import hyperspherical_energy, minimum_energy

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
    assert energy_floor(1, 3, known=math.nan, **PLAIN) is None


def descend(num_points: int, dim: int, seed: int, **space: Any) -> float:
    """The energy at the end of a descent from random points."""
    weight = torch.randn(num_points, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    weight.requires_grad_()
    optimizer = torch.optim.LBFGS([weight], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        energy = hyperspherical_energy(weight, **space)
        energy.backward()
        return energy

    optimizer.step(closure)
    return float(hyperspherical_energy(weight.detach(), **space))


@pytest.mark.parametrize("power", [0.0, 1.0, 2.0])
@pytest.mark.parametrize(("distance", "half_space"), [("angular", False), ("angular", True), ("euclidean", True)])
def test_no_descent_goes_below_the_bound(distance: str, half_space: bool, power: float) -> None:
    space = {"power": power, "distance": distance, "half_space": half_space}
    for num_points, dim in [(5, 4), (10, 4), (5, 8)]:
        floor = energy_floor(num_points, dim, **space)
        assert floor is not None
        reached = min(descend(num_points, dim, seed, **space) for seed in range(3))
        assert floor.value <= reached + 1e-12
        # a bound that says something: within a fifth of what was reached, and met where it says so
        assert reached - floor.value < 0.2 * abs(reached)
        if floor.is_reached:
            assert reached == pytest.approx(floor.value, rel=1e-6)


def test_the_half_space_bound_is_met_by_an_equiangular_frame() -> None:
    # the six diagonals of the icosahedron, all cosines 1 / sqrt(5): the Welch bound with equality
    floor = energy_floor(6, 3, power=1.0, distance="euclidean", half_space=True)
    assert floor is not None
    assert floor.value == pytest.approx(49.165253058 / 66, rel=1e-9)
    assert _welch_bound(6, 3, 1.0) == pytest.approx(floor.value, rel=1e-9)


def test_the_angular_bound_is_the_lower_convex_envelope() -> None:
    # by hand: the lowest chord of a fine grid of the curve, at the mean cosine of four points
    cosine = np.linspace(-1, 1, 4001)[:-1]
    value = -np.log(np.arccos(cosine))
    left, right = cosine < -1 / 3, cosine >= -1 / 3
    share = (-1 / 3 - cosine[left][:, None]) / (cosine[right] - cosine[left][:, None])
    lowest = ((1 - share) * value[left][:, None] + share * value[right]).min()
    assert _envelope_bound(4, 0.0)[0] == pytest.approx(lowest, abs=1e-6)


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
