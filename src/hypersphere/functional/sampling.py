# SPDX-License-Identifier: MIT
"""Hyperspherical energy of very many neurons, estimated from a few rows or from the classes of a batch."""

from __future__ import annotations

from typing import Literal, overload

import torch
from jaxtyping import Float, Integer
from torch import Tensor

from hypersphere.checks import check_choice, check_count, check_matrix, check_range
from hypersphere.formulas.directions import narrow, own_cosine, unit_rows, widen, working_dtype
from hypersphere.formulas.energies import PairKernel, PairPotential, Riesz, energy_dtype
from hypersphere.formulas.stacks import products
from hypersphere.functional.energy import IMPLEMENTATIONS, hyperspherical_energy
from hypersphere.kernels.rows import reasons_not, row_energies

__all__ = ["RULES", "minibatch_energy", "sampled_energy"]

RULES = ("targets", "unique")
# up to here a block of rows against all of them is small, and plain torch can be differentiated twice
_LARGEST_PLAIN = 2**20


@overload
def sampled_energy(
    weight: Float[Tensor, "K D"],
    *,
    num_rows: int,
    generator: torch.Generator | None = ...,
    power: float = ...,
    distance: str = ...,
    half_space: bool = ...,
    eps: float = ...,
    angle_offset: float = ...,
    kernel: PairKernel | None = ...,
    return_error: Literal[False] = ...,
    impl: str = ...,
) -> Float[Tensor, ""]: ...


@overload
def sampled_energy(
    weight: Float[Tensor, "K D"],
    *,
    num_rows: int,
    generator: torch.Generator | None = ...,
    power: float = ...,
    distance: str = ...,
    half_space: bool = ...,
    eps: float = ...,
    angle_offset: float = ...,
    kernel: PairKernel | None = ...,
    return_error: Literal[True],
    impl: str = ...,
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]: ...


