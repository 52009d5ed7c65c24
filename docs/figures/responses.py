# SPDX-License-Identifier: MIT
"""What each operator answers to the patches of a plane, for a kernel that points to the right."""

import matplotlib.pyplot as plt
import numpy as np
import torch

from hypersphere.functional import decoupled_linear

ANGLES = ("cosine", "linear", "sigmoid", "square_cosine")
MAGNITUDES = ("sphere", "ball", "tanh", "linear", "segmented", "log", "mix")

side = torch.linspace(-2.5, 2.5, 201)
patches = torch.stack(torch.meshgrid(side, side, indexing="xy"), dim=-1)
kernel, one = torch.tensor([[1.0, 0.0]]), torch.ones(())
turn = np.linspace(0, 2 * np.pi, 100)

figure, grid = plt.subplots(4, 7, figsize=(10, 6.1), layout="constrained", sharex=True, sharey=True)
for angle, row in zip(ANGLES, grid, strict=True):
    for magnitude, axes in zip(MAGNITUDES, row, strict=True):
        # mean_norm=1 makes a relative radius one of the input's units
        answer = decoupled_linear(patches, kernel, angle=angle, magnitude=magnitude, mean_norm=one)[..., 0].numpy()
        top = max(1.0, np.abs(answer).max())
        levels = np.linspace(-top, top, 17)
        axes.contourf(side, side, answer, levels=levels, cmap="RdBu_r")
        axes.contour(side, side, answer, levels=levels, colors="black", linewidths=0.3)
        if magnitude in ("ball", "tanh", "segmented"):
            axes.plot(np.cos(turn), np.sin(turn), color="black", linewidth=0.8, linestyle=":")
        axes.plot([0, 1], [0, 0], color="black", linewidth=1.4)
        axes.set(aspect="equal", xticks=(), yticks=())
        axes.text(-2.35, 2.0, f"±{top:.3g}", fontsize=7)
        if angle == ANGLES[0]:
            axes.set_title(magnitude, fontsize=10)
        if magnitude == MAGNITUDES[0]:
            axes.set_ylabel(angle.replace("_", " "), fontsize=10)
