# SPDX-License-Identifier: MIT
"""Nine directions in space by three ideas of evenness: orthonormality, energy in full space, energy in half space."""

import math

import matplotlib.pyplot as plt
import numpy as np
import torch

from hypersphere import thomson
from hypersphere.analysis.thomson import smallest_angle
from hypersphere.functional import hyperspherical_energy, normalize
from hypersphere.report.points import hull_links

BLUE, ORANGE, GREEN, GREY = "#2a78d6", "#d9662b", "#2f8f5b", "#8a8f98"
NUMBER = 9

torch.manual_seed(0)
weight = torch.randn(NUMBER, 3, dtype=torch.float64, requires_grad=True)
optimizer = torch.optim.LBFGS([weight], max_iter=500, line_search_fn="strong_wolfe", tolerance_grad=1e-12)


def penalty() -> torch.Tensor:
    """|u u^T - I|^2 of the directions u: the soft orthonormality that wide layers use."""
    optimizer.zero_grad()
    unit = normalize(weight)
    loss = (unit @ unit.T - torch.eye(NUMBER)).square().sum()
    loss.backward()
    return loss


optimizer.step(penalty)
sets = [
    ("orthonormality penalty", ORANGE, normalize(weight.detach()), False),
    ("minimum energy", BLUE, thomson(NUMBER, 3, starts=2).points, False),
    ("minimum energy, half space", GREEN, thomson(NUMBER, 3, half_space=True, starts=2).points, True),
]

figure = plt.figure(figsize=(10, 4.0), layout="constrained")
turn = np.linspace(0, 2 * np.pi, 60)
for place, (title, colour, points, lines) in enumerate(sets, start=1):
    axes = figure.add_subplot(1, 3, place, projection="3d")
    for height in np.linspace(-0.9, 0.9, 7):
        radius = np.sqrt(1 - height**2)
        axes.plot(radius * np.cos(turn), radius * np.sin(turn), height, color=GREY, linewidth=0.4, alpha=0.5)
    ends = points.numpy()
    if lines:
        axes.scatter(*-ends.T, facecolors="none", edgecolors=colour, s=36)
    elif place == 2:
        for i, j in hull_links(ends):
            axes.plot(*ends[[i, j]].T, color=colour, linewidth=0.9, alpha=0.8)
    for end in ends:
        axes.plot(*np.stack([-end if lines else 0 * end, end]).T, color=colour, linewidth=0.8, alpha=0.35)
    axes.scatter(*ends.T, color=colour, s=36, depthshade=True)
    full, half = (float(hyperspherical_energy(points, power=1.0, half_space=space)) for space in (False, True))
    nearest, between = (math.degrees(smallest_angle(points, half_space=space)) for space in (False, True))
    axes.set_title(
        f"{title}\nenergy {full:.3f}, half space {half:.3f}\nsmallest angle {nearest:.0f}°, of lines {between:.0f}°",
        fontsize=9,
        y=0.95,
    )
    axes.set_box_aspect((1, 1, 1), zoom=1.2)
    axes.view_init(20, 40)
    axes.set_axis_off()