def sampled_energy(
    weight: Float[Tensor, "K D"],
    *,
    num_rows: int,
    generator: torch.Generator | None = None,
    power: float = 0.0,
    distance: str = "euclidean",
    half_space: bool = False,
    eps: float = 0.0,
    angle_offset: float = 0.0,
    kernel: PairKernel | None = None,
    return_error: bool = False,
    impl: str = "auto",
) -> Float[Tensor, ""] | tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    r"""Unbiased estimate of `hyperspherical_energy` from b random rows, each against all others.

    .. math::
        \hat E = \frac{1}{b} \sum_{i \in B} r_i, \qquad r_i = \frac{1}{K-1} \sum_{j \ne i} f(z_{ij}), \qquad
        \operatorname{Var} \hat E = \Big(1 - \frac{b}{K}\Big) \frac{S^2}{b}

    B are b rows drawn without replacement, every set of b equally likely, and S² is the variance of all K row means
    r_i with the divisor K - 1. The energy is the mean of the r_i, so value and gradient are both unbiased; the gradient
    reaches every row, since every row is a partner. In half space r_i is the mean over the 2K - 1 other points.

    Args:
        weight: K neurons as rows, any length; K >= 2, or K >= 1 in half space.
        num_rows: b, in [1, K]; K gives `hyperspherical_energy` itself.
        generator: where the rows are drawn from, on the device of `weight`; the global one by default, and the
            only one under `torch.compile`, which takes no generator.
        power: see `hyperspherical_energy`, as all that follow.
        distance: "euclidean" or "angular".
        half_space: add the antipode of every neuron.
        eps: added inside the square root of the norms.
        angle_offset: added to every angle, in units of pi.
        kernel: a kernel object in place of `power`.
        return_error: also estimate the standard error from the sample: sqrt((1 - b/K) s² / b) with s² the variance of
            the b row means, whose square is unbiased for the variance above. Needs b >= 2.
        impl: "torch" (plain, O(b·K + K·D) memory, differentiable any number of times), "blocked" (value and gradient
            in one pass over chunks of `weight`, the gradient and a few blocks in memory, differentiable once), or
            "auto": "torch" for small inputs and wherever "blocked" cannot run.

    Returns:
        Scalar, dimensionless, float32, or float64 for float64 weights; with `return_error` the pair of it and its
        standard error, a constant to autograd. Costs b·K·D multiply-adds, three times that with the gradient.

    Raises:
        ValueError: if `weight` is not (K, D), has too few neurons, `num_rows` is out of range, an option is unknown or
            out of range, or a named `impl` cannot run on this input.
        TypeError: if `weight` is not a floating-point tensor.

    Edge cases:
        As `hyperspherical_energy`. All rows drawn: the error is 0. Where few pairs carry most of the energy (near
        duplicates, large powers), S is large, and an error estimated from rows that missed those pairs is too small.

    Source:
        liu2018mhe, whose mini-batch approximation this is with rows drawn at random instead of by label.

    Example:
        >>> sampled_energy(torch.eye(4), num_rows=2, power=2.0)  # every row sees the same, so any two tell all
        tensor(0.5000)
        >>> sampled_energy(torch.eye(4), num_rows=2, power=2.0, return_error=True)
        (tensor(0.5000), tensor(0.))
    """
    who = "sampled_energy"
    check_matrix(who, "weight", weight, "K D")
    check_count(who, "num_rows", num_rows, low=1)
    num_neurons = weight.shape[0]
    if num_rows > num_neurons:
        raise ValueError(f"{who}: num_rows must be at most K, the {num_neurons} rows of weight, got {num_rows}.")
    if return_error and num_rows == 1 and num_neurons > 1:
        raise ValueError(f"{who}: one row says nothing of the error. Use num_rows=2 or more, or return_error=False.")
    potential = _potential(who, weight, power, distance, half_space, eps, angle_offset, kernel, impl)
    if num_rows == num_neurons:
        energy = hyperspherical_energy(
            weight,
            power=power,
            distance=distance,
            half_space=half_space,
            eps=eps,
            angle_offset=angle_offset,
            kernel=kernel,
            impl=impl,
        )
        return (energy, torch.zeros_like(energy)) if return_error else energy
    rows = torch.randperm(num_neurons, generator=generator, device=weight.device)[:num_rows]
    share = torch.full((num_rows,), 1 / num_rows, dtype=torch.float64, device=weight.device)
    energy, means = _weighted_rows(who, weight, rows, share, potential, half_space, eps, impl)
    if not return_error:
        return energy
    return energy, (means.var() * ((1 - num_rows / num_neurons) / num_rows)).sqrt()


