# SPDX-License-Identifier: MIT
"""Energy of the uniform distribution on the sphere: what Gaussian-initialised neurons have in expectation."""

from __future__ import annotations

import math

import numpy as np
import torch

from hypersphere.checks import check_choice, check_count
from hypersphere.formulas.energies import DISTANCES, Riesz

__all__ = ["expected_energy"]


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


def _angle_energy(dim: int, power: float) -> float:
    """A_s by tanh-sinh quadrature, which takes the integrable singularity at theta = 0 in its stride."""
    gap = dim - 1 - power
    # theta^gap must have fallen to e^-40 at the end of the range, and the peak of sin^(d-2) must not fall between nodes
    reach = math.asinh(2 / math.pi * max(20.0, 20.0 / gap))
    x = np.linspace(-reach, reach, 4097 * max(1, round(dim**0.5 / 16)))
    # theta = pi (1 + tanh u) / 2 with u = pi/2 sinh x, written so that theta near 0 keeps its relative precision
    u = np.pi / 2 * np.sinh(x)
    log_theta = np.log(np.pi) - np.logaddexp(0.0, -2 * u)
    log_rest = np.log(np.pi) - np.logaddexp(0.0, 2 * u)  # pi - theta
    log_sinc = np.where(x < 0, _log_sinc(log_theta), _log_sinc(log_rest) + log_rest - log_theta)
    # ln of sin^(d-2) theta · theta · (pi - theta) cosh x, the last three being d theta / dx up to a factor
    log_density = (dim - 2) * log_sinc + (dim - 1) * log_theta + log_rest + np.log(np.cosh(x))
    weight = np.exp(log_density - log_density.max())
    if power == 0:
        return float((weight * -log_theta).sum() / weight.sum())
    log_integrand = (dim - 2) * log_sinc + gap * log_theta + log_rest + np.log(np.cosh(x))
    return float(np.exp(log_integrand - log_density.max()).sum() / weight.sum())


def _log_sinc(log_angle: np.ndarray) -> np.ndarray:
    """ln (sin(theta) / theta) from ln theta for theta in (0, pi/2], without underflow."""
    logarithm: np.ndarray = np.log(np.sinc(np.exp(log_angle) / np.pi))
    return logarithm
