# SPDX-License-Identifier: MIT
"""What to install when something that reads data is missing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

__all__ = ["needed_for"]


@contextlib.contextmanager
def needed_for(purpose: str) -> Iterator[None]:
    """Turns a missing package inside the block into an ImportError that says what to install.

    Example:
        >>> with needed_for("reading tapes"):
        ...     import tape_reader
        Traceback (most recent call last):
        ImportError: reading tapes needs the package tape_reader: pip install "hypersphere[train]"
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise ImportError(f'{purpose} needs the package {error.name}: pip install "hypersphere[train]"') from error
