# SPDX-License-Identifier: MIT
"""What projected energy (CoMHE) of every layer of CNN-9 adds to a training step."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.common import Row, compare
from benchmarks.regularizer import Step
from hypersphere.regularizers import CompressiveEnergy

_STEP = "CNN-9 64/128/256 step with CoMHE"


def rows() -> Iterator[Row]:
    """The published settings of each variant, the cheaper form of random projections, and coordinate groups."""
    cheap = CompressiveEnergy.published("random", precision="bfloat16", redraw_every=10)
    energies = [
        ("random (20 of dimension 40, every step)", CompressiveEnergy.published("random"), 1.35),
        ("random, bfloat16 products, redrawn every 10", cheap, 1.20),
        ("angle-preserving (dimension 30, unrolled)", CompressiveEnergy.published("angle_preserving"), None),
        ("angle-preserving, alternating", CompressiveEnergy.published("angle_preserving", unrolled=False), None),
        ("adversarial (dimension 30, 10 steps, unrolled)", CompressiveEnergy.published("adversarial"), None),
        ("adversarial, alternating", CompressiveEnergy.published("adversarial", unrolled=False), None),
        ("groups (20 of 30 coordinates)", CompressiveEnergy("group", eps=1e-4, output_weight=10.0), None),
    ]
    for name, energy, bound in energies:
        yield compare(f"{_STEP}, {name}", "the step without it", Step(64, energy), Step(64, None), bound=bound)
