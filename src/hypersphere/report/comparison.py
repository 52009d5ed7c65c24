# SPDX-License-Identifier: MIT
"""The page of several runs: the same curves, numbers, layers and heat maps next to each other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hypersphere.report.chapters import minimised_blocks, total_caption
from hypersphere.report.curves import curve_figure
from hypersphere.report.energies import angle_figure, energy_figure, overview_figure, total_figure
from hypersphere.report.facts import OFF, duration, final_numbers, in_force, shown, split_name
from hypersphere.report.gram import gram_figure
from hypersphere.report.identification import identification_sections
from hypersphere.report.layers import LayerHistory, Total, add_up, energy_name
from hypersphere.report.margins import margin_sections
from hypersphere.report.neurons import LARGEST, cosines
from hypersphere.report.operators import operator_sections
from hypersphere.report.page import Block, Choice, Figure, Grid, Missing, Page, Section, Table
from hypersphere.report.robustness import attack_sections
from hypersphere.report.run import series
from hypersphere.report.story import MINIMISED, Story, read_story
from hypersphere.report.terms import listed, regularizer_names, term_words
from hypersphere.report.theme import RUNS, Spec
from hypersphere.report.verification import accuracy_words, verification_sections

__all__ = ["comparison_page", "run_names", "write_comparison"]


def write_comparison(runs: Sequence[Path], out: Path) -> Path:
    """Write one page that compares runs.

    Args:
        runs: two run folders or more, finished or not.
        out: the HTML file.

    Returns:
        The file that was written.

    Raises:
        ValueError: if fewer than two runs are given.
        FileNotFoundError: if one of them is no run folder.
        ImportError: if the extra `report` is not installed.
        OSError: if the page cannot be written.
    """
    if len(runs) < 2:
        raise ValueError(f"write_comparison: expected two runs or more, got {len(runs)}.")
    return comparison_page([read_story(run) for run in runs]).write(out)


def run_names(folders: Sequence[Path]) -> list[str]:
    """The shortest ends of the folders' paths that tell them apart; a number where the same folder comes twice.

    Example:
        >>> run_names([Path("/a/first/run"), Path("/a/second/run")])
        ['first/run', 'second/run']
    """
    paths = [folder.resolve().parts for folder in folders]
    depth = 1
    while len({path[-depth:] for path in paths}) < len(set(paths)):
        depth += 1
    names = ["/".join(path[-depth:]) for path in paths]
    return [f"{name} ({names[:n].count(name) + 1})" if names.count(name) > 1 else name for n, name in enumerate(names)]


def comparison_page(stories: Sequence[Story]) -> Page:
    """The whole page of several runs."""
    names = run_names([story.run.folder for story in stories])
    colors = [RUNS[place % len(RUNS)] for place in range(len(names))]
    notes = [f"`{name}`: {note}" for name, story in zip(names, stories, strict=True) for note in story.run.notes]
    tables = [_numbers_table(stories, names), _settings_table(stories, names)]
    curves = _curve_blocks(stories, names, colors)
    evenness = f"Each layer's energy is the {energy_name(stories[0].run)}, in the loss or not."
    terms = [story.terms for story in stories]
    minimised = minimised_blocks(list(zip(names, terms, colors, strict=True)))
    operators = [(name, one.operators, one.run, color) for name, one, color in zip(names, stories, colors, strict=True)]
    told = list(zip(names, stories, colors, strict=True))
    attacked = [(name, story.attacked, color) for name, story, color in told]
    return Page(
        title=f"{len(stories)} runs compared",
        subtitle=" · ".join(f"`{name}`" for name in names),
        notes=notes,
        reading=_read_differences(stories, names),
        sections=[
            Section("numbers", "Final numbers", "", [Grid(tables, size="large")] if len(names) < 4 else tables),
            Section("learning", "Learning", "The same quantity of every run in one figure.", curves),
            *margin_sections([(name, story.run, color) for name, story, color in told]),
            *verification_sections([(name, story.verified, color) for name, story, color in told]),
            *identification_sections([(name, story.identified, color) for name, story, color in told]),
            *attack_sections(attacked),
            Section("evenness", "How evenly neurons are spread", evenness, _evenness_blocks(stories, names, colors)),
            *([Section("minimised", "What was minimised, layer by layer", MINIMISED, minimised)] if minimised else []),
            *operator_sections(operators),
            Section("neurons", "The neurons", "The same layer of every finished model.", _gram_blocks(stories, names)),
        ],
    )


def _read_differences(stories: Sequence[Story], names: Sequence[str]) -> list[str]:
    """Which run classifies best and by how much, and what would make the comparison unfair."""
    finals = [final_numbers(story.run) for story in stories]
    known = [(final["accuracy"], name) for final, name in zip(finals, names, strict=True) if final["accuracy"] >= 0]
    known.sort(reverse=True)
    found = []
    if len(known) > 1:
        (best, first), (next_best, second) = known[:2]
        found.append(
            f"`{first}` is right for {best:.2%} of the images, `{second}` for {next_best:.2%}: "
            f"{100 * (best - next_best):.2f} points apart. One run each tells nothing of the spread between seeds."
        )
    found += [*_read_totals(stories, names), *_read_layers(stories, names)]
    if len({split_name(story.run) for story in stories}) > 1:
        found.append("The runs were evaluated on different splits: their accuracies do not compare.")
    if len({final["step"] for final in finals if math.isfinite(final["step"])}) > 1:
        found.append("The runs were evaluated after different numbers of steps.")
    if len({energy_name(story.run) for story in stories}) > 1:
        found.append("The runs recorded different energies: compare places between 0% and 100%, not values.")
    return found


def _read_totals(stories: Sequence[Story], names: Sequence[str]) -> list[str]:
    """Where the energy of all layers together ended in each run, the most even first."""
    totals = _totals(stories)
    if len(totals) < 2 or len({energy_name(stories[place].run) for place in totals}) > 1:
        return []
    ends = sorted((total.position, names[place]) for place, total in totals.items() if math.isfinite(total.position))
    if len(ends) < len(totals):
        return []
    (at, first), *others = ends
    rest = listed([f"`{name}` at {place:.0%}" for place, name in others])
    count = len(next(iter(totals.values())).names)
    return [
        f"Added up over {count} layers, the energy of `{first}` ended at {at:.0%} of the way from the most even "
        f"arrangement to random directions, that of {rest}."
    ]


def _read_layers(stories: Sequence[Story], names: Sequence[str]) -> list[str]:
    """The layer whose last places differ most between runs, when they differ visibly."""
    places: dict[str, list[tuple[float, str]]] = {}
    for name, story in zip(names, stories, strict=True):
        for one in story.layers:
            if len(one.positions) and math.isfinite(one.positions[-1]):
                places.setdefault(one.name, []).append((float(one.positions[-1]), name))
    spans = [(max(found)[0] - min(found)[0], layer) for layer, found in places.items()]
    span, layer = max(spans, default=(0.0, ""))
    if span < 0.05:
        return []
    (low, first), (high, last) = min(places[layer]), max(places[layer])
    return [
        f"The runs differ most in layer `{layer}`: `{first}` ended at {low:.0%} of the way from the most even "
        f"arrangement to random directions, `{last}` at {high:.0%}."
    ]


def _numbers_table(stories: Sequence[Story], names: Sequence[str]) -> Block:
    """Accuracy, loss, steps and time, a column for each run."""
    finals = [final_numbers(story.run) for story in stories]

    def row(name: str, key: str, form: str) -> list[str]:
        return [name, *(format(final[key], form) if math.isfinite(final[key]) else "–" for final in finals)]

    again = any(math.isfinite(final["recalibrated"]) for final in finals)
    verified = [{one.stem: one for one in story.verified} for story in stories]
    rules = {"verification": "accuracy on pairs", "verification-common": "accuracy on pairs, common rule"}
    rows = [
        ["split", *(split_name(story.run) for story in stories)],
        row("accuracy", "accuracy", ".2%"),
        *([row("accuracy, statistics recalibrated", "recalibrated", ".2%")] if again else []),
        *(
            [title, *(accuracy_words(found[stem]) if stem in found else "–" for found in verified)]
            for stem, title in rules.items()
            if any(stem in found for found in verified)
        ),
        row("loss", "loss", ".4f"),
        row("accuracy on the last training batches", "train_accuracy", ".2%"),
        row("objective on the last training batches", "train_loss", ".4f"),
        row("step", "step", ".0f"),
        row("epochs", "epochs", ".4g"),
        ["time", *(duration(final["seconds"]) for final in finals)],
        row("images per second", "images_per_second", ".0f"),
        ["finished", *("yes" if final["is_final"] else "not yet" for final in finals)],
    ]
    return Table("Results", ("", *(f"`{name}`" for name in names)), rows)


def _settings_table(stories: Sequence[Story], names: Sequence[str]) -> Block:
    """The settings in which the runs differ."""
    settings = [in_force(story.run.config) for story in stories]
    paths = list(dict.fromkeys(path for one in settings for path in one))
    rows = [[f"`{path}`", *(shown(one.get(path, OFF.get(path, ""))) for one in settings)] for path in paths]
    rows = [[path, *("–" if text in ("", "{}") else text for text in texts)] for path, *texts in rows]
    different = [row for row in rows if len(set(row[1:])) > 1]
    if not different:
        return Missing("The runs have the same settings.")
    caption = f"The other {len(rows) - len(different)} settings are the same."
    head = ("setting", *(f"`{name}`" for name in names))
    return Table("What differs in the settings", head, different, caption, num_names=len(head))


def _curve_blocks(stories: Sequence[Story], names: Sequence[str], colors: Sequence[str]) -> list[Block]:
    """Loss, accuracy, energy and rate, one curve for each run."""

    def figure(source: str, path: Sequence[str], title: str, tickformat: str | None = None, log: bool = False) -> Spec:
        rows = [getattr(story.run, source) for story in stories]
        few = source == "evaluations"
        curves = [
            (name, *series(part, *path), color, few) for name, part, color in zip(names, rows, colors, strict=True)
        ]
        return curve_figure(curves, title, tickformat=tickformat, log=log)

    loss = "loss (nats per image)"
    wanted = [
        Figure("Accuracy of the evaluations", figure("evaluations", ["accuracy"], "accuracy", ".0%")),
        Figure("Loss of the evaluations", figure("evaluations", ["loss"], loss, log=True)),
        Figure("Accuracy on training batches", figure("train", ["accuracy"], "accuracy", ".0%")),
        Figure(
            "Objective on training batches",
            figure("train", ["terms", "objective"], loss, log=True),
            "Without regularisers.",
        ),
        *(
            Figure(f"Weighted {name} in the loss", figure("train", ["terms", name], "weighted term"), caption)
            for name, caption in _terms(stories, names).items()
        ),
        Figure("Learning rate", figure("train", ["rate"], "learning rate")),
    ]
    drawn = [one for one in wanted if one.spec["data"]]
    return [Grid(drawn, size="large")] if drawn else [Missing("No run has recorded a step yet.")]


def _terms(stories: Sequence[Story], names: Sequence[str]) -> dict[str, str]:
    """Every term beside the objective that some run has -> which runs have it, and as what."""
    captions: dict[str, list[str]] = {}
    for run, story in zip(names, stories, strict=True):
        for name in regularizer_names(story.run):
            words = term_words(story.run, name)
            captions.setdefault(name, []).append(f"`{run}`: {words}" if words != name else f"`{run}`")
    return {name: f"In the loss of {'; '.join(whose)}." for name, whose in captions.items()}


def _totals(stories: Sequence[Story]) -> dict[int, Total]:
    """Place of a run -> its energies added up over the layers that all measured runs have in the same size."""
    measured = {
        place: story.layers for place, story in enumerate(stories) if any(len(one.energy) for one in story.layers)
    }
    sizes = [
        {(one.name, one.num_neurons, one.dim) for one in layers if len(one.energy)} for layers in measured.values()
    ]
    shared = set.intersection(*sizes) if sizes else set()
    totals = {
        place: add_up([one for one in layers if (one.name, one.num_neurons, one.dim) in shared])
        for place, layers in measured.items()
    }
    return {place: total for place, total in totals.items() if total is not None}


def _total_blocks(stories: Sequence[Story], names: Sequence[str], colors: Sequence[str]) -> list[Block]:
    """The energy of all layers together, a curve for each run."""
    totals = _totals(stories)
    if not totals:
        return []
    first = next(iter(totals))
    layers: dict[str, LayerHistory] = {}
    for place in totals:
        layers |= {one.name: one for one in stories[place].layers if one.name not in layers}
    added = [
        f"{listed(total.pushed_by)} in that of `{names[place]}`" for place, total in totals.items() if total.pushed_by
    ]
    plain = [f"`{names[place]}`" for place, total in totals.items() if not total.pushed_by]
    parts = [total_caption(totals[first], list(layers.values()))]
    parts += [f"Regularisers in the loss: {'; '.join(added)}."] if added else []
    parts += [f"Without a regulariser (dotted): {', '.join(plain)}."] if plain and len(totals) > 1 else []
    drawn = total_figure([(names[place], total, colors[place]) for place, total in totals.items()])
    return [Figure("Energy of all layers together", drawn, " ".join(parts))]


def _evenness_blocks(stories: Sequence[Story], names: Sequence[str], colors: Sequence[str]) -> list[Block]:
    """The overview of all runs, a table of the last values, then every layer over time."""
    runs = [(name, story.layers, color) for name, story, color in zip(names, stories, colors, strict=True)]
    layers = list(dict.fromkeys(one.name for story in stories for one in story.layers))
    if not layers:
        return [Missing("No evaluation of these runs has measured the layers yet.")]
    blocks: list[Block] = []
    overview = overview_figure(runs)
    if overview["data"]:
        caption = (
            "0% is the lowest energy there can be, 100% the mean energy of random directions. Open circles: first "
            "evaluation, filled ones: last. * The minimum is unknown; a lower bound stands in."
        )
        blocks.append(Figure("Where every layer began and ended", overview, caption))
    blocks += [*_total_blocks(stories, names, colors), _layer_table(stories, names, layers)]
    energies, angles = [], []
    for layer in layers:
        drawn = [(name, one, color) for name, members, color in runs for one in members if one.name == layer]
        size = ", ".join(dict.fromkeys(f"{one.num_neurons} neurons in {one.dim} dimensions" for _, one, _ in drawn))
        if any(len(one.energy) for _, one, _ in drawn):
            energies.append(Figure(layer, energy_figure(drawn[0][1], runs=drawn), size))
        if any(len(one.angle) for _, one, _ in drawn):
            angles.append(Figure(layer, angle_figure(drawn[0][1], runs=drawn), size))
    colored = "Colours are those of the curves above; dotted where training did not push on the layer."
    if energies:
        blocks.append(Grid(energies, f"Energy of each layer at every evaluation. {colored}"))
    if angles:
        blocks.append(Grid(angles, f"Smallest angle between two neurons of each layer, in degrees. {colored}"))
    return blocks


def _layer_table(stories: Sequence[Story], names: Sequence[str], layers: Sequence[str]) -> Block:
    """Last energy, place and smallest angle of every layer, a column for each run."""

    def cell(story: Story, layer: str) -> str:
        one = next((one for one in story.layers if one.name == layer), None)
        if one is None:
            return "–"
        last = [_last(one.energy, ".5f"), _last(one.positions, ".0%"), _last(np.degrees(one.angle), ".1f") + "°"]
        return " · ".join(last).replace("-", "−")

    rows = [[f"`{layer}`", *(cell(story, layer) for story in stories)] for layer in layers]
    caption = (
        "At the last evaluation: energy, its place between the lowest (0%) and that of random directions (100%), "
        "smallest angle."
    )
    return Table("Layers side by side", ("layer", *(f"`{name}`" for name in names)), rows, caption)


def _gram_blocks(stories: Sequence[Story], names: Sequence[str]) -> list[Block]:
    """The heat map of the same layer in every run, side by side; a menu chooses the layer."""
    named = list(zip(names, stories, strict=True))
    blocks: list[Block] = [Missing(f"`{name}`: {one.why_no_weights}") for name, one in named if one.weights is None]
    maps: dict[str, list[tuple[str, np.ndarray, np.ndarray]]] = {}
    for name, story in named:
        for layer in story.weights.layers if story.weights else []:
            if layer.can_be_compared:
                maps.setdefault(layer.name, []).append((name, *cosines(layer.weight)))
    figures = [Figure(layer, gram_figure(grams)) for layer, grams in maps.items()]
    if figures:
        caption = (
            "Cosines between neurons, each run in an order of its own in which similar neurons stand together; the "
            f"colours mean the same in all of them. Of larger layers {LARGEST} neurons are shown, drawn with a fixed "
            "seed."
        )
        blocks.append(Choice("Cosines between the neurons of a layer", "Layer", figures, caption=caption))
    return blocks


def _last(values: np.ndarray, form: str) -> str:
    return format(float(values[-1]), form) if len(values) and math.isfinite(values[-1]) else "–"
