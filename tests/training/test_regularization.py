# SPDX-License-Identifier: MIT
"""What a run adds to its loss: which regularisers a config makes, that they train, and that they resume."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from hypersphere.config import Config
from hypersphere.functional import hyperspherical_energy
from hypersphere.regularizers import CompressiveEnergy, HypersphericalEnergy, Orthogonality, Uniformity
from hypersphere.training.regularization import make_regularizers
from hypersphere.training.settings import make_config
from tiny_runs import lines, make_trainer, noise_classifier, noise_config, timeless

OFF = {"energy__hidden_weight": 0, "energy__output_weight": 0}
KINDS = {
    "random": {"compression__projection": "random", "compression__dim": 3, "compression__redraw_every": 2},
    "angle_preserving": {"compression__projection": "angle_preserving", "compression__dim": 3},
    "adversarial": {"compression__projection": "adversarial", "compression__dim": 3, "compression__unrolled": True},
    "group": {"compression__projection": "group", "compression__dim": 2},
    "polarization": {"uniformity__kind": "polarization", "uniformity__eps": 1e-4, **OFF},
    "restricted_isometry": {"orthogonality__kind": "restricted_isometry", **OFF},
    "all": {
        "compression__projection": "random",
        "compression__dim": 3,
        "uniformity__kind": "covering",
        "orthogonality__kind": "orthogonal",
    },
}


def test_a_config_says_which_regularisers_there_are() -> None:
    assert list(make_regularizers(Config())) == []
    made = make_regularizers(noise_config(**KINDS["all"]))
    assert {name: type(one) for name, one in made.items()} == {
        "energy": CompressiveEnergy,
        "uniformity": Uniformity,
        "orthogonality": Orthogonality,
    }
    assert type(make_regularizers(noise_config())["energy"]) is HypersphericalEnergy


def test_settings_arrive() -> None:
    settings = {
        "energy.power": 1.0,
        "energy.half_space": True,
        "energy.hidden_weight": 0.5,
        "energy.output_weight": 3.0,
        "energy.eps": 1e-4,
        "energy.exclude": ["model.first"],
        "compression.projection": "adversarial",
        "compression.dim": 7,
        "compression.inner_steps": 4,
        "compression.inner_rate": 0.2,
        "compression.ascent": "full_space",
        "compression.project_first": False,
        "training.seed": 5,
    }
    energy = make_regularizers(make_config(None, settings))["energy"]
    assert energy.extra_repr() == (
        "'adversarial', dim=7, inner_steps=4, inner_rate=0.2, unrolled=False, power=1, distance='euclidean', "
        "half_space=True, hidden_weight=0.5, output_weight=3, eps=0.0001"
    )
    assert (energy.state.seed, energy.ascent, energy.project_first) == (5, "full_space", False)
    assert list(energy.skipped(noise_classifier())) == ["model.first"]


@pytest.mark.parametrize(
    ("patterns", "layers"),
    [
        ({}, ["model.second"]),
        ({"orthogonality__include": ["*"]}, ["model.first", "model.second"]),
        ({"orthogonality__exclude": ["*second"]}, ["model.first"]),
    ],
)
def test_orthogonality_has_patterns_of_its_own_or_those_of_the_energy(
    patterns: dict[str, list[str]], layers: list[str]
) -> None:
    config = noise_config(orthogonality__kind="orthonormal", energy__exclude=["model.first"], **patterns)
    made = make_regularizers(config)
    assert list(made["orthogonality"].terms(noise_classifier())) == layers
    assert list(made["energy"].terms(noise_classifier())) == ["model.second", "head"]


def test_the_least_orthonormality_of_an_overcomplete_layer_is_reached() -> None:
    # CNN-9's first layer: 128 kernels of 3x3x3, so lambda / 2 (n - k k C) = 1e-4 (128 - 27) stays
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 128, 3), torch.nn.Conv2d(128, 16, 3), torch.nn.Linear(4, 2))
    config = make_config(None, {"orthogonality.kind": "orthonormal", "orthogonality.exclude": ["2"]})
    penalty = make_regularizers(config)["orthogonality"]
    optimizer = torch.optim.SGD(model.parameters(), lr=300.0)
    for _ in range(60):
        optimizer.zero_grad()
        loss = penalty(model)
        loss.backward()
        optimizer.step()
    assert loss.item() == pytest.approx(1e-4 * (128 - 27), rel=1e-6)
    assert penalty.terms(model)["1"].item() < 1e-9


@pytest.mark.parametrize("kind", KINDS)
def test_a_stopped_run_goes_on_as_if_nothing_had_happened(tmp_path: Path, kind: str) -> None:
    settings = {"training__steps": 6, "training__checkpoint_every": 3, "training__log_every": 2} | KINDS[kind]
    folders = {name: tmp_path / name for name in ("whole", "stopped")}
    whole = make_trainer(folders["whole"], noise_config(**settings))
    whole.fit()
    # after the fifth step, which no checkpoint was due at
    asked = iter([False] * 4 + [True])
    first = make_trainer(folders["stopped"], noise_config(**settings))
    with first.open_files():
        first._evaluate()
        with pytest.raises(KeyboardInterrupt):
            first.advance_to_end(lambda: next(asked))
    second = make_trainer(folders["stopped"], noise_config(**settings))
    second.fit()
    assert timeless(folders["stopped"]) == timeless(folders["whole"])
    for found, expected in zip(second.classifier.parameters(), whole.classifier.parameters(), strict=True):
        assert torch.equal(found, expected)


def test_metrics_hold_every_term_and_its_layers(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, noise_config(training__steps=2, training__log_every=1, **KINDS["all"]))
    trainer.fit()
    last = [line for line in lines(tmp_path) if line["kind"] == "train"][-1]
    assert list(last["terms"]) == ["objective", "energy", "uniformity", "orthogonality"]
    assert last["loss"] == pytest.approx(sum(last["terms"].values()))
    for name in ("energy", "uniformity", "orthogonality"):
        assert "model.second" in last[name]
    # the penalty of the head is off by default
    assert "head" in last["energy"]
    assert "head" not in last["orthogonality"]
    head = trainer.classifier.head.weight.detach()
    assert last["energy"]["head"] == pytest.approx(hyperspherical_energy(head).item(), abs=1e-5)


def test_what_does_not_go_together_is_told() -> None:
    with pytest.raises(ValueError, match=r"compression.projection is 'group', but the energy is not in the loss"):
        make_regularizers(make_config(None, {"compression.projection": "group"}))
    settings = {"energy.hidden_weight": 1.0, "energy.distance": "angular", "energy.angle_offset": 1e-4}
    with pytest.raises(ValueError, match=r"energy.angle_offset is not for projected neurons, got 0.0001"):
        make_regularizers(make_config(None, settings | {"compression.projection": "random"}))
    with pytest.raises(ValueError, match=r"uniformity: one of hidden_weight and output_weight must be above 0"):
        make_config(None, {"uniformity.kind": "gram", "uniformity.hidden_weight": 0, "uniformity.output_weight": 0})
