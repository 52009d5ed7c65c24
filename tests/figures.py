# SPDX-License-Identifier: MIT
"""Whether a figure is one that plotly draws, and what stands on a page."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import plotly.graph_objects

from hypersphere.report.page import Block, Choice, Figure, Grid, Missing
from hypersphere.report.theme import encode

__all__ = ["checked", "leaves", "names", "sentences", "titles"]

Blocks = Iterable[Block | list[Block]]


def checked(spec: dict[str, Any]) -> dict[str, Any]:
    """The figure itself, after plotly has accepted all of it and it has gone to JSON and back."""
    plotly.graph_objects.Figure(spec)
    assert json.loads(encode(spec)).keys() == {"data", "layout"}
    assert spec["layout"]["height"] >= 100
    return spec


def names(spec: dict[str, Any]) -> list[str]:
    """What the legend shows, in order."""
    return [trace["name"] for trace in spec["data"] if trace.get("name") and trace.get("showlegend", True)]


def leaves(blocks: Blocks) -> list[Block]:
    """All blocks in order, those inside of others too; every figure among them is checked."""
    found: list[Block] = []
    for block in blocks:
        if isinstance(block, list):
            found += leaves(block)
        elif isinstance(block, Grid):
            found += leaves(list(block.blocks))
        elif isinstance(block, Choice):
            found += leaves([*block.figures, *block.asides])
        else:
            found.append(block)
            if isinstance(block, Figure):
                checked(block.spec)
    return found


def titles(blocks: Blocks) -> list[str]:
    """Titles of all that is drawn or listed."""
    return [block.title for block in leaves(blocks) if not isinstance(block, Missing)]


def sentences(blocks: Blocks) -> list[str]:
    """What stands in the place of figures."""
    return [block.text for block in leaves(blocks) if isinstance(block, Missing)]
