# SPDX-License-Identifier: MIT
"""The chapter on identification: at which rank images find their own person, in a gallery or among distractors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hypersphere.report.found import Found, accept_rates
from hypersphere.report.page import Block, Figure, Grid, Missing, Section, Table
from hypersphere.report.run import Row, number
from hypersphere.report.theme import RUNS, Spec, axis, label, spec
from hypersphere.report.verification import RESPONSIBLE

__all__ = [
    "Search",
    "identification_blocks",
    "identification_sections",
    "rank_figure",
    "read_identification",
    "searches",
]

_LEAD = (
    "Who of many it is: an image is compared with a gallery, and the rank of its own person counts how many others are "
    "at least as much alike."
)
_KINDS = {"closed set": "everybody is in the gallery", "distractors": "among distractors", "open set": "with strangers"}
_MOST_RANKS = 300


@dataclass(frozen=True)
class Search:
    """One result of a file of identification: a gallery of people, or distractors.

    Args:
        found: the file.
        name: of the result in it.
        row: its summary.
    """

    found: Found
    name: str
    row: Row

    @property
    def kind(self) -> str:
        """What was searched, as the file has it."""
        return str(self.row.get("kind", "unknown"))

    @property
    def data(self) -> str:
        """Whose images were looked for."""
        name, split = self.found.summary.get("data"), str(self.found.summary.get("split", ""))
        flip = self.found.summary.get("flip")
        return (f"`{name}`, {split}" if name else split) + (f", flip {flip}" if flip not in (None, "none") else "")

    @property
    def size(self) -> float:
        """People in the gallery, or distractors."""
        return number(self.row, "num_distractors" if self.kind == "distractors" else "num_people")

    @property
    def gallery(self) -> str:
        """The gallery in words, with what drawn distractors are."""
        if self.kind != "distractors":
            return f"{_KINDS.get(self.kind, self.kind)}" + (f", {self.size:.0f} people" if self.size > 0 else "")
        facts = self.distractors
        origin = f"synthetic: {facts.get('kind')}" if facts.get("synthetic") else str(facts.get("name", ""))
        return f"{self.size:.0f} distractors" + (f" ({origin})" if origin else "")

    @property
    def is_synthetic(self) -> bool:
        """Whether the distractors were drawn and are no pictures of anything."""
        return self.kind == "distractors" and bool(self.distractors.get("synthetic"))

    @property
    def distractors(self) -> Row:
        """What the distractors are, in plain values; empty without any."""
        facts = self.found.summary.get("distractors")
        return facts if isinstance(facts, dict) else {}

    @property
    def probes(self) -> str:
        """How many images, or pairs of them, the rates are shares of."""
        pairs, count = number(self.row, "num_pairs"), number(self.row, "num_probes")
        if math.isfinite(pairs):
            return f"{pairs:.0f} pairs of {count:.0f}"
        return f"{count:.0f}" if math.isfinite(count) else "–"

    def rate(self, rank: int) -> float:
        """Share of probes whose own person is among the first `rank`, NaN where it was not kept."""
        rows = self.row.get("rates")
        known = [one for one in rows if isinstance(one, dict)] if isinstance(rows, list) else []
        told = next((number(one, "rate") for one in known if one.get("rank") == rank), math.nan)
        curve = self.found.column(f"{self.name}.cmc")
        return float(curve[rank - 1]) if math.isnan(told) and 1 <= rank <= len(curve) else told

    def curve(self) -> tuple[np.ndarray, np.ndarray]:
        """Ranks and rates, of all ranks where they were kept."""
        curve = self.found.column(f"{self.name}.cmc")
        if len(curve):
            ranks = np.arange(1, len(curve) + 1)
            if len(ranks) > _MOST_RANKS:
                ranks = np.unique(np.geomspace(1, len(curve), _MOST_RANKS).round().astype(np.int64))
            return ranks, curve[ranks - 1]
        rows = self.row.get("rates")
        listed = [one for one in rows if isinstance(one, dict)] if isinstance(rows, list) else []
        pairs = sorted((number(one, "rank"), number(one, "rate")) for one in listed)
        pairs = [pair for pair in pairs if math.isfinite(pair[0] + pair[1])]
        return np.array([int(rank) for rank, _ in pairs], dtype=np.int64), np.array([rate for _, rate in pairs])


def searches(results: Sequence[Found]) -> list[Search]:
    """Every result of every file that has a rate by rank, or is one of an open set."""
    found: list[Search] = []
    for one in results:
        listed = one.summary.get("results")
        for name, row in listed.items() if isinstance(listed, dict) else []:
            search = Search(one, str(name), row) if isinstance(row, dict) else None
            # the closed set stands in the file of every kind of distractors
            if search is not None and not any(_is_again(search, other) for other in found):
                found.append(search)
    return found


def _is_again(search: Search, other: Search) -> bool:
    return search.kind == "closed set" and (search.row, search.data) == (other.row, other.data)


def identification_sections(runs: Sequence[tuple[str, Sequence[Found], str]]) -> list[Section]:
    """The chapter of one run or several, each with its name and colour; none where nobody was looked for."""
    known = [(name, searches(results), color) for name, results, color in runs]
    if not any(found for _, found, _ in known):
        return []
    blocks = identification_blocks([("" if len(runs) == 1 else name, found, color) for name, found, color in known])
    left_out = ", ".join(f"`{name}`" for name, found, _ in known if not found)
    if left_out:
        blocks.append(
            Missing(f"Not identified: {left_out}. `hypersphere evaluate RUN --protocol identification` does it.")
        )
    return [Section("identification", "Identification", f"{_LEAD} {RESPONSIBLE}", blocks)]


def read_identification(results: Sequence[Found]) -> list[str]:
    """The sentences at the top of a page: how many images find their own person first, each kind of one file."""
    told: list[str] = []
    files: dict[str, str] = {}
    # drawn distractors are easier than people, and speak where there are no others
    for one in sorted(searches([found for found in results if _is_own(found)]), key=lambda one: one.is_synthetic):
        first = one.rate(1)
        if not math.isfinite(first) or files.setdefault(one.kind, one.found.stem) != one.found.stem:
            continue
        if one.kind == "closed set":
            told.append(f"Among {one.size:.0f} people, {first:.1%} of the images find their own person first.")
        elif one.kind == "distractors":
            drawn = ", which are drawn and easier than people" if one.is_synthetic else ""
            told.append(f"Among {one.size:.0f} distractors{drawn}, {first:.1%} of the pairs find each other first.")
    return told


def _is_own(found: Found) -> bool:
    """Whether the images are the run's own; what an older version wrote says so by its name alone."""
    origin = found.summary.get("origin")
    return found.stem == "identification" or (isinstance(origin, dict) and origin.get("data", "") is None)


