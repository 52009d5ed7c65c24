# SPDX-License-Identifier: MIT
"""Pure functions on tensors, without parameters or state: the truth that every faster way is tested against."""

from hypersphere.functional.classification import class_logits, cross_entropy, margin_logits
from hypersphere.functional.compressive import (
    adversarial_projection,
    angle_preserving_projection,
    grouped_energy,
    projected_energy,
    projection_distortion,
)
from hypersphere.functional.energy import hyperspherical_energy, stacked_energy
from hypersphere.functional.geometry import normalize, pairwise_angle, pairwise_cosine
from hypersphere.functional.optima import minimum_energy
from hypersphere.functional.uniform import energy_deviation, expected_energy

__all__ = [
    "adversarial_projection",
    "angle_preserving_projection",
    "class_logits",
    "cross_entropy",
    "energy_deviation",
    "expected_energy",
    "grouped_energy",
    "hyperspherical_energy",
    "margin_logits",
    "minimum_energy",
    "normalize",
    "pairwise_angle",
    "pairwise_cosine",
    "projected_energy",
    "projection_distortion",
    "stacked_energy",
]
