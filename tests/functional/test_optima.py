# SPDX-License-Identifier: MIT
"""Known optima: closed forms to rounding, and an optimiser that reaches the tables from random starts."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import scipy.optimize
import torch

from hypersphere.formulas.configurations import THOMSON, neighbour_angles
from hypersphere.functional import hyperspherical_energy, minimum_energy

# N, d: sums over i < j for powers 0, 1, 2
CONFIGURATIONS = {
    (12, 3): (-21.606145230, 49.165253058, 39.0),
    (8, 4): (-11.090354889, 18.970562748, 13.0),
    (16, 5): (-42.063161366, 85.606232978, 62.5),
    (27, 6): (-117.946561161, 254.305547821, 189.0),
    (56, 7): (-498.905402081, 1131.668766647, 857.5),
    (240, 8): (-9014.707636625, 21351.248340495, 16550.0),
    (120, 4): (-1903.986315015, 5796.576455702, 5395.0),
}


def total(num_points: int, dim: int, power: float, half_space: bool = False) -> float:
    mean = minimum_energy(num_points, dim, power=power, half_space=half_space)
    return mean * math.comb(2 * num_points if half_space else num_points, 2)


def optimise(num_points: int, dim: int, *, starts: int, known: float, **options: object) -> float:
    """Smallest mean energy of L-BFGS runs from Gaussian starts, which end once `known` is reached."""
    generator = np.random.default_rng(0)

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weight = torch.from_numpy(flat.reshape(num_points, dim)).requires_grad_()
        energy = hyperspherical_energy(weight, **options)
        energy.backward()
        return energy.item(), weight.grad.numpy().ravel()

    tight = {"maxiter": 2000, "ftol": 1e-13, "gtol": 1e-9}
    best = math.inf
    for _ in range(starts):
        start = generator.standard_normal(num_points * dim)
        best = min(best, scipy.optimize.minimize(objective, start, jac=True, method="L-BFGS-B", options=tight).fun)
        if best <= known + 1e-9 * abs(known):
            break
    return best


# -- closed forms -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("num_points", [3, 5, 8, 12, 101, 100_000])
def test_regular_polygons(num_points: int) -> None:
    n = num_points
    assert total(n, 2, 0.0) == pytest.approx(-(n / 2) * math.log(n), rel=1e-9)
    assert total(n, 2, 2.0) == pytest.approx(n * (n * n - 1) / 24, rel=1e-9)
    coulomb = n / 2 * math.fsum(1 / (2 * math.sin(math.pi * k / n)) for k in range(1, n))
    assert total(n, 2, 1.0) == pytest.approx(coulomb, rel=1e-9)


@pytest.mark.parametrize(("num_points", "dim"), [(2, 1), (2, 7), (3, 3), (4, 3), (65, 64), (100, 256)])
def test_simplices(num_points: int, dim: int) -> None:
    n = num_points
    assert total(n, dim, 0.0) == pytest.approx(-(n * (n - 1) / 4) * math.log(2 * n / (n - 1)), rel=1e-9)
    assert total(n, dim, 2.0) == pytest.approx((n - 1) ** 2 / 4, rel=1e-9)
    for power in (1.0, 0.7, 5.0):
        expected = n * (n - 1) / 2 * (2 * n / (n - 1)) ** (-power / 2)
        assert total(n, dim, power) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("dim", [2, 3, 4, 10])
def test_cross_polytopes(dim: int) -> None:
    assert total(2 * dim, dim, 0.0) == pytest.approx(-dim * dim * math.log(2), rel=1e-9)
    for power in (1.0, 2.0, 3.5):
        expected = dim * 2**-power + 2 * dim * (dim - 1) * 2 ** (-power / 2)
        assert total(2 * dim, dim, power) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("size", "sums"), CONFIGURATIONS.items())
def test_universal_optima(size: tuple[int, int], sums: tuple[float, float, float]) -> None:
    assert sum(neighbour_angles(*size).values()) == size[0] - 1
    for power, expected in enumerate(sums):
        assert total(*size, float(power)) == pytest.approx(expected, rel=1e-10)


def test_leech_lattice() -> None:
    assert minimum_energy(196560, 24, power=0.0) == pytest.approx(-0.3354760, abs=5e-8)
    assert minimum_energy(196560, 24, power=1.0) == pytest.approx(0.7192484, abs=5e-8)
    assert total(196560, 24, 2.0) == pytest.approx(10118206098, rel=1e-9)


@pytest.mark.parametrize("num_points", [64, 128, 256])
def test_half_space_of_orthonormal_frames(num_points: int) -> None:
    n = num_points
    # means of the released code, which takes the log of the squared distance at power 0
    table = {
        64: (-0.698605, 0.705476, 0.498031),
        128: (-0.695865, 0.706295, 0.499020),
        256: (-0.694504, 0.706701, 0.499511),
    }
    for power, expected in enumerate(table[n]):
        released = minimum_energy(n, 2304, power=float(power), half_space=True) * (2 if power == 0 else 1)
        assert released == pytest.approx(expected, abs=6e-7)
    assert minimum_energy(n, n, power=2.0, half_space=True) == pytest.approx((n - 0.75) / (2 * n - 1), rel=1e-12)
    frame = torch.eye(n, dtype=torch.float64)
    for distance in ("euclidean", "angular"):
        found = hyperspherical_energy(frame, power=1.0, distance=distance, half_space=True)
        known = minimum_energy(n, n, power=1.0, distance=distance, half_space=True)
        assert found.item() == pytest.approx(known, rel=1e-12)


def test_the_energy_of_explicit_coordinates() -> None:
    golden = (1 + math.sqrt(5)) / 2
    corners = [[0, a, b * golden] for a in (1, -1) for b in (1, -1)]
    icosahedron = torch.tensor([row[k:] + row[:k] for row in corners for k in range(3)], dtype=torch.float64)
    for power, expected in enumerate(CONFIGURATIONS[12, 3]):
        energy = hyperspherical_energy(icosahedron, power=float(power), reduction="sum") / 2
        assert energy.item() == pytest.approx(expected, rel=1e-10)
    # angles of the tetrahedron, octahedron and icosahedron, which need not be optimal for the angular kernels
    tetrahedron = torch.tensor([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]], dtype=torch.float64)
    octahedron = torch.cat([torch.eye(3, dtype=torch.float64), -torch.eye(3, dtype=torch.float64)])
    sums = {
        tetrahedron: (-3.884608346, 3.140320123, 1.643601746),
        octahedron: (-8.853182121, 8.594366927, 5.167380366),
        icosahedron: (-31.228694889, 43.752534177, 32.330367604),
    }
    for points, values in sums.items():
        for power, expected in enumerate(values):
            energy = hyperspherical_energy(points, power=float(power), distance="angular", reduction="sum") / 2
            assert energy.item() == pytest.approx(expected, rel=1e-9)


def test_four_points_in_angle_prefer_the_square() -> None:
    square = torch.tensor([[1, 0, 0], [0, 1, 0], [-1, 0, 0], [0, -1, 0]], dtype=torch.float64)
    energy = hyperspherical_energy(square, distance="angular", reduction="sum") / 2
    assert energy.item() == pytest.approx(-4.0958, abs=5e-5)
    assert minimum_energy(4, 3, distance="angular") is None
    assert minimum_energy(4, 2, distance="angular") * 6 == pytest.approx(energy.item(), rel=1e-12)


# -- built from their coordinates -------------------------------------------------------------------------------------


def signs(num: int, *, even: bool = False) -> list[tuple[int, ...]]:
    """All rows of signs; `even`: with an even number of minuses."""
    return [row for row in itertools.product((1, -1), repeat=num) if not even or math.prod(row) == 1]


def roots_of_e8() -> torch.Tensor:
    """240 of length sqrt 2: two entries of 1, or eight halves with an even number of minuses."""
    rows = [[0.5 * sign for sign in row] for row in signs(8, even=True)]
    for (i, j), (a, b) in itertools.product(itertools.combinations(range(8), 2), signs(2)):
        rows.append([float(a if k == i else b if k == j else 0) for k in range(8)])
    return torch.tensor(rows, dtype=torch.float64)


def cell_24() -> torch.Tensor:
    """8 axes and 16 corners of a cube: the unit quaternions of Hurwitz."""
    axes = torch.cat([torch.eye(4, dtype=torch.float64), -torch.eye(4, dtype=torch.float64)])
    return torch.cat([axes, torch.tensor(signs(4), dtype=torch.float64) / 2])


def cell_600() -> torch.Tensor:
    """The 24-cell and the even permutations of (golden, 1, 1 / golden, 0) / 2 with all signs."""
    golden = (1 + math.sqrt(5)) / 2
    rows = []
    for order in itertools.permutations(range(4)):
        if np.linalg.det(np.eye(4)[list(order)]) > 0:
            for a, b, c in signs(3):
                row = (a * golden / 2, b / 2, c / golden / 2, 0.0)
                rows.append([row[place] for place in order])
    return torch.cat([cell_24(), torch.tensor(rows, dtype=torch.float64)])


def hemicube() -> torch.Tensor:
    """Every second corner of the cube in five dimensions."""
    return torch.tensor(signs(5, even=True), dtype=torch.float64)


def simplex(num_points: int) -> torch.Tensor:
    """The corners e_i of the standard simplex seen from their centre, in one dimension more than they need."""
    return torch.eye(num_points, dtype=torch.float64) - 1 / num_points


@pytest.mark.parametrize("points", [roots_of_e8(), cell_600(), hemicube(), simplex(5), simplex(33)], ids=len)
@pytest.mark.parametrize("power", [0.0, 1.0, 2.0, 6.5])
def test_closed_forms_are_those_of_the_coordinates(points: torch.Tensor, power: float) -> None:
    energy = hyperspherical_energy(points, power=power).item()
    assert energy == pytest.approx(minimum_energy(*points.shape, power=power), rel=1e-12)


def lines_of(points: torch.Tensor) -> torch.Tensor:
    """One end of each opposite pair."""
    is_opposite = torch.cdist(points, -points) < 1e-9
    return points[~is_opposite.tril().any(dim=1)]


AT_REST = [(points, False) for points in (roots_of_e8(), cell_600(), cell_24(), hemicube(), simplex(5), simplex(33))]
AT_REST += [(lines_of(points), True) for points in (roots_of_e8(), cell_600(), cell_24())]
AT_REST += [(torch.eye(6, 9, dtype=torch.float64), True)]


@pytest.mark.parametrize(("points", "half_space"), AT_REST, ids=[f"{len(points)}-{half}" for points, half in AT_REST])
@pytest.mark.parametrize("power", [0.0, 1.0, 2.0])
def test_known_optima_are_at_rest_and_any_move_costs_energy(
    points: torch.Tensor, half_space: bool, power: float
) -> None:
    leaf = points.clone().requires_grad_()
    energy = hyperspherical_energy(leaf, power=power, half_space=half_space)
    energy.backward()
    assert leaf.grad.abs().max() < 1e-14
    generator = torch.Generator().manual_seed(len(points))
    unit = points / points.norm(dim=1, keepdim=True)
    for _ in range(5):
        direction = torch.randn(points.shape, generator=generator, dtype=torch.float64)
        costs = [
            hyperspherical_energy(unit + size * direction, power=power, half_space=half_space).item() - energy.item()
            for size in (1e-3, -1e-3, 2e-3)
        ]
        assert min(costs) > 1e-9
        # twice as far costs four times as much: the energy is quadratic around a minimum
        assert costs[2] / costs[0] == pytest.approx(4, rel=0.05)


# -- reached from random starts ---------------------------------------------------------------------------------------


def slowly(values: list) -> list:
    return [pytest.param(value, marks=pytest.mark.slow) for value in values]


@pytest.mark.parametrize("num_points", [*range(2, 33), *slowly([n for n in THOMSON if n > 32])])
def test_thomson_problem_from_random_starts(num_points: int) -> None:
    pairs = math.comb(num_points, 2)
    found = optimise(num_points, 3, starts=5, known=THOMSON[num_points] / pairs, power=1.0) * pairs
    # the table carries nine decimals
    assert found == pytest.approx(THOMSON[num_points], rel=1e-8, abs=1e-9)


@pytest.mark.parametrize(
    "num_points", [3, 5, 6, 7, 8, 10, 13, 16, 20, 24, *slowly([9, 11, 14, 15, 17, 18, 19, 32, 50])]
)
@pytest.mark.parametrize("power", [0.0, 2.0])
def test_other_powers_on_the_sphere(num_points: int, power: float) -> None:
    known = minimum_energy(num_points, 3, power=power)
    assert optimise(num_points, 3, starts=8, known=known, power=power) == pytest.approx(known, rel=1e-8)


@pytest.mark.parametrize(
    ("num_lines", "dim"),
    [
        (2, 3),
        (3, 3),
        (4, 3),
        (5, 3),
        (6, 3),
        (7, 3),
        (8, 3),
        (10, 3),
        (15, 3),
        (4, 4),
        (5, 4),
        (6, 4),
        (12, 4),
        (28, 7),
        (8, 8),
    ],
)
@pytest.mark.parametrize("power", [0.0, 1.0, 2.0])
def test_lines_from_random_starts(num_lines: int, dim: int, power: float) -> None:
    known = minimum_energy(num_lines, dim, power=power, half_space=True)
    found = optimise(num_lines, dim, starts=8, known=known, power=power, half_space=True)
    assert found == pytest.approx(known, rel=1e-8)


@pytest.mark.parametrize(("num_points", "dim"), [(5, 4), (5, 7), (8, 4), (10, 5), (16, 5), (6, 2)])
def test_other_dimensions_from_random_starts(num_points: int, dim: int) -> None:
    known = minimum_energy(num_points, dim, power=1.0)
    assert optimise(num_points, dim, starts=8, known=known, power=1.0) == pytest.approx(known, rel=1e-8)


@pytest.mark.parametrize(("num_points", "power"), [(5, 0.0), (7, 1.0), (6, 2.0)])
def test_polygons_are_optimal_in_angle(num_points: int, power: float) -> None:
    known = minimum_energy(num_points, 2, power=power, distance="angular")
    found = optimise(num_points, 2, starts=8, known=known, power=power, distance="angular")
    assert found >= known - 1e-9
    assert found == pytest.approx(known, rel=1e-5)


# -- nothing is claimed where nothing is known ------------------------------------------------------------------------


def test_unknown_cases_are_none() -> None:
    assert minimum_energy(7, 5) is None
    assert minimum_energy(34, 3, power=1.0) is None
    assert minimum_energy(7, 3, power=1.5) is None
    assert minimum_energy(24, 4) is None  # the 24-cell is not optimal for every power
    assert minimum_energy(3, 1) is None
    assert minimum_energy(9, 3, power=1.0, half_space=True) is None
    assert minimum_energy(27, 6, power=1.0, half_space=True) is None


def test_wrong_input_is_explained() -> None:
    with pytest.raises(ValueError, match=r"minimum_energy: num_points must be a whole number of 2 or more, got 1"):
        minimum_energy(1, 3)
    with pytest.raises(ValueError, match=r"minimum_energy: num_points must be a whole number of 2 or more, got 2.5"):
        minimum_energy(2.5, 3)
    with pytest.raises(ValueError, match=r"unknown distance 'chord': choose angular, euclidean"):
        minimum_energy(2, 3, distance="chord")
    with pytest.raises(ValueError, match=r"Riesz: power must lie in \[0, 10000\], got -2"):
        minimum_energy(2, 3, power=-2.0)
