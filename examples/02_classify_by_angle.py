# SPDX-License-Identifier: MIT
"""Train a classifier that compares directions alone, in a bare PyTorch loop, and look at the angles it learnt."""

import torch

import hypersphere as hs
from hypersphere.data import load_images, normalize_pixels

torch.manual_seed(0)
train, test = load_images("digits", split="train"), load_images("digits", split="test")
model = hs.models.build("digits-cnn", width=16, feature_dim=3)
head = hs.nn.MarginHead(3, train.num_classes, margin="normalized_softmax", scale=10)
energy = hs.regularizers.HypersphericalEnergy(hidden_weight=0.1, output_weight=0.1)
optimizer = torch.optim.Adam([*model.parameters(), *head.parameters()], lr=3e-3)

for epoch in range(8):
    model.train()
    for images, labels in train.batches(64, shuffle=True, epoch=epoch):
        features = model(normalize_pixels(images, mean=[127.5], std=[128.0]))
        # the head lies outside the model, so the energy is given both; the head's class vectors are its output layer
        loss = head(features, labels) + energy(model, head)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    model.eval()
    with torch.no_grad():
        batches = [(model(normalize_pixels(images, [127.5], [128.0])), labels) for images, labels in test.batches(500)]
    features, labels = map(torch.cat, zip(*batches, strict=True))
    accuracy = float((head(features).argmax(dim=1) == labels).float().mean())
    print(f"epoch {epoch + 1}: loss {float(loss.detach()):.3f}, test accuracy {accuracy:.3f}")

degrees = hs.functional.pairwise_angle(features, head.weight.detach()).rad2deg()
own = degrees.gather(1, labels[:, None]).median()
other = degrees.scatter(1, labels[:, None], 180.0).min(dim=1).values.median()
print(f"median angle to the own class vector {float(own):.1f}°, to the nearest other {float(other):.1f}°")
between = hs.functional.pairwise_angle(head.weight.detach()).rad2deg().fill_diagonal_(180.0)
print(f"the two nearest class vectors are {float(between.min()):.1f}° apart; ten points can be 66.1° apart at most")
