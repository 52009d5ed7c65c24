# SPDX-License-Identifier: MIT
"""What regularising every layer of CNN-9 adds to a training step."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import nn

from benchmarks.common import Row, compare
from hypersphere.models import Classifier, build
from hypersphere.nn import MarginHead
from hypersphere.regularizers import HypersphericalEnergy


def make_classifier(base_width: int, **arguments: Any) -> Classifier:
    """CNN-9 with a softmax head for 100 classes, in the memory order that is fastest."""
    torch.manual_seed(0)
    model = build("cnn9", base_width=base_width, **arguments)
    classifier = Classifier(model, MarginHead(model.num_features, 100))
    return classifier.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


class Step:
    """One SGD step of a classifier in bfloat16, or else in float32, with or without an energy."""

    def __init__(
        self,
        base_width: int,
        energy: nn.Module | None,
        batch_size: int = 128,
        *,
        bfloat16: bool = True,
        **arguments: Any,
    ) -> None:
        self.bfloat16 = bfloat16
        self.classifier = make_classifier(base_width, **arguments)
        self.energy = energy
        self.optimizer = torch.optim.SGD(self.classifier.parameters(), lr=1e-3, momentum=0.9, weight_decay=5e-4)
        self.images = torch.randn(batch_size, 3, 32, 32).contiguous(memory_format=torch.channels_last)
        self.labels = torch.randint(0, 100, (batch_size,))

    def __call__(self) -> None:
        """Forward, backward, update."""
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.bfloat16):
            loss = self.classifier(self.images, self.labels)
        if self.energy is not None:
            loss = loss + self.energy(self.classifier)
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)


def rows() -> Iterator[Row]:
    """Half-space MHE as published, and full-space MHE, on the published width."""
    for power, half_space in ((2.0, True), (0.0, False)):
        energy = HypersphericalEnergy(
            power=power, half_space=half_space, hidden_weight=1.0, output_weight=10.0, eps=1e-4
        )
        space = "half" if half_space else "full"
        yield compare(
            f"CNN-9 64/128/256 step with {space}-space MHE, power {power:g}, all layers",
            "the step without it",
            Step(64, energy),
            Step(64, None),
            bound=1.10,
        )
    alone, step = HypersphericalEnergy(power=2.0, half_space=True, output_weight=10.0, eps=1e-4), Step(64, None)
    yield compare(
        "its energy and gradient alone",
        "the step without it",
        partial(_energy_only, alone, step.classifier),
        step,
        bound=None,
    )


def _energy_only(energy: nn.Module, classifier: Classifier) -> None:
    energy(classifier).backward()
    classifier.zero_grad(set_to_none=True)
