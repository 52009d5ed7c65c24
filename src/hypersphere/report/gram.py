# SPDX-License-Identifier: MIT
"""The heat map of cosines between the neurons of one layer, alone or beside the same layer of other runs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hypersphere.report.theme import DIVERGING, Spec, label, spec

__all__ = ["gram_figure"]

_IN_A_ROW = 3


def gram_figure(maps: Sequence[tuple[str, np.ndarray, np.ndarray]], *, kind: str = "neuron") -> Spec:
    """Cosines as colours, blue for opposite and red for similar, the diagonal left blank.

    The colours reach to the largest cosine off the diagonal, of all maps together, so that they compare.

    Args:
        maps: title, (k, k) cosines and (k,) the neurons' numbers of each map; titles are shown when there are several.
        kind: what a number is the number of.
    """
    columns = min(len(maps), _IN_A_ROW)
    rows = -(-len(maps) // _IN_A_ROW)
    blanked = [np.where(np.eye(len(gram), dtype=bool), np.nan, gram) for _, gram, _ in maps]
    reach = max([0.01, *(float(np.nanmax(np.abs(gram))) for gram in blanked if np.isfinite(gram).any())])
    data: list[Spec] = []
    notes: list[Spec] = []
    axes: Spec = {}
    for place, ((title, _, numbers), gram) in enumerate(zip(maps, blanked, strict=True)):
        tail = str(place + 1) if place else ""
        across, down = _cell(place % _IN_A_ROW, columns, 0.03), _cell(rows - 1 - place // _IN_A_ROW, rows, 0.1)
        names = [f"{kind} {number}" for number in numbers]
        data.append(
            {"type": "heatmap", "z": gram, "x": names, "y": names, "xaxis": f"x{tail}", "yaxis": f"y{tail}"}
            | {"coloraxis": "coloraxis", "hoverongaps": False}
            | {"hovertemplate": "%{y} and %{x}<br>cosine %{z:.3f}<extra></extra>"}
        )
        plain: Spec = {
            "showticklabels": False,
            "ticks": "",
            "showgrid": False,
            "type": "category",
            "constrain": "domain",
        }
        axes[f"xaxis{tail}"] = plain | {"domain": across, "anchor": f"y{tail}"}
        axes[f"yaxis{tail}"] = plain | {"domain": down, "autorange": "reversed", "scaleanchor": f"x{tail}"}
        axes[f"yaxis{tail}"] |= {"anchor": f"x{tail}", "constraintoward": "top"}
        if len(maps) > 1:
            notes.append(
                {"text": label(title), "x": sum(across) / 2, "y": down[1], "xref": "paper", "yref": "paper"}
                | {"showarrow": False, "yanchor": "bottom", "font": {"size": 12}}
            )
    colorbar = {
        "title": {"text": "cosine"},
        "thickness": 12,
        "len": min(1.0, 460 / (480 * rows)),
        "y": 1,
        "yanchor": "top",
    }
    return spec(
        data,
        height={1: 520, 2: 500}.get(columns, 360) * rows,
        margin={"l": 10, "r": 10, "t": 30 if notes else 10, "b": 10},
        coloraxis={"colorscale": DIVERGING, "cmin": -reach, "cmax": reach, "colorbar": colorbar},
        annotations=notes,
        **axes,
    )


def _cell(place: int, count: int, gap: float) -> list[float]:
    """Beginning and end of one of `count` equal parts of [0, 1] with gaps between them."""
    width = (1 - gap * (count - 1)) / count
    return [place * (width + gap), place * (width + gap) + width]
