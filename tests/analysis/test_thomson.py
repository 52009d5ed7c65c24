# SPDX-License-Identifier: MIT
"""Thomson's problem from Python: the published energies, lines, known shapes, and wrong input."""

from __future__ import annotations

import math

import pytest
import torch

from hypersphere.analysis.thomson import smallest_angle, thomson


@pytest.mark.parametrize("num_points", [2, 5, 12, 24, pytest.param(72, marks=pytest.mark.slow)])
def test_published_energies(num_points: int) -> None:
    found = thomson(num_points)
    assert found.sum_over_pairs == pytest.approx(found.known, rel=1e-8, abs=1e-9)
    assert abs(found.gap) < 1e-8
    assert found.residual < 1e-6
    assert found.energy == pytest.approx(found.sum_over_pairs / math.comb(num_points, 2))
    assert torch.allclose(found.points.norm(dim=1), torch.ones(num_points, dtype=torch.float64))


@pytest.mark.parametrize(("num_points", "angle"), [(4, math.acos(-1 / 3)), (6, math.pi / 2), (12, math.acos(5**-0.5))])
def test_known_shapes_by_their_angle(num_points: int, angle: float) -> None:
    assert thomson(num_points).smallest_angle == pytest.approx(angle, abs=1e-5)


def test_lines() -> None:
    frame = thomson(4, 6, power=2.0, half_space=True)
    assert frame.smallest_angle == pytest.approx(math.pi / 2, abs=1e-4)
    assert frame.gap == pytest.approx(0, abs=1e-9)
    assert thomson(6, 3, power=1.0, half_space=True).sum_over_pairs == pytest.approx(49.165253058, rel=1e-9)
    assert thomson(1, 3, half_space=True).smallest_angle == math.pi


def test_the_same_seed_gives_the_same_points() -> None:
    assert torch.equal(thomson(7, seed=3).points, thomson(7, seed=3).points)
    assert not torch.equal(thomson(7, seed=3, starts=1).points, thomson(7, seed=4, starts=1).points)


def test_progress_and_unknown_optimum() -> None:
    seen: list[int] = []
    found = thomson(7, 5, starts=2, progress=lambda start, energy: seen.append(start))
    assert seen == [0, 1]
    assert found.known is None
    assert found.gap is None


def test_smallest_angle_of_lines_counts_opposites() -> None:
    points = torch.tensor([[1.0, 0.0], [-1.0, 0.1]])
    assert smallest_angle(points, half_space=True) == pytest.approx(math.atan(0.1), abs=1e-6)
    assert smallest_angle(points) == pytest.approx(math.pi - math.atan(0.1), abs=1e-6)


def test_wrong_input_is_explained() -> None:
    with pytest.raises(
        ValueError, match=r"thomson: expected num_points >= 2, dim >= 2 and starts >= 1, got num_points=1"
    ):
        thomson(1)
    with pytest.raises(ValueError, match=r"starts >= 1, got num_points=3, dim=3, starts=0"):
        thomson(3, starts=0)
