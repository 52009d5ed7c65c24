# SPDX-License-Identifier: MIT
"""Swaps pairs of CIFAR-10 test images for the page on operators: python docs/figures/measure_swap.py path/to/cifar10.

It writes `swap.json` beside itself, in about five minutes on one core; the page draws that file.
"""

import json
import runpy
import sys
from pathlib import Path

import numpy as np
import torch

from hypersphere.data import load_images

HERE = Path(__file__).resolve().parent
example = runpy.run_path(str(HERE.parent.parent / "examples" / "09_swap_magnitude_and_phase.py"))
swap, correlation, edges, train = (example[name] for name in ("swap", "correlation", "edges", "train"))

torch.set_num_threads(1)
test = load_images(sys.argv[1], split="test")
draw = torch.Generator().manual_seed(0)
first = torch.randint(len(test), (2000,), generator=draw)
second = (first + torch.randint(1, len(test), (2000,), generator=draw)) % len(test)
one, other = (test.images[index].double().mean(dim=1, keepdim=True) for index in (first, second))
both = swap(one, other)
bins = np.linspace(-1, 1, 81)
found: dict[str, object] = {"pairs": len(first), "bins": bins.round(3).tolist()}
for what, of in (("pixels", lambda x: x), ("edges", edges)):
    values = {"phase": correlation(of(both), of(other)), "magnitude": correlation(of(both), of(one))}
    values["unlike"] = correlation(of(one), of(other))
    found[what] = {
        "ahead": float((values["phase"] > values["magnitude"]).double().mean()),
        **{
            name: {"mean": float(x.mean()), "std": float(x.std()), "counts": np.histogram(x, bins)[0].tolist()}
            for name, x in values.items()
        },
    }

differ = test.labels[first] != test.labels[second]
for name, prepare in (("grey", lambda x: x.double().mean(dim=1, keepdim=True)), ("colours", lambda x: x.double())):
    classes = train(load_images(sys.argv[1], split="train"), prepare, epochs=3)
    with torch.no_grad():
        swapped = swap(*(prepare(test.images[index]) for index in (first, second))).clamp(0, 255)
        seen = classes(swapped)
        accuracy = torch.cat([classes(part) for part in test.images.split(1000)]) == test.labels
    found[name] = {
        "accuracy": float(accuracy.double().mean()),
        "phase": float((seen == test.labels[second])[differ].double().mean()),
        "magnitude": float((seen == test.labels[first])[differ].double().mean()),
        "pairs": int(differ.sum()),
    }
lines = [f" {json.dumps(name)}: {json.dumps(value)}" for name, value in found.items()]
(HERE / "swap.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
print(json.dumps({name: found[name] for name in ("grey", "colours")}, indent=1))
