# SPDX-License-Identifier: MIT
"""What a run is, in short pairs of a name and a value."""

from __future__ import annotations

import json
import math
from pathlib import PurePath
from typing import Any

import numpy as np

from hypersphere.report.run import Run, number

__all__ = ["Fact", "duration", "final_numbers", "flat", "headline", "identity", "shown"]

Fact = tuple[str, str]

# settings that the optimiser or schedule of that name does not read
_UNUSED = {
    "sgd": ("betas",),
    "adam": ("momentum", "nesterov"),
    "adamw": ("momentum", "nesterov"),
    "cosine": ("milestones", "factor", "unit"),
    "constant": ("milestones", "factor", "final", "unit"),
}
_OVERLAPS = {"cifar100": "CIFAR-100 has 10 images in both train and test."}


def duration(seconds: float) -> str:
    """Seconds in words.

    Example:
        >>> duration(7.25), duration(75), duration(7325)
        ('7.2 s', '1 min 15 s', '2 h 2 min')
    """
    if not math.isfinite(seconds):
        return "unknown"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def shown(value: Any) -> str:
    """A setting as text: numbers short, nested values as JSON."""
    if isinstance(value, float):
        return f"{value:g}"
    return value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)


def flat(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by their dotted paths, in order.

    Example:
        >>> flat({"model": {"name": "cnn9"}, "recipe": "x"})
        {'model.name': 'cnn9', 'recipe': 'x'}
    """
    found: dict[str, Any] = {}
    for key, value in settings.items():
        path = f"{prefix}{key}"
        found |= flat(value, f"{path}.") if isinstance(value, dict) and value else {path: value}
    return found


def final_numbers(run: Run) -> dict[str, float]:
    """Step, accuracy, loss and number of images of the last word on this run, and how training ended.

    The evaluation of the finished model counts, else the last evaluation during training; `is_final` is 1 for the
    former. What is not known is NaN.
    """
    last = run.evaluations[-1] if run.evaluations else {}
    final = run.classification.summary if run.classification else {}
    word = final or last
    rates = [number(row, "images_per_second") for row in run.train]
    rates = [rate for rate in rates if math.isfinite(rate)]
    return {
        "is_final": float(bool(final)),
        "step": number(word, "step"),
        "accuracy": number(word, "accuracy"),
        "loss": number(word, "loss"),
        "num_samples": number(word, "num_samples"),
        "train_accuracy": _last_finite([number(row, "accuracy") for row in run.train]),
        "train_loss": _last_finite([number(row, "terms", "objective") for row in run.train]),
        "epochs": max([number(row, "epoch") for row in [*run.train, *run.evaluations]] or [math.nan]),
        "seconds": max([second for row in run.train if math.isfinite(second := number(row, "seconds"))] or [math.nan]),
        "images_per_second": float(np.median(rates)) if rates else math.nan,
    }


def split_name(run: Run) -> str:
    """The split of the last word on this run."""
    if run.classification:
        return str(run.classification.summary.get("split", "test"))
    return str(run.evaluations[-1].get("split", "evaluation")) if run.evaluations else "evaluation"


def headline(run: Run) -> list[Fact]:
    """The few numbers that a reader looks for first."""
    final = final_numbers(run)
    split = split_name(run)
    facts = [
        (f"{split} accuracy", f"{final['accuracy']:.2%}" if math.isfinite(final["accuracy"]) else "not evaluated"),
        (f"{split} loss", _rounded(final["loss"])),
        ("steps", f"{run.last_step:,}".replace(",", " ")),
        ("epochs", _rounded(final["epochs"])),
        ("time", duration(final["seconds"])),
        (
            "images per second",
            f"{final['images_per_second']:,.0f}".replace(",", " ")
            if final["images_per_second"] == final["images_per_second"]
            else "unknown",
        ),
    ]
    return [(name, value) for name, value in facts if value not in ("unknown", "nan")]


def identity(run: Run) -> list[Fact]:
    """What was trained on what, how, by which versions."""
    facts: list[Fact] = []
    data = str(run.setting("data.name", ""))
    # a folder is called after the set that lies in it
    remark = _OVERLAPS.get(PurePath(data).name.lower().replace("-", ""), "")
    facts.append(("data", f"{data}. {remark}" if remark else data))
    facts.append(("model", _called(run.setting("model.name"), run.setting("model.arguments", {}))))
    facts.append(("head", _called(run.setting("head.margin"), _others(run.setting("head", {}), "margin"))))
    facts.append(("energy", _energy(run)))
    for part in ("optimizer", "schedule"):
        name = run.setting(f"{part}.name")
        facts.append((part, _called(name, _others(run.setting(part, {}), "name", *_UNUSED.get(name, ())))))
    environment = run.environment
    for name in ("batch_size", "precision", "seed", "device", "threads", "commit", "command"):
        value = environment.get(name, run.setting(f"training.{name}"))
        if value is not None:
            text = " ".join(map(str, value)) if isinstance(value, list) else shown(value)
            facts.append((name.replace("_", " "), text))
    versions: dict[str, Any] = {name: environment[name] for name in ("hypersphere", "python") if name in environment}
    versions |= _others(environment.get("packages"))
    facts.append(("versions", ", ".join(f"{name} {version}" for name, version in versions.items())))
    return [(name, value) for name, value in facts if value]


def _energy(run: Run) -> str:
    settings = run.setting("energy", {})
    if not isinstance(settings, dict) or not settings:
        return ""
    weights = {name: number(settings, f"{name}_weight") for name in ("hidden", "output")}
    if not any(weight > 0 for weight in weights.values()):
        return "not in the loss, only watched"
    space = "half space" if settings.get("half_space") else "full space"
    kind = f"power {number(settings, 'power'):g}, {settings.get('distance', 'euclidean')} distance, {space}"
    return f"{kind}; weight {weights['hidden']:g} on hidden layers, {weights['output']:g} on the output layer"


def _called(name: Any, arguments: Any) -> str:
    # what is zero, false or empty is off
    parts = [f"{key} {shown(value)}" for key, value in _others(arguments).items() if value]
    return f"{name or ''} ({', '.join(parts)})" if parts else str(name or "")


def _others(settings: Any, *without: str) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if key not in without} if isinstance(settings, dict) else {}


def _rounded(value: float) -> str:
    return f"{value:.4g}"


def _last_finite(values: list[float]) -> float:
    return next((value for value in reversed(values) if math.isfinite(value)), math.nan)
