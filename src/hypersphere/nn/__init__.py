# SPDX-License-Identifier: MIT
"""Modules that behave as those of `torch.nn`: the margin head, and a rotation of neurons."""

from hypersphere.nn.head import MarginHead
from hypersphere.nn.rotation import Rotation

__all__ = ["MarginHead", "Rotation"]
