# SPDX-License-Identifier: MIT
"""What scaling two layers against each other does to the condition number, and to gradient descent."""

import runpy

import matplotlib.pyplot as plt
import torch

from hypersphere.functional import normalize

lemma = runpy.run_path("../../examples/10_condition_of_two_layers.py")
condition, products, cosines = lemma["condition"], lemma["products"], lemma["cosines"]
KINDS = [
    ("inner product", products, False, "#d9662b"),
    ("cosine, kernels of any length", cosines, False, "#8456b8"),
    ("cosine, on spheres", cosines, True, "#2f8f5b"),
]
torch.set_num_threads(1)
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.5), layout="constrained")
u, v = lemma["weights"]()
scales = torch.logspace(0, 3, 7, base=2).tolist()
for name, outputs, spheres, colour in KINDS:
    numbers = [condition(outputs, c * u, v / c, spheres=spheres) for c in scales]
    left.loglog(scales, numbers, "o-", color=colour, label=name, markersize=4)
left.loglog(scales, [10 * c**2 for c in scales], color="#8a8f98", linestyle=":", label="growth as c², the bound")
left.set(xlabel="c (U → c U, V → V / c)", ylabel="condition number κ", xticks=(1, 2, 4, 8), xticklabels=(1, 2, 4, 8))
left.minorticks_off()
left.legend(frameon=False, fontsize=8.5)


def descend(outputs: object, spheres: bool, steps: int = 200) -> list[float]:
    """Losses of gradient descent from a start near the optimum, c = 4, at the best of nine constant rates."""
    generator = torch.Generator().manual_seed(1)
    noise = [0.3 * torch.randn(x.shape, dtype=x.dtype, generator=generator) for x in (u, v)]
    best: list[float] = []
    for rate in torch.logspace(-3.5, -0.5, 9).tolist():
        a, b = 4 * (u + noise[0]), (v + noise[1]) / 4
        losses = []
        for _ in range(steps):
            a, b = (normalize(x) if spheres else x for x in (a, b))
            a, b = (x.detach().requires_grad_() for x in (a, b))
            loss = 0.5 * (outputs(a, b) - outputs(u, v)).square().sum()
            losses.append(loss.item())
            of_a, of_b = torch.autograd.grad(loss, (a, b))
            a, b = a - rate * of_a, b - rate * of_b
        if losses[-1] <= losses[0] and (not best or losses[-1] < best[-1]):
            best = losses
    return [value / best[0] for value in best]


for name, outputs, spheres, colour in KINDS:
    right.semilogy(descend(outputs, spheres), color=colour, label=name)
right.set(xlabel="step of gradient descent, from c = 4", ylabel="loss / first loss")
for axes in (left, right):
    axes.spines[["top", "right"]].set_visible(False)
