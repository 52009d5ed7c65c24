# SPDX-License-Identifier: MIT
"""Evaluation mode for a while: each module gets back the mode it had, whatever happens."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from hypersphere.nn.modes import evaluation_mode


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_what_is_fixed_in_evaluation_is_left_alone() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout()).eval()
    exported = torch.export.export(model, (torch.ones(1, 2),)).module()
    frozen = torch.jit.freeze(torch.jit.script(model))
    with evaluation_mode(exported, frozen):
        for fixed in (exported, frozen):
            torch.testing.assert_close(fixed(torch.ones(1, 2)), model(torch.ones(1, 2)))


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


def test_what_was_changed_meanwhile_is_taken_back() -> None:
    model = nn.Sequential(nn.Dropout(), nn.Dropout()).eval()
    with evaluation_mode(model):
        model[1].train()
    assert not any(module.training for module in model.modules())
