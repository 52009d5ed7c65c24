# SPDX-License-Identifier: MIT
"""Tests of report.facts."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from hypersphere.config import CompressionConfig, OrthogonalityConfig, UniformityConfig
from hypersphere.report.facts import duration, final_numbers, flat, headline, identity, in_force, shown, split_name
from hypersphere.report.run import Classification, Run


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (59.94, "59.9 s"), (60, "1 min 0 s"), (3599.4, "59 min 59 s"), (7325, "2 h 2 min")],
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_duration_that_is_not_known() -> None:
    assert duration(math.nan) == "unknown"


@pytest.mark.parametrize(
    ("value", "text"), [(0.001, "0.001"), (1e-7, "1e-07"), (3, "3"), (True, "true"), ([1, "é"], '[1, "é"]'), ("x", "x")]
)
def test_shown(value: Any, text: str) -> None:
    assert shown(value) == text


def test_flat_keeps_order_and_empty_parts() -> None:
    assert flat({"a": {"b": {"c": 1}, "d": []}, "e": {}}) == {"a.b.c": 1, "a.d": [], "e": {}}


def test_settings_in_force() -> None:
    config = {
        "compression": {"projection": "none", "dim": 30},
        "uniformity": {"kind": "covering", "eps": 0.0},
        "orthogonality": {"kind": "none", "normalized": False},
        "optimizer": {"name": "sgd"},
    }
    assert in_force(config) == {
        "compression.projection": "none",
        "uniformity.kind": "covering",
        "uniformity.eps": 0.0,
        "orthogonality.kind": "none",
        "optimizer.name": "sgd",
    }
    assert in_force({"compression": "?", "uniformity": {}}) == {"compression": "?", "uniformity": {}}


@pytest.mark.parametrize(
    ("projection", "read"),
    [
        ("random", ["dim", "num_projections", "redraw_every", "project_first", "precision"]),
        ("group", ["dim", "num_projections", "redraw_every", "project_first"]),
        ("angle_preserving",
         ["dim", "redraw_every", "inner_steps", "inner_rate", "normalized", "objective", "unrolled", "project_first"]),
        ("adversarial",
         ["dim", "redraw_every", "inner_steps", "inner_rate", "normalized", "ascent", "unrolled", "project_first"]),
    ],
)  # fmt: skip
def test_what_a_projection_reads(projection: str, read: list[str]) -> None:
    found = in_force({"compression": asdict(CompressionConfig(projection=projection))})
    assert list(found) == ["compression.projection", *(f"compression.{name}" for name in read)]
    assert None not in found.values()


def test_what_a_projection_leaves_to_itself() -> None:
    learned = {"compression": {"projection": "adversarial", "redraw_every": None, "inner_steps": None}}
    assert in_force(learned) == {
        "compression.projection": "adversarial",
        "compression.redraw_every": "never",
        "compression.inner_steps": 10,
    }
    drawn = {"compression": {"projection": "random", "redraw_every": 7}}
    assert in_force(drawn)["compression.redraw_every"] == 7


def test_final_numbers_of_a_finished_run(run: Run) -> None:
    assert run.classification is not None
    final = final_numbers(run)
    assert final["is_final"] == 1.0
    assert final["step"] == 140
    assert final["accuracy"] == run.classification.summary["accuracy"]
    assert final["num_samples"] == 120
    assert final["train_accuracy"] == run.train[-1]["accuracy"]
    assert final["epochs"] == 12
    assert 4000 < final["images_per_second"] < 4100


def test_before_the_end_the_last_evaluation_counts() -> None:
    rows = [{"step": 0, "accuracy": 0.1, "split": "validation"}, {"step": 7, "accuracy": 0.4, "split": "validation"}]
    unfinished = Run(Path("run"), evaluations=rows)
    final = final_numbers(unfinished)
    assert (final["is_final"], final["step"], final["accuracy"]) == (0.0, 7, 0.4)
    assert split_name(unfinished) == "validation"
    assert split_name(Run(Path("run"))) == "evaluation"


def test_numbers_that_are_not_known_are_nan() -> None:
    final = final_numbers(Run(Path("run"), train=[{"step": 1, "images_per_second": None, "seconds": None}]))
    assert {name for name, value in final.items() if math.isnan(value)} == set(final) - {"is_final"}


def test_headline(run: Run) -> None:
    facts = dict(headline(run))
    assert list(facts) == ["test accuracy", "test loss", "steps", "epochs", "time", "images per second"]
    assert facts["test loss"] == "0.123"
    assert facts["time"] == "30.0 s"
    assert dict(headline(Run(Path("run")))) == {"evaluation accuracy": "not evaluated", "steps": "0"}


def test_an_accuracy_with_new_statistics_stands_beside_the_official_one(run: Run) -> None:
    again = replace(run, recalibrated={"accuracy": 0.875})
    assert final_numbers(again)["accuracy"] == final_numbers(run)["accuracy"]
    assert math.isnan(final_numbers(run)["recalibrated"])
    facts = dict(headline(again))
    assert list(facts)[:2] == ["test accuracy", "test accuracy recalibrated"]
    assert facts["test accuracy recalibrated"] == "87.50%"


def test_identity(run: Run) -> None:
    facts = dict(identity(run))
    assert facts["model"] == "digits-cnn (width 8, feature_dim 3)"
    assert facts["head"] == "normalized_softmax (scale default)"
    assert facts["energy"] == (
        "power 1, euclidean distance, full space; weight 1 on hidden layers, 0.5 on the output layer"
    )
    assert facts["optimizer"] == "sgd (rate 0.1, momentum 0.9)"
    assert facts["versions"] == "hypersphere 0.1.0, python 3.11.2, torch 2.13.0"
    assert facts["seed"] == "0"


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"projection": "random", "dim": 40, "project_first": False},
         "energy of 20 random projections to 40 dimensions, drawn every step; the first layer as it is"),
        ({"projection": "random", "num_projections": 3, "redraw_every": 5, "precision": "bfloat16"},
         "energy of 3 random projections to 30 dimensions, drawn every 5 steps; products in bfloat16"),
        ({"projection": "group", "dim": 8},
         "energy of at most 20 groups of 8 coordinates, drawn every step"),
        ({"projection": "angle_preserving"},
         "energy of a projection to 30 dimensions that learns to keep cosines (steps for each training step: 1, each "
         "0.1 times the gradient)"),
        ({"projection": "angle_preserving", "objective": "angle", "inner_steps": 3, "redraw_every": 1},
         "energy of a projection to 30 dimensions that learns to keep angles (steps for each training step: 3, each "
         "0.1 times the gradient); begun again every step"),
        ({"projection": "adversarial", "ascent": "full_space", "normalized": True, "unrolled": True},
         "energy of a projection to 30 dimensions that learns to raise the energy in full space (steps for each "
         "training step: 10, each 0.1 of its size, one more differentiated through)"),
        ({"projection": "adversarial", "redraw_every": 100},
         "energy of a projection to 30 dimensions that learns to raise it (steps for each training step: 10, each 0.1 "
         "times the gradient); begun again every 100 steps"),
    ],
)  # fmt: skip
def test_identity_says_the_projection(settings: dict[str, Any], text: str) -> None:
    config = {"compression": asdict(CompressionConfig(**settings))}
    assert dict(identity(Run(Path("run"), config=config))) == {"projection": text}


def test_identity_says_uniformity_and_orthogonality() -> None:
    config = {
        "uniformity": asdict(UniformityConfig(kind="separation", half_space=True, hidden_weight=0.2)),
        "orthogonality": asdict(OrthogonalityConfig(kind="restricted_isometry", normalized=True)),
    }
    assert dict(identity(Run(Path("run"), config=config))) == {
        "uniformity": ("separation, half space in hidden layers; weight 0.2 on hidden layers, 1 on the output layer"),
        "orthogonality": (
            "restricted isometry, neurons at length 1; weight 0.0001 on hidden layers, 0 on the output layer"
        ),
    }
    plain = {"uniformity": {"kind": "gram"}, "orthogonality": {"kind": "orthonormal", "hidden_weight": 1.0}}
    facts = dict(identity(Run(Path("run"), config=plain)))
    assert facts["uniformity"].startswith("gram, full space; weight ")
    assert facts["orthogonality"].startswith("orthonormal; weight 1 on hidden layers")


def test_identity_leaves_out_what_is_off() -> None:
    config = {
        "compression": asdict(CompressionConfig()),
        "uniformity": asdict(UniformityConfig()),
        "orthogonality": asdict(OrthogonalityConfig()),
    }
    assert identity(Run(Path("run"), config=config)) == []
    assert identity(Run(Path("run"), config={"compression": 3, "uniformity": [], "orthogonality": "x"})) == []


def test_identity_names_the_images_that_both_splits_share() -> None:
    config = {"data": {"name": "sets/CIFAR-100"}, "energy": {"hidden_weight": 0.0}}
    facts = dict(identity(Run(Path("run"), config=config)))
    assert facts["data"] == "sets/CIFAR-100. CIFAR-100 has 10 images in both train and test."
    assert facts["energy"] == "not in the loss, only watched"


def test_identity_of_nothing() -> None:
    assert identity(Run(Path("run"))) == []
    assert identity(Run(Path("run"), config={"model": 3, "head": None, "energy": "x", "optimizer": []})) == []


def test_split_of_the_final_evaluation() -> None:
    assert split_name(Run(Path("run"), classification=Classification({"split": "validation"}))) == "validation"
