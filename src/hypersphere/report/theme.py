# SPDX-License-Identifier: MIT
"""Colours, sizes and wording that all figures share, and the step from a figure to text a page can carry."""

from __future__ import annotations

import base64
import html
import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = [
    "CLASSES",
    "DARK",
    "DIVERGING",
    "EVALUATION",
    "LIGHT",
    "MINIMUM",
    "QUIET",
    "REFERENCE",
    "RUNS",
    "TRAIN",
    "Spec",
    "axis",
    "class_color",
    "encode",
    "label",
    "reference_line",
    "spec",
]

Spec = dict[str, Any]
"""A plotly figure as plain data: `{"data": [traces], "layout": {...}}`, with numpy arrays where numbers are many."""

# Okabe and Ito's colours, told apart by every kind of colour vision
TRAIN, EVALUATION, MINIMUM = "#0072B2", "#D55E00", "#009E73"
REFERENCE, QUIET = "#7f8794", "#a7adb8"
RUNS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"]
# Petroff's ten (arXiv:2107.02270), chosen by a survey under models of colour blindness
CLASSES = [
    "#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6",
    "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd",
]  # fmt: skip
DIVERGING = [[0.0, "#2166ac"], [0.25, "#92c5de"], [0.5, "#f7f7f7"], [0.75, "#f4a582"], [1.0, "#b2182b"]]


def class_color(number: int) -> str:
    """The colour of a class; after ten they begin again."""
    return CLASSES[number % len(CLASSES)]


def label(name: object, longest: int = 40) -> str:
    """A name from the data as plotly may show it: plotly reads tags in its texts, so they are escaped."""
    text = str(name)
    text = text if len(text) <= longest else text[: longest - 1] + "…"
    return html.escape(text)


def axis(title: str, **more: Any) -> Spec:
    """An axis with its title, in words and with its unit."""
    return {"title": {"text": title, "standoff": 8}, **more}


def spec(data: Sequence[Spec], *, height: int = 340, **layout: Any) -> Spec:
    """A figure from traces and whatever of the layout differs from the theme."""
    base: Spec = {
        "height": height,
        "margin": {"l": 62, "r": 16, "t": 16, "b": 48},
        "hovermode": "closest",
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "xanchor": "left", "yanchor": "bottom"},
    }
    return {"data": list(data), "layout": base | layout}


def reference_line(value: float, text: str, color: str, *, above: bool, end: bool = True) -> Spec:
    """A dashed horizontal line across a figure, its label above or below it at the right end, else at the left."""
    return {
        "type": "line",
        "xref": "paper",
        "x0": 0,
        "x1": 1,
        "y0": value,
        "y1": value,
        "layer": "below",
        "line": {"color": color, "dash": "dash", "width": 1.3},
        "label": {
            "text": text,
            "textposition": "end" if end else "start",
            "yanchor": "bottom" if above else "top",
            "padding": 3,
            "font": {"size": 10, "color": color},
        },
    }


def encode(value: Any) -> str:
    """JSON that plotly reads and that may stand inside a script element.

    Arrays of numbers travel as base64 in the form plotly.js documents, in single precision; NaN and infinities become
    null, which plotly leaves out.
    """
    return json.dumps(_plain(value), allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if not isinstance(value, np.ndarray):
        return value
    if value.dtype.kind not in "iufb":
        return _plain(value.tolist())
    if value.dtype.kind == "f":
        kind, value = "f4", np.where(np.isfinite(value), value, np.nan).astype("<f4")
    elif value.dtype == np.uint8:
        kind = "u1"
    else:
        kind, value = "i4", value.astype("<i4")
    packed: Spec = {"dtype": kind, "bdata": base64.b64encode(np.ascontiguousarray(value).tobytes()).decode()}
    if value.ndim > 1:
        packed["shape"] = ", ".join(map(str, value.shape))
    return packed


def _template(text: str, grid: str, line: str, surface: str, panel: str) -> Spec:
    one_axis = {
        "gridcolor": grid,
        "linecolor": line,
        "zerolinecolor": grid,
        "zerolinewidth": 1,
        "ticks": "outside",
        "ticklen": 4,
        "tickcolor": line,
        "automargin": True,
    }
    return {
        "layout": {
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "font": {
                "family": "system-ui, -apple-system, 'Segoe UI', Roboto, 'Liberation Sans', sans-serif",
                "size": 12,
                "color": text,
            },
            "colorway": RUNS,
            "xaxis": one_axis,
            "yaxis": one_axis,
            "hoverlabel": {"bgcolor": panel, "bordercolor": line, "font": {"color": text}},
            "legend": {"bgcolor": "rgba(0,0,0,0)"},
            "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": line, "activecolor": text},
        },
        "data": {
            "surface": [
                {"type": "surface", "colorscale": [[0, surface], [1, surface]], "showscale": False, "hoverinfo": "skip"}
            ]
        },
    }


LIGHT = _template("#24292f", "#e6e9ee", "#b6bdc8", "#eef1f5", "#ffffff")
DARK = _template("#d7dde5", "#323a45", "#5a6573", "#2a313b", "#1d232b")
