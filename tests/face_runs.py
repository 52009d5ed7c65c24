# SPDX-License-Identifier: MIT
"""A network with random weights as a finished run, and folders of small images, for tests of embeddings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from hypersphere.models.store import build_classifier, save_classifier
from hypersphere.training.settings import make_config, save_config

__all__ = ["people", "picture", "write_faces_run"]


def write_faces_run(folder: Path, *, channels: int = 3, side: int = 8, seed: int = 0, **data: Any) -> Path:
    """A run of digits-cnn for `side` x `side` images; `data` goes into section data of its `model.json`."""
    folder.mkdir(parents=True)
    described = {"name": "people", "class_names": ["ann", "bob"], "image_shape": [channels, side, side]}
    arguments = {"width": 4, "feature_dim": 6}
    spec = {
        "model": {"name": "digits-cnn", "arguments": arguments},
        "head": {"margin": "normalized_softmax"},
        "data": described | {"mean": [127.5], "std": [64.0], "size": side} | data,
    }
    torch.manual_seed(seed)
    save_classifier(folder, build_classifier(spec), spec)
    save_config(make_config(None, {"data.name": "synthetic", "data.size": side}), folder / "config.yaml")
    return folder


def picture(path: Path, seed: int, *, size: tuple[int, int] = (8, 8), mode: str = "RGB") -> Path:
    """An image of noise, (width, height) in size, the same for a seed each time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (size[1], size[0]) if mode == "L" else (size[1], size[0], 3)
    pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def people(folder: Path, *, num_each: int = 3, names: tuple[str, ...] = ("ann", "bob", "cat")) -> Path:
    """A folder with a folder of images for each person."""
    for number, name in enumerate(names):
        for image in range(num_each):
            picture(folder / name / f"{name}_{image}.png", 100 * number + image)
    return folder
