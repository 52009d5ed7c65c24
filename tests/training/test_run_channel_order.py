# SPDX-License-Identifier: MIT
"""A model that sees blue, green, red: every path gives it that order, and users give red, green, blue all the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
import torch.nn.functional as F

from hypersphere.config import Config
from hypersphere.data import ImageSet, TensorImages, load_images
from hypersphere.models import load_classifier
from hypersphere.models.export import METADATA_FILE
from hypersphere.training import run as run_room
from hypersphere.training.export import export_run
from hypersphere.training.robustness import pixels_to_logits
from hypersphere.training.run import evaluate, train
from tiny_runs import digits_config, timeless, weights

# one of each for blue, green, red
MEAN, STD = [90.0, 110.0, 130.0], [60.0, 70.0, 80.0]


def config(**overrides: Any) -> Config:
    """A few attacked steps on coloured stripes, statistics measured again at the end."""
    settings = {
        "data__name": "synthetic",
        "data__size": 12,
        "data__crop": 10,
        "data__flip": True,
        "data__mean": MEAN,
        "data__std": STD,
        "adversary__attack": "fgsm",
        "training__recalibrate": 2,
        "training__accumulate": 2,
        "training__steps": 12,
    }
    return digits_config(**(settings | overrides))


def reversed_images(*arguments: Any, **options: Any) -> ImageSet:
    """What would be read from files that hold blue, green, red."""
    found = load_images(*arguments, **options)
    (batch,) = found.batches(len(found))
    return TensorImages(batch[0].flip(1), batch[1], found.class_names, name=found.name)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders bgr, a run of that order, and files, one of files that are reversed themselves."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_room, "_write_report", lambda run: None)
        train(config(data__channel_order="bgr"), folder / "bgr", quiet=True)
        patch.setattr(run_room, "load_images", reversed_images)
        train(config(), folder / "files", quiet=True)
    return folder


def content(run: Path, name: str) -> dict[str, Any]:
    return dict(json.loads((run / name).read_text()))


def test_training_sees_what_it_would_see_of_reversed_files(runs: Path) -> None:
    assert weights(runs / "bgr") == weights(runs / "files")
    assert timeless(runs / "bgr") == timeless(runs / "files")
    names = ["evaluation/classification.json", "evaluation/classification-recalibrated.json"]
    assert all(content(runs / "bgr", name) == content(runs / "files", name) for name in names)
    bgr, files = (content(runs / name, "model.json")["data"] for name in ("bgr", "files"))
    assert (bgr.pop("channel_order"), files.pop("channel_order")) == ("bgr", "rgb")
    assert bgr == files
    assert bgr["mean"] == MEAN


def test_the_order_matters(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_room, "_write_report", lambda run: None)
    train(config(), tmp_path / "rgb", quiet=True)
    assert weights(tmp_path / "rgb") != weights(runs / "bgr")


@pytest.mark.parametrize("batches", [0, 3])
def test_evaluation_is_the_same_from_files_in_the_usual_order(
    runs: Path, batches: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, _ = evaluate(runs / "bgr", recalibrate=batches)
    monkeypatch.setattr(run_room, "load_images", reversed_images)
    assert evaluate(runs / "files", recalibrate=batches)[0] == found


def test_what_is_attacked_takes_red_green_blue(runs: Path) -> None:
    (batch,) = load_images(config().data, split="test").batches(20)
    straight, turned = (
        pixels_to_logits(classifier, spec["data"], torch.device("cpu"))
        for classifier, spec in (load_classifier(runs / name) for name in ("bgr", "files"))
    )
    images = (batch[0].float() / 255).requires_grad_()
    reversed_ones = images.detach().flip(1).requires_grad_()
    logits, other = straight(images), turned(reversed_ones)
    assert torch.equal(logits, other)
    for made in (logits, other):
        F.cross_entropy(made, batch[1]).backward()
    assert images.grad is not None
    assert reversed_ones.grad is not None
    assert torch.equal(images.grad.flip(1), reversed_ones.grad)
    assert not torch.equal(logits, straight(images.flip(1)))


@pytest.mark.parametrize("format", ["onnx", "pt2"])
def test_an_exported_model_takes_red_green_blue(runs: Path, tmp_path: Path, format: str) -> None:
    found = export_run(runs / "bgr", format=format, out=tmp_path / f"model.{format}")
    (batch,) = load_images(config().data, split="test").batches(20)
    classifier, _ = load_classifier(runs / "bgr")
    mean, std = (torch.tensor(numbers).view(-1, 1, 1) for numbers in (MEAN, STD))
    with torch.no_grad():
        wanted = classifier((batch[0].flip(1).float() - mean) / std)
    if format == "pt2":
        logits = torch.export.load(found.path).module()(batch[0])["logits"]
    else:
        session = onnxruntime.InferenceSession(found.path)
        logits = torch.from_numpy(session.run(["logits"], {"pixels": batch[0].numpy()})[0])
        known = session.get_modelmeta().custom_metadata_map
        assert known["normalization"] == "inside the model: channels reversed, then (pixels - mean) / std"
        assert known["pixels"] == "uint8, 0..255, (N, channels, height, width); channels: red, green, blue"
        assert json.loads(known["mean"]) == MEAN
    torch.testing.assert_close(logits, wanted, rtol=1e-4, atol=1e-4)
    assert not np.allclose(logits, wanted.flip(0))


def test_models_of_before_have_the_usual_order(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_room, "_write_report", lambda run: None)
    train(config(), tmp_path / "rgb", quiet=True)
    found, _ = evaluate(tmp_path / "rgb")
    spec = content(tmp_path / "rgb", "model.json")
    del spec["data"]["channel_order"]
    (tmp_path / "rgb" / "model.json").write_text(json.dumps(spec))
    lines = (tmp_path / "rgb" / "config.yaml").read_text().splitlines(keepends=True)
    (tmp_path / "rgb" / "config.yaml").write_text("".join(line for line in lines if "channel_order" not in line))
    assert evaluate(tmp_path / "rgb")[0] == found
    kept = {METADATA_FILE: ""}
    torch.export.load(export_run(tmp_path / "rgb", format="pt2").path, extra_files=kept)
    assert json.loads(kept[METADATA_FILE])["normalization"] == "inside the model: (pixels - mean) / std"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"data__channel_order": "bgr", "data__name": "digits"}, r"'bgr' needs images of 3 channels, got 1\. Leave it"),
        ({"data__mean": [1.0, 2.0]}, r"expected mean of one number or 3 for 3 channels, got \[1\.0, 2\.0\]"),
    ],
)
def test_what_does_not_fit_the_channels_leaves_no_folder(tmp_path: Path, wrong: dict[str, Any], message: str) -> None:
    grey = {"data__size": None, "data__crop": None, "data__mean": [0.0], "data__std": [1.0]}
    settings = (grey if "data__name" in wrong else {}) | wrong
    with pytest.raises(ValueError, match=message):
        train(config(**settings), tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()
