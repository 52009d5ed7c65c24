# SPDX-License-Identifier: MIT
"""Margins on the own class alone: by loops from the papers, in their limits and past pi, always falling."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hypersphere.formulas.margins import (
    ArcFace,
    Combined,
    CosFace,
    LSoftmax,
    Margin,
    SphereFace,
    SubCenterArcFace,
    as_margin,
)
from margin_loops import CASES, arguments, filled, harder, title

COSINES = torch.linspace(-1, 1, 201, dtype=torch.float64)
NAMES = ("l_softmax", "sphereface", "cosface", "arcface", "combined", "sub_center_arcface")
OWN = [case for case in CASES if case["name"] in NAMES]


def target(margin: Margin, cosine: torch.Tensor) -> torch.Tensor:
    return margin.target(cosine, torch.ones_like(cosine), {})


@pytest.mark.parametrize("case", OWN, ids=title)
def test_the_own_logit_by_its_formula(case: dict[str, Any]) -> None:
    margin = as_margin(arguments(case))
    expected = [harder(filled(case), math.acos(c), 1.0, {}) for c in COSINES.tolist()]
    torch.testing.assert_close(target(margin, COSINES), COSINES.new_tensor(expected), rtol=0, atol=1e-13)
    assert margin.others(COSINES, COSINES, {}) is COSINES
    assert margin.inference(COSINES) is COSINES


@pytest.mark.parametrize("case", OWN, ids=title)
def test_slopes(case: dict[str, Any]) -> None:
    margin = as_margin(arguments(case))
    inner = torch.tensor([-0.7, -0.3, 0.1, 0.45, 0.8], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda c: target(margin, c), inner)
    ends = torch.tensor([1.0, -1.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.grad(target(margin, ends).sum(), ends)[0].isfinite().all()


def test_published_numbers() -> None:
    assert (LSoftmax().multiplier, SphereFace().multiplier) == (2.0, 4.0)
    assert (CosFace().cosine, ArcFace().angle, ArcFace().beyond_pi) == (0.35, 0.5, "continue")
    assert (Combined().multiplier, Combined().angle, Combined().cosine) == (1.0, 0.3, 0.2)
    assert (SubCenterArcFace().centers, SubCenterArcFace().angle) == (3, 0.5)
    assert SphereFace().default_scale == "feature"
    assert {m.default_scale for m in (CosFace(), ArcFace(), Combined(), SubCenterArcFace())} == {64.0}
    assert (LSoftmax().normalized, LSoftmax().default_scale) == (False, 1.0)


def test_past_pi() -> None:
    """The four behaviours, at the switch and at 180 degrees."""
    margin, switch = 0.5, math.pi - 0.5
    just_before, just_after = math.cos(switch - 1e-9), math.cos(switch + 1e-9)
    cosine = torch.tensor([just_before, just_after, -1.0], dtype=torch.float64)
    guard = target(ArcFace(margin, "guard"), cosine)
    assert guard[0].item() == pytest.approx(-1.0)
    # the known jump of the first releases
    assert (guard[1] - guard[0]).item() == pytest.approx(-0.117, abs=5e-4)
    assert guard[2].item() == pytest.approx(-1 - margin * math.sin(margin))
    assert target(ArcFace(margin, "continue"), cosine).tolist() == pytest.approx([-1, -1, math.cos(margin) - 2])
    assert target(ArcFace(margin, "clamp"), cosine).tolist() == pytest.approx([-1, -1, -1])
    assert target(ArcFace(margin, "cosine"), cosine).tolist() == pytest.approx([-1, -1, -math.cos(margin)])


def test_the_guard_jumps_upwards_for_margins_that_nobody_has() -> None:
    """Its two pieces meet where cos(m) + m sin(m) = 1."""
    for margin, falls in ((2.3311, True), (2.3312, False)):
        switch = math.pi - margin
        cosine = torch.tensor([math.cos(switch - 1e-12), math.cos(switch + 1e-12)], dtype=torch.float64)
        before, after = target(ArcFace(margin, "guard"), cosine)
        assert bool(after < before) is falls


def test_a_clamped_angle_has_no_gradient() -> None:
    cosine = torch.tensor([-0.95, 0.0], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(target(ArcFace(0.5, "clamp"), cosine).sum(), cosine)
    assert slope.tolist() == pytest.approx([0.0, math.cos(0.5)])


@given(
    multiplier=st.floats(1, 10),
    angle=st.floats(0, math.pi),
    subtracted=st.floats(0, 2),
    angles=st.lists(st.floats(0, math.pi), min_size=2, max_size=12),
)
def test_a_wider_angle_never_has_a_larger_logit(
    multiplier: float, angle: float, subtracted: float, angles: list[float]
) -> None:
    cosine = torch.tensor(sorted(angles), dtype=torch.float64).cos()
    kinds: list[Margin] = [ArcFace(angle, "continue"), ArcFace(angle, "clamp"), ArcFace(min(angle, 2.33), "guard")]
    kinds += [
        LSoftmax(multiplier),
        SphereFace(multiplier),
        CosFace(subtracted),
        Combined(multiplier, angle, subtracted),
    ]
    for margin in kinds:
        found = target(margin, cosine)
        assert (found.diff() <= 1e-12).all(), margin
        # and it is never easier than the cosine
        assert (found <= cosine + 1e-9).all(), margin


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LSoftmax(0.5), r"LSoftmax: multiplier must lie in \[1, 10\], got 0\.5"),
        (lambda: SphereFace(11), r"SphereFace: multiplier must lie in \[1, 10\], got 11"),
        (lambda: SphereFace(math.nan), r"SphereFace: multiplier must lie in \[1, 10\], got nan"),
        (lambda: CosFace(-0.1), r"CosFace: cosine must lie in \[0, 2\], got -0\.1"),
        (lambda: ArcFace(28.6), r"ArcFace: angle must lie in \[0, 3\.14159\] radians, got 28\.6"),
        (lambda: ArcFace(0.5, "easy"), r"ArcFace: unknown beyond_pi 'easy': choose clamp, continue, cosine, guard"),
        (lambda: SubCenterArcFace(28.6), r"SubCenterArcFace: angle must lie in \[0, 3\.14159\] radians"),
        (lambda: SubCenterArcFace(centers=0), r"SubCenterArcFace: centers must be a whole number of 1 or more, got 0"),
        (lambda: Combined(0.9), r"Combined: multiplier must lie in \[1, 10\], got 0\.9"),
        (lambda: Combined(angle=4.0), r"Combined: angle must lie in \[0, 3\.14159\] radians, got 4"),
        (lambda: Combined(cosine=2.5), r"Combined: cosine must lie in \[0, 2\], got 2\.5"),
    ],
)
def test_wrong_numbers_are_refused_in_words(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
