# SPDX-License-Identifier: MIT
"""Tabulated point sets obey what any set of unit vectors on a centred orbit must obey."""

from __future__ import annotations

import math

import pytest

from hypersphere.formulas.configurations import THOMSON, best_known_sum, line_angles, neighbour_angles, polygon_angles


@pytest.mark.parametrize(
    "size",
    [(2, 1), (5, 9), (7, 2), (8, 2), (6, 3), (12, 3), (16, 5), (27, 6), (56, 7), (240, 8), (120, 4), (196560, 24)],
)
def test_counts_are_of_all_other_points_and_centred(size: tuple[int, int]) -> None:
    counts = neighbour_angles(*size)
    assert sum(counts.values()) == size[0] - 1
    assert math.fsum(math.cos(angle) * count for angle, count in counts.items()) == pytest.approx(-1, abs=1e-9)
    assert all(0 < angle <= math.pi for angle in counts)


def test_lines_are_optima_that_contain_their_opposites() -> None:
    assert line_angles(3, 5) == {math.pi: 1, math.pi / 2: 4}
    assert line_angles(1, 5) == {math.pi: 1}
    assert line_angles(6, 3) == neighbour_angles(12, 3)
    assert line_angles(28, 7) == neighbour_angles(56, 7)
    assert line_angles(8, 5) is None  # the hemicube has no opposite points
    assert line_angles(4, 2) == polygon_angles(8)


def test_thomson_table_follows_its_published_fit() -> None:
    for n, energy in THOMSON.items():
        if n >= 10:
            fit = n * n / 2 * (1 - 1.10461 / math.sqrt(n) + 0.137 * n**-1.5)
            assert energy == pytest.approx(fit, rel=3e-3)


def test_nothing_is_known_for_other_powers() -> None:
    assert best_known_sum(5, 3, 1.5, False) is None
    assert best_known_sum(5, 4, 1.0, False) is None
    assert best_known_sum(5, 3, 1.0, True) == 32.947956915
