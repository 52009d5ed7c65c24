# SPDX-License-Identifier: MIT
"""Figures of how evenly neurons are spread: energies in all and by layer, smallest angles, with their references."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hypersphere.report.layers import LayerHistory, Total
from hypersphere.report.terms import LayerTerm, listed
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

__all__ = [
    "FARTHEST",
    "angle_figure",
    "energy_figure",
    "layer_label",
    "overview_figure",
    "term_figure",
    "total_figure",
]

FARTHEST = 2.0
"""Positions beyond this are drawn at the edge of the overview with their number."""

_SMALL: dict[str, Any] = {"height": 200, "margin": {"l": 56, "r": 10, "t": 10, "b": 40}, "showlegend": False}
_BARE: Spec = {"showgrid": False, "zeroline": False, "showline": True}


def energy_figure(history: LayerHistory, *, runs: Sequence[tuple[str, LayerHistory, str]] = ()) -> Spec:
    """Energy of one layer over time, its uniform expectation and its floor as dashed lines.

    Args:
        history: the layer.
        runs: name, the layer and colour for each of several runs, when these are compared; dotted where training did
            not push on the layer, without a reference on which they do not agree.
    """
    lines = runs or [("", history, EVALUATION if history.regularized else TRAIN)]
    return _energies(lines, "energy", ("known minimum", "lower bound"), **_SMALL)


def total_figure(runs: Sequence[tuple[str, Total, str]]) -> Spec:
    """Energy of all layers together over time, the sums of their expectations and floors as dashed lines.

    Args:
        runs: name, total and colour of each run, over the same layers; dotted where training pushed on none of them.
    """
    return _energies(
        runs,
        "energy of all layers",
        ("known minima", "minima and lower bounds"),
        showlegend=len(runs) > 1,
    )


def term_figure(runs: Sequence[tuple[str, LayerTerm, str]]) -> Spec:
    """What a regulariser measured of one layer over the training lines, a curve for each run."""
    data = [_line(name, one.steps, one.values, color, "%{y:.5g}") for name, one, color in runs]
    vertical = axis(label(runs[0][1].words), range=_room([one.values for _, one, _ in runs]), **_BARE)
    return spec([trace | {"mode": "lines"} for trace in data], xaxis=axis("step", **_BARE), yaxis=vertical, **_SMALL)


def _energies(
    lines: Sequence[tuple[str, LayerHistory | Total, str]], title: str, floors: tuple[str, str], **layout: Any
) -> Spec:
    """Curves with those references that all of them share; `floors` are the words for a minimum and for a bound."""
    form, several = "energy %{y:.5f}", len(lines) > 1
    data = [
        _line(name, one.energy_steps, one.energy, color, form, dotted=several and not one.regularized)
        for name, one, color in lines
    ]
    expected = _agreed([one.expected for _, one, _ in lines])
    floor = _agreed([one.floor.value if one.floor else float("nan") for _, one, _ in lines])
    room = _room([one.energy for _, one, _ in lines], expected, floor)
    shapes = []
    if expected is not None:
        below = [] if floor is None else [(floor, False)]
        curves = [(one.energy_steps, one.energy) for _, one, _ in lines]
        shapes.append(_random_line(expected, curves, room, below, is_small="height" in layout))
    if floor is not None:
        is_reached = all(one.floor.is_reached for _, one, _ in lines if one.floor)
        shapes.append(reference_line(floor, floors[0 if is_reached else 1], MINIMUM, above=False))
    vertical = axis(title, range=room, **_BARE)
    return spec(data, xaxis=axis("step", **_BARE), yaxis=vertical, shapes=shapes, **layout)


def _agreed(values: Sequence[float]) -> float | None:
    """The one finite value that all of them are, up to rounding."""
    first = values[0]
    return first if np.isfinite(values).all() and np.allclose(values, first, rtol=1e-9, atol=1e-12) else None


def angle_figure(history: LayerHistory, *, runs: Sequence[tuple[str, LayerHistory, str]] = ()) -> Spec:
    """Smallest angle between two neurons of one layer over time, in degrees, with what chance would leave."""
    lines = runs or [("", history, EVALUATION if history.regularized else TRAIN)]
    form, several = "%{y:.1f}°", len(lines) > 1
    data = [
        _line(name, one.angle_steps, np.degrees(one.angle), color, form, dotted=several and not one.regularized)
        for name, one, color in lines
    ]
    random = _agreed([float(np.degrees(one.random_angle)) for _, one, _ in lines])
    widest = _agreed([float(np.degrees(one.widest_angle)) for _, one, _ in lines])
    curves = [(one.angle_steps, np.degrees(one.angle)) for _, one, _ in lines]
    low, high = _room([angles for _, angles in curves], random, widest, 0.0)
    room = [max(low, -2.0), high]
    shapes = []
    if random is not None:
        above = [] if widest is None else [(widest, True)]
        shapes.append(_random_line(random, curves, room, above, is_small=True))
    if widest is not None:
        shapes.append(reference_line(widest, "widest possible", MINIMUM, above=True))
    vertical = axis("smallest angle", range=room, ticksuffix="°", **_BARE)
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
            words = listed(list(dict.fromkeys(word for one in pushed for word in one.pushed_by)))
            # a legend has little room
            group = f"{words} in the loss" if len(words) <= 20 else "regularised"
            groups = [(group, EVALUATION, pushed), ("only watched", TRAIN, watched)]
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
    # short enough for a narrow window
    horizontal = axis("0%: most even, 100%: random directions", tickformat=".0%", zeroline=False, showgrid=False)
    # numbers of layers near the most even arrangement stand to the left of it
    room = 0.16 if any(part.size and part[1] < 0.15 for _, layers, _ in runs for part in map(_ends, layers)) else 0.06
    horizontal |= {"range": [max(lowest, -0.2) - room, farthest + 0.16]}
    vertical = {
        "tickvals": list(range(len(names))),
        "ticktext": list(names.values()),
        "range": [len(names) - 0.4, -0.6],
        "zeroline": False,
    }
    return spec(
        data,
        height=110 + (10 + 16 * len(runs)) * len(names),
        margin={"l": 110, "r": 28, "t": 64, "b": 48},
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


def _line(name: str, steps: np.ndarray, values: np.ndarray, color: str, hover: str, *, dotted: bool = False) -> Spec:
    return {
        "type": "scatter",
        "x": steps,
        "y": values,
        "mode": "lines+markers" if len(values) < 40 else "lines",
        "line": {"color": color, "width": 2} | ({"dash": "dot"} if dotted else {}),
        "marker": {"size": 5},
        "name": label(name),
        "hovertemplate": f"step %{{x}}: {hover}<extra>{label(name)}</extra>",
    }


def _random_line(
    value: float,
    curves: Sequence[tuple[np.ndarray, np.ndarray]],
    room: Sequence[float],
    others: Sequence[tuple[float, bool]],
    *,
    is_small: bool,
) -> Spec:
    """The line of random directions, labelled where least else is drawn.

    Args:
        value: of the line.
        curves: steps and values of what is drawn besides.
        room: range of the vertical axis.
        others: value of every other line, and whether its label stands above it, at the right end.
        is_small: whether the label takes much of the figure.
    """
    width, height = (0.45, 0.1 * (room[1] - room[0])) if is_small else (0.25, 0.06 * (room[1] - room[0]))
    steps = np.concatenate([x for x, _ in curves])
    start, end = (float(steps.min()), float(steps.max())) if steps.size else (0.0, 1.0)

    def covered(above: bool, at_end: bool) -> float:
        """How much of the label's place is taken: by curves, in points of a grid, and by lines with their labels."""
        low, high = (value, value + height) if above else (value - height, value)
        share = np.linspace(1 - width, 1, 50) if at_end else np.linspace(0, width, 50)
        grid, taken = start + share * (end - start), 0.0
        for x, y in curves:
            there = np.interp(grid, x, y, left=np.nan, right=np.nan) if len(x) else np.full(len(grid), np.nan)
            taken += float(((there >= low) & (there <= high)).sum())
        for other, is_above in others:
            label_height = height if at_end else 0.0
            bottom, top = (other, other + label_height) if is_above else (other - label_height, other)
            taken += 100.0 * (bottom <= high and top >= low)
        return taken

    first = np.concatenate([y[: 1 + len(y) // 2] for _, y in curves])
    usual = bool(len(first) == 0 or float(np.median(first)) <= value)
    places = [(usual, False), (not usual, False), (usual, True), (not usual, True)]
    above, at_end = min(places, key=lambda place: covered(*place))
    return reference_line(value, "random directions", REFERENCE, above=above, end=at_end)


def _room(values: Sequence[np.ndarray], *more: float | None) -> list[float]:
    """A range that holds all finite values, with a margin for the labels of lines at its ends."""
    every = np.concatenate([*(np.ravel(part) for part in values), [value for value in more if value is not None]])
    every = every[np.isfinite(every)]
    low, high = (float(every.min()), float(every.max())) if every.size else (0.0, 1.0)
    margin = 0.16 * (high - low) or 0.05 * (abs(high) or 1.0)
    return [low - margin, high + margin]


def _upright(x: float, color: str) -> Spec:
    line = {"color": color, "dash": "dash", "width": 1.3}
    return {"type": "line", "yref": "paper", "x0": x, "x1": x, "y0": 0, "y1": 1, "layer": "below", "line": line}