def minibatch_energy(
    weight: Float[Tensor, "K D"],
    targets: Integer[Tensor, "N"],
    *,
    rule: str = "targets",
    ignore_index: int = -100,
    power: float = 0.0,
    distance: str = "euclidean",
    half_space: bool = False,
    eps: float = 0.0,
    angle_offset: float = 0.0,
    kernel: PairKernel | None = None,
    impl: str = "auto",
) -> Float[Tensor, ""]:
    r"""Energy of class vectors from the classes of one batch, for classifiers of very many classes.

    .. math::
        \hat E_\text{targets} = \frac{1}{N(K-1)} \sum_{n=1}^{N} \sum_{j \ne y_n} f(z_{y_n j}), \qquad
        \hat E_\text{unique} = \frac{1}{U(U-1)} \sum_{i \ne j \in \mathcal U} f(z_{ij})

    with y_n the labels and 𝒰 the U different ones among them. What each is unbiased for:

    - "targets": for sum_k p_k r_k, with r_k the mean energy of class k with all others and p_k the share of class k in
      the data. That is the energy where all classes are equally frequent; where they are not, frequent classes count
      for more, and the expectation is another number than the energy. A label counts as often as it comes.
    - "unique": for the energy, where the set 𝒰, given its size, is a uniformly random one. Balanced labels give that;
      under unbalanced ones pairs of frequent classes count for more. Costs no pass over all classes.

    In half space a row of "targets" meets all 2K - 1 other points; "unique" weighs the mean of f(z(c)) + f(z(-c)) over
    pairs with K - 1 against 1 for the pair (w, -w), as the energy of K lines does, so that both stay unbiased.

    Args:
        weight: K class vectors as rows, any length; K >= 2.
        targets: y_n, integers in [0, K), or `ignore_index`.
        rule: "targets" or "unique".
        ignore_index: label of samples that are left out, as if they were not in the batch.
        power: see `hyperspherical_energy`, as all that follow.
        distance: "euclidean" or "angular".
        half_space: add the antipode of every class vector.
        eps: added inside the square root of the norms.
        angle_offset: added to every angle, in units of pi.
        kernel: a kernel object in place of `power`.
        impl: for "targets" as in `sampled_energy`; "unique" is always plain torch on the N×N pairs of the batch.

    Returns:
        Scalar, dimensionless, float32, or float64 for float64 weights. The shapes do not depend on the labels, so both
        rules compile. N·K·D multiply-adds for "targets", N²·D for "unique", three times that with the gradient.

    Raises:
        ValueError: for wrong shapes, an unknown name, an option out of range, or a label that is no class (seen on CPU
            tensors, while not compiling; elsewhere the device asserts).
        TypeError: if `weight` is not a floating-point tensor or `targets` are not integers.

    Edge cases:
        No sample left: exactly 0 with gradient zero. A batch of one class under "unique": the same.

    Source:
        liu2018mhe: "targets" is its mini-batch approximation for the output layer. "unique" is what OpenSphere's
        SphereFace+ does, which has no value for a batch of one class.

    Example:
        >>> minibatch_energy(torch.eye(4), torch.tensor([0, 0, 3]), power=2.0)
        tensor(0.5000)
        >>> minibatch_energy(torch.eye(4), torch.tensor([2, 2, 2]), rule="unique")
        tensor(0.)
    """
    who = "minibatch_energy"
    check_matrix(who, "weight", weight, "K D")
    check_choice(who, "rule", rule, RULES)
    potential = _potential(who, weight, power, distance, half_space, eps, angle_offset, kernel, impl)
    num_classes = weight.shape[0]
    if num_classes < 2:
        raise ValueError(f"{who}: expected at least 2 class vectors, got K={num_classes}.")
    _check_targets(who, targets, num_classes, ignore_index)
    # a narrow dtype would take ignore_index for a class: -100 is 156 in uint8
    rows = targets.long()
    valid = rows != ignore_index
    # rows that are left out look at class 0 with a share of nothing
    rows = rows.masked_fill(~valid, 0)
    if rule == "unique":
        return _unique_pairs(weight, rows, valid, potential, half_space, eps)
    share = valid.double() / valid.sum().clamp_min(1)
    return _weighted_rows(who, weight, rows, share, potential, half_space, eps, impl)[0]


def _potential(
    who: str,
    weight: Tensor,
    power: float,
    distance: str,
    half_space: bool,
    eps: float,
    angle_offset: float,
    kernel: PairKernel | None,
    impl: str,
) -> PairPotential:
    """The pair potential of the options, all of them checked."""
    check_choice(who, "impl", impl, IMPLEMENTATIONS)
    check_range(who, "eps", eps, low=0.0, high=1e30)
    num_neurons, dim = weight.shape
    smallest = 1 if half_space else 2
    if num_neurons < smallest or dim < 1:
        raise ValueError(
            f"{who}: expected at least {smallest} neuron(s) of dimension 1 or more, got K={num_neurons}, D={dim}."
        )
    if kernel is not None and power != 0.0:
        raise ValueError(f"{who}: give power or kernel, not both; got power={power:g} and a {type(kernel).__name__}.")
    return PairPotential(Riesz(power) if kernel is None else kernel, distance, angle_offset)


def _check_targets(who: str, targets: Tensor, num_classes: int, ignore_index: int) -> None:
    """Raise unless `targets` is (N,), of integers, and on a CPU outside a compiler each of them a class."""
    if targets.is_floating_point() or targets.is_complex() or targets.dtype == torch.bool:
        raise TypeError(f"{who}: expected targets of an integer dtype, got {targets.dtype}.")
    if targets.ndim != 1:
        raise ValueError(f"{who}: expected targets (N,), got shape {tuple(targets.shape)}.")
    if targets.device.type == "cpu" and not torch.compiler.is_compiling():
        targets = targets.long()
        wrong = (((targets < 0) | (targets >= num_classes)) & (targets != ignore_index)).nonzero()
        if len(wrong):
            position = int(wrong[0, 0])
            raise ValueError(
                f"{who}: targets must lie in [0, {num_classes - 1}], as there are {num_classes} classes, or be "
                f"ignore_index={ignore_index}; got {int(targets[position])} at position {position}."
            )


