# SPDX-License-Identifier: MIT
"""Regularisers that look at any model from outside: r(model) is a scalar to add to the loss."""

from hypersphere.regularizers.compressive import CompressiveEnergy
from hypersphere.regularizers.energy import HypersphericalEnergy
from hypersphere.regularizers.layers import NeuronLayer, NeuronLayers, find_neurons
from hypersphere.regularizers.neurons import neurons
from hypersphere.regularizers.orthogonality import Orthogonality
from hypersphere.regularizers.rotation import RotatedLayers, merge_rotations, orthogonality_error, rotate
from hypersphere.regularizers.uniformity import Uniformity

__all__ = [
    "CompressiveEnergy",
    "HypersphericalEnergy",
    "NeuronLayer",
    "NeuronLayers",
    "Orthogonality",
    "RotatedLayers",
    "Uniformity",
    "find_neurons",
    "merge_rotations",
    "neurons",
    "orthogonality_error",
    "rotate",
]
