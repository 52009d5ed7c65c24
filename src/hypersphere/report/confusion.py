# SPDX-License-Identifier: MIT
"""Which class is taken for which: the confusion matrix as a heat map and the pairs that stand out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hypersphere.report.arrange import cluster_order
from hypersphere.report.theme import Spec, label, spec

__all__ = ["FEW", "MOST_SHOWN", "Confused", "class_order", "confused_classes", "confusion_figure", "most_confused"]

FEW = 20
"""Up to so many classes every cell bears its count and the classes keep their order."""


MOST_SHOWN = 200
"""Classes that a matrix shows at most; more rows than pixels would show nothing."""


@dataclass(frozen=True)
class Confused:
    """`count` of the `total` samples of class `true` were taken for `predicted`."""

    true: int
    predicted: int
    count: int
    total: int


def most_confused(confusion: np.ndarray, *, count: int = 10) -> list[Confused]:
    """The mistakes made most often, most frequent first; fewer than `count` when there are fewer."""
    mistakes = np.where(np.eye(len(confusion), dtype=bool), 0, confusion)
    totals = confusion.sum(axis=1)
    true, predicted = np.nonzero(mistakes > 0)
    order = np.argsort(-mistakes[true, predicted], kind="stable")[:count]
    pairs = [(int(true[cell]), int(predicted[cell])) for cell in order]
    return [Confused(t, p, int(mistakes[t, p]), int(totals[t])) for t, p in pairs]


def confused_classes(confusion: np.ndarray | None, num_classes: int, *, limit: int) -> list[int]:
    """Up to `limit` classes in order: all of them if they fit, else those of the most frequent mistakes."""
    if num_classes <= limit:
        return list(range(num_classes))
    pairs = most_confused(confusion, count=limit) if confusion is not None else []
    found = list(dict.fromkeys(number for pair in pairs for number in (pair.true, pair.predicted)))
    return sorted(list(dict.fromkeys([*found, *range(num_classes)]))[:limit])


def class_order(confusion: np.ndarray) -> np.ndarray:
    """Rows as they are for few classes; for many, classes that are taken for each other stand together."""
    if len(confusion) <= FEW:
        return np.arange(len(confusion))
    share = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    return cluster_order(share + share.T)


def confusion_figure(confusion: np.ndarray, names: Sequence[str], classes: Sequence[int] | None = None) -> Spec:
    """Share of each true class (row) that is given each class (column).

    Right answers and mistakes have scales of their own, so that rare mistakes can be seen.

    Args:
        confusion: (C, C) counts.
        names: C names.
        classes: numbers of the classes that are shown, all when None; shares are of all images of a class.
    """
    chosen = np.arange(len(confusion)) if classes is None else np.asarray(classes, dtype=np.int64)
    order = chosen[class_order(confusion[np.ix_(chosen, chosen)])]
    counts = confusion[np.ix_(order, order)]
    shown = _distinct([label(names[number], 18) for number in order])
    share = counts / np.maximum(confusion.sum(axis=1)[order, None], 1)
    right = np.eye(len(counts), dtype=bool)
    few = len(counts) <= FEW
    base: Spec = {"type": "heatmap", "x": shown, "y": shown, "text": counts, "xgap": int(few), "ygap": int(few)}
    base |= {"hoverongaps": False}
    hover = "true: <b>%{y}</b><br>predicted: <b>%{x}</b><br>%{text} images, %{z:.1%} of the class<extra></extra>"
    worst = float(share[~right].max(initial=0.0))
    blues = [[0, "#e8f1fa"], [1, "#0b5394"]]
    reds = [[0, "rgba(213,94,0,0)"], [0.001, "rgba(213,94,0,0.12)"], [1, "rgba(190,70,0,1)"]]
    layers = [
        (np.where(right, share, np.nan), blues, 1.0, "right", 1.01),
        (np.where(right, np.nan, share), reds, max(worst, 1e-6), "mistaken", 1.09),
    ]
    data = [
        base
        | {"z": z, "colorscale": colors, "zmin": 0, "zmax": top, "hovertemplate": hover}
        | {
            "showscale": not few and bool(np.nansum(z)),
            "colorbar": {
                "title": {"text": title, "side": "top"},
                "thickness": 12,
                "x": x,
                "xanchor": "left",
                "tickformat": ".0%" if top >= 0.05 else ".1%",
            },
        }
        for z, colors, top, title, x in layers
    ]
    notes = _cell_numbers(counts, share, worst, shown) if few else []
    step = max(1, round(len(counts) / 50))
    ticks: Spec = {"type": "category", "tickvals": shown[::step], "showgrid": False, "zeroline": False}
    ticks |= {"tickfont": {"size": 11 if few else 9}}
    return spec(
        data,
        height=max(380, 30 * len(counts) + 120) if few else 860,
        margin={"l": 80, "r": 10 if few else 150, "t": 10 if few else 30, "b": 60},
        annotations=notes,
        xaxis=ticks | {"title": {"text": "predicted"}, "tickangle": -90 if max(map(len, shown), default=0) > 3 else 0},
        yaxis=ticks | {"title": {"text": "true"}, "autorange": "reversed"},
    )


def _cell_numbers(counts: np.ndarray, share: np.ndarray, worst: float, shown: Sequence[str]) -> list[Spec]:
    """The count of every cell that is not empty, light on dark and dark on light."""
    notes: list[Spec] = []
    for row, column in zip(*np.nonzero(counts), strict=True):
        dark = share[row, column] > (0.5 if row == column else 0.55 * worst)
        color = "#ffffff" if dark else "#24292f" if row == column else None
        font = {"size": 11} | ({"color": color} if color else {})
        notes.append(
            {
                "x": shown[column],
                "y": shown[row],
                "text": str(int(counts[row, column])),
                "showarrow": False,
                "font": font,
            }
        )
    return notes


def _distinct(names: Sequence[str]) -> list[str]:
    """Names as categories, which must differ from each other; a repeated one gets its place in line."""
    repeated = {name for name in names if list(names).count(name) > 1}
    return [f"{name} ({place})" if name in repeated else name for place, name in enumerate(names)]
