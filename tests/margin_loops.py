# SPDX-License-Identifier: MIT
"""Margin losses in float64 by plain loops over samples and classes, written from the papers without the library."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from oracles import FIXTURES, Matrix

Spec = Mapping[str, Any]

# every entry of the table once with its published numbers, and once with others
PUBLISHED: dict[str, dict[str, Any]] = {
    "softmax": {"scale": 1.0},
    "normalized_softmax": {"scale": 30.0},
    "l_softmax": {"scale": 1.0, "multiplier": 2.0},
    "sphereface": {"scale": "feature", "multiplier": 4.0},
    "w_softmax": {"scale": "feature", "multiplier": 1.0, "angle_function": "linear", "k": 0.3},
    "ga_softmax": {"scale": "feature", "multiplier": 1.5, "angle_function": "linear", "k": 0.3},
    "cosface": {"scale": 64.0, "cosine": 0.35},
    "arcface": {"scale": 64.0, "angle": 0.5, "beyond_pi": "continue"},
    "combined": {"scale": 64.0, "multiplier": 1.0, "angle": 0.3, "cosine": 0.2},
    "sub_center_arcface": {"scale": 64.0, "angle": 0.5, "beyond_pi": "continue", "centers": 3},
    "sphereface_r": {
        "scale": 30.0,
        "version": 2,
        "multiplier": 1.5,
        "normalization": "hard",
        "loss_weight": 50.0,
        "norm_weight": 0.01,
        "norm_goal": 30.0,
    },
    "sphereface2": {
        "scale": 40.0,
        "kind": "cosine",
        "margin": 0.4,
        "balance": 0.7,
        "sharpness": 3.0,
        "loss_weight": 50.0,
    },
    "curricularface": {"scale": 64.0, "angle": 0.5, "beyond_pi": "continue", "momentum": 0.01},
    "magface": {
        "scale": 64.0,
        "shortest": 10.0,
        "longest": 110.0,
        "smallest_angle": 0.45,
        "largest_angle": 0.8,
        "penalty_weight": 35.0,
        "beyond_pi": "continue",
    },
    "adaface": {"scale": 64.0, "margin": 0.4, "sharpness": 0.333, "momentum": 0.01},
    "circle": {"scale": 256.0, "relaxation": 0.25},
}
OTHERS: list[dict[str, Any]] = [
    {"name": "l_softmax", "multiplier": 3.5},
    {"name": "sphereface", "multiplier": 1.7, "scale": 30.0},
    {"name": "ga_softmax", "multiplier": 2.5, "angle_function": "sigmoid", "k": 0.4},
    {"name": "ga_softmax", "multiplier": 3.0, "angle_function": "cosine", "scale": 8.0},
    {"name": "arcface", "angle": 1.2, "beyond_pi": "guard", "scale": 16.0},
    {"name": "arcface", "angle": 1.2, "beyond_pi": "clamp", "scale": 16.0},
    {"name": "arcface", "angle": 1.2, "beyond_pi": "cosine", "scale": 16.0},
    {"name": "combined", "multiplier": 2.2, "angle": 0.4, "cosine": 0.1, "scale": 16.0},
    {"name": "sub_center_arcface", "centers": 2, "angle": 0.2, "scale": 10.0},
    {"name": "sphereface_r", "version": 1, "multiplier": 1.4, "loss_weight": 2.0},
    {"name": "sphereface_r", "normalization": "soft", "scale": "feature", "norm_weight": 0.5, "norm_goal": 4.0},
    {"name": "sphereface_r", "normalization": "none", "scale": "feature", "loss_weight": 1.0},
    {"name": "sphereface2", "kind": "angle", "margin": 0.5, "balance": 0.8},
    {"name": "sphereface2", "kind": "multiplier", "margin": 1.7, "sharpness": 1.5},
    {"name": "curricularface", "angle": 0.3, "beyond_pi": "guard", "scale": 16.0},
    {"name": "magface", "shortest": 1.0, "longest": 6.0, "smallest_angle": 0.1, "penalty_weight": 3.0, "scale": 16.0},
    {"name": "adaface", "margin": 0.3, "sharpness": 40.0, "scale": 16.0},
    {"name": "circle", "relaxation": 0.4, "scale": 16.0},
]
CASES: list[dict[str, Any]] = [{"name": name} for name in PUBLISHED] + OTHERS
STATES = {
    "curricularface": {"running_cosine": 0.3},
    "adaface": {"running_mean": 4.0, "running_deviation": 2.0},
}


def margin_cases() -> dict[str, Any]:
    """Features, class vectors, labels, and the logits, losses and gradients of some margins, computed elsewhere."""
    return json.loads((FIXTURES / "margins.json").read_text())


def arguments(spec: Spec) -> dict[str, Any]:
    """What makes the margin of a case: all but its scale."""
    return {key: value for key, value in spec.items() if key != "scale"}


def title(spec: Spec) -> str:
    """A case in the name of a test."""
    return "-".join(str(value) for key, value in spec.items() if key != "scale")


def psi(theta: float, multiplier: float, offset: float = 0.0) -> float:
    """(-1)^k cos(m theta + a) - 2k."""
    total = multiplier * theta + offset
    k = math.floor(total / math.pi)
    return (-1) ** k * math.cos(total) - 2 * k


def added(theta: float, angle: float, beyond_pi: str) -> float:
    """cos(theta + m), and what stands for it beyond pi."""
    if beyond_pi == "continue":
        return psi(theta, 1.0, angle)
    if beyond_pi == "cosine" or theta + angle < math.pi:
        return math.cos(theta + angle)
    return -1.0 if beyond_pi == "clamp" else math.cos(theta) - angle * math.sin(angle)


def curve(p: Spec, total: float) -> float:
    """g of generalised softmax at an angle that may exceed pi."""
    if p["angle_function"] == "cosine":
        return psi(total, 1.0)
    if p["angle_function"] == "linear":
        return 1 - 2 * total / math.pi
    half, k = math.pi / (2 * p["k"]), p["k"]
    steep = math.exp(total / k - half)
    return (1 + math.exp(-half)) / (1 - math.exp(-half)) * (1 - steep) / (1 + steep)


def harder(p: Spec, theta: float, norm: float, state: Mapping[str, float]) -> float:
    """The own logit in units of the scale."""
    name, cosine = p["name"], math.cos(theta)
    if name in ("l_softmax", "sphereface"):
        return psi(theta, p["multiplier"])
    if name in ("w_softmax", "ga_softmax"):
        return curve(p, p["multiplier"] * theta)
    if name == "cosface":
        return cosine - p["cosine"]
    if name in ("arcface", "sub_center_arcface", "curricularface"):
        return added(theta, p["angle"], p["beyond_pi"])
    if name == "combined":
        return psi(theta, p["multiplier"], p["angle"]) - p["cosine"]
    if name == "sphereface_r" and p["version"] == 1:
        return math.cos(min(p["multiplier"] * theta, math.pi))
    if name == "sphereface2":
        if p["kind"] == "cosine":
            return sharpened(p, cosine) - p["margin"]
        angle = theta + p["margin"] if p["kind"] == "angle" else theta * p["margin"]
        return sharpened(p, math.cos(min(angle, math.pi)))
    if name == "magface":
        a = min(max(norm, p["shortest"]), p["longest"])
        slope = (p["largest_angle"] - p["smallest_angle"]) / (p["longest"] - p["shortest"])
        return added(theta, slope * (a - p["shortest"]) + p["smallest_angle"], p["beyond_pi"])
    if name == "adaface":
        n, m = min(max(norm, 1e-3), 100.0), p["margin"]
        q = p["sharpness"] * (n - state["running_mean"]) / (state["running_deviation"] + 1e-3)
        q = min(max(q, -1.0), 1.0)
        return math.cos(min(max(theta - m * q, 1e-3), math.pi - 1e-3)) - (m + m * q)
    if name == "circle":
        return max(1 + p["relaxation"] - cosine, 0.0) * (cosine - (1 - p["relaxation"]))
    return cosine


def other(p: Spec, theta: float, theta_own: float, state: Mapping[str, float]) -> float:
    """The logit of another class in units of the scale."""
    name, cosine = p["name"], math.cos(theta)
    if name in ("w_softmax", "ga_softmax"):
        return curve(p, theta)
    if name == "sphereface_r" and p["version"] == 2:
        return math.cos(theta / p["multiplier"])
    if name == "sphereface2":
        return sharpened(p, cosine) + (p["margin"] if p["kind"] == "cosine" else 0.0)
    if name == "curricularface" and cosine > math.cos(theta_own + p["angle"]):
        return cosine * (state["running_cosine"] + cosine)
    if name == "circle":
        return max(cosine + p["relaxation"], 0.0) * (cosine - p["relaxation"])
    return cosine


def sharpened(p: Spec, cosine: float) -> float:
    """g of SphereFace2."""
    return 2 * ((cosine + 1) / 2) ** p["sharpness"] - 1


def inference(p: Spec, theta: float) -> float:
    """A logit without labels, in units of the scale."""
    if p["name"] in ("w_softmax", "ga_softmax"):
        return curve(p, theta)
    return sharpened(p, math.cos(theta)) if p["name"] == "sphereface2" else math.cos(theta)


def filled(spec: Spec) -> dict[str, Any]:
    """A case with what it leaves at the published values."""
    return {**PUBLISHED[spec["name"]], **spec}


def length(vector: Sequence[float]) -> float:
    return math.sqrt(math.fsum(v * v for v in vector))


def angles(x: Sequence[float], weight: Matrix, centers: int) -> list[float]:
    """The angle of a feature with each class: with the nearest of its vectors."""
    cosines = [math.fsum(a * b for a, b in zip(x, w, strict=True)) / (length(x) * length(w)) for w in weight]
    nearest = [max(cosines[j : j + centers]) for j in range(0, len(cosines), centers)]
    return [math.acos(max(-1.0, min(1.0, c))) for c in nearest]


def logits(
    spec: Spec,
    features: Matrix,
    weight: Matrix,
    labels: Sequence[int] | None,
    *,
    annealing: float = 0.0,
    bias: float = 0.0,
) -> list[list[float]]:
    """Logits with the margin; without labels those for inference. A negative label is no class."""
    p = filled(spec)
    state = STATES.get(p["name"], {})
    rows = []
    for i, x in enumerate(features):
        theta = angles(x, weight, p.get("centers", 1))
        label = -1 if labels is None else labels[i]
        row = []
        for j, t in enumerate(theta):
            if labels is None:
                value = inference(p, t)
            elif j == label:
                value = (annealing * inference(p, t) + harder(p, t, length(x), state)) / (1 + annealing)
            else:
                # without a class, a sample has an own cosine of zero
                value = other(p, t, theta[label] if label >= 0 else math.pi / 2, state)
            if p["name"] in ("softmax", "l_softmax"):
                value *= length(x) * length(weight[j])
            else:
                value *= length(x) if p["scale"] == "feature" else p["scale"]
            row.append(value + bias)
        rows.append(row)
    return rows


def loss(
    spec: Spec,
    features: Matrix,
    weight: Matrix,
    labels: Sequence[int],
    *,
    annealing: float = 0.0,
    bias: float = 0.0,
    class_weights: Sequence[float] | None = None,
    label_smoothing: float = 0.0,
    probability_floor: float = 0.0,
) -> float:
    """The mean over samples with a class of objective times factor plus penalty."""
    p = filled(spec)
    total = divisor = 0.0
    table = logits(spec, features, weight, labels, annealing=annealing, bias=bias)
    share = [1.0] * len(table[0]) if class_weights is None else class_weights
    for x, row, label in zip(features, table, labels, strict=True):
        if label < 0:
            continue
        norm, a = length(x), share[label]
        if p["name"] == "sphereface2":
            parts = [
                p["balance"] * softplus(-z) if j == label else (1 - p["balance"]) * softplus(z)
                for j, z in enumerate(row)
            ]
            total += a * p["loss_weight"] / p["scale"] * math.fsum(parts)
        else:
            top = max(row)
            log_sum = top + math.log(math.fsum(math.exp(z - top) for z in row))
            minus = [
                -math.log(math.exp(z - log_sum) + probability_floor) if probability_floor else log_sum - z for z in row
            ]
            spread = math.fsum(b * m for b, m in zip(share, minus, strict=True)) / len(row)
            entropy = (1 - label_smoothing) * a * minus[label] + label_smoothing * spread
            factor = 1.0
            if p["name"] == "sphereface_r":
                goal = {"hard": p["scale"], "soft": p["norm_goal"], "none": 1.0}[p["normalization"]]
                factor = p["loss_weight"] / goal
            total += factor * entropy
        if p["name"] == "magface":
            length_held = min(max(norm, p["shortest"]), p["longest"])
            total += a * p["penalty_weight"] * (length_held / p["longest"] ** 2 + 1 / length_held)
        if p["name"] == "sphereface_r" and p["normalization"] == "soft":
            total += a * p["norm_weight"] * abs(norm - p["norm_goal"])
        divisor += a
    return total / divisor if divisor else 0.0


def softplus(z: float) -> float:
    return max(z, 0.0) + math.log1p(math.exp(-abs(z)))
