# SPDX-License-Identifier: MIT
"""What zero padding does at the border: patch norms and cosines of a white image and a kernel of ones."""

import matplotlib.pyplot as plt
import torch

from hypersphere.functional import patch_norms
from hypersphere.nn import SphereConv2d

image = torch.ones(1, 1, 6, 6)
maps = [("patch norm r, zero padding", patch_norms(image, 3, padding=1)[0, 0], 3.0)]
for mode in ("zeros", "replicate"):
    layer = SphereConv2d(1, 1, 3, padding=1, padding_mode=mode, bias=False)
    torch.nn.init.ones_(layer.weight)
    maps.append((f'cosine, padding_mode="{mode}"', layer(image)[0, 0].detach(), 1.0))

figure, places = plt.subplots(1, 3, figsize=(10, 3.3), layout="constrained")
for axes, (title, values, top) in zip(places, maps, strict=True):
    axes.imshow(values, cmap="Blues", vmin=0, vmax=1.5 * top)
    for row, line in enumerate(values.tolist()):
        for column, value in enumerate(line):
            axes.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=8)
    axes.set_title(title, fontsize=10)
    axes.set(xticks=(), yticks=())
