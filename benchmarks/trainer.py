# SPDX-License-Identifier: MIT
"""How much of a bare PyTorch loop's speed is left in the trainer: images a second, the same step in both."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from benchmarks.common import Row
from benchmarks.regularizer import make_classifier
from hypersphere.config import Config, DataConfig, HeadConfig, ModelConfig, OptimizerConfig, TrainingConfig
from hypersphere.data import TensorImages
from hypersphere.training.loop import Trainer
from hypersphere.training.run import make_accelerator

STEPS, BATCH, ROUNDS = 60, 128, 5


def images() -> TensorImages:
    """Noise of CIFAR's shape; speed does not depend on what is in a picture."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (STEPS * BATCH, 3, 32, 32), dtype=torch.uint8, generator=generator)
    labels = torch.randint(0, 100, (STEPS * BATCH,), generator=generator)
    return TensorImages(pixels, labels, [str(number) for number in range(100)], name="noise")


def bare_loop(data: TensorImages, base_width: int) -> float:
    """Images a second of the loop that one writes by hand: no augmentation, no metrics, nothing saved."""
    classifier = make_classifier(base_width)
    optimizer = torch.optim.SGD(classifier.parameters(), lr=1e-3, momentum=0.9, weight_decay=5e-4)
    classifier.train()
    start = time.perf_counter()
    for first in range(0, len(data), BATCH):
        pixels = (data.images[first : first + BATCH].float() - 127.5) / 128
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = classifier(pixels.contiguous(memory_format=torch.channels_last), data.labels[first : first + BATCH])
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return len(data) / (time.perf_counter() - start)


def trainer_loop(data: TensorImages, base_width: int) -> float:
    """Images a second of the trainer with crops, flips, metrics, a checkpoint and everything else a run has."""
    config = Config(
        data=DataConfig(name="noise", padding=4, padding_mode="symmetric", flip=True),
        model=ModelConfig("cnn9", {"base_width": base_width}),
        head=HeadConfig(margin="softmax"),
        optimizer=OptimizerConfig(rate=1e-3),
        training=TrainingConfig(epochs=1, batch_size=BATCH, precision="bfloat16", log_every=20, evaluate_every=1e6),
    )
    held_out = data.subset(range(BATCH))
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            config,
            Path(folder),
            data,
            held_out,
            "test",
            make_classifier(base_width),
            make_accelerator(),
            quiet=True,
        )
        with trainer.open_files():
            start = time.perf_counter()
            trainer.advance_to_end()
            return len(data) / (time.perf_counter() - start)


def rows() -> Iterator[Row]:
    """One row for each width that two cores train in reasonable time."""
    data = images()
    for base_width in (16, 32):
        bare_loop(data.subset(range(10 * BATCH)), base_width)
        pairs = [(trainer_loop(data, base_width), bare_loop(data, base_width)) for _ in range(ROUNDS)]
        ratios = sorted(bare / ours for ours, bare in pairs)
        yield Row(
            f"time of the trainer for an epoch, CNN-9 {base_width}/{2 * base_width}/{4 * base_width} bfloat16",
            "a bare loop of the same step",
            "ratio",
            statistics.median(ratios),
            1 / 0.85,
            (ratios[1], ratios[-2]),
            {
                "trainer_images_per_second": statistics.median(ours for ours, _ in pairs),
                "bare_images_per_second": statistics.median(bare for _, bare in pairs),
            },
        )
