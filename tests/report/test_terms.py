# SPDX-License-Identifier: MIT
"""Tests of report.terms: which regularisers a run had, in words, and where evaluations measure the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hypersphere.report.run import Run, read_run
from hypersphere.report.terms import LayerTerm, layer_terms, listed, regularizer_names, term_words
from run_folders import write_run

ENERGY = {"power": 2.0, "distance": "euclidean", "half_space": True, "output_half_space": False}
MONITOR = {"power": 2.0, "distance": "euclidean", "half_space": True}
SIZES = {"conv1": (16, 27), "conv2": (32, 144), "fc": (64, 300), "head": (10, 64)}


def trained(name: str = "energy", **config: Any) -> Run:
    """A run of two training lines with one regulariser on four layers."""
    layers = {layer: {"num_neurons": count, "dim": dim} for layer, (count, dim) in SIZES.items()}
    rows = [
        {"step": step, "terms": {"objective": 1.0, name: 2.0}, name: dict.fromkeys(SIZES, 0.1 * step)}
        for step in (1, 2)
    ]
    return Run(
        Path("run"),
        config={"energy": ENERGY, "monitor": MONITOR} | config,
        train=rows,
        evaluations=[{"step": 0, "layers": layers}],
    )


def by_layer(run: Run) -> dict[str, LayerTerm]:
    return {term.layer: term for term in layer_terms(run)}


def test_the_energy_that_evaluations_measure_too() -> None:
    found = by_layer(trained())
    assert list(found) == list(SIZES)
    assert {name: term.is_monitored for name, term in found.items()} == {
        "conv1": True,
        "conv2": True,
        "fc": True,
        "head": False,
    }
    assert found["fc"].steps.tolist() == [1, 2]
    assert found["fc"].values.tolist() == pytest.approx([0.1, 0.2])
    assert found["head"].quantity == "energy (power 2, euclidean distance, full space)"
    assert found["head"].size == "10 neurons in 64 dimensions"


@pytest.mark.parametrize("change", [{"power": 0.0}, {"distance": "angular"}, {"half_space": False}])
def test_another_energy_than_the_monitor(change: dict[str, Any]) -> None:
    found = by_layer(trained(energy=ENERGY | change))
    assert not found["conv1"].is_monitored
    assert found["conv1"].words == "energy"


@pytest.mark.parametrize(
    ("projection", "how", "taken"),
    [
        ("random", "random projections to 40 dimensions", "projected to 40"),
        ("angle_preserving", "an angle-preserving projection to 40 dimensions", "projected to 40"),
        ("adversarial", "an adversarial projection to 40 dimensions", "projected to 40"),
        ("group", "groups of 40 coordinates", "40 at a time"),
        ("unheard-of", "a projection to 40 dimensions", "projected to 40"),
    ],
)
def test_projected_energy(projection: str, how: str, taken: str) -> None:
    found = by_layer(trained(compression={"projection": projection, "dim": 40}))
    # too few dimensions, and the output layer, stay as they are
    assert [term.words for term in found.values()] == ["energy", "projected energy", "projected energy", "energy"]
    assert [term.is_monitored for term in found.values()] == [True, False, False, False]
    assert found["fc"].quantity == f"projected energy (power 2, euclidean distance, half space; {how})"
    assert found["fc"].size == f"64 neurons in 300 dimensions, {taken}"


def test_the_first_layer_may_stay_as_it_is() -> None:
    settings = {"projection": "random", "dim": 20, "project_first": False}
    assert by_layer(trained(compression=settings))["conv1"].words == "energy"
    settings["project_first"] = True
    assert by_layer(trained(compression=settings))["conv1"].words == "projected energy"


@pytest.mark.parametrize(
    ("name", "settings", "words", "hidden", "output"),
    [
        ("uniformity", {"kind": "polarization", "half_space": True}, "polarisation",
         "polarisation in half space", "polarisation in full space"),
        ("uniformity", {"kind": "gram"}, "Gram determinant",
         "Gram determinant in full space", "Gram determinant in full space"),
        ("orthogonality", {"kind": "orthonormal", "normalized": True}, "orthonormality penalty",
         "orthonormality penalty of neurons at length 1", "orthonormality penalty of neurons at length 1"),
        ("orthogonality", {"kind": "orthogonal"}, "orthogonality penalty",
         "orthogonality penalty", "orthogonality penalty"),
    ],
)  # fmt: skip
def test_other_regularisers(name: str, settings: dict[str, Any], words: str, hidden: str, output: str) -> None:
    run = trained(name, **{name: settings})
    assert regularizer_names(run) == [name]
    assert term_words(run, name) == words
    found = by_layer(run)
    assert (found["conv1"].quantity, found["head"].quantity) == (hidden, output)
    assert not any(term.is_monitored for term in found.values())


def test_terms_of_runs_that_recorded_less() -> None:
    run = Run(Path("run"), train=[{"step": 1, "terms": {"objective": 1.0, "mine": 2.0}, "energy": {"fc": 0.5}}])
    assert regularizer_names(run) == ["mine", "energy"]
    (term,) = layer_terms(run)
    assert (term.words, term.quantity, term.size) == ("energy", "energy (of unknown kind)", "")
    assert not term.is_monitored
    assert term_words(run, "mine") == "mine"
    odd = [{"step": 1, "terms": None, "energy": {}}, {"step": 2, "energy": "?"}]
    assert regularizer_names(Run(Path("run"), train=odd)) == []
    broken = Run(Path("run"), config={"compression": "?", "energy": 3}, train=run.train, evaluations=[{"step": 0}])
    assert [term.words for term in layer_terms(broken)] == ["energy"]


def test_a_whole_run_with_three_regularisers(tmp_path: Path) -> None:
    settings = {"uniformity": {"kind": "covering"}, "orthogonality": {"kind": "orthonormal"}}
    run = read_run(write_run(tmp_path / "run", others=("uniformity", "orthogonality"), steps=20, settings=settings))
    assert regularizer_names(run) == ["energy", "uniformity", "orthogonality"]
    assert len(layer_terms(run)) == 18
    assert {len(term.values) for term in layer_terms(run)} == {10}


def test_words_as_a_phrase() -> None:
    assert listed([]) == ""
    assert listed(("energy",)) == "energy"
    assert listed(["a", "b", "c"], "its ") == "its a, its b and its c"
