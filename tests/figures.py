# SPDX-License-Identifier: MIT
"""Whether a figure is one that plotly draws: every name and value in it is known to plotly, and it can be written."""

from __future__ import annotations

import json
from typing import Any

import plotly.graph_objects

from hypersphere.report.theme import encode

__all__ = ["checked", "names"]


def checked(spec: dict[str, Any]) -> dict[str, Any]:
    """The figure itself, after plotly has accepted all of it and it has gone to JSON and back."""
    plotly.graph_objects.Figure(spec)
    assert json.loads(encode(spec)).keys() == {"data", "layout"}
    assert spec["layout"]["height"] >= 100
    return spec


def names(spec: dict[str, Any]) -> list[str]:
    """What the legend shows, in order."""
    return [trace["name"] for trace in spec["data"] if trace.get("name") and trace.get("showlegend", True)]
