# SPDX-License-Identifier: MIT
"""Energy of the uniform distribution on the sphere: what Gaussian-initialised neurons have, and how much it varies."""

from __future__ import annotations

import math

import numpy as np
import torch

from hypersphere.checks import check_choice, check_count
from hypersphere.formulas.energies import DISTANCES, Riesz

__all__ = ["energy_deviation", "expected_energy"]


def expected_energy(
    dim: int,
    *,
    power: float = 0.0,
    distance: str = "euclidean",
    half_space: bool = False,
    num_points: int | None = None,
) -> float:
    r"""Expected mean pair energy of independent uniform directions in `dim` dimensions.

    .. math::
        I_s = \frac{2^{d-2-s}\, \Gamma(d/2)\, \Gamma((d-1-s)/2)}{\sqrt\pi\, \Gamma(d-1-s/2)}, \qquad
        I_0 = -\ln 2 + \tfrac12 [\psi(d-1) - \psi((d-1)/2)]

    for the chord; for the angle the integral of f_s(theta) against sin^{d-2}(theta) on [0, pi].

    Args:
        dim: dimension d >= 2 of the space (the sphere is S^{d-1}).
        power: exponent s >= 0.
        distance: "euclidean" or "angular".
        half_space: count the 2N points [u, -u]; their N antipodal pairs are not random and need `num_points`.
        num_points: number N of directions, used in half space only; None is the limit of many.

    Returns:
        Expected mean over pairs; `math.inf` where the integral diverges, s >= d - 1.

    Raises:
        ValueError: if dim < 2, num_points is too small, power < 0 or distance is unknown.

    Source:
        brauchart2015distributing, uniform measure on the sphere; half space by linearity from
        [2 (N-1) I_s + f(antipode)] / (2N - 1).

    Example:
        >>> round(expected_energy(4, power=2.0), 12)
        1.0
        >>> round(expected_energy(64, power=2.0, half_space=True, num_points=64), 6)
        0.506164
    """
    check_count("expected_energy", "dim", dim, low=2)
    check_choice("expected_energy", "distance", distance, list(DISTANCES))
    kernel = Riesz(power)
    if num_points is not None:
        check_count("expected_energy", "num_points", num_points, low=1 if half_space else 2)
    if half_space and num_points == 1:
        return _antipodal_energy(kernel, distance)
    if power >= dim - 1:
        return math.inf
    pair = _chord_energy(dim, power) if distance == "euclidean" else _angle_energy(dim, power)
    if half_space and num_points is not None:
        return (2 * (num_points - 1) * pair + _antipodal_energy(kernel, distance)) / (2 * num_points - 1)
    return pair


def energy_deviation(
    num_points: int, dim: int, *, power: float = 0.0, distance: str = "euclidean", half_space: bool = False
) -> float:
    r"""Standard deviation of the mean pair energy of N independent uniform directions in d dimensions.

    Two pairs of independent uniform points are independent of each other even where they share a point, so the
    variance of the mean is that of one pair divided by the number of pairs, exactly:

    .. math::
        \sigma^2 = \frac{2}{N (N-1)} \operatorname{Var} f(z), \qquad
        \operatorname{Var} f = I_{2s} - I_s^2 \quad (s > 0), \qquad
        \tfrac14 [\psi'(\tfrac{d-1}{2}) - \psi'(d-1)] \quad (s = 0)

    for the chord; for the angle both moments are integrals against sin^{d-2}(theta) on [0, pi]. In half space a pair of
    lines adds g = f(z) + f(z') with z' to the opposite point, and the variance is 2 (N-1) Var g / (N (2N-1)²).

    Args:
        num_points: number N of directions, at least 2 (1 in half space, whose only pair is not random).
        dim: dimension d >= 2 of the space.
        power: exponent s >= 0.
        distance: "euclidean" or "angular".
        half_space: whether the energy is that of the 2N points [u, -u].

    Returns:
        Standard deviation, in units of the energy; `math.inf` where the variance is infinite, 2 s >= d - 1.

    Raises:
        ValueError: if a number is too small, power < 0 or distance is unknown.

    Source:
        brauchart2015distributing, uniform measure on the sphere; half space from the Beta integral of f(z) f(z').

    Example:
        >>> round(energy_deviation(64, 27), 6), energy_deviation(64, 3, power=1.0)
        (0.002248, inf)
    """
    who = "energy_deviation"
    check_count(who, "num_points", num_points, low=1 if half_space else 2)
    check_count(who, "dim", dim, low=2)
    check_choice(who, "distance", distance, list(DISTANCES))
    Riesz(power)
    if num_points == 1:
        return 0.0
    if 2 * power >= dim - 1:
        return math.inf
    variance = (_chord_variance if distance == "euclidean" else _angle_variance)(dim, power, half_space)
    if half_space:
        return math.sqrt(2 * (num_points - 1) / num_points * variance) / (2 * num_points - 1)
    return math.sqrt(2 * variance / (num_points * (num_points - 1)))


