# SPDX-License-Identifier: MIT
"""The picture of the energy page: points before and after following the gradient, and the kernels."""

import matplotlib.pyplot as plt
import numpy as np
import torch

from hypersphere.formulas.energies import Riesz
from hypersphere.functional import hyperspherical_energy, normalize

BLUE, ORANGE, GREEN, GREY = "#2a78d6", "#d9662b", "#2f8f5b", "#8a8f98"

torch.manual_seed(1)
start = torch.randn(20, 3)
weight = start.clone().requires_grad_()
for _ in range(400):
    (gradient,) = torch.autograd.grad(hyperspherical_energy(weight, power=1.0), weight)
    weight.data = normalize(weight.data - 2.0 * gradient)

figure = plt.figure(figsize=(10, 3.4), layout="constrained")
turn = np.linspace(0, 2 * np.pi, 60)
for place, points, colour in ((1, normalize(start), ORANGE), (2, weight.detach(), BLUE)):
    axes = figure.add_subplot(1, 3, place, projection="3d")
    energy = float(hyperspherical_energy(points, power=1.0))
    for height in np.linspace(-0.9, 0.9, 7):
        radius = np.sqrt(1 - height**2)
        axes.plot(radius * np.cos(turn), radius * np.sin(turn), height, color=GREY, linewidth=0.4, alpha=0.6)
    axes.scatter(*points.T.numpy(), color=colour, s=32, depthshade=True)
    axes.set_title(f"{'start' if place == 1 else 'after 400 steps'}: energy {energy:.3f}", fontsize=10)
    axes.set_box_aspect((1, 1, 1), zoom=1.5)
    axes.view_init(18, 30)
    axes.set_axis_off()

axes = figure.add_subplot(1, 3, 3)
distance = torch.linspace(0.3, 2.0, 200)
for power, colour in ((0.0, BLUE), (1.0, ORANGE), (2.0, GREEN)):
    axes.plot(distance, Riesz(power).value(distance), color=colour, label=f"power {power:g}")
axes.set(xlabel="distance of two neurons", ylabel="f, energy of the pair", ylim=(-1, 6))
axes.spines[["top", "right"]].set_visible(False)
axes.legend(frameon=False)
