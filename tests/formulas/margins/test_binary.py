# SPDX-License-Identifier: MIT
"""SphereFace2: by loops from the paper, and the bias from which its training starts."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hypersphere.formulas.margins import SphereFace2, as_margin
from margin_loops import CASES, arguments, filled, harder, inference, other, title

COSINES = torch.linspace(-1, 1, 201, dtype=torch.float64)
KINDS = ("cosine", "angle", "multiplier")
EVERY = [case for case in CASES if case["name"] == "sphereface2"]


@pytest.mark.parametrize("case", EVERY, ids=title)
def test_logits_by_their_formulas(case: dict[str, Any]) -> None:
    margin, p = as_margin(arguments(case)), filled(case)
    theta = [math.acos(c) for c in COSINES.tolist()]
    for found, expected in (
        (margin.target(COSINES, COSINES, {}), [harder(p, t, 1.0, {}) for t in theta]),
        (margin.others(COSINES, COSINES, {}), [other(p, t, 0.0, {}) for t in theta]),
        (margin.inference(COSINES), [inference(p, t) for t in theta]),
    ):
        torch.testing.assert_close(found, COSINES.new_tensor(expected), rtol=0, atol=1e-13)


@pytest.mark.parametrize("case", EVERY, ids=title)
def test_slopes(case: dict[str, Any]) -> None:
    margin = as_margin(arguments(case))
    inner = torch.tensor([-0.7, -0.3, 0.1, 0.45, 0.8], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda c: margin.target(c, c, {}), inner)
    assert torch.autograd.gradcheck(lambda c: margin.others(c, c, {}), inner)
    ends = torch.tensor([1.0, -1.0, 1 + 1e-7, -1 - 1e-7], dtype=torch.float64, requires_grad=True)
    for found in (margin.target(ends, ends, {}), margin.others(ends, ends, {})):
        assert torch.autograd.grad(found.sum(), ends)[0].isfinite().all()


def test_released_numbers() -> None:
    assert {kind: SphereFace2(kind).size for kind in KINDS} == {"cosine": 0.4, "angle": 0.5, "multiplier": 1.7}
    margin = SphereFace2()
    assert (margin.balance, margin.sharpness, margin.default_scale, margin.objective) == (0.7, 3.0, 40.0, "binary")
    assert margin.loss_factor(40.0) == pytest.approx(50 / 40)


# ------------------------------------------------------------------------------------------------------- the first bias


@pytest.mark.parametrize(("num_classes", "bias"), [(1000, 7.943), (8631, 5.785), (10572, 5.582), (85742, 3.488)])
def test_published_first_biases(num_classes: int, bias: float) -> None:
    assert SphereFace2().first_bias(num_classes, 40.0) == pytest.approx(bias, abs=5e-4)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("num_classes", [2, 3, 7, 1000, 85742])
@pytest.mark.parametrize("scale", [1.0, 40.0, 64.0, 256.0])
def test_the_first_bias_is_where_the_loss_of_right_angles_is_least(kind: str, num_classes: int, scale: float) -> None:
    margin = SphereFace2(kind)
    p = filled({"name": "sphereface2", "kind": kind, "margin": margin.size})
    own, away = (scale * f for f in (harder(p, math.pi / 2, 1.0, {}), other(p, math.pi / 2, 0.0, {})))
    bias = margin.first_bias(num_classes, scale)

    def logarithm_of_ratio(b: float) -> float:
        """Of the two parts of the derivative, balance · sigmoid(-z_y) and (1 - balance) (K-1) sigmoid(z_j)."""
        down = math.log(0.7) - softplus(own + b)
        up = math.log(0.3) + math.log(num_classes - 1) - softplus(-away - b)
        return up - down

    # zero exactly there, and rising
    assert logarithm_of_ratio(bias) == pytest.approx(0.0, abs=1e-9)
    assert logarithm_of_ratio(bias - 1e-3) < 0 < logarithm_of_ratio(bias + 1e-3)


def softplus(z: float) -> float:
    return max(z, 0.0) + math.log1p(math.exp(-abs(z)))


def test_where_no_bias_is_best() -> None:
    assert SphereFace2().first_bias(1, 40.0) == 0.0
    assert SphereFace2(balance=0.0).first_bias(10, 40.0) == SphereFace2(balance=1.0).first_bias(10, 40.0) == 0.0
    for balance in (1e-12, 1 - 1e-12):
        assert math.isfinite(SphereFace2(balance=balance).first_bias(10, 1e3))


# ------------------------------------------------------------------------------------------------------------------ all


@given(
    share=st.floats(0, 1),
    sharpness=st.floats(1, 20),
    angles=st.lists(st.floats(0, math.pi), min_size=2, max_size=12),
)
def test_a_wider_angle_never_has_a_larger_logit(share: float, sharpness: float, angles: list[float]) -> None:
    cosine = torch.tensor(sorted(angles), dtype=torch.float64).cos()
    sizes = {"cosine": 2 * share, "angle": math.pi * share, "multiplier": 1 + 9 * share}
    for kind, size in sizes.items():
        margin = SphereFace2(kind, size, sharpness=sharpness)
        for found in (margin.target(cosine, cosine, {}), margin.others(cosine, cosine, {}), margin.inference(cosine)):
            assert (found.diff() <= 1e-12).all(), margin


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SphereFace2("angel"), r"SphereFace2: unknown kind 'angel': .*did you mean 'angle'"),
        (lambda: SphereFace2("cosine", 2.5), r"SphereFace2: margin must lie in \[0, 2\], got 2\.5"),
        (lambda: SphereFace2("angle", 4.0), r"SphereFace2: margin must lie in \[0, 3\.14159\], got 4"),
        (lambda: SphereFace2("multiplier", 0.5), r"SphereFace2: margin must lie in \[1, 10\], got 0\.5"),
        (lambda: SphereFace2(balance=1.1), r"SphereFace2: balance must lie in \[0, 1\], got 1\.1"),
        (lambda: SphereFace2(sharpness=0.5), r"SphereFace2: sharpness must lie in \[1, 100\], got 0\.5"),
        (lambda: SphereFace2(loss_weight=0.0), r"SphereFace2: loss_weight must lie in \[1e-06, 1e\+06\], got 0"),
    ],
)
def test_wrong_numbers_are_refused_in_words(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