def _antipodal_energy(kernel: Riesz, distance: str) -> float:
    """f_s of two opposite points: at chord 2, or at angle pi."""
    farthest = 2.0 if distance == "euclidean" else math.pi
    return float(kernel.value(torch.tensor(farthest, dtype=torch.float64)))


def _chord_energy(dim: int, power: float) -> float:
    """I_s in closed form, by log-gamma so that large dimensions do not overflow."""
    if power == 0:
        digamma = torch.digamma(torch.tensor([dim - 1.0, (dim - 1) / 2], dtype=torch.float64))
        return float(-math.log(2) + 0.5 * (digamma[0] - digamma[1]))
    # I_s = 2^-s [Gamma(2a) / Gamma(2a - s/2)] / [Gamma(a) / Gamma(a - s/2)], a = (d-1)/2: the mean of (4B)^(-s/2)
    # for B ~ Beta(a, a)
    half = (dim - 1) / 2
    ratio = _log_gamma_ratio(2 * half, power / 2) - _log_gamma_ratio(half, power / 2)
    return math.exp(ratio - power * math.log(2))


def _log_gamma_ratio(x: float, h: float) -> float:
    """ln Gamma(x) - ln Gamma(x - h), without the cancellation of two large logarithms."""
    low = x - h
    if low < 100:
        return math.lgamma(x) - math.lgamma(low)

    def correction(z: float) -> float:
        return 1 / (12 * z) - 1 / (360 * z**3) + 1 / (1260 * z**5)

    # Stirling's series, the large terms subtracted by hand
    return h * math.log(low) - h - (x - 0.5) * math.log1p(-h / x) + correction(x) - correction(low)


def _chord_variance(dim: int, power: float, half_space: bool) -> float:
    """Var f of one pair of directions, or Var (f(z) + f(z')) of one pair of lines."""
    # D² = 4B and D'² = 4 (1 - B) with B ~ Beta(a, a)
    half = (dim - 1) / 2
    if power == 0:
        near, far = _zeta(2, half), _zeta(2, 2 * half)
        return (near - 2 * far) / 2 if half_space else (near - far) / 4
    near, far = (_log_gamma_bend(x, power / 2) for x in (half, 2 * half))
    if near - far > 100:
        # the square of the mean is nothing beside the mean of the square, and may be too small for a number
        return _chord_energy(dim, 2 * power) * (2 if half_space else 1)
    square = _chord_energy(dim, power) ** 2
    # E f² = I_s² e^(near - far) and E f f' = I_s² e^(-far)
    if not half_space:
        return square * math.expm1(near - far)
    # 2 (e^(near - far) + e^(-far) - 2), the terms of first order cancelled by hand
    return 2 * square * (math.exp(far) * math.expm1(near - 2 * far) + 4 * math.sinh(far / 2) ** 2)


