# SPDX-License-Identifier: MIT
"""The chapter on attacks: accuracy under each, how large a change images need, signs of masked gradients."""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hypersphere.report.page import Block, Figure, Grid, Missing, Section, Table
from hypersphere.report.run import Row, number
from hypersphere.report.theme import EVALUATION, TRAIN, Spec, axis, label, spec

__all__ = [
    "Attacked",
    "attack_sections",
    "budget_figure",
    "read_attacked",
    "read_robustness",
    "robustness_blocks",
    "runs_blocks",
]

# name in words, unit of the axis, what lengths are multiplied by
_NORMS = {
    "linf": ("L-inf", "largest change of a pixel (grey levels of 255)", 255.0),
    "l2": ("L2", "length (pixels of [0, 1])", 1.0),
}
_MOST_POINTS = 400
_LEAD = (
    "How many images stay right when each is changed a little, against the network, by someone who knows its weights. "
    "An image that is wrong by itself counts as wrong everywhere."
)


@dataclass(frozen=True)
class Attacked:
    """What `hypersphere evaluate --protocol robustness` left behind.

    Args:
        summary: `evaluation/robustness.json`.
        smallest: norm -> (N,) length of the smallest change known to fool each image: 0 where wrong by itself, infinite
            where none was found; without norms that were not measured.
    """

    summary: Row
    smallest: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def rows(self) -> list[Row]:
        """The attacks that have a name and an accuracy."""
        listed = self.summary.get("attacks")
        rows = [row for row in listed if isinstance(row, dict)] if isinstance(listed, list) else []
        return [row for row in rows if row.get("name") and math.isfinite(number(row, "robust_accuracy"))]

    @property
    def findings(self) -> list[Row]:
        """Signs of masked gradients that were looked for."""
        listed = self.summary.get("findings")
        return [row for row in listed if isinstance(row, dict) and row.get("text")] if isinstance(listed, list) else []

    @property
    def signs(self) -> list[Row]:
        """Those that were found."""
        return [row for row in self.findings if row.get("suspicious") is True]

    def accuracy(self, name: str) -> float:
        """Under an attack, NaN if it was not made."""
        return next((number(row, "robust_accuracy") for row in self.rows if row["name"] == name), math.nan)


def read_attacked(folder: Path) -> tuple[Attacked | None, list[str]]:
    """The result in a run folder, None where there is none, and sentences on what could not be read."""
    path = folder / "evaluation" / "robustness.json"
    if not path.is_file():
        return None, []
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        return None, [f"robustness.json could not be read ({error})."]
    if not isinstance(summary, dict):
        return None, ["robustness.json holds no mapping of names to values."]
    found: dict[str, np.ndarray] = {}
    notes = []
    try:
        # from memory, as numpy leaves a damaged file open
        with np.load(io.BytesIO(path.with_suffix(".npz").read_bytes()), allow_pickle=False) as stored:
            for norm in _NORMS:
                sizes = stored[f"smallest_{norm}"] if f"smallest_{norm}" in stored.files else np.zeros(0)
                if sizes.ndim == 1 and len(sizes) and sizes.dtype.kind == "f" and not np.isnan(sizes).any():
                    found[norm] = sizes
    except FileNotFoundError:
        notes.append("There is no robustness.npz: the changes that images need cannot be drawn.")
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        notes.append(f"robustness.npz could not be read ({error}).")
    return Attacked(summary, found), notes


def read_robustness(found: Attacked | None) -> list[str]:
    """The sentences at the top of a page: what is left under attack, and whether to believe it."""
    if found is None:
        return []
    clean, bim = number(found.summary, "clean_accuracy"), found.accuracy("bim")
    told = []
    if math.isfinite(clean) and math.isfinite(bim):
        row = next(row for row in found.rows if row["name"] == "bim")
        told.append(f"Of {clean:.1%} right when left alone, {bim:.1%} stay right under BIM ({_description(row)}).")
    if found.signs:
        told.append(
            f"{len(found.signs)} of {len(found.findings)} checks show signs that it hides its gradient: accuracy under "
            "attacks that follow the gradient is then too high to be believed."
        )
    return told


