# SPDX-License-Identifier: MIT
"""Run folders of the shape that training leaves behind, made in milliseconds from random numbers."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from hypersphere.functional import expected_energy, hyperspherical_energy, minimum_energy, pairwise_angle
from hypersphere.models.store import build_classifier, save_classifier

__all__ = ["classification_arrays", "model_spec", "write_run"]

DIGITS = list("0123456789")


def model_spec(
    *,
    classes: list[str] | None = None,
    image_shape: tuple[int, ...] = (1, 8, 8),
    name: str = "digits-cnn",
    **arguments: Any,
) -> dict[str, Any]:
    """What `model.json` holds; a network narrow enough to be made at once."""
    arguments = arguments or {"width": 8}
    data = {"name": "digits", "class_names": classes or DIGITS, "image_shape": list(image_shape)}
    return {"model": {"name": name, "arguments": arguments}, "head": {"margin": "normalized_softmax"}, "data": data}


def classification_arrays(
    vectors: np.ndarray, *, num_samples: int, spread: float = 0.25, seed: int = 0
) -> dict[str, np.ndarray]:
    """Features scattered around class vectors (C, D), each given the class of the nearest one."""
    rng = np.random.default_rng(seed)
    classes, dim = vectors.shape
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    labels = rng.permutation(np.arange(num_samples) % classes)
    features = unit[labels] + spread * rng.standard_normal((num_samples, dim)) / math.sqrt(dim) * 2
    predictions = (features @ unit.T).argmax(axis=1)
    confusion = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(confusion, (labels, predictions), 1)
    return {
        "features": (5 * features).astype(np.float16),
        "labels": labels,
        "predictions": predictions,
        "confusion": confusion,
        "class_vectors": vectors.astype(np.float32),
    }


def write_run(
    folder: Path,
    *,
    classes: list[str] | None = None,
    dim: int = 3,
    num_samples: int = 400,
    spread: float = 0.25,
    steps: int = 120,
    evaluated: bool = True,
    regularized: bool = True,
    others: Sequence[str] = (),
    seed: int = 0,
    settings: dict[str, Any] | None = None,
    spec: dict[str, Any] | None = None,
) -> Path:
    """Write a whole run folder and return it.

    Args:
        folder: made with its parents.
        classes: class names; ten digits when None.
        dim: number of features.
        num_samples: of the final evaluation.
        spread: of the features around their class vectors.
        steps: of training; a line every second one, an evaluation every tenth.
        evaluated: whether the finished model was evaluated.
        regularized: whether the loss holds an energy.
        others: names of regularisers that the loss holds besides, each on every layer.
        seed: of all that is random.
        settings: parts of the config that differ.
        spec: of the model; one that fits classes and dim when None.
    """
    names = classes or DIGITS
    folder.mkdir(parents=True)
    torch.manual_seed(seed)
    spec = spec or model_spec(classes=names, width=8, feature_dim=dim)
    classifier = build_classifier(spec)
    save_classifier(folder, classifier, spec)
    vectors = classifier.head.weight.detach().numpy()
    _write_config(folder, spec, regularized, settings or {}, seed)
    terms = [*(["energy"] if regularized else []), *others]
    _write_metrics(folder, _matrices(classifier), steps, terms, seed)
    if evaluated:
        (folder / "evaluation").mkdir()
        arrays = classification_arrays(vectors, num_samples=num_samples, spread=spread, seed=seed)
        right = arrays["labels"] == arrays["predictions"]
        summary = {
            "protocol": "classification",
            "split": "test",
            "num_samples": num_samples,
            "accuracy": float(right.mean()),
            "loss": 0.123,
            "per_class_accuracy": [float(right[arrays["labels"] == n].mean()) for n in range(len(names))],
            "class_names": names,
            "step": steps,
        }
        (folder / "evaluation" / "classification.json").write_text(json.dumps(summary))
        np.savez_compressed(folder / "evaluation" / "classification.npz", **arrays)
    return folder


def _matrices(classifier: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {
        name.removesuffix(".weight"): weight.detach().flatten(1)
        for name, weight in classifier.named_parameters()
        if weight.ndim > 1
    }


def _write_config(folder: Path, spec: dict[str, Any], regularized: bool, settings: dict[str, Any], seed: int) -> None:
    config = {
        "recipe": "digits",
        "description": "Scanned digits on a sphere in three dimensions.",
        "data": {"name": "digits", "validation": 0.0, "mean": [8.0], "std": [8.0]},
        "model": spec["model"],
        "head": {"margin": "normalized_softmax", "scale": "default"},
        "energy": {
            "power": 1.0, "distance": "euclidean", "half_space": False, "include": [], "exclude": [],
            "hidden_weight": 1.0 if regularized else 0.0, "output_weight": 0.5 if regularized else 0.0,
        },
        "monitor": {"power": 0.0, "distance": "euclidean", "half_space": False},
        "optimizer": {"name": "sgd", "rate": 0.1, "momentum": 0.9},
        "schedule": {"name": "cosine", "warmup": 0.05},
        "training": {"epochs": 12, "batch_size": 128, "seed": seed, "precision": "float32"},
    } | settings  # fmt: skip
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    environment = {
        "hypersphere": "0.1.0",
        "python": "3.11.2",
        "packages": {"torch": "2.13.0"},
        "device": "cpu",
        "seed": seed,
    }
    (folder / "environment.json").write_text(json.dumps(environment))


def _write_metrics(
    folder: Path, matrices: dict[str, torch.Tensor], steps: int, added: Sequence[str], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    measured = _measure(matrices)
    for step in range(0, steps + 1, 2):
        part = step / steps
        if step % 10 == 0:
            accuracy = 0.1 + 0.87 * (1 - math.exp(-5 * part))
            rows.append(
                {
                    "kind": "evaluation",
                    "step": step,
                    "epoch": 12 * part,
                    "split": "test",
                    "loss": 2.3 * math.exp(-3 * part),
                }
                | {
                    "accuracy": accuracy,
                    "seconds": 30 * part,
                    "layers": {name: _sunk(layer, part) for name, layer in measured.items()},
                }
            )
        if step:
            objective = 2.3 * math.exp(-4 * part) + 0.1 * rng.random()
            by_layer = {"energy": {}} | {name: dict.fromkeys(matrices, 1.0 - 0.1 * part) for name in added}
            terms = {"objective": objective} | dict.fromkeys(added, 0.8 - 0.1 * part)
            rows.append(
                {"kind": "train", "step": step, "epoch": 12 * part, "loss": sum(terms.values()), "terms": terms}
                | by_layer
                | {"accuracy": 1 - 0.9 * math.exp(-6 * part), "rate": 0.1 * (1 - part)}
                | {"images_per_second": 4000 + 100 * rng.random(), "seconds": 30 * part}
            )
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def _measure(matrices: dict[str, torch.Tensor]) -> dict[str, dict[str, Any]]:
    """What an evaluation records of the layers."""
    found = {}
    for name, weight in matrices.items():
        num_neurons, dim = weight.shape
        found[name] = {
            "energy": hyperspherical_energy(weight).item(),
            "smallest_angle": pairwise_angle(weight).fill_diagonal_(math.pi).min().item(),
            "num_neurons": num_neurons,
            "dim": dim,
            "expected": expected_energy(dim),
            "minimum": minimum_energy(num_neurons, dim),
        }
    return found


def _sunk(layer: dict[str, Any], part: float) -> dict[str, Any]:
    """The same with an energy that has sunk towards the minimum, as if training had pushed on it."""
    energy, angle = layer["energy"], layer["smallest_angle"]
    lowest = layer["minimum"] if layer["minimum"] is not None else energy - 0.02
    return layer | {"energy": energy - 0.6 * part * (energy - lowest), "smallest_angle": angle * (1 + 0.05 * part)}
