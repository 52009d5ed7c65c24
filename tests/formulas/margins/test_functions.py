# SPDX-License-Identifier: MIT
"""Margins that make something of every class: by loops from the papers, in their limits, and in words when wrong."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from hypersphere.formulas.angles import Angle, Cosine, Linear, Sigmoid, SquareCosine
from hypersphere.formulas.margins import (
    MARGINS,
    BatchStatistics,
    Circle,
    CurricularFace,
    GASoftmax,
    SphereFace,
    SphereFaceR,
    as_margin,
)
from hypersphere.formulas.specs import plain_values
from margin_loops import CASES, STATES, arguments, filled, harder, inference, other, title

COSINES = torch.linspace(-1, 1, 201, dtype=torch.float64)
NAMES = ("w_softmax", "ga_softmax", "sphereface_r", "curricularface", "circle")
EVERY = [case for case in CASES if case["name"] in NAMES]


def tensors(case: dict[str, Any]) -> dict[str, Tensor]:
    return {name: torch.tensor(value, dtype=torch.float64) for name, value in STATES.get(case["name"], {}).items()}


@pytest.mark.parametrize("case", EVERY, ids=title)
def test_logits_by_their_formulas(case: dict[str, Any]) -> None:
    margin, p, state = as_margin(arguments(case)), filled(case), STATES.get(case["name"], {})
    theta, own = [math.acos(c) for c in COSINES.tolist()], 0.83
    norms = torch.ones_like(COSINES)
    found = margin.target(COSINES, norms, tensors(case))
    expected = COSINES.new_tensor([harder(p, t, 1.0, state) for t in theta])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-13)
    found = margin.others(COSINES, COSINES.new_tensor(math.cos(own)), tensors(case))
    expected = COSINES.new_tensor([other(p, t, own, state) for t in theta])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-13)
    expected = COSINES.new_tensor([inference(p, t) for t in theta])
    torch.testing.assert_close(margin.inference(COSINES), expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("case", EVERY, ids=title)
def test_slopes(case: dict[str, Any]) -> None:
    if case["name"] == "circle":
        pytest.skip("its weights are constants to autograd; see below")
    margin, state = as_margin(arguments(case)), tensors(case)
    inner = torch.tensor([-0.7, -0.3, 0.1, 0.45, 0.8], dtype=torch.float64, requires_grad=True)
    own = inner.new_tensor(0.6)
    assert torch.autograd.gradcheck(lambda c: margin.target(c, torch.ones_like(c), state), inner)
    assert torch.autograd.gradcheck(lambda c: margin.others(c, own, state), inner)
    ends = torch.tensor([1.0, -1.0], dtype=torch.float64, requires_grad=True)
    for found in (margin.target(ends, torch.ones_like(ends), state), margin.others(ends, own, state)):
        if found.requires_grad:
            assert torch.autograd.grad(found.sum(), ends)[0].isfinite().all()


# ------------------------------------------------------------------------------------------------------------ GASoftmax


def test_generalised_softmax_with_the_cosine_is_sphereface() -> None:
    norms = torch.ones_like(COSINES)
    found = GASoftmax("cosine", 2.7).target(COSINES, norms, {})
    assert torch.equal(found, SphereFace(2.7).target(COSINES, norms, {}))
    assert GASoftmax("cosine").inference(COSINES) is COSINES


def test_the_sigmoid_is_flat_beyond_pi() -> None:
    far = torch.tensor([-1.0], dtype=torch.float64)
    margin = GASoftmax("sigmoid", 10.0, k=0.3)
    bottom = -1 / math.tanh(math.pi / (4 * 0.3))
    assert margin.target(far, far, {}).item() == pytest.approx(bottom)
    assert margin.inference(far).item() == pytest.approx(-1.0)


def test_its_detached_gradient_is_that_of_no_multiplier() -> None:
    margin = GASoftmax("linear", 3.0)
    assert torch.equal(margin.detached(COSINES), margin.inference(COSINES))


@pytest.mark.parametrize(("angle", "name"), [(Linear(), "linear"), (Cosine(), "cosine"), (Sigmoid(), "sigmoid")])
def test_an_angle_function_may_be_an_object(angle: Angle, name: str) -> None:
    assert GASoftmax(angle, 2.0) == GASoftmax(name, 2.0)
    assert GASoftmax(angle).inference(COSINES).equal(angle.value(COSINES))


def test_an_angle_object_brings_its_own_k_and_is_written_down() -> None:
    margin = GASoftmax(Sigmoid(0.5))
    assert margin == GASoftmax("sigmoid", k=0.5)
    written = plain_values(margin, MARGINS)
    assert isinstance(written, dict)
    assert (written["angle_function"], written["k"]) == ("sigmoid", 0.5)
    assert as_margin(written) == margin


# ---------------------------------------------------------------------------------------------------------- SphereFaceR


def test_each_version_touches_one_side() -> None:
    first, second = SphereFaceR(version=1), SphereFaceR(version=2)
    assert (first.changes_others, second.changes_others) == (False, True)
    assert first.others(COSINES, COSINES, {}) is COSINES
    assert second.target(COSINES, COSINES, {}) is COSINES
    # at 180 degrees, the harder negative is at cos(pi / m)
    ends = second.others(COSINES[:1], COSINES[:1], {})
    assert ends.item() == pytest.approx(math.cos(math.pi / 1.5))


def test_normalisation_decides_scale_factor_and_penalty() -> None:
    norm = torch.tensor([10.0, 30.0, 50.0])
    hard, soft, none = (SphereFaceR(normalization=kind) for kind in ("hard", "soft", "none"))
    assert (hard.default_scale, soft.default_scale, none.default_scale) == (30.0, "feature", "feature")
    assert hard.loss_factor(60.0) == pytest.approx(50 / 60)
    assert soft.loss_factor(1.0) == pytest.approx(50 / 30)
    assert none.loss_factor(1.0) == 1.0
    assert SphereFaceR(normalization="none", loss_weight=50.0).loss_factor(1.0) == 50.0
    assert SphereFaceR(loss_weight=3.0).loss_factor(60.0) == pytest.approx(3 / 60)
    assert hard.penalty(norm, 30.0) is None
    assert none.penalty(norm, 1.0) is None
    torch.testing.assert_close(soft.penalty(norm, 1.0), torch.tensor([0.2, 0.0, 0.2]))


# ------------------------------------------------------------------------------------------------------- CurricularFace


def test_hard_negatives_are_those_nearer_than_the_own_class_with_its_margin() -> None:
    margin, own = CurricularFace(), torch.tensor(math.cos(0.9), dtype=torch.float64)
    edge = math.cos(0.9 + 0.5)
    cosine = torch.tensor([edge - 1e-9, edge + 1e-9], dtype=torch.float64)
    found = margin.others(cosine, own, {"running_cosine": torch.tensor(0.4)})
    assert found.tolist() == pytest.approx([edge, edge * (0.4 + edge)], rel=1e-6)


def test_beyond_pi_the_own_angle_is_compared_by_its_cosine() -> None:
    """As published: cos(theta + m) unguarded, so a sample far from its class has fewer hard negatives again."""
    margin, own = CurricularFace(), torch.tensor(math.cos(3.0), dtype=torch.float64)
    cosine = torch.tensor([math.cos(3.5) - 1e-6, math.cos(3.5) + 1e-6], dtype=torch.float64)
    found = margin.others(cosine, own, {"running_cosine": torch.tensor(0.0)})
    assert found.tolist() == pytest.approx([math.cos(3.5), math.cos(3.5) ** 2], rel=1e-5)


def test_the_running_cosine_moves_by_its_momentum() -> None:
    one = torch.ones(())
    state, batch = {"running_cosine": torch.tensor(0.5)}, BatchStatistics(torch.tensor(0.9), one, one)
    assert CurricularFace().initial_state() == {"running_cosine": 0.0}
    assert CurricularFace(momentum=0.25).advance(state, batch)["running_cosine"].item() == pytest.approx(0.6)


# --------------------------------------------------------------------------------------------------------------- Circle


def test_circle_weights_are_constants() -> None:
    cosine = torch.tensor([-0.5, 0.2, 0.9, 1.0], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(Circle(0.25).target(cosine, cosine, {}).sum(), cosine)
    torch.testing.assert_close(slope, 1.25 - cosine.detach())
    (slope,) = torch.autograd.grad(Circle(0.25).others(cosine, cosine, {}).sum(), cosine)
    torch.testing.assert_close(slope, (cosine.detach() + 0.25).clamp_min(0))


# ------------------------------------------------------------------------------------------------------------------ all


@given(
    multiplier=st.floats(1, 10),
    k=st.floats(0.05, 2),
    relaxation=st.floats(0, 1),
    running=st.floats(0, 1),
    angles=st.lists(st.floats(0, math.pi), min_size=2, max_size=12),
)
def test_a_wider_angle_never_has_a_larger_logit(
    multiplier: float, k: float, relaxation: float, running: float, angles: list[float]
) -> None:
    cosine = torch.tensor(sorted(angles), dtype=torch.float64).cos()
    norms = torch.ones_like(cosine)
    kinds = [GASoftmax(name, multiplier, k) for name in ("linear", "cosine", "sigmoid")]
    kinds += [SphereFaceR(version=version, multiplier=multiplier) for version in (1, 2)]
    for margin in [*kinds, Circle(relaxation)]:
        assert (margin.target(cosine, norms, {}).diff() <= 1e-11).all(), margin
        assert (margin.inference(cosine).diff() <= 1e-11).all(), margin
        if not isinstance(margin, Circle):
            assert (margin.others(cosine, norms[0], {}).diff() <= 1e-11).all(), margin
    state = {"running_cosine": torch.tensor(running, dtype=torch.float64)}
    assert (CurricularFace().target(cosine, norms, state).diff() <= 1e-12).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GASoftmax("cosin"), r"GASoftmax: unknown angle_function 'cosin': .*did you mean 'cosine'"),
        (lambda: GASoftmax(multiplier=0.5), r"GASoftmax: multiplier must lie in \[1, 10\], got 0\.5"),
        (lambda: GASoftmax(k=0.0), r"GASoftmax: k must lie in \[0\.001, 1000\] radians, got 0"),
        (
            lambda: GASoftmax(Sigmoid(0.5, learnable=True)),
            r"GASoftmax: a learned k belongs to a layer, .*; got Sigmoid\(k=0\.5, learnable=True\)\. Give it learn",
        ),
        (
            lambda: GASoftmax(SquareCosine()),
            r"GASoftmax: expected an angle function of linear, cosine, sigmoid, got SquareCosine\(\)\.",
        ),
        (lambda: SphereFaceR(version=3), r"SphereFaceR: unknown version '3': choose 1, 2"),
        (lambda: SphereFaceR(version=True), r"SphereFaceR: unknown version 'True': choose 1, 2"),
        (
            lambda: SphereFaceR(normalization="half"),
            r"SphereFaceR: unknown normalization 'half': choose hard, none, soft",
        ),
        (lambda: SphereFaceR(multiplier=0.9), r"SphereFaceR: multiplier must lie in \[1, 10\]"),
        (lambda: SphereFaceR(loss_weight=0.0), r"SphereFaceR: loss_weight must lie in \[1e-06, 1e\+06\], got 0"),
        (lambda: SphereFaceR(norm_weight=-1.0), r"SphereFaceR: norm_weight must lie in \[0, 1e\+06\], got -1"),
        (lambda: SphereFaceR(norm_goal=0.0), r"SphereFaceR: norm_goal must lie in \[1e-06, 1e\+06\], got 0"),
        (lambda: CurricularFace(angle=-0.1), r"CurricularFace: angle must lie in \[0, 3\.14159\] radians"),
        (lambda: CurricularFace(momentum=2.0), r"CurricularFace: momentum must lie in \[0, 1\], got 2"),
        (lambda: CurricularFace(beyond_pi="no"), r"CurricularFace: unknown beyond_pi 'no'"),
        (lambda: Circle(1.5), r"Circle: relaxation must lie in \[0, 1\], got 1\.5"),
    ],
)
def test_wrong_numbers_are_refused_in_words(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
