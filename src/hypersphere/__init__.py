# SPDX-License-Identifier: MIT
"""Learning on the hypersphere: angular losses and operators, and the energy of directions, for any PyTorch model."""

__version__ = "0.1.0"

from hypersphere import functional, models, nn, regularizers
from hypersphere.analysis import thomson
from hypersphere.formulas import margins

__all__ = ["__version__", "functional", "margins", "models", "nn", "regularizers", "thomson"]
