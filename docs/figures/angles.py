# SPDX-License-Identifier: MIT
"""All angle functions, their slopes, and what k does to the sigmoid."""

import math

import matplotlib.pyplot as plt
import torch

from hypersphere.formulas.angles import ANGLES, Sigmoid

COLOURS = ("#2a78d6", "#2f8f5b", "#d9662b", "#8456b8", "#8a8f98")

figure, (left, middle, right) = plt.subplots(1, 3, figsize=(10, 3.3), layout="constrained")
theta = torch.linspace(0, math.pi, 721, dtype=torch.float64)
degrees = theta.rad2deg()
for (name, angle), colour in zip(ANGLES.items(), COLOURS, strict=True):
    value, slope, _ = angle.value_and_slopes(theta.cos())
    left.plot(degrees, value, color=colour, label=name, linestyle=":" if angle.learnable else "-")
    # by the angle itself: dg/dtheta = -sin(theta) dg/dc; within a few ulps of the ends dg/dc is zero by definition
    middle.plot(degrees[3:-3], (theta.sin() * slope)[3:-3], color=colour, linestyle=":" if angle.learnable else "-")
left.set(ylabel="g", title="value")
left.legend(frameon=False, fontsize=8.5)
middle.set(ylabel="−dg/dθ per radian", title="slope")

shades = plt.get_cmap("copper")
for place, k in enumerate((0.05, 0.1, 0.3, 0.5, 0.75, 2.0)):
    right.plot(degrees, Sigmoid(k).value(theta.cos()), color=shades(place / 5), label=f"k = {k:g}")
right.set(ylabel="g", title="sigmoid")
right.legend(frameon=False, fontsize=8.5)
for axes in (left, middle, right):
    axes.set(xlabel="θ (degrees)", xticks=range(0, 181, 45))
    axes.spines[["top", "right"]].set_visible(False)
