# SPDX-License-Identifier: MIT
"""The chapter on the margin: angles to class vectors while training, margins that are met, what schedules moved."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from hypersphere.report.curves import Curve, curve_figure
from hypersphere.report.page import Block, Figure, Grid, Missing, Section, Table
from hypersphere.report.run import Run, number, series
from hypersphere.report.theme import EVALUATION, MINIMUM, TRAIN, Spec

__all__ = ["margin_sections", "meets_margins", "read_margin"]

_LEAD = (
    "What training sees of directions: the angle between a feature and the vector of its class, and that to the "
    "nearest vector of another class."
)
_WITH_MARGIN = " A margin makes the own class look farther away than it is, so that it has to win by more."
# key in the line of metrics -> title, axis, what it is
_VALUES = {
    "annealing": (
        "Lambda of the annealing",
        "lambda",
        "Weight of the logit without the margin: the target is (lambda · without + with) / (1 + lambda).",
    ),
    "margin_schedule": ("A number of the margin", "value", "Moved by a schedule."),
    "scale_schedule": ("Scale", "scale", "What multiplies the cosines, moved by a schedule."),
    "scale": ("Learned scale", "scale", "What multiplies the cosines, learned with the weights."),
    "bias": ("Learned bias", "bias", "Added to every logit, learned with the weights."),
    "running_cosine": (
        "Remembered cosine",
        "cosine",
        "Running mean of cosines to the own class, which the margin uses.",
    ),
    "running_mean": ("Remembered length", "length", "Running mean of the lengths of features, which the margin uses."),
    "running_deviation": (
        "Remembered deviation of lengths",
        "standard deviation",
        "Running standard deviation of the lengths of features, which the margin uses.",
    ),
    "class_energy": ("Energy of the class vectors", "energy", "In the loss, here without its weight."),
}
# what is set, not measured
_SET = ("annealing", "margin_schedule", "scale_schedule")
_ANGLES = {"angle": "own class", "nearest_angle": "nearest other class"}


def margin_sections(runs: Sequence[tuple[str, Run, str]]) -> list[Section]:
    """The chapter of one run or several, each with its name and colour; none where no run recorded angles."""
    known = [(name, run, color) for name, run, color in runs if _has(run)]
    if not known:
        return []
    blocks = _blocks(known[0][1]) if len(runs) == 1 else _blocks_of_runs(known)
    left_out = ", ".join(f"`{name}`" for name, run, _ in runs if not _has(run))
    if left_out:
        blocks.append(Missing(f"Angles were not recorded in {left_out}."))
    if any(meets_margins(run) for _, run, _ in known):
        return [Section("margin", "The margin", _LEAD + _WITH_MARGIN, blocks)]
    return [Section("margin", "Angles while training", _LEAD, blocks)]


def meets_margins(run: Run) -> bool:
    """Whether the share of met margins says more than accuracy does: it never does for a head without a margin."""
    for row in run.train:
        met, right = number(row, "margin", "satisfied"), number(row, "accuracy")
        # shares of the same images, added up in another order
        if math.isfinite(met) and math.isfinite(right) and abs(met - right) > 1e-6:
            return True
    return False


def read_margin(run: Run) -> list[str]:
    """The sentence at the top of a page: how near features are to their class while training, and how many meet it."""
    own, other = (_last(run, what) for what in _ANGLES)
    if not math.isfinite(own):
        return []
    told = f"On its last training batches features were {own:.1f}° from the vector of their class on average"
    if math.isfinite(other):
        told += f" and {other:.1f}° from the nearest other one"
    if meets_margins(run) and math.isfinite(_last(run, "satisfied")):
        told += f"; {_last(run, 'satisfied'):.1%} of the images met the margin"
    return [f"{told}."]


def _has(run: Run) -> bool:
    return len(series(run.train, "margin", "angle")[1]) > 0


def _course(run: Run, what: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps and values, angles in degrees."""
    steps, values = series(run.train, *(["accuracy"] if what == "accuracy" else ["margin", what]))
    return steps, np.degrees(values) if what in _ANGLES else values


def _last(run: Run, what: str) -> float:
    values = _course(run, what)[1]
    return float(values[-1]) if len(values) else math.nan


def _blocks(run: Run) -> list[Block]:
    figures = [_angle_figure(run), *([_met_figure(run)] if meets_margins(run) else [])]
    for what, (title, unit, meaning) in _titles([run]).items():
        steps, values = _course(run, what)
        if not len(values):
            continue
        drawn = _value_figure([(title, steps, values, EVALUATION, False)], what, unit)
        drawn["layout"]["showlegend"] = False
        parts = [meaning, _way(values), *_more(run, what)]
        figures.append(Figure(title, drawn, " ".join(parts)))
    caption = "Faint lines are single records, strong lines their moving mean."
    faint = any("opacity" in trace for figure in figures for trace in figure.spec["data"])
    return [Grid(figures, caption if faint else "", "large")]


