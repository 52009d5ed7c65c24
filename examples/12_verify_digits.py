# SPDX-License-Identifier: MIT
"""Trains on the digits 0 to 4, then tells pairs of images apart: of these digits, and of 5 to 9, never seen before."""

import numpy as np
import torch

import hypersphere as hs
from hypersphere.data import load_images, normalize_pixels
from hypersphere.evaluation import Pairs, retrieve, verify

torch.set_num_threads(1)  # these tensors are too small to share out
train, test = (load_images("digits", split=split) for split in ("train", "test"))


def read(images: torch.Tensor) -> torch.Tensor:
    """Pixels in [-1, 1]."""
    return normalize_pixels(images, [127.5], [128.0])


def trained(margin: str) -> torch.nn.Module:
    """A network that has seen the digits 0 to 4 alone; its head is needed for training and no more."""
    torch.manual_seed(0)
    model, head = hs.models.build("digits-cnn", width=16, feature_dim=16), hs.nn.MarginHead(16, 5, margin=margin)
    annealing = hs.schedules.LambdaAnnealing(head, gamma=3.2)
    optimizer = torch.optim.Adam([*model.parameters(), *head.parameters()], lr=3e-3)
    for epoch in range(5):
        for images, labels in train.batches(64, shuffle=True, seed=0, epoch=epoch):
            known = labels < 5
            loss = head(model(read(images[known])), labels[known])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            annealing.step()
    return model.eval()


networks = {"pixels": torch.nn.Flatten()} | {margin: trained(margin) for margin in ("softmax", "sphereface")}
((images, labels),) = test.batches(len(test))
for digits, part in {"0 to 4, trained on": labels < 5, "5 to 9, never seen": labels >= 5}.items():
    # 1000 pairs of one digit and 1000 of two, at random, in ten folds
    left, right = np.random.default_rng(0).integers(0, int(part.sum()), (2, 20_000))
    same = (labels[part][left] == labels[part][right]).numpy()
    drawn = np.concatenate([np.flatnonzero(same & (left != right))[:1000], np.flatnonzero(~same)[:1000]])
    pairs = Pairs(left[drawn], right[drawn], same[drawn], np.arange(2000) % 10 + 1)
    print(f"{digits:<24}{'accuracy':>9}{'spread':>8}{'recall at 1':>13}{'MAP@R':>8}")
    for name, network in networks.items():
        with torch.no_grad():
            embedding = network(read(images[part]))
        found, near = verify(embedding, pairs, protocol="lfw-official"), retrieve(embedding, labels[part], ks=(1,))
        print(f"  {name:<22}{found.accuracy:>9.3f}{found.spread:>8.3f}{near.recall[1]:>13.3f}{near.map_at_r:>8.3f}")
print("Five classes are too few to learn what tells others apart; a network for faces sees thousands.")
