# SPDX-License-Identifier: MIT
"""Features on the sphere, coloured by class: as they are in two and three dimensions, seen from a subspace in more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hypersphere.report.arrange import subsample
from hypersphere.report.theme import QUIET, Spec, axis, class_color, label, spec

__all__ = ["MOST_CLASSES", "MOST_POINTS", "View", "ball", "graticule", "plane_figure", "sphere_figure", "sphere_view"]

MOST_POINTS = 5000
"""Points that a figure shows at most, a fixed draw where there are more."""

_MISTAKE = {"circle": "", "circle-open": ", mistaken"}

MOST_CLASSES = 10
"""Classes with a colour of their own; more would not be told apart."""


@dataclass(frozen=True)
class View:
    """Features as a figure shows them.

    Args:
        points: (n, 2) as they are, or (n, 3) of length 1.
        labels: (n,) true classes.
        correct: (n,) whether the prediction was right.
        vectors: class number to its direction in the view, length 1.
        kept: mean share of the squared length of coloured directions that lies in the view, in [0, 1].
        fitted_to: what the three axes of the view were fitted to; empty in two and three dimensions.
    """

    points: np.ndarray
    labels: np.ndarray
    correct: np.ndarray
    vectors: dict[int, np.ndarray]
    kept: float
    fitted_to: str


def sphere_view(
    features: np.ndarray,
    labels: np.ndarray,
    predictions: np.ndarray | None,
    class_vectors: np.ndarray | None,
    classes: Sequence[int],
) -> View:
    """The view of features (N, D), D >= 2.

    In two dimensions the features as they are; in three their directions. In more, directions projected to the
    three-dimensional subspace through the origin that holds most of the coloured classes' vectors (of the features
    where there are fewer than three), and brought back to length 1.

    Args:
        features: (N, D).
        labels: (N,).
        predictions: (N,), or None where unknown (all count as right).
        class_vectors: (C, D), or None.
        classes: numbers of the classes that get a colour.
    """
    chosen = np.flatnonzero(np.isfinite(features).all(axis=1) & (np.linalg.norm(features, axis=1) > 0))
    chosen = chosen[_draw(np.isin(labels[chosen], list(classes)))]
    points, shown = features[chosen].astype(np.float64), labels[chosen]
    correct = np.ones(len(chosen), dtype=bool) if predictions is None else predictions[chosen] == shown
    vectors = {} if class_vectors is None else {number: class_vectors[number].astype(np.float64) for number in classes}
    vectors = {number: vector for number, vector in vectors.items() if np.isfinite(vector).all() and vector.any()}
    if features.shape[1] == 2:
        return View(points, shown, correct, {key: _unit(vector) for key, vector in vectors.items()}, 1.0, "")
    points, fitted_to, kept = _unit(points), "", 1.0
    directions = {key: _unit(vector) for key, vector in vectors.items()}
    mine = np.isin(shown, list(classes))
    if features.shape[1] > 3:
        fitted_to = "class vectors" if len(directions) >= 3 else "features"
        rows = np.stack(list(directions.values())) if fitted_to == "class vectors" else points
        basis = np.linalg.svd(rows, full_matrices=True)[2][:3].T if len(rows) else np.eye(points.shape[1])[:, :3]
        points = points @ basis
        kept = float((points[mine] ** 2).sum(axis=1).mean()) if mine.any() else 0.0
        inside = np.linalg.norm(points, axis=1) > 1e-6
        points, shown, correct = _unit(points[inside]), shown[inside], correct[inside]
        directions = {key: vector @ basis for key, vector in directions.items()}
        directions = {key: _unit(vector) for key, vector in directions.items() if np.linalg.norm(vector) > 1e-6}
    return View(points, shown, correct, directions, kept, fitted_to)


def sphere_figure(view: View, names: Sequence[str], classes: Sequence[int], *, height: int = 620) -> Spec:
    """Points on the unit sphere in space with an arrow for each class vector; hollow points are mistakes."""
    data = [ball(), graticule()]
    for group, color, mask in _groups(view, names, classes):
        for symbol, size, part in (("circle", 5, mask & view.correct), ("circle-open", 6, mask & ~view.correct)):
            x, y, z = (view.points[part] * 1.01).astype(np.float32).T
            size = 3 if color == QUIET else size
            marker = {"size": size, "symbol": symbol, "color": color, "line": {"width": 0}}
            data.append(
                {"type": "scatter3d", "mode": "markers", "x": x, "y": y, "z": z, "marker": marker, "name": label(group)}
                | {"legendgroup": label(group), "showlegend": symbol == "circle"}
                | {"hovertemplate": f"{label(group)}{_MISTAKE[symbol]}<extra></extra>"}
                | {"opacity": 0.25 if color == QUIET else 1.0}
            )
    for number, vector in view.vectors.items():
        name = label(names[number])
        tip = 1.22 * vector
        data.append(
            {
                "type": "scatter3d",
                "mode": "lines+markers+text",
                "x": [0, tip[0]],
                "y": [0, tip[1]],
                "z": [0, tip[2]],
                "text": ["", name],
                "textposition": "top center",
                "line": {"color": class_color(classes.index(number)), "width": 6},
                "marker": {"size": [0, 6], "symbol": "diamond", "color": class_color(classes.index(number))},
                "legendgroup": name,
                "showlegend": False,
                "hovertemplate": f"class vector of {name}<extra></extra>",
            }
        )
    hidden = {"visible": False, "range": [-1.35, 1.35]}
    scene = {"xaxis": hidden, "yaxis": hidden, "zaxis": hidden, "aspectmode": "cube", "dragmode": "orbit"}
    scene |= {"camera": {"eye": dict(zip("xyz", _eye(view.points), strict=True))}}
    legend = {"itemsizing": "constant", "y": 0.5, "yanchor": "middle", "x": 1.0, "xanchor": "right"}
    return spec(data, height=height, scene=scene, legend=legend, margin={"l": 0, "r": 0, "t": 0, "b": 0})


def plane_figure(view: View, names: Sequence[str], classes: Sequence[int], *, height: int = 560) -> Spec:
    """Features of two dimensions as they are, with a ray for each class vector; hollow points are mistakes."""
    reach = float(np.percentile(np.linalg.norm(view.points, axis=1), 99)) if len(view.points) else 1.0
    data: list[Spec] = []
    for group, color, mask in _groups(view, names, classes):
        for symbol, part in (("circle", mask & view.correct), ("circle-open", mask & ~view.correct)):
            x, y = view.points[part].astype(np.float32).T
            data.append(
                {"type": "scatter", "mode": "markers", "x": x, "y": y, "name": label(group)}
                | {"legendgroup": label(group), "showlegend": symbol == "circle"}
                | {"marker": {"size": 5, "symbol": symbol, "color": color}, "opacity": 0.35 if color == QUIET else 0.8}
                | {"hovertemplate": f"{label(group)}{_MISTAKE[symbol]}<extra></extra>"}
            )
    for number, vector in view.vectors.items():
        name, tip = label(names[number]), 1.08 * reach * vector
        data.append(
            {
                "type": "scatter",
                "mode": "lines+text",
                "x": [0, tip[0]],
                "y": [0, tip[1]],
                "text": ["", f"<b>{name}</b>"],
                "textposition": f"{'top' if tip[1] > 0 else 'bottom'} center",
                "line": {"color": class_color(classes.index(number)), "width": 2.5},
                "legendgroup": name,
                "showlegend": False,
                "hovertemplate": f"class vector of {name}<extra></extra>",
            }
        )
    legend = {"x": 1.02, "y": 1, "xanchor": "left", "yanchor": "top"}
    return spec(
        data,
        height=height,
        legend=legend,
        xaxis=axis("first feature"),
        yaxis=axis("second feature", scaleanchor="x"),
    )


def _groups(view: View, names: Sequence[str], classes: Sequence[int]) -> list[tuple[str, str, np.ndarray]]:
    """Name, colour and members of what is drawn: the classes without a colour of their own first, behind the others."""
    rest = ~np.isin(view.labels, list(classes))
    groups = [(f"{len(names) - len(classes)} other classes", QUIET, rest)] if rest.any() else []
    return groups + [(names[number], class_color(place), view.labels == number) for place, number in enumerate(classes)]


def _draw(colored: np.ndarray) -> np.ndarray:
    """Which points are shown: those with a colour fill up to half of the places before the others come."""
    mine, others = np.flatnonzero(colored), np.flatnonzero(~colored)
    mine = mine[subsample(len(mine), max(MOST_POINTS // 2, MOST_POINTS - len(others)))]
    return np.sort(np.concatenate([mine, others[subsample(len(others), MOST_POINTS - len(mine))]]))


def _unit(vectors: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    unit: np.ndarray = vectors / np.where(length > 0, length, 1.0)
    return unit


def _eye(points: np.ndarray) -> list[float]:
    """Where to look from at first: the side that most points face, a little from above or below."""
    azimuth, height = (grid.ravel() for grid in np.meshgrid(np.radians(np.arange(0, 360, 10)), [-0.4, -0.2, 0.2, 0.4]))
    flat = np.sqrt(1 - height**2)
    sides = np.stack([flat * np.cos(azimuth), flat * np.sin(azimuth), height], axis=1)
    best = int(np.maximum(points @ sides.T, 0).sum(axis=0).argmax())
    return [round(1.3 * float(part), 3) for part in sides[best]]


def ball() -> Spec:
    """A ball just below the points, so that those behind it are hidden and the eye sees depth."""
    theta, phi = np.meshgrid(np.linspace(0, np.pi, 33), np.linspace(0, 2 * np.pi, 65))
    x, y, z = np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)
    light = {"ambient": 1.0, "diffuse": 0.0, "specular": 0.0, "fresnel": 0.0}
    surface: Spec = {"type": "surface", "opacity": 0.5, "x": 0.98 * x, "y": 0.98 * y, "z": 0.98 * z, "lighting": light}
    return surface | {"lightposition": {"x": 10_000, "y": 10_000, "z": 12_000}}


def graticule() -> Spec:
    """Circles of longitude and latitude, 30 degrees apart."""
    turn = np.linspace(0, 2 * np.pi, 73)
    lines = []
    for phi in np.radians(np.arange(0, 180, 30)):
        lines.append(np.stack([np.sin(turn) * np.cos(phi), np.sin(turn) * np.sin(phi), np.cos(turn)]))
    for theta in np.radians(np.arange(30, 180, 30)):
        lines.append(np.stack([np.sin(theta) * np.cos(turn), np.sin(theta) * np.sin(turn), np.cos(theta) + 0 * turn]))
    gap = np.full((3, 1), np.nan)
    x, y, z = np.concatenate([part for one in lines for part in (0.985 * one, gap)], axis=1)
    line = {"color": QUIET, "width": 1}
    shared = {"type": "scatter3d", "mode": "lines", "hoverinfo": "skip", "showlegend": False}
    return shared | {"x": x, "y": y, "z": z, "line": line, "opacity": 0.6}
