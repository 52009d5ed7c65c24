# SPDX-License-Identifier: MIT
"""Energy of neurons after a projection to fewer dimensions (CoMHE), and the projections that learn."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hypersphere.checks import check_choice, check_count, check_floating, check_range
from hypersphere.formulas.arccos import angle_from_cosine
from hypersphere.formulas.directions import unit_rows, widen, working_dtype
from hypersphere.formulas.stacks import check_stack, products
from hypersphere.functional.energy import stacked_energy

__all__ = [
    "OBJECTIVES",
    "adversarial_projection",
    "angle_preserving_projection",
    "grouped_energy",
    "projected_energy",
    "projection_distortion",
]

OBJECTIVES = ("cosine", "angle")
"""What an angle-preserving projection keeps: cosines, as the released code, or angles, as the paper."""


def projected_energy(
    weight: Float[Tensor, "*groups K D"],
    projection: Float[Tensor, "*projections P D"],
    *,
    power: float = 2.0,
    distance: str = "euclidean",
    half_space: bool = False,
    eps: float = 0.0,
    impl: str = "auto",
) -> Float[Tensor, ""]:
    r"""Mean pair energy of projected neurons P w_i, averaged over projections: CoMHE.

    .. math::
        E = \frac1C \sum_{c=1}^{C} E_s(P_c w_1, \dots, P_c w_K), \qquad P_c \in \mathbb{R}^{P \times D}

    Neurons of high dimension are nearly orthogonal whatever they do, and their energy is flat; in few dimensions it is
    not. Random projections (`torch.randn(C, P, D)`) keep angles on average. For orthogonal neurons and Gaussian P the
    mean over P is `expected_energy(P)` exactly.

    Args:
        weight: K neurons as rows, any length; leading axes are groups whose energies are averaged.
        projection: one matrix (P, D) or several; no gradient is needed. In bfloat16 the product runs in bfloat16 and
            all that follows in float32.
        power: exponent s >= 0 of the kernel; published 2.
        distance: "euclidean" or "angular".
        half_space: add the antipode of every neuron; published True.
        eps: added inside the square root of the norms of the projected neurons; published 1e-4.
        impl: see `hyperspherical_energy`.

    Returns:
        Scalar, float32 or wider.

    Raises:
        ValueError: if the widths differ, or as `hyperspherical_energy`.

    Source:
        lin2020comhe, sec. 3.2.

    Example:
        >>> projection = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
        >>> weight = torch.tensor([[1.0, 0.0, 5.0], [0.0, 1.0, -3.0]])
        >>> projected_energy(weight, projection, power=2.0)
        tensor(0.5000)
    """
    _check_widths("projected_energy", weight, projection)
    projected = _project(weight, projection)
    return stacked_energy(projected, power=power, distance=distance, half_space=half_space, eps=eps, impl=impl).mean()


def grouped_energy(
    weight: Float[Tensor, "*groups K D"],
    coordinates: Int[Tensor, "C P"],
    *,
    power: float = 2.0,
    distance: str = "euclidean",
    half_space: bool = False,
    eps: float = 0.0,
    impl: str = "auto",
) -> Float[Tensor, ""]:
    r"""Mean pair energy within groups of coordinates: group CoMHE, the projections being selections.

    Args:
        weight: K neurons as rows, any length; leading axes are groups of neurons whose energies are averaged.
        coordinates: C groups of P coordinates, numbers in [0, D).
        power: exponent s >= 0 of the kernel.
        distance: "euclidean" or "angular".
        half_space: add the antipode of every neuron.
        eps: added inside the square root of the norms.
        impl: see `hyperspherical_energy`.

    Returns:
        Scalar, float32 or wider: the mean over groups.

    Raises:
        ValueError: if there is no group, or as `hyperspherical_energy`.
        IndexError: for a coordinate out of range.

    Source:
        lin2020comhe, group CoMHE.

    Example:
        >>> weight = torch.tensor([[1.0, 0.0, 0.0, 2.0], [0.0, 1.0, 3.0, 0.0]])
        >>> grouped_energy(weight, torch.tensor([[0, 1], [2, 3]]), power=2.0)
        tensor(0.5000)
    """
    check_stack("grouped_energy", "weight", weight)
    if coordinates.ndim != 2 or not coordinates.numel():
        raise ValueError(
            "grouped_energy: expected coordinates (C, P) with C, P >= 1, got "
            f"{tuple(coordinates.shape)}. One group is coordinates[None]."
        )
    chosen = weight[..., coordinates.to(weight.device)].movedim(-3, -2)
    return stacked_energy(
        chosen.flatten(0, -3), power=power, distance=distance, half_space=half_space, eps=eps, impl=impl
    ).mean()


def projection_distortion(
    weight: Float[Tensor, "*groups K D"],
    projection: Float[Tensor, "P D"],
    *,
    objective: str = "cosine",
    reduction: str = "mean",
) -> Float[Tensor, ""]:
    r"""How much a projection changes the angles between neurons.

    .. math::
        \sqrt{\operatorname{mean}_{i \ne j}\, (x_{ij} - x^P_{ij})^2}, \qquad x = \cos\theta \text{ or } \theta

    Args:
        weight: K >= 2 neurons as rows, any length.
        projection: (P, D).
        objective: "cosine" (as the released code) or "angle" (radians, as the paper).
        reduction: "mean" as above, or "norm": the root of the sum over i != j, which the released code descends.

    Returns:
        Scalar >= 0, in cosines or radians; its gradient is zero where the distortion is.

    Raises:
        ValueError: if the widths differ or a name is unknown.

    Source:
        lin2020comhe, sec. 3.3; the released code takes cosines, and the norm without its square.

    Example:
        >>> projection_distortion(torch.eye(2), torch.eye(2))
        tensor(0.)
    """
    who = "projection_distortion"
    _check_widths(who, weight, projection)
    check_choice(who, "objective", objective, OBJECTIVES)
    check_choice(who, "reduction", reduction, ("mean", "norm"))
    if weight.shape[-2] < 2:
        raise ValueError(f"{who}: expected at least 2 neurons, got {weight.shape[-2]}.")
    dtype = working_dtype(weight.dtype)
    original, _ = unit_rows(widen(weight, dtype).flatten(0, -3) if weight.ndim > 2 else widen(weight, dtype)[None])
    shadow, _ = unit_rows(products(original, widen(projection, dtype).T))
    before, after = products(original, original.mT), products(shadow, shadow.mT)
    # i = j is no pair: both cosines become the same constant, and no angle function meets a 1
    same = torch.eye(weight.shape[-2], dtype=torch.bool, device=weight.device)
    before, after = before.masked_fill(same, 0.0), after.masked_fill(same, 0.0)
    if objective == "angle":
        before, after = angle_from_cosine(before), angle_from_cosine(after)
    total = (before - after).square().sum()
    pairs = before.shape[0] * before.shape[-1] * (before.shape[-1] - 1)
    zero = total == 0
    root = total.masked_fill(zero, 1.0).sqrt().masked_fill(zero, 0.0)
    return root if reduction == "norm" else root / math.sqrt(pairs)


def angle_preserving_projection(
    weight: Float[Tensor, "*groups K D"],
    projection: Float[Tensor, "P D"],
    *,
    num_steps: int = 1,
    rate: float = 0.1,
    normalized: bool = False,
    objective: str = "cosine",
    unrolled: bool = False,
) -> Float[Tensor, "P D"]:
    r"""A projection after some steps of gradient descent on `projection_distortion` (reduction "norm").

    Args:
        weight: K >= 2 neurons as rows.
        projection: where to start; not changed.
        num_steps: steps, >= 0; published 1 for each training step.
        rate: length of a step in units of the gradient, > 0; published: the learning rate of the network.
        normalized: whether a step has the length rate · |P| instead, whatever the gradient's.
        objective: "cosine" or "angle".
        unrolled: whether the result is differentiable with respect to `weight`, through every step (second order).

    Returns:
        (P, D), dtype of `projection`; detached unless `unrolled`.

    Raises:
        ValueError: for a number out of range or an unknown objective.

    Source:
        lin2020comhe, sec. 3.3.

    Example:
        >>> weight, start = torch.eye(6), torch.randn(3, 6, generator=torch.Generator().manual_seed(0))
        >>> learned = angle_preserving_projection(weight, start, num_steps=50)
        >>> bool(projection_distortion(weight, learned) < projection_distortion(weight, start))
        True
    """
    who = "angle_preserving_projection"
    check_choice(who, "objective", objective, OBJECTIVES)
    distortion = functools.partial(projection_distortion, objective=objective, reduction="norm")
    return _follow(who, distortion, weight, projection, num_steps, rate, -1, normalized, unrolled)


def adversarial_projection(
    weight: Float[Tensor, "*groups K D"],
    projection: Float[Tensor, "P D"],
    *,
    num_steps: int = 10,
    rate: float = 0.1,
    normalized: bool = False,
    power: float = 2.0,
    distance: str = "euclidean",
    half_space: bool = False,
    eps: float = 0.0,
    unrolled: bool = False,
) -> Float[Tensor, "P D"]:
    r"""A projection after some steps of gradient ascent on `projected_energy`: the one that neurons look worst in.

    Args:
        weight: K neurons as rows.
        projection: where to start; not changed.
        num_steps: steps, >= 0; published 10 for each training step.
        rate: length of a step in units of the gradient, > 0; published: the learning rate of the network. The gradient
            of a mean energy is small, about 1e-3 of |P|^-1: with this rate alone the projection hardly moves.
        normalized: whether a step has the length rate · |P| instead, whatever the gradient's.
        power: exponent s >= 0 of the energy that rises.
        distance: "euclidean" or "angular".
        half_space: of the energy that rises; the released code climbs full space and minimises half space.
        eps: added inside the square root of the norms.
        unrolled: whether the result is differentiable with respect to `weight`, through every step (second order).

    Returns:
        (P, D), dtype of `projection`; detached unless `unrolled`.

    Raises:
        ValueError: for a number out of range.

    Source:
        lin2020comhe, sec. 3.4.

    Example:
        >>> weight, start = torch.eye(6), torch.randn(3, 6, generator=torch.Generator().manual_seed(0))
        >>> worse = adversarial_projection(weight, start, rate=0.01, normalized=True)
        >>> bool(projected_energy(weight, worse) > projected_energy(weight, start))
        True
    """
    energy = functools.partial(
        projected_energy, power=power, distance=distance, half_space=half_space, eps=eps, impl="torch"
    )
    return _follow("adversarial_projection", energy, weight, projection, num_steps, rate, 1, normalized, unrolled)


def _follow(
    who: str,
    objective: Callable[[Tensor, Tensor], Tensor],
    weight: Tensor,
    projection: Tensor,
    num_steps: int,
    rate: float,
    sign: int,
    normalized: bool,
    unrolled: bool,
) -> Tensor:
    """`projection` after steps up (sign 1) or down (sign -1) the gradient of `objective(weight, projection)`."""
    _check_widths(who, weight, projection)
    check_count(who, "num_steps", num_steps, low=0)
    check_range(who, "rate", rate, low=0.0, high=1e6)
    if not unrolled:
        weight, projection = weight.detach(), projection.detach()
    slope = torch.func.grad(objective, argnums=1)
    with torch.set_grad_enabled(unrolled and torch.is_grad_enabled()):
        for _ in range(num_steps):
            gradient = slope(weight, projection)
            if normalized:
                square = gradient.square().sum()
                # at a critical point there is no direction to go
                length = square.masked_fill(square == 0, torch.inf).sqrt()
                gradient = gradient * (projection.norm() / length)
            projection = projection + sign * rate * gradient
    return projection


def _project(weight: Tensor, projection: Tensor) -> Tensor:
    """P w of all groups and projections, (G·C, K, P) in float32 or wider, by one product."""
    num_neurons, dim = weight.shape[-2:]
    matrix = projection.reshape(-1, dim)
    rows = widen(weight, working_dtype(weight.dtype)).reshape(-1, dim)
    product = torch.bfloat16 if matrix.dtype == torch.bfloat16 else rows.dtype
    projected = products(rows.to(product), matrix.to(product).T).to(rows.dtype)
    # (G·K, C·P) -> (G, C, K, P)
    size = projection.shape[-2]
    return projected.view(-1, num_neurons, matrix.shape[0] // size, size).transpose(1, 2).flatten(0, 1)


def _check_widths(who: str, weight: Tensor, projection: Tensor) -> None:
    check_floating(who, "weight", weight)
    check_floating(who, "projection", projection)
    fits = weight.ndim >= 2 and projection.ndim >= 2 and weight.shape[-1] == projection.shape[-1]
    if not fits or not weight.numel() or not projection.numel():
        raise ValueError(
            f"{who}: expected weight (..., K, D) and projection (..., P, D) with the same D and none empty, got "
            f"{tuple(weight.shape)} and {tuple(projection.shape)}."
        )