def attack_sections(runs: Sequence[tuple[str, Attacked | None, str]]) -> list[Section]:
    """The chapter of one run or several, each with its name and colour; none where no run was attacked."""
    attacked = [(name, found, color) for name, found, color in runs if found is not None]
    if not attacked:
        return []
    blocks = robustness_blocks(attacked[0][1]) if len(runs) == 1 else runs_blocks(attacked)
    left_out = ", ".join(f"`{name}`" for name, found, _ in runs if found is None)
    if left_out:
        blocks.append(Missing(f"Not attacked: {left_out}. `hypersphere evaluate RUN --protocol robustness` does it."))
    return [Section("robustness", "Under attack", _LEAD, blocks)]


def robustness_blocks(found: Attacked) -> list[Block]:
    """Table, curves and checks of one run."""
    source = found.summary.get("source")
    named = isinstance(source, dict) and bool(source.get("name"))
    rows = [["no attack", "", _share(number(found.summary, "clean_accuracy")), ""]]
    rows += [
        [
            str(row["name"]),
            _description(row),
            _share(number(row, "robust_accuracy")),
            _share(number(row, "transfer_accuracy")) if "transfer_accuracy" in row else "",
        ]
        for row in found.rows
    ]
    rows += [["together", f"all bounded {word} attacks", share, ""] for word, share in _together(found)]
    caption = f"{number(found.summary, 'num_samples'):.0f} images of {found.summary.get('split', 'an unknown split')}."
    head: tuple[str, ...] = ("attack", "what it does", "right")
    if named:
        assert isinstance(source, dict)
        head += ("made on the source",)
        caption += (
            f" The source is `{source['name']}`, right for {_share(number(source, 'accuracy'))} when left alone; "
            "attacks made on it are tried here."
        )
    else:
        rows = [row[:3] for row in rows]
    table = Table("Accuracy under attack", head, rows, caption, num_names=2)
    figures = [_figure(norm, [("", found, TRAIN)]) for norm in found.smallest]
    blocks: list[Block] = [table]
    if figures:
        blocks.append(Grid(figures, size="large"))
    else:
        blocks.append(Missing("The smallest change that fools each image was not measured."))
    return [*blocks, *_check_blocks([("", found)])]


def runs_blocks(runs: Sequence[tuple[str, Attacked, str]]) -> list[Block]:
    """The same for several runs side by side."""
    names = [f"`{name}`" for name, _, _ in runs]
    known = {str(row["name"]): _description(row) for _, found, _ in runs for row in found.rows}
    rows = [["no attack", "", *(_share(number(found.summary, "clean_accuracy")) for _, found, _ in runs)]]
    rows += [[name, text, *(_share(found.accuracy(name)) for _, found, _ in runs)] for name, text in known.items()]
    for name in known:
        shares = [
            next((number(row, "transfer_accuracy") for row in found.rows if row["name"] == name), math.nan)
            for _, found, _ in runs
        ]
        if any(map(math.isfinite, shares)):
            rows.append([name, "made on the source of the run", *map(_share, shares)])
    for norm, (word, _, _) in _NORMS.items():
        shares = [number(found.summary, "together", norm) for _, found, _ in runs]
        if any(map(math.isfinite, shares)):
            rows.append(["together", f"all bounded {word} attacks", *map(_share, shares)])
    caption = "Share of images that stay right."
    if _differ(runs):
        caption += " The runs were attacked differently (radius, images or seed): these numbers do not compare."
    blocks: list[Block] = [
        Table("Accuracy under attack", ("attack", "what it does", *names), rows, caption, num_names=2)
    ]
    measured = [norm for norm in _NORMS if any(norm in found.smallest for _, found, _ in runs)]
    if measured:
        blocks.append(Grid([_figure(norm, runs) for norm in measured], size="large"))
    return [*blocks, *_check_blocks([(name, found) for name, found, _ in runs])]


