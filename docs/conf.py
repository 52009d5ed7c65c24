# SPDX-License-Identifier: MIT
"""How Sphinx builds these pages: offline, warnings as errors, API and tables read from the code itself."""

from __future__ import annotations

import importlib
import json
import re
import sys
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

import hypersphere
from hypersphere.catalogue import entries

project = "hypersphere"
author = copyright = "The hypersphere developers"
version = release = hypersphere.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinxcontrib.bibtex",
    "matplotlib.sphinxext.plot_directive",
]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "hypersphere"
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
bibtex_bibfiles = ["references.bib"]
bibtex_reference_style = "author_year"

# docstrings quote code with single backticks, as Markdown does
default_role = "code"
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
napoleon_custom_sections = ["Edge cases", "Source"]

plot_formats = [("svg", 100)]
plot_html_show_source_link = False
plot_html_show_formats = False


class Catalogue(SphinxDirective):
    """`{catalogue} FAMILY`: a table of all that can be chosen by name in one family, read from the code."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """One row an entry: its name, and its line."""
        rows = [[[nodes.literal(text=name)], [nodes.Text(line)]] for name, line in entries(self.arguments[0]).items()]
        return [_table(rows, widths=[25, 75])]


ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / hypersphere.__version__
# studies are no part of the package
sys.path.append(str(ROOT))


class Measured(SphinxDirective):
    """`{measured} FILE`: a table of what one benchmark recorded, and where and when it did.

    `:cells:` is an expression in which `row` and `column` say where a number stands; what does not match is left out.
    A number above its bound is bold and has the bound beside it.
    """

    required_arguments = 1
    option_spec = {"cells": directives.unchanged_required}  # noqa: RUF012

    def run(self) -> list[nodes.Node]:
        """The table, and a line on its origin."""
        path = RESULTS / f"{self.arguments[0]}.json"
        self.env.note_dependency(str(path))
        found = json.loads(path.read_text())
        cells: dict[str, dict[str, list[nodes.Node]]] = {}
        for line in found["rows"]:
            if place := re.fullmatch(self.options["cells"], f"{line['what']} / {line['against']}"):
                cells.setdefault(place["row"], {})[place["column"]] = _number(line)
        if not cells:
            raise self.error(f"no row of {path.name} matches {self.options['cells']}")
        columns = list(dict.fromkeys(column for row in cells.values() for column in row))
        body = [[[nodes.Text(row)], *[numbers.get(column, []) for column in columns]] for row, numbers in cells.items()]
        head = [[], *[[nodes.Text(column)] for column in columns]]
        processor = " ".join(filter(None, [found["processor"], found.get("instructions")]))
        origin = f"{processor}, {found['threads']} threads, PyTorch {found['torch']}, {found['date']}"
        tuned = [f"{name}={value}" for name, value in found.get("allocator", {}).items()]
        return [_table(body, head=head, widths=[1] * len(head)), nodes.paragraph("", ", ".join([origin, *tuned]) + ".")]


def _number(line: dict[str, Any]) -> list[nodes.Node]:
    """What a cell says of one measured row."""
    value, unit, bound = line["value"], line["unit"], line["bound"]
    if unit == "ratio":
        text = f"{value:.2f}" if line["holds"] or value >= bound + 0.005 else f"{value:.3f}"
    else:
        text = f"{value:.0f} MiB" if unit == "MiB" else f"{value:.2g} s"
    return [nodes.Text(text)] if line["holds"] else [nodes.strong("", text), nodes.Text(f" > {bound:g}")]


class Studied(SphinxDirective):
    """`{studied} STUDY`: the table of a study, as its own command prints it."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """The table."""
        study = importlib.import_module(f"studies.{self.arguments[0]}")
        self.env.note_dependency(str(ROOT / "studies" / "results" / f"{study.STUDY}.jsonl"))
        head, *body = [[[nodes.Text(cell)] for cell in cells] for cells in study.rows()]
        return [_table(body, head=head, widths=[1] * len(head))]


Row = list[list[nodes.Node]]


def _table(body: list[Row], *, widths: list[int], head: Row | None = None) -> nodes.table:
    """Rows of cells, each what stands in one paragraph."""

    def row(cells: Row) -> nodes.row:
        return nodes.row("", *[nodes.entry("", nodes.paragraph("", "", *cell)) for cell in cells])

    columns = [nodes.colspec(colwidth=width) for width in widths]
    heads = [] if head is None else [nodes.thead("", row(head))]
    return nodes.table("", nodes.tgroup("", *columns, *heads, nodes.tbody("", *map(row, body)), cols=len(widths)))


BIBLIOGRAPHY = (Path(__file__).parent / "references.bib").read_text()
KEYS = re.compile(rf"(?<!`)\b(?:{'|'.join(re.findall(r'^@[a-z]+{([a-z0-9]+),', BIBLIOGRAPHY, re.MULTILINE))})\b")


def read_as_text(app: Sphinx, what: str, name: str, item: object, options: Any, lines: list[str]) -> None:
    """Docstrings are written to be read as they are: norms |w| stay, and bibliography keys become links."""
    literal: int | None = None
    for number, line in enumerate(lines):
        indent = len(line) - len(line.lstrip())
        if literal is not None and line.strip() and indent <= literal:
            literal = None
        if literal is None and not line.lstrip().startswith((">>>", "...")):
            # only what stands outside `code`
            parts = re.split(r"(`[^`]*`)", line)
            parts[::2] = [re.sub(r"(?<!\\)\||(?<![\\*\w])\*(?=\w)", r"\\\g<0>", part) for part in parts[::2]]
            lines[number] = KEYS.sub(r":cite:t:`\g<0>`", "".join(parts))
        if literal is None and line.rstrip().endswith("::"):
            literal = indent


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.add_directive("catalogue", Catalogue)
    app.add_directive("measured", Measured)
    app.add_directive("studied", Studied)
    app.connect("autodoc-process-docstring", read_as_text)