def identification_blocks(runs: Sequence[tuple[str, Sequence[Search], str]]) -> list[Block]:
    """Table by rank, accepts at a rate of false ones, and curves of one run (without a name) or several."""
    several = any(name for name, *_ in runs)
    listed = [(name, one, color) for name, found, color in runs for one in found]
    begins = [[*([f"`{name}`"] if several else []), one.data, one.gallery, one.probes] for name, one, _ in listed]
    ranks = [rank for rank in (1, 5, 10, 20, 100) if any(math.isfinite(one.rate(rank)) for _, one, _ in listed)]
    ranked = [place for place, (_, one, _) in enumerate(listed) if math.isfinite(one.rate(1))]
    names = [*(["run"] if several else []), "images", "gallery", "looked for"]
    blocks: list[Block] = []
    if ranked:
        rows = [[*begins[place], *(_share(listed[place][1].rate(rank)) for rank in ranks)] for place in ranked]
        head = [*names, *(f"rank {rank}" for rank in ranks)]
        blocks.append(Table("Own person among the first", head, rows, _caption(listed), num_names=len(names)))
    titles, rates, told = accept_rates(
        [(begin, _points(one)) for begin, (_, one, _) in zip(begins, listed, strict=True) if _points(one)]
    )
    if titles:
        title = "True accepts at a rate of false ones, among distractors"
        blocks.append(Table(title, [*names, *titles], rates, told, num_names=len(names)))
    blocks += _open_tables(begins, [one for _, one, _ in listed], names)
    figures = _figures(listed, several=several)
    return [*blocks, *([Grid(figures, size="large")] if figures else [])]


