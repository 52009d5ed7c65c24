# SPDX-License-Identifier: MIT
"""Looking at weights without training anything."""

from hypersphere.analysis.thomson import Configuration, thomson

__all__ = ["Configuration", "thomson"]
