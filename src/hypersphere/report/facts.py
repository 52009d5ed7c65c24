# SPDX-License-Identifier: MIT
"""What a run is, in short pairs of a name and a value."""

from __future__ import annotations

import json
import math
from pathlib import PurePath
from typing import Any

import numpy as np

from hypersphere.report.run import Run, number

__all__ = ["OFF", "Fact", "duration", "final_numbers", "flat", "headline", "identity", "in_force", "shown"]

Fact = tuple[str, str]

# settings that the optimiser or schedule of that name does not read
_UNUSED = {
    "sgd": ("betas",),
    "adam": ("momentum", "nesterov"),
    "adamw": ("momentum", "nesterov"),
    "cosine": ("milestones", "factor", "unit"),
    "constant": ("milestones", "factor", "final", "unit"),
}
# what the projections of that name do not read
_LEARNING = ("inner_steps", "inner_rate", "normalized", "unrolled", "objective", "ascent")
_UNUSED_BY_PROJECTION = {
    "random": _LEARNING,
    "group": (*_LEARNING, "precision"),
    "angle_preserving": ("num_projections", "precision", "ascent"),
    "adversarial": ("num_projections", "precision", "objective"),
}
# what null means in the settings of a projection
_MEANT: dict[str, dict[str, Any]] = {
    "random": {"redraw_every": 1},
    "group": {"redraw_every": 1},
    "angle_preserving": {"redraw_every": "never", "inner_steps": 1},
    "adversarial": {"redraw_every": "never", "inner_steps": 10},
}
OFF: dict[str, Any] = {
    "compression.projection": "none",
    "uniformity.kind": "none",
    "orthogonality.kind": "none",
    "adversary.attack": "none",
    "annealing.base": 0.0,
    "margin_schedule.argument": "",
    "scale_schedule.first": 0.0,
}
"""Settings that switch a part off, which is also what a run from before there was that part did."""
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


def in_force(config: dict[str, Any]) -> dict[str, Any]:
    """Settings by their dotted paths, without those of parts that are off and those a projection does not read.

    What a projection leaves to itself (null) is said.

    Example:
        >>> in_force({"recipe": "x", "uniformity": {"kind": "none", "hidden_weight": 1.0}})
        {'recipe': 'x', 'uniformity.kind': 'none'}
    """
    found = flat(config)
    projection = str(found.get("compression.projection"))
    unread = [f"compression.{name}" for name in _UNUSED_BY_PROJECTION.get(projection, ())]
    for name, meant in _MEANT.get(projection, {}).items():
        if f"compression.{name}" in found and found[f"compression.{name}"] is None:
            found[f"compression.{name}"] = meant
    if found.get("adversary.attack") == "fgsm":
        unread += ["adversary.steps", "adversary.step_size"]
    for path, off in OFF.items():
        part = path.split(".")[0]
        if found.get(path) == off:
            unread += [one for one in found if one.startswith(f"{part}.") and one != path]
    return {path: value for path, value in found.items() if path not in unread}


