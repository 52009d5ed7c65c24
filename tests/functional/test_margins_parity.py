# SPDX-License-Identifier: MIT
"""Margin losses against pytorch-metric-learning, an independent implementation: values and all gradients."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from hypersphere.formulas.margins import ArcFace, CosFace, LSoftmax, Margin, NormalizedSoftmax, SphereFace
from hypersphere.functional.margins import margin_logits, margin_loss

theirs = pytest.importorskip("pytorch_metric_learning.losses", reason="pytorch-metric-learning is not installed")
# its binomial coefficients hand tensors to scipy
pytestmark = pytest.mark.filterwarnings("ignore:__array_wrap__ must accept:DeprecationWarning")

N, C, D = 9, 6, 5
# name -> their loss with its arguments, our margin, our scale
PAIRS: dict[str, tuple[str, dict[str, Any], Margin, float | str]] = {
    "cosface": ("CosFaceLoss", {"margin": 0.35, "scale": 64}, CosFace(), 64.0),
    "cosface 0.2": ("CosFaceLoss", {"margin": 0.2, "scale": 8}, CosFace(0.2), 8.0),
    "arcface": ("ArcFaceLoss", {"margin": math.degrees(0.5), "scale": 64}, ArcFace(), 64.0),
    "arcface 0.2": ("ArcFaceLoss", {"margin": math.degrees(0.2), "scale": 8}, ArcFace(0.2), 8.0),
    "arcface guard": ("ArcFaceLoss", {"margin": math.degrees(2.0), "scale": 8}, ArcFace(2.0, "guard"), 8.0),
    "normalized softmax": ("NormalizedSoftmaxLoss", {"temperature": 0.05}, NormalizedSoftmax(), 20.0),
    **{f"sphereface {m}": ("SphereFaceLoss", {"margin": m}, SphereFace(m), "default") for m in (1, 2, 3, 4, 5)},
    **{f"l-softmax {m}": ("LargeMarginSoftmaxLoss", {"margin": m}, LSoftmax(m), "default") for m in (1, 2, 3, 4)},
}


def draw() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(11)
    features = 2 * torch.randn(N, D, generator=generator, dtype=torch.float64)
    weight = 1.5 * torch.randn(C, D, generator=generator, dtype=torch.float64)
    return features, weight, torch.randint(0, C, (N,), generator=generator)


def loss_of(name: str, options: dict[str, Any], weight: Tensor) -> Any:
    """Their loss, with our class vectors as columns of its own parameter."""
    made = getattr(theirs, name)(num_classes=C, embedding_size=D, **options)
    made.W = torch.nn.Parameter(weight.t().clone())
    return made


def with_gradients(loss: Callable[[Tensor], Tensor], features: Tensor, weight: Tensor) -> tuple[Tensor, ...]:
    leaf = features.clone().requires_grad_()
    value = loss(leaf)
    return (value.detach(), *torch.autograd.grad(value, (leaf, weight)))


@pytest.mark.parametrize("impl", ["torch", "chunked"])
@pytest.mark.parametrize("name", PAIRS)
def test_values_and_gradients_are_theirs(name: str, impl: str) -> None:
    """What differs is how it is said:

    - their class vectors are the columns of W (D, C), ours the rows of weight (C, D);
    - their ArcFace takes its margin in degrees, ours in radians; past pi it goes on with cos(theta) - m sin(m), which
      is "guard" here, and the two agree with the default "continue" wherever theta + m <= pi;
    - their normalised softmax divides by a temperature, ours multiplies by a scale, its reciprocal;
    - their scale of SphereFace and of large margin softmax is a further factor, 1 by default, of products that keep
      their lengths; neither has an annealing, as ours has none by default;
    - their reducer takes the mean over samples, as does ours; they have no labels that do not count.
    """
    of_theirs, options, margin, scale = PAIRS[name]
    features, weight, labels = draw()
    if name in ("arcface", "arcface 0.2"):
        # away from their guard, in which "continue" differs from it by design
        angle = torch.nn.functional.cosine_similarity(features, weight[labels]).acos()
        kept = angle < math.pi - margin.angle - 0.01
        features, labels = features[kept], labels[kept]
        assert len(labels) >= 6
    other = loss_of(of_theirs, options, weight)
    expected = with_gradients(lambda x: other(x, labels), features, other.W)
    weight.requires_grad_()
    found = with_gradients(
        lambda x: margin_loss(x, weight, labels, margin=margin, scale=scale, impl=impl), features, weight
    )
    for a, b in zip(found, (*expected[:2], expected[2].t()), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("name", PAIRS)
def test_logits_for_inference_are_theirs(name: str) -> None:
    of_theirs, options, margin, scale = PAIRS[name]
    features, weight, _ = draw()
    expected = loss_of(of_theirs, options, weight).get_logits(features)
    found = margin_logits(features, weight, margin=margin, scale=scale)
    torch.testing.assert_close(found, expected.detach(), rtol=1e-12, atol=1e-12)


def test_where_a_sample_lies_on_its_class_vector_theirs_has_no_gradient() -> None:
    """Their arc cosine of a clamped cosine: infinite times zero. Ours is finite, and the same in value."""
    weight = torch.eye(D, dtype=torch.float64)[:C].repeat(2, 1)[:C].contiguous()
    features, labels = 3 * weight[:2].clone(), torch.tensor([0, 1])
    other = loss_of("ArcFaceLoss", {"margin": math.degrees(0.5)}, weight)
    expected, of_features, _ = with_gradients(lambda x: other(x, labels), features, other.W)
    assert not of_features.isfinite().all()
    weight.requires_grad_()
    found = with_gradients(lambda x: margin_loss(x, weight, labels, margin=ArcFace()), features, weight)
    torch.testing.assert_close(found[0], expected)
    assert all(value.isfinite().all() for value in found)