def _angle_figure(run: Run) -> Figure:
    curves: list[Curve] = [
        (words, *_course(run, what), color, False)
        for (what, words), color in zip(_ANGLES.items(), (TRAIN, EVALUATION), strict=True)
    ]
    starts, ends = ([values[place] if len(values) else math.nan for _, _, values, *_ in curves] for place in (0, -1))
    told = (
        f"Mean over the images of training batches. That to the own class went from {starts[0]:.1f}° to {ends[0]:.1f}°"
    )
    if math.isfinite(ends[1]):
        told += f", that to the nearest other class from {starts[1]:.1f}° to {ends[1]:.1f}°"
        apart = ends[1] - ends[0]
        told += f": the own class is {abs(apart):.1f}° {'nearer' if apart >= 0 else 'farther'} at last"
    return Figure("Angles to class vectors", curve_figure(curves, "angle (degrees)"), f"{told}.")


def _met_figure(run: Run) -> Figure:
    curves: list[Curve] = [
        ("with its margin", *_course(run, "satisfied"), MINIMUM, False),
        ("without it (accuracy)", *_course(run, "accuracy"), TRAIN, False),
    ]
    told = (
        "Images of training batches whose own class wins. At last "
        f"{_last(run, 'satisfied'):.1%} with the margin, {_last(run, 'accuracy'):.1%} without it."
    )
    if math.isfinite(_last(run, "annealing")):
        told += " The margin counts here with the weight that lambda leaves it at each step."
    return Figure("Margins that are met", curve_figure(curves, "share of images", tickformat=".0%"), told)


def _value_figure(curves: Sequence[Curve], what: str, unit: str) -> Spec:
    return curve_figure(curves, unit, log=what == "annealing", smoothed=what not in _SET)


def _titles(runs: Sequence[Run]) -> dict[str, tuple[str, str, str]]:
    """`_VALUES` with the name of the number that a schedule moves, where all runs move the same."""
    moved = {
        str(run.setting("margin_schedule.argument", "")) for run in runs if len(_course(run, "margin_schedule")[1])
    }
    if len(moved) != 1 or not min(moved):
        return _VALUES
    name = min(moved).replace("_", " ")
    return _VALUES | {"margin_schedule": (f"The margin's {name}", name, "Moved by a schedule.")}


def _way(values: np.ndarray) -> str:
    first, last = float(values[0]), float(values[-1])
    return f"It stayed at {first:.4g}." if first == last else f"From {first:.4g} to {last:.4g}.".replace("-", "−")


def _more(run: Run, what: str) -> list[str]:
    """What a number means at the end."""
    if what == "annealing":
        return [f"At last the margin has {1 / (1 + _last(run, what)):.2%} of its weight."]
    if what == "class_energy":
        weight = number(run.setting("head.energy", {}), "weight")
        return [f"Its weight is {weight:g}."] if math.isfinite(weight) else []
    return []


def _blocks_of_runs(runs: Sequence[tuple[str, Run, str]]) -> list[Block]:
    """A table of the last records, then each quantity of all runs in one figure."""
    every = [run for _, run, _ in runs]
    titles = _titles(every)
    bent = [meets_margins(run) for run in every]
    rows = [
        _row("angle to the own class", every, "angle", ".1f", "°"),
        _row("angle to the nearest other class", every, "nearest_angle", ".1f", "°"),
        [
            "own class nearer by",
            *(_shown(_last(run, "nearest_angle") - _last(run, "angle"), ".1f", "°") for run in every),
        ],
        [
            "margins that are met",
            *(_shown(_last(run, "satisfied"), ".1%") if met else "–" for run, met in zip(every, bent, strict=True)),
        ],
        _row("accuracy", every, "accuracy", ".1%"),
        *(_row(title[:1].lower() + title[1:], every, what, ".4g") for what, (title, *_) in titles.items()),
    ]
    rows = [row for row in rows if set(row[1:]) != {"–"}]
    head = ("", *(f"`{name}`" for name, *_ in runs))
    caption = "In the last record of training batches. –: the head has no such thing."
    figures = []
    for what, words in _ANGLES.items():
        curves = [(name, *_course(run, what), color, False) for name, run, color in runs]
        figures.append(Figure(f"Angle to the {words}", curve_figure(curves, "angle (degrees)"), ""))
    if any(bent):
        with_margin = [entry for entry, met in zip(runs, bent, strict=True) if met]
        curves = [(name, *_course(run, "satisfied"), color, False) for name, run, color in with_margin]
        drawn = curve_figure(curves, "share of images", tickformat=".0%")
        figures.append(Figure("Margins that are met", drawn, "Images whose own class wins with its margin."))
    for what, (title, unit, meaning) in titles.items():
        curves = [(name, *_course(run, what), color, False) for name, run, color in runs]
        if any(len(values) for _, _, values, *_ in curves):
            figures.append(Figure(title, _value_figure(curves, what, unit), meaning))
    figures = [figure for figure in figures if figure.spec["data"]]
    for figure in figures:
        # one curve alone has no legend otherwise
        figure.spec["layout"]["showlegend"] = True
    return [Table("At the end of training", head, rows, caption), Grid(figures, size="large")]


def _row(title: str, runs: Sequence[Run], what: str, form: str, unit: str = "") -> list[str]:
    return [title, *(_shown(_last(run, what), form, unit) for run in runs)]


def _shown(value: float, form: str, unit: str = "") -> str:
    return f"{format(value, form)}{unit}".replace("-", "−") if math.isfinite(value) else "–"
