# SPDX-License-Identifier: MIT
"""From a config to a trained run folder: the loop, its optimiser and schedule, checkpoints and metrics."""
