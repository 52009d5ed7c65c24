# SPDX-License-Identifier: MIT
"""The proposed scale gives what it promises on a simplex of classes; margins that cannot be met are named."""

from __future__ import annotations

import math

import pytest
import torch

from hypersphere.formulas.margins import AdaFace, ArcFace, Circle, CosFace, MagFace, SphereFace, SphereFace2, as_margin
from hypersphere.functional import proposed_scale, unreachable_margin
from hypersphere.functional.margins import margin_logits
from hypersphere.functional.scales import smallest_nearest_cosine

KINDS = [
    "normalized_softmax",
    "sphereface",
    "l_softmax",
    "arcface",
    CosFace(0.35),
    "combined",
    "ga_softmax",
    "sphereface_r",
    "curricularface",
    "circle",
]


def simplex(num_classes: int) -> torch.Tensor:
    """Unit vectors with all cosines -1 / (K-1)."""
    centred = torch.eye(num_classes, dtype=torch.float64) - 1 / num_classes
    return centred / centred.norm(dim=1, keepdim=True)


def test_the_published_number() -> None:
    assert proposed_scale(10572) == pytest.approx(10571 / 10572 * math.log(10571 * 9), rel=1e-12)
    assert round(proposed_scale(10572), 1) == 11.5
    assert proposed_scale(2, probability=0.75) == pytest.approx(math.log(3) / 2, rel=1e-12)


@pytest.mark.parametrize("margin", KINDS, ids=str)
@pytest.mark.parametrize(("num_classes", "probability"), [(3, 0.5), (10, 0.9), (50, 0.999)])
def test_classes_on_a_simplex_have_exactly_that_probability(
    margin: object, num_classes: int, probability: float
) -> None:
    scale = proposed_scale(num_classes, probability=probability, margin=margin)
    weight = simplex(num_classes)
    labels = torch.arange(num_classes)
    kind = as_margin(margin)
    features = weight * scale if kind.default_scale in ("feature", 1.0) else weight
    # the length of the features is the scale where there is no other
    chosen = "default" if kind.default_scale in ("feature", 1.0) else scale
    logits = margin_logits(features, weight, labels, margin=kind, scale=chosen)
    found = logits.softmax(dim=1)[labels, labels]
    torch.testing.assert_close(found, torch.full_like(found, probability), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_no_other_class_vectors_do_better(seed: int) -> None:
    weight = torch.randn(8, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    weight = weight / weight.norm(dim=1, keepdim=True)
    scale = proposed_scale(8, probability=0.8)
    mean = (scale * weight @ weight.T).log_softmax(dim=1).diagonal().mean()
    assert mean.exp() < 0.8


def test_the_hardest_length_counts() -> None:
    assert proposed_scale(100, margin=MagFace()) == proposed_scale(100, margin=ArcFace(0.8))
    # after its start, with running moments of 20 and 100, the longest features have q = 0.333 · 80 / 100
    quality = 0.333 * 80 / 100.001
    angle = math.cos(1e-3)
    expected = proposed_scale(100) * (1 + 1 / 99) / (angle - 0.4 * (1 + quality) + 1 / 99)
    assert proposed_scale(100, margin=AdaFace()) == pytest.approx(expected, rel=1e-9)


# -- margins that cannot be met ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("num_classes", "dim", "largest"),
    [
        (2, None, 2.0),
        (10, None, 10 / 9),
        (10, 9, 10 / 9),
        (10, 64, 10 / 9),
        (10, 2, 1 - math.cos(2 * math.pi / 10)),
        (100, 2, 1 - math.cos(2 * math.pi / 100)),
        (10, 5, 1.0),
        (10, 8, 1.0),
        (1000, 8, 1.0),
        (5, 3, 1.0),
        (6, 3, 1.0),
        (12, 3, 1 - 1 / math.sqrt(5)),
    ],
)
def test_the_largest_margin_of_cosface(num_classes: int, dim: int | None, largest: float) -> None:
    assert smallest_nearest_cosine(num_classes, dim) == pytest.approx(1 - largest, abs=1e-12)
    assert unreachable_margin(num_classes, CosFace(largest - 1e-9), dim=dim) is None
    if largest < 2:
        assert unreachable_margin(num_classes, CosFace(largest + 1e-9), dim=dim) is not None


def test_the_bound_on_the_nearest_class_holds() -> None:
    generator = torch.Generator().manual_seed(0)
    for num_classes, dim in [(5, 3), (7, 3), (24, 3), (4, 2), (9, 2), (9, 4), (30, 6)]:
        for _ in range(50):
            weight = torch.randn(num_classes, dim, generator=generator, dtype=torch.float64)
            weight = weight / weight.norm(dim=1, keepdim=True)
            nearest = (weight @ weight.T - 2 * torch.eye(num_classes)).max()
            assert nearest > smallest_nearest_cosine(num_classes, dim) - 1e-12


def test_an_added_angle_must_stay_below_that_between_classes() -> None:
    between = 2 * math.pi / 10
    assert unreachable_margin(10, ArcFace(between - 1e-6), dim=2) is None
    assert unreachable_margin(10, ArcFace(between + 1e-6), dim=2) is not None


def test_a_multiplied_angle_is_nothing_at_zero() -> None:
    assert unreachable_margin(1000, SphereFace(4), dim=2) is None
    assert unreachable_margin(1000, Circle(), dim=128) is None


def test_binary_margins_count_both_sides() -> None:
    # 1 - m against -1/9 + m
    assert unreachable_margin(10, SphereFace2(margin=0.555, sharpness=1.0)) is None
    assert unreachable_margin(10, SphereFace2(margin=0.556, sharpness=1.0)) is not None


def test_it_says_why() -> None:
    assert unreachable_margin(10, "cosface", dim=2) == (
        "CosFace(cosine=0.35) cannot be met by 10 classes in 2 dimensions: in units of the scale, a feature on the "
        "vector of its own class has 0.65, and the nearest other class 0.809017 at best. Take a smaller margin or more "
        "dimensions."
    )
    assert unreachable_margin(10, CosFace(1.5)).endswith("-0.111111 at best. Take a smaller margin.")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_classes": 1}, r"proposed_scale: num_classes must be a whole number of 2 or more, got 1"),
        (
            {"probability": 0.1},
            r"proposed_scale: probability must lie between 0\.1, what 10 classes .* and 1, got 0\.1",
        ),
        ({"probability": 1.0}, r"proposed_scale: probability must lie between .*, got 1\."),
        ({"probability": float("nan")}, r"proposed_scale: probability must lie between .*, got nan"),
        ({"margin": "sphereface2"}, r"proposed_scale: SphereFace2 has a logistic loss for each class and no softmax"),
        ({"margin": CosFace(1.2)}, r"proposed_scale: CosFace\(cosine=1\.2\) cannot be met by 10 classes: in units"),
        ({"margin": "cosface", "dim": 2}, r"proposed_scale: CosFace\(cosine=0\.35\) cannot be met by 10 classes in 2"),
        ({"margin": "cosfac"}, r"unknown margin 'cosfac'"),
        ({"dim": 1}, r"unreachable_margin: dim must be a whole number of 2 or more, got 1"),
    ],
)
def test_wrong_arguments_are_refused_in_words(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        proposed_scale(**({"num_classes": 10} | options))
