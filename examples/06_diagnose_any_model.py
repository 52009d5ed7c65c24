# SPDX-License-Identifier: MIT
"""Asks a model built from torch.nn which of its neurons do the same work, then lets the energy pull them apart."""

from __future__ import annotations

import math

import torch
from torch import nn

import hypersphere as hs
from hypersphere.analysis import Diagnosis


def network() -> nn.Module:
    """A small network for 8×8 pictures whose first layer was widened by copying filters, a little changed."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(512, 10),
    )
    with torch.no_grad():
        first = model[0].weight
        first[8:] = first[:8] + 0.01 * torch.randn_like(first[:8])
    return model


def show(title: str, found: Diagnosis) -> None:
    """One line for each layer, and its groups of twins."""
    print(f"{title}\n{'layer':8}{'neurons':>10}{'place':>8}{'sd':>8}{'closest':>10}{'spare':>7}")
    for row in found.rows:
        size, angle = f"{row.num_neurons} x {row.dim}", math.degrees(row.smallest_angle)
        print(f"{row.name:8}{size:>10}{row.position:8.0%}{row.num_deviations:8.1f}{angle:9.1f}°{row.num_redundant:7}")
        for cluster in row.clusters[:3]:
            print(f"{'':8}neurons {cluster} look for the same thing")


model = network()
show("as it is (place: 0% the most even arrangement, 100% random directions)", hs.diagnose(model))

energy = hs.regularizers.HypersphericalEnergy(power=1.0)
optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
for _ in range(100):
    optimizer.zero_grad()
    energy(model).backward()
    optimizer.step()
show("\nafter 100 steps on the energy alone", hs.diagnose(model))
