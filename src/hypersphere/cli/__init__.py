# SPDX-License-Identifier: MIT
"""The command line: each command is one file, and `program` holds the table of them."""

from hypersphere.cli.program import main

__all__ = ["main"]
