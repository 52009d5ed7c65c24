# SPDX-License-Identifier: MIT
"""Hyperspherical energy: how evenly K directions are spread over the unit sphere."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from hypersphere.checks import check_choice, check_matrix, check_range
from hypersphere.formulas.directions import narrow, own_cosine, unit_rows, widen, working_dtype
from hypersphere.formulas.energies import PairKernel, PairPotential, Riesz, energy_dtype
from hypersphere.formulas.stacks import products
from hypersphere.kernels.energy import blocked_energy, reasons_not

__all__ = ["IMPLEMENTATIONS", "hyperspherical_energy", "stacked_energy"]

IMPLEMENTATIONS = ("auto", "torch", "blocked")
# up to here the K×K matrix is small, and plain torch can be differentiated twice
_LARGEST_PLAIN = 1024


def hyperspherical_energy(
    weight: Float[Tensor, "K D"],
    *,
    power: float = 0.0,
    distance: str = "euclidean",
    half_space: bool = False,
    eps: float = 0.0,
    angle_offset: float = 0.0,
    kernel: PairKernel | None = None,
    reduction: str = "mean",
    impl: str = "auto",
) -> Float[Tensor, ""]:
    r"""Mean pairwise energy of K directions on the unit sphere; lower means more evenly spread.

    .. math::
        E = \frac{1}{K(K-1)} \sum_{i \ne j} f(z_{ij}), \qquad
        f(z) = \begin{cases} z^{-s} & s > 0 \\ -\ln z & s = 0 \end{cases}

    with u_i = w_i / sqrt(|w_i|² + eps), c_ij = u_i · u_j and z_ij = sqrt(2 - 2 c_ij) (`distance="euclidean"`) or
    arccos(c_ij) + pi * angle_offset (`"angular"`). In half space the K virtual neurons -w_i join, the K pairs
    (w_i, -w_i) included, and the mean runs over all pairs of the 2K points: lines are spread instead of directions.

    Args:
        weight: K neurons as rows, any length (normalised here); K >= 2, or K >= 1 in half space.
        power: exponent s >= 0, dimensionless; 0 is the logarithmic energy (of the distance, not of its square). Powers
            above 4 are computed in float64 whatever the dtype, since their values leave the range of float32.
        distance: "euclidean" (chord) or "angular" (radians).
        half_space: add the antipode of every neuron.
        eps: added inside the square root of the norms, squared units of `weight`, >= 0; the released code has 1e-4.
        angle_offset: added to every angle, in units of pi; the released code has 1e-4. Only with `distance="angular"`.
        kernel: any decreasing function of the distance with its derivative (`formulas.energies.EnergyKernel`) in
            place of `power`. "torch" differentiates its value, "blocked" takes its derivative.
        reduction: "mean" over pairs i != j, or "sum" over ordered pairs (twice the sum over i < j of the physicists).
        impl: "torch" (plain, the truth, O(K²) memory, differentiable any number of times,
            in reverse mode), "blocked" (value and
            gradient in one pass, O(K·D + block²) memory, differentiable once by `backward`), or
            "auto": "torch" up to K = 1024 and wherever "blocked" cannot run.

    Returns:
        Scalar, dimensionless, float32, or float64 for float64 weights. Matrix products run in that dtype at least,
        under autocast too; on CUDA they follow `torch.set_float32_matmul_precision`, and TF32 needs distances to be
        larger than the floor says.

    Raises:
        ValueError: if `weight` is not (K, D), has too few neurons, an option is unknown or out of range, or a named
            `impl` cannot run on this input.
        TypeError: if `weight` is not a floating-point tensor.

    Edge cases:
        Equal rows: the distance is floored at 2^-9 (float32) or 2^-23 (float64), with gradient zero at and below the
        floor, so that the energy saturates (`formulas.energies.distance_floor`).
        Zero row: orthogonal to every row; gradient zero with eps = 0. Norms from 1e-20 to 1e+18 are fine in float32.
        eps = 0: the energy does not depend on the norms, and w_i · dE/dw_i = 0.
        Values and gradients beyond the range of their dtype (float16, large powers) stop at its largest number.

    Source:
        liu2018mhe: full space, half space, and the angular energies (A-MHE). Differs from the released code at power
        0, which takes the log of the squared distance (twice this value).

    Example:
        >>> hyperspherical_energy(torch.eye(3), power=2.0)
        tensor(0.5000)
        >>> hyperspherical_energy(torch.eye(3), power=1.0, half_space=True, reduction="sum")
        tensor(19.9706)
    """
    check_matrix("hyperspherical_energy", "weight", weight, "K D")
    check_choice("hyperspherical_energy", "reduction", reduction, ("mean", "sum"))
    mean = stacked_energy(
        weight[None],
        power=power,
        distance=distance,
        half_space=half_space,
        eps=eps,
        angle_offset=angle_offset,
        kernel=kernel,
        impl=impl,
    )[0]
    points = weight.shape[0] * (2 if half_space else 1)
    return mean if reduction == "mean" else mean * (points * (points - 1))


def stacked_energy(
    weight: Float[Tensor, "B K D"],
    *,
    power: float = 0.0,
    distance: str = "euclidean",
    half_space: bool = False,
    eps: float = 0.0,
    angle_offset: float = 0.0,
    kernel: PairKernel | None = None,
    impl: str = "auto",
) -> Float[Tensor, "B"]:
    """`hyperspherical_energy` of B matrices of one shape at once: a few launches for many small layers.

    Args:
        weight: B matrices of K neurons as rows.
        power: see `hyperspherical_energy`, as all that follow.
        distance: "euclidean" or "angular".
        half_space: add the antipode of every neuron.
        eps: added inside the square root of the norms.
        angle_offset: added to every angle, in units of pi.
        kernel: a kernel object in place of `power`.
        impl: "auto", "torch" or "blocked".

    Returns:
        Mean pair energy of each matrix, (B,).

    Raises:
        ValueError: as `hyperspherical_energy`.
    """
    who = "hyperspherical_energy"
    check_matrix(who, "weight", weight, "B K D")
    check_choice(who, "impl", impl, IMPLEMENTATIONS)
    check_range(who, "eps", eps, low=0.0, high=1e30)
    smallest = 1 if half_space else 2
    num_neurons, dim = weight.shape[1:]
    if num_neurons < smallest or dim < 1:
        raise ValueError(
            f"{who}: expected at least {smallest} neuron(s) of dimension 1 or more, got K={num_neurons}, D={dim}."
        )
    if kernel is not None and power != 0.0:
        raise ValueError(f"{who}: give power or kernel, not both; got power={power:g} and a {type(kernel).__name__}.")
    potential = PairPotential(Riesz(power) if kernel is None else kernel, distance, angle_offset)
    if impl == "auto":
        impl = "torch" if num_neurons <= _LARGEST_PLAIN or reasons_not(weight, potential.kernel) else "blocked"
    elif impl == "blocked" and (reasons := reasons_not(weight, potential.kernel)):
        raise ValueError(f"{who}: impl='blocked' cannot run here: {'; '.join(reasons)}. Use impl='auto'.")
    if impl == "blocked" and len(weight):
        return blocked_energy(weight, potential, half_space=half_space, eps=eps)
    return _plain_energy(weight, potential, half_space=half_space, eps=eps)


def _plain_energy(weight: Tensor, potential: PairPotential, *, half_space: bool, eps: float) -> Tensor:
    """Mean pair energy of each (K, D) matrix from its whole K×K matrix of cosines, under autograd."""
    unit, _ = unit_rows(widen(weight, energy_dtype(weight.dtype, potential.power)), eps)
    num_neurons = weight.shape[-2]
    cosine = products(unit, unit.mT)
    same = torch.eye(num_neurons, dtype=torch.bool, device=weight.device)
    # i = j is no pair: its cosine is replaced before the kernel, so that no infinity meets the mask
    others = cosine.masked_fill(same, -1.0)
    count = num_neurons * (num_neurons - 1)
    if half_space:
        # the virtual neuron of row i is -u_i, and the pair (i, -i) belongs to the sum
        mirrored = -torch.where(same, own_cosine(unit, eps)[..., None], cosine)
        value, virtual = potential.value(torch.stack([others, mirrored])).unbind()
        total = value.masked_fill(same, 0.0) + virtual
        count = num_neurons * (2 * num_neurons - 1)
    else:
        total = potential.value(others).masked_fill(same, 0.0)
    return narrow(total.sum(dim=(-2, -1)) / count, working_dtype(weight.dtype))
