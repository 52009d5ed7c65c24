# SPDX-License-Identifier: MIT
"""What margins, verification and identification leave in a run folder, made in milliseconds from random numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from hypersphere.evaluation import (
    Pairs,
    identify_among_distractors,
    identify_closed_set,
    identify_open_set,
    verify,
    write_identification,
    write_verification,
)

__all__ = ["add_identification", "add_margins", "add_verification", "faces"]


def add_margins(folder: Path, *, satisfied: float | None = 0.6, **moved: tuple[float, float]) -> Path:
    """Give every training line angles, the share of met margins, and numbers that move in a straight line.

    Args:
        folder: of a run.
        satisfied: accuracy times this; None for a head without a margin, whose share is the accuracy.
        moved: name -> value before the first step and at the last one.
    """
    path = folder / "metrics.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    last = max(row["step"] for row in rows)
    for row in rows:
        if row["kind"] == "train":
            part = row["step"] / last
            met = row["accuracy"] * (1 if satisfied is None else satisfied)
            row["margin"] = {"angle": 1.5 - part, "nearest_angle": 1.4 - 0.2 * part, "satisfied": met}
            row["margin"] |= {name: first + part * (end - first) for name, (first, end) in moved.items()}
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def faces(num_people: int, num_each: int, *, spread: float = 1.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings (N, 16) around a direction for each person, and the person of each, all images of one together."""
    rng = np.random.default_rng(seed)
    people = np.repeat(np.arange(num_people), num_each)
    return rng.standard_normal((num_people, 16))[people] + spread * rng.standard_normal((len(people), 16)), people


def add_verification(
    folder: Path, *, stem: str = "verification", name: str = "pairs.txt", spread: float = 1.0, **details: Any
) -> Path:
    """Verify 400 pairs of 100 people in ten folds by both rules, half of the pairs of one person."""
    rows, _ = faces(100, 4, spread=spread)
    person = np.arange(100)
    same = np.stack([np.tile(4 * person, 2), np.concatenate([4 * person + 1, 4 * person + 2])])
    other = 4 * (10 * (person // 10) + (person + 1) % 10)
    different = np.stack([np.tile(4 * person, 2), np.concatenate([other, other + 3])])
    left, right = np.concatenate([same, different], axis=1)
    pairs = Pairs(left, right, np.repeat([True, False], 200), np.tile(person // 10 + 1, 4))
    people = np.stack([left, right], axis=1) // 4
    told = {"pairs": name, "flip": "none", "decision": {"cosine": 0.45}, "people_in_training": None} | details
    for rule, end in (("lfw-official", ""), ("lfw-common", "-common")):
        found = verify(rows, pairs, protocol=rule)
        write_verification(
            folder, found, split="all 10 folds", people=people, step=140, stem=f"{stem}{end}", details=told
        )
    return folder


def add_identification(
    folder: Path, *, synthetic: bool | None = True, open_set: bool = False, stem: str = "identification", **details: Any
) -> Path:
    """Look for 300 images of 100 people in a gallery, and among 500 distractors unless `synthetic` is None."""
    rows, people = faces(100, 4)
    first = np.arange(0, 400, 4)
    rest = np.setdiff1d(np.arange(400), first)
    results: dict[str, Any] = {"closed-set": identify_closed_set(rows[first], people[first], rows[rest], people[rest])}
    facts = None
    if synthetic is not None:
        drawn = np.random.default_rng(1).standard_normal((500, 16))
        results["distractors"] = identify_among_distractors(rows, people, drawn, max_rank=10, fars=(1e-6, 1e-3))
        facts = {"synthetic": synthetic, "num": 500}
        facts |= (
            {"kind": "random unit vectors"} if synthetic else {"kind": "folder", "name": "crowd", "left_out": ["a"]}
        )
    if open_set:
        results["open-set"] = identify_open_set([(rows[first[:60]], people[first[:60]])], rows[rest], people[rest])
    told = {"data": "people", "flip": "none", "distractors": facts, "people_in_training": None} | details
    write_identification(folder, results, split="test", step=140, stem=stem, details=told)
    return folder
