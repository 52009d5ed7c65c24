# SPDX-License-Identifier: MIT
"""Trains an ordinary network on scanned digits, makes its convolutions answer by angle, and trains it on."""

import copy

import torch
from torch import Tensor, nn

import hypersphere as hs
from hypersphere.data import load_images
from hypersphere.training.recalibrate import recalibrate

torch.manual_seed(0)
train, test = (load_images("digits", split=split) for split in ("train", "test"))


def batches(images: object, size: int, epoch: int = 0) -> list[tuple[Tensor, Tensor]]:
    """Pixels around zero and labels."""
    return [(pixels / 128 - 1, labels) for pixels, labels in images.batches(size, shuffle=True, seed=0, epoch=epoch)]


def fit(model: nn.Module, epochs: int) -> nn.Module:
    """Train, then measure running statistics anew: after few steps they still hold a part of their start."""
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    model.train()
    for epoch in range(epochs):
        for pixels, labels in batches(train, 64, epoch):
            loss = nn.functional.cross_entropy(model(pixels), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return measured(model)


def measured(model: nn.Module) -> nn.Module:
    """The same model with the running statistics of its weights as they are."""
    recalibrate(model, [pixels for pixels, _ in batches(train, 64)])
    return model.eval()


def show(what: str, model: nn.Module) -> None:
    """One line: the accuracy on test digits."""
    ((pixels, labels),) = batches(test, len(test))
    accuracy = float((model(pixels).argmax(dim=1) == labels).float().mean())
    print(f"{what:<52} {accuracy:.3f}")


layers = [nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2)]
layers += [nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.Conv2d(32, 32, 1), nn.MaxPool2d(2)]
model = fit(nn.Sequential(*layers, nn.Flatten(), nn.Linear(128, 10)), epochs=4)
print(hs.plan_conversion(model), "\n")
show("ordinary, 4 epochs", model)
show(
    "cosine, lengths of patch and kernel kept", hs.convert(copy.deepcopy(model), magnitude="linear", weighting="linear")
)
angular = hs.convert(copy.deepcopy(model), angle="linear")
show("angles alone, same weights", measured(angular))
show("angles alone, one more epoch", fit(angular, epochs=1))
show("and back to inner products with those weights", measured(hs.revert(angular)))