def rank_figure(curves: Sequence[tuple[str, Search, str]], title: str = "rank") -> Spec:
    """Share of probes that find their own person among the first so many; many ranks stand on a logarithmic axis.

    Args:
        curves: name, result and colour; results without ranks are left out.
        title: of the axis of ranks.
    """
    data: list[Spec] = []
    for name, one, color in curves:
        ranks, rates = one.curve()
        if not len(ranks):
            continue
        few = len(ranks) <= 10
        trace: Spec = {"type": "scatter", "mode": "lines+markers" if few else "lines", "x": ranks, "y": rates}
        trace |= {"name": label(name), "line": {"color": color, "width": 2, "shape": "hv"}, "marker": {"size": 6}}
        data.append(trace | {"hovertemplate": f"rank %{{x}}: %{{y:.1%}}<extra>{label(name)}</extra>"})
    lowest = min([1.0, *(float(trace["y"].min()) for trace in data)])
    # of a good network nothing happens in the lower half
    bottom = 0.0 if lowest < 0.5 else max(0.0, lowest - 0.1 * (1 - lowest) - 1e-3)
    vertical = axis("own person found") | {"tickformat": ".0%" if bottom < 0.9 else ".1%"}
    vertical |= {"range": [bottom, 1 + 0.03 * (1 - bottom)]}
    most = max((int(trace["x"][-1]) for trace in data), default=1)
    scale = {"type": "log", "dtick": 1} if most > 20 else {"dtick": 1}
    return spec(data, height=380, xaxis=axis(title) | scale, yaxis=vertical)


def _figures(listed: Sequence[tuple[str, Search, str]], *, several: bool) -> list[Figure]:
    """A figure for closed sets and one for distractors; runs keep their colours, results of one run get some."""
    figures = []
    for kind, title in (("closed set", "Rank in the gallery"), ("distractors", "Rank among distractors")):
        members = [(name, one, color) for name, one, color in listed if one.kind == kind and len(one.curve()[0])]
        if not members:
            continue
        if not several:
            members = [
                (f"{one.data}: {one.gallery}".replace("`", ""), one, RUNS[place % len(RUNS)])
                for place, (_, one, _) in enumerate(members)
            ]
        else:
            mixed = len({(one.data, one.gallery) for _, one, _ in members}) > 1
            members = [
                (f"{name}: {one.data}, {one.gallery}".replace("`", "") if mixed else name, one, color)
                for name, one, color in members
            ]
        caption = "The left end is the share of images that find their own person first."
        figures.append(Figure(title, rank_figure(members), caption))
    return figures


def _points(one: Search) -> list[Row]:
    listed = one.row.get("tar_at_far")
    return [point for point in listed if isinstance(point, dict)] if isinstance(listed, list) else []


def _open_tables(begins: Sequence[Sequence[str]], found: Sequence[Search], names: Sequence[str]) -> list[Block]:
    """Identification with strangers, at rates of false alarms."""
    rows = []
    for begin, one in zip(begins, found, strict=True):
        listed = one.row.get("tpir_at_fpir")
        for point in listed if one.kind == "open set" and isinstance(listed, list) else []:
            if isinstance(point, dict):
                few = " *" if point.get("resolved") is False else ""
                rows.append([*begin[:-1], f"{number(point, 'target'):g}", f"{_share(number(point, 'tpir'))}{few}"])
    if not rows:
        return []
    head = [*names[:-1], "rate of false alarms", "identified"]
    caption = "Share of probes that find their own person first, above a threshold that raises so many false alarms."
    if any(row[-1].endswith("*") for row in rows):
        caption += " * The rate is below one stranger of all there are, and the figure rests on none."
    return [Table("Identification with strangers", head, rows, caption, num_names=len(names) - 1)]


def _caption(listed: Sequence[tuple[str, Search, str]]) -> str:
    parts = ["A tie counts against the own person."]
    if any(one.is_synthetic for _, one, _ in listed):
        parts.append(
            "Synthetic distractors are drawn, not people, and easier than any: these figures do not compare with "
            "published ones."
        )
    left_out = sum(len(one.distractors.get("left_out") or ()) for _, one, _ in listed if one.kind == "distractors")
    if left_out:
        parts.append(f"{left_out} of the distractors could not be used.")
    return " ".join([*parts, *dict.fromkeys(one.found.note for _, one, _ in listed if one.found.note)])


def _share(value: float) -> str:
    return f"{value:.1%}" if math.isfinite(value) else "–"
