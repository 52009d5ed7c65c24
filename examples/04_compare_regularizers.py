# SPDX-License-Identifier: MIT
"""One network on scanned digits, with each regulariser of neurons in turn: accuracy, energy, smallest angle, time."""

import math
import time

import torch
from torch import nn

import hypersphere as hs
from hypersphere.data import load_images
from hypersphere.regularizers import CompressiveEnergy, HypersphericalEnergy, Orthogonality, Uniformity

train, test = (load_images("digits", split=split) for split in ("train", "test"))
energy, output = HypersphericalEnergy(power=1.0), {"output_weight": 0.1}
regularizers = {
    "none": None,
    "energy": HypersphericalEnergy(power=1.0, **output),
    "energy of lines": HypersphericalEnergy(power=1.0, half_space=True, **output),
    "energy, random projections": CompressiveEnergy("random", dim=20, num_projections=5, **output),
    "energy, angle-preserving": CompressiveEnergy("angle_preserving", dim=20, **output),
    "energy, adversarial": CompressiveEnergy("adversarial", dim=20, inner_steps=2, **output),
    "energy, groups": CompressiveEnergy("group", dim=16, **output),
    "separation": Uniformity("separation", hidden_weight=0.1, **output),
    "polarization": Uniformity("polarization", hidden_weight=0.1, **output),
    "resultant": Uniformity("resultant", **output),
    "covering": Uniformity("covering", hidden_weight=0.1, **output),
    "Gram determinant": Uniformity("gram", **output),
    "orthonormal": Orthogonality("orthonormal", hidden_weight=1e-2, output_weight=1e-2),
    "orthogonal": Orthogonality("orthogonal", hidden_weight=1e-2, output_weight=1e-2),
    "restricted isometry": Orthogonality("restricted_isometry", hidden_weight=0.1, **output),
}


def fit(regularizer: nn.Module | None) -> nn.Module:
    """A network after six epochs, the regulariser in its loss."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 48), nn.ReLU(), nn.Linear(48, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    for epoch in range(6):
        for pixels, labels in train.batches(64, seed=0, epoch=epoch, shuffle=True):
            loss = nn.functional.cross_entropy(model(pixels / 128 - 1), labels)
            if regularizer is not None:
                loss = loss + regularizer(model)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model


print(f"{'regulariser':28}{'accuracy':>10}{'energy':>10}{'nearest':>10}{'seconds':>10}")
for name, regularizer in regularizers.items():
    start, model = time.perf_counter(), fit(regularizer)
    seconds = time.perf_counter() - start
    ((pixels, labels),) = test.batches(len(test))
    accuracy = (model(pixels / 128 - 1).argmax(dim=1) == labels).float().mean().item()
    nearest = -math.degrees(hs.functional.separation(model[1].weight, distance="angular").item())
    mean = sum(energy.terms(model).values()).item() / 3
    print(f"{name:28}{accuracy:>10.3f}{mean:>10.4f}{nearest:>9.1f}°{seconds:>10.1f}")
