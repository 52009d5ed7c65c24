# SPDX-License-Identifier: MIT
"""What a decoupled convolution sees of its input: the lengths of all patches, and their cosines with all kernels."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from hypersphere.checks import check_count, check_floating, check_range
from hypersphere.formulas.angles import Cosine
from hypersphere.formulas.directions import widen, working_dtype
from hypersphere.formulas.magnitudes import Sphere
from hypersphere.formulas.patches import Size, sizes_of, window_of
from hypersphere.functional.decoupled import decouple
from hypersphere.kernels.decoupled import Operator

__all__ = ["patch_cosines", "patch_norms"]


def patch_norms(
    input: Float[Tensor, "N C ..."],
    kernel_size: Size,
    stride: Size = 1,
    padding: Size | str = 0,
    dilation: Size = 1,
    groups: int = 1,
    *,
    eps: float = 1e-4,
) -> Float[Tensor, "N G ..."]:
    """Norms of all patches, sqrt(|x|² + eps), one channel for each group; float32 or float64.

    Args:
        input: (N, C, L), (N, C, H, W) or (N, C, T, H, W).
        kernel_size: of the kernel that the patches are for, one number or one for each axis of space.
        stride: as in torch; so are padding, dilation and groups.
        padding: points outside are zeros.
        dilation: between the points of a kernel.
        groups: parts of the channels.
        eps: inside the root, >= 0.

    Raises:
        ValueError: for a shape or number that does not fit.

    Example:
        >>> import torch
        >>> patch_norms(torch.ones(1, 4, 3, 3), 1, eps=0.0).unique()
        tensor([2.])
    """
    who = "patch_norms"
    check_floating(who, "input", input)
    check_range(who, "eps", eps, low=0.0)
    check_count(who, "groups", groups)
    dims = input.ndim - 2
    if not 1 <= dims <= 3 or input.shape[1] % groups:
        raise ValueError(
            f"{who}: expected input (N, C, L), (N, C, H, W) or (N, C, T, H, W) with C divisible by groups={groups}, "
            f"got shape {tuple(input.shape)}."
        )
    size = sizes_of(who, "kernel_size", kernel_size, dims, low=1)
    inputs, window = window_of(who, input, input.new_empty((1, 1, *size)), stride, padding, dilation, groups)
    wide = widen(inputs, working_dtype(input.dtype))
    squares = wide.square().unflatten(1, (groups, -1)).sum(dim=2)
    return Operator(Cosine(), Sphere(), window, eps).norms(window.sums(squares))[0]


def patch_cosines(
    input: Tensor,
    weight: Tensor,
    stride: Size = 1,
    padding: Size | str = 0,
    dilation: Size = 1,
    groups: int = 1,
    *,
    eps: float = 1e-4,
) -> Tensor:
    """Cosines of all patches (N, C, *S) with all kernels (O, C / groups, *size); a weight (O, D) takes (N, D).

    In [-1, 1] up to rounding, dtype of the input; arguments as those of `decoupled_conv2d`.

    Raises:
        ValueError: for a shape or number that does not fit.

    Example:
        >>> import torch
        >>> patch_cosines(torch.tensor([[3.0, 4.0]]), torch.eye(2), eps=0.0)
        tensor([[0.6000, 0.8000]])
    """
    check_floating("patch_cosines", "weight", weight)
    if not 2 <= weight.ndim <= 5:
        raise ValueError(
            f"patch_cosines: expected weight (O, D) or (O, C / groups, *size), got shape {tuple(weight.shape)}."
        )
    operator = (stride, padding, dilation, groups, "cosine", "sphere", None, eps)
    return decouple(weight.ndim - 2, input, weight, None, *operator)[0]
