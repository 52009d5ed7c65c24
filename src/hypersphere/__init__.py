# SPDX-License-Identifier: MIT
"""Learning on the hypersphere: angular losses and operators, and the energy of directions, for any PyTorch model."""

__version__ = "0.1.0"

from hypersphere import functional

__all__ = ["__version__", "functional"]
