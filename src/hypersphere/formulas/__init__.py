# SPDX-License-Identifier: MIT
"""Formulas of the papers, each written once: value, derivative and limits; every room above calls them."""
