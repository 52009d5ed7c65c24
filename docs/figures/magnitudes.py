# SPDX-License-Identifier: MIT
"""All magnitude functions, and how long the gradient of an output is near a patch of zeros."""

import matplotlib.pyplot as plt
import torch

from hypersphere.formulas.magnitudes import MAGNITUDES
from hypersphere.functional import decoupled_linear

COLOURS = ("#2a78d6", "#2f8f5b", "#d9662b", "#8a8f98", "#8456b8", "#b58900", "#c2385a", "#444444")

figure, (left, middle, right) = plt.subplots(1, 3, figsize=(10, 3.4), layout="constrained")
norm = torch.linspace(0, 3, 601, dtype=torch.float64)
shown = {name: magnitude for name, magnitude in MAGNITUDES.items() if not name.startswith("learned")}
for (name, magnitude), colour in zip(shown.items(), COLOURS, strict=True):
    half = torch.tensor(0.5, dtype=torch.float64) if name == "power" else None
    line = {"color": colour, "linestyle": "--" if name == "power" else "-"}
    left.plot(norm, magnitude.value(norm, half), label="power, q = 0.5" if name == "power" else name, **line)
left.set(xlabel="r, length of the patch", ylabel="h", title="magnitudes (α = 1, ρ = 1)", ylim=(0, 4.2))
left.legend(frameon=False, fontsize=8, ncols=2, loc="upper left")


def slopes(magnitude: object, eps: float, cosine: float = 0.0) -> torch.Tensor:
    """Length of the gradient by a patch of two numbers, for each length of it, at one angle to the kernel."""
    direction = torch.tensor([cosine, (1 - cosine**2) ** 0.5], dtype=torch.float64)
    patch = (lengths[:, None] * direction).requires_grad_()
    kernel = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    one = torch.ones((), dtype=torch.float64)
    decoupled_linear(patch, kernel, magnitude=magnitude, eps=eps, mean_norm=one).sum().backward()
    return patch.grad.norm(dim=1)


lengths = torch.logspace(-4, 1, 400, dtype=torch.float64)
for eps, style in ((0.0, ":"), (1e-4, "-"), (1e-2, "--")):
    middle.loglog(lengths, slopes("sphere", eps), color=COLOURS[0], linestyle=style, label=f"sphere, eps = {eps:g}")
for name, colour in zip(("ball", "tanh", "linear", "log"), (*COLOURS[1:4], COLOURS[5]), strict=True):
    middle.loglog(lengths, slopes(name, 1e-4), color=colour, label=name)
middle.set(xlabel="r, length of the patch", ylabel="|∂f/∂x|", title="gradient, cosine at 90°", ylim=(1e-5, 3e4))
middle.legend(frameon=False, fontsize=8, loc="lower left")

kernel = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
for eps, style in ((1e-6, ":"), (1e-4, "-"), (1e-2, "--")):
    patch = torch.stack([lengths, 0 * lengths], dim=1)
    answer = decoupled_linear(patch, kernel, eps=eps)
    right.semilogx(lengths, answer, color=COLOURS[0], linestyle=style, label=f"eps = {eps:g}")
right.set(xlabel="r, length of the patch", ylabel="f at an angle of 0", title="what eps takes")
right.legend(frameon=False, fontsize=8, loc="lower right")
for axes in (left, middle, right):
    axes.spines[["top", "right"]].set_visible(False)
