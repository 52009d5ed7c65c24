# SPDX-License-Identifier: MIT
"""Features of an ordinary network on scanned digits: what their direction knows of the class, and what their norm."""

import matplotlib.pyplot as plt
import torch
from torch import nn

import hypersphere as hs
from hypersphere.data import load_images

torch.set_num_threads(1)
torch.manual_seed(0)
train, test = (load_images("digits", split=split) for split in ("train", "test"))
model = hs.models.build("digits-cnn", width=16, feature_dim=2, feature_norm=False)
classifier = nn.Linear(2, 10, bias=False)
optimizer = torch.optim.Adam([*model.parameters(), *classifier.parameters()], lr=3e-3)
for epoch in range(20):
    for pixels, labels in train.batches(64, shuffle=True, epoch=epoch):
        loss = nn.functional.cross_entropy(classifier(model(pixels / 128 - 1)), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

model.eval()
((pixels, labels),) = test.batches(len(test))
with torch.no_grad():
    features = model(pixels / 128 - 1)
    right = classifier(features).argmax(dim=1) == labels
norms = features.norm(dim=1)
degrees = torch.atan2(features[:, 1], features[:, 0]).rad2deg()
centres = torch.stack([hs.functional.normalize(features[labels == c]).mean(dim=0) for c in range(10)])
between = hs.functional.pairwise_angle(features, centres).rad2deg()
own = between.gather(1, labels[:, None])[:, 0]
by_angle = float((between.argmin(dim=1) == labels).double().mean())
middles = torch.stack([norms[labels == c].mean() for c in range(10)])
by_norm = float(((norms[:, None] - middles).abs().argmin(dim=1) == labels).double().mean())

colours = plt.get_cmap("tab10")
figure, (left, middle, last) = plt.subplots(1, 3, figsize=(10, 3.5), layout="constrained")
for c in range(10):
    mine = labels == c
    left.scatter(*features[mine].T, s=7, color=colours(c))
    middle.scatter(degrees[mine], norms[mine], s=7, color=colours(c), label=str(c))
for axes in (left, middle):
    axes.spines[["top", "right"]].set_visible(False)
left.scatter(*features[~right].T, s=34, facecolors="none", edgecolors="black", linewidths=0.7, label="wrong")
left.axhline(0, color="#8a8f98", linewidth=0.5)
left.axvline(0, color="#8a8f98", linewidth=0.5)
left.set(aspect="equal", xlabel="first feature", ylabel="second feature", title="500 test digits")
left.legend(frameon=False, fontsize=8)
middle.set(
    xlabel="direction (degrees)", ylabel="norm", title="the same, direction and norm", xticks=range(-180, 181, 90)
)
shares = [by_angle, by_norm, 0.1]
last.barh(range(3), shares, color=("#2a78d6", "#d9662b", "#8a8f98"))
last.set_yticks(range(3), ["direction", "norm", "chance"])
last.invert_yaxis()
for place, share in enumerate(shares):
    last.text(share + 0.02, place, f"{share:.0%}", va="center", fontsize=9)
last.set(xlim=(0, 1.1), xlabel="class told by the nearest class mean")
last.set_title(
    f"median angle to own mean {own.median():.0f}°\nmedian norm: right {norms[right].median():.0f}, "
    f"wrong {norms[~right].median():.0f}",
    fontsize=10,
)
last.spines[["top", "right"]].set_visible(False)
