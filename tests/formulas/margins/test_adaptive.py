# SPDX-License-Identifier: MIT
"""Margins that hang on the length of the feature: by loops from the papers, with the bounds that the papers derive."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from hypersphere.formulas.margins import AdaFace, ArcFace, BatchStatistics, MagFace, Margin, as_margin
from margin_loops import CASES, STATES, arguments, filled, harder, title

COSINES = torch.linspace(-1, 1, 101, dtype=torch.float64)
NORMS = [1e-20, 0.5, 2.0, 5.5, 20.0, 99.0, 1e18]
EVERY = [case for case in CASES if case["name"] in ("magface", "adaface")]
STATE = {"running_mean": torch.tensor(20.0).double(), "running_deviation": torch.tensor(100.0).double()}


def target(margin: Margin, cosine: Tensor, norm: float | Tensor) -> Tensor:
    return margin.target(cosine, torch.as_tensor(norm, dtype=cosine.dtype).expand_as(cosine), STATE)


@pytest.mark.parametrize("case", EVERY, ids=title)
def test_the_own_logit_by_its_formula(case: dict[str, Any]) -> None:
    margin, p = as_margin(arguments(case)), filled(case)
    held = STATES.get(case["name"], {})
    state = {name: torch.tensor(value, dtype=torch.float64) for name, value in held.items()}
    for norm in NORMS:
        found = margin.target(COSINES, torch.full_like(COSINES, norm), state)
        expected = [harder(p, math.acos(c), norm, held) for c in COSINES.tolist()]
        torch.testing.assert_close(found, COSINES.new_tensor(expected), rtol=0, atol=1e-13)


# -------------------------------------------------------------------------------------------------------------- MagFace


def test_magface_between_its_two_angles() -> None:
    margin = MagFace()
    for norm, angle in ((1.0, 0.45), (10.0, 0.45), (60.0, 0.625), (110.0, 0.8), (1e4, 0.8)):
        torch.testing.assert_close(target(margin, COSINES, norm), target(ArcFace(angle), COSINES, norm))


def test_magface_learns_lengths_inside_its_range_only() -> None:
    margin, cosine = MagFace(), torch.tensor([-0.5, 0.0, 0.6], dtype=torch.float64)
    norm = torch.tensor([5.0, 40.0, 200.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda c, n: margin.target(c, n, {}), (cosine.requires_grad_(), norm))
    (of_target,) = torch.autograd.grad(margin.target(cosine, norm, {}).sum(), norm)
    (of_penalty,) = torch.autograd.grad(margin.penalty(norm, 64.0).sum(), norm)
    for slope in (of_target, of_penalty):
        assert (slope != 0).tolist() == [False, True, False]
    # a longer feature has a harder margin, for which the penalty rewards it
    assert of_target[1] < 0
    assert of_penalty[1] < 0


def test_the_bound_of_the_penalty_weight() -> None:
    """From 22.59 on, a longer feature pays at every angle: the sum falls with the length over the whole range."""
    slope = (0.8 - 0.45) / 100
    bound = 64 * slope * (110 * 10) ** 2 / (110**2 - 10**2)
    assert bound == pytest.approx(22.59, abs=5e-3)
    norm = torch.tensor([10.0], dtype=torch.float64, requires_grad=True)
    (of_penalty,) = torch.autograd.grad(MagFace(penalty_weight=bound).penalty(norm, 64.0).sum(), norm)
    # the steepest slope of s cos(theta + m(a)) in a is s times that of m
    assert of_penalty.item() == pytest.approx(-64 * slope)


def test_the_penalty_is_least_at_the_longest() -> None:
    norm = torch.linspace(10, 110, 101, dtype=torch.float64)
    found = MagFace(penalty_weight=1.0).penalty(norm, 64.0)
    assert (found.diff() < 0).all()
    assert found[-1].item() == pytest.approx(2 / 110)


# -------------------------------------------------------------------------------------------------------------- AdaFace


def test_adaface_is_cosface_in_the_middle_and_arcface_backwards_for_long_features() -> None:
    """q = 0: cos(theta) - m; q = -1: cos(theta + m); q = 1: cos(theta - m) - 2m."""
    state = {"running_mean": torch.tensor(20.0).double(), "running_deviation": torch.tensor(1.0).double()}
    margin, cosine = AdaFace(sharpness=1.0), torch.linspace(-0.8, 0.8, 9, dtype=torch.float64)
    theta = cosine.acos()
    for norm, expected in (
        (20.0, cosine - 0.4),
        (1.0, (theta + 0.4).cos()),
        (90.0, (theta - 0.4).clamp_min(1e-3).cos() - 0.8),
    ):
        torch.testing.assert_close(margin.target(cosine, torch.full_like(cosine, norm), state), expected)


def test_adaface_has_no_gradient_of_lengths() -> None:
    norm = torch.full((3,), 25.0, dtype=torch.float64, requires_grad=True)
    cosine = torch.tensor([-0.5, 0.0, 0.6], dtype=torch.float64, requires_grad=True)
    loss = AdaFace().target(cosine, norm, STATE).sum()
    assert torch.autograd.grad(loss, norm, allow_unused=True)[0] is None
    assert torch.autograd.gradcheck(lambda c: AdaFace().target(c, norm.detach(), STATE), cosine)


def test_adaface_moments_move_by_their_momentum() -> None:
    zero = torch.zeros(())
    start = {name: torch.tensor(value) for name, value in AdaFace().initial_state().items()}
    assert AdaFace().initial_state() == {"running_mean": 20.0, "running_deviation": 100.0}
    moved = AdaFace(momentum=0.25).advance(start, BatchStatistics(zero, torch.tensor(24.0), torch.tensor(8.0)))
    assert {name: value.item() for name, value in moved.items()} == {"running_mean": 21.0, "running_deviation": 77.0}
    assert AdaFace().length_bounds == (1e-3, 100.0)


# ------------------------------------------------------------------------------------------------------------------ all


@given(
    norm=st.floats(1e-6, 1e6),
    size=st.floats(0, 1),
    angles=st.lists(st.floats(0, math.pi), min_size=2, max_size=12),
)
def test_a_wider_angle_never_has_a_larger_logit(norm: float, size: float, angles: list[float]) -> None:
    cosine = torch.tensor(sorted(angles), dtype=torch.float64).cos()
    kinds: list[Margin] = [MagFace(smallest_angle=size, largest_angle=2 * size), AdaFace(margin=size, sharpness=30.0)]
    for margin in kinds:
        assert (target(margin, cosine, norm).diff() <= 1e-12).all(), margin


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MagFace(shortest=0.0), r"MagFace: shortest must lie in \[1e-06, 1e\+06\], got 0"),
        (lambda: MagFace(longest=5.0), r"MagFace: longest must be above shortest, got 5 and 10\."),
        (
            lambda: MagFace(largest_angle=0.1),
            r"MagFace: largest_angle must not be below smallest_angle, got 0\.1 and 0\.45",
        ),
        (lambda: MagFace(longest=5.0, largest_angle=0.1), r"(?s)MagFace: 2 problems:.*longest.*largest_angle"),
        (lambda: MagFace(smallest_angle=-1.0), r"MagFace: smallest_angle must lie in \[0, 3\.14159\] radians"),
        (lambda: MagFace(penalty_weight=-1.0), r"MagFace: penalty_weight must lie in \[0, 1e\+06\], got -1"),
        (lambda: MagFace(beyond_pi="easy"), r"MagFace: unknown beyond_pi 'easy'"),
        (lambda: AdaFace(margin=1.5), r"AdaFace: margin must lie in \[0, 1\], got 1\.5"),
        (lambda: AdaFace(sharpness=-1.0), r"AdaFace: sharpness must lie in \[0, 1000\], got -1"),
        (lambda: AdaFace(momentum=1.5), r"AdaFace: momentum must lie in \[0, 1\], got 1\.5"),
    ],
)
def test_wrong_numbers_are_refused_in_words(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
