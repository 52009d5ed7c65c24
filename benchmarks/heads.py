# SPDX-License-Identifier: MIT
"""What a margin costs beside a plain linear classifier, up to a million classes, and beside peers."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.common import Row, compare, peak_memory
from hypersphere.nn import MarginHead

BATCH, DIM = 256, 512
TARGET_ONLY = ("softmax", "l_softmax", "sphereface", "cosface", "arcface", "combined", "magface", "adaface")
OTHERS = ("ga_softmax", "sphereface_r", "sphereface2", "curricularface", "circle", "sub_center_arcface")
MILLION = 1_000_000


class Pass:
    """Forward and backward of a loss of features and labels; gradients of features and class vectors."""

    def __init__(self, loss: nn.Module, features: Tensor, labels: Tensor) -> None:
        self.loss, self.features, self.labels = loss, features, labels

    def __call__(self) -> None:
        """One pass each way."""
        self.features.grad = None
        self.loss.zero_grad(set_to_none=True)
        self.loss(self.features, self.labels).backward()


class Plain(nn.Module):
    """The ordinary classifier without bias, and its cross-entropy."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(num_classes, DIM) / DIM**0.5)

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """The mean loss."""
        return F.cross_entropy(F.linear(features, self.weight), labels)


def batch(num_classes: int) -> tuple[Tensor, Tensor]:
    """Features of length 22 or so, and labels."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(BATCH, DIM, generator=generator).requires_grad_()
    return features, torch.randint(0, num_classes, (BATCH,), generator=generator)


def peers(num_classes: int) -> dict[str, Callable[[], nn.Module]]:
    """The losses of pytorch-metric-learning, where it is installed."""
    if importlib.util.find_spec("pytorch_metric_learning") is None:
        return {}
    from pytorch_metric_learning import losses

    return {
        "sphereface": partial(losses.SphereFaceLoss, num_classes, DIM, margin=4),
        "arcface": partial(losses.ArcFaceLoss, num_classes, DIM),
        "cosface": partial(losses.CosFaceLoss, num_classes, DIM),
        "l_softmax": partial(losses.LargeMarginSoftmaxLoss, num_classes, DIM, margin=4),
    }


def million(margin: str) -> Callable[[], object]:
    """Set up a pass of a million classes; the gradient of the class vectors is part of the extra memory."""
    torch.manual_seed(0)
    small = MarginHead(DIM, 1000, margin=margin)
    Pass(small, *batch(1000))()
    return Pass(MarginHead(DIM, MILLION, margin=margin), *batch(MILLION))


def rows() -> Iterator[Row]:
    """Heads beside the plain classifier, peers in the same minutes, then a million classes: time and memory."""
    against = "cross_entropy(linear(x, w), y)"
    for num_classes in (1_000, 10_000, 50_000):
        torch.manual_seed(0)
        given = batch(num_classes)
        plain = Pass(Plain(num_classes), *given)
        for margin in (*TARGET_ONLY, *OTHERS):
            head = Pass(MarginHead(DIM, num_classes, margin=margin), *given)
            promised = margin in TARGET_ONLY and num_classes > 1_000
            bound, rounds = (1.2, 11) if promised else (None, 5)
            yield compare(f"{margin}, C={num_classes}", against, head, plain, bound=bound, rounds=rounds)
        for margin, make in peers(num_classes).items():
            peer = Pass(make(), *given)
            name = f"pytorch-metric-learning {margin}, C={num_classes}"
            yield compare(name, against, peer, plain, bound=None, rounds=5)
    given = batch(MILLION)
    plain = Pass(Plain(MILLION), *given)
    for margin in ("sphereface", "arcface"):
        head = Pass(MarginHead(DIM, MILLION, margin=margin), *given)
        yield compare(f"{margin}, C={MILLION}", against, head, plain, bound=1.6, rounds=3)
        del head
    del plain
    gradient = MILLION * DIM * 4 / 2**20
    for margin in ("sphereface", "arcface", "curricularface"):
        what = f"extra memory of {margin}, C={MILLION}, its gradient of {gradient:.0f} MiB included"
        setup = partial(million, margin)
        yield peak_memory(what, "before the pass", setup, bound=gradient + 256)
