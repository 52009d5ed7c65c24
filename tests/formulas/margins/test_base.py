# SPDX-License-Identifier: MIT
"""What a margin is when it says nothing else, and what changes by saying it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from torch import Tensor

from hypersphere.formulas.margins import MARGINS, BatchStatistics, Margin


@dataclass(frozen=True)
class Weighing(Margin):
    """Changes other classes, and multiplies the loss."""

    default_scale: ClassVar[float] = 7.0

    def others(self, cosine: Tensor, own: Tensor, state: Mapping[str, Tensor]) -> Tensor:
        return cosine + own

    def loss_factor(self, scale: float | Tensor) -> float | Tensor:
        return 2 * scale


@dataclass(frozen=True)
class Squashing(Margin):
    """Another function of the angle, for all classes."""

    def inference(self, cosine: Tensor) -> Tensor:
        return cosine.tanh()


def test_by_itself_it_changes_nothing() -> None:
    margin, cosine = Margin(), torch.linspace(-1, 1, 5)
    for found in (
        margin.target(cosine, cosine, {}),
        margin.others(cosine, cosine, {}),
        margin.inference(cosine),
        margin.detached(cosine),
    ):
        assert found is cosine
    assert margin.penalty(cosine, 30.0) is None
    assert (margin.loss_factor(30.0), margin.initial_state(), margin.centers) == (1.0, {}, 1)
    assert (margin.normalized, margin.objective, margin.changes_others, margin.weighs_loss) == (
        True,
        "softmax",
        False,
        False,
    )
    assert margin.length_bounds == (0.0, math.inf)


def test_what_is_written_is_seen() -> None:
    assert (Weighing().changes_others, Weighing().weighs_loss) == (True, True)
    assert (Squashing().changes_others, Squashing().weighs_loss) == (True, False)
    cosine = torch.tensor([0.5])
    # what inference makes of a cosine, it makes of other classes in training
    assert torch.equal(Squashing().others(cosine, cosine, {}), cosine.tanh())


def test_a_memory_stays_unless_it_is_told_how_to_move() -> None:
    state, one = {"kept": torch.tensor(2.0)}, torch.ones(())
    assert Margin().advance(state, BatchStatistics(one, one, one)) == state


def test_which_margins_touch_other_classes_or_weigh_the_loss() -> None:
    touching = {name for name, margin in MARGINS.items() if margin.changes_others}
    assert touching == {"w_softmax", "ga_softmax", "sphereface_r", "sphereface2", "curricularface", "circle"}
    assert {name for name, margin in MARGINS.items() if margin.weighs_loss} == {"sphereface_r", "sphereface2"}
    assert {name for name, margin in MARGINS.items() if not margin.normalized} == {"softmax", "l_softmax"}
    assert {name for name, margin in MARGINS.items() if margin.initial_state()} == {"curricularface", "adaface"}


@pytest.mark.parametrize("name", MARGINS)
def test_a_specification_is_frozen_and_holds_no_tensor(name: str) -> None:
    margin = MARGINS[name]
    with pytest.raises(dataclasses.FrozenInstanceError):
        margin.centers = 7
    assert not any(isinstance(value, Tensor) for value in vars(margin).values())
