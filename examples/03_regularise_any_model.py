# SPDX-License-Identifier: MIT
"""Adds hyperspherical energy to the loss of a model that knows nothing of it, in a bare training loop."""

from __future__ import annotations

import torch
from torch import nn

import hypersphere as hs


class Counter(nn.Module):
    """A little transformer that tells how often the first token of a sequence occurs in it."""

    def __init__(self, num_tokens: int = 20, width: int = 24) -> None:
        super().__init__()
        self.embedding = nn.Embedding(num_tokens, width)
        self.encoder = nn.TransformerEncoderLayer(width, nhead=4, dim_feedforward=48, dropout=0.0, batch_first=True)
        self.classifier = nn.Linear(width, 4)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Logits (N, 4) of the tokens (N, 8)."""
        return self.classifier(self.encoder(self.embedding(tokens))[:, 0])


def train(energy: nn.Module | None) -> nn.Module:
    """A model after 200 steps, with an energy in its loss or without."""
    torch.manual_seed(0)
    model = Counter()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(200):
        tokens = torch.randint(0, 20, (64, 8))
        labels = (tokens == tokens[:, :1]).sum(dim=1).clamp(max=4) - 1
        loss = nn.functional.cross_entropy(model(tokens), labels)
        if energy is not None:
            loss = loss + energy(model)  # the one line that is new
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model


energy = hs.regularizers.HypersphericalEnergy(power=0.0, hidden_weight=1.0, output_weight=1.0)
plain, spread = train(None), train(energy)
print(f"{'mean energy of the neurons of':30}{'plain':>10}{'spread':>10}    (lower is more evenly spread)")
for (name, before), after in zip(energy.terms(plain).items(), energy.terms(spread).values(), strict=True):
    print(f"{name:30}{before.item():>10.4f}{after.item():>10.4f}")
for name, reason in energy.skipped(plain).items():
    print(f"{name:30}left out: {reason}")
