# SPDX-License-Identifier: MIT
"""A tiny trained run under attack, from the command line to its files; what does not fit is said in words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hypersphere.cli import main
from hypersphere.data import load_images, normalize_pixels
from hypersphere.models import load_classifier
from hypersphere.training import run as run_room
from hypersphere.training.robustness import SAMPLES, draw_samples, evaluate_robustness, lines, pixels_to_logits
from hypersphere.training.run import train
from hypersphere.training.settings import read_config
from tiny_runs import digits_config, noise

MADE: dict[str, Any] = {"samples": 40, "minimum": False, "quiet": True}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs of a few seconds, of two seeds; tests only add evaluations."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_room, "_write_report", lambda run: None)
        for name, seed in (("first", 0), ("second", 1)):
            how: dict[str, Any] = {"steps": 60, "seed": seed, "precision": "bfloat16", "evaluate_every": 10.0}
            settings = {f"training__{key}": value for key, value in how.items()}
            config = digits_config(model__arguments={"width": 16}, data__padding=0, **settings)
            train(config, folder / name, quiet=True)
    return folder


def test_the_command_attacks_a_run_and_its_source(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = runs / "first", runs / "second"
    words = ["evaluate", str(first), "--protocol", "robustness", "--source", str(second), "--samples", "60"]
    assert main(words) == 0
    printed = capsys.readouterr().out
    written = first / "evaluation" / "robustness.json"
    found = json.loads(written.read_text())
    assert found["num_samples"] == 60
    assert found["split"] == "test"
    assert found["step"] == 60
    assert found["source"]["name"] == "second"
    assert 0.4 < found["clean_accuracy"] <= 1.0
    assert found["source"]["accuracy"] > 0.4
    right = {row["name"]: row["robust_accuracy"] for row in found["attacks"]}
    assert right["unbounded"] == 0.0
    assert right["bim"] <= right["fgsm"] <= found["clean_accuracy"]
    assert 0 < found["minimum"]["linf"]["median"] < found["minimum"]["l2"]["median"]
    assert printed.splitlines()[1].split() == ["no", "attack", f"{found['clean_accuracy']:.2%}"]
    assert "bim: L-inf 8/255, 10 steps of 2/255, cross-entropy" in printed
    assert printed.splitlines()[-1] == f"result  {written}"
    with np.load(first / "evaluation" / "robustness.npz") as stored:
        assert len(stored["indices"]) == len(set(stored["indices"].tolist())) == 60
        # the curve of smallest changes meets the accuracy without attacks, and lies below that of attacks
        assert (stored["smallest_linf"] > 0).mean() == found["clean_accuracy"]
        assert (stored["smallest_linf"] > 8 / 255 + 1e-6).mean() <= right["pgd"]


def test_it_repeats_by_seed(runs: Path) -> None:
    def files(**how: Any) -> tuple[bytes, bytes]:
        _, path = evaluate_robustness(runs / "second", **(MADE | how))
        return path.read_bytes(), path.with_suffix(".npz").read_bytes()

    once = files()
    assert files() == once
    assert files(seed=1) != once


def test_what_is_attacked_is_the_model_of_the_run(runs: Path) -> None:
    classifier, spec = load_classifier(runs / "first")
    pixels = load_images(read_config(runs / "first" / "config.yaml").data, split="test").batches(50)
    images, _ = next(pixels)
    logits = pixels_to_logits(classifier, spec["data"], torch.device("cpu"))
    expected = classifier(normalize_pixels(images, spec["data"]["mean"], spec["data"]["std"]))
    assert torch.allclose(logits(images.float() / 255), expected, atol=1e-4)
    assert logits(images.float() / 255).dtype == torch.float32
    assert not any(parameter.requires_grad for parameter in classifier.parameters())


def test_other_splits_keep_the_last_word(runs: Path) -> None:
    before = (runs / "second" / "evaluation" / "robustness.json").exists()
    found, path = evaluate_robustness(runs / "second", split="train", **MADE)
    assert path.name == "robustness-digits-train.json"
    assert found["split"] == "train"
    assert (runs / "second" / "evaluation" / "robustness.json").exists() == before


def test_a_smaller_radius_leaves_more_right(runs: Path) -> None:
    small, _ = evaluate_robustness(runs / "second", epsilon=1 / 255, **MADE)
    large, _ = evaluate_robustness(runs / "second", epsilon=32 / 255, **MADE)
    assert small["clean_accuracy"] == large["clean_accuracy"]
    assert small["attacks"][2]["robust_accuracy"] > large["attacks"][2]["robust_accuracy"]
    assert small["attacks"][2]["description"] == "L-inf 1/255, 10 steps of 0.25/255, cross-entropy"


def test_samples_are_drawn_by_seed() -> None:
    images = noise(48)
    drawn = draw_samples(images, 10, seed=0)
    assert drawn.tolist() == sorted(set(drawn.tolist()))
    assert (draw_samples(images, 10, seed=0) == drawn).all()
    assert (draw_samples(images, 10, seed=1) != drawn).any()
    assert draw_samples(images, None, seed=0).tolist() == list(range(48))
    assert len(draw_samples(noise(1200), None, seed=0)) == SAMPLES


def test_the_table_says_what_was_found() -> None:
    summary = {
        "clean_accuracy": 0.9,
        "attacks": [
            {"name": "fgsm", "description": "one", "robust_accuracy": 0.5, "transfer_accuracy": 0.75},
            {"name": "bim", "description": "ten", "robust_accuracy": 0.25},
        ],
        "together": {"linf": 0.25, "l2": None},
        "source": {"name": "other", "accuracy": 0.875},
        "minimum": {
            "l2": {"median": 0.5, "tenth": 0.125, "num_not_found": 1, "num_samples": 9},
            "linf": {"median": None, "tenth": 2 / 255, "num_not_found": 5, "num_samples": 9},
        },
        "findings": [{"suspicious": True, "text": "Odd."}, {"suspicious": False, "text": "Fine."}],
        "num_suspicious": 1,
    }
    assert lines(summary) == [
        "                                       right  made on the source",
        "no attack                             90.00%",
        "fgsm: one                             50.00%  75.00%",
        "bim: ten                              25.00%",
        "all bounded L-inf attacks together    25.00%",
        "the source other is right for 87.50% when left alone",
        "smallest change that fools, L2: median 0.500, a tenth of the images below 0.125; none found for 1 of 9",
        "smallest change that fools, L-inf: median unknown, a tenth of the images below 2.00/255; "
        "none found for 5 of 9",
        "signs of masked gradients: 1 of 2 checks",
        "  ! Odd.",
        "    Fine.",
    ]


def changed_source(runs: Path, tmp_path: Path, **data: Any) -> Path:
    """The second run as if it had been trained on other data."""
    source = tmp_path / "source"
    source.mkdir()
    spec = json.loads((runs / "second" / "model.json").read_text())
    spec["data"] |= data
    (source / "model.json").write_text(json.dumps(spec))
    (source / "model.safetensors").write_bytes((runs / "second" / "model.safetensors").read_bytes())
    return source


def test_mistakes_are_named(runs: Path, tmp_path: Path) -> None:
    first = runs / "first"
    with pytest.raises(ValueError, match=r"is the run itself; .* Give as source a run of another seed"):
        evaluate_robustness(first, source=first, **MADE)
    with pytest.raises(FileNotFoundError, match=r"there is no file .*nope"):
        evaluate_robustness(first, source=runs / "nope", **MADE)
    names = [*"012345678", "nine"]
    with pytest.raises(ValueError, match=r"knows other classes than .*: 10 against 10, or of other names"):
        evaluate_robustness(first, source=changed_source(runs, tmp_path, class_names=names), **MADE)
    with pytest.raises(ValueError, match="robustness: 5000 samples asked for, but this split of digits has"):
        evaluate_robustness(first, **(MADE | {"samples": 5000}))
    with pytest.raises(ValueError, match="robustness: samples must be a whole number of 1 or more, got 0"):
        evaluate_robustness(first, **(MADE | {"samples": 0}))
    with pytest.raises(ValueError, match=r"epsilon must lie in \(0, 1\], got 8"):
        evaluate_robustness(first, epsilon=8.0, **MADE)


def test_a_source_of_another_shape_is_refused(runs: Path, tmp_path: Path) -> None:
    source = tmp_path / "wide"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hypersphere.training.robustness.load_classifier", lambda folder: (None, spec(folder)))

        def spec(folder: Path) -> dict[str, Any]:
            return {"data": {"image_shape": [3, 8, 8] if folder == source else [1, 8, 8], "class_names": ["a", "b"]}}

        with pytest.raises(ValueError, match=r"was trained on images of shape \(3, 8, 8\), .* on \(1, 8, 8\)"):
            evaluate_robustness(runs / "first", source=source, **MADE)


def test_flags_of_attacks_belong_to_the_protocol(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(runs / "first"), "--samples", "5", "--no-minimum"]) == 2
    told = capsys.readouterr().err
    assert told == "hypersphere: evaluate: --samples, --no-minimum belongs to --protocol robustness.\n"
    assert main(["evaluate", str(runs / "first"), "--seed", "0"]) == 2
    told = capsys.readouterr().err
    assert told == "hypersphere: evaluate: --seed belongs to --protocol robustness or identification.\n"
