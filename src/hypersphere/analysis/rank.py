# SPDX-License-Identifier: MIT
"""Effective rank: how many directions a layer really uses."""

from __future__ import annotations

import torch
from torch import Tensor

from hypersphere.formulas.directions import full_precision, unit_rows

__all__ = ["effective_rank"]

# smaller sides of a matrix up to which its spectrum is computed in float64, and at all
_IN_DOUBLE, _LARGEST = 2048, 8192
_ROWS = 4096


@torch.no_grad()
def effective_rank(weight: Tensor) -> float | None:
    r"""exp of the entropy of the singular values of the neurons' directions.

    .. math::
        \operatorname{erank} = \exp\Big(-\sum_k p_k \ln p_k\Big), \qquad p_k = \sigma_k / \sum_j \sigma_j

    with the singular values of the matrix whose rows are u_i = w_i / |w_i|; lengths play no part.

    Args:
        weight: (K, D), finite rows that are not zero.

    Returns:
        Dimensionless, from 1 (all neurons on one line) to min(K, D); None beyond min(K, D) = 8192. From the eigenvalues
        of the smaller Gram matrix, in float64 up to min(K, D) = 2048 and in float32 above (right to about 0.1 %).

    Source:
        roy2007effective, eq. 2; differs from it in taking directions instead of the rows themselves.

    Example:
        >>> round(effective_rank(torch.tensor([[2.0, 0.0, 0.0], [0.0, 1.0, 0.0]])), 6)
        2.0
    """
    side = min(weight.shape)
    if side > _LARGEST:
        return None
    dtype = torch.float64 if side <= _IN_DOUBLE else torch.float32
    with full_precision(weight.device):
        if weight.shape[0] == side:
            unit = unit_rows(weight.to(dtype))[0]
            gram = unit @ unit.T
        else:
            gram = weight.new_zeros(side, side, dtype=dtype)
            for rows in weight.split(_ROWS):
                unit = unit_rows(rows.to(dtype))[0]
                gram.addmm_(unit.T, unit)
    singular = torch.linalg.eigvalsh(gram).double().clamp_min(0).sqrt()
    share = singular / singular.sum()
    return float(torch.special.entr(share).sum().exp())
