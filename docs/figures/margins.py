# SPDX-License-Identifier: MIT
"""The falling cosine for several multipliers, the own logit under every margin, and ArcFace past 180 degrees."""

import math

import matplotlib.pyplot as plt
import torch
from torch import Tensor

from hypersphere.formulas.margins import MARGINS, ArcFace, Margin
from hypersphere.formulas.multiples import falling_cosine

COLOURS = ("#2a78d6", "#2f8f5b", "#d9662b", "#8456b8", "#b58900", "#c2385a", "#444444")
# each draws the curve of the one that it stands for here: without a margin, with another length, scale or number
SAME = ("normalized_softmax", "l_softmax", "sub_center_arcface", "curricularface", "sphereface_r")

figure, (left, middle, right) = plt.subplots(1, 3, figsize=(11, 3.6), layout="constrained")
theta = torch.linspace(0, math.pi, 721, dtype=torch.float64)
degrees = theta.rad2deg()


def target(margin: Margin) -> Tensor:
    """The own logit in units of the scale, for features of length 25 at the start of training."""
    state = {name: torch.tensor(value, dtype=torch.float64) for name, value in margin.initial_state().items()}
    return margin.target(theta.cos(), torch.full_like(theta, 25.0), state)


shades = plt.get_cmap("copper")
for place, multiplier in enumerate((1.0, 1.5, 2.0, 3.0, 4.0)):
    left.plot(degrees, falling_cosine(theta.cos(), multiplier), color=shades(place / 4), label=f"m = {multiplier:g}")
left.set(ylabel="ψ", title="ψ(mθ)")

for place, (name, margin) in enumerate((name, margin) for name, margin in MARGINS.items() if name not in SAME):
    style = ("-", "--")[place // len(COLOURS)]
    middle.plot(degrees, target(margin), style, color=COLOURS[place % len(COLOURS)], linewidth=1.3, label=name)
middle.set(ylabel="own logit / scale", title="defaults", ylim=(-3, 1.1))

for colour, (name, style) in zip(
    COLOURS, {"continue": "-", "guard": "--", "clamp": "-.", "cosine": ":"}.items(), strict=False
):
    right.plot(degrees, target(ArcFace(1.0, beyond_pi=name)), style, color=colour, label=name)
right.set(ylabel="own logit / scale", title="arcface, angle 1, beyond_pi")
for axes in (left, middle, right):
    beside = {"loc": "upper left", "bbox_to_anchor": (0.98, 1.0)} if axes is middle else {}
    axes.legend(frameon=False, fontsize=7.5, **beside)
    axes.set(xlabel="θ to the own class vector (degrees)", xticks=range(0, 181, 45))
    axes.spines[["top", "right"]].set_visible(False)
