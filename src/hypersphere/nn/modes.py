# SPDX-License-Identifier: MIT
"""Looking at a model without leaving a trace: its modes of training and evaluation, module by module."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from torch import nn

__all__ = ["evaluation_mode"]


@contextlib.contextmanager
def evaluation_mode(*models: object) -> Iterator[None]:
    """Every module in evaluation mode, and afterwards each in the mode that it had; what is no module has none."""
    modules = [part for model in models if isinstance(model, nn.Module) for part in model.modules()]
    # frozen ones have no mode
    modes = [(part, part.training) for part in modules if hasattr(part, "training")]
    try:
        for part, mode in modes:
            # not `eval()`, which exported programs refuse and whose other effects nobody would take back
            if mode:
                part.training = False
        yield
    finally:
        for part, mode in modes:
            if part.training != mode:
                part.training = mode
