# SPDX-License-Identifier: MIT
"""Pages made of sections, and their way into one HTML file that needs nothing else to open."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from hypersphere.files import write_atomically
from hypersphere.report.facts import Fact
from hypersphere.report.theme import DARK, LIGHT, Spec, encode

__all__ = ["Block", "Choice", "Details", "Figure", "Grid", "Missing", "Page", "Picture", "Pictures", "Section", "Table"]


@dataclass(frozen=True)
class Figure:
    """A plotly figure with its title and the sentence below it."""

    title: str
    spec: Spec
    caption: str = ""
    kind: str = "figure"


@dataclass(frozen=True)
class Grid:
    """Blocks side by side, as many in a row as the window holds; a list of blocks stands in one column.

    Args:
        blocks: what stands in the cells.
        caption: a sentence below them all.
        size: "small" for many figures with little in them, "large" for two in a row.
    """

    blocks: Sequence[Block | Sequence[Block]]
    caption: str = ""
    size: str = "small"
    kind: str = "grid"


@dataclass(frozen=True)
class Choice:
    """Figures of which a menu shows one at a time; the figures' titles are the entries.

    `asides`, one for each figure, stand beside them.
    """

    title: str
    prompt: str
    figures: Sequence[Figure]
    asides: Sequence[Block] = ()
    caption: str = ""
    kind: str = "choice"


@dataclass(frozen=True)
class Table:
    """Rows of text; the first `num_names` columns hold names, the others numbers, which stand right-aligned."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    num_names: int = 1
    kind: str = "table"


@dataclass(frozen=True)
class Picture:
    """A small picture as a data URI with what stands below it."""

    source: str
    text: str


@dataclass(frozen=True)
class Pictures:
    """Many small pictures, and groups of a few with a sentence above each."""

    title: str
    pictures: Sequence[Picture]
    groups: Sequence[tuple[str, Sequence[Picture]]] = ()
    caption: str = ""
    kind: str = "pictures"


@dataclass(frozen=True)
class Details:
    """Long text that is folded away."""

    title: str
    text: str
    kind: str = "details"


@dataclass(frozen=True)
class Missing:
    """The sentence that stands where a figure cannot."""

    text: str
    kind: str = "missing"


Block = Figure | Grid | Choice | Table | Pictures | Details | Missing


@dataclass(frozen=True)
class Section:
    """A part of the page, reached by its name at the top."""

    name: str
    title: str
    lead: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Page:
    """A page from its title down; texts may name things between backticks. `source` says what it was made from."""

    title: str
    subtitle: str
    headline: Sequence[Fact] = ()
    reading: Sequence[str] = ()
    notes: Sequence[str] = ()
    identity: Sequence[Fact] = ()
    sections: Sequence[Section] = field(default=())
    source: str = "Made from the files of the run folder alone."

    def render(self) -> str:
        """The page as HTML, figures and plotly.js inside.

        Raises:
            ImportError: if jinja2 or plotly is not installed; the message tells how to install them.
        """
        figures: list[Spec] = []

        def place(figure: Figure) -> int:
            figures.append(figure.spec)
            return len(figures) - 1

        template = _environment().get_template("page.html.j2")
        # figures collect while the body is made, so the body comes first
        body = _environment().get_template("body.html.j2").render(page=self, place=place)
        page: str = template.render(
            page=self,
            body=body,
            plotly=_plotly(),
            figures=encode({"figures": figures, "light": LIGHT, "dark": DARK}),
        )
        return page

    def write(self, path: Path) -> Path:
        """Render into a file, whole or not at all.

        Raises:
            OSError: if the file cannot be written.
        """
        text = self.render()
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text)
        return path


@cache
def _environment() -> Any:
    try:
        import jinja2
    except ImportError as error:
        raise _missing("jinja2") from error

    return jinja2.Environment(
        loader=jinja2.PackageLoader("hypersphere.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )


@cache
def _plotly() -> str:
    try:
        from plotly.offline import get_plotlyjs
    except ImportError as error:
        raise _missing("plotly") from error
    return str(get_plotlyjs())


def _missing(package: str) -> ImportError:
    return ImportError(f'report: {package} is not installed: run pip install "hypersphere[report]".')
