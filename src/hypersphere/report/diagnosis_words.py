# SPDX-License-Identifier: MIT
"""A diagnosis in words and cells: the same sentences and numbers at the terminal and on the page."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from hypersphere.analysis import Diagnosis, LayerDiagnosis
from hypersphere.report.subjects import Subject

__all__ = [
    "COLUMNS",
    "degrees",
    "layer_names",
    "percent",
    "read_diagnosis",
    "read_differences",
    "row_of",
    "signed",
    "table_rows",
]


def percent(value: float | None) -> str:
    """A share as text, without decimals."""
    return "n/a" if value is None else f"{value:,.0%}".replace("-", "−").replace(",", " ")


def degrees(value: float | None) -> str:
    """Radians as degrees, with more decimals for small angles."""
    if value is None:
        return "n/a"
    angle = math.degrees(value)
    if 1e-4 < angle < 0.01:
        return "< 0.01°"
    return f"{angle:.2f}°" if 0.01 <= angle < 1 else f"{angle:.1f}°"


def signed(value: float | None) -> str:
    """A number of standard deviations with its sign."""
    if value is None:
        return "n/a"
    return f"{value:+,.{1 if abs(value) < 100 else 0}f}".replace("-", "−").replace(",", " ")


def _number(form: str) -> Callable[[float | None], str]:
    return lambda value: "n/a" if value is None else format(value, form).replace("-", "−")


def _size(row: LayerDiagnosis) -> str:
    groups = f"{row.num_groups} × " if row.num_groups > 1 else ""
    return f"{groups}{row.num_neurons} × {row.dim}"


def _energy(row: LayerDiagnosis) -> str:
    return ("" if row.is_exact else "≈ ") + _number(".4f")(row.energy)


def _counted(row: LayerDiagnosis, count: int) -> str:
    return str(count) if row.is_exact else f"≈ {count}"


COLUMNS: list[tuple[str, str, Callable[[LayerDiagnosis], str]]] = [
    ("neurons × dim", "K and D; groups first where a layer has several", _size),
    ("energy", "mean pair energy", _energy),
    (
        "place",
        "0% is the lowest energy there can be (* a bound), 100% that of random directions",
        lambda row: percent(row.position) + ("" if row.is_reached or row.position is None else " *"),
    ),
    (
        "sd",
        "distance from the random energy in its standard deviations",
        lambda row: signed(row.num_deviations),
    ),
    ("smallest angle", "between two neurons", lambda row: degrees(row.smallest_angle)),
    ("by chance", "the smallest angle among as many random directions", lambda row: degrees(row.random_angle)),
    ("twins", "pairs within the threshold of the same direction", lambda row: _counted(row, row.near_duplicates)),
    ("opposites", "pairs within the threshold of opposite directions", lambda row: _counted(row, row.near_antipodes)),
    ("rank", "effective rank of the directions, at most min(K, D)", lambda row: _number(".1f")(row.effective_rank)),
    ("lengths", "standard deviation of the lengths over their mean", lambda row: percent(row.norm_spread)),
]
"""Heading, explanation and text of each column after the name of the layer."""


def layer_names(subjects: Sequence[Subject]) -> list[str]:
    """Every layer of any of them, in order."""
    return list(dict.fromkeys(row.name for one in subjects for row in one.diagnosis.rows))


def row_of(subject: Subject, name: str) -> LayerDiagnosis | None:
    """The layer of that name, or None."""
    return next((row for row in subject.diagnosis.rows if row.name == name), None)


def table_rows(subjects: Sequence[Subject]) -> list[list[str]]:
    """The name of each layer and a cell for each column; several models stand in one cell, an arrow between them."""
    found = []
    for name in layer_names(subjects):
        rows = [row_of(one, name) for one in subjects]
        cells = [["–" if row is None else text(row) for row in rows] for _, _, text in COLUMNS]
        found.append([name, *(_joined(cell) for cell in cells)])
    return found


def _joined(cells: list[str]) -> str:
    return cells[0] if len(set(cells)) == 1 else " → ".join(cells)


def read_diagnosis(found: Diagnosis) -> list[str]:
    """What the numbers say, most important first; names stand between backticks."""
    rows = [row for row in found.rows if row.energy is not None]
    if not rows:
        return ["There is no layer with two neurons that have a direction, so there is nothing to measure."]
    return [*_twins(found, rows), *_evenness(rows), *_rank(rows), *_faults(found)]


def _twins(found: Diagnosis, rows: list[LayerDiagnosis]) -> list[str]:
    """How many neurons are redundant, and where most of them are."""
    limit = degrees(found.near_angle)
    redundant = [row for row in rows if row.clusters]
    total = sum(row.total for row in rows)
    what = "line" if found.half_space else "direction"
    if not redundant:
        closest = min(rows, key=lambda row: row.smallest_angle or math.inf)
        pair = closest.closest[0]
        return [
            f"No two neurons of a layer lie within {limit} of the same {what}. The closest are {pair.first} and "
            f"{pair.second} of `{closest.name}`, {degrees(closest.smallest_angle)} apart."
        ]
    spare = sum(row.num_redundant for row in redundant)
    sentences = [
        f"{spare} of {total} neurons ({_share(spare / total)}) could be left out if every group of twins, neurons "
        f"within {limit} of the same {what}, kept one."
    ]
    worst = max(redundant, key=lambda row: row.num_redundant / row.total)
    sentences.append(
        f"The most redundant layer is `{worst.name}`: {worst.num_redundant} of its {worst.total} neurons are spare, "
        f"the largest group of twins has {len(worst.clusters[0])}."
    )
    nearest = min(redundant, key=lambda row: row.smallest_angle or 0.0)
    pair = nearest.closest[0]
    chance = f", where chance would leave {degrees(nearest.random_angle)}" if nearest.random_angle else ""
    same = ": whatever one answers, the other does too" if pair.angle < math.radians(3) else ""
    sentences.append(
        f"Closest of all are neurons {pair.first} and {pair.second} of `{nearest.name}`, "
        f"{degrees(nearest.smallest_angle)} apart{chance}{same}."
    )
    return sentences


def _share(value: float) -> str:
    return f"{value:.1%}" if value >= 0.001 else "less than 0.1%"


def _evenness(rows: list[LayerDiagnosis]) -> list[str]:
    """Which layers are more and less even than chance."""
    placed = [row for row in rows if row.num_deviations is not None]
    if not placed:
        return []
    even = [row for row in placed if (row.num_deviations or 0.0) < -3]
    uneven = [row for row in placed if (row.num_deviations or 0.0) > 3]
    within = len(placed) - len(even) - len(uneven)
    sentences = [
        f"Against random directions {len(uneven)} of {len(placed)} layers are spread less evenly, {len(even)} more "
        f"evenly, and {within} cannot be told from chance (three standard deviations)."
    ]
    for row, most in (
        (max(placed, key=lambda row: row.num_deviations or 0.0), "least"),
        (min(placed, key=lambda row: row.num_deviations or 0.0), "most"),
    ):
        if row in (uneven if most == "least" else even):
            sentences.append(
                f"Layer `{row.name}` is spread {most} evenly for its size: {signed(row.num_deviations)} standard "
                f"deviations from the random energy, at {percent(row.position)} of the way there from the lowest "
                f"one{_lean(row)}."
            )
    return sentences


def _lean(row: LayerDiagnosis) -> str:
    """Where half of the pairs lie, when that is not at the right angle that chance has."""
    total = row.angle_counts.sum()
    if not total:
        return ""
    middle = float(np.interp(0.5, np.cumsum(row.angle_counts) / total, np.arange(1, len(row.angle_counts) + 1) / 2))
    return f"; half of its pairs are closer than {middle:.1f}° (by chance 90°)" if middle < 89.5 else ""


def _rank(rows: list[LayerDiagnosis]) -> list[str]:
    """The layer that uses least of the space it has."""
    shares = [(row.effective_rank / min(row.num_neurons, row.dim), row) for row in rows if row.effective_rank]
    if not shares:
        return []
    share, row = min(shares, key=lambda pair: pair[0])
    if share > 0.6:
        return []
    return [
        f"The neurons of `{row.name}` use {row.effective_rank:.1f} of {min(row.num_neurons, row.dim)} directions that "
        "they could span (effective rank)."
    ]


def _faults(found: Diagnosis) -> list[str]:
    """Neurons that cannot compute anything."""
    sentences = []
    for what, counts in (
        ("zero", [(row.num_zero, row.name) for row in found.rows if row.num_zero]),
        ("not finite", [(row.num_not_finite, row.name) for row in found.rows if row.num_not_finite]),
    ):
        if counts:
            listed = ", ".join(f"{count} in `{name}`" for count, name in counts[:5])
            more = f" and {len(counts) - 5} more layers" if len(counts) > 5 else ""
            sentences.append(
                f"Left out of all else, because they are {what}: {sum(count for count, _ in counts)} neurons, "
                f"{listed}{more}."
            )
    estimated = [f"`{row.name}`" for row in found.rows if not row.is_exact]
    if estimated:
        sentences.append(f"Estimated from a fixed draw of its neurons, for its size: {', '.join(estimated)}.")
    return sentences


def read_differences(subjects: Sequence[Subject]) -> list[str]:
    """How the last model differs from the first."""
    first, last = subjects[0], subjects[-1]
    pairs = [(row_of(first, name), row_of(last, name)) for name in layer_names([first])]
    both = [(a, b) for a, b in pairs if a is not None and b is not None]
    if not both:
        return [f"`{first.name}` and `{last.name}` have no layer of the same name, so nothing compares."]
    spare = [sum(row.num_redundant for row in one.diagnosis.rows) for one in (first, last)]
    sentences = [f"Spare neurons: {spare[0]} in `{first.name}`, {spare[1]} in `{last.name}`."]
    placed = [(a, b) for a, b in both if a.position is not None and b.position is not None]
    lower = sum((b.position or 0.0) < (a.position or 0.0) for a, b in placed)
    if placed:
        sentences.append(f"`{last.name}` is spread more evenly in {lower} of {len(placed)} layers they have in common.")
        a, b = max(placed, key=lambda pair: abs((pair[1].position or 0.0) - (pair[0].position or 0.0)))
        sentences.append(
            f"They differ most in `{a.name}`: {percent(a.position)} of the way from the lowest energy to the random "
            f"one in `{first.name}`, {percent(b.position)} in `{last.name}`; its two closest neurons are "
            f"{degrees(a.smallest_angle)} and {degrees(b.smallest_angle)} apart."
        )
    return sentences
