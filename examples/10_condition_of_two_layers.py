# SPDX-License-Identifier: MIT
"""Scales one layer up and the next down, which changes no output: what it does to curvature, and what undoes that."""

import torch
from torch import Tensor
from torch.autograd.functional import hessian

import hypersphere as hs

KERNELS, INPUTS, RANK = 8, 6, 3


def weights(seed: int = 0) -> tuple[Tensor, Tensor]:
    """U (n, k) and V (m, k), float64, at the scale where lemma 1 begins: m |U|² = n |V|²."""
    generator = torch.Generator().manual_seed(seed)
    u, v = (torch.randn(n, RANK, dtype=torch.float64, generator=generator) for n in (KERNELS, INPUTS))
    scale = (KERNELS * v.square().sum() / (INPUTS * u.square().sum())) ** 0.25
    return u * scale, v / scale


def products(u: Tensor, v: Tensor) -> Tensor:
    """Ordinary layers: all inner products U V^T."""
    return u @ v.T


def cosines(u: Tensor, v: Tensor) -> Tensor:
    """The cosine operator: all cosines of rows of U with rows of V."""
    return hs.functional.decoupled_linear(v, u, eps=0.0).T


def condition(outputs: object, u: Tensor, v: Tensor, *, spheres: bool = False) -> float:
    """Largest by smallest nonzero eigenvalue of the Hessian of 1/2 |outputs(U, V) - F|² where it is zero.

    With `spheres`, of the Riemannian one: rows have length 1, and only directions at right angles to them count. Its
    curvature term is zero with the gradient.
    """
    if spheres:
        u, v = hs.functional.normalize(u), hs.functional.normalize(v)
    target, point = outputs(u, v), torch.cat([u, v])
    matrix = hessian(lambda x: 0.5 * (outputs(*x.split([KERNELS, INPUTS])) - target).square().sum(), point)
    matrix = matrix.reshape(point.numel(), point.numel())
    # a mixing of the columns changes no product; a rotation of them, and the length of a row, no cosine
    free = RANK**2 if outputs is products else RANK * (RANK - 1) // 2 + KERNELS + INPUTS
    if spheres:
        tangent = torch.block_diag(*[torch.eye(RANK) - torch.outer(row, row) for row in point])
        matrix = tangent @ matrix @ tangent
    values = torch.linalg.eigvalsh(matrix)
    return float(values[-1] / values[free])


if __name__ == "__main__":
    u, v = weights()
    print(f"{'':>16}{'inner product':>16}{'cosine':>12}{'cosine, on spheres':>22}")
    for c in (1, 2, 4, 8):
        numbers = (condition(f, c * u, v / c, spheres=s) for f, s in ((products, 0), (cosines, 0), (cosines, 1)))
        print("{:>16}{:>16.1f}{:>12.1f}{:>22.1f}".format(f"U x {c}, V / {c}", *numbers))
    print("Outputs are the same in every row. On spheres, projected kernels for one, curvature is the same too.")
