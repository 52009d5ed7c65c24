# SPDX-License-Identifier: MIT
"""Features of two dimensions under several losses: a cloud for each class, a ray for each class vector."""

import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from hypersphere.report.theme import class_color

panels = json.loads(Path("planes.json").read_text())
columns = min(3, len(panels))
rows = -(-len(panels) // columns)
figure, places = plt.subplots(rows, columns, figsize=(10, 3.6 * rows), layout="constrained", squeeze=False)
for place in places.flat:
    place.set_axis_off()
for place, one in zip(places.flat, panels, strict=False):
    for number, points in one["points"].items():
        x, y = np.array(points).T
        place.plot(x, y, "o", color=class_color(int(number)), markersize=2.2, alpha=0.7, markeredgewidth=0)
    for number, (x, y) in enumerate(one["vectors"]):
        place.plot([0, 1.08 * x], [0, 1.08 * y], color=class_color(number), linewidth=1.2)
        place.text(1.2 * x, 1.2 * y, str(number), color="#7f8794", fontsize=9, ha="center", va="center")
    place.set(xlim=(-1.3, 1.3), ylim=(-1.3, 1.3), aspect="equal")
    gap = f"{one['gap']:.2f}".replace("-", "−")
    place.set_title(f"{one['title']}\n{one['accuracy']:.1%} right, mean gap {gap} rad", fontsize=10)
