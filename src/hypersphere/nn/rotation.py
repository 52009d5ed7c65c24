# SPDX-License-Identifier: MIT
"""A learned rotation of the neurons of one layer: their lengths and all angles between them stay as they are."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hypersphere.checks import check_choice, check_count, check_floating
from hypersphere.formulas.directions import working_dtype
from hypersphere.formulas.stacks import products
from hypersphere.functional.rotations import ROTATIONS, TRIANGULAR, orthogonal_matrix

__all__ = ["Rotation"]


class Rotation(nn.Module):
    r"""W = W_0 R^T with one orthogonal R for all neurons, the rows of W_0: a `torch.nn.utils.parametrize` module.

    .. math::
        w_i = R\, w_i^0, \qquad R^\top R = I, \qquad w_i \cdot w_j = w_i^0 \cdot w_j^0

    so that no hyperspherical energy of the layer changes, whatever the power, distance or space, while R is learned.
    `regularizers.rotate` registers it on the layers of a model.

    Args:
        dim: D, numbers in one neuron: the inputs of a linear layer, channels times kernel size of a convolution.
        method: how R comes from free parameters, a name in `functional.rotations.ROTATIONS`.
        block_size: b, a divisor of D: R is block-diagonal with D / b blocks of its own; None for one block of D.
        init: "identity" (R = I exactly: fine-tuning starts from the weights as they are), or "random" ("gram_schmidt"
            and "lowdin": uniform among orthogonal matrices; "cayley" and "householder": entries of N(0, 1/b) in their
            triangle, which turns by angles of all sizes).
        device: where the parameters are made.
        dtype: float32 or float64. Whatever the model is cast to afterwards, the parameters keep this dtype.

    Shape:
        weight0 (K, ...) with D numbers after the first axis -> the same shape and dtype. R and the product are computed
        in float32 or wider, under autocast too.

    Attributes:
        raw: the free parameters: (D / b, b(b-1)/2) for "cayley" and "householder", D(b-1)/2 numbers; (D / b, b, b) for
            "gram_schmidt" and "lowdin", D·b numbers. Weight decay pulls the first two towards R = I; of the last two it
            changes the length alone, on which R does not depend, and so makes later steps larger.

    Raises:
        ValueError: for a number out of range, a `block_size` that does not divide `dim`, an unknown name, or a weight
            of another dimension.

    Source:
        liu2021opt (one block, W_0 random), qiu2023oft ("cayley" from the identity, in blocks). The published programs
        decay the raw parameters too.

    Example:
        >>> layer = nn.Linear(6, 3)
        >>> before = layer.weight.detach().clone()
        >>> _ = nn.utils.parametrize.register_parametrization(layer, "weight", Rotation(6, block_size=2))
        >>> torch.equal(layer.weight, before)
        True
    """

    def __init__(
        self,
        dim: int,
        *,
        method: str = "cayley",
        block_size: int | None = None,
        init: str = "identity",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_count("Rotation", "dim", dim)
        check_choice("Rotation", "method", method, list(ROTATIONS))
        check_choice("Rotation", "init", init, ("identity", "random"))
        block_size = dim if block_size is None else block_size
        check_count("Rotation", "block_size", block_size)
        if dim % block_size:
            raise ValueError(f"Rotation: block_size must divide dim, got block_size={block_size} and dim={dim}.")
        if dtype not in (None, torch.float32, torch.float64):
            raise ValueError(f"Rotation: dtype must be torch.float32 or torch.float64, got {dtype}.")
        self.dim = dim
        self.method = method
        self.block_size = block_size
        self.init = init
        triangle = (block_size * (block_size - 1) // 2,)
        shape = triangle if method in TRIANGULAR else (block_size, block_size)
        dtype = dtype or working_dtype(torch.get_default_dtype())
        self.raw = nn.Parameter(torch.empty(dim // block_size, *shape, device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start anew, as `init` says."""
        with torch.no_grad():
            if self.init == "random":
                self.raw.normal_(std=1 / math.sqrt(self.block_size) if self.method in TRIANGULAR else 1.0)
            elif self.method in TRIANGULAR:
                self.raw.zero_()
            else:
                self.raw.copy_(torch.eye(self.block_size, dtype=self.raw.dtype, device=self.raw.device))

    def matrix(self) -> Float[Tensor, "R B B"]:
        """The D / b blocks of R, differentiable."""
        raw = self.raw
        if self.method in TRIANGULAR:
            size = self.block_size
            row, column = torch.triu_indices(size, size, 1, device=raw.device)
            # "cayley" reads what lies above the diagonal, "householder" what lies below it
            place = row * size + column if self.method == "cayley" else column * size + row
            raw = raw.new_zeros(len(raw), size * size).index_copy(1, place, raw).unflatten(1, (size, size))
        return orthogonal_matrix(raw, method=self.method)

    def forward(self, weight0: Tensor) -> Tensor:
        """The rows of `weight0` rotated."""
        check_floating("Rotation", "weight0", weight0)
        rows = weight0.flatten(1) if weight0.ndim > 1 else weight0
        if rows.ndim != 2 or rows.shape[1] != self.dim:
            raise ValueError(
                f"Rotation: expected a weight (K, ...) of neurons with {self.dim} numbers, got {tuple(weight0.shape)}."
            )
        matrix = self.matrix()
        blocks = rows.to(torch.promote_types(matrix.dtype, rows.dtype)).unflatten(1, (-1, self.block_size))
        turned = products(blocks.transpose(0, 1), matrix.to(blocks.dtype).mT).transpose(0, 1)
        weight = turned.reshape(weight0.shape).to(weight0.dtype)
        if weight.ndim == 4 and weight0.is_contiguous(memory_format=torch.channels_last):
            # the order of memory that convolutions of the model are fast in
            weight = weight.contiguous(memory_format=torch.channels_last)
        return weight

    @torch.no_grad()
    def orthogonality_error(self) -> float:
        """Largest entry of |R R^T - I|, the product taken in float64."""
        matrix = self.matrix().double()
        one = torch.eye(self.block_size, dtype=matrix.dtype, device=matrix.device)
        return float((matrix @ matrix.mT - one).abs().max())

    def extra_repr(self) -> str:
        """The arguments, on one line."""
        return f"dim={self.dim}, method={self.method!r}, block_size={self.block_size}, init={self.init!r}"

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Rotation:
        """Move the parameters as any module does, but never to a narrower dtype."""

        def keep_precision(tensor: Tensor) -> Tensor:
            moved = fn(tensor)
            if moved.dtype == tensor.dtype or moved.dtype in (torch.float32, torch.float64):
                return moved
            return tensor.to(moved.device)

        module: Rotation = super()._apply(keep_precision, recurse)
        return module
