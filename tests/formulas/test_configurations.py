# SPDX-License-Identifier: MIT
"""Tabulated point sets obey what any set of unit vectors on a centred orbit must obey."""

from __future__ import annotations

import math

import pytest

from hypersphere.formulas.configurations import THOMSON, best_known_sum, inner_products, line_inner_products, polygon


@pytest.mark.parametrize(
    "size",
    [(2, 1), (5, 9), (7, 2), (8, 2), (6, 3), (12, 3), (16, 5), (27, 6), (56, 7), (240, 8), (120, 4), (196560, 24)],
)
def test_counts_are_of_all_other_points_and_centred(size: tuple[int, int]) -> None:
    counts = inner_products(*size)
    assert sum(counts.values()) == size[0] - 1
    assert math.fsum(cosine * count for cosine, count in counts.items()) == pytest.approx(-1, abs=1e-9)
    assert all(-1 <= cosine < 1 for cosine in counts)


def test_lines_are_optima_that_contain_their_opposites() -> None:
    assert line_inner_products(3, 5) == {-1: 1, 0: 4}
    assert line_inner_products(1, 5) == {-1: 1}
    assert line_inner_products(6, 3) == inner_products(12, 3)
    assert line_inner_products(28, 7) == inner_products(56, 7)
    assert line_inner_products(8, 5) is None  # the hemicube has no opposite points
    assert line_inner_products(4, 2) == polygon(8)


def test_thomson_table_follows_its_published_fit() -> None:
    for n, energy in THOMSON.items():
        if n >= 10:
            fit = n * n / 2 * (1 - 1.10461 / math.sqrt(n) + 0.137 * n**-1.5)
            assert energy == pytest.approx(fit, rel=3e-3)


def test_nothing_is_known_for_other_powers() -> None:
    assert best_known_sum(5, 3, 1.5, False) is None
    assert best_known_sum(5, 4, 1.0, False) is None
    assert best_known_sum(5, 3, 1.0, True) == 32.947956915
