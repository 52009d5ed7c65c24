# SPDX-License-Identifier: MIT
"""How far apart classes are on the sphere: angles within them, angles between them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from hypersphere.functional import pairwise_angle
from hypersphere.report.arrange import subsample
from hypersphere.report.theme import EVALUATION, REFERENCE, TRAIN, Spec, axis, label, spec

__all__ = ["MANY_CLASSES", "Separation", "between_figure", "measure_separation", "within_figure"]

MANY_CLASSES = 4096
"""Classes between which angles are taken at most, a fixed draw of more; all pairs would not fit in memory."""

_CHUNK = 512


@dataclass(frozen=True)
class Separation:
    """Angles in radians; an array is empty where it has no meaning.

    Args:
        own_vector: (n,) feature to the vector of its own class.
        other_vector: (n,) feature to the nearest vector of another class.
        own_mean: (n,) feature to the mean direction of its own class.
        means: (P,) between mean directions, each pair of classes once.
        vectors: (P,) between class vectors, each pair once.
        closest: the two classes whose vectors (means, without vectors) are closest, and their angle; None below two.
        num_classes: C.
        num_without_direction: features left out because they are zero or not finite.
    """

    own_vector: np.ndarray
    other_vector: np.ndarray
    own_mean: np.ndarray
    means: np.ndarray
    vectors: np.ndarray
    closest: tuple[int, int, float] | None
    num_classes: int
    num_without_direction: int


def measure_separation(features: np.ndarray, labels: np.ndarray, class_vectors: np.ndarray | None) -> Separation:
    """Every angle of a `Separation` from features (N, D), labels (N,) and class vectors (C, D) or None."""
    usable = np.isfinite(features).all(axis=1) & (np.linalg.norm(features, axis=1) > 0)
    features, labels = features[usable], labels[usable]
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    classes = np.unique(labels)
    means = np.stack([unit[labels == number].mean(axis=0) for number in classes]) if len(classes) else unit[:0]
    none = np.zeros(0)
    own, other, between = none, none, none
    some = subsample(len(classes), MANY_CLASSES)
    mean_angles, place, num_classes = _between(means[some]), classes[some], len(classes)
    if class_vectors is not None and np.isfinite(class_vectors).all() and labels.max(initial=-1) < len(class_vectors):
        own, other = _to_vectors(unit, labels, class_vectors)
        place, num_classes = subsample(len(class_vectors), MANY_CLASSES), len(class_vectors)
        between = _between(class_vectors[place])
    own_mean = _rowwise(unit, means[np.searchsorted(classes, labels)])
    pairs = between if len(between) else mean_angles
    closest = None
    if len(pairs):
        rows, columns = np.triu_indices(len(place), k=1)
        at = int(pairs.argmin())
        closest = (int(place[rows[at]]), int(place[columns[at]]), float(pairs[at]))
    return Separation(own, other, own_mean, mean_angles, between, closest, num_classes, int((~usable).sum()))


def within_figure(found: Separation) -> Spec:
    """Angles of features: to what they belong to, and to the nearest thing they do not belong to."""
    parts = [
        ("own class vector", found.own_vector, TRAIN, True),
        ("nearest other class vector", found.other_vector, EVALUATION, True),
        ("mean direction of own class", found.own_mean, "#009E73", not len(found.own_vector)),
    ]
    return _histogram(parts, "share of images")


def between_figure(found: Separation) -> Spec:
    """Angles between classes, and the angle that all of them would have in the most even arrangement."""
    parts = [
        ("between class vectors", found.vectors, TRAIN, True),
        ("between mean directions of classes", found.means, "#009E73", not len(found.vectors)),
    ]
    figure = _histogram(parts, "share of pairs of classes")
    if figure["data"]:
        ideal = math.degrees(math.acos(-1 / (found.num_classes - 1)))
        top = max(float(trace["y"].max(initial=0.0)) for trace in figure["data"])
        line = {"color": REFERENCE, "dash": "dash", "width": 1.5}
        name = f"spread evenly: {ideal:.1f}°"
        figure["data"].append(
            {"type": "scatter", "mode": "lines", "x": [ideal, ideal], "y": [0, top], "line": line, "name": name}
        )
    return figure


def _histogram(parts: Sequence[tuple[str, np.ndarray, str, bool]], title: str) -> Spec:
    """Shares per bin over the angle in degrees, filled or as an outline."""
    degrees = [(name, np.degrees(angles), color, filled) for name, angles, color, filled in parts if len(angles)]
    high = max([1.0, *(float(angles.max()) for _, angles, _, _ in degrees)])
    # about as many bins as the fewest values can fill
    bins = min(90.0, 3 * min((len(angles) for _, angles, _, _ in degrees), default=1) ** 0.5)
    width = next(width for width in (0.5, 1.0, 2.0, 5.0, 10.0, 20.0) if high / width <= bins or width == 20.0)
    edges = np.arange(0.0, high + width, width)
    data: list[Spec] = []
    for name, angles, color, filled in degrees:
        share = np.histogram(angles, edges)[0] / len(angles)
        trace: Spec = {
            "type": "bar",
            "x": edges[:-1] + width / 2,
            "y": share,
            "width": width,
            "marker": {"color": color},
        }
        trace |= {"opacity": 0.65}
        if not filled:
            trace = {"type": "scatter", "mode": "lines", "x": edges[:-1] + width / 2, "y": share}
            trace |= {"line": {"color": color, "width": 2, "shape": "hvh"}}
        data.append(
            trace | {"name": label(name), "hovertemplate": f"%{{x:.1f}}°: %{{y:.1%}}<extra>{label(name)}</extra>"}
        )
    horizontal = axis("angle (degrees)", ticksuffix="°", rangemode="tozero")
    return spec(data, barmode="overlay", bargap=0, xaxis=horizontal, yaxis=axis(title, tickformat=".0%"))


def _to_vectors(unit: np.ndarray, labels: np.ndarray, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Angle of each feature to its own class vector and to the nearest other one."""
    own, other = [], []
    for start in range(0, len(unit), _CHUNK):
        angle = _angles(unit[start : start + _CHUNK], vectors)
        rows = np.arange(len(angle))
        mine = labels[start : start + _CHUNK]
        own.append(angle[rows, mine].copy())
        angle[rows, mine] = np.inf
        other.append(angle.min(axis=1))
    joined = np.concatenate([np.zeros(0), *other])
    return np.concatenate([np.zeros(0), *own]), joined[np.isfinite(joined)]


def _between(vectors: np.ndarray) -> np.ndarray:
    return _angles(vectors, vectors)[np.triu_indices(len(vectors), k=1)] if len(vectors) else np.zeros(0)


def _angles(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    angles: np.ndarray = pairwise_angle(torch.from_numpy(np.float64(a)), torch.from_numpy(np.float64(b))).numpy()
    return angles


def _rowwise(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Angle between rows of the same number, by the form that keeps its precision near zero."""
    b = b / np.maximum(np.linalg.norm(b, axis=1, keepdims=True), 1e-30)
    angles: np.ndarray = 2 * np.arctan2(np.linalg.norm(a - b, axis=1), np.linalg.norm(a + b, axis=1))
    return angles