def _log_gamma_bend(x: float, h: float) -> float:
    """ln Gamma(x) - 2 ln Gamma(x - h) + ln Gamma(x - 2h), which is small beside its terms where h is small beside x."""
    middle = x - h
    if 8 * h > middle:
        return math.lgamma(x) - 2 * math.lgamma(middle) + math.lgamma(x - 2 * h)
    # Taylor's series about the middle; terms fall by (h / middle)² < 1/64
    return math.fsum(_zeta(2 * k, middle) * h ** (2 * k) / k for k in range(1, 10))


def _zeta(n: int, x: float) -> float:
    """Hurwitz's zeta: the derivative of order n of ln Gamma is (n - 1)! zeta(n, x) for even n, the trigamma for 2.

    torch's own trigamma is right to ten digits only.
    """
    return float(torch.special.zeta(torch.tensor(float(n), dtype=torch.float64), torch.tensor(x, dtype=torch.float64)))


def _angle_energy(dim: int, power: float) -> float:
    """A_s, the mean of f over the angle of a random pair."""
    gap = dim - 1 - power
    log_theta, _, log_density = _angle_nodes(dim, gap)
    scale = log_density.max()
    weight = np.exp(log_density - scale)
    if power == 0:
        return float((weight * -log_theta).sum() / weight.sum())
    return float(np.exp(log_density - power * log_theta - scale).sum() / weight.sum())


def _angle_variance(dim: int, power: float, half_space: bool) -> float:
    """Var f(theta), or Var (f(theta) + f(pi - theta)), as the mean of a square, which nothing is subtracted from."""
    mean = _angle_energy(dim, power)
    log_theta, log_rest, log_density = _angle_nodes(dim, dim - 1 - 2 * power)
    weight = np.exp(log_density - log_density.max())
    if power == 0:
        value = -log_theta - mean - (log_rest + mean if half_space else 0.0)
        return float((weight * value**2).sum() / weight.sum())
    # f meets the root of its weight in logarithms, at the singularity and where it is too small for a number
    root = (log_density - log_density.max()) / 2
    part = np.exp(root - power * log_theta) - (2 if half_space else 1) * mean * np.exp(root)
    if half_space:
        part += np.exp(root - power * log_rest)
    return float((part**2).sum() / weight.sum())


def _angle_nodes(dim: int, gap: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Nodes of the tanh-sinh rule on [0, pi], which takes an integrable singularity at its ends in its stride.

    Returns ln theta, ln (pi - theta) and, up to a constant, the logarithm of sin^(d-2) theta times the rule's weight.
    """
    # theta^gap must have fallen to e^-40 at the end of the range, and the peak of sin^(d-2) must not fall between nodes
    reach = math.asinh(2 / math.pi * max(20.0, 20.0 / gap))
    x = np.linspace(-reach, reach, 4097 * max(1, round(dim**0.5 / 16)))
    # theta = pi (1 + tanh u) / 2 with u = pi/2 sinh x, written so that theta near 0 keeps its relative precision
    u = np.pi / 2 * np.sinh(x)
    log_theta = np.log(np.pi) - np.logaddexp(0.0, -2 * u)
    log_rest = np.log(np.pi) - np.logaddexp(0.0, 2 * u)  # pi - theta
    log_sinc = np.where(x < 0, _log_sinc(log_theta), _log_sinc(log_rest) + log_rest - log_theta)
    # theta · (pi - theta) cosh x is d theta / dx up to a factor
    return log_theta, log_rest, (dim - 2) * log_sinc + (dim - 1) * log_theta + log_rest + np.log(np.cosh(x))


def _log_sinc(log_angle: np.ndarray) -> np.ndarray:
    """ln (sin(theta) / theta) from ln theta for theta in (0, pi/2], without underflow."""
    logarithm: np.ndarray = np.log(np.sinc(np.exp(log_angle) / np.pi))
    return logarithm
