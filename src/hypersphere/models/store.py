# SPDX-License-Identifier: MIT
"""A classifier on disk: tensors in safetensors, everything needed to rebuild it in JSON, no pickle."""

from __future__ import annotations

import inspect
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch

from hypersphere.checks import problems, unknown_name
from hypersphere.files import write_atomically
from hypersphere.models.classifier import Classifier
from hypersphere.models.table import build, model_parameters
from hypersphere.nn import MarginHead

__all__ = ["FORMAT", "SPEC_FILE", "WEIGHTS_FILE", "build_classifier", "load_classifier", "save_classifier"]

FORMAT = 1
WEIGHTS_FILE = "model.safetensors"
SPEC_FILE = "model.json"


def build_classifier(spec: Mapping[str, Any]) -> Classifier:
    """A classifier with new weights from the description that `model.json` holds.

    Args:
        spec: `{"model": {"name", "arguments"}, "head": {arguments of MarginHead}, "data": {"name", "class_names",
            "image_shape", "channel_order", "mean", "std"}}`. The model's `image_shape`, the head's `in_features` and
            `num_classes` are taken from the data and the model where they are not given.

    Raises:
        ValueError: if a part is missing, a name is unknown, an argument is wrong, or head and model do not fit.

    Example:
        >>> data = {"name": "digits", "class_names": list("0123456789"), "image_shape": [1, 8, 8]}
        >>> classifier = build_classifier({"model": {"name": "digits-cnn"}, "head": {}, "data": data})
        >>> classifier.head.weight.shape
        torch.Size([10, 3])
    """
    _check_spec(spec)
    name, arguments = spec["model"]["name"], dict(spec["model"].get("arguments", {}))
    if "image_shape" in model_parameters(name):
        arguments.setdefault("image_shape", spec["data"]["image_shape"])
    model = build(name, **arguments)
    known = list(inspect.signature(MarginHead).parameters)
    problems("head", [unknown_name("argument", argument, known) for argument in spec["head"] if argument not in known])
    head = {"in_features": model.num_features, "num_classes": len(spec["data"]["class_names"]), **spec["head"]}
    if head["in_features"] != model.num_features:
        raise ValueError(
            f"build_classifier: the head expects {head['in_features']} features, model {name!r} gives "
            f"{model.num_features}. Leave in_features out to take the model's."
        )
    return Classifier(model, MarginHead(**head))


def save_classifier(folder: str | os.PathLike[str], classifier: Classifier, spec: Mapping[str, Any]) -> None:
    """Write `model.safetensors` and `model.json` into `folder`, each whole or not at all.

    Args:
        folder: made if it is not there; files of an earlier save are replaced.
        classifier: what to save; it may lie on any device.
        spec: as for `build_classifier`; the head's arguments are taken from the head itself.

    Raises:
        OSError: if the files cannot be written; those of an earlier save are then unharmed.
        ValueError: if the spec lacks a part, holds something that JSON has no word for, or the head is not a
            `MarginHead` with a named margin.
    """
    _check_spec(spec)
    if not isinstance(classifier.head, MarginHead):
        raise ValueError(f"save_classifier: expected a MarginHead as head, got {type(classifier.head).__name__}.")
    written = {"format": FORMAT, **spec, "head": classifier.head.arguments()}
    try:
        text = json.dumps(written, indent=2) + "\n"
    except TypeError as error:
        raise ValueError(f"save_classifier: the spec must hold plain values only: {error}.") from None
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in classifier.state_dict().items()}
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / WEIGHTS_FILE, safetensors.torch.save(tensors))
    write_atomically(folder / SPEC_FILE, text.encode())


def load_classifier(folder: str | os.PathLike[str]) -> tuple[Classifier, dict[str, Any]]:
    """The classifier that `save_classifier` wrote, on the CPU and in evaluation mode, and its spec.

    Raises:
        FileNotFoundError: if the folder or one of the two files is not there.
        ValueError: if a file is damaged or the two do not belong together.
    """
    folder = Path(folder)
    spec = _read_spec(folder / SPEC_FILE)
    weights = folder / WEIGHTS_FILE
    if not weights.is_file():
        raise FileNotFoundError(f"load_classifier: there is no file {weights}.")
    try:
        tensors = safetensors.torch.load_file(weights)
    except safetensors.SafetensorError as error:
        raise ValueError(f"load_classifier: {weights} is damaged or no safetensors file: {error}.") from None
    classifier = build_classifier(spec)
    _check_tensors(weights, tensors, classifier.state_dict())
    classifier.load_state_dict(tensors)
    return classifier.eval(), spec


def _read_spec(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(
            f"load_classifier: there is no file {path}. A trained model is a folder with {SPEC_FILE} and "
            f"{WEIGHTS_FILE}."
        )
    try:
        spec = json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"load_classifier: {path} is damaged or no JSON: {error}.") from None
    if not isinstance(spec, dict) or spec.get("format") != FORMAT:
        found = spec.get("format") if isinstance(spec, dict) else type(spec).__name__
        raise ValueError(f"load_classifier: {path} has format {found!r}, this version reads format {FORMAT}.")
    return spec


def _check_spec(spec: Mapping[str, Any]) -> None:
    """Raise one ValueError that names everything that is missing."""
    wanted = {"model": ["name"], "head": [], "data": ["class_names", "image_shape"]}
    found = []
    for part, keys in wanted.items():
        if not isinstance(spec.get(part), Mapping):
            found.append(f"{part!r} is missing or no mapping.")
        else:
            found += [f"{part!r} lacks {key!r}." for key in keys if key not in spec[part]]
    problems("classifier spec", found)


def _check_tensors(path: Path, found: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor]) -> None:
    """Raise one ValueError with every tensor that is missing, unknown or of another shape."""
    wrong = [f"{name} is missing." for name in expected.keys() - found.keys()]
    wrong += [f"{name} belongs to no layer of the model." for name in found.keys() - expected.keys()]
    wrong += [
        f"{name} has shape {tuple(found[name].shape)}, the model expects {tuple(expected[name].shape)}."
        for name in expected.keys() & found.keys()
        if found[name].shape != expected[name].shape
    ]
    problems(f"load_classifier: {path} does not fit the model that {SPEC_FILE} describes", sorted(wrong))