def budget_figure(norm: str, runs: Sequence[tuple[str, Attacked, str]]) -> Spec:
    """Share of images that need a change longer than x, and accuracy under bounded attacks at their radius.

    Args:
        norm: "linf" or "l2".
        runs: name (empty on the page of one run), result, colour.
    """
    _, title, scale = _NORMS[norm]
    data: list[Spec] = []
    longest = 0.0
    for name, found, color in runs:
        sizes = scale * np.sort(found.smallest.get(norm, np.zeros(0)))
        if not len(sizes):
            continue
        finite = sizes[np.isfinite(sizes)]
        # what a hundredth of the images needs may be far away
        longest = max(longest, float(np.quantile(finite, 0.99)) if len(finite) else 0.0)
        changes = np.unique(np.concatenate([[0.0], finite]))
        if len(changes) > _MOST_POINTS:
            changes = changes[np.linspace(0, len(changes) - 1, _MOST_POINTS).round().astype(np.int64)]
        left = 1 - np.searchsorted(sizes, changes, side="right") / len(sizes)
        shown = label(name) if name else "smallest change found"
        line = {"color": color, "width": 2, "shape": "hv"}
        data.append({"type": "scatter", "x": changes, "y": left, "mode": "lines", "name": shown, "line": line})
        points = [
            (scale * number(row, "epsilon"), number(row, "robust_accuracy"), str(row["name"]))
            for row in found.rows
            if row.get("norm") == norm and not (norm == "linf" and number(row, "epsilon") >= 1)
        ]
        if points:
            data.append(
                {
                    "type": "scatter",
                    "x": [x for x, _, _ in points],
                    "y": [y for _, y, _ in points],
                    "text": [text for _, _, text in points],
                    "mode": "markers",
                    "name": "attacks of one radius" if not name else f"attacks on {label(name)}",
                    "marker": {"size": 7, "symbol": "circle-open", "color": EVALUATION if not name else color},
                    "showlegend": not name,
                }
            )
    horizontal = axis(title) | ({"range": [0, 1.03 * longest]} if longest else {})
    return spec(data, xaxis=horizontal, yaxis=axis("share still right") | {"tickformat": ".0%", "range": [0, 1.02]})


def _figure(norm: str, runs: Sequence[tuple[str, Attacked, str]]) -> Figure:
    word, _, scale = _NORMS[norm]
    parts = ["Share of images that need a change larger than this; at 0 it is the accuracy without attacks."]
    parts.append("Circles: attacks of one radius.")
    for name, found, _ in runs:
        sizes = found.smallest.get(norm, np.zeros(0))
        right = sizes[sizes > 0]
        if not len(right):
            continue
        median = scale * float(np.median(right))
        half = f"{median:.3g}{'/255' if norm == 'linf' else ''}" if math.isfinite(median) else "unknown"
        missed = int(np.isinf(sizes).sum())
        text = f"{f'`{name}`: m' if name else 'M'}edian of the images that are right by themselves {half}"
        parts.append(text + (f"; for {missed} none was found." if missed else "."))
    return Figure(f"How large a change fools, {word}", budget_figure(norm, runs), " ".join(parts))


def _check_blocks(runs: Sequence[tuple[str, Attacked]]) -> list[Block]:
    """The findings of each run as a table: which sign is there, in words."""
    rows = [
        [
            *([f"`{name}`"] if name else []),
            str(row.get("name", "")),
            "sign" if row in found.signs else "none",
            str(row["text"]),
        ]
        for name, found in runs
        for row in found.findings
    ]
    if not rows:
        return []
    head: tuple[str, ...] = ("check", "sign", "what was found")
    caption = (
        "A network can hide its gradient instead of moving its boundary; attacks that follow the gradient then fail, "
        "others do not. Each check holds a weaker attack against a stronger one."
    )
    head = ("run", *head) if runs[0][0] else head
    return [Table("Is the gradient masked?", head, rows, caption, num_names=len(head))]


def _together(found: Attacked) -> list[tuple[str, str]]:
    shares = [(word, number(found.summary, "together", norm)) for norm, (word, _, _) in _NORMS.items()]
    return [(word, _share(share)) for word, share in shares if math.isfinite(share)]


def _differ(runs: Sequence[tuple[str, Attacked, str]]) -> bool:
    """Whether the runs were not attacked alike."""

    def how(found: Attacked) -> tuple[Any, ...]:
        sizes = ("epsilon", "steps", "step_size", "restarts")
        made = tuple((row["name"], *(f"{number(row, size):.6g}" for size in sizes)) for row in found.rows)
        return (*(found.summary.get(key) for key in ("split", "num_samples", "seed")), made)

    return len({how(found) for _, found, _ in runs}) > 1


def _description(row: Row) -> str:
    return str(row.get("description", ""))


def _share(value: float) -> str:
    return f"{value:.1%}" if math.isfinite(value) else "–"
