# SPDX-License-Identifier: MIT
"""The chapter on operators: what was learned of angles and radii, which cosines and lengths of patches layers met."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from hypersphere.analysis.operators import cosine_chance
from hypersphere.report.operator_facts import LEARNED, Layer, Operators, operator_words
from hypersphere.report.operator_figures import Ridge, course_figure, merge_bins, ridge_figure, sizes_figure
from hypersphere.report.page import Block, Figure, Grid, Missing, Section, Table
from hypersphere.report.run import Run, number, series

__all__ = ["operator_sections", "read_operator_words"]

_LEAD = (
    "A convolution compares every kernel with the patch of the image below it. How much they agree is the cosine of "
    "the angle between them; how strong the patch is, its length. An ordinary layer multiplies the two, others treat "
    "each by a function of its own."
)


def read_operator_words(found: Operators | None) -> list[str]:
    """The sentences at the top of a page, where the network has layers with an angle of their own."""
    if found is None or not any(one.is_decoupled for one in found.layers):
        return []
    told = []
    for what in ("k", "radius"):
        moved = [one for one in _learners(found, what) if math.isfinite(one.start(what))]
        if moved:
            one = max(moved, key=lambda one: _way(one, what))
            told.append(f"Training moved the {LEARNED[what][0]} most in `{one.name}`: {_drift(one, what)}.")
    compared = [(one.size / cosine_chance(one.dim)[1], one) for one in found.layers if one.is_decoupled]
    compared = [entry for entry in compared if math.isfinite(entry[0])]
    if compared:
        times, one = max(compared, key=lambda entry: entry[0])
        told.append(
            f"Kernels of `{one.name}` fit what they see best: the mean |cosine| is {one.size:.2f}, {times:.1f} times "
            f"that of random directions in {one.dim} dimensions."
        )
    return told


def operator_sections(runs: Sequence[tuple[str, Operators | None, Run, str]]) -> list[Section]:
    """The chapter of one run or several: name, measure, run and colour of each; none where nothing was measured."""
    measured = [(name, found, run, color) for name, found, run, color in runs if found is not None and found.layers]
    if not measured:
        return []
    blocks = _blocks(measured[0][1], measured[0][2]) if len(runs) == 1 else _blocks_of_runs(measured)
    left_out = ", ".join(f"`{name}`" for name, found, *_ in runs if found is None)
    if left_out:
        blocks.append(Missing(f"Not measured: {left_out}. `hypersphere evaluate RUN` does it."))
    return [Section("operators", "What the operators did", _LEAD, blocks)]


def _blocks(found: Operators, run: Run) -> list[Block]:
    blocks: list[Block] = [_learned_figure(found, what) for what in LEARNED if _learners(found, what)]
    blocks += _courses(found, run)
    return [*blocks, _cosine_figure(found), _norm_figure(found), _table(found)]


def _learners(found: Operators, what: str) -> list[Layer]:
    return [one for one in found.layers if what in one.learned]


def _way(one: Layer, what: str) -> float:
    """How far kernels are from their start, whichever way they went: the root of the mean square."""
    return float(np.sqrt(np.mean((one.learned[what] - one.start(what)) ** 2)))


def _drift(one: Layer, what: str) -> str:
    values, start = one.learned[what], one.start(what)
    mean, spread = float(values.mean()), float(values.std())
    if abs(mean - start) < spread / 4:
        return f"apart, by a spread of {spread:.2g} between kernels, while their mean stayed near {start:.4g}"
    text = f" on average, with a spread of {spread:.2g} between kernels" if len(values) > 1 else ""
    return f"from {start:.4g} to {mean:.4g}{text}"


def _moves(layers: Sequence[Layer], what: str) -> str:
    """In how many layers the mean fell or rose, and where kernels went farthest."""
    down = sum(one.learned[what].mean() < one.start(what) for one in layers)
    if len(layers) == 1:
        return f"It went {_drift(layers[0], what)}."
    both = f"fell in {down} of {len(layers)} layers" if 0 < down < len(layers) else ""
    told = both or f"{'fell' if down else 'rose'} in all {len(layers)} layers"
    one = max(layers, key=lambda one: _way(one, what))
    return f"The mean {told}; kernels went farthest in `{one.name}`: {_drift(one, what)}."


def _learned_figure(found: Operators, what: str) -> Figure:
    """The histogram of a learned number over the kernels of each layer."""
    layers = _learners(found, what)
    title, unit, meaning = LEARNED[what]
    relative = what == "radius" and any(number(one.row, "unit") != 1 for one in layers)
    starts = sorted({one.start(what) for one in layers if math.isfinite(one.start(what))})
    every = np.concatenate([*(one.learned[what] for one in layers), starts])
    low, high = float(every.min()), float(every.max())
    room = 0.04 * (high - low) or 0.1 * (abs(high) or 1.0)
    # about as many bins as the fewest kernels can fill
    bins = int(min(40, max(12, 4 * min(len(one.learned[what]) for one in layers) ** 0.5)))
    edges = np.linspace(low - room, high + room, bins + 1)
    rows = []
    for one in layers:
        values = one.learned[what]
        spread = f" ± {values.std():.2g}" if len(values) > 1 else ""
        change = f" ({values.mean() - one.start(what):+.2g})".replace("-", "−")
        text = f"{values.mean():.4g}{spread}{change if math.isfinite(one.start(what)) else ''}"
        rows.append(Ridge(one.name, edges, np.histogram(values, edges)[0], text, mark=float(values.mean())))
    known = [one for one in layers if math.isfinite(one.start(what))]
    parts = [meaning, *([_moves(known, what)] if known else [])]
    if relative:
        parts.append("In units of the mean length of the patches that the layer met while training.")
    parts.append("To the right: mean ± standard deviation over the kernels, and in brackets the way from the start.")
    lines = [(start, f"start {start:.3g}") for start in starts]
    label = f"{unit} (mean patch lengths)" if relative else unit
    drawn = ridge_figure(rows, label, (edges[0], edges[-1]), lines=lines, marks="mean of the layer")
    return Figure(f"Learned {title}, layer by layer", drawn, " ".join(parts))


def _courses(found: Operators, run: Run) -> list[Block]:
    """The means of learned numbers over the evaluations."""
    figures = []
    for what, (title, unit, _) in LEARNED.items():
        layers = _learners(found, what)
        curves = [(one.name, *series(run.evaluations, "operators", one.name, f"{what}_mean")) for one in layers]
        curves = [curve for curve in curves if len(curve[1]) > 1]
        if curves:
            starts = {one.start(what) for one in layers}
            drawn = course_figure(curves, f"mean {unit}", starts.pop() if len(starts) == 1 else math.nan)
            caption = "Mean over the kernels at every evaluation; early layers are orange, late ones blue."
            figures.append(Figure(f"How the {title} moved", drawn, caption))
    return [Grid(figures, size="large")] if figures else []


def _cosine_figure(found: Operators) -> Figure:
    """Cosines of every layer with those of random directions behind them."""
    reach, rows, told = 0.1, [], []
    for one in found.layers:
        share = one.cosines / max(1, one.cosines.sum())
        # what lies outside of this on either side is a thousandth
        outside = np.abs(found.cosine_edges[:-1])[np.minimum(np.cumsum(share), np.cumsum(share[::-1])[::-1]) > 5e-4]
        reach = max(reach, float(outside.max(initial=0.0)))
    reach = min(1.0, 1.05 * reach)
    width = next(width for width in (1, 3, 5, 7, 9) if 401 * reach / width <= 90 or width == 9)
    for one in found.layers:
        edges, counts = merge_bins(found.cosine_edges, one.cosines, width)
        chance, usual = cosine_chance(one.dim, edges)
        text = f"{one.size:.2f}, {one.size / usual:.1f} times chance"
        rows.append(Ridge(one.name, edges, counts, text, chance, number(one.row, "cosine", "mean")))
        told.append((one.size / usual, one))
    told = [entry for entry in told if math.isfinite(entry[0])]
    parts = [
        "Cosines of all patches with all kernels; each curve is as tall as its row. Where the filled shape is wider "
        "than the grey outline, kernels lie along directions that patches share, or against them. A layer whose inputs "
        "are all positive has patches that lie close together, which alone makes its shape wider."
    ]
    if len(told) > 1:
        (most, first), (least, last) = (pick(told, key=lambda entry: entry[0]) for pick in (max, min))
        parts.append(
            f"Farthest from chance is `{first.name}`, {most:.1f} times its mean |cosine|, nearest to it `{last.name}`, "
            f"{least:.1f} times."
        )
    parts.append("To the right: mean |cosine|.")
    drawn = ridge_figure(
        rows, "cosine of patch and kernel", (-reach, reach), chance="random directions", marks="mean of the layer"
    )
    return Figure("Angles between patches and kernels", drawn, " ".join(parts))


def _norm_figure(found: Operators) -> Figure:
    """Lengths of patches, with the length that eps needs and the radii."""
    edges = found.norm_edges
    ends: list[float] = []
    thresholds = sorted({one.threshold for one in found.layers if one.threshold > 0})
    for one in found.layers:
        share = np.cumsum(one.norms) / max(1, one.norms.sum())
        if share[-1] > 0:
            ends += [float(edges[np.argmax(share >= end)]) for end in (0.001, 0.999)]
    ends += [*thresholds, *(radius for one in found.layers for radius in one.radii if radius > 0)]
    low, high = (0.8 * min(ends), 1.25 * max(ends)) if ends else (0.1, 10.0)
    rows = []
    for one in found.layers:
        merged, counts = merge_bins(edges, one.norms, 1)
        radii = one.radii
        span = (float(radii.min()), float(radii.max()), float(radii.mean())) if len(radii) else None
        mean, std = number(one.row, "norm", "mean"), number(one.row, "norm", "std")
        rows.append(Ridge(one.name, merged, counts, f"{mean:.3g} ± {std:.2g}", span=span))
    lines = [(at, f"10 √eps = {at:.3g}") for at in thresholds]
    parts = ["Each layer's patches by their length, to the right its mean ± standard deviation."]
    if thresholds:
        short = [(one.shorter(edges, one.threshold), one) for one in found.layers if one.threshold > 0]
        most, one = max(short, key=lambda entry: entry[0])
        parts.append(
            "Left of the dashed line eps takes more than half a percent off the cosine, and a patch counts the less "
            "the shorter it is; right of it the angle is as good as exact."
        )
        parts.append(
            f"Shorter than that are {most:.1%} of the patches of `{one.name}`, the largest share."
            if most >= 5e-4
            else "Nearly no patch is as short as that."
        )
    if any(row.span for row in rows):
        parts.append(
            "Orange: the radius, from the smallest to the largest of the layer's kernels, the line at the mean."
        )
    parts += _without_direction(found)
    drawn = ridge_figure(rows, "length of a patch", (low, high), log=True, lines=lines, span="radius")
    return Figure("Lengths of patches", drawn, " ".join(parts))


def _without_direction(found: Operators) -> list[str]:
    empty = [(number(one.row, "num_zero") / max(1.0, number(one.row, "num_patches")), one) for one in found.layers]
    share, one = max(empty, key=lambda entry: entry[0])
    if not share > 0:
        return []
    text = f"{share:.1%}" if share >= 1e-3 else "less than 0.1%"
    return [f"Patches of zeros alone, which have no angle, are left out; in `{one.name}` they are {text}, the most."]


def _table(found: Operators) -> Table:
    """Every layer in numbers."""
    rows = []
    for one in found.layers:
        usual = cosine_chance(one.dim)[1]
        longer = [1 - one.shorter(found.norm_edges, radius) for radius in one.radii]
        rows.append(
            [
                f"`{one.name}`",
                operator_words(one.row),
                # in one line
                f"{one.row.get('num_kernels', '?')} of {one.dim}".replace(" ", "\u00a0"),
                f"{one.size:.3f}",
                f"{usual:.3f}",
                f"{number(one.row, 'norm', 'mean'):.3g}",
                f"{one.shorter(found.norm_edges, one.threshold):.1%}" if one.threshold > 0 else "–",
                f"{np.mean(longer):.0%}" if longer else "–",
                f"{number(one.row, 'output', 'std'):.3g}",
            ]
        )
    # columns in which no layer has anything say nothing
    kept = [column for column in range(9) if column < 6 or column == 8 or any(row[column] != "–" for row in rows)]
    head = (
        "layer", "operator", "kernels", "mean |cosine|", "by chance", "mean length", "short for eps",
        "beyond the radius", "spread of outputs",
    )  # fmt: skip
    num = number(found.summary, "num_samples")
    caption = (
        f"Measured on {num:.0f} images of {found.summary.get('split', 'an unknown split')}. Kernels: how many, and of "
        "how many numbers. Spread of outputs: their standard deviation, before any normalisation."
    )
    shown = [[row[column] for column in kept] for row in rows]
    return Table("Layers in numbers", [head[column] for column in kept], shown, caption, num_names=2)


def _blocks_of_runs(runs: Sequence[tuple[str, Operators, Run, str]]) -> list[Block]:
    """Mean |cosine| of every layer side by side, then what was learned."""
    names = [f"`{name}`" for name, *_ in runs]
    dims = {one.name: one.dim for _, found, *_ in runs for one in found.layers}
    # by chance more in few dimensions: only layers of the same size have one mark
    sizes = {name: {one.dim for _, found, *_ in runs for one in found.layers if one.name == name} for name in dims}
    chance = {name: cosine_chance(dim)[1] if len(sizes[name]) == 1 else math.nan for name, dim in dims.items()}
    dots = [
        (name, color, {one.name: one.size for one in found.layers if math.isfinite(one.size)})
        for name, found, _, color in runs
    ]
    caption = (
        "How closely kernels and patches agree, without regard to sign: at the grey mark no more than random "
        "directions do."
    )
    drawn = sizes_figure(dots, chance, "mean |cosine| of patch and kernel", words="random directions")
    blocks: list[Block] = [Figure("Angles between patches and kernels", drawn, caption)]

    def layer(found: Operators, name: str) -> Layer | None:
        return next((one for one in found.layers if one.name == name), None)

    rows = []
    for name in dims:
        members = [layer(found, name) for _, found, *_ in runs]
        rows.append([f"`{name}`", *("–" if one is None else _cell(one) for one in members)])
    told = (
        "Operator, mean |cosine|, mean length of a patch, and what was learned: mean ± standard deviation over kernels."
    )
    blocks.append(Table("Layers side by side", ("layer", *names), rows, told, num_names=1 + len(names)))
    return blocks


def _cell(one: Layer) -> str:
    parts = [operator_words(one.row), f"{one.size:.3f}", f"{number(one.row, 'norm', 'mean'):.3g}"]
    parts += [f"{what} {values.mean():.4g} ± {values.std():.2g}" for what, values in one.learned.items()]
    return " · ".join(parts)
