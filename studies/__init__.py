# SPDX-License-Identifier: MIT
"""Studies: many runs of one question, each a command that anyone can repeat, with their results beside them."""
