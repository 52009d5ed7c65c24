# SPDX-License-Identifier: MIT
"""How much room is left between classes: angles between neighbouring classes, less what their features take up."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from hypersphere.checks import check_range
from hypersphere.functional import pairwise_angle

__all__ = ["ClassGaps", "class_gaps"]

_ROWS = 1024


@dataclass(frozen=True)
class ClassGaps:
    """Angles in radians between C classes and inside them.

    Args:
        classes: (C,) int64, numbers of the classes that have a feature with a direction.
        directions: (C, D) float64, mean of the directions of each class's features, at length 1.
        spreads: (C,) angle around that direction within which `share` of the features lie, in [0, pi].
        neighbours: (P, 2) int64, class numbers of neighbouring classes, each pair once.
        between: (P,) angle between their vectors, in [0, pi]; in the plane around the circle, in [0, 2 pi].
        gaps: (P,) that angle less the spreads of both; below 0 where the classes overlap.
        share: of the features of a class that count as its extent.
        num_without_direction: features left out because they are zero or not finite.
    """

    classes: np.ndarray
    directions: np.ndarray
    spreads: np.ndarray
    neighbours: np.ndarray
    between: np.ndarray
    gaps: np.ndarray
    share: float
    num_without_direction: int

    @property
    def mean(self) -> float:
        """Mean gap over the pairs of neighbours."""
        return float(self.gaps.mean())

    @property
    def smallest(self) -> float:
        """The smallest of them."""
        return float(self.gaps.min())


def class_gaps(
    features: np.ndarray, labels: np.ndarray, class_vectors: np.ndarray | None = None, *, share: float = 0.95
) -> ClassGaps:
    r"""Gaps between neighbouring classes: the angle between their vectors less the extent of both classes.

    .. math::
        g_{ij} = \angle(w_i, w_j) - \sigma_i - \sigma_j

    with :math:`\sigma_i` the `share` quantile of the angles between features of class i and their mean direction.
    In the plane neighbours are the classes next to each other around the circle; in more dimensions, each class and
    the one whose vector is nearest to its own.

    Args:
        features: (N, D), D >= 2, of any length.
        labels: (N,) true classes, whole numbers >= 0; those that are classified wrongly count too.
        class_vectors: (C, D) of any length; None takes the mean directions of the features in their place.
        share: of the features of a class, in (0, 1]; 1 takes the farthest one.

    Returns:
        Angles in radians of the classes that occur.

    Raises:
        ValueError: if shapes do not fit, `share` is out of range, a label has no vector, a vector of a class that
            occurs is zero or not finite, or fewer than two classes have a feature with a direction.

    Edge cases:
        In the plane the angles between neighbours go around the circle past no other class, add up to a full turn, and
        may exceed pi: the mean gap is then 2 pi / C less twice the mean spread, wherever the vectors are. Two classes
        are one pair, with the smaller angle.
        Features of a class that cancel out have no mean direction: each is then a right angle away from it.

    Example:
        >>> theta = np.radians([-10.0, 10.0, 80.0, 100.0])
        >>> found = class_gaps(np.stack([np.cos(theta), np.sin(theta)], 1), np.array([0, 0, 1, 1]), share=1.0)
        >>> np.degrees(found.spreads).round(6), round(math.degrees(found.mean), 6)
        (array([10., 10.]), 70.0)
    """
    features, labels = np.asarray(features, dtype=np.float64), np.asarray(labels)
    check_range("class_gaps", "share", share, low=0.0, high=1.0)
    if share == 0:
        raise ValueError("class_gaps: share must lie above 0, got 0.")
    if (
        features.ndim != 2
        or features.shape[1] < 2
        or labels.shape != features.shape[:1]
        or labels.dtype.kind not in "iu"
    ):
        raise ValueError(
            f"class_gaps: expected features (N, D) with D >= 2 and labels (N,) of whole numbers, got {features.shape} "
            f"and {labels.shape} of {labels.dtype}."
        )
    usable = np.isfinite(features).all(axis=1) & features.any(axis=1)
    num_left_out = int((~usable).sum())
    unit, labels = _unit(features[usable]), labels[usable].astype(np.int64)
    classes, place = np.unique(labels, return_inverse=True)
    if len(classes) < 2:
        raise ValueError(
            f"class_gaps: expected features of two classes or more that have a direction, got {len(classes)}."
        )
    directions = _unit(np.stack([unit[place == number].mean(axis=0) for number in range(len(classes))]))
    away = _rowwise(unit, directions[place])
    spreads = np.array([np.quantile(away[place == number], share) for number in range(len(classes))])
    vectors = directions if class_vectors is None else _vectors(np.asarray(class_vectors), classes, unit.shape[1])
    pairs, between = _around(vectors) if vectors.shape[1] == 2 and len(vectors) > 2 else _nearest(vectors)
    gaps = between - spreads[pairs].sum(axis=1)
    return ClassGaps(classes, directions, spreads, classes[pairs], between, gaps, share, num_left_out)


def _vectors(given: np.ndarray, classes: np.ndarray, dim: int) -> np.ndarray:
    """Directions of the vectors of the classes that occur."""
    if given.ndim != 2 or given.shape[1] != dim:
        raise ValueError(f"class_gaps: expected class_vectors (C, {dim}), got {given.shape}.")
    if classes[0] < 0 or classes[-1] >= len(given):
        raise ValueError(
            f"class_gaps: expected labels from 0 to {len(given) - 1}, one for each of class_vectors, got "
            f"{classes[0]} to {classes[-1]}."
        )
    chosen = given[classes].astype(np.float64)
    if not (np.isfinite(chosen).all() and chosen.any(axis=1).all()):
        raise ValueError("class_gaps: class_vectors must be finite and not zero.")
    return _unit(chosen)


def _around(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of places next to each other around the circle, (P, 2), and the way from the one to the other."""
    theta = np.arctan2(vectors[:, 1], vectors[:, 0])
    order = np.argsort(theta, kind="stable")
    way = np.diff(theta[order], append=theta[order[0]] + 2 * math.pi)
    return np.stack([order, np.roll(order, -1)], axis=1), way


def _nearest(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each place with the nearest other, pairs that are nearest to each other once, (P, 2), and their angles."""
    every = torch.from_numpy(vectors)
    nearest = []
    for start in range(0, len(every), _ROWS):
        rows = every[start : start + _ROWS]
        angle = pairwise_angle(rows, every)
        angle[torch.arange(len(rows)), torch.arange(start, start + len(rows))] = math.inf
        nearest.append(angle.argmin(dim=1).numpy())
    pairs = np.stack([np.arange(len(vectors)), np.concatenate(nearest)], axis=1)
    pairs = np.unique(np.sort(pairs, axis=1), axis=0)
    return pairs, _rowwise(vectors[pairs[:, 0]], vectors[pairs[:, 1]])


def _unit(rows: np.ndarray) -> np.ndarray:
    """Rows at length 1; rows of any size keep their digits, zero stays zero."""
    largest = np.abs(rows).max(axis=1, keepdims=True)
    rows = rows / np.where(largest > 0, largest, 1.0)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(length > 0, length, 1.0))


def _rowwise(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Angle between rows of the same number, by the form that keeps its precision near zero."""
    return np.asarray(2 * np.arctan2(np.linalg.norm(a - b, axis=1), np.linalg.norm(a + b, axis=1)))
