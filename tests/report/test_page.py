# SPDX-License-Identifier: MIT
"""Tests of report.page: one file that needs nothing else, and in which names stay names."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from hypersphere.report import page as module
from hypersphere.report.page import (
    Choice,
    Details,
    Figure,
    Grid,
    Missing,
    Page,
    Picture,
    Pictures,
    Section,
    Table,
)
from hypersphere.report.theme import spec

EVIL = "<script>alert('x')</script>`"


def figure(name: str = "curve") -> Figure:
    return Figure(name, spec([{"type": "scatter", "x": [0, 1], "y": [0, 1]}]), "Its caption.")


def page(*blocks: Any, **more: Any) -> Page:
    return Page("digits", "A subtitle.", sections=[Section("first", "First", "A lead.", list(blocks))], **more)


def own_part(text: str) -> str:
    """The page without the library that is embedded in it."""
    return text.replace(module._plotly(), "")


def stored(text: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="figures">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    result: dict[str, Any] = json.loads(found[1])
    return result


def test_every_kind_of_block_has_its_place() -> None:
    blocks = [
        figure(),
        Grid([figure("left"), [figure("right"), Missing("Nothing below.")]], "Below both."),
        Choice("Maps", "Layer", [figure("one"), figure("two")], [Missing("aside 1"), Missing("aside 2")], "The maps."),
        Table("Numbers", ("name", "value"), [("a", "1"), ("b", "2")], "A table."),
        Pictures("Filters", [Picture("data:image/png;base64,AAAA", "7")], [("close", [])]),
        Details("Config", "a: 1"),
    ]
    text = page(*blocks, headline=[("accuracy", "97%")], reading=["It is `good`."], notes=["A note."]).render()
    own = own_part(text)
    for wanted in (
        "<h1>digits</h1>", "A subtitle.", "<dt>accuracy</dt><dd>97%</dd>", "<li>It is <code>good</code>.</li>",
        "A note.", 'href="#first"', 'id="first"', "A lead.", "Its caption.", "Below both.", "Nothing below.",
        "<option>two</option>", "aside 2", "The maps.", '<th scope="row">a</th><td class="number">1</td>',
        "data:image/png;base64,AAAA", "<summary>Config</summary>",
    ):  # fmt: skip
        assert wanted in own, wanted
    assert [int(number) for number in re.findall(r'data-figure="(\d+)"', own)] == [0, 1, 2, 3, 4]
    assert len(stored(text)["figures"]) == 5


def test_the_page_needs_nothing_else() -> None:
    text = page(figure()).render()
    own = own_part(text)
    assert text.count(module._plotly()) == 1
    assert not re.search(r"""(?:src|href)\s*=\s*["'](?!#|data:)""", own)
    assert not re.search(r"@import|url\((?!data:)|https?://", own)
    # a browser refuses every request, and the buttons that plotly would show by default are replaced
    assert "default-src 'none'" in own
    assert "modeBarButtons:" in own
    assert "Cloud" not in own


def test_names_from_the_data_stay_names() -> None:
    blocks = [
        Figure(EVIL, spec([{"type": "scatter", "x": [0], "y": [0], "name": EVIL}]), EVIL),
        Choice(EVIL, EVIL, [figure(EVIL)], caption=EVIL),
        Table(EVIL, (EVIL, EVIL), [(EVIL, EVIL)]),
        Pictures(EVIL, [Picture("data:,", EVIL)], [(EVIL, [])]),
        Details(EVIL, EVIL),
        Missing(EVIL),
        Grid([figure(EVIL)], EVIL),
    ]
    section = Section("first", EVIL, EVIL, blocks)
    facts = [(EVIL, EVIL)]
    text = Page(EVIL, EVIL, facts, [EVIL], [EVIL], facts, [section]).render()
    assert "<script>alert" not in own_part(text)
    assert stored(text)["figures"][0]["data"][0]["name"] == EVIL


def test_writing_makes_folders_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = page(figure()).write(tmp_path / "a" / "b.html")
    assert path == tmp_path / "a" / "b.html"
    assert [one.name for one in path.parent.iterdir()] == ["b.html"]
    assert path.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_a_page_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        page().write(tmp_path / "file" / "page.html")


@pytest.mark.parametrize(("package", "make"), [("jinja2", "_environment"), ("plotly.offline", "_plotly")])
def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, package: str, make: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    name = package.split(".")[0]
    with pytest.raises(
        ImportError, match=rf'^report: {name} is not installed: run pip install "hypersphere\[report\]"\.$'
    ):
        getattr(module, make).__wrapped__()
