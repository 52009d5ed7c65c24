# SPDX-License-Identifier: MIT
"""What stands in each section of a run's page: figures with their captions, or the sentence that stands for them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from hypersphere.report.confusion import FEW, MOST_SHOWN, confused_classes, confusion_figure, most_confused
from hypersphere.report.curves import learning_curves
from hypersphere.report.energies import angle_figure, energy_figure, overview_figure, term_figure, total_figure
from hypersphere.report.facts import flat, shown
from hypersphere.report.filters import filter_pixels, picture
from hypersphere.report.gram import gram_figure
from hypersphere.report.layers import LayerHistory, Total, add_up
from hypersphere.report.neurons import LARGEST, Filters, Neurons, Pair, Weights, cosines
from hypersphere.report.page import Block, Choice, Details, Figure, Grid, Missing, Picture, Pictures, Table
from hypersphere.report.run import Classification, Run
from hypersphere.report.separation import MANY_CLASSES, Separation, between_figure, within_figure
from hypersphere.report.sphere import MOST_CLASSES, MOST_POINTS, View, plane_figure, sphere_figure, sphere_view
from hypersphere.report.terms import LayerTerm, listed
from hypersphere.report.theme import EVALUATION, TRAIN

__all__ = [
    "evenness_blocks",
    "learning_blocks",
    "minimised_blocks",
    "mistake_blocks",
    "neuron_blocks",
    "setting_blocks",
    "sphere_blocks",
    "total_caption",
]

_NOT_YET = Missing("The finished model has not been evaluated yet, so there is nothing to show here.")

_CURVES = {
    "loss": ("Loss", "Objective of the training batches and loss of each evaluation, both without regularisers."),
    "accuracy": ("Accuracy", "Share of images classified correctly; training batches as they are after augmentation."),
    "rate": ("Learning rate", "Length of a step per unit of gradient."),
}


def learning_blocks(run: Run) -> list[Block]:
    """Loss, accuracy, weighted terms and rate over the steps."""
    figures = learning_curves(run)
    if not figures:
        return [Missing("No step has been recorded yet, so there is nothing to draw.")]
    drawn = []
    for subject, figure in figures.items():
        weighted = f"Weighted {subject} in the loss", "As it enters the loss, all layers together."
        title, caption = _CURVES.get(subject, weighted)
        drawn.append(Figure(title, figure, caption))
    faint = any("opacity" in trace for figure in figures.values() for trace in figure["data"])
    return [Grid(drawn, "Faint lines are single records, strong lines their moving mean." if faint else "", "large")]


def sphere_blocks(found: Classification | None, separation: Separation | None) -> list[Block]:
    """Features on the sphere, and the angles within and between classes."""
    if found is None:
        return [_NOT_YET]
    if found.features is None or found.labels is None:
        return [Missing("The evaluation kept no features.")]
    if not found.has_directions:
        shape = " × ".join(map(str, found.features.shape))
        return [
            Missing(f"The features ({shape}) have no angles: a direction needs two dimensions and a length above zero.")
        ]
    names = found.class_names
    classes = confused_classes(found.confusion, len(names), limit=MOST_CLASSES)
    view = sphere_view(found.features, found.labels, found.predictions, found.class_vectors, classes)
    draw = plane_figure if found.features.shape[1] == 2 else sphere_figure
    figure = Figure("Features, coloured by class", draw(view, names, classes), _view_caption(found, view))
    return [figure, *([_angles(separation, names)] if separation is not None else [])]


def _view_caption(found: Classification, view: View) -> str:
    assert found.features is not None
    count, dim = found.features.shape
    plain = {
        2: "Every feature as it is, in the plane; rays are the class vectors.",
        3: "Every feature by its direction, a point on the unit sphere; arrows are the class vectors. Drag to turn.",
    }
    projected = (
        f"Directions in {dim} dimensions cannot be drawn, so this is a view: the three-dimensional subspace that holds "
        f"most of the coloured {view.fitted_to}, each direction projected to it and brought back to length 1. "
        f"{view.kept:.0%} of the squared length of the coloured directions lies in it; what looks mixed here may be "
        "apart in the other dimensions. Drag to turn."
    )
    parts = [plain.get(dim, projected)]
    if found.predictions is not None:
        parts.append("Hollow points are mistakes.")
    if len(found.class_names) > MOST_CLASSES:
        parts.append(
            f"Coloured are {MOST_CLASSES} of {len(found.class_names)} classes, those of the most frequent mistakes."
        )
    if count > MOST_POINTS:
        parts.append(f"{MOST_POINTS} of {count} images, drawn with a fixed seed, coloured ones first.")
    return " ".join(parts)


def _angles(separation: Separation, names: Sequence[str]) -> Grid:
    within = (
        "Where the head normalises class vectors, an image gets the class whose vector its feature is closest to: the "
        "less the two filled shapes overlap, the better. The outline is the angle to the mean direction of the class's "
        "own features."
    )
    if separation.num_without_direction:
        within += f" {separation.num_without_direction} features without a direction (zero, NaN) were left out."
    between = (
        "Every pair of classes once. The dashed line is arccos(−1 / (C − 1)), the angle that all pairs of C = "
        f"{separation.num_classes} classes would share, were they spread evenly in at least C − 1 dimensions."
    )
    if separation.num_classes > MANY_CLASSES:
        between += f" {MANY_CLASSES} of the classes, drawn with a fixed seed."
    if separation.closest:
        first, second, angle = separation.closest
        between += f" Closest: `{names[first]}` and `{names[second]}`, {math.degrees(angle):.1f}°."
    figures = [Figure("Angles within classes", within_figure(separation), within)]
    if separation.closest:
        figures.append(Figure("Angles between classes", between_figure(separation), between))
    return Grid(figures, size="large")


def mistake_blocks(found: Classification | None) -> list[Block]:
    """The confusion matrix, the most confused pairs and the hardest classes."""
    if found is None:
        return [_NOT_YET]
    if found.confusion is None:
        return [Missing("The evaluation kept no confusion matrix.")]
    names, confusion = found.class_names, found.confusion
    # images that the model gave no class are in no column
    lost = np.zeros(0, dtype=np.int64)
    if found.labels is not None and found.predictions is not None:
        lost = found.labels[(found.predictions < 0) & (found.labels < len(confusion))]
    unnamed = len(lost)
    totals = confusion.sum(axis=1) + np.bincount(lost, minlength=len(confusion))
    if not confusion.sum():
        return [Missing("No image was given a class." if unnamed else "The evaluation kept no confusion matrix.")]
    many = len(names) > FEW
    caption = (
        "Each row is a true class: blue is the share classified correctly, orange the shares taken for something else, "
        "on a scale of its own so that rare mistakes can be seen."
    )
    caption += " Classes that are taken for each other stand together." if many else " Numbers are images."
    classes = confused_classes(confusion, len(names), limit=MOST_SHOWN)
    if len(classes) < len(names):
        caption += f" Shown are {MOST_SHOWN} of {len(names)} classes, those of the most frequent mistakes."
    if unnamed:
        caption += f" Not shown are {unnamed} images that the model gave no class."
    matrix = Figure("Confusion matrix", confusion_figure(confusion, names, classes), caption)
    pairs = most_confused(confusion, count=15 if many else 8)
    if not pairs:
        return [matrix, Missing("No image was taken for another class." if unnamed else "There is no mistake at all.")]
    head = ("true class", "taken for", "images", "share of the class")
    rows = [(names[p.true], names[p.predicted], str(p.count), f"{p.count / p.total:.1%}") for p in pairs]
    tables: list[Block] = [Table("Most frequent mistakes", head, rows, num_names=2)]
    right = confusion.diagonal() / np.maximum(totals, 1)
    hardest = [number for number in np.argsort(right, kind="stable") if totals[number]][: 15 if many else 3]
    shares = [(names[number], f"{right[number]:.1%}", str(int(totals[number]))) for number in hardest]
    tables.append(Table("Hardest classes", ("class", "accuracy", "images"), shares))
    return [matrix, Grid(tables, size="large")] if many else [Grid([matrix, tables], size="large")]


def evenness_blocks(layers: Sequence[LayerHistory]) -> list[Block]:
    """The overview of all layers, then energy and smallest angle of each over time."""
    if not layers:
        return [Missing("No evaluation has measured the layers yet.")]
    blocks: list[Block] = []
    overview = overview_figure([("", layers, TRAIN)])
    if overview["data"]:
        caption = (
            "The place of a layer is (E − E_min) / (E_random − E_min): 0% is the lowest energy there can be, 100% the "
            "mean energy of random directions; beyond it neurons lie closer together than chance would put them. Open "
            "circles: first evaluation, filled ones: last."
        )
        if any(one.floor and not one.floor.is_reached for one in layers):
            caption += (
                " * The minimum is unknown for so many neurons in so few dimensions; a lower bound stands in, so 0% "
                "may be out of reach."
            )
        blocks.append(Figure("Where every layer began and ended", overview, caption))
    unplaced = ", ".join(f"`{one.name}`" for one in layers if not np.isfinite(one.positions).any())
    if unplaced:
        reason = "the energy of random directions is infinite there, or nothing is known about the minimum"
        blocks.append(Missing(f"Without a place in the overview are {unplaced}: {reason}."))
    total = add_up(layers)
    if total is not None:
        drawn = total_figure([("", total, EVALUATION if total.regularized else TRAIN)])
        blocks.append(Figure("Energy of all layers together", drawn, total_caption(total, layers)))
    energies = [Figure(one.name, energy_figure(one), _size(one)) for one in layers if len(one.energy)]
    if energies:
        pushed = listed(list(dict.fromkeys(word for one in layers for word in one.pushed_by)))
        caption = "Energy of each layer at every evaluation. "
        caption += f"Orange: {pushed} in the loss; blue: only watched." if pushed else "They are only watched."
        blocks.append(Grid(energies, caption))
    angles = [Figure(one.name, angle_figure(one), _size(one)) for one in layers if len(one.angle)]
    if angles:
        caption = (
            "Smallest angle between two neurons of each layer, in degrees. “Random directions” is the smallest angle "
            "that as many random directions would show (median), “widest possible” the largest there can be, where "
            "that is known."
        )
        blocks.append(Grid(angles, caption))
    return blocks


def total_caption(total: Total, layers: Sequence[LayerHistory]) -> str:
    """What is added up, what is left out, and why a line is missing."""
    parts = [f"The energies of {len(total.names)} layers at every evaluation, added up without weights."]
    left_out = ", ".join(f"`{one.name}`" for one in layers if one.name not in total.names)
    if left_out:
        parts.append(f"Left out: {left_out}.")
    counted = [one for one in layers if one.name in total.names]
    endless = ", ".join(f"`{one.name}`" for one in counted if not np.isfinite(one.expected))
    if endless:
        parts.append(f"There is no line of random directions: their energy is infinite or unknown in {endless}.")
    unknown = ", ".join(f"`{one.name}`" for one in counted if one.floor is None)
    if unknown:
        parts.append(f"There is no line below: nothing is known about the minimum in {unknown}.")
    elif not (total.floor and total.floor.is_reached):
        bounded = ", ".join(f"`{one.name}`" for one in counted if one.floor and not one.floor.is_reached)
        parts.append(f"The minimum is unknown in {bounded}, where a lower bound stands in.")
    return " ".join(parts)


def minimised_blocks(runs: Sequence[tuple[str, Sequence[LayerTerm], str]]) -> list[Block]:
    """What regularisers measured of each layer, where evaluations do not measure the same; a grid for each quantity.

    Args:
        runs: name, terms and colour of each run.
    """
    shown_terms = [(name, one, color) for name, terms, color in runs for one in terms if _says_more(one)]
    blocks: list[Block] = []
    for quantity in dict.fromkeys(one.quantity for _, one, _ in shown_terms):
        members = [entry for entry in shown_terms if entry[1].quantity == quantity]
        figures = []
        for layer in dict.fromkeys(one.layer for _, one, _ in members):
            drawn = [entry for entry in members if entry[1].layer == layer]
            sizes = ", ".join(dict.fromkeys(one.size for _, one, _ in drawn if one.size))
            figures.append(Figure(layer, term_figure(drawn), sizes))
        whose = ", ".join(dict.fromkeys(f"`{name}`" for name, _, _ in members if name))
        text = f"{quantity[:1].upper()}{quantity[1:]}{f' in {whose}' if whose else ''}, before its weight."
        blocks.append(Grid(figures, text))
    return blocks


def _says_more(term: LayerTerm) -> bool:
    return not term.is_monitored and len(term.values) > 0


def _size(layer: LayerHistory) -> str:
    return f"{layer.num_neurons} neurons in {layer.dim} dimensions"


def neuron_blocks(weights: Weights | None, why_not: str, pairs: dict[str, list[Pair]]) -> list[Block]:
    """First-layer filters, and the heat map of cosines of the layer that a menu chooses."""
    if weights is None:
        return [Missing(why_not)]
    filters = weights.filters
    blocks: list[Block] = [_filter_block(filters, pairs[filters.name]) if filters else Missing(weights.why_no_filters)]
    layers = [layer for layer in weights.layers if layer.can_be_compared]
    left_out = ", ".join(f"`{layer.name}`" for layer in weights.layers if not layer.can_be_compared)
    if left_out:
        blocks.append(Missing(f"Not compared, for lack of a second neuron or of finite weights: {left_out}."))
    if layers:
        figures = [Figure(layer.name, gram_figure([("", *cosines(layer.weight))])) for layer in layers]
        tables = [_pair_table(layer, pairs[layer.name]) for layer in layers]
        caption = (
            "Cosine uᵢ · uⱼ between neurons: 1 for the same direction, 0 for a right angle, −1 for opposite ones; the "
            "diagonal is left blank. Similar neurons stand together, so a red block is a group of neurons that look "
            "for nearly the same thing."
        )
        blocks.append(Choice("Cosines between the neurons of a layer", "Layer", figures, tables, caption))
    return blocks


def _pair_table(layer: Neurons, pairs: Sequence[Pair]) -> Table:
    """The closest pairs of a layer, and how much of it is shown."""
    text = f"{len(layer.weight)} neurons in {layer.weight.shape[1]} dimensions"
    text += f", the first of {layer.num_groups} groups" if layer.num_groups > 1 else ""
    text += f"; {LARGEST} of them in the map, drawn with a fixed seed" if len(layer.weight) > LARGEST else ""
    rows = [
        (f"{pair.first} and {pair.second}", f"{math.degrees(pair.angle):.1f}°", f"{math.cos(pair.angle):.3f}")
        for pair in pairs
    ]
    return Table("Closest pairs", ("neurons", "angle", "cosine"), rows, f"{text}.")


def _filter_block(filters: Filters, pairs: Sequence[Pair]) -> Block:
    """Filters as pictures, the closest pairs below them."""
    finite = np.nan_to_num(filters.images.reshape(len(filters.images), -1), posinf=0.0, neginf=0.0)
    numbers = cosines(finite)[1]

    def show(number: int) -> Picture:
        return Picture(picture(filter_pixels(filters.images[number])), str(number))

    closest = [(f"{math.degrees(pair.angle):.1f}° apart", [show(pair.first), show(pair.second)]) for pair in pairs[:5]]
    channels, height, width = filters.images.shape[1:]
    caption = (
        f"{len(filters.images)} filters of {height} × {width} pixels in {'colour' if channels == 3 else 'grey'}, each "
        "scaled by its largest weight: middle grey is zero. Similar ones stand together; numbers are those of the heat "
        "map. Below: the closest pairs."
    )
    caption += f" {len(numbers)} of them shown, drawn with a fixed seed." if len(numbers) < len(filters.images) else ""
    return Pictures(f"Filters of the first layer, `{filters.name}`", [show(int(n)) for n in numbers], closest, caption)


def setting_blocks(run: Run) -> list[Block]:
    """Config and environment in full, folded away."""
    blocks: list[Block] = []
    for title, settings in (("The complete config", run.config), ("Versions and machine", run.environment)):
        text = "\n".join(f"{path}: {shown(value)}" for path, value in flat(settings).items())
        blocks.append(Details(title, text) if text else Missing(f"{title}: nothing was recorded."))
    return blocks
