# SPDX-License-Identifier: MIT
"""Pure functions on tensors, without parameters or state: the truth that every faster way is tested against."""

from hypersphere.functional.class_sampling import sample_classes
from hypersphere.functional.classification import class_logits, cross_entropy
from hypersphere.functional.compressive import (
    adversarial_projection,
    angle_preserving_projection,
    grouped_energy,
    projected_energy,
    projection_distortion,
)
from hypersphere.functional.decoupled import (
    decoupled_conv1d,
    decoupled_conv2d,
    decoupled_conv3d,
    decoupled_linear,
)
from hypersphere.functional.energy import hyperspherical_energy, stacked_energy
from hypersphere.functional.geometry import normalize, pairwise_angle, pairwise_cosine
from hypersphere.functional.margins import margin_logits, margin_loss
from hypersphere.functional.optima import minimum_energy
from hypersphere.functional.orthogonality import orthogonality, orthonormality, restricted_isometry
from hypersphere.functional.patches import patch_cosines, patch_norms
from hypersphere.functional.rotations import orthogonal_matrix
from hypersphere.functional.sampling import minibatch_energy, sampled_energy
from hypersphere.functional.scales import proposed_scale, unreachable_margin
from hypersphere.functional.uniform import energy_deviation, expected_energy
from hypersphere.functional.uniformity import (
    covering,
    gram_log_determinant,
    polarization,
    resultant,
    separation,
    sharpest_poles,
)

__all__ = [
    "adversarial_projection",
    "angle_preserving_projection",
    "class_logits",
    "covering",
    "cross_entropy",
    "decoupled_conv1d",
    "decoupled_conv2d",
    "decoupled_conv3d",
    "decoupled_linear",
    "energy_deviation",
    "expected_energy",
    "gram_log_determinant",
    "grouped_energy",
    "hyperspherical_energy",
    "margin_logits",
    "margin_loss",
    "minibatch_energy",
    "minimum_energy",
    "normalize",
    "orthogonal_matrix",
    "orthogonality",
    "orthonormality",
    "pairwise_angle",
    "pairwise_cosine",
    "patch_cosines",
    "patch_norms",
    "polarization",
    "projected_energy",
    "projection_distortion",
    "proposed_scale",
    "restricted_isometry",
    "resultant",
    "sample_classes",
    "sampled_energy",
    "separation",
    "sharpest_poles",
    "stacked_energy",
    "unreachable_margin",
]
