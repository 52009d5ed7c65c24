# SPDX-License-Identifier: MIT
"""Figures of a diagnosis: every layer between the lowest energy and chance, angles beside those of chance, lengths."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from hypersphere.analysis import LayerDiagnosis
from hypersphere.analysis.pairs import ANGLE_BINS
from hypersphere.report.diagnosis_words import degrees, percent, signed
from hypersphere.report.energies import FARTHEST
from hypersphere.report.theme import MINIMUM, QUIET, REFERENCE, Spec, axis, label, spec

__all__ = ["Drawn", "angles_figure", "chance_of_angles", "lengths_figure", "places_figure"]

Drawn = tuple[str, str, Sequence[LayerDiagnosis]]
"""Name, colour and layers of one model."""

_SPREAD = 3.0  # standard deviations around chance that are drawn as a band


def places_figure(models: Sequence[Drawn], names: Sequence[str]) -> Spec:
    """Every layer between the lowest energy (0 %) and random directions (100 %), with the band that chance fills."""
    data: list[Spec] = [_chance_band(models, names)]
    for place, (model, color, rows) in enumerate(models):
        shift = (place - (len(models) - 1) / 2) * 0.6 / len(models)
        placed = [row for row in rows if row.position is not None]
        at = np.array([row.position for row in placed], dtype=np.float64)
        beyond = at > FARTHEST
        data.append(
            {
                "type": "scatter",
                "mode": "markers+text",
                "name": label(model),
                "x": np.minimum(at, FARTHEST),
                "y": [names.index(row.name) + shift for row in placed],
                "marker": {
                    "size": 11,
                    "color": color,
                    "symbol": ["triangle-right" if far else "circle" for far in beyond],
                },
                "text": [percent(value) for value in at] if len(models) == 1 else [],
                "textposition": "middle right",
                "textfont": {"size": 10.5},
                "hovertext": [_told(row) for row in placed],
                "hoverinfo": "text",
                "cliponaxis": False,
                "showlegend": len(models) > 1,
            }
        )
    if len(models) == 2:
        data.insert(1, _bars(models, names))
    notes = [
        {"x": x, "y": 1, "yref": "paper", "yanchor": "bottom", "text": text, "showarrow": False}
        | {"font": {"size": 11, "color": color}}
        for x, text, color in ((0.0, "lowest energy", MINIMUM), (1.0, "random directions", REFERENCE))
    ]
    every = [row.position for _, _, rows in models for row in rows if row.position is not None]
    low, high = min([0.0, *every]), min(FARTHEST, max([1.0, *every]))
    title = "way from the lowest energy to that of random directions"
    shown = {row.name: row for _, _, rows in models for row in rows}
    return spec(
        data,
        height=120 + (14 if len(models) == 1 else 20) * max(4, len(names)),
        margin={"l": 150, "r": 24, "t": 64, "b": 48},
        legend={"orientation": "h", "x": 0, "y": 1, "yref": "container", "yanchor": "top"},
        showlegend=True,
        xaxis=axis(title, tickformat=".0%", zeroline=False, showgrid=False)
        | {"range": [max(low, -0.2) - 0.06, high + 0.14]},
        yaxis={
            "tickvals": list(range(len(names))),
            "ticktext": [_tick(name, shown.get(name)) for name in names],
            "range": [len(names) - 0.4, -0.6],
            "zeroline": False,
        },
        shapes=[_upright(0.0, MINIMUM), _upright(1.0, REFERENCE)],
        annotations=notes,
    )


def _tick(name: str, row: LayerDiagnosis | None) -> str:
    short = name if len(name) <= 28 else f"…{name[-27:]}"
    bound = row is not None and row.position is not None and not row.is_reached
    return label(short) + (" *" if bound else "")


def _told(row: LayerDiagnosis) -> str:
    away = "" if row.num_deviations is None else f", {signed(row.num_deviations)} standard deviations from chance"
    return (
        f"<b>{label(row.name)}</b>: {row.num_neurons} neurons in {row.dim} dimensions<br>at {percent(row.position)}"
        f"{away}<br>closest pair {degrees(row.smallest_angle)}, {row.near_duplicates} pairs of twins"
    )


def _chance_band(models: Sequence[Drawn], names: Sequence[str]) -> Spec:
    """Three standard deviations of the random energy on both sides of it, for each layer."""
    x: list[float] = []
    y: list[float] = []
    for number, name in enumerate(names):
        row = next((row for _, _, rows in models for row in rows if row.name == name), None)
        if row is None or row.deviation is None or row.expected is None or row.lowest is None:
            continue
        if row.expected > row.lowest:
            half = _SPREAD * row.deviation / (row.expected - row.lowest)
            x += [max(1 - half, -0.2), min(1 + half, FARTHEST), math.nan]
            y += [number, number, math.nan]
    return {
        "type": "scatter",
        "mode": "lines",
        "x": np.array(x),
        "y": np.array(y),
        "line": {"color": QUIET, "width": 9},
        "opacity": 0.35,
        "name": "what chance does (± 3 standard deviations)",
        "hoverinfo": "skip",
        "showlegend": True,
    }


def _bars(models: Sequence[Drawn], names: Sequence[str]) -> Spec:
    """Lines from the first model to the second."""
    first, second = ({row.name: row for row in rows} for _, _, rows in models)
    x: list[float] = []
    y: list[float] = []
    for name in names:
        a, b = first.get(name), second.get(name)
        if a is not None and b is not None and a.position is not None and b.position is not None:
            x += [min(a.position, FARTHEST), min(b.position, FARTHEST), math.nan]
            y += [names.index(name) - 0.15, names.index(name) + 0.15, math.nan]
    line = {"color": QUIET, "width": 1.5}
    return {"type": "scatter", "mode": "lines", "x": np.array(x), "y": np.array(y), "line": line} | {
        "hoverinfo": "skip",
        "showlegend": False,
    }


def chance_of_angles(dim: int) -> np.ndarray:
    """Share of random pairs whose angle lies in each of the 360 half degrees: the density sin^(D-2), integrated."""
    fine = 64
    theta = (np.arange(ANGLE_BINS * fine) + 0.5) * math.pi / (ANGLE_BINS * fine)
    density = np.exp((dim - 2) * np.log(np.sin(theta)))
    shares: np.ndarray = density.reshape(ANGLE_BINS, fine).sum(axis=1) / density.sum()
    return shares


def angles_figure(models: Sequence[tuple[str, str, LayerDiagnosis]], near_angle: float) -> Spec:
    """Angles of all pairs of one layer as shares, beside what random directions would show."""
    _, _, first = models[0]
    chance = chance_of_angles(first.dim)
    shares = [row.angle_counts / max(1, row.angle_counts.sum()) for _, _, row in models]
    # from the narrowest bins that are not ragged: a few dozen across what is filled
    filled = np.flatnonzero(sum(shares) + (chance > 1e-5))
    low, high = int(filled.min(initial=ANGLE_BINS)), int(filled.max(initial=0))
    width = next(width for width in (1, 2, 4, 6, 10, 20) if (high - low) / width <= 60 or width == 20)
    centers = (np.arange(ANGLE_BINS // width) + 0.5) * width / 2
    data: list[Spec] = []
    for (model, color, _), share in zip(models, shares, strict=True):
        data.append(
            {"type": "bar", "x": centers, "y": share.reshape(-1, width).sum(axis=1), "name": label(model)}
            | {"width": width / 2, "marker": {"color": color}, "opacity": 0.65}
            | {"hovertemplate": f"%{{x:.1f}}°: %{{y:.2%}} of all pairs<extra>{label(model)}</extra>"}
        )
    data.append(
        {"type": "scatter", "mode": "lines", "x": centers, "y": chance.reshape(-1, width).sum(axis=1)}
        | {"name": f"random directions in {first.dim} dimensions", "line": {"color": REFERENCE, "width": 2}}
        | {"hovertemplate": "%{x:.1f}°: %{y:.2%}<extra>random</extra>"}
    )
    near = math.degrees(near_angle)
    reach = [min(low / 2, 90) - 4, max(high / 2, 90) + 4]
    shapes = [_upright(near, MINIMUM)] if reach[0] < near else []
    return spec(
        data,
        height=400,
        barmode="overlay",
        bargap=0,
        xaxis=axis("angle between two neurons", ticksuffix="°", range=[max(0.0, reach[0]), min(180.0, reach[1])]),
        yaxis=axis("share of all pairs", tickformat=".1%"),
        shapes=shapes,
    )


def lengths_figure(models: Sequence[Drawn], names: Sequence[str]) -> Spec:
    """Shortest, median and longest neuron of each layer, as multiples of the median."""
    data: list[Spec] = []
    for place, (model, color, rows) in enumerate(models):
        shift = (place - (len(models) - 1) / 2) * 0.6 / len(models)
        x: list[float] = []
        y: list[float] = []
        hover: list[str] = []
        for row in rows:
            if row.norm_median and row.norm_min is not None and row.norm_max is not None:
                x += [row.norm_min / row.norm_median, row.norm_max / row.norm_median, math.nan]
                y += [names.index(row.name) + shift] * 2 + [math.nan]
                text = f"{label(row.name)}: {row.norm_min:.3g} to {row.norm_max:.3g}, median {row.norm_median:.3g}"
                hover += [text, text, ""]
        data.append(
            {"type": "scatter", "mode": "lines+markers", "x": np.array(x), "y": np.array(y), "name": label(model)}
            | {"line": {"color": color, "width": 4}, "marker": {"size": 5, "color": color}}
            | {"hovertext": hover, "hoverinfo": "text"}
        )
    shown = {row.name: None for _, _, rows in models for row in rows}
    return spec(
        data,
        height=110 + (14 if len(models) == 1 else 18) * max(4, len(names)),
        margin={"l": 150, "r": 24, "t": 40, "b": 48},
        showlegend=len(models) > 1,
        xaxis=axis("length, in medians of the layer", type="log"),
        yaxis={
            "tickvals": list(range(len(names))),
            "ticktext": [_tick(name, shown.get(name)) for name in names],
            "range": [len(names) - 0.4, -0.6],
            "zeroline": False,
        },
        shapes=[_upright(1.0, REFERENCE)],
    )


def _upright(x: float, color: str) -> Spec:
    line = {"color": color, "dash": "dash", "width": 1.3}
    return {"type": "line", "yref": "paper", "x0": x, "x1": x, "y0": 0, "y1": 1, "layer": "below", "line": line}
