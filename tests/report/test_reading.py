# SPDX-License-Identifier: MIT
"""Tests of report.reading: sentences say what the numbers say."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest

from hypersphere.analysis.references import Floor
from hypersphere.report.layers import LayerHistory
from hypersphere.report.neurons import Pair
from hypersphere.report.reading import (
    read_accuracy,
    read_classes,
    read_layers,
    read_neurons,
    read_numbers,
    read_state,
)
from hypersphere.report.run import Classification, Run
from hypersphere.report.separation import measure_separation
from hypersphere.report.story import Story

LAYER = LayerHistory(
    "conv1",
    64,
    27,
    np.array([0, 10]),
    np.array([-0.2, -0.5]),
    np.array([]),
    np.array([]),
    -0.2,
    Floor(-0.6, True),
    ("energy",),
)


def finished(**summary: object) -> Run:
    found = Classification(
        {"split": "test", "num_samples": 200, "accuracy": 0.75, "step": 10, "class_names": ["cat", "dog"]} | summary
    )
    return Run(Path("run"), train=[{"step": 10, "accuracy": 0.99}], classification=found)  # fmt: skip


def test_the_state_of_a_run() -> None:
    assert read_state(Run(Path("run"))) == ["Training has not taken a step yet."]
    assert read_state(Run(Path("run"), train=[{"step": 5}])) == [
        "There is no final evaluation yet: the run is going on or was stopped, at step 5."
    ]
    assert read_state(finished(step=4)) == ["The evaluation is that of step 4; training has gone on to step 10."]
    assert read_state(finished()) == read_state(finished(step=None)) == []


def test_accuracy_and_the_gap_to_training() -> None:
    assert read_accuracy(finished()) == [
        "The network classifies 75.00% of the test images correctly (50 of 200 wrong).",
        "On its last training batches it was right for 99.00%: it fits what it has seen 24 points better than what it "
        "has not.",
    ]
    assert len(read_accuracy(finished(accuracy=0.95))) == 1
    assert read_accuracy(finished(accuracy=None)) == []


def test_accuracy_of_a_run_that_is_not_done() -> None:
    run = Run(
        Path("run"),
        train=[{"step": 9, "accuracy": 0.9}],
        evaluations=[{"step": 5, "split": "test", "accuracy": 0.0095}],
    )
    assert read_accuracy(run) == ["At its last evaluation, step 5, it classified 0.95% of the test images correctly."]


def test_classes_in_counts_and_angles() -> None:
    run = finished()
    assert run.classification is not None
    found = dataclasses.replace(run.classification, confusion=np.array([[90, 10], [40, 60]]))
    run = dataclasses.replace(run, classification=found)
    theta = np.radians([10, 12, 100])
    features = np.stack([np.cos(theta), np.sin(theta)], axis=1)
    separation = measure_separation(features, np.array([0, 0, 1]), np.eye(2))
    assert read_classes(run, separation) == [
        "Its most frequent mistake: `dog` is taken for `cat`, 40 of 100 times.",
        "Half of the features lie within 10.0° of their class vector; the nearest other class vector is typically "
        "80.0° away.",
        "The two closest classes on the sphere are `cat` and `dog`, 90.0° apart; 2 classes spread evenly in enough "
        "dimensions would all be 180.0° apart.",
    ]
    assert read_classes(finished(), None) == []


def test_layers_best_worst_and_most_moved() -> None:
    worse = dataclasses.replace(LAYER, name="fc", energy=np.array([-0.2, -0.1]), pushed_by=())
    assert read_layers([LAYER, worse]) == [
        "Layer `conv1` is spread most evenly: 25% of the way from the most even arrangement (0%) to random directions "
        "(100%).",
        "Layer `fc` is spread least evenly: at 125% of that way, less even than chance.",
        "Training pulled apart the neurons of `conv1` most (its energy is in the loss): from 100% to 25%.",
    ]
    other = dataclasses.replace(LAYER, pushed_by=("projected energy", "orthonormality penalty"))
    assert read_layers([other])[-1] == (
        "Training pulled apart the neurons of `conv1` most (its projected energy and its orthonormality penalty are in "
        "the loss): from 100% to 25%."
    )
    assert read_layers([worse])[-1] == "Training drew together the neurons of `fc` most: from 100% to 125%."
    assert read_layers([]) == []
    assert read_layers([dataclasses.replace(LAYER, floor=None)]) == []


def test_a_collapsed_layer_is_told_in_multiples() -> None:
    collapsed = dataclasses.replace(LAYER, energy=np.array([-0.2, 7.4]))
    assert read_layers([collapsed])[0].endswith(
        "20 times as far from the most even arrangement as random directions are."
    )


@pytest.mark.parametrize(
    ("degrees", "text"),
    [
        (3.0, "Neurons 4 and 9 of `conv1` are only 3.0° apart: they compute nearly the same; among as many random "
              "directions the closest two would be about 53° apart."),
        (30.0, "Neurons 4 and 9 of `conv1` are only 30.0° apart; among as many random directions the closest two would "
               "be about 53° apart."),
        (50.0, "No layer holds two neurons much closer to each other than chance would put them (nearest to it: "
               "`conv1`)."),
    ],
)  # fmt: skip
def test_redundant_neurons(degrees: float, text: str) -> None:
    assert read_neurons([LAYER], {"conv1": [Pair(4, 9, math.radians(degrees))]}) == [text]


def test_no_pairs_no_sentence() -> None:
    assert read_neurons([LAYER], {}) == read_neurons([LAYER], {"conv1": []}) == []
    assert read_neurons([], {"conv1": [Pair(0, 1, 0.1)]}) == []


def test_the_reading_of_a_run_is_about_what_is_there(story: Story) -> None:
    found = read_numbers(story.run, story.layers, story.pairs, story.separation)
    assert len(found) >= 6
    assert all(sentence.endswith(".") for sentence in found)
    assert "nan" not in " ".join(found)
    bare = read_numbers(dataclasses.replace(story.run, evaluations=[], classification=None), [], {}, None)
    assert len(bare) == 1
