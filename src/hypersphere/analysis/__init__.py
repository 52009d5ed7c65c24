# SPDX-License-Identifier: MIT
"""Looking at weights without training anything."""

from hypersphere.analysis.diagnose import Diagnosis, LayerDiagnosis, diagnose
from hypersphere.analysis.pairs import NeuronPair
from hypersphere.analysis.thomson import Configuration, thomson
from hypersphere.analysis.weights import load_weights

__all__ = ["Configuration", "Diagnosis", "LayerDiagnosis", "NeuronPair", "diagnose", "load_weights", "thomson"]
