# SPDX-License-Identifier: MIT
"""Classifiers on disk: what comes back is what was saved, half a file is never seen, a bad file is named."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest
import torch
from torch import nn

from hypersphere.formulas.margins import NormalizedSoftmax
from hypersphere.models import Classifier, build_classifier, load_classifier, save_classifier
from hypersphere.nn import MarginHead

DATA = {"name": "digits", "class_names": list("abcd"), "image_shape": [1, 8, 8], "mean": [8.0], "std": [8.0]}


def spec(**head: object) -> dict:
    return {"model": {"name": "cnn6", "arguments": {"base_width": 2}}, "head": head, "data": DATA}


def saved(folder: Path, **head: object) -> Classifier:
    torch.manual_seed(0)
    classifier = build_classifier(spec(**head)).to(memory_format=torch.channels_last)
    classifier(torch.randn(8, 1, 8, 8))  # moves the running statistics
    save_classifier(folder, classifier, spec(**head))
    return classifier.eval()


def test_the_description_is_completed_from_model_and_data() -> None:
    classifier = build_classifier(spec())
    assert classifier.model.image_shape == (1, 8, 8)
    assert classifier.head.weight.shape == (4, 8)


@pytest.mark.parametrize("scale", ["default", "feature", "learned", 12.5])
def test_round_trip_is_bit_for_bit(tmp_path: Path, scale: str | float) -> None:
    head = {"margin": "normalized_softmax", "scale": scale, "label_smoothing": 0.1, "probability_floor": 1e-4}
    classifier = saved(tmp_path / "new" / "run", **head)
    other, read = load_classifier(tmp_path / "new" / "run")
    images = torch.randn(3, 1, 8, 8)
    assert not other.training
    assert torch.equal(other.to(memory_format=torch.channels_last)(images), classifier(images))
    assert other.state_dict().keys() == classifier.state_dict().keys()
    assert all(torch.equal(tensor, other.state_dict()[name]) for name, tensor in classifier.state_dict().items())
    assert other.head.arguments() == classifier.head.arguments() == read["head"]
    assert read == {"format": 1, **spec(), "head": classifier.head.arguments()}
    assert read["head"].items() >= {"in_features": 8, "num_classes": 4, **head}.items()


def test_a_folder_holds_two_files_and_no_pickle(tmp_path: Path) -> None:
    saved(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.json", "model.safetensors"]
    assert json.loads((tmp_path / "model.json").read_text())["format"] == 1


def test_a_full_disk_leaves_the_earlier_save_unharmed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = saved(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    nn.init.zeros_(first.head.weight)
    with pytest.raises(OSError, match="No space left on device"):
        save_classifier(tmp_path, first, spec())
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no file .*model\.json\. A trained model is a folder with"):
        load_classifier(tmp_path)
    saved(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"load_classifier: there is no file .*model\.safetensors"):
        load_classifier(tmp_path)


def test_damaged_weights_are_named(tmp_path: Path) -> None:
    saved(tmp_path)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"load_classifier: .*model\.safetensors is damaged or no safetensors file"):
        load_classifier(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"model\.json is damaged or no JSON"),
        ("\xff", r"model\.json is damaged or no JSON"),
        ("[]", r"model\.json has format 'list', this version reads format 1"),
        ('{"format": 2}', r"model\.json has format 2, this version reads format 1"),
        (
            '{"format": 1, "model": {}}',
            r"classifier spec: 3 problems:\n  - 'model' lacks 'name'\.\n  - 'head' is missing",
        ),
    ],
)
def test_a_damaged_description_is_named(tmp_path: Path, text: str, message: str) -> None:
    saved(tmp_path)
    (tmp_path / "model.json").write_text(text, encoding="latin-1")
    with pytest.raises(ValueError, match=message):
        load_classifier(tmp_path)


def test_weights_of_another_model_are_refused_in_words(tmp_path: Path) -> None:
    saved(tmp_path)
    path = tmp_path / "model.json"
    path.write_text(path.read_text().replace('"num_classes": 4', '"num_classes": 5').replace("cnn6", "cnn9"))
    with pytest.raises(ValueError, match=r"does not fit the model that model\.json describes: 19 problems") as caught:
        load_classifier(tmp_path)
    assert "  - head.weight has shape (4, 8), the model expects (5, 8).\n" in str(caught.value)
    assert "  - model.conv1_2.weight is missing.\n" in str(caught.value)


def test_head_and_model_must_fit() -> None:
    with pytest.raises(ValueError, match="the head expects 9 features, model 'cnn6' gives 8"):
        build_classifier(spec(in_features=9))
    with pytest.raises(ValueError, match=r"head: unknown argument 'margn': .* \(did you mean 'margin'\?\)"):
        build_classifier(spec(margn="softmax"))


def test_what_cannot_be_written_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    classifier = build_classifier(spec())
    with pytest.raises(ValueError, match=r"the spec must hold plain values only: .*Tensor"):
        save_classifier(tmp_path, classifier, {**spec(), "extra": torch.zeros(1)})
    with pytest.raises(ValueError, match="expected a MarginHead as head, got Linear"):
        save_classifier(tmp_path, Classifier(classifier.model, nn.Linear(8, 4)), spec())

    class Unnamed(NormalizedSoftmax):
        pass

    with pytest.raises(ValueError, match=r"Unnamed\(\) has no name in MARGINS"):
        save_classifier(tmp_path, Classifier(classifier.model, MarginHead(8, 4, margin=Unnamed())), spec())
    assert list(tmp_path.iterdir()) == []
