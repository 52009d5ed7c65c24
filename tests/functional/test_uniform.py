# SPDX-License-Identifier: MIT
"""Energy of the uniform measure against closed forms, tabulated values and random points."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
import scipy.integrate
import scipy.special
import torch

from hypersphere.functional import energy_deviation, expected_energy, hyperspherical_energy, stacked_energy

INF = math.inf
# dimension: (I_0, I_1, I_2, A_0, A_1, A_2), seven decimals, computed elsewhere
TABLE = {
    2: (0.0, INF, INF, -0.1447299, INF, INF),
    3: (-0.1931472, 1.0, INF, -0.3205911, 0.9259685, INF),
    4: (-0.25, 0.8488264, 1.0, -0.3704357, 0.7759292, 0.9028233),
    5: (-0.2764805, 0.8, 0.75, -0.3931948, 0.7276968, 0.6534337),
    8: (-0.3083333, 0.7525526, 0.6, -0.4200966, 0.6810283, 0.5042309),
    27: (-0.3367734, 0.7177912, 0.5208333, -0.4436057, 0.6470275, 0.4258379),
    64: (-0.3425738, 0.7113965, 0.5081967, -0.4483351, 0.6407956, 0.4133663),
    256: (-0.3455913, 0.7081515, 0.5019763, -0.4507861, 0.6376364, 0.4072326),
    576: (-0.3461384, 0.7075689, 0.5008726, -0.4512299, 0.6370694, 0.4061448),
    2304: (-0.3464650, 0.7072220, 0.5002173, -0.4514947, 0.6367319, 0.4054989),
}


@pytest.mark.parametrize("dim", TABLE)
def test_tabulated_values(dim: int) -> None:
    for index, expected in enumerate(TABLE[dim]):
        value = expected_energy(dim, power=float(index % 3), distance=("euclidean", "angular")[index // 3])
        assert value == pytest.approx(expected, abs=6e-8)


def test_closed_forms() -> None:
    for dim in (4, 5, 10, 100, 5000, 10**6, 10**9):
        assert expected_energy(dim, power=2.0) == pytest.approx((dim - 2) / (2 * (dim - 3)), rel=1e-11)
    sine_integral = scipy.special.sici(math.pi)[0]
    assert expected_energy(3, power=1.0, distance="angular") == pytest.approx(sine_integral / 2, rel=1e-12)


@pytest.mark.parametrize("dim", [2, 3, 4, 17, 300])
@pytest.mark.parametrize("power", [0.3, 0.9, 1.9, 1.99, 2.7])
def test_angular_integral_against_adaptive_quadrature(dim: int, power: float) -> None:
    value = expected_energy(dim, power=power, distance="angular")
    if power >= dim - 1:
        assert value == INF
        return
    # t = theta^(d-1-s) removes the singularity that the adaptive rule cannot take
    gap = dim - 1 - power

    def smooth(t: float) -> float:
        theta = t ** (1 / gap)
        return np.sinc(theta / math.pi) ** (dim - 2) / gap

    if dim > 100:
        with mpmath.workdps(30):
            top, bottom = (
                mpmath.quad(lambda t, s=s: t**-s * mpmath.sin(t) ** (dim - 2), mpmath.linspace(0, mpmath.pi, 33))
                for s in (power, 0)
            )
            assert value == pytest.approx(float(top / bottom), rel=1e-8)
        return
    top = scipy.integrate.quad(smooth, 0, math.pi**gap, epsabs=0, epsrel=1e-11, limit=500)[0]
    bottom = math.sqrt(math.pi) * math.exp(math.lgamma((dim - 1) / 2) - math.lgamma(dim / 2))
    assert value == pytest.approx(top / bottom, rel=1e-8)


def test_angular_integral_in_very_high_dimension() -> None:
    """theta = pi/2 + x / sqrt(d) with x nearly standard normal: f(pi/2) (1 + f''/f / (2 d)) to the next order."""
    for power in (1.0, 2.0):
        expected = (math.pi / 2) ** -power * (1 + power * (power + 1) / (math.pi / 2) ** 2 / 2 / 10**6)
        assert expected_energy(10**6, power=power, distance="angular") == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("half_space", [False, True])
@pytest.mark.parametrize("distance", ["euclidean", "angular"])
@pytest.mark.parametrize("power", [0.0, 1.0, 2.0])
def test_random_directions_have_it_on_average(power: float, distance: str, half_space: bool) -> None:
    dim, num_points, repeats = 12, 20, 400
    generator = torch.Generator().manual_seed(0)
    energies = torch.stack(
        [
            hyperspherical_energy(
                torch.randn(num_points, dim, generator=generator, dtype=torch.float64),
                power=power,
                distance=distance,
                half_space=half_space,
            )
            for _ in range(repeats)
        ]
    )
    expected = expected_energy(dim, power=power, distance=distance, half_space=half_space, num_points=num_points)
    error = energies.std().item() / math.sqrt(repeats)
    assert energies.mean().item() == pytest.approx(expected, abs=4 * error)


def test_half_space_limits() -> None:
    assert expected_energy(9, power=2.0, half_space=True, num_points=1) == 0.25
    assert expected_energy(9, power=1.0, half_space=True) == expected_energy(9, power=1.0)
    many = expected_energy(9, power=1.0, half_space=True, num_points=10**6)
    assert many == pytest.approx(expected_energy(9, power=1.0), rel=1e-5)


def test_wrong_input_is_explained() -> None:
    with pytest.raises(ValueError, match=r"expected_energy: dim must be a whole number of 2 or more, got 1"):
        expected_energy(1)
    with pytest.raises(ValueError, match=r"Riesz: power must lie in \[0, 10000\], got -1"):
        expected_energy(3, power=-1.0)
    with pytest.raises(ValueError, match=r"unknown distance 'cosine': choose angular, euclidean"):
        expected_energy(3, distance="cosine")
    with pytest.raises(ValueError, match=r"expected_energy: num_points must be a whole number of 2 or more, got 1"):
        expected_energy(3, num_points=1)


def quadrature(dim: int, power: float, distance: str, half_space: bool) -> float:
    """Variance of what one pair adds, by an adaptive rule in 30 digits."""
    with mpmath.workdps(30):
        length = {"euclidean": lambda t: 2 * mpmath.sin(t / 2), "angular": lambda t: t}[distance]

        def kernel(t: mpmath.mpf) -> mpmath.mpf:
            z = length(t)
            return -mpmath.log(z) if power == 0 else z ** -mpmath.mpf(power)

        def value(t: mpmath.mpf) -> mpmath.mpf:
            return kernel(t) + kernel(mpmath.pi - t) if half_space else kernel(t)

        width = min(1, 8 / math.sqrt(dim))
        points = [0, *sorted({mpmath.pi / 2 + width * step for step in (-1, -0.5, 0, 0.5, 1)}), mpmath.pi]
        total, mean, square = (
            mpmath.quad(lambda t, n=n: value(t) ** n * mpmath.sin(t) ** (dim - 2), points) for n in (0, 1, 2)
        )
        return float(square / total - (mean / total) ** 2)


@pytest.mark.parametrize("half_space", [False, True])
@pytest.mark.parametrize("distance", ["euclidean", "angular"])
@pytest.mark.parametrize(("dim", "power"), [(2, 0.0), (3, 0.3), (4, 1.0), (9, 0.0), (9, 2.0), (40, 3.5), (700, 1.0)])
def test_the_variance_of_a_pair_against_quadrature(dim: int, power: float, distance: str, half_space: bool) -> None:
    deviation = energy_deviation(7, dim, power=power, distance=distance, half_space=half_space)
    # 21 pairs; in half space 2 (N - 1) / (N (2N - 1)²) of them
    share = 12 / (7 * 13**2) if half_space else 1 / 21
    assert deviation**2 == pytest.approx(share * quadrature(dim, power, distance, half_space), rel=1e-8)


@pytest.mark.parametrize("half_space", [False, True])
@pytest.mark.parametrize("distance", ["euclidean", "angular"])
def test_random_directions_vary_as_much(distance: str, half_space: bool) -> None:
    options = {"power": 1.0, "distance": distance, "half_space": half_space}
    weight = torch.randn(4000, 8, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    energies = stacked_energy(weight, **options)
    deviation = energy_deviation(8, 12, **options)
    # the error of a measured variance, from the fourth moment of what was measured
    squares = (energies - energies.mean()).square()
    error = squares.std().item() / math.sqrt(len(squares))
    assert squares.mean().item() == pytest.approx(deviation**2, abs=4 * error)
    assert error < 0.1 * deviation**2


def test_deviations_in_closed_form() -> None:
    # power 2: I_4 - I_2² with I_4 = (d - 2) / (4 (d - 5)) and I_2 = (d - 2) / (2 (d - 3)), on one denominator
    for dim in (6, 10, 100, 10**4, 10**6, 10**9):
        variance = (dim - 2) * (dim - 1) / (4 * (dim - 5) * (dim - 3) ** 2)
        assert energy_deviation(2, dim, power=2.0) ** 2 == pytest.approx(variance, rel=1e-11)
    # on the sphere in space ln D² is ln of a uniform number: Var ln D = 1/4
    assert energy_deviation(2, 3) == pytest.approx(0.5, rel=1e-12)


@pytest.mark.parametrize("half_space", [False, True])
@pytest.mark.parametrize("power", [0.0, 0.7, 2.0])
def test_deviations_in_very_high_dimension(power: float, half_space: bool) -> None:
    """c is nearly normal with variance 1/d, so Var f = f'(0)² / d, and Var g = g''(0)² / 2 / d² with g'(0) = 0."""
    dim, s = 10**6, power
    # phi(c) = (2 - 2c)^(-s/2): phi' and phi'' at 0
    slope, bend = (0.5, 1.0) if s == 0 else (2 ** (-s / 2) * s / 2, 2 ** (-s / 2) * s / 2 * (s / 2 + 1))
    pair = 2 * bend**2 / dim**2 * 1.0 if half_space else slope**2 / dim
    share = 2 / (2 * 9) if half_space else 1.0
    assert energy_deviation(2, dim, power=power, half_space=half_space) ** 2 == pytest.approx(share * pair, rel=1e-4)


def test_where_the_deviation_ends() -> None:
    assert energy_deviation(5, 9, power=4.0) == math.inf
    assert math.isfinite(energy_deviation(5, 9, power=3.999))
    assert energy_deviation(5, 3, power=1.0, distance="angular", half_space=True) == math.inf
    # a single line: only the pair of its ends, which never moves
    assert energy_deviation(1, 9, half_space=True) == 0.0
    with pytest.raises(ValueError, match=r"energy_deviation: num_points must be a whole number of 2 or more, got 1"):
        energy_deviation(1, 9)
    with pytest.raises(ValueError, match=r"energy_deviation: dim must be a whole number of 2 or more, got 1"):
        energy_deviation(3, 1)
    with pytest.raises(ValueError, match=r"unknown distance 'cosine': choose angular, euclidean"):
        energy_deviation(3, 3, distance="cosine")


@pytest.mark.parametrize("half_space", [False, True])
def test_a_spread_beside_which_the_mean_is_nothing(half_space: bool) -> None:
    """At s = 4999 the mean of f is below the smallest number, and that of f² is 1: two points all but meet."""
    second = expected_energy(10_000, power=9998.0)
    found = energy_deviation(5, 10_000, power=4999.0, half_space=half_space)
    expected = (2 * 4 / 5 * 2 * second) ** 0.5 / 9 if half_space else (2 * second / 20) ** 0.5
    assert found == pytest.approx(expected, rel=1e-12)
    second = expected_energy(10_000, power=9998.0, distance="angular")
    expected = (2 * 4 / 5 * 2 * second) ** 0.5 / 9 if half_space else (2 * second / 20) ** 0.5
    found = energy_deviation(5, 10_000, power=4999.0, distance="angular", half_space=half_space)
    assert found == pytest.approx(expected, rel=1e-9)
