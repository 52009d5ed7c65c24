# SPDX-License-Identifier: MIT
"""Benchmarks of the performance contract: `python -m benchmarks.run`."""
