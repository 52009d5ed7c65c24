# SPDX-License-Identifier: MIT
"""Evaluation mode for a while: each module gets back the mode it had, whatever happens."""

from __future__ import annotations

import pytest
from torch import nn

from hypersphere.nn.modes import evaluation_mode


def test_modes_come_back_after_an_error() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout(), nn.Dropout()).train()
    model[2].eval()

    def fail() -> None:
        with evaluation_mode(model, abs):
            assert not any(module.training for module in model.modules())
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert [module.training for module in model.modules()] == [True, True, True, False]
