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
    modules = [model for model in models if isinstance(model, nn.Module)]
    modes = {part: part.training for model in modules for part in model.modules()}
    try:
        for model in modules:
            model.eval()
        yield
    finally:
        for part, mode in modes.items():
            part.training = mode
