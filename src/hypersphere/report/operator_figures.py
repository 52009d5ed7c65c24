# SPDX-License-Identifier: MIT
"""Figures of what operators did: a row for each layer, on an axis that all layers share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hypersphere.report.theme import EVALUATION, QUIET, REFERENCE, TRAIN, Spec, axis, label, spec

__all__ = ["Ridge", "course_figure", "merge_bins", "ridge_figure", "sizes_figure"]

_HEIGHT = 0.84
_ROW, _LOW_ROW, _MANY = 44, 32, 14
_FIRST, _LAST = (230, 159, 0), (0, 114, 178)


@dataclass(frozen=True)
class Ridge:
    """A histogram that is a row of a figure.

    Args:
        name: of the layer.
        edges: of the bins, (B + 1,).
        shares: (B,), as tall as they will be drawn against each other.
        text: what stands to the right of it.
        chance: (B,) shares to draw as an outline, each row's with a height of its own; None for no outline.
        mark: where a dot stands on the row's line; NaN for none.
        span: a stretch and a point in it that are marked across the row, such as the radii of its kernels; or None.
        color: of the row.
    """

    name: str
    edges: np.ndarray
    shares: np.ndarray
    text: str = ""
    chance: np.ndarray | None = None
    mark: float = math.nan
    span: tuple[float, float, float] | None = None
    color: str = TRAIN


def merge_bins(edges: np.ndarray, counts: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Bins taken together, `width` at a time, so that one of them has the middle of the old ones as its own.

    What is left over at the ends makes bins of its own.

    Example:
        >>> merge_bins(np.arange(6), np.ones(5), 3)
        (array([0, 1, 4, 5]), array([1., 3., 1.]))
    """
    first = (len(counts) // 2 - width // 2) % width
    starts = np.arange(first, len(counts), width)
    starts = starts if first == 0 else np.concatenate([[0], starts])
    return edges[np.append(starts, len(counts))], np.add.reduceat(counts, starts)


def ridge_figure(
    rows: Sequence[Ridge],
    title: str,
    reach: tuple[float, float],
    *,
    log: bool = False,
    lines: Sequence[tuple[float, str]] = (),
    chance: str = "",
    marks: str = "",
    span: str = "",
) -> Spec:
    """Histograms below each other, every one as tall as its row.

    Args:
        rows: from the top down.
        title: of the shared axis.
        reach: of that axis.
        log: whether it is logarithmic; all edges and marks are then above zero.
        lines: places of dashed lines across all rows, with their words.
        chance: what the outlines are, for the legend.
        marks: what the dots are.
        span: what the marked stretches are.
    """
    data: list[Spec] = []
    for place, row in enumerate(rows):
        x, y = _outline(row.edges, row.shares, log)
        data.append(
            {"type": "scatter", "mode": "lines", "x": x, "y": place - _HEIGHT * y, "fill": "toself", "name": "measured"}
            | {"line": {"color": row.color, "width": 1}, "fillcolor": f"{row.color}66", "hoveron": "fills"}
            | {"text": f"{label(row.name)}: {row.text}", "hoverinfo": "text", "showlegend": False}
        )
        if row.chance is not None:
            x, y = _outline(row.edges, row.chance, log)
            data.append(
                {"type": "scatter", "mode": "lines", "x": x[1:-1], "y": place - _HEIGHT * y[1:-1]}
                | {"line": {"color": REFERENCE, "width": 1.5}, "hoverinfo": "skip"}
                | {"name": chance, "legendgroup": "chance", "showlegend": place == 0}
            )
    spans = [(place, row.span) for place, row in enumerate(rows) if row.span is not None]
    for number, (place, (low, high, middle)) in enumerate(spans):
        data.append(
            {"type": "scatter", "mode": "lines", "x": [low, high, high, low, low], "fill": "toself", "name": span}
            | {"y": [place, place, place - 0.94, place - 0.94, place], "fillcolor": f"{EVALUATION}30"}
            | {"line": {"color": EVALUATION, "width": 0 if high > low else 2}, "legendgroup": "span"}
            | {"hoveron": "fills", "text": f"{label(rows[place].name)}: {middle:.3g}", "hoverinfo": "text"}
            | {"showlegend": False}
        )
        data.append(
            {"type": "scatter", "mode": "lines", "x": [middle, middle], "y": [place, place - 0.94], "name": span}
            | {"line": {"color": EVALUATION, "width": 2}, "legendgroup": "span", "showlegend": number == 0}
            | {"hoverinfo": "skip"}
        )
    dots = [(row.mark, place) for place, row in enumerate(rows) if math.isfinite(row.mark)]
    if dots:
        data.append(
            {"type": "scatter", "mode": "markers", "x": [x for x, _ in dots], "y": [y for _, y in dots], "name": marks}
            | {"marker": {"size": 8, "color": EVALUATION}, "cliponaxis": False, "hoverinfo": "x"}
        )
    low, high = (math.log10(end) for end in reach) if log else reach
    horizontal = axis(title, range=[low, high], zeroline=False) | ({"type": "log", "dtick": 1} if log else {})
    notes = [
        {"x": 1, "xref": "paper", "xanchor": "left", "xshift": 8, "y": place - 0.28, "text": row.text}
        | {"showarrow": False, "font": {"size": 10.5}, "align": "left"}
        for place, row in enumerate(rows)
        if row.text
    ]
    notes += [
        {"x": math.log10(at) if log else at, "y": 1, "yref": "paper", "yanchor": "bottom", "text": text}
        | {"showarrow": False, "font": {"size": 11, "color": REFERENCE}}
        for at, text in lines
    ]
    shapes = [
        {"type": "line", "yref": "paper", "x0": at, "x1": at, "y0": 0, "y1": 1}
        | {"line": {"color": REFERENCE, "dash": "dash", "width": 1.3}}
        for at, _ in lines
    ]
    named = any("showlegend" not in trace or trace["showlegend"] for trace in data)
    widest = max((len(row.text) for row in rows), default=0)
    return spec(
        data,
        height=110 + (24 if named else 0) + (_ROW if len(rows) < _MANY else _LOW_ROW) * len(rows),
        margin={"l": 110, "r": 24 + 6 * widest, "t": 40 + (24 if named else 0), "b": 48},
        legend={"orientation": "h", "x": 0, "y": 1, "yref": "container", "yanchor": "top"},
        showlegend=named,
        xaxis=horizontal,
        yaxis=_layers([row.name for row in rows], top=1.0),
        shapes=shapes,
        annotations=notes,
    )


def _outline(edges: np.ndarray, shares: np.ndarray, log: bool) -> tuple[np.ndarray, np.ndarray]:
    """The steps of a histogram from its line and back, the highest one at 1."""
    heights = shares / np.diff(np.log(edges) if log else edges)
    top = heights.max(initial=0.0)
    heights = heights / top if top > 0 else heights
    x = np.concatenate([edges[:1], np.repeat(edges, 2)[1:-1], edges[-1:]])
    return x, np.concatenate([[0.0], np.repeat(heights, 2), [0.0]])


def _layers(names: Sequence[str], *, top: float) -> Spec:
    """An axis with a layer at each whole number, the first one on top."""
    short = [name if len(name) <= 28 else f"…{name[-27:]}" for name in names]
    return {
        "tickvals": list(range(len(names))),
        "ticktext": [label(name) for name in short],
        "range": [len(names) - 0.6, -top],
        "zeroline": False,
    }


def course_figure(curves: Sequence[tuple[str, np.ndarray, np.ndarray]], title: str, start: float) -> Spec:
    """The mean of what a layer learned at every evaluation, early layers in orange, late ones in blue.

    Args:
        curves: name of a layer, steps, values.
        title: of the vertical axis.
        start: where all began, a dashed line; NaN for none.
    """
    data: list[Spec] = []
    for place, (name, steps, values) in enumerate(curves):
        share = place / max(1, len(curves) - 1)
        mixed = (round(a + share * (b - a)) for a, b in zip(_FIRST, _LAST, strict=True))
        data.append(
            {"type": "scatter", "mode": "lines", "x": steps, "y": values, "name": label(name)}
            | {"line": {"color": f"rgb({', '.join(map(str, mixed))})", "width": 2}}
        )
    shapes = []
    if math.isfinite(start):
        line = {"color": REFERENCE, "dash": "dash", "width": 1.3}
        shapes.append({"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": start, "y1": start, "line": line})
    # more names than this would leave no room for the curves
    return spec(data, showlegend=len(curves) <= 12, xaxis=axis("step"), yaxis=axis(title), shapes=shapes)


def sizes_figure(
    runs: Sequence[tuple[str, str, dict[str, float]]], chance: dict[str, float], title: str, *, words: str
) -> Spec:
    """A number of every layer, a dot for each run.

    Args:
        runs: name, colour, and layer -> number.
        chance: layer -> what it would be by chance.
        title: of the axis.
        words: what chance is, for the legend.
    """
    names = list(chance)
    ticks_x = [value for name in names for value in (chance[name], chance[name], math.nan)]
    ticks_y = [value for place in range(len(names)) for value in (place - 0.35, place + 0.35, math.nan)]
    data: list[Spec] = [
        {"type": "scatter", "mode": "lines", "x": np.array(ticks_x), "y": np.array(ticks_y), "name": words}
        | {"line": {"color": QUIET, "width": 3}, "hoverinfo": "skip"}
    ]
    for place, (name, color, values) in enumerate(runs):
        shift = (place - (len(runs) - 1) / 2) * 0.5 / len(runs)
        shown = [(values[layer], number + shift, layer) for number, layer in enumerate(names) if layer in values]
        data.append(
            {"type": "scatter", "mode": "markers", "name": label(name), "marker": {"size": 10, "color": color}}
            | {"x": [x for x, _, _ in shown], "y": [y for _, y, _ in shown], "cliponaxis": False}
            | {"hovertext": [f"{label(layer)}: {x:.3f}" for x, _, layer in shown], "hoverinfo": "text+name"}
        )
    return spec(
        data,
        height=130 + (16 + 6 * len(runs)) * len(names),
        margin={"l": 110, "r": 24, "t": 48, "b": 48},
        legend={"orientation": "h", "x": 0, "y": 1, "yref": "container", "yanchor": "top"},
        showlegend=True,
        xaxis=axis(title, rangemode="tozero"),
        yaxis=_layers(names, top=0.6),
    )
