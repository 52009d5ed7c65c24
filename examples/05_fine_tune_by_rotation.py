# SPDX-License-Identifier: MIT
"""Fine-tune a network to digits that lie on their side by turning its neurons: no angle between two of them changes."""

import copy

import torch
from torch import Tensor, nn

import hypersphere as hs
from hypersphere.data import load_images

torch.manual_seed(0)
train, test = (load_images("digits", split=split) for split in ("train", "test"))
energy = hs.regularizers.HypersphericalEnergy(power=1.0, include=("1", "3"))


def batches(images: object, size: int, turned: bool) -> list[tuple[Tensor, Tensor]]:
    """Pixels around zero and labels; turned by a quarter if asked for."""
    found = [(pixels.float() / 128 - 1, labels) for pixels, labels in images.batches(size)]
    return [(pixels.rot90(1, (2, 3)) if turned else pixels, labels) for pixels, labels in found]


def fit(model: nn.Module, turned: bool, epochs: int) -> nn.Module:
    """Train what can be trained."""
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=3e-3)
    for pixels, labels in batches(train, 64, turned) * epochs:
        loss = nn.functional.cross_entropy(model(pixels), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model


def show(what: str, model: nn.Module) -> None:
    """One line: accuracy on upright and turned test digits, energy of both hidden layers."""
    scores = []
    for turned in (False, True):
        ((pixels, labels),) = batches(test, len(test), turned)
        scores.append(float((model(pixels).argmax(dim=1) == labels).float().mean()))
    values = "  ".join(f"{value.item():.6f}" for value in energy.terms(model).values())
    free = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    print(f"{what:<24} {scores[0]:7.3f} {scores[1]:7.3f}    {values} {free:8d}")


layers = (nn.Flatten(), nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 32), nn.ReLU(), nn.Linear(32, 10))
model = fit(nn.Sequential(*layers), turned=False, epochs=15)
print(f"{'':<24} upright  turned    energy of two layers  numbers to train")
show("trained upright", model)
show("fine-tuned plainly", fit(copy.deepcopy(model), turned=True, epochs=10))
hs.regularizers.rotate(model, method="cayley", block_size=16)
show("fine-tuned by rotation", fit(model, turned=True, epochs=10))
errors = hs.regularizers.orthogonality_error(model)
print("largest entry of |R R^T - I|: " + ", ".join(f"{name} {error:.0e}" for name, error in errors.items()))
hs.regularizers.merge_rotations(model)
show("the same, merged", model)
