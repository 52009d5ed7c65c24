# SPDX-License-Identifier: MIT
"""Thomson's problem from Python: the published energies, lines, known shapes, angular minima, and wrong input."""

from __future__ import annotations

import math

import pytest
import torch

from hypersphere.analysis.thomson import smallest_angle, thomson
from hypersphere.formulas.configurations import THOMSON
from hypersphere.functional import hyperspherical_energy, pairwise_cosine


def slowly(values: list) -> list:
    return [pytest.param(value, marks=pytest.mark.slow) for value in values]


QUICK = [2, 5, 12, 16, 24]


@pytest.mark.parametrize("num_points", QUICK + slowly([n for n in THOMSON if n not in QUICK]))
def test_published_energies(num_points: int) -> None:
    found = thomson(num_points)
    # the table carries nine decimals
    assert found.sum_over_pairs == pytest.approx(THOMSON[num_points], rel=1e-8, abs=1e-9)
    assert abs(found.gap) < 1e-8
    assert found.residual < 1e-6
    assert found.energy == pytest.approx(found.sum_over_pairs / math.comb(num_points, 2))
    assert torch.allclose(found.points.norm(dim=1), torch.ones(num_points, dtype=torch.float64))


@pytest.mark.parametrize(("num_points", "angle"), [(4, math.acos(-1 / 3)), (6, math.pi / 2), (12, math.acos(5**-0.5))])
def test_known_shapes_by_their_angle(num_points: int, angle: float) -> None:
    assert thomson(num_points).smallest_angle == pytest.approx(angle, abs=1e-5)


@pytest.mark.parametrize(("num_points", "dim"), [(2, 3), (4, 3), (5, 4), (6, 10), (9, 8), (20, 64)])
@pytest.mark.parametrize("power", [0.0, 1.0, 2.0])
def test_up_to_d_plus_1_points_make_a_simplex(num_points: int, dim: int, power: float) -> None:
    found = thomson(num_points, dim, power=power, starts=2)
    cosine = pairwise_cosine(found.points)[~torch.eye(num_points, dtype=torch.bool)]
    assert cosine == pytest.approx(torch.full_like(cosine, -1 / (num_points - 1)), abs=1e-6)
    assert found.gap == pytest.approx(0, abs=1e-12)
    assert found.num_agreeing == 2


@pytest.mark.parametrize("distance", ["euclidean", "angular"])
@pytest.mark.parametrize(("num_lines", "dim"), [(2, 2), (2, 3), (3, 3), (5, 7), (8, 8), (20, 32)])
@pytest.mark.parametrize("power", [0.0, 1.0, 2.0])
def test_up_to_d_lines_make_an_orthonormal_frame(num_lines: int, dim: int, power: float, distance: str) -> None:
    found = thomson(num_lines, dim, power=power, distance=distance, half_space=True, starts=2)
    assert found.points @ found.points.T == pytest.approx(torch.eye(num_lines, dtype=torch.float64), abs=1e-6)
    assert found.gap == pytest.approx(0, abs=1e-12)


# sums over i < j of the 2N ends for powers 0, 1, 2; best of many starts elsewhere
LINES = {
    (2, 3): (-2.772588722, 3.828427125, 2.5),
    (3, 3): (-6.238325, 9.985281, 6.75),
    (4, 3): (-10.383656675, 19.740774074, 14.5),
    (5, 3): (-15.411694052, 32.947956915, 25.632772995),
    (6, 3): (-21.606145230, 49.165253058, 39.0),
    (7, 3): (-28.391932336, 69.342378421, 57.25),
    (8, 3): (-35.964154555, 93.200305562, 79.762282379),
    (10, 3): (-53.996212399, 150.907471221, 134.016031534),
    (15, 3): (-113.035316745, 359.735515246, 346.808453300),
    (4, 4): (-11.090354889, 18.970562748, 13.0),
    (5, 4): (-16.683294303, 31.479042259, 22.583333333),
    (6, 4): (-23.331724193, 47.204320812, 34.981750516),
    (12, 4): (-86.004454523, 208.337314088, 167.0),
    (28, 7): (-498.905402081, 1131.668766647, 857.5),
    (8, 8): (-64 * math.log(2), 8 / 2 + 2 * 8 * 7 / math.sqrt(2), 8 / 4 + 8 * 7),
}


@pytest.mark.parametrize(("num_lines", "dim"), LINES)
@pytest.mark.parametrize("power", [1, *slowly([0, 2])])
def test_lines(num_lines: int, dim: int, power: int) -> None:
    found = thomson(num_lines, dim, power=float(power), half_space=True, starts=2)
    expected = LINES[num_lines, dim][power]
    assert found.sum_over_pairs == pytest.approx(expected, rel=1e-7 if (num_lines, dim) == (3, 3) else 1e-9)
    assert abs(found.gap) < 1e-8
    ends = torch.cat([found.points, -found.points])
    by_ends = hyperspherical_energy(ends, power=float(power), reduction="sum") / 2
    assert by_ends.item() == pytest.approx(found.sum_over_pairs, rel=1e-12)


def test_one_line_has_one_pair_of_ends() -> None:
    found = thomson(1, 3, half_space=True)
    assert (found.sum_over_pairs, found.gap, found.smallest_angle) == (0.5, 0.0, math.pi)


# -- the angular distance ---------------------------------------------------------------------------------------------


