# SPDX-License-Identifier: MIT
"""The page of a diagnosis: what the layers of one model do with their neurons, or of several side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from hypersphere.analysis import LayerDiagnosis
from hypersphere.functional import pairwise_cosine
from hypersphere.report.arrange import cluster_order, subsample
from hypersphere.report.diagnosis_figures import Drawn, angles_figure, lengths_figure, places_figure
from hypersphere.report.diagnosis_words import (
    COLUMNS,
    degrees,
    layer_names,
    read_diagnosis,
    read_differences,
    row_of,
    table_rows,
)
from hypersphere.report.facts import Fact
from hypersphere.report.filters import filter_pixels, picture
from hypersphere.report.gram import gram_figure
from hypersphere.report.page import (
    Block,
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
from hypersphere.report.subjects import Subject
from hypersphere.report.theme import RUNS

__all__ = ["diagnosis_page", "write_diagnosis"]

# layers with a heat map, neurons in it, and filters shown as pictures, at most
_MAPS, _NEURONS, _FILTERS = 12, 96, 128


def write_diagnosis(subjects: Sequence[Subject], out: Path) -> Path:
    """Write the page.

    Args:
        subjects: one model, or several to be compared.
        out: the HTML file.

    Raises:
        ImportError: if the extra `report` is not installed.
        OSError: if the page cannot be written.
    """
    return diagnosis_page(subjects).write(out)


def diagnosis_page(subjects: Sequence[Subject]) -> Page:
    """The whole page of one model, or of several side by side."""
    found = subjects[0].diagnosis
    names = layer_names(subjects)
    models: list[Drawn] = [
        (one.name, RUNS[place % len(RUNS)], one.diagnosis.rows) for place, one in enumerate(subjects)
    ]
    alone = len(subjects) == 1
    space = ", half space: opposite directions count as neighbours" if found.half_space else ""
    evenness = (
        "Each neuron is a direction. The energy of a layer is low when its neurons keep away from each other and high "
        f"when some nearly coincide (power {found.power:g}, {found.distance} distance{space})."
    )
    twins = (
        f"Two neurons within {degrees(found.near_angle)} of each other answer nearly the same to everything: one of "
        "them is work done twice."
    )
    reading = read_diagnosis(found) if alone else read_differences(subjects)
    if not alone:
        reading += [f"`{one.name}`: {text}" for one in subjects for text in read_diagnosis(one.diagnosis)[:2]]
    return Page(
        title=subjects[0].name if alone else f"{len(subjects)} models side by side",
        subtitle="" if alone else " · ".join(f"`{one.name}`" for one in subjects),
        headline=_headline(subjects[0]) if alone else (),
        reading=reading,
        notes=list(dict.fromkeys(one.diagnosis.rule for one in subjects if one.diagnosis.rule)),
        sections=[
            Section("evenness", "How evenly neurons are spread", evenness, _evenness(models, names)),
            Section("twins", "Which neurons are redundant", twins, _twins(subjects)),
            Section("angles", "All angles", "Every pair of neurons of a layer, once.", _angles(subjects, names)),
            Section(
                "lengths",
                "How long neurons are",
                "Directions say what a neuron looks for; its length says how loudly it answers.",
                [Figure("Shortest to longest neuron of each layer", lengths_figure(models, names))],
            ),
            *_filter_section(subjects),
            Section("numbers", "All numbers", "", _numbers(subjects)),
            Section("rest", "What was left out", "Layers and tensors without neurons to compare.", _left_out(subjects)),
        ],
        source="Made from the weights alone.",
    )


def _headline(subject: Subject) -> list[Fact]:
    rows = subject.diagnosis.rows
    closest = min((row.smallest_angle for row in rows if row.smallest_angle is not None), default=None)
    told = [row.num_deviations for row in rows if row.num_deviations is not None]
    return [
        ("layers", str(len(rows))),
        ("neurons", f"{sum(row.total for row in rows):,}".replace(",", " ")),
        ("spare neurons", f"{sum(row.num_redundant for row in rows):,}".replace(",", " ")),
        ("closest pair", degrees(closest)),
        ("less even than chance", f"{sum(value > 3 for value in told)} layers"),
        ("more even than chance", f"{sum(value < -3 for value in told)} layers"),
    ]


def _evenness(models: Sequence[Drawn], names: Sequence[str]) -> list[Block]:
    """The overview of all layers."""
    blocks: list[Block] = []
    if any(row.position is not None for _, _, rows in models for row in rows):
        caption = (
            "0% is the lowest energy there can be, 100% the mean energy of random directions, where a layer stands "
            "before training; the grey band is what chance makes of it. To the right of the band neurons lie closer "
            "together than chance puts them, to the left they keep apart. * The minimum is unknown for so many neurons "
            "in so few dimensions: a lower bound stands in, so 0% may be out of reach."
        )
        blocks.append(Figure("Every layer between the lowest energy and chance", places_figure(models, names), caption))
    unplaced = [f"`{row.name}`" for _, _, rows in models for row in rows if row.position is None]
    if unplaced:
        listed = ", ".join(dict.fromkeys(unplaced))
        blocks.append(Missing(f"Without a place: {listed}. Their energy, or that of chance, is not a finite number."))
    return blocks


def _numbers(subjects: Sequence[Subject]) -> list[Block]:
    """The table of the terminal."""
    rows = [[f"`{name}`", *cells] for name, *cells in table_rows(subjects)]
    if not rows:
        return [Missing("There is no layer with two neurons.")]
    explained = ". ".join(f"{heading}: {text}" for heading, text, _ in COLUMNS)
    order = " → ".join(f"`{one.name}`" for one in subjects) + ". " if len(subjects) > 1 else ""
    return [Table("Layers", ("layer", *(heading for heading, _, _ in COLUMNS)), rows, f"{order}{explained}.")]


def _twins(subjects: Sequence[Subject]) -> list[Block]:
    """Groups of twins, the closest pairs of all, and heat maps of the layers with most of them."""
    cells: list[list[Block]] = []
    for one in subjects:
        named = f" of `{one.name}`" if len(subjects) > 1 else ""
        blocks: list[Block] = []
        groups = [(row, cluster) for row in one.diagnosis.rows for cluster in row.clusters]
        groups.sort(key=lambda group: -len(group[1]))
        if groups:
            rows = [(f"`{row.name}`", str(len(cluster)), _listed(cluster)) for row, cluster in groups[:20]]
            more = f" The 20 largest of {len(groups)} groups." if len(groups) > 20 else ""
            caption = f"Every neuron of a group is a twin of another one in it.{more}"
            table = Table(f"Groups of twins{named}", ("layer", "size", "neurons"), rows, caption, num_names=3)
            blocks.append(table)
        else:
            blocks.append(Missing(f"There are no twins{named}."))
        pairs = [(row, pair) for row in one.diagnosis.rows for pair in row.closest]
        pairs.sort(key=lambda found: _tightness(*found))
        if pairs:
            closest = [
                (f"`{row.name}`", f"{pair.first} and {pair.second}", degrees(pair.angle), degrees(row.random_angle))
                for row, pair in pairs[:15]
            ]
            head = ("layer", "neurons", "angle", "closest by chance")
            blocks.append(Table(f"The closest pairs{named}, against chance", head, closest, num_names=2))
        cells.append(blocks)
    found: list[Block] = [Grid(cells if len(cells) > 1 else cells[0], size="large")]
    figures = _maps(subjects)
    if figures:
        caption = (
            "Cosine between neurons: 1 (red) the same direction, 0 a right angle, −1 (blue) opposite; the diagonal is "
            f"blank. The {_MAPS} most redundant layers at most, and {_NEURONS} neurons of each: those of the closest "
            "pairs and groups, then a fixed draw. Similar neurons stand together: a red block is a group that looks "
            "for one thing."
        )
        found.append(Choice("Who resembles whom", "Layer", figures, caption=caption))
    return found


def _listed(cluster: Sequence[int], limit: int = 30) -> str:
    more = f", … ({len(cluster) - limit} more)" if len(cluster) > limit else ""
    return ", ".join(map(str, cluster[:limit])) + more


def _tightness(row: LayerDiagnosis, pair: object) -> float:
    """An angle relative to what chance leaves in its layer: small is telling."""
    angle = getattr(pair, "angle", math.pi)
    return float(angle) / (row.random_angle or math.pi)


def _maps(subjects: Sequence[Subject]) -> list[Figure]:
    """Heat maps of the most redundant layers."""

    def redundancy(name: str) -> tuple[float, float]:
        rows = [row for one in subjects if (row := row_of(one, name)) is not None and row.closest]
        spare = max((row.num_redundant / row.total for row in rows), default=0.0)
        return -spare, min((_tightness(row, row.closest[0]) for row in rows), default=math.inf)

    figures = []
    for name in sorted(layer_names(subjects), key=redundancy)[:_MAPS]:
        maps = []
        for one in subjects:
            row = row_of(one, name)
            if row is not None and row.closest:
                maps.append((one.name, *_cosines(row, one.diagnosis.neurons[name])))
        if maps:
            figures.append(Figure(name, gram_figure(maps)))
    return figures


def _cosines(row: LayerDiagnosis, weight: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Cosines of the most redundant neurons of a layer and some others, and their numbers."""
    rows = weight.reshape(-1, weight.shape[-1])
    finite = rows.isfinite().all(dim=1).cpu().numpy()
    first = [member for cluster in row.clusters for member in cluster]
    first += [number for pair in row.closest for number in (pair.first, pair.second)]
    chosen = list(dict.fromkeys(first))[:_NEURONS]
    # neurons of other groups see other inputs, so they do not compare
    group = chosen[0] // row.num_neurons
    chosen = [number for number in chosen if number // row.num_neurons == group]
    mine = np.arange(group * row.num_neurons, (group + 1) * row.num_neurons)
    rest = mine[finite[mine] & ~np.isin(mine, chosen)]
    rest = rest[subsample(len(rest), _NEURONS - len(chosen))]
    numbers = np.concatenate([np.array(chosen, dtype=np.int64), rest])
    gram = pairwise_cosine(rows[torch.from_numpy(numbers).to(rows.device)].float()).cpu().numpy()
    order = cluster_order(gram)
    return gram[np.ix_(order, order)], numbers[order]


def _angles(subjects: Sequence[Subject], names: Sequence[str]) -> list[Block]:
    """The histogram of each layer, chosen by a menu; the least even ones first."""
    figures = []

    def unevenness(name: str) -> float:
        rows = [row for one in subjects if (row := row_of(one, name)) is not None]
        return max((abs(row.num_deviations or 0.0) for row in rows), default=0.0)

    for name in sorted(names, key=unevenness, reverse=True)[:60]:
        drawn = []
        for place, one in enumerate(subjects):
            row = row_of(one, name)
            if row is not None and row.angle_counts.sum():
                drawn.append((one.name, RUNS[place % len(RUNS)], row))
        if drawn:
            figures.append(Figure(name, angles_figure(drawn, subjects[0].diagnosis.near_angle)))
    if not figures:
        return [Missing("No layer has two neurons with a direction.")]
    caption = (
        "Bars: the angles of this layer. Line: what independent random directions would show. More weight on the left "
        "than the line has: neurons that resemble each other. Layers that differ most from chance come first."
    )
    return [Choice("Angles between the neurons of a layer", "Layer", figures, caption=caption)]


def _filter_section(subjects: Sequence[Subject]) -> list[Section]:
    """First-layer filters as pictures, where they are images in grey or colour."""
    blocks: list[Block] = []
    for one in subjects:
        if one.filters is None:
            continue
        name, images = one.filters
        row = row_of(one, name)
        flat = images.reshape(len(images), -1)
        numbers = subsample(len(images), _FILTERS)
        gram = pairwise_cosine(torch.from_numpy(np.nan_to_num(flat[numbers], posinf=0.0, neginf=0.0))).numpy()
        numbers = numbers[cluster_order(gram)]

        def show(number: int, images: np.ndarray = images) -> Picture:
            return Picture(picture(filter_pixels(images[number])), str(number))

        pairs = row.closest[:6] if row is not None else []
        closest = [(f"{degrees(pair.angle)} apart", [show(pair.first), show(pair.second)]) for pair in pairs]
        channels, height, width = images.shape[1:]
        caption = (
            f"{len(images)} filters of {height} × {width} pixels in {'colour' if channels == 3 else 'grey'}, each "
            "scaled by its largest weight: middle grey is zero. Similar ones stand together. Below: the closest pairs."
        )
        title = f"Filters of `{name}`" + (f" in `{one.name}`" if len(subjects) > 1 else "")
        blocks.append(Pictures(title, [show(int(number)) for number in numbers], closest, caption))
    lead = "The patterns that its first neurons answer to."
    return [Section("filters", "What the first layer looks for", lead, blocks)] if blocks else []


def _left_out(subjects: Sequence[Subject]) -> list[Block]:
    blocks: list[Block] = []
    for one in subjects:
        text = "\n".join(f"{name}: {reason}" for name, reason in one.diagnosis.skipped.items())
        title = f"Left out of {one.name}" if len(subjects) > 1 else "Left out"
        blocks.append(Details(title, text) if text else Missing(f"Nothing was left out of `{one.name}`."))
    return blocks
