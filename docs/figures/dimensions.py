# SPDX-License-Identifier: MIT
"""Why wide layers start near the optimum: random directions grow orthogonal, and little is left to gain."""

import matplotlib.pyplot as plt
import numpy as np

from hypersphere.functional import expected_energy, minimum_energy

COLOURS = ("#8a8f98", "#2f8f5b", "#2a78d6", "#8456b8", "#d9662b")

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.4), layout="constrained")
theta = np.linspace(0, np.pi, 4001)
for dim, colour in zip((2, 3, 10, 100, 1000), COLOURS, strict=True):
    # the angle of two independent random directions has the density sin^(d-2)
    logarithm = (dim - 2) * np.log(np.maximum(np.sin(theta), 1e-300))
    density = np.exp(logarithm - logarithm.max())
    density /= np.trapezoid(density, theta)
    left.plot(np.degrees(theta), np.radians(1) * density, color=colour, label=f"d = {dim}")
left.set(
    xlabel="angle between two random directions (degrees)", ylabel="density (per degree)", xticks=range(0, 181, 30)
)
left.set_yscale("log")
left.set_ylim(1e-3, 1)
left.legend(frameon=False)

dims = np.unique(np.geomspace(3, 4096, 60).astype(int))
for name, multiple, half_space, colour in (
    ("K = 2 D", 2, False, COLOURS[4]),
    ("K = D", 1, False, COLOURS[2]),
    ("K = D, half space", 1, True, COLOURS[1]),
):
    gain = []
    for dim in map(int, dims):
        size = {"power": 1.0, "half_space": half_space}
        random = expected_energy(dim, num_points=multiple * dim, **size)
        gain.append(1 - minimum_energy(multiple * dim, dim, **size) / random)
    right.loglog(dims, gain, color=colour, label=name)
right.set(xlabel="dimension D", ylabel="(random − minimum) / random")
right.legend(frameon=False, title="power 1")
for axes in (left, right):
    axes.spines[["top", "right"]].set_visible(False)
