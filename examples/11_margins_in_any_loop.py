# SPDX-License-Identifier: MIT
"""SphereFace in a bare PyTorch loop: what a margin does to angles, with annealing and with energy (SphereFace+)."""

import torch
from torch import nn

import hypersphere as hs
from hypersphere.data import load_images, normalize_pixels

torch.set_num_threads(1)  # these tensors are too small to share out
train, test = (load_images("digits", split=split) for split in ("train", "test"))


def trained(head: hs.nn.MarginHead) -> nn.Module:
    """A model after 6 epochs with this head, 126 steps."""
    model = hs.models.build("digits-cnn", width=16, feature_dim=8)
    # lambda falls to 5, where the published one stays, in the first half of so short a run
    annealing = hs.schedules.LambdaAnnealing(head, gamma=3.2)
    optimizer = torch.optim.Adam([*model.parameters(), *head.parameters()], lr=3e-3)
    for epoch in range(6):
        for images, labels in train.batches(64, shuffle=True, seed=0, epoch=epoch):
            loss = head(model(normalize_pixels(images, [127.5], [128.0])), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            annealing.step()
    return model.eval()


energy = hs.nn.ClassEnergy(power=2.0)
heads = {
    "softmax": {"margin": "softmax"},
    "SphereFace, multiplier 1": {"margin": {"name": "sphereface", "multiplier": 1.0}},
    "SphereFace, multiplier 4": {"margin": "sphereface"},
    "SphereFace+, multiplier 4": {"margin": "sphereface", "energy": energy},
}
((images, labels),) = test.batches(len(test))
print(f"{'head':<28}{'accuracy':>10}{'own':>8}{'other':>8}{'between':>10}    (degrees, medians; between: smallest)")
for name, options in heads.items():
    torch.manual_seed(0)
    head = hs.nn.MarginHead(8, train.num_classes, **options)
    model = trained(head)
    with torch.no_grad():
        features = model(normalize_pixels(images, [127.5], [128.0]))
        # cosines with the own class vector and with the nearest other one
        own, nearest, right, *_ = head.measures(features, labels)
    between = hs.functional.pairwise_angle(head.weight.detach()).fill_diagonal_(torch.pi).min()
    angles = [float(angle.rad2deg()) for angle in (own.acos().median(), nearest.acos().median(), between)]
    print(f"{name:<28}{float(right.float().mean()):>10.3f}" + "{:>8.1f}{:>8.1f}{:>10.1f}".format(*angles))
