# SPDX-License-Identifier: MIT
"""Gaps between classes against arrangements whose angles are known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hypersphere.analysis import gaps
from hypersphere.analysis.gaps import class_gaps


def plane(*degrees: float) -> np.ndarray:
    theta = np.radians(degrees)
    return np.stack([np.cos(theta), np.sin(theta)], axis=1)


def around(centre: float, *away: float) -> list[float]:
    """Directions in degrees, two for each angle, on both sides of a centre."""
    return [centre + side * angle for angle in away for side in (-1, 1)]


def test_angles_one_can_check_by_hand() -> None:
    features = plane(*around(0, 5, 10), *around(90, 20, 20), *around(225, 30, 0))
    features *= np.linspace(1e-3, 1e3, len(features))[:, None]
    vectors = plane(2, 95, 220) * np.array([[3.0], [0.1], [7.0]])
    found = class_gaps(features, np.repeat([0, 1, 2], 4), vectors, share=1.0)
    assert found.classes.tolist() == [0, 1, 2]
    assert found.directions == pytest.approx(plane(0, 90, 225))
    assert np.degrees(found.spreads) == pytest.approx([10, 20, 30])
    # from -pi on, as arctan2 has it: class 2 at -140 degrees, class 0 at 2, class 1 at 95
    assert found.neighbours.tolist() == [[2, 0], [0, 1], [1, 2]]
    assert np.degrees(found.between) == pytest.approx([142, 93, 125])
    assert np.degrees(found.gaps) == pytest.approx([102, 63, 75])
    assert math.degrees(found.mean) == pytest.approx(80)
    assert math.degrees(found.smallest) == pytest.approx(63)


def test_the_mean_gap_in_the_plane_needs_only_the_spreads() -> None:
    rng = np.random.default_rng(0)
    features, labels = 0.5 + rng.standard_normal((500, 2)), rng.integers(0, 10, 500)
    for vectors in (None, rng.standard_normal((10, 2)), plane(*range(10, 30, 2))):
        found = class_gaps(features, labels, vectors)
        assert found.between.sum() == pytest.approx(2 * math.pi)
        assert found.mean == pytest.approx(2 * math.pi / 10 - 2 * found.spreads.mean())


def test_the_empty_side_of_the_circle_is_a_way_around() -> None:
    vectors = plane(0, 30, 60)
    found = class_gaps(vectors, np.arange(3), vectors)
    assert found.neighbours.tolist() == [[0, 1], [1, 2], [2, 0]]
    assert np.degrees(found.gaps) == pytest.approx([30, 30, 300])


def test_two_classes_are_one_pair_with_the_smaller_angle() -> None:
    found = class_gaps(plane(170, 230), np.array([4, 1]))
    assert found.neighbours.tolist() == [[1, 4]]
    assert np.degrees(found.gaps) == pytest.approx([60])


def test_a_share_leaves_the_farthest_out() -> None:
    # 0, 1, ..., 100 degrees on both sides: the quantile of the angles is linear
    features = plane(*around(0, *range(101)), 180, 180)
    labels = np.repeat([0, 1], [202, 2])
    for share in (0.25, 0.5, 0.95, 1.0):
        angles = np.sort(np.repeat(np.arange(101.0), 2))
        expected = np.quantile(angles, share)
        assert np.degrees(class_gaps(features, labels, share=share).spreads) == pytest.approx([expected, 0], abs=1e-6)


def test_in_space_each_class_and_the_nearest_other() -> None:
    axes = np.concatenate([np.eye(3), [[1.0, 1.0, 0.0]]])
    found = class_gaps(axes, np.arange(4), axes)
    # the fourth lies between the first two and is the nearest of both; the third has a right angle to all
    assert found.neighbours.tolist() == [[0, 2], [0, 3], [1, 3]]
    assert np.degrees(found.between) == pytest.approx([90, 45, 45])


@pytest.mark.parametrize("rows", [1, 3, 1024])
def test_nearest_ones_against_a_loop(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gaps, "_ROWS", rows)
    rng = np.random.default_rng(1)
    vectors = rng.standard_normal((8, 5))
    features, labels = rng.standard_normal((200, 5)), rng.permutation(np.arange(200) % 8)
    found = class_gaps(features, labels, vectors, share=0.5)

    def angle(a: np.ndarray, b: np.ndarray) -> float:
        return math.acos(a @ b / math.sqrt(a @ a * (b @ b)))

    spreads = []
    for one in range(8):
        mine = [row / math.sqrt(row @ row) for row, label in zip(features, labels, strict=True) if label == one]
        spreads.append(np.median([angle(row, np.sum(mine, axis=0)) for row in mine]))
    expected = {}
    for one in range(8):
        other = min(
            (other for other in range(8) if other != one), key=lambda other: angle(vectors[one], vectors[other])
        )
        pair = (min(one, other), max(one, other))
        expected[pair] = angle(vectors[one], vectors[other]) - spreads[one] - spreads[other]
    assert [tuple(pair) for pair in found.neighbours.tolist()] == sorted(expected)
    assert found.gaps == pytest.approx([expected[pair] for pair in sorted(expected)])


def test_overlap_is_below_zero() -> None:
    found = class_gaps(plane(-30, 30, 20, 60), np.array([0, 0, 1, 1]), share=1.0)
    assert np.degrees(found.gaps) == pytest.approx([40 - 30 - 20])


def test_features_that_cancel_out_are_a_right_angle_away() -> None:
    found = class_gaps(np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]]), np.array([0, 0, 1]), plane(0, 90), share=1.0)
    assert np.degrees(found.spreads) == pytest.approx([90, 0])


def test_features_without_a_direction_are_counted_and_tiny_ones_are_not() -> None:
    features = np.concatenate([plane(0, 90) * 1e-200, [[0, 0], [np.nan, 1], [np.inf, 1]]])
    found = class_gaps(features, np.array([0, 1, 0, 1, 2]))
    assert found.num_without_direction == 3
    assert found.classes.tolist() == [0, 1]
    assert np.degrees(found.gaps) == pytest.approx([90])


def test_what_cannot_be_measured() -> None:
    features, labels = plane(0, 10, 90), np.array([0, 0, 1])
    with pytest.raises(ValueError, match=r"^class_gaps: share must lie in \[0, 1\], got 95\.$"):
        class_gaps(features, labels, share=95)
    with pytest.raises(ValueError, match=r"^class_gaps: share must lie above 0, got 0\.$"):
        class_gaps(features, labels, share=0)
    with pytest.raises(ValueError, match=r"expected features \(N, D\) with D >= 2 and labels \(N,\) of whole numbers"):
        class_gaps(features[:, :1], labels)
    with pytest.raises(ValueError, match=r"got \(3, 2\) and \(3,\) of float64\.$"):
        class_gaps(features, labels / 1)
    with pytest.raises(ValueError, match=r"expected features of two classes or more that have a direction, got 1\.$"):
        class_gaps(features, np.zeros(3, dtype=int))
    with pytest.raises(ValueError, match=r"^class_gaps: expected class_vectors \(C, 2\), got \(2, 3\)\.$"):
        class_gaps(features, labels, np.ones((2, 3)))
    with pytest.raises(ValueError, match=r"expected labels from 0 to 0, one for each of class_vectors, got 0 to 1\.$"):
        class_gaps(features, labels, np.ones((1, 2)))
    with pytest.raises(ValueError, match=r"^class_gaps: class_vectors must be finite and not zero\.$"):
        class_gaps(features, labels, np.eye(2) * [1, 0])
