# SPDX-License-Identifier: MIT
"""Points at minimum energy as figures: on the circle, on the sphere in space, and by their angles in any dimension."""

from __future__ import annotations

import numpy as np
import torch

from hypersphere.analysis.thomson import Configuration
from hypersphere.functional import pairwise_angle
from hypersphere.report.arrange import subsample
from hypersphere.report.sphere import MOST_POINTS, ball, graticule
from hypersphere.report.theme import QUIET, REFERENCE, RUNS, TRAIN, Spec, axis, spec

__all__ = ["angle_figure", "circle_figure", "hull_links", "space_figure"]

MOST_LINKED = 2500
"""Points whose neighbours are sought at most; links between more would be a grey fog."""

MANY = 2048
"""Points between which all angles are counted at most, a fixed draw of more."""

# nearest points among which the neighbours of one are sought; evenly spread points have five or six
_NEAREST = 14
# faces whose fold is flatter than this (radians) count as one face
_FLAT = 1e-3


def hull_links(points: np.ndarray) -> np.ndarray:
    """Edges of the convex hull of points on the unit sphere, without the diagonals of flat faces.

    An edge is a segment all other points lie on one side of: seen along it, they fill less than a half turn.

    Args:
        points: (N, 3) unit rows, about evenly spread.

    Returns:
        (E, 2) numbers i < j.
    """
    links = []
    nearest = np.argsort(-(points @ points.T), axis=1, kind="stable")[:, 1 : _NEAREST + 1]
    for first, point in enumerate(points):
        second = nearest[first][nearest[first] > first]
        outward = points[second] + point
        length = np.linalg.norm(outward, axis=1, keepdims=True)
        # opposite points are joined through the centre, by no edge
        second, outward, length = second[length[:, 0] > 1e-6], outward[length[:, 0] > 1e-6], length[length[:, 0] > 1e-6]
        outward = outward / length
        across = np.cross(points[second] - point, outward)
        across /= np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-12)
        seen = points - point
        angle = np.arctan2(seen @ across.T, -(seen @ outward.T))
        # the two ends of the edge themselves are seen nowhere
        angle[first] = np.nan
        angle[second, np.arange(len(second))] = np.nan
        if len(points) > 2 and len(second):
            width = np.nanmax(angle, axis=0) - np.nanmin(angle, axis=0)
            second = second[width < np.pi - _FLAT]
        links += [(first, int(other)) for other in second]
    return np.array(links, dtype=np.int64).reshape(-1, 2)


