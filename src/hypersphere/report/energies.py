# SPDX-License-Identifier: MIT
"""Figures of how evenly each layer's neurons are spread: energies and smallest angles beside their references."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hypersphere.report.layers import LayerHistory
from hypersphere.report.theme import (
    EVALUATION,
    MINIMUM,
    QUIET,
    REFERENCE,
    TRAIN,
    Spec,
    axis,
    label,
    reference_line,
    spec,
)

__all__ = ["FARTHEST", "angle_figure", "energy_figure", "layer_label", "overview_figure"]

FARTHEST = 2.0
"""Positions beyond this are drawn at the edge of the overview with their number."""

_SMALL: dict[str, Any] = {"height": 200, "margin": {"l": 56, "r": 10, "t": 10, "b": 40}, "showlegend": False}
_BARE: Spec = {"showgrid": False, "zeroline": False, "showline": True}


def energy_figure(history: LayerHistory, *, runs: Sequence[tuple[str, LayerHistory, str]] = ()) -> Spec:
    """Energy of one layer over time, its uniform expectation and its floor as dashed lines.

    Args:
        history: the layer.
        runs: name, the layer and colour for each of several runs, when these are compared.
    """
    lines = runs or [("", history, EVALUATION if history.regularized else TRAIN)]
    data = [_line(name, one.energy_steps, one.energy, color, "energy %{y:.5f}") for name, one, color in lines]
    shapes, values = [], [one.energy for _, one, _ in lines]
    if np.isfinite(history.expected):
        shapes.append(_random_line(history.expected, values))
        values.append(np.array([history.expected]))
    if history.floor:
        text = "known minimum" if history.floor.is_reached else "lower bound"
        shapes.append(reference_line(history.floor.value, text, MINIMUM, above=False))
        values.append(np.array([history.floor.value]))
    return spec(
        data, xaxis=axis("step", **_BARE), yaxis=axis("energy", range=_room(values), **_BARE), shapes=shapes, **_SMALL
    )


def angle_figure(history: LayerHistory, *, runs: Sequence[tuple[str, LayerHistory, str]] = ()) -> Spec:
    """Smallest angle between two neurons of one layer over time, in degrees, with what chance would leave."""
    lines = runs or [("", history, EVALUATION if history.regularized else TRAIN)]
    data = [_line(name, one.angle_steps, np.degrees(one.angle), color, "%{y:.1f}°") for name, one, color in lines]
    shapes, values = [], [np.degrees(one.angle) for _, one, _ in lines]
    random, widest = np.degrees(history.random_angle), np.degrees(history.widest_angle)
    if np.isfinite(random):
        shapes.append(_random_line(float(random), values))
    if np.isfinite(widest):
        shapes.append(reference_line(float(widest), "widest possible", MINIMUM, above=True))
    values.append(np.array([random, widest]))
    low, high = _room([*values, np.array([0.0])])
    vertical = axis("smallest angle", range=[max(low, -2.0), high], ticksuffix="°", **_BARE)
    return spec(data, xaxis=axis("step", **_BARE), yaxis=vertical, shapes=shapes, **_SMALL)


def overview_figure(runs: Sequence[tuple[str, Sequence[LayerHistory], str]]) -> Spec:
    """Every layer between its floor (0 %) and random directions (100 %): where it began, where it ended.

    Args:
        runs: name, layers and colour of each run. With one run, regularised layers have a colour of their own.
    """
    names = {one.name: layer_label(one) for _, layers, _ in runs for one in layers if _placed(one)}
    places = list(names)
    data: list[Spec] = []
    for place, (name, layers, color) in enumerate(runs):
        shift = (place - (len(runs) - 1) / 2) * 0.7 / len(runs)
        placed = [one for one in layers if _placed(one)]
        groups = [(name, color, placed)]
        if len(runs) == 1:
            pushed = [one for one in placed if one.regularized]
            watched = [one for one in placed if not one.regularized]
            groups = [("energy in the loss", EVALUATION, pushed), ("only watched", TRAIN, watched)]
        for group, shade, members in groups:
            if members:
                rows = [places.index(one.name) + shift for one in members]
                data += _dumbbells(group, shade, members, rows)
    shapes = [_upright(0.0, MINIMUM), _upright(1.0, REFERENCE)]
    marks = [(0.0, "most even arrangement", MINIMUM), (1.0, "random directions", REFERENCE)]
    notes = [
        {"x": x, "y": 1, "yref": "paper", "yanchor": "bottom", "text": text, "showarrow": False}
        | {"font": {"size": 11, "color": color}}
        for x, text, color in marks
    ]
    farthest = min(
        FARTHEST,
        max([1.0, *(part.max() for _, layers, _ in runs for one in layers for part in [_ends(one)] if part.size)]),
    )
    lowest = min([0.0, *(part.min() for _, layers, _ in runs for one in layers for part in [_ends(one)] if part.size)])
    horizontal = axis(
        "way from the most even arrangement to random directions", tickformat=".0%", zeroline=False, showgrid=False
    )
    horizontal |= {"range": [max(lowest, -0.2) - 0.06, farthest + 0.16]}
    vertical = {
        "tickvals": list(range(len(names))),
        "ticktext": list(names.values()),
        "range": [len(names) - 0.4, -0.6],
        "zeroline": False,
    }
    return spec(
        data,
        height=110 + (10 + 16 * len(runs)) * len(names),
        margin={"l": 110, "r": 16, "t": 64, "b": 48},
        legend={"orientation": "h", "x": 0, "y": 1, "yref": "container", "yanchor": "top"},
        showlegend=True,
        xaxis=horizontal,
        yaxis=vertical,
        shapes=shapes,
        annotations=notes,
    )


def layer_label(history: LayerHistory) -> str:
    """A layer's name; an asterisk tells that its floor is a bound that need not be reached."""
    name = history.name if len(history.name) <= 32 else f"…{history.name[-31:]}"
    return label(name) + (" *" if history.floor and not history.floor.is_reached else "")


