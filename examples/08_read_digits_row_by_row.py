# SPDX-License-Identifier: MIT
"""Reads scanned digits a row of eight pixels at a time, with recurrent cells by angle and with those of torch."""

import time

import torch
from torch import Tensor, nn

import hypersphere as hs
from hypersphere.data import load_images

torch.set_num_threads(1)  # these tensors are too small to share out
train, test = (load_images("digits", split=split) for split in ("train", "test"))


class Reader(nn.Module):
    """A cell that sees the rows of an image one after the other, and a classifier of its last state."""

    def __init__(self, cell: nn.Module) -> None:
        super().__init__()
        self.cell = cell
        self.classifier = nn.Linear(cell.hidden_size, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, 10) of images (N, 1, 8, 8)."""
        state = None
        for row in (images[:, 0] / 128 - 1).unbind(dim=1):
            state = self.cell(row, state)
        return self.classifier(state[0] if isinstance(state, tuple) else state)


cells = {
    "torch.nn.GRUCell": nn.GRUCell,
    "SphereGRUCell": hs.nn.SphereGRUCell,
    "SphereGRUCell, one angle for both": lambda *sizes: hs.nn.SphereGRUCell(*sizes, form="concatenated"),
    "torch.nn.LSTMCell": nn.LSTMCell,
    "SphereLSTMCell": hs.nn.SphereLSTMCell,
}
print(f"{'cell, 48 hidden numbers, 5 epochs':<36}{'loss':>8}{'accuracy':>10}{'seconds':>9}")
for name, cell in cells.items():
    torch.manual_seed(0)
    start, model = time.perf_counter(), Reader(cell(8, 48))
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for epoch in range(5):
        for images, labels in train.batches(64, shuffle=True, seed=0, epoch=epoch):
            loss = nn.functional.cross_entropy(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    seconds = time.perf_counter() - start
    ((images, labels),) = test.batches(len(test))
    accuracy = float((model(images).argmax(dim=1) == labels).float().mean())
    print(f"{name:<36}{loss.item():>8.3f}{accuracy:>10.3f}{seconds:>9.1f}")
