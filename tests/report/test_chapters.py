# SPDX-License-Identifier: MIT
"""Tests of report.chapters: each section of a whole run, and the sentence for each thing that is missing."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest

from figures import leaves, names, sentences, titles
from hypersphere.analysis.references import Floor
from hypersphere.report.chapters import (
    evenness_blocks,
    learning_blocks,
    minimised_blocks,
    mistake_blocks,
    neuron_blocks,
    setting_blocks,
    sphere_blocks,
    total_caption,
)
from hypersphere.report.layers import add_up
from hypersphere.report.neurons import Filters, Neurons, Weights, closest_pairs
from hypersphere.report.page import Block, Choice, Details, Figure, Grid, Pictures, Table
from hypersphere.report.run import Classification, Run
from hypersphere.report.separation import measure_separation
from hypersphere.report.story import Story
from hypersphere.report.theme import EVALUATION, TRAIN
from run_folders import classification_arrays


def evaluated(dim: int, *, classes: int = 4, num_samples: int = 60, spread: float = 0.5) -> Classification:
    vectors = np.random.default_rng(dim).standard_normal((classes, dim))
    arrays = classification_arrays(vectors, num_samples=num_samples, spread=spread)
    arrays["features"] = arrays["features"].astype(np.float32)
    return Classification({"class_names": [f"c{n}" for n in range(classes)]}, **arrays)


def shown(found: Classification) -> list[Block]:
    assert found.features is not None
    assert found.labels is not None
    separation = measure_separation(found.features, found.labels, found.class_vectors)
    return sphere_blocks(found, separation)


def test_learning(run: Run) -> None:
    assert titles(learning_blocks(run)) == ["Loss", "Accuracy", "Weighted energy in the loss", "Learning rate"]
    (grid,) = learning_blocks(run)
    assert isinstance(grid, Grid)
    assert grid.caption == "Faint lines are single records, strong lines their moving mean."
    assert sentences(learning_blocks(Run(Path("run")))) == [
        "No step has been recorded yet, so there is nothing to draw."
    ]


def test_features_in_space() -> None:
    blocks = shown(evaluated(3))
    assert titles(blocks) == ["Features, coloured by class", "Angles within classes", "Angles between classes"]
    assert leaves(blocks)[0].caption == (
        "Every feature by its direction, a point on the unit sphere; arrows are the class vectors. Drag to turn. "
        "Hollow points are mistakes."
    )


def test_features_in_the_plane_and_in_many_dimensions() -> None:
    assert leaves(shown(evaluated(2)))[0].caption.startswith("Every feature as it is, in the plane")
    caption = leaves(shown(evaluated(30, classes=25, num_samples=6000)))[0].caption
    assert "three-dimensional subspace that holds most of the coloured class vectors" in caption
    assert "Coloured are 10 of 25 classes, those of the most frequent mistakes." in caption
    assert "5000 of 6000 images, drawn with a fixed seed, coloured ones first." in caption


def test_features_that_cannot_be_shown() -> None:
    assert sentences(sphere_blocks(None, None)) == [
        "The finished model has not been evaluated yet, so there is nothing to show here."
    ]
    assert sentences(sphere_blocks(Classification({}), None)) == ["The evaluation kept no features."]
    flat = Classification({}, features=np.ones((5, 1), dtype=np.float32), labels=np.zeros(5, dtype=int))
    assert sentences(sphere_blocks(flat, None)) == [
        "The features (5 × 1) have no angles: a direction needs two dimensions and a length above zero."
    ]


def test_features_left_out_are_counted() -> None:
    found = evaluated(3)
    assert found.features is not None
    found.features[:2] = 0
    within = leaves(shown(found))[1]
    assert isinstance(within, Figure)
    assert "2 features without a direction (zero, NaN) were left out." in within.caption


def test_mistakes() -> None:
    found = evaluated(3, spread=1.5)
    blocks = mistake_blocks(found)
    assert titles(blocks) == ["Confusion matrix", "Most frequent mistakes", "Hardest classes"]
    many = evaluated(6, classes=60, num_samples=600, spread=2.0)
    tables = [block for block in leaves(mistake_blocks(many)) if isinstance(block, Table)]
    assert [len(table.rows) for table in tables] == [15, 15]


def test_a_matrix_of_very_many_classes_shows_some() -> None:
    confusion = np.eye(5000, dtype=np.int64)
    confusion[7, 4000] = 3
    matrix = mistake_blocks(Classification({}, confusion=confusion))[0]
    assert isinstance(matrix, Figure)
    assert matrix.caption.endswith("Shown are 200 of 5000 classes, those of the most frequent mistakes.")
    assert {"7", "4000"} <= set(matrix.spec["data"][0]["x"])
    leaves([matrix])


def test_no_mistakes() -> None:
    assert sentences(mistake_blocks(None))[0].startswith("The finished model has not been evaluated")
    assert sentences(mistake_blocks(Classification({}))) == ["The evaluation kept no confusion matrix."]
    assert sentences(mistake_blocks(Classification({}, confusion=np.zeros((3, 3), dtype=int)))) == [
        "The evaluation kept no confusion matrix."
    ]
    perfect = Classification({}, confusion=np.diag([3, 4]))
    assert sentences(mistake_blocks(perfect)) == ["There is no mistake at all."]
    assert titles(mistake_blocks(perfect)) == ["Confusion matrix"]


def test_images_without_a_class_are_mistakes_too() -> None:
    labels = np.repeat([0, 1, 2], 10)
    predictions = np.where(np.arange(30) % 10 < 3, labels, -1)
    predictions[labels == 2] = -1
    predictions[10] = 0
    named = predictions >= 0
    confusion = np.bincount(3 * labels[named] + predictions[named], minlength=9).reshape(3, 3)
    found = Classification({}, labels=labels, predictions=predictions, confusion=confusion)
    (hardest,) = [b for b in leaves(mistake_blocks(found)) if isinstance(b, Table) and b.title == "Hardest classes"]
    assert [list(row) for row in hardest.rows] == [["2", "0.0%", "10"], ["1", "20.0%", "10"], ["0", "30.0%", "10"]]
    (matrix,) = [block for block in leaves(mistake_blocks(found)) if isinstance(block, Figure)]
    assert "Not shown are 24 images that the model gave no class." in matrix.caption
    nothing = Classification({}, labels=labels, predictions=np.full(30, -1), confusion=np.zeros((3, 3), dtype=int))
    assert sentences(mistake_blocks(nothing)) == ["No image was given a class."]
    right = Classification({}, labels=labels[:4], predictions=np.array([0, 0, 0, -1]), confusion=np.diag([3, 0, 0]))
    assert sentences(mistake_blocks(right)) == ["No image was taken for another class."]


def test_evenness(story: Story) -> None:
    blocks = evenness_blocks(story.layers)
    names = [layer.name for layer in story.layers]
    assert titles(blocks) == ["Where every layer began and ended", "Energy of all layers together", *names, *names]
    assert (
        blocks[2].caption == "Energy of each layer at every evaluation. Orange: energy in the loss; blue: only watched."
    )
    assert "*" not in leaves(blocks)[0].caption
    crowded = dataclasses.replace(story.layers[0], floor=dataclasses.replace(story.layers[0].floor, is_reached=False))
    assert "a lower bound stands in" in leaves(evenness_blocks([crowded]))[0].caption


def test_layers_that_are_only_watched(story: Story) -> None:
    layers = [dataclasses.replace(layer, pushed_by=()) for layer in story.layers]
    _, total, energies, _ = evenness_blocks(layers)
    assert isinstance(total, Figure)
    assert total.spec["data"][0]["line"]["color"] == TRAIN
    assert energies.caption == "Energy of each layer at every evaluation. They are only watched."


def test_the_total_says_what_it_adds_up_and_what_is_missing(story: Story) -> None:
    first, second, third, *rest = story.layers
    total = add_up(story.layers)
    assert total is not None
    assert total_caption(total, story.layers) == (
        "The energies of 6 layers at every evaluation, added up without weights."
    )
    crowded = dataclasses.replace(second, floor=Floor(-1.0, False))
    bare = dataclasses.replace(third, name="bare", energy=first.energy[:0], energy_steps=first.energy_steps[:0])
    layers = [dataclasses.replace(first, expected=math.inf), crowded, bare, *rest]
    total = add_up(layers)
    assert total is not None
    assert total_caption(total, layers) == (
        "The energies of 5 layers at every evaluation, added up without weights. Left out: `bare`. There is no line of "
        f"random directions: their energy is infinite or unknown in `{first.name}`. The minimum is unknown in "
        f"`{second.name}`, where a lower bound stands in."
    )
    layers = [first, dataclasses.replace(second, floor=None)]
    total = add_up(layers)
    assert total is not None
    assert total_caption(total, layers).endswith(
        f" There is no line below: nothing is known about the minimum in `{second.name}`."
    )


def test_what_was_minimised(story: Story) -> None:
    # the loss holds 1 / distance, evaluations measure its logarithm
    (grid,) = minimised_blocks([("", story.terms, TRAIN)])
    assert isinstance(grid, Grid)
    assert titles([grid]) == [layer.name for layer in story.layers]
    assert grid.caption == "Energy (power 1, euclidean distance, full space), before its weight."
    assert leaves([grid])[-1].caption == "10 neurons in 3 dimensions"


def test_what_was_minimised_is_not_repeated_where_evaluations_measure_it(story: Story) -> None:
    assert minimised_blocks([("", [dataclasses.replace(one, is_monitored=True) for one in story.terms], TRAIN)]) == []
    assert minimised_blocks([("", [], TRAIN)]) == []


def test_each_quantity_has_figures_of_its_own(story: Story) -> None:
    others = [
        dataclasses.replace(one, words="covering", quantity="covering in full space", size="")
        for one in story.terms[:2]
    ]
    first, second = minimised_blocks([("a", story.terms, TRAIN), ("<b>", [*others, *story.terms[:1]], EVALUATION)])
    assert len(leaves([first])[0].spec["data"]) == 2
    assert first.caption == "Energy (power 1, euclidean distance, full space) in `a`, `<b>`, before its weight."
    assert [names(figure.spec) for figure in leaves([second])] == [["&lt;b&gt;"], ["&lt;b&gt;"]]
    assert second.caption == "Covering in full space in `<b>`, before its weight."


def test_layers_without_references(story: Story) -> None:
    bare = dataclasses.replace(story.layers[0], name="conv", floor=None)
    blocks = evenness_blocks([bare])
    assert titles(blocks) == ["conv", "conv"]
    assert sentences(blocks) == [
        "Without a place in the overview are `conv`: the energy of random directions is infinite there, or nothing is "
        "known about the minimum."
    ]
    assert sentences(evenness_blocks([])) == ["No evaluation has measured the layers yet."]


def test_neurons(story: Story) -> None:
    assert story.weights is not None
    blocks = neuron_blocks(story.weights, "", story.pairs)
    pictures, choice = blocks
    assert isinstance(pictures, Pictures)
    assert len(pictures.pictures) == 8
    assert len(pictures.groups) == 5
    assert isinstance(choice, Choice)
    assert [figure.title for figure in choice.figures] == [layer.name for layer in story.weights.layers]
    assert len(choice.asides) == len(choice.figures)
    leaves(blocks)


def test_large_layers_say_how_much_is_shown() -> None:
    weight = np.random.default_rng(0).standard_normal((300, 9)).astype(np.float32)
    weights = Weights([Neurons("conv", weight, 2)], Filters("conv", weight.reshape(300, 1, 3, 3)))
    blocks = leaves(neuron_blocks(weights, "", {"conv": closest_pairs(weight)}))
    pictures, _, table = blocks
    assert isinstance(pictures, Pictures)
    assert len(pictures.pictures) == 256
    assert pictures.caption.endswith("256 of them shown, drawn with a fixed seed.")
    assert isinstance(table, Table)
    assert table.caption == (
        "300 neurons in 9 dimensions, the first of 2 groups; 256 of them in the map, drawn with a fixed seed."
    )


def test_neurons_that_cannot_be_shown() -> None:
    assert sentences(neuron_blocks(None, "There is no model.", {})) == ["There is no model."]
    broken = np.full((4, 9), np.nan, dtype=np.float32)
    weights = Weights([Neurons("conv", broken)], None, "No picture.")
    assert sentences(neuron_blocks(weights, "", {"conv": []})) == [
        "No picture.",
        "Not compared, for lack of a second neuron or of finite weights: `conv`.",
    ]


def test_filters_that_are_not_finite_are_grey() -> None:
    broken = np.full((4, 9), np.nan, dtype=np.float32)
    weights = Weights([Neurons("conv", broken)], Filters("conv", broken.reshape(4, 1, 3, 3)))
    (pictures, _) = neuron_blocks(weights, "", {"conv": []})
    assert isinstance(pictures, Pictures)
    assert len(pictures.pictures) == 4


def test_settings(run: Run) -> None:
    config, environment = setting_blocks(run)
    assert isinstance(config, Details)
    assert "optimizer.rate: 0.1\n" in config.text
    assert isinstance(environment, Details)
    assert "packages.torch: 2.13.0" in environment.text
    assert sentences(setting_blocks(Run(Path("run")))) == [
        "The complete config: nothing was recorded.",
        "Versions and machine: nothing was recorded.",
    ]


@pytest.mark.parametrize("classes", [1, 2])
def test_one_class_and_two(classes: int) -> None:
    found = evaluated(3, classes=classes)
    assert titles(shown(found))[:2] == ["Features, coloured by class", "Angles within classes"]
    assert titles(mistake_blocks(found))[0] == "Confusion matrix"