def _placed(history: LayerHistory) -> bool:
    return bool(np.isfinite(history.positions).any())


def _ends(history: LayerHistory) -> np.ndarray:
    """First and last finite position."""
    found: np.ndarray = history.positions[np.isfinite(history.positions)]
    return np.array([found[0], found[-1]]) if found.size else found


def _dumbbells(group: str, color: str, layers: Sequence[LayerHistory], rows: Sequence[float]) -> list[Spec]:
    ends = np.array([_ends(one) for one in layers])
    drawn = np.clip(ends, None, FARTHEST)
    gaps = np.full(len(layers), np.nan)
    shared = {"type": "scatter", "legendgroup": group, "name": label(group)}
    hover = [f"{label(one.name)}: {first:.1%} → {last:.1%}" for one, (first, last) in zip(layers, ends, strict=True)]
    bars = shared | {
        "x": np.stack([drawn[:, 0], drawn[:, 1], gaps], axis=1).ravel(),
        "y": np.repeat(np.asarray(rows, dtype=np.float64), 3),
        "mode": "lines",
        "line": {"color": QUIET, "width": 2},
        "showlegend": False,
        "hoverinfo": "skip",
    }
    start = shared | {
        "x": drawn[:, 0],
        "y": list(rows),
        "mode": "markers",
        "marker": {"symbol": "circle-open", "size": 9, "color": color, "line": {"width": 1.6}},
        "showlegend": False,
        "hovertext": hover,
        "hoverinfo": "text",
    }
    beyond = ends[:, 1] > FARTHEST
    end = shared | {
        "x": drawn[:, 1],
        "y": list(rows),
        "mode": "markers+text",
        "marker": {"symbol": ["triangle-right" if far else "circle" for far in beyond], "size": 11, "color": color},
        "text": [f"{last:.0%}" for last in ends[:, 1]],
        "textposition": ["middle left" if last < first else "middle right" for first, last in ends],
        "textfont": {"size": 10.5},
        "hovertext": hover,
        "hoverinfo": "text",
        "cliponaxis": False,
    }
    return [bars, start, end]


def _line(name: str, steps: np.ndarray, values: np.ndarray, color: str, hover: str) -> Spec:
    return {
        "type": "scatter",
        "x": steps,
        "y": values,
        "mode": "lines+markers" if len(values) < 40 else "lines",
        "line": {"color": color, "width": 2},
        "marker": {"size": 5},
        "name": label(name),
        "hovertemplate": f"step %{{x}}: {hover}<extra>{label(name)}</extra>",
    }


def _random_line(value: float, curves: Sequence[np.ndarray]) -> Spec:
    """The line of random directions, labelled where the curves begin, on the side where they are not."""
    first = np.concatenate([values[: 1 + len(values) // 2] for values in curves])
    above = bool(len(first) == 0 or float(np.median(first)) <= value)
    return reference_line(value, "random directions", REFERENCE, above=above, end=False)


def _room(values: Sequence[np.ndarray]) -> list[float]:
    """A range that holds all finite values, with a margin for the labels of lines at its ends."""
    every = np.concatenate([np.ravel(part) for part in values])
    every = every[np.isfinite(every)]
    low, high = (float(every.min()), float(every.max())) if every.size else (0.0, 1.0)
    margin = 0.16 * (high - low) or 0.05 * (abs(high) or 1.0)
    return [low - margin, high + margin]


def _upright(x: float, color: str) -> Spec:
    line = {"color": color, "dash": "dash", "width": 1.3}
    return {"type": "line", "yref": "paper", "x0": x, "x1": x, "y0": 0, "y1": 1, "layer": "below", "line": line}
