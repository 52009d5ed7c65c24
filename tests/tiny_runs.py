# SPDX-License-Identifier: MIT
"""Runs that take a second: a small network on noise or on digits, for the tests of the training room."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hypersphere.config import Config
from hypersphere.data import TensorImages
from hypersphere.models import Classifier
from hypersphere.nn import MarginHead
from hypersphere.training.loop import Trainer
from hypersphere.training.run import make_accelerator
from hypersphere.training.settings import make_config

__all__ = ["digits_config", "lines", "make_trainer", "noise", "noise_classifier", "noise_config", "timeless", "weights"]

# written by the clock
TIMES = {"seconds", "images_per_second"}


def digits_config(**overrides: Any) -> Config:
    """Seven steps on digits, with an energy, augmentation, a line every 2 steps, a checkpoint every 3."""
    settings = {
        "model.arguments": {"width": 4},
        "data.padding": 1,
        "energy.hidden_weight": 0.1,
        "energy.output_weight": 0.1,
        "optimizer.rate": 0.01,
        "schedule.name": "cosine",
        "training.steps": 7,
        "training.batch_size": 48,
        "training.log_every": 2,
        "training.evaluate_every": 0.15,
        "training.checkpoint_every": 3,
        "training.threads": 1,
    }
    return make_config(None, settings | {name.replace("__", "."): value for name, value in overrides.items()})


def noise(num: int = 48, *, num_classes: int = 3) -> TensorImages:
    """Random 1x4x4 images with random labels, always the same."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (num, 1, 4, 4), dtype=torch.uint8, generator=generator)
    labels = torch.randint(0, num_classes, (num,), generator=generator)
    return TensorImages(pixels, labels, [str(number) for number in range(num_classes)], name="noise")


class Flat(nn.Module):
    """Two linear layers without batch statistics, so that a batch may be divided freely."""

    num_features = 5

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(16, 8)
        self.second = nn.Linear(8, 5)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Features (N, 5)."""
        return self.second(self.first(images.flatten(1)).relu())


def noise_classifier(*, seed: int = 0) -> Classifier:
    """The network for `noise`, always with the same weights."""
    torch.manual_seed(seed)
    return Classifier(Flat(), MarginHead(5, 3))


def noise_config(**overrides: Any) -> Config:
    """Settings for `noise`: 12 images a step, sgd with momentum, energy on every layer."""
    settings = {
        "energy.hidden_weight": 1.0,
        "energy.output_weight": 2.0,
        "optimizer.rate": 0.05,
        "training.batch_size": 12,
        "training.epochs": 1,
        "training.log_every": 2,
        "training.channels_last": False,
    }
    return make_config(None, settings | {name.replace("__", "."): value for name, value in overrides.items()})


def make_trainer(folder: Path, config: Config | None = None, **parts: Any) -> Trainer:
    """A trainer on noise that shows nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    given: dict[str, Any] = {
        "train": noise(),
        "held_out": noise(20),
        "held_out_split": "test",
        "classifier": noise_classifier(),
        "accelerator": make_accelerator(),
        "quiet": True,
    }
    return Trainer(noise_config() if config is None else config, folder, **(given | parts))


def lines(folder: Path, kind: str | None = None) -> list[dict[str, Any]]:
    """The lines of `metrics.jsonl`, those of one kind only if it is named."""
    found = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line for line in found if kind in (None, line["kind"])]


def timeless(folder: Path) -> list[dict[str, Any]]:
    """The same without what the clock wrote."""
    return [{key: value for key, value in line.items() if key not in TIMES} for line in lines(folder)]


def weights(folder: Path) -> str:
    """A hash of the trained weights, byte for byte."""
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def with_training(config: Config, **changes: Any) -> Config:
    """The config with other settings of its section training."""
    return replace(config, training=replace(config.training, **changes))