def _weighted_rows(
    who: str,
    weight: Tensor,
    rows: Tensor,
    share: Tensor,
    potential: PairPotential,
    half_space: bool,
    eps: float,
    impl: str,
) -> tuple[Tensor, Tensor]:
    """sum_i q_i r_i of chosen rows against all others, and the r_i (b,) as constants."""
    if impl == "auto":
        small = weight.shape[0] * max(rows.shape[0], weight.shape[1]) <= _LARGEST_PLAIN
        impl = "torch" if small or reasons_not(weight, potential.kernel) else "blocked"
    elif impl == "blocked" and (reasons := reasons_not(weight, potential.kernel)):
        raise ValueError(f"{who}: impl='blocked' cannot run here: {'; '.join(reasons)}. Use impl='auto'.")
    if impl == "blocked":
        return row_energies(weight, rows, share, potential, half_space=half_space, eps=eps)
    unit, _ = unit_rows(widen(weight, energy_dtype(weight.dtype, potential.power)), eps)
    left = unit.index_select(0, rows)
    same = rows[:, None] == torch.arange(unit.shape[0], device=unit.device)
    value, mirrored = _pair_values(left, unit, same, potential, half_space, eps)
    means = (value if mirrored is None else value + mirrored).sum(dim=1)
    means = means / (2 * unit.shape[0] - 1 if half_space else unit.shape[0] - 1)
    dtype = working_dtype(weight.dtype)
    return narrow((share.to(means.dtype) * means).sum(), dtype), narrow(means.detach(), dtype)


def _unique_pairs(
    weight: Tensor, rows: Tensor, valid: Tensor, potential: PairPotential, half_space: bool, eps: float
) -> Tensor:
    """Mean pair energy of the different classes among `rows`, with shapes that do not depend on how many there are."""
    left, _ = unit_rows(widen(weight.index_select(0, rows), energy_dtype(weight.dtype, potential.power)), eps)
    place = torch.arange(rows.shape[0], device=rows.device)
    # a sample stands for its class where no earlier one does
    earlier = (rows[:, None] == rows) & valid & (place < place[:, None])
    first = valid & ~earlier.any(dim=1)
    count = first.sum().to(left.dtype)
    same = place[:, None] == place
    value, mirrored = _pair_values(left, left, same, potential, half_space, eps)
    pairs = (first[:, None] & first).logical_and(~same)
    # 0 where there are fewer than two classes: no pair is left, and neither is a gradient
    total = (value if mirrored is None else value + mirrored).masked_fill(~pairs, 0.0).sum()
    energy = total / (count * (count - 1)).clamp_min(1)
    if mirrored is not None:
        opposite = mirrored.diagonal().masked_fill(~(first & (count > 1)), 0.0).sum() / count.clamp_min(1)
        energy = ((weight.shape[0] - 1) * energy + opposite) / (2 * weight.shape[0] - 1)
    return narrow(energy, working_dtype(weight.dtype))


def _pair_values(
    left: Tensor, right: Tensor, same: Tensor, potential: PairPotential, half_space: bool, eps: float
) -> tuple[Tensor, Tensor | None]:
    """phi(c) of every pair, 0 where `same` says that both are one neuron, and phi(-c), the pair (w, -w) included."""
    cosine = products(left, right.mT)
    # a neuron is no partner of itself: its cosine is replaced before the kernel, so that no infinity meets the mask
    value = potential.value(cosine.masked_fill(same, -1.0)).masked_fill(same, 0.0)
    if not half_space:
        return value, None
    return value, potential.value(-torch.where(same, own_cosine(left, eps)[:, None], cosine))
