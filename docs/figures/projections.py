# SPDX-License-Identifier: MIT
"""The pictures of the page on projected energy: the exact mean over projections, and how much gradient is left."""

import matplotlib.pyplot as plt
import torch

from hypersphere.functional import adversarial_projection, expected_energy, projected_energy

BLUE, ORANGE, GREEN, GREY = "#2a78d6", "#d9662b", "#2f8f5b", "#8a8f98"
DIMS = [6, 10, 20, 30, 40, 80, 160, 320]

generator = torch.Generator().manual_seed(0)
frame, _ = torch.linalg.qr(torch.randn(576, 64, generator=generator))
random = torch.randn(64, 576, generator=generator)

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.4), layout="constrained")
means, spreads, worse, sizes = [], [], [], []
for dim in DIMS:
    drawn = torch.randn(100, dim, 576, generator=generator)
    energies = torch.stack([projected_energy(frame.T, one, power=2.0) for one in drawn])
    means.append(float(energies.mean()))
    spreads.append(float(energies.std()))
    climbed = [adversarial_projection(frame.T, one, rate=0.01, normalized=True) for one in drawn[:10]]
    worse.append(float(torch.stack([projected_energy(frame.T, one, power=2.0) for one in climbed]).mean()))
    leaf = random.clone().requires_grad_()
    projected_energy(leaf, drawn[:20], power=2.0, half_space=True).backward()
    sizes.append(float((leaf.grad.norm(dim=1) * random.norm(dim=1)).mean()))

left.plot(DIMS, [expected_energy(dim, power=2.0) for dim in DIMS], color=GREY, label="expected_energy(p)")
left.errorbar(DIMS, means, yerr=spreads, fmt="o", color=BLUE, markersize=5, label="100 random projections, ± 1 s.d.")
left.plot(DIMS, worse, "^", color=ORANGE, label="after 10 steps of an adversary (p = 6, 10: above 2)")
left.axhline(63 / 128, color=GREEN, linestyle="--", linewidth=1, label="simplex, the lowest of 64 neurons")
left.set(xscale="log", xlabel="dimension p after projection", ylabel="mean pair energy (power 2)", ylim=(0.48, 0.78))
left.set_title("64 orthonormal neurons of 576 dimensions", fontsize=10)

leaf = random.clone().requires_grad_()
projected_energy(leaf, torch.eye(576), power=2.0, half_space=True).backward()
right.plot(DIMS, sizes, "o-", color=BLUE, label="20 random projections")
right.axhline(float((leaf.grad.norm(dim=1) * random.norm(dim=1)).mean()), color=GREY, label="without projection")
right.set(
    xscale="log", yscale="log", xlabel="dimension p after projection", ylabel="gradient of one neuron, |w| |dE/dw|"
)
right.set_title("64 random neurons of 576 dimensions, half space", fontsize=10)
for axes in (left, right):
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8.5)
