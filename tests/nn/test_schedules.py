# SPDX-License-Identifier: MIT
"""Schedules are functions of the step: the published numbers, where they end, and that a resumed one goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import hypersphere
from hypersphere.formulas.margins import ArcFace, CosFace, Margin, SphereFace, SphereFace2
from hypersphere.nn import MarginHead
from hypersphere.nn.schedules import LambdaAnnealing, MarginSchedule, ScaleSchedule, Schedule


def make(margin: object = "sphereface", **options: object) -> MarginHead:
    torch.manual_seed(0)
    return MarginHead(4, 3, margin=margin, **options)


def test_they_have_a_short_name() -> None:
    assert hypersphere.schedules.LambdaAnnealing is LambdaAnnealing


# -- lambda ---------------------------------------------------------------------------------------------------------


def test_lambda_of_the_release_of_sphereface() -> None:
    schedule = LambdaAnnealing(make())
    assert schedule.value(1) == pytest.approx(1000 / 1.12)
    assert schedule.value(100) == pytest.approx(1000 / 13)
    assert schedule.value(1000) == pytest.approx(1000 / 121)
    assert schedule.value(1658) > 5
    assert schedule.value(1659) == schedule.value(28000) == 5


@pytest.mark.parametrize(
    ("gamma", "power", "at_10000", "at_30000"),
    [(2.5e-5, 35, 0.406, 3e-6), (2e-5, 45, 0.273, 7e-7), (1e-5, 45, 13.7, 7e-3)],
    ids=["mnist", "cifar10", "cifar10+"],
)
def test_lambda_of_the_release_of_l_softmax(gamma: float, power: float, at_10000: float, at_30000: float) -> None:
    schedule = LambdaAnnealing(make("l_softmax"), gamma=gamma, power=power, minimum=0)
    assert schedule.value(10_000) == pytest.approx(at_10000, rel=5e-3)
    assert schedule.value(30_000) == pytest.approx(at_30000, rel=0.1)


def test_lambda_reaches_the_loss() -> None:
    head = make()
    schedule = LambdaAnnealing(head, base=3.0, gamma=1.0, minimum=0.25)
    x, y = torch.randn(5, 4), torch.tensor([0, 1, 2, 0, 1])
    plain, hard = head(x), make()
    for expected in (3 / 2, 3 / 3, 3 / 4):
        assert head.annealing.item() == schedule.current == expected
        mixed = (expected * plain + hard.margin_logits(x, y)) / (1 + expected)
        torch.testing.assert_close(head.margin_logits(x, y), mixed)
        schedule.step()
    for _ in range(20):
        schedule.step()
    assert head.annealing.item() == 0.25


def test_steps_may_count_from_another_training() -> None:
    assert LambdaAnnealing(make(), start=99).value(1) == LambdaAnnealing(make()).value(100)


def test_a_step_between_forward_and_the_next_needs_no_new_compilation() -> None:
    torch.compiler.reset()
    head = make()
    schedule = LambdaAnnealing(head)
    compiled = torch.compile(lambda x, y: head(x, y), fullgraph=True, backend="aot_eager")
    x, y = torch.randn(5, 4), torch.tensor([0, 1, 2, 0, 1])
    with torch._dynamo.config.patch(error_on_recompile=True):
        for _ in range(3):
            torch.testing.assert_close(compiled(x, y), head(x, y))
            schedule.step()


# -- a number of the margin, the scale --------------------------------------------------------------------------------


def test_a_margin_moves_in_a_straight_line_to_exactly_its_end() -> None:
    head = make("arcface", scale=64.0)
    schedule = MarginSchedule(head, "angle", first=0.1, last=0.5, steps=3, begin=2)
    seen = []
    for _ in range(8):
        seen.append(head.margin)
        schedule.step()
    expected = [0.1, 0.1, 0.1, 0.1 + 0.4 / 3, 0.1 + 0.8 / 3, 0.5, 0.5, 0.5]
    assert [margin.angle for margin in seen] == pytest.approx(expected, abs=1e-15)
    assert seen[-1] == ArcFace(0.5)


def test_the_growing_multiplier_of_sphereface_r() -> None:
    schedule = MarginSchedule(
        make({"name": "sphereface_r", "normalization": "none"}), "multiplier", first=1, last=1.5, steps=5
    )
    assert [schedule.value(step) for step in range(1, 8)] == pytest.approx([1, 1.1, 1.2, 1.3, 1.4, 1.5, 1.5])
    assert schedule.head.margin.normalization == "none"


def test_a_moved_margin_is_that_margin() -> None:
    head, still = make("cosface"), make(CosFace(0.25))
    MarginSchedule(head, "cosine", first=0.25, last=0.4, steps=10)
    x, y = torch.randn(5, 4), torch.tensor([0, 1, 2, 0, 1])
    assert torch.equal(head(x, y), still(x, y))
    assert head.arguments() == still.arguments()


def test_a_margin_without_a_value_of_its_own_may_move() -> None:
    head = make(SphereFace2("angle"))
    MarginSchedule(head, "margin", first=0.0, last=0.5, steps=2).step()
    assert head.margin.size == 0.25


def test_a_margin_of_ones_own_may_move() -> None:
    # evaluated, as in a module without postponed annotations
    made = dataclass(frozen=True)(type("Own", (Margin,), {"__annotations__": {"shift": float}, "shift": 0.5}))
    head = make(made())
    MarginSchedule(head, "shift", first=0.1, last=0.2, steps=2)
    assert head.margin.shift == 0.1


def test_a_scale_moves_and_reaches_the_loss() -> None:
    head = make("cosface")
    schedule = ScaleSchedule(head, first=16, last=64, steps=3, begin=1)
    x, y = torch.randn(5, 4), torch.tensor([0, 1, 2, 0, 1])
    for scale in (16.0, 16.0, 32.0, 48.0, 64.0, 64.0):
        assert torch.equal(head(x, y), make("cosface", scale=scale)(x, y))
        schedule.step()


# -- all of them ------------------------------------------------------------------------------------------------------

KINDS: dict[str, Callable[[nn.Module], Schedule]] = {
    "lambda": LambdaAnnealing,
    "margin": lambda head: MarginSchedule(head, "multiplier", first=1, last=4, steps=7),
    "scale": lambda head: ScaleSchedule(head, first=1.0, last=10.0, steps=7, begin=2),
}


def seen(head: MarginHead) -> tuple[float, Margin, float | str]:
    return head.annealing.item(), head.margin, head.scale


@pytest.mark.parametrize("kind", KINDS)
def test_a_resumed_schedule_goes_on_exactly(kind: str, tmp_path: Path) -> None:
    head = make(scale=12.0)
    schedule = KINDS[kind](head)
    for _ in range(4):
        schedule.step()
    torch.save(schedule.state_dict(), tmp_path / "schedule.pt")
    other = make(scale=12.0)
    resumed = KINDS[kind](other)
    assert seen(other) != seen(head)
    resumed.load_state_dict(torch.load(tmp_path / "schedule.pt", weights_only=True))
    assert resumed.last_step == 4
    for _ in range(6):
        assert seen(other) == seen(head)
        schedule.step()
        resumed.step()


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("kind", KINDS)
def test_a_wrapped_head_is_found(kind: str) -> None:
    head = make(scale=12.0)
    assert KINDS[kind](torch.compile(head, backend="eager")).head is head
    assert KINDS[kind](nn.parallel.DistributedDataParallel(head)).head is head


@pytest.mark.parametrize("kind", KINDS)
def test_wrong_heads_and_states_are_refused_in_words(kind: str) -> None:
    with pytest.raises(
        TypeError, match=r"(Annealing|Schedule): expected a MarginHead, got Linear\. Pass the head itself"
    ):
        KINDS[kind](nn.Linear(2, 2))
    schedule = KINDS[kind](make(scale=12.0))
    with pytest.raises(ValueError, match=r"load_state_dict: expected the key last_step alone, got \['epoch'\]"):
        schedule.load_state_dict({"epoch": 3})
    with pytest.raises(ValueError, match=r"load_state_dict: last_step must be a whole number of 0 or more, got -1"):
        schedule.load_state_dict({"last_step": -1})
    assert schedule.last_step == 0


@dataclass(frozen=True)
class Fixed(Margin):
    """A margin without a number."""

    def target(self, cosine: Tensor, norm: Tensor, state: Mapping[str, Tensor]) -> Tensor:
        return cosine - 0.1


LINE = {"first": 1.0, "last": 2.0, "steps": 3}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: LambdaAnnealing(make(), base=-1.0), r"LambdaAnnealing: base must lie in \[0, 1e\+09\], got -1"),
        (lambda: LambdaAnnealing(make(), gamma=float("nan")), r"LambdaAnnealing: gamma must lie in .*, got nan"),
        (lambda: LambdaAnnealing(make(), power=-1.0), r"LambdaAnnealing: power must lie in \[0, 1000\], got -1"),
        (lambda: LambdaAnnealing(make(), minimum=-1.0), r"LambdaAnnealing: minimum must lie in"),
        (lambda: LambdaAnnealing(make(), start=-1), r"LambdaAnnealing: start must be a whole number of 0 or more"),
        (
            lambda: MarginSchedule(make(SphereFace()), "multipler", **LINE),
            r"unknown number of SphereFace 'multipler': choose multiplier \(did you mean 'multiplier'\?\)",
        ),
        (lambda: MarginSchedule(make("sub_center_arcface"), "centers", **LINE), r"unknown number of SubCenterArcFace"),
        (lambda: MarginSchedule(make(SphereFace2()), "kind", **LINE), r"unknown number of SphereFace2 'kind'"),
        (lambda: MarginSchedule(make(Fixed()), "x", **LINE), r"MarginSchedule: Fixed has no number that could move"),
        (
            lambda: MarginSchedule(make("arcface"), "angle", first=0.1, last=28.6, steps=3),
            r"ArcFace: angle must lie in \[0, 3\.14159\] radians, got 28\.6",
        ),
        (
            lambda: MarginSchedule(make("arcface"), "angle", first=0.1, last=0.5, steps=0),
            r"MarginSchedule: steps must be a whole number of 1 or more, got 0",
        ),
        (lambda: ScaleSchedule(make(scale=3.0), **LINE, begin=-1), r"ScaleSchedule: begin must be a whole number of 0"),
        (lambda: ScaleSchedule(make(scale=3.0), first=0.0, last=1.0, steps=2), r"ScaleSchedule: scale must lie in"),
        (
            lambda: ScaleSchedule(make(), **LINE),
            r"ScaleSchedule: the scale of this head with SphereFace .* but 'feature'\. Give",
        ),
        (
            lambda: ScaleSchedule(make("cosface", scale="learned"), **LINE),
            r"is no number that could move, but 'learned'",
        ),
        (lambda: ScaleSchedule(make("softmax"), **LINE), r"with Softmax is no number .* but that of inner products"),
    ],
)
def test_wrong_arguments_are_refused_in_words(call: Callable[[], Schedule], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
