# SPDX-License-Identifier: MIT
"""A run that diverges is told apart: which term, which layer, which parameter."""

from __future__ import annotations

import math
import re

import pytest
import torch
from torch import nn

from hypersphere.training.failures import Diverged, explain, first_not_finite, first_spoiled_layer

ADVICE = "Lower optimizer.rate, set training.clip, or lengthen schedule.warmup."


class Grows(nn.Module):
    """Makes anything infinite."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x / 0."""
        return x / 0


@pytest.fixture
def model() -> nn.Sequential:
    return nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Sequential(nn.ReLU(), nn.Linear(2, 1)))


def test_an_energy_is_told_with_its_layer(model: nn.Module) -> None:
    terms = {"objective": 0.5, "energy": math.inf}
    assert explain(model, terms, {"energy": {"0": 1.0, "2.1": math.inf}}, step=7, rate=0.1) == (
        "training diverged at step 7: the energy term of layer '2.1' is inf (all parameters are finite; learning rate "
        f"0.1). {ADVICE}"
    )


def test_an_objective_is_told_with_the_first_layer_that_was_not_finite(model: nn.Module) -> None:
    terms = {"objective": math.nan, "energy": 0.0}
    text = explain(model, terms, {"energy": {"0": 1.0}}, layer="2.1", step=7, rate=0.25)
    assert "the objective term is nan (all parameters are finite, the output of layer '2.1' is the first" in text


@pytest.mark.parametrize("name", ["0.weight", "2.1.bias", "1.running_var"])
def test_a_parameter_that_is_not_finite_is_named(model: nn.Module, name: str) -> None:
    model.state_dict()[name].view(-1)[0] = math.inf
    assert first_not_finite(model) == name
    text = explain(model, {"objective": math.nan}, {}, layer="0", step=7, rate=0.1)
    assert f"the first parameter that is not finite is {name!r}" in text


def test_without_a_term_the_last_step_is_to_blame(model: nn.Module) -> None:
    model.state_dict()["0.weight"].fill_(math.nan)
    assert explain(model, {}, {}, step=3, rate=0.1).startswith(
        "training diverged at step 3: the last step made a weight infinite or not a number (the first parameter"
    )


def test_the_first_spoiled_layer_is_found_and_nothing_of_the_search_remains() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.ReLU(), Grows()), nn.Linear(2, 2))
    assert first_spoiled_layer(model, torch.ones(1, 2)) == "1.1"
    assert first_spoiled_layer(model[:1], torch.ones(1, 2)) is None
    assert all(not layer._forward_hooks for layer in model.modules())


def test_the_search_leaves_no_hooks_when_the_model_fails() -> None:
    model = nn.Sequential(nn.Linear(2, 2))
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        first_spoiled_layer(model, torch.ones(1, 3))
    assert not model[0]._forward_hooks


def test_it_is_an_error_of_its_own() -> None:
    with pytest.raises(Diverged, match=re.escape("at step 3")):
        raise Diverged(explain(nn.Linear(1, 1), {"objective": math.nan}, {}, step=3, rate=0.1))
