# SPDX-License-Identifier: MIT
"""Gives an image the Fourier phase of another: it then looks like that other one. What does a network see in it?"""

import os
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn

from hypersphere.data import load_images


def swap(magnitude: Tensor, phase: Tensor) -> Tensor:
    """Images (..., H, W) of |FFT(magnitude)| exp(i arg FFT(phase)); real, as either spectrum is that of an image."""
    return torch.fft.ifft2(torch.polar(torch.fft.fft2(magnitude).abs(), torch.fft.fft2(phase).angle())).real


def correlation(a: Tensor, b: Tensor) -> Tensor:
    """Of the pixels of each image with those of its partner: 1 where they differ in brightness and contrast alone."""
    a, b = (x.flatten(1) - x.flatten(1).mean(dim=1, keepdim=True) for x in (a, b))
    return (a * b).sum(dim=1) / (a.norm(dim=1) * b.norm(dim=1))


def edges(x: Tensor) -> Tensor:
    """Length of the gradient of (..., H, W), around the border, as the transform goes."""
    return ((x.roll(-1, -1) - x).square() + (x.roll(-1, -2) - x).square()).sqrt()


def train(images: object, prepare: Callable[[Tensor], Tensor], epochs: int) -> Callable[[Tensor], Tensor]:
    """A small network of ordinary convolutions, as a function from images to classes."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for fan_in, width in pairwise([prepare(images.images[:1]).shape[1], 16, 32, 64]):
        layers += [nn.Conv2d(fan_in, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(2)]
    model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(64 * (images.image_shape[1] // 8) ** 2, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for epoch in range(epochs):
        for pixels, labels in images.batches(128, shuffle=True, epoch=epoch):
            loss = nn.functional.cross_entropy(model(prepare(pixels).float() / 128 - 1), labels)
            optimizer.zero_grad(), loss.backward(), optimizer.step()
    return lambda pixels: model.eval()(prepare(pixels).float() / 128 - 1).argmax(dim=1)


if __name__ == "__main__":
    name = "cifar10" if os.path.isdir(os.environ.get("HYPERSPHERE_DATA", "nowhere") + "/cifar10") else "digits"
    test, draw = load_images(name, split="test"), torch.Generator().manual_seed(0)
    first = torch.randint(len(test), (2000,), generator=draw)
    second = (first + torch.randint(1, len(test), (2000,), generator=draw)) % len(test)
    one, other = (test.images[index].double().mean(dim=1, keepdim=True) for index in (first, second))
    print(f"correlation in 2000 pairs of {name}: with phase donor, with magnitude donor; the first is larger in")
    for what, of in (("pixels", lambda x: x), ("edges", edges)):
        phase, size = (correlation(of(swap(one, other)), of(x)) for x in (other, one))
        ahead = (phase > size).double().mean()
        print(f"{what:8}{phase.mean():.3f} ± {phase.std():.3f}   {size.mean():.3f}   {ahead:.2%}")
    classes = train(load_images(name, split="train"), lambda x: x.double().mean(dim=1, keepdim=True), 6)
    seen, differ = classes(swap(one, other).clamp(0, 255)), test.labels[first] != test.labels[second]
    shares = [float((seen == test.labels[index])[differ].double().mean()) for index in (second, first)]
    print("a network sees the class of the phase donor in {:.1%}, of the magnitude donor in {:.1%}".format(*shares))
