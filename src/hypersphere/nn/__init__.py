# SPDX-License-Identifier: MIT
"""Modules that behave as those of `torch.nn`: the margin head."""

from hypersphere.nn.head import MarginHead

__all__ = ["MarginHead"]
