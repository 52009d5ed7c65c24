# SPDX-License-Identifier: MIT
"""The course of the learning rate: published milestones, units, warm-up, and a shape that survives compression."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypersphere.config import ScheduleConfig
from hypersphere.training.schedules import rate_factor
from hypersphere.training.settings import make_config


def factors(config: ScheduleConfig, total_steps: int, steps_per_epoch: float = 10.0) -> list[float]:
    return [
        rate_factor(config, step, total_steps=total_steps, steps_per_epoch=steps_per_epoch)
        for step in range(total_steps)
    ]


def test_the_published_schedule_drops_at_the_published_steps() -> None:
    schedule = make_config("cifar100-cnn9").schedule
    found = factors(schedule, 42_500, 390)
    drops = [step for step in range(1, 42_500) if found[step] != found[step - 1]]
    assert drops == [20_000, 30_000, 37_500]
    assert [found[0], *(found[step] for step in drops)] == pytest.approx([1, 0.1, 0.01, 0.001])


@pytest.mark.parametrize(("unit", "milestones"), [("steps", [20.0, 40.0]), ("epochs", [2.0, 4.0]), ("run", [0.4, 0.8])])
def test_one_schedule_in_three_units(unit: str, milestones: list[float]) -> None:
    config = ScheduleConfig(name="steps", unit=unit, milestones=milestones, factor=0.5)
    assert factors(config, 50) == [1.0] * 20 + [0.5] * 20 + [0.25] * 10


@pytest.mark.parametrize("name", ["steps", "cosine"])
def test_a_compressed_run_keeps_the_shape(name: str) -> None:
    milestones = [0.25, 0.75] if name == "steps" else []
    config = ScheduleConfig(name=name, milestones=milestones, warmup=0.1)
    long, short = factors(config, 1000), factors(config, 100)
    assert short[::10] == pytest.approx(long[::100], abs=0.1)
    assert factors(config, 100)[25:75:25] == pytest.approx(factors(config, 1000)[250:750:250], abs=1e-12)


def test_warm_up_rises_in_even_steps_to_the_full_rate() -> None:
    config = ScheduleConfig(name="constant", unit="steps", warmup=4)
    assert factors(config, 6) == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]


def test_cosine_goes_from_one_through_the_middle_to_its_end() -> None:
    config = ScheduleConfig(name="cosine", unit="steps", warmup=10, final=0.2)
    found = factors(config, 110)
    assert found[9:11] == [1.0, 1.0]
    assert found[60] == pytest.approx(0.6)
    # the last step lies one step before the end of the wave
    assert found[-1] == pytest.approx(0.2 + 0.8 * (1 + math.cos(math.pi * 0.99)) / 2)
    assert all(after <= before for before, after in itertools.pairwise(found[10:]))


@given(
    name=st.sampled_from(["constant", "steps", "cosine"]),
    unit=st.sampled_from(["run", "epochs", "steps"]),
    warmup=st.floats(0, 1),
    milestone=st.floats(0, 1),
    final=st.floats(0, 1),
    total=st.integers(1, 200),
)
def test_a_factor_lies_between_0_and_1(
    name: str, unit: str, warmup: float, milestone: float, final: float, total: int
) -> None:
    config = ScheduleConfig(name=name, unit=unit, warmup=warmup, milestones=[milestone], final=final)
    assert all(0 < factor <= 1 or (name == "cosine" and factor >= 0) for factor in factors(config, total))
