# SPDX-License-Identifier: MIT
"""Two photographs with their Fourier magnitudes exchanged, and how such images correlate with their donors."""

import json
import runpy
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import load_sample_image

example = runpy.run_path("../../examples/09_swap_magnitude_and_phase.py")
photographs = []
for name in ("china.jpg", "flower.jpg"):
    pixels = torch.from_numpy(load_sample_image(name).copy()).permute(2, 0, 1).double() / 255
    photographs.append(torch.nn.functional.avg_pool2d(pixels[:, 20:410, 100:490], 2))
one, other = photographs
shown = [
    ("A", one),
    ("B", other),
    ("magnitude of A, phase of B", example["swap"](one, other)),
    ("magnitude of B, phase of A", example["swap"](other, one)),
]

figure, places = plt.subplot_mosaic("abcd;eeff", figsize=(10, 5.4), layout="constrained", height_ratios=(1.25, 1))
for (title, image), place in zip(shown, "abcd", strict=True):
    places[place].imshow(image.clamp(0, 1).permute(1, 2, 0))
    places[place].set_title(title, fontsize=10)
    places[place].set_axis_off()

found = json.loads(Path("swap.json").read_text())
edges = np.array(found["bins"])
for place, what in (("e", "pixels"), ("f", "edges")):
    for donor, colour in (("phase", "#2a78d6"), ("magnitude", "#d9662b")):
        counts, mean = found[what][donor]["counts"], found[what][donor]["mean"]
        places[place].stairs(counts, edges, fill=True, alpha=0.6, color=colour, label=f"donor of {donor}: {mean:.3f}")
    places[place].set(xlabel=f"correlation of {what} with those of a donor", ylabel="pairs", xlim=(-0.8, 1))
    places[place].spines[["top", "right"]].set_visible(False)
    places[place].legend(frameon=False, fontsize=8.5, loc="upper left")
