# SPDX-License-Identifier: MIT
"""Faster ways to compute what `functional` defines: same signature, same result, no autograd graph."""