def space_figure(found: Configuration, *, height: int = 680) -> Spec:
    """Points on the unit sphere in space, joined to their neighbours and coloured by how many they have.

    In half space both ends of each line are shown, the opposite ones hollow, with the line between them.
    """
    points = found.points.numpy()
    points = points[subsample(len(points), MOST_POINTS // 2 if found.half_space else MOST_POINTS)]
    ends = np.concatenate([points, -points]) if found.half_space else points
    opposite = np.arange(len(ends)) >= len(points)
    data = [ball(), graticule()]
    if found.half_space:
        data.append(_lines(np.stack([points, -points], axis=1), QUIET, 2))
    links = hull_links(ends) if 3 <= len(ends) <= MOST_LINKED else np.zeros((0, 2), dtype=np.int64)
    if len(links):
        data.append(_lines(_arcs(ends[links[:, 0]], ends[links[:, 1]]), REFERENCE, 3))
    count = np.bincount(links.ravel(), minlength=len(ends))
    size = 8 if len(ends) <= 50 else 6 if len(ends) <= 300 else 3
    for number in np.unique(count):
        members = count == number
        name = f"{number} neighbours: {int(members.sum())}" if len(links) else f"{len(points)} points"
        # five and six neighbours, the usual ones, stand out against each other
        color = RUNS[(6 - int(number)) % len(RUNS)] if len(links) else TRAIN
        for part, symbol in ((members & ~opposite, "circle"), (members & opposite, "circle-open")):
            if not part.any():
                continue
            x, y, z = (1.01 * ends[part]).astype(np.float32).T
            what = "opposite of point" if symbol == "circle-open" else "point"
            data.append(
                {"type": "scatter3d", "mode": "markers", "x": x, "y": y, "z": z, "name": name, "legendgroup": name}
                | {"marker": {"size": size, "symbol": symbol, "color": color, "line": {"width": 0}}}
                | {"showlegend": symbol == "circle" or not (members & ~opposite).any()}
                | {"text": [f"{what} {number % len(points) + 1}" for number in np.flatnonzero(part)]}
                | {"hovertemplate": "%{text}<extra></extra>"}
            )
    hidden = {"visible": False, "range": [-1.2, 1.2]}
    scene = {"xaxis": hidden, "yaxis": hidden, "zaxis": hidden, "aspectmode": "cube", "dragmode": "orbit"}
    scene |= {"camera": {"eye": {"x": 1.05, "y": 0.75, "z": 0.55}}}
    legend = {"itemsizing": "constant", "y": 0.5, "yanchor": "middle", "x": 1.0, "xanchor": "right"}
    return spec(data, height=height, scene=scene, legend=legend, margin={"l": 0, "r": 0, "t": 0, "b": 0})


def circle_figure(found: Configuration, *, height: int = 560) -> Spec:
    """Points on the unit circle, joined to their neighbours; in half space with their hollow opposites."""
    points = found.points.numpy()
    points = points[np.argsort(np.arctan2(points[:, 1], points[:, 0]))][subsample(len(points), MOST_POINTS)]
    turn = np.linspace(0, 2 * np.pi, 181)
    line = {"color": QUIET, "width": 1}
    data: list[Spec] = [
        {"type": "scatter", "mode": "lines", "x": np.cos(turn), "y": np.sin(turn), "line": line, "hoverinfo": "skip"}
    ]
    if found.half_space:
        joined = np.stack([points, -points, np.full_like(points, np.nan)], axis=1).reshape(-1, 2)
    else:
        joined = np.concatenate([points, points[:1]])
    color = {"color": REFERENCE, "width": 1.5}
    data.append(
        {"type": "scatter", "mode": "lines", "x": joined[:, 0], "y": joined[:, 1], "line": color, "hoverinfo": "skip"}
    )
    for ends, symbol in ((points, "circle"), (-points, "circle-open"))[: 2 if found.half_space else 1]:
        data.append(
            {"type": "scatter", "mode": "markers", "x": ends[:, 0], "y": ends[:, 1]}
            | {"marker": {"size": 10, "symbol": symbol, "color": TRAIN}}
            | {
                "text": np.degrees(np.arctan2(ends[:, 1], ends[:, 0])),
                "hovertemplate": "at %{text:.3f}°<extra></extra>",
            }
        )
    span = {"range": [-1.15, 1.15], "visible": False}
    return spec(data, height=height, showlegend=False, xaxis=span, yaxis=span | {"scaleanchor": "x"})


def angle_figure(found: Configuration) -> Spec:
    """Angles of all pairs, or between lines in half space, beside those of random directions."""
    points = found.points[torch.from_numpy(subsample(len(found.points), MANY))]
    rows, columns = np.triu_indices(len(points), k=1)
    angles = np.degrees(pairwise_angle(points).numpy()[rows, columns])
    high = 90.0 if found.half_space else 180.0
    if found.half_space:
        angles = np.minimum(angles, 180 - angles)
    # on a tie with the edge of two bins rounding must not decide
    width = 2.0 if len(angles) > 300 else 5.0
    edges = np.arange(-width / 2, high + width, width)
    share = np.histogram(angles, edges)[0] / max(len(angles), 1)
    middle = edges[:-1] + width / 2
    fine = np.linspace(0, high, 721)
    density = np.maximum(np.sin(np.radians(fine)), 1e-300) ** (points.shape[1] - 2)
    random = density / (density[1:] + density[:-1]).sum() * 2 * width / fine[1]
    data: list[Spec] = [
        {"type": "bar", "x": middle, "y": share, "width": width, "marker": {"color": TRAIN}, "name": "found"}
        | {"hovertemplate": "%{x}°: %{y:.1%} of pairs<extra></extra>"},
        {"type": "scatter", "mode": "lines", "x": fine, "y": random, "name": "random directions"}
        | {"line": {"color": REFERENCE, "dash": "dash", "width": 2}, "hoverinfo": "skip"},
    ]
    title = "angle between two lines (degrees)" if found.half_space else "angle between two points (degrees)"
    horizontal = axis(title, ticksuffix="°", range=[0, high + width / 2])
    return spec(data, bargap=0, xaxis=horizontal, yaxis=axis("share of pairs", tickformat=".0%"))


def _arcs(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Great-circle arcs (E, 9, 3) between unit rows that are not opposite."""
    angle = np.arccos(np.clip((start * end).sum(axis=1), -1, 1))[:, None, None]
    part = np.linspace(0, 1, 9)[None, :, None]
    weight = np.sin((1 - part) * angle), np.sin(part * angle)
    arcs: np.ndarray = (weight[0] * start[:, None] + weight[1] * end[:, None]) / np.maximum(np.sin(angle), 1e-12)
    return arcs


def _lines(paths: np.ndarray, color: str, width: float) -> Spec:
    """Many paths (P, n, 3) as one trace."""
    broken = np.concatenate([paths, np.full((len(paths), 1, 3), np.nan)], axis=1).reshape(-1, 3).astype(np.float32)
    x, y, z = broken.T
    line = {"type": "scatter3d", "mode": "lines", "x": x, "y": y, "z": z, "line": {"color": color, "width": width}}
    return line | {"hoverinfo": "skip", "showlegend": False}
