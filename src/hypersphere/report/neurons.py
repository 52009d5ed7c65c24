# SPDX-License-Identifier: MIT
"""The neurons of a finished model: cosines between them, the closest pairs, first-layer filters as pictures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from hypersphere.functional import pairwise_angle, pairwise_cosine
from hypersphere.report.arrange import cluster_order, subsample

__all__ = ["LARGEST", "Filters", "Neurons", "Pair", "Weights", "closest_pairs", "cosines", "read_weights"]

LARGEST = 256
"""Neurons of a layer that the heat map shows at most."""

MANY = 4096
"""Neurons among which the closest pairs are sought at most; the angles of more would not fit in memory."""


@dataclass(frozen=True)
class Pair:
    """Two neurons of a layer and the angle between them in radians."""

    first: int
    second: int
    angle: float


@dataclass(frozen=True)
class Neurons:
    """One layer: `weight` (K, D), of the first group where the layer has `num_groups` > 1."""

    name: str
    weight: np.ndarray
    num_groups: int = 1

    @property
    def can_be_compared(self) -> bool:
        """Whether there are two neurons, all with finite weights."""
        return len(self.weight) >= 2 and bool(np.isfinite(self.weight).all())


@dataclass(frozen=True)
class Filters:
    """First-layer filters as the images that they answer to: `images` (K, C, H, W) with C of 1 or 3."""

    name: str
    images: np.ndarray


@dataclass(frozen=True)
class Weights:
    """What a report shows of a model: its layers, and `filters` or the sentence `why_no_filters`."""

    layers: list[Neurons]
    filters: Filters | None
    why_no_filters: str = ""


def read_weights(folder: Path) -> Weights:
    """The neurons of the model in a run folder.

    Raises:
        FileNotFoundError: if there is no model yet.
        ValueError: if the model cannot be rebuilt.
    """
    from hypersphere.models.store import load_classifier
    from hypersphere.regularizers import find_neurons

    if not (folder / "model.safetensors").is_file():
        raise FileNotFoundError("there is no model.safetensors in the run folder yet")
    classifier, model_spec = load_classifier(folder)
    with torch.no_grad():
        found = find_neurons(classifier).layers
        layers = [_neurons(layer.name, layer.weight.detach().float().cpu().numpy()) for layer in found]
    shape = tuple((model_spec.get("data") or {}).get("image_shape") or ())
    filters, why = _filters(classifier, layers, shape)
    return Weights(layers, filters, why)


def _neurons(name: str, weight: np.ndarray) -> Neurons:
    if weight.ndim == 2:
        return Neurons(name, weight)
    return Neurons(name, weight.reshape(-1, *weight.shape[-2:])[0], int(np.prod(weight.shape[:-2])))


def _filters(
    classifier: torch.nn.Module, layers: list[Neurons], image_shape: tuple[int, ...]
) -> tuple[Filters | None, str]:
    """The first layer's weight as images, or why it has no picture."""
    if not layers:
        return None, "The model has no layer with neurons."
    first = layers[0]
    weight = getattr(dict(classifier.named_modules()).get(first.name), "weight", None)
    shape = tuple(weight.shape[1:]) if isinstance(weight, torch.Tensor) and weight.ndim == 4 else image_shape
    if first.num_groups > 1 or len(shape) != 3 or int(np.prod(shape)) != first.weight.shape[1]:
        return None, f"The neurons of `{first.name}` are no images: each holds {first.weight.shape[1]} numbers."
    if shape[0] not in (1, 3):
        return None, f"The filters of `{first.name}` have {shape[0]} channels; 1 (grey) or 3 (colour) can be shown."
    if shape[1] * shape[2] == 1:
        return None, f"The filters of `{first.name}` are single pixels: there is no pattern to see."
    return Filters(first.name, first.weight.reshape(len(first.weight), *shape)), ""


def cosines(weight: np.ndarray, *, limit: int = LARGEST) -> tuple[np.ndarray, np.ndarray]:
    """Cosines between neurons, similar ones next to each other.

    Args:
        weight: (K, D), finite rows.
        limit: neurons shown at most; a fixed draw where there are more.

    Returns:
        (k, k) cosines in the order shown, and (k,) which neuron stands where.
    """
    chosen = subsample(len(weight), limit)
    gram = pairwise_cosine(torch.from_numpy(np.ascontiguousarray(weight[chosen]))).numpy()
    order = cluster_order(gram)
    return gram[np.ix_(order, order)], chosen[order]


def closest_pairs(weight: np.ndarray, *, count: int = 8) -> list[Pair]:
    """The `count` pairs of neurons with the smallest angle, closest first.

    Rows that are zero or not finite have no direction and no pair."""
    chosen = subsample(len(weight), MANY)
    chosen = chosen[np.isfinite(weight[chosen]).all(axis=1) & weight[chosen].any(axis=1)]
    if len(chosen) < 2:
        return []
    angle = pairwise_angle(torch.from_numpy(np.ascontiguousarray(weight[chosen]))).numpy()
    rows, columns = np.triu_indices(len(chosen), k=1)
    every = angle[rows, columns]
    count = min(count, len(every))
    best = np.argpartition(every, count - 1)[:count]
    best = best[np.argsort(every[best], kind="stable")]
    return [Pair(int(chosen[rows[i]]), int(chosen[columns[i]]), float(every[i])) for i in best]
