# SPDX-License-Identifier: MIT
"""The page of one run: what is read and measured for it, and its sections in the order that tells the story."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from hypersphere.report.chapters import (
    evenness_blocks,
    learning_blocks,
    minimised_blocks,
    mistake_blocks,
    neuron_blocks,
    setting_blocks,
    sphere_blocks,
)
from hypersphere.report.facts import headline, identity
from hypersphere.report.found import Found, read_found
from hypersphere.report.identification import identification_sections, read_identification
from hypersphere.report.layers import LayerHistory, energy_name, read_histories
from hypersphere.report.margins import margin_sections, read_margin
from hypersphere.report.neurons import Pair, Weights, closest_pairs, read_weights
from hypersphere.report.operator_facts import Operators, read_operators
from hypersphere.report.operators import operator_sections, read_operator_words
from hypersphere.report.page import Page, Section
from hypersphere.report.reading import read_numbers
from hypersphere.report.robustness import Attacked, attack_sections, read_attacked, read_robustness
from hypersphere.report.run import Run, read_run
from hypersphere.report.separation import Separation, measure_separation
from hypersphere.report.terms import LayerTerm, layer_terms
from hypersphere.report.theme import EVALUATION
from hypersphere.report.verification import read_verification, verification_sections

__all__ = ["MINIMISED", "Story", "read_story", "report_page", "write_report"]

MINIMISED = (
    "What the regularisers in the loss measured while training, where that is not the energy above: of projected "
    "neurons, of another space or power, or no energy at all. Lower is what training asked for."
)
"""The lead of the section on what was minimised."""


@dataclass(frozen=True)
class Story:
    """A run with all that is computed from it once.

    Args:
        run: as read.
        layers: every layer over the evaluations.
        weights: of the model; None where it cannot be read.
        why_no_weights: the sentence that says why it cannot.
        pairs: the closest neurons of each layer.
        separation: angles of the evaluation's features; None where it kept none.
        terms: what each regulariser measured of each layer while training.
        attacked: accuracy under attack; None where nobody measured it.
        operators: what the layers met; None where nobody measured it.
        verified: pairs told to show one person or two, a result for each rule and list of pairs.
        identified: images looked for in galleries.
    """

    run: Run
    layers: list[LayerHistory]
    weights: Weights | None
    why_no_weights: str = ""
    pairs: dict[str, list[Pair]] = field(default_factory=dict)
    separation: Separation | None = None
    terms: list[LayerTerm] = field(default_factory=list)
    attacked: Attacked | None = None
    operators: Operators | None = None
    verified: list[Found] = field(default_factory=list)
    identified: list[Found] = field(default_factory=list)


def write_report(run: Path, out: Path | None = None) -> Path:
    """Write the page of one run.

    Args:
        run: a run folder, finished or not; what it lacks becomes a sentence on the page.
        out: the HTML file; `report.html` in the run folder when None.

    Returns:
        The file that was written.

    Raises:
        FileNotFoundError: if `run` is no run folder.
        ImportError: if the extra `report` is not installed.
        OSError: if the page cannot be written.
    """
    return report_page(read_story(run)).write(out if out is not None else run / "report.html")


def read_story(folder: Path) -> Story:
    """Read a run folder and measure what its page shows.

    Raises:
        FileNotFoundError: if `folder` is no run folder.
    """
    run = read_run(folder)
    weights, why, pairs = None, "", {}
    try:
        weights = read_weights(folder)
        pairs = {layer.name: closest_pairs(layer.weight) for layer in weights.layers}
    except (OSError, ValueError, TypeError) as error:
        why = f"The model's neurons cannot be shown: {str(error).splitlines()[0].rstrip('.')}."
    found = run.classification
    separation = None
    if found is not None and found.has_directions and found.features is not None and found.labels is not None:
        separation = measure_separation(found.features, found.labels, found.class_vectors)
    attacked, notes = read_attacked(folder)
    operators, more_notes = read_operators(folder)
    results = {protocol: read_found(folder, protocol) for protocol in ("verification", "identification")}
    run.notes.extend([*notes, *more_notes, *(note for _, told in results.values() for note in told)])
    return Story(
        run, read_histories(run), weights, why, pairs, separation, layer_terms(run), attacked, operators,
        *(found for found, _ in results.values()),
    )  # fmt: skip


def report_page(story: Story) -> Page:
    """The whole page of one run."""
    run = story.run
    recipe = str(run.setting("recipe", run.name))
    evenness = (
        f"Each neuron is a direction uᵢ = wᵢ / |wᵢ|. The energy of its layer is the {energy_name(run)}: low when the "
        "directions keep away from each other, high when some nearly coincide."
    )
    sphere = (
        "What the network makes of an image before the head decides. The head looks at directions: images of a class "
        "should gather around their class vector, and class vectors should keep away from each other."
    )
    neurons = "What the first layer looks for, and how similar the neurons of each layer are in the finished model."
    mistakes = mistake_blocks(run.classification)
    minimised = minimised_blocks([("", story.terms, EVALUATION)])
    return Page(
        title=recipe if recipe == run.name else f"{recipe} · {run.name}",
        subtitle=str(run.setting("description", "")),
        headline=headline(run),
        reading=[
            *read_numbers(run, story.layers, story.pairs, story.separation),
            *read_margin(run),
            *read_verification(story.verified),
            *read_identification(story.identified),
            *read_operator_words(story.operators),
            *read_robustness(story.attacked),
        ],
        notes=run.notes,
        identity=identity(run),
        sections=[
            Section("learning", "Learning", "How the loss fell and the accuracy rose.", learning_blocks(run)),
            *margin_sections([("", run, EVALUATION)]),
            Section("sphere", "Features on the sphere", sphere, sphere_blocks(run.classification, story.separation)),
            Section("mistakes", "Mistakes", "Which classes the network takes for each other.", mistakes),
            *verification_sections([("", story.verified, EVALUATION)]),
            *identification_sections([("", story.identified, EVALUATION)]),
            *attack_sections([("", story.attacked, EVALUATION)]),
            Section("evenness", "How evenly neurons are spread", evenness, evenness_blocks(story.layers)),
            *([Section("minimised", "What was minimised, layer by layer", MINIMISED, minimised)] if minimised else []),
            *operator_sections([("", story.operators, run, EVALUATION)]),
            Section("neurons", "The neurons", neurons, neuron_blocks(story.weights, story.why_no_weights, story.pairs)),
            Section("settings", "Settings", "Everything that is needed to repeat the run.", setting_blocks(run)),
        ],
    )
