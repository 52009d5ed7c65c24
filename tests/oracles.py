# SPDX-License-Identifier: MIT
"""Slow float64 references written from the papers with plain loops, sharing no code with the library."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

FIXTURES = Path(__file__).parent / "fixtures"

Matrix = Sequence[Sequence[float]]


def energy_cases() -> list[dict[str, Any]]:
    """Inputs, energies and gradients computed elsewhere; every power, distance, space and epsilon."""
    return json.loads((FIXTURES / "energy.json").read_text())["cases"]


def energy(
    weight: Matrix,
    power: float,
    distance: str = "euclidean",
    half_space: bool = False,
    eps: float = 0.0,
    angle_offset: float = 0.0,
) -> float:
    """Mean pair energy by the definition: all ordered pairs of the (2K) points, one at a time."""
    rows = [list(map(float, row)) for row in weight]
    points = rows + [[-x for x in row] for row in rows] if half_space else rows
    total, pairs = 0.0, 0
    for i, a in enumerate(points):
        for j, b in enumerate(points):
            if i == j:
                continue
            norm_a = math.sqrt(math.fsum(x * x for x in a) + eps)
            norm_b = math.sqrt(math.fsum(x * x for x in b) + eps)
            u, v = [x / norm_a for x in a], [y / norm_b for y in b]
            cosine = math.fsum(x * y for x, y in zip(u, v, strict=True))
            if distance == "euclidean":
                z = math.sqrt(max(0.0, 2 - 2 * cosine))
            elif eps:
                z = math.acos(max(-1.0, min(1.0, cosine))) + math.pi * angle_offset
            else:
                # an arc cosine near pi is good to 1e-8 only; half the tangent is good everywhere
                z = 2 * math.atan2(math.dist(u, v), math.dist(u, [-y for y in v])) + math.pi * angle_offset
            total += -math.log(z) if power == 0 else z**-power
            pairs += 1
    return total / pairs
