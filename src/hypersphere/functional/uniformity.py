# SPDX-License-Identifier: MIT
"""Objectives beside energy that spread K directions over the unit sphere; lower always means more evenly spread."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from hypersphere.checks import check_choice, check_count, check_range, lookup
from hypersphere.formulas.directions import lengths, narrow, own_cosine, unit_rows, widen, working_dtype
from hypersphere.formulas.energies import DISTANCES
from hypersphere.formulas.poles import POLE_OBJECTIVES, Covering, Polarization, PoleObjective
from hypersphere.formulas.stacks import check_stack, products

__all__ = [
    "UNIFORMITIES",
    "covering",
    "gram_log_determinant",
    "polarization",
    "resultant",
    "separation",
    "sharpest_poles",
]

# rows whose cosines with all others are held at a time
_ROWS = 2048
REDUCTIONS = ("mean", "sum")


def separation(
    weight: Float[Tensor, "*stack K D"],
    *,
    distance: str = "euclidean",
    squared: bool = False,
    half_space: bool = False,
    eps: float = 0.0,
) -> Float[Tensor, "*stack"]:
    r"""Minus the smallest distance between two of K directions (maximum hyperspherical separation, Tammes' problem).

    .. math::
        L = -\min_{i \ne j} z_{ij}, \qquad z_{ij} = |u_i - u_j| \text{ or the angle between them}

    with u_i = w_i / sqrt(|w_i|² + eps) and z² = 2 - 2 c. In half space the smallest distance between two lines.

    Args:
        weight: K >= 2 neurons as rows, any length; leading axes stack matrices, each of which has its own value.
        distance: "euclidean" (chord) or "angular" (radians).
        squared: take the square of the smallest distance.
        half_space: add the antipode of every neuron.
        eps: added inside the square root of the norms, squared units of `weight`, >= 0; the released code has 1e-4.

    Returns:
        A value in [-2, 0] (Euclidean), [-4, 0] (its square) or [-pi, 0] (angular) for each matrix, float32, or float64
        for float64 weights. The gradient reaches one pair of neurons: the nearest one, as far as cosines in this
        dtype can tell, and the first of several. Energies of a high power are a smooth way to the same end.

    Raises:
        ValueError: if `weight` is not (..., K, D) with K >= 2 and D >= 1, or an option is unknown or out of range.
        TypeError: if `weight` is not a floating-point tensor.

    Edge cases:
        Equal rows (nearer than 8 ulps): 0 with gradient zero. A zero row is orthogonal to every row (eps = 0).
        Distances of near neighbours are exact to rounding, as their differences are taken before they are squared.

    Source:
        liu2021uniformity, maximum hyperspherical separation. The released code sums -z² over all pairs at the smallest
        distance; in half space there are two of them, so that its hidden term is twice `squared=True`.

    Example:
        >>> separation(torch.eye(3))
        tensor(-1.4142)
        >>> separation(torch.tensor([[1.0, 0.0], [-1.0, 1.0]]), distance="angular", half_space=True)
        tensor(-0.7854)
    """
    who = "separation"
    check_choice(who, "distance", distance, list(DISTANCES))
    unit = _unit(who, weight, eps, smallest=2)
    first, second = _nearest_pair(unit.detach(), half_space)
    a, b = _row(unit, first), _row(unit, second)
    if half_space:
        b = torch.where((a.detach() * b.detach()).sum(dim=-1, keepdim=True) < 0, -b, b)
    # 2 - 2c = |a - b|² + (1 - |a|²) + (1 - |b|²) keeps the digits that 2 - 2c loses
    missing = 2 - own_cosine(a, eps) - own_cosine(b, eps)
    square = (a - b).square().sum(dim=-1) + missing
    if distance == "euclidean":
        return -square if squared else -_root(square)
    theta = 2 * torch.atan2(_root(square), _root((a + b).square().sum(dim=-1) + missing))
    return -theta.square() if squared else -theta


def polarization(
    weight: Float[Tensor, "*stack K D"],
    poles: Float[Tensor, "*stack P D"],
    *,
    power: float = 2.0,
    half_space: bool = False,
    eps: float = 0.0,
) -> Float[Tensor, "*stack"]:
    r"""Minus the mean potential of K directions at the pole where it is least (maximum hyperspherical polarisation).

    .. math::
        L = \max_p \Big( -\frac{1}{K} \sum_i f(|p - u_i|) \Big), \qquad
        f(z) = \begin{cases} z^{-s} & s > 0 \\ -\ln z & s = 0 \end{cases}

    The paper takes the maximum over the whole sphere, here it is over the P poles given. They are found by an
    adversary that raises L: `sharpest_poles`. In half space the mean runs over the 2K points ±u_i.

    Args:
        weight: K neurons as rows, any length; leading axes stack matrices, each of which has its own value.
        poles: P poles as rows, any length, for each matrix; gradients reach them too.
        power: exponent s >= 0, dimensionless; 0 is the logarithm of the distance.
        half_space: add the antipode of every neuron.
        eps: added inside the square root of the neurons' norms, >= 0; the released code has 1e-4.

    Returns:
        A value for each matrix, dimensionless, float32, or float64 for float64 weights.

    Raises:
        ValueError: if the shapes are not (..., K, D) and (..., P, D) with the same D, or an option is out of range.
        TypeError: if `weight` or `poles` is not a floating-point tensor.

    Edge cases:
        A pole on a neuron: the distance is floored as that of the energy is, with gradient zero. A zero row is
        orthogonal to every pole. Powers above 4 are computed in float64. In half space with K < D the worst pole is
        at right angles to all neurons, wherever they are, and pulls at none of them.

    Source:
        liu2021uniformity, maximum hyperspherical polarization; the released code has one pole, power 2 and a mean.

    Example:
        >>> polarization(torch.eye(3), -torch.ones(1, 3))
        tensor(-0.3170)
    """
    return _at_the_poles("polarization", weight, poles, Polarization(power), half_space, eps)


def covering(
    weight: Float[Tensor, "*stack K D"],
    poles: Float[Tensor, "*stack P D"],
    *,
    sharpness: float = 10.0,
    half_space: bool = False,
    eps: float = 0.0,
) -> Float[Tensor, "*stack"]:
    r"""Soft squared distance from the loneliest pole to its nearest direction (maximum hyperspherical coverage).

    .. math::
        L = \max_p \Big( -\frac{1}{\gamma} \ln \frac{1}{K} \sum_i e^{-\gamma |p - u_i|^2} \Big)

    The paper takes the hard minimum over i and the maximum over the whole sphere: the largest hole between the
    directions. Here the maximum is over the P poles given, which an adversary moves: `sharpest_poles`. L exceeds the
    smallest squared distance by ln(K) / gamma at most. In half space the mean runs over the 2K points ±u_i, and 2K
    stands for K.

    Args:
        weight: K neurons as rows, any length; leading axes stack matrices, each of which has its own value.
        poles: P poles as rows, any length, for each matrix; gradients reach them too.
        sharpness: gamma in [1e-4, 1e4], per squared distance.
        half_space: add the antipode of every neuron.
        eps: added inside the square root of the neurons' norms, >= 0; the released code has 1e-4.

    Returns:
        A value in [0, 4] for each matrix, float32, or float64 for float64 weights.

    Raises:
        ValueError: if the shapes are not (..., K, D) and (..., P, D) with the same D, or an option is out of range.
        TypeError: if `weight` or `poles` is not a floating-point tensor.

    Edge cases:
        A zero row is at distance sqrt(2) from every pole. Duplicates, and poles on neurons, are fine. In half space
        with K < D the worst pole is at right angles to all neurons, wherever they are, and pulls at none of them.

    Source:
        liu2021uniformity, maximum hyperspherical coverage, in the soft form of the released code, with its sharpness.

    Example:
        >>> covering(torch.eye(3), torch.ones(1, 3))
        tensor(0.8453)
    """
    return _at_the_poles("covering", weight, poles, Covering(sharpness), half_space, eps)


def resultant(
    weight: Float[Tensor, "*stack K D"], *, normalized: bool = True, reduction: str = "mean", eps: float = 0.0
) -> Float[Tensor, "*stack"]:
    r"""Length of the mean direction: 0 where K directions balance, 1 where they all agree.

    .. math::
        L = \frac{1}{K} \Big| \sum_i u_i \Big|

    It is polarisation (relaxed MHP) with the kernel z²: the least over the sphere of sum |p - u_i|² is
    2K - 2 |sum u_i|. In half space it would always be 0.

    Args:
        weight: K neurons as rows, any length; leading axes stack matrices, each of which has its own value.
        normalized: take the rows at length 1; the released code does not.
        reduction: "mean", as above, or "sum", without the division by K, as the released code.
        eps: added inside the square root of the norms, squared units of `weight`, >= 0.

    Returns:
        A value for each matrix, in [0, 1] for the mean of unit rows, float32, or float64 for float64 weights.

    Raises:
        ValueError: if `weight` is not (..., K, D) with K, D >= 1, or an option is unknown or out of range.
        TypeError: if `weight` is not a floating-point tensor.

    Edge cases:
        Rows that sum to zero: 0 with gradient zero. Zero rows count in K alone.

    Source:
        liu2021uniformity, relaxed MHP (r-MHP).

    Example:
        >>> resultant(torch.eye(4))
        tensor(0.5000)
    """
    who = "resultant"
    check_choice(who, "reduction", reduction, REDUCTIONS)
    rows = _unit(who, weight, eps)
    if not normalized:
        rows = widen(weight, working_dtype(weight.dtype))
    length = lengths(rows.mean(dim=-2))
    return length if reduction == "mean" else length * weight.shape[-2]


def gram_log_determinant(
    weight: Float[Tensor, "*stack K D"],
    *,
    bandwidth: float = 1.0,
    ridge: float = 1e-6,
    half_space: bool = False,
    eps: float = 0.0,
    reduction: str = "mean",
) -> Float[Tensor, "*stack"]:
    r"""Minus the logarithm of the determinant of a Gaussian Gram matrix (maximum Gram determinant).

    .. math::
        L = -\frac{1}{K} \ln \det (G + \rho I), \qquad G_{ij} = e^{-\beta |u_i - u_j|^2}

    The determinant is the squared volume that the directions span in the feature space of the kernel. In half space G
    is that of the 2K points ±u_i, and the mean is over these.

    Args:
        weight: K neurons as rows, any length; leading axes stack matrices, each of which has its own value.
        bandwidth: beta in [1e-3, 1e3], per squared distance.
        ridge: rho in [1e-9, 1], added to the diagonal.
        half_space: add the antipode of every neuron.
        eps: added inside the square root of the norms, squared units of `weight`, >= 0; the released code has 1e-4.
        reduction: "mean" over points, so that wide layers weigh as much as narrow ones, or "sum", as published.

    Returns:
        A value for each matrix, float32, or float64 for float64 weights; as a mean in [-ln(1 + rho), -ln(rho)], that
        is at most 13.8 for the default ridge.

    Raises:
        ValueError: if `weight` is not (..., K, D) with K, D >= 1, or an option is unknown or out of range.
        TypeError: if `weight` is not a floating-point tensor.

    Edge cases:
        Duplicates, and more neurons than the kernel can tell apart: finite by the ridge, with a stiff gradient (up to
        1 / rho). Computed in float64 by a Cholesky decomposition, O(K²) memory and O(K³) time, whose rounding stays
        below the ridge for K up to 1e4; in half space by two of size K, since det [[A, B], [B, A]] is
        det(A + B) det(A - B). A zero row is orthogonal to every row (eps = 0).

    Source:
        liu2021uniformity, maximum Gram determinant; bandwidth and ridge of the released code.

    Example:
        >>> gram_log_determinant(torch.eye(2), reduction="sum")
        tensor(0.0185)
    """
    who = "gram_log_determinant"
    check_choice(who, "reduction", reduction, REDUCTIONS)
    check_range(who, "bandwidth", bandwidth, low=1e-3, high=1e3)
    check_range(who, "ridge", ridge, low=1e-9, high=1.0)
    unit = _unit(who, weight, eps, dtype=torch.float64)
    num_points = unit.shape[-2]
    same = torch.eye(num_points, dtype=torch.bool, device=unit.device)
    own = own_cosine(unit, eps)[..., None]
    cosine = torch.where(same, own, products(unit, unit.mT))
    # a direction is at distance 0 from itself, and so is a zero row; with eps > 0 rows are shorter than 1
    gram = (cosine - 1).mul(2 * bandwidth).exp()
    if eps == 0:
        gram = gram.masked_fill(same, 1.0)
    shift = torch.where(same, ridge, 0.0)
    if half_space:
        mirrored = (-cosine - 1).mul(2 * bandwidth).exp()
        total = _log_determinant(gram + mirrored + shift) + _log_determinant(gram - mirrored + shift)
        num_points *= 2
    else:
        total = _log_determinant(gram + shift)
    return narrow(-total if reduction == "sum" else -total / num_points, working_dtype(weight.dtype))


@torch.no_grad()
def sharpest_poles(
    weight: Float[Tensor, "*stack K D"],
    poles: Float[Tensor, "*stack P D"],
    objective: str | PoleObjective,
    *,
    half_space: bool = False,
    eps: float = 0.0,
    num_steps: int = 10,
    rate: float = 0.05,
    momentum: float = 0.9,
) -> Float[Tensor, "*stack P D"]:
    """Moves poles to where `polarization` or `covering` is larger: the adversary of the neurons.

    Gradient ascent with momentum on the sphere, for each pole on its own. Of the places that a pole visits, the start
    included, the best is returned, so that the objective never falls.

    Args:
        weight: K neurons as rows, any length; leading axes stack matrices. They stay where they are.
        poles: P poles as rows for each matrix, where the search begins; of any length; a zero row begins
            at right angles to every neuron.
        objective: "polarization" or "covering" at their defaults, or `formulas.poles.Polarization(power)`,
            `Covering(sharpness)`.
        half_space: add the antipode of every neuron.
        eps: added inside the square root of the neurons' norms, >= 0.
        num_steps: steps, >= 0; the released code takes 10 for each step of the network.
        rate: radians that a step moves for a gradient of 1 (longer gradients count as 1), >= 0. At a sharpness gamma,
            rates above 0.95 / gamma (at momentum 0.9) can swing about a maximum instead of settling there.
        momentum: in [0, 1).

    Returns:
        Unit rows of the shape and dtype of `poles`, detached; a zero row that found no worse place stays one.

    Raises:
        ValueError: if the shapes are not (..., K, D) and (..., P, D) with the same D, or an option is unknown or out of
            range.
        TypeError: if `weight` or `poles` is not a floating-point tensor.

    Edge cases:
        A pole exactly on a neuron feels nothing of it; one that is drawn at random never is. Poles find a near
        maximum, not the largest one; several see more, but may meet in one gap.

    Source:
        liu2021uniformity; the released code differs: its poles have a length, which divides their steps, weight decay,
        the learning rate of the network, and momentum that lasts from one step of the network to the next.

    Example:
        >>> start = torch.tensor([[0.0, 0.0, 1.0]])
        >>> away = sharpest_poles(torch.eye(3), start + 0.1, "covering", num_steps=50)
        >>> bool(covering(torch.eye(3), away) > covering(torch.eye(3), start + 0.1))
        True
    """
    who = "sharpest_poles"
    check_count(who, "num_steps", num_steps, low=0)
    check_range(who, "rate", rate, low=0.0, high=1e3)
    check_range(who, "momentum", momentum, low=0.0, high=0.9999)
    found = lookup("objective", objective, POLE_OBJECTIVES) if isinstance(objective, str) else objective
    unit, pole = _points_and_poles(who, weight, poles, found, eps)
    best = pole
    best_value = torch.full_like(pole[..., 0], -torch.inf)
    velocity = torch.zeros_like(pole)
    for step in range(num_steps + 1):
        cosine = _cosines(pole, unit, half_space)
        value = found.value(cosine)
        better = value > best_value
        best_value = torch.where(better, value, best_value)
        best = torch.where(better[..., None], pole, best)
        if step == num_steps:
            break
        slope = found.slope(cosine)
        if half_space:
            toward, away = slope.chunk(2, dim=-1)
            slope = toward - away
        direction, factor = unit_rows(_tangent(products(slope, unit), pole))
        # of length min(1, |gradient|): near a neuron the gradient of a power has no bound
        gradient = direction * torch.where(factor > 1, factor.reciprocal(), 1.0)
        velocity = _tangent(momentum * velocity + gradient, pole)
        pole = unit_rows(pole + rate * velocity)[0]
    return best.to(poles.dtype)


UNIFORMITIES: dict[str, Callable[..., Tensor]] = {
    "separation": separation,
    "polarization": polarization,
    "resultant": resultant,
    "covering": covering,
    "gram": gram_log_determinant,
}


# -- parts ------------------------------------------------------------------------------------------------------------


def _unit(who: str, weight: Tensor, eps: float, *, smallest: int = 1, dtype: torch.dtype | None = None) -> Tensor:
    """Checked directions in the dtype to work in."""
    check_stack(who, "weight", weight, smallest=smallest)
    check_range(who, "eps", eps, low=0.0, high=1e30)
    return unit_rows(widen(weight, working_dtype(weight.dtype) if dtype is None else dtype), eps)[0]


def _root(square: Tensor) -> Tensor:
    """The square root, zero with gradient zero where the square is rounding."""
    tiny = square <= (8 * torch.finfo(square.dtype).eps) ** 2
    return square.masked_fill(tiny, 1.0).sqrt().masked_fill(tiny, 0.0)


def _row(unit: Tensor, number: Tensor) -> Tensor:
    """One row of each matrix, (..., D)."""
    return unit.gather(-2, number[..., None, None].expand(*number.shape, 1, unit.shape[-1])).squeeze(-2)


def _nearest_pair(unit: Tensor, half_space: bool) -> tuple[Tensor, Tensor]:
    """Numbers of the two rows of largest cosine (in size, for lines), a block of rows at a time."""
    num_neurons = unit.shape[-2]
    largest = unit.new_full(unit.shape[:-2], -torch.inf)
    first = torch.zeros(unit.shape[:-2], dtype=torch.long, device=unit.device)
    second = first
    for start in range(0, num_neurons, _ROWS):
        cosine = products(unit[..., start : start + _ROWS, :], unit.mT)
        if half_space:
            cosine = cosine.abs()
        cosine.diagonal(start, dim1=-2, dim2=-1).fill_(-torch.inf)
        value, place = cosine.flatten(-2).max(dim=-1)
        larger = value > largest
        largest = torch.where(larger, value, largest)
        first = torch.where(larger, place // num_neurons + start, first)
        second = torch.where(larger, place % num_neurons, second)
    return first, second


def _points_and_poles(
    who: str, weight: Tensor, poles: Tensor, objective: PoleObjective, eps: float
) -> tuple[Tensor, Tensor]:
    """Checked directions of neurons and of poles, in the dtype to work in."""
    dtype = objective.working_dtype(weight.dtype)
    unit = _unit(who, weight, eps, dtype=dtype)
    check_stack(who, "poles", poles, axes="P D")
    if poles.shape[-1] != weight.shape[-1] or poles.shape[:-2] != weight.shape[:-2]:
        raise ValueError(
            f"{who}: expected weight (..., K, D) and poles (..., P, D) alike but for K and P, "
            f"got {tuple(weight.shape)} and {tuple(poles.shape)}."
        )
    return unit, unit_rows(widen(poles, dtype))[0]


def _cosines(pole: Tensor, unit: Tensor, half_space: bool) -> Tensor:
    """Cosines of each pole with the K directions, or with the 2K ends of the lines."""
    cosine = products(pole, unit.mT)
    return torch.cat([cosine, -cosine], dim=-1) if half_space else cosine


def _at_the_poles(
    who: str, weight: Tensor, poles: Tensor, objective: PoleObjective, half_space: bool, eps: float
) -> Tensor:
    """The objective at the pole where it is largest."""
    unit, pole = _points_and_poles(who, weight, poles, objective, eps)
    value = objective.value(_cosines(pole, unit, half_space)).amax(dim=-1)
    return narrow(value, working_dtype(weight.dtype))


def _tangent(vector: Tensor, pole: Tensor) -> Tensor:
    return vector - (vector * pole).sum(dim=-1, keepdim=True) * pole


def _log_determinant(matrix: Tensor) -> Tensor:
    """ln det of a positive definite matrix."""
    factor: Tensor = torch.linalg.cholesky(matrix)
    return factor.diagonal(dim1=-2, dim2=-1).log().sum(dim=-1).mul(2)
