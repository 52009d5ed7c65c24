# SPDX-License-Identifier: MIT
"""Learning curves: what training minimised, what the evaluations saw, how large the steps were."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hypersphere.report.run import Run, series
from hypersphere.report.terms import regularizer_names, term_words
from hypersphere.report.theme import EVALUATION, TRAIN, Spec, axis, label, spec

__all__ = ["Curve", "curve_figure", "learning_curves", "smooth"]

# name in the legend, steps, values, colour, whether the values are few and each counts
Curve = tuple[str, np.ndarray, np.ndarray, str, bool]


def smooth(values: np.ndarray, window: int) -> np.ndarray:
    """Centred moving mean over `window` values, fewer at the ends."""
    half = min(window, len(values)) // 2
    total = np.concatenate([[0.0], np.cumsum(values)])
    position = np.arange(len(values))
    low, high = np.maximum(position - half, 0), np.minimum(position + half + 1, len(values))
    result: np.ndarray = (total[high] - total[low]) / (high - low)
    return result


def curve_figure(
    curves: Sequence[Curve], title: str, *, tickformat: str | None = None, log: bool = False, smoothed: bool = True
) -> Spec:
    """Curves over the steps of training: many noisy values as a faint line with a smooth one, few as dots.

    Args:
        curves: what to draw; empty ones are left out.
        title: of the vertical axis.
        tickformat: d3 format of its ticks.
        log: whether that axis is logarithmic, where values are positive and span more than a factor of 20.
        smoothed: whether many values get a smooth line; not where they have no noise.
    """
    data: list[Spec] = []
    for name, steps, values, color, few in curves:
        if not len(values):
            continue
        base = {"type": "scatter", "x": steps, "name": label(name), "legendgroup": label(name)}
        line = {"color": color, "width": 2}
        if few:
            data.append(base | {"y": values, "mode": "lines+markers", "line": line, "marker": {"size": 6}})
        elif len(values) > 60 and smoothed:
            faint = {"color": color, "width": 1}
            raw = {
                "y": values,
                "mode": "lines",
                "line": faint,
                "opacity": 0.3,
                "showlegend": False,
                "hoverinfo": "skip",
            }
            data.append(base | raw)
            data.append(base | {"y": smooth(values, len(values) // 30), "mode": "lines", "line": line})
        else:
            data.append(base | {"y": values, "mode": "lines", "line": line})
    vertical = axis(title) | ({"tickformat": tickformat} if tickformat else {}) | (_logarithmic(data) if log else {})
    return spec(data, xaxis=axis("step"), yaxis=vertical)


def _logarithmic(data: Sequence[Spec]) -> Spec:
    values = np.concatenate([trace["y"] for trace in data] or [np.zeros(0)])
    wide = len(values) and values.min() > 0 and values.max() > 20 * values.min()
    return {"type": "log", "dtick": 1, "minor": {"showgrid": True}} if wide else {}


def learning_curves(run: Run) -> dict[str, Spec]:
    """Figures by subject: loss, accuracy, each term beside the objective by its words, rate; empty ones left out."""
    splits = list(dict.fromkeys(str(row.get("split", "evaluation")) for row in run.evaluations))
    by_split = {
        split: [row for row in run.evaluations if str(row.get("split", "evaluation")) == split] for split in splits
    }
    colors = [EVALUATION, "#CC79A7"]
    evaluated = [(split, by_split[split], colors[place % 2]) for place, split in enumerate(splits)]

    loss: list[Curve] = [("training objective", *series(run.train, "terms", "objective"), TRAIN, False)]
    if not len(loss[0][1]):
        loss = [("training loss", *series(run.train, "loss"), TRAIN, False)]
    loss += [(f"{split} loss", *series(rows, "loss"), color, True) for split, rows, color in evaluated]
    accuracy: list[Curve] = [("training batches", *series(run.train, "accuracy"), TRAIN, False)]
    accuracy += [(split, *series(rows, "accuracy"), color, True) for split, rows, color in evaluated]
    palette = ["#009E73", "#CC79A7", "#E69F00", "#56B4E9"]
    terms = {}
    # in a figure of their own each, as their sizes may be far apart
    for place, name in enumerate(regularizer_names(run)):
        curve = (term_words(run, name), *series(run.train, "terms", name), palette[place % 4], False)
        terms[term_words(run, name)] = curve_figure([curve], "weighted term of the loss")
    rate: list[Curve] = [("rate", *series(run.train, "rate"), TRAIN, False)]
    found = {
        "loss": curve_figure(loss, "loss (nats per image)", log=True),
        "accuracy": curve_figure(accuracy, "accuracy", tickformat=".0%"),
        **terms,
        "rate": curve_figure(rate, "learning rate"),
    }
    for subject in (*terms, "rate"):
        found[subject]["layout"]["showlegend"] = False
    return {subject: figure for subject, figure in found.items() if figure["data"]}