def test_four_points_in_angle_make_a_square_at_power_0() -> None:
    found = thomson(4, distance="angular", power=0.0)
    # two opposite pairs at right angles: 4 pairs at pi / 2 and 2 at pi
    square = -4 * math.log(math.pi / 2) - 2 * math.log(math.pi)
    tetrahedron = -6 * math.log(math.acos(-1 / 3))
    assert (square, tetrahedron) == (pytest.approx(-4.0958, abs=5e-5), pytest.approx(-3.8846, abs=5e-5))
    assert found.sum_over_pairs == pytest.approx(square, rel=1e-10)
    assert found.points.sum(dim=0).norm() == pytest.approx(0, abs=1e-7)
    assert torch.linalg.matrix_rank(found.points, atol=1e-6) == 2
    assert found.known is None


@pytest.mark.parametrize("power", [1.0, 2.0])
def test_at_other_powers_the_tetrahedron_stays(power: float) -> None:
    found = thomson(4, distance="angular", power=power)
    assert found.sum_over_pairs == pytest.approx(6 * math.acos(-1 / 3) ** -power, rel=1e-10)


def test_other_angular_minima() -> None:
    # six points in five dimensions could be a simplex, and are three opposite pairs
    octahedron, icosahedron = -8.853182121, 43.752534177
    found = thomson(6, 5, power=0.0, distance="angular", starts=2)
    assert found.sum_over_pairs == pytest.approx(octahedron, rel=1e-9)
    found = thomson(12, 3, power=1.0, distance="angular", starts=1)
    assert found.sum_over_pairs == pytest.approx(icosahedron, rel=1e-9)
    # eight points prefer a cube: 12 edges, 12 diagonals of faces, 4 of the body
    edge = math.acos(1 / 3)
    cube = 12 / edge + 12 / (math.pi - edge) + 4 / math.pi
    found = thomson(8, power=1.0, distance="angular", starts=2)
    assert found.sum_over_pairs == pytest.approx(cube, rel=1e-10)
    for num_points in (7, 8):
        assert abs(thomson(num_points, 2, power=0.0, distance="angular", starts=1).gap) < 1e-10


# -- what goes in and what comes out ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("power", "degrees"), [(50.0, 63.4349), (200.0, 63.4349)])
def test_large_powers_stay_in_range(power: float, degrees: float) -> None:
    found = thomson(12, power=power, starts=1)
    assert math.degrees(found.smallest_angle) == pytest.approx(degrees, abs=1e-4)
    assert abs(found.gap) < 1e-10


def test_the_same_seed_gives_the_same_points() -> None:
    assert torch.equal(thomson(7, seed=3, starts=2).points, thomson(7, seed=3, starts=2).points)
    assert not torch.equal(thomson(7, seed=3, starts=1).points, thomson(7, seed=4, starts=1).points)


def test_progress_and_unknown_optimum() -> None:
    seen: list[tuple[int, int, float]] = []
    found = thomson(14, 5, starts=2, power=0.0, progress=lambda *told: seen.append(told))
    assert sorted({start for start, _, _ in seen}) == [0, 1]
    for start in (0, 1):
        mine = [told for told in seen if told[0] == start]
        assert [count for _, count, _ in mine] == list(range(1, len(mine) + 1))
        energies = [energy for _, _, energy in mine]
        assert energies == sorted(energies, reverse=True)
    assert min(energy for _, _, energy in seen) == pytest.approx(found.energy, rel=1e-9)
    assert found.known is None
    assert found.gap is None
    assert (found.power, found.distance, found.half_space, found.starts, found.seed) == (0.0, "euclidean", False, 2, 0)


def test_smallest_angle_of_lines_counts_opposites() -> None:
    points = torch.tensor([[1.0, 0.0], [-1.0, 0.1]])
    assert smallest_angle(points, half_space=True) == pytest.approx(math.atan(0.1), abs=1e-6)
    assert smallest_angle(points) == pytest.approx(math.pi - math.atan(0.1), abs=1e-6)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"num_points": 1}, r"thomson: num_points must be a whole number of 2 or more, got 1\."),
        ({"num_points": 0, "half_space": True}, r"thomson: num_points must be a whole number of 1 or more, got 0\."),
        ({"num_points": 3, "dim": 1}, r"thomson: dim must be a whole number of 2 or more, got 1\."),
        ({"num_points": 3, "starts": 0}, r"thomson: starts must be a whole number of 1 or more, got 0\."),
        ({"num_points": 3, "seed": -1}, r"thomson: seed must be a whole number of 0 or more, got -1\."),
        ({"num_points": 3, "max_steps": 0}, r"thomson: max_steps must be a whole number of 1 or more, got 0\."),
        ({"num_points": 3, "power": -1.0}, r"thomson: power must lie in \[0, 200\], got -1\."),
        ({"num_points": 3, "power": math.nan}, r"thomson: power must lie in \[0, 200\], got nan\."),
        ({"num_points": 3, "distance": "chord"}, r"unknown distance 'chord': choose angular, euclidean"),
        (
            {"num_points": 60_000},
            r"thomson: expected at most 50000 points and 4000000 coordinates \(points times dimensions\), got 60000 "
            r"points in 3 dimensions: that takes days, or gigabytes of memory\.",
        ),
        ({"num_points": 5000, "dim": 1000}, r"got 5000 points in 1000 dimensions"),
    ],
)
def test_wrong_input_is_explained(given: dict, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        thomson(**given)
