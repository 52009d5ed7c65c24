# SPDX-License-Identifier: MIT
"""Measures runs with two features for the page on margins: python docs/figures/measure_planes.py RUN RUN ...

It prints a table in Markdown and writes `planes.json` beside itself, which the page draws. The runs are those of the
recipes mnist-2d-*, finished; any run whose features are two numbers will do.
"""

import json
import sys
from pathlib import Path

import numpy as np

from hypersphere.analysis.gaps import class_gaps
from hypersphere.report.run import read_run

SHARE, POINTS = 0.95, 40
NAMES = {"softmax": "softmax", "l_softmax": "L-Softmax", "sphereface": "SphereFace"}
panels = []
for folder in map(Path, sys.argv[1:]):
    run = read_run(folder)
    found = run.classification
    if found is None or found.features is None or found.labels is None or found.class_vectors is None:
        sys.exit(f"measure_planes: {folder} has no evaluation with features and class vectors: has it finished?")
    if found.features.shape[1] != 2:
        sys.exit(f"measure_planes: expected features of two dimensions in {folder}, got {found.features.shape[1]}.")
    gaps = class_gaps(found.features, found.labels, found.class_vectors, share=SHARE)
    margin, multiplier = str(run.setting("head.margin")), run.setting("head.arguments.multiplier")
    vectors = found.class_vectors.astype(np.float64)
    reach = float(np.quantile(np.linalg.norm(found.features, axis=1), 0.99))
    drawn = np.random.default_rng(0)
    points = {}
    for number in gaps.classes.tolist():
        mine = np.flatnonzero(found.labels == number)
        chosen = drawn.choice(mine, min(POINTS, len(mine)), replace=False)
        points[number] = np.round(found.features[chosen].astype(np.float64) / reach, 3).tolist()
    panels.append(
        {
            "run": run.name,
            "title": NAMES.get(margin, margin) + (f", m = {multiplier:g}" if multiplier is not None else ""),
            "step": found.summary["step"],
            "accuracy": found.summary["accuracy"],
            "gap": gaps.mean,
            "smallest_gap": gaps.smallest,
            "spread": float(gaps.spreads.mean()),
            "overlapping": int((gaps.gaps < 0).sum()),
            "pairs": len(gaps.gaps),
            "vectors": np.round(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), 4).tolist(),
            "points": points,
        }
    )
if not panels:
    sys.exit("measure_planes: expected run folders with two features each, got none.")
print("| loss | test accuracy | spread (rad) | mean gap (rad) | smallest gap (rad) | neighbours that overlap |")
print("| --- | --- | --- | --- | --- | --- |")
for one in panels:
    cells = [f"{one['accuracy']:.2%}", *(f"{one[key]:.3f}" for key in ("spread", "gap", "smallest_gap"))]
    print("|", " | ".join([one["title"], *cells, f"{one['overlapping']} of {one['pairs']}"]), "|")
print(
    f"\nSpread: angle to the mean direction of a class within which {SHARE:.0%} of its features lie, mean over classes."
)
print("Gap: angle between neighbouring class vectors, around the circle, less the spreads of both classes.")
lines = [json.dumps(one) for one in panels]
(Path(__file__).resolve().parent / "planes.json").write_text("[\n" + ",\n".join(lines) + "\n]\n")
