# SPDX-License-Identifier: MIT
"""Regularisers that look at any model from outside: r(model) is a scalar to add to the loss."""

from hypersphere.regularizers.energy import HypersphericalEnergy
from hypersphere.regularizers.layers import NeuronLayer, NeuronLayers, find_neurons
from hypersphere.regularizers.neurons import neurons

__all__ = ["HypersphericalEnergy", "NeuronLayer", "NeuronLayers", "find_neurons", "neurons"]
