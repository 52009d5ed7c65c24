# SPDX-License-Identifier: MIT
"""Energy of the uniform distribution on the sphere: what Gaussian-initialised neurons have in expectation."""

from __future__ import annotations

import math

import numpy as np
import torch

from hypersphere.checks import check_choice, check_range
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
    if dim < 2:
        raise ValueError(f"expected_energy: dim must be at least 2, got {dim}.")
    check_choice("expected_energy", "distance", distance, list(DISTANCES))
    check_range("expected_energy", "power", power, low=0.0)
    if num_points is not None and num_points < (1 if half_space else 2):
        raise ValueError(f"expected_energy: num_points must be at least {1 if half_space else 2}, got {num_points}.")
    if half_space and num_points == 1:
        return antipodal_energy(power, distance)
    if power >= dim - 1:
        return math.inf
    pair = _chord_energy(dim, power) if distance == "euclidean" else _angle_energy(dim, power)
    if half_space and num_points is not None:
        return (2 * (num_points - 1) * pair + antipodal_energy(power, distance)) / (2 * num_points - 1)
    return pair


def antipodal_energy(power: float, distance: str) -> float:
    """f_s of two opposite points: at chord 2, or at angle pi."""
    farthest = 2.0 if distance == "euclidean" else math.pi
    return float(Riesz(power).value(torch.tensor(farthest, dtype=torch.float64)))


def _chord_energy(dim: int, power: float) -> float:
    """I_s in closed form, by log-gamma so that large dimensions do not overflow."""
    if power == 0:
        digamma = torch.digamma(torch.tensor([dim - 1.0, (dim - 1) / 2], dtype=torch.float64))
        return float(-math.log(2) + 0.5 * (digamma[0] - digamma[1]))
    logarithm = (
        (dim - 2 - power) * math.log(2)
        + math.lgamma(dim / 2)
        + math.lgamma((dim - 1 - power) / 2)
        - 0.5 * math.log(math.pi)
        - math.lgamma(dim - 1 - power / 2)
    )
    return math.exp(logarithm)


def _angle_energy(dim: int, power: float) -> float:
    """A_s by tanh-sinh quadrature, which takes the integrable singularity at theta = 0 in its stride."""
    # theta^(d-1-s) must have fallen to e^-40 at the end of the range
    reach = math.asinh(2 / math.pi * max(20.0, 20.0 / (dim - 1 - power)))
    x = np.linspace(-reach, reach, 4097)
    # theta = pi (1 + tanh u) / 2 with u = pi/2 sinh x, written so that theta near 0 keeps its relative precision
    u = np.pi / 2 * np.sinh(x)
    log_theta = np.log(np.pi) - np.logaddexp(0.0, -2 * u)
    log_rest = np.log(np.pi) - np.logaddexp(0.0, 2 * u)  # pi - theta
    log_sine = np.where(x < 0, _log_sine(log_theta), _log_sine(log_rest))
    log_jacobian = log_theta + log_rest + np.log(np.cosh(x))
    log_density = (dim - 2) * log_sine + log_jacobian
    weight = np.exp(log_density - log_density.max())
    if power == 0:
        return float((weight * -log_theta).sum() / weight.sum())
    return float(np.exp(log_density - log_density.max() - power * log_theta).sum() / weight.sum())


def _log_sine(log_angle: np.ndarray) -> np.ndarray:
    """ln sin(theta) from ln theta for theta in (0, pi/2], without underflow."""
    angle = np.exp(log_angle)
    logarithm: np.ndarray = log_angle + np.log(np.sinc(angle / np.pi))
    return logarithm