def final_numbers(run: Run) -> dict[str, float]:
    """Step, accuracy, loss and number of images of the last word on this run, and how training ended.

    The evaluation of the finished model counts, else the last evaluation during training; `is_final` is 1 for the
    former. `recalibrated` is its accuracy with running statistics measured again. What is not known is NaN.
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
        "recalibrated": number(run.recalibrated, "accuracy"),
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
        (
            f"{split} accuracy recalibrated",
            f"{final['recalibrated']:.2%}" if math.isfinite(final["recalibrated"]) else "unknown",
        ),
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
    facts.append(("head", _head(run)))
    facts += [
        (part.replace("_", " "), _moved(run, part)) for part in ("annealing", "margin_schedule", "scale_schedule")
    ]
    facts += [("energy", _energy(run)), ("projection", _projection(run))]
    facts += [(name, _regularizer(run, name)) for name in ("uniformity", "orthogonality")]
    facts.append(("trained on", _adversary(run)))
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


def _head(run: Run) -> str:
    """The margin with its own arguments first, then what differs from the usual."""
    settings = run.setting("head", {})
    given = dict(_others(settings, "margin", "arguments", "energy"))
    usual = {"gradient": "exact", "sample_rate": 1}
    given = {name: value for name, value in given.items() if usual.get(name) != value}
    if isinstance(settings, dict) and settings.get("energy"):
        given["energy of class vectors"] = settings["energy"]
    return _called(run.setting("head.margin"), _others(run.setting("head.arguments", {})) | given)


def _moved(run: Run, part: str) -> str:
    """A schedule of the head; empty where it is off."""
    settings = run.setting(part, {})
    if not isinstance(settings, dict) or not settings:
        return ""
    if part == "annealing":
        rest = _others(settings, "base")
        return _called(f"lambda from {number(settings, 'base'):g}", rest) if number(settings, "base") > 0 else ""
    first, last, begin, steps = (number(settings, key) for key in ("first", "last", "begin", "steps"))
    name = str(settings.get("argument", "")).replace("_", " ")
    if not (name if part == "margin_schedule" else first > 0):
        return ""
    after = f" after {begin:g} steps" if begin > 0 else ""
    return f"{name} from {first:g} to {last:g} in {steps:g} steps{after}".strip()


def _energy(run: Run) -> str:
    settings = run.setting("energy", {})
    if not isinstance(settings, dict) or not settings:
        return ""
    weights = {name: number(settings, f"{name}_weight") for name in ("hidden", "output")}
    if not any(weight > 0 for weight in weights.values()):
        return "not in the loss, only watched"
    space = "half space" if settings.get("half_space") else "full space"
    kind = f"power {number(settings, 'power'):g}, {settings.get('distance', 'euclidean')} distance, {space}"
    return f"{kind}; {_weights(settings)}"


def _projection(run: Run) -> str:
    """Under which projections the energy is taken; empty where it is that of the neurons themselves."""
    settings = run.setting("compression", {})
    name = settings.get("projection", "none") if isinstance(settings, dict) else "none"
    if name == "none":
        return ""
    dim, count, every = (number(settings, key) for key in ("dim", "num_projections", "redraw_every"))
    often = "every step" if not every > 1 else f"every {every:g} steps"
    if name in ("random", "group"):
        what = f"{count:g} random projections to {dim:g} dimensions"
        if name == "group":
            what = f"at most {count:g} groups of {dim:g} coordinates"
        parts = [f"energy of {what}, drawn {often}"]
        if name == "random" and settings.get("precision") == "bfloat16":
            parts.append("products in bfloat16")
    else:
        parts = [_learned(str(name), settings, dim)]
        if math.isfinite(every):
            parts.append(f"begun again {often}")
    if not settings.get("project_first", True):
        parts.append("the first layer as it is")
    return "; ".join(parts)


def _learned(name: str, settings: dict[str, Any], dim: float) -> str:
    kept = "angles" if settings.get("objective") == "angle" else "cosines"
    raised = "the energy in full space" if settings.get("ascent") == "full_space" else "it"
    goals = {"angle_preserving": f"that learns to keep {kept}", "adversarial": f"that learns to raise {raised}"}
    steps, rate = number(settings, "inner_steps"), number(settings, "inner_rate")
    if not math.isfinite(steps):
        steps = number(_MEANT.get(name), "inner_steps")
    length = f"{rate:g} of its size" if settings.get("normalized") else f"{rate:g} times the gradient"
    how = f"steps for each training step: {steps:g}, each {length}"
    how += ", one more differentiated through" if settings.get("unrolled") else ""
    return f"energy of a projection to {dim:g} dimensions {goals.get(name, f'({name})')} ({how})"


def _regularizer(run: Run, name: str) -> str:
    """Kind and weights of another regulariser; empty where it is off."""
    settings = run.setting(name, {})
    kind = settings.get("kind", "none") if isinstance(settings, dict) else "none"
    if kind == "none":
        return ""
    parts = [str(kind).replace("_", " ")]
    if name == "uniformity":
        parts.append("half space in hidden layers" if settings.get("half_space") else "full space")
    elif settings.get("normalized"):
        parts.append("neurons at length 1")
    return f"{', '.join(parts)}; {_weights(settings)}"


def _adversary(run: Run) -> str:
    """By which attack training images were replaced; empty where they were left alone."""
    settings = run.setting("adversary", {})
    attack = settings.get("attack", "none") if isinstance(settings, dict) else "none"
    if attack == "none":
        return ""
    norm = {"linf": "L-inf", "l2": "L2"}.get(str(settings.get("norm")), "")
    steps = f", {number(settings, 'steps'):g} steps of {number(settings, 'step_size'):.4g}" if attack == "pgd" else ""
    start = ", random start" if settings.get("random_start") else ""
    radius = f"{norm} {number(settings, 'epsilon'):.4g} of the range of pixels"
    return f"images under {str(attack).upper()}, {radius}{steps}{start}"


def _weights(settings: dict[str, Any]) -> str:
    hidden, output = (number(settings, f"{name}_weight") for name in ("hidden", "output"))
    return f"weight {hidden:g} on hidden layers, {output:g} on the output layer"


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
