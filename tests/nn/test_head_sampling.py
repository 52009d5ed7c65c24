# SPDX-License-Identifier: MIT
"""A head that meets a sample of the classes: the loss over these alone, and everything that belongs to them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from hypersphere.formulas.margins import SphereFace2
from hypersphere.functional.class_sampling import sample_classes
from hypersphere.functional.margins import margin_loss
from hypersphere.nn import MarginHead

NUM_CLASSES = 30
KINDS: list[dict[str, Any]] = [
    {"margin": "softmax"},
    {"margin": "cosface", "label_smoothing": 0.1},
    {"margin": "sphereface", "probability_floor": 1e-3},
    {"margin": "sub_center_arcface", "scale": "learned"},
    {"margin": "sphereface2"},
    {"margin": "curricularface"},
    {"margin": "adaface", "gradient": "detached"},
    {"margin": "arcface", "energy": {"weight": 0.5, "power": 1.0}},
]


def make(**options: Any) -> tuple[MarginHead, Tensor, Tensor]:
    torch.manual_seed(0)
    weights = torch.rand(NUM_CLASSES) + 0.5
    head = MarginHead(6, NUM_CLASSES, class_weights=weights, **({"sample_rate": 0.4} | options))
    return head, torch.randn(8, 6), torch.tensor([3, 3, 28, -100, 0, 17, 5, 9])


@pytest.mark.parametrize("options", KINDS, ids=lambda options: options["margin"])
def test_the_loss_is_that_over_the_sampled_classes_alone(options: dict[str, Any]) -> None:
    head, x, y = make(**options)
    torch.manual_seed(7)
    index, places = sample_classes(y, NUM_CLASSES, 0.4)
    rows = (index[:, None] * head.margin.centers + torch.arange(head.margin.centers)).flatten()
    torch.manual_seed(7)
    loss, measures = head.loss_and_measures(x, y)
    assert head.sampled.nonzero()[:, 0].tolist() == index.tolist()
    expected = margin_loss(
        x,
        head.weight[rows],
        places,
        margin=head.margin,
        scale=head.scale if head.log_scale is None else head.log_scale.exp(),
        gradient=head.gradient,
        state={name: head.get_buffer(name) for name in head.margin.initial_state()},
        bias=head.bias,
        class_weights=head.class_weights[index],
        label_smoothing=head.label_smoothing,
        probability_floor=head.probability_floor,
    )
    if head.energy is not None:
        expected = expected + 0.5 * head.energy.value(head.weight[rows], places)
    torch.testing.assert_close(loss, expected)
    grads = torch.autograd.grad(loss, head.weight)[0]
    torch.testing.assert_close(grads, torch.autograd.grad(expected, head.weight)[0])
    assert not grads[~head.sampled.repeat_interleave(head.margin.centers)].any()
    known = y >= 0
    torch.testing.assert_close(measures.own[known], head.measures(x, y).own[known])


@pytest.mark.parametrize("margin", ["curricularface", "adaface"])
def test_what_a_margin_remembers_hangs_on_no_sample(margin: str) -> None:
    head, x, y = make(margin=margin)
    whole = make(margin=margin, sample_rate=1.0)[0]
    for _ in range(3):
        head(x, y)
        whole(x, y)
    for name in head.margin.initial_state():
        torch.testing.assert_close(head.get_buffer(name), whole.get_buffer(name))
        assert head.get_buffer(name) != head.margin.initial_state()[name]


def test_every_loss_meets_other_classes_and_repeats_with_the_generator() -> None:
    head, x, y = make(margin="cosface")
    state = torch.get_rng_state()
    first, second = head(x, y), head(x, y)
    assert first != second
    torch.set_rng_state(state)
    assert torch.equal(head(x, y), first)
    assert torch.equal(head(x, y), second)


def test_a_batch_without_a_class_has_no_loss() -> None:
    head, x, _ = make(margin="cosface")
    loss = head(x, torch.full((8,), -100))
    loss.backward()
    assert loss == 0
    assert not head.weight.grad.any()


def test_the_shared_bias_starts_for_the_classes_that_a_loss_meets() -> None:
    head = make(margin="sphereface2")[0]
    assert head.bias.item() == pytest.approx(SphereFace2().first_bias(12, 40.0))


def test_it_is_written_down() -> None:
    head = make(margin="cosface")[0]
    assert head.arguments()["sample_rate"] == 0.4
    assert MarginHead(**head.arguments()).sample_rate == 0.4
    assert repr(head).endswith("sample_rate=0.4)")
    assert "sample_rate" not in repr(make(margin="cosface", sample_rate=1.0)[0])
    assert head.state_dict().keys() == make(margin="cosface", sample_rate=1.0)[0].state_dict().keys()


@pytest.mark.parametrize(
    ("rate", "message"),
    [
        (0.0, r"MarginHead: sample_rate must lie in \(0, 1\], got 0\."),
        (1.1, r"MarginHead: sample_rate must lie in \(0, 1\], got 1\.1\."),
        (float("nan"), r"MarginHead: sample_rate must lie in \(0, 1\], got nan\."),
        (0.05, r"MarginHead: sample_rate 0\.05 of 30 classes are fewer than 2\. Raise it to 0\.0666667 or more\."),
    ],
)
def test_wrong_rates_are_refused_in_words(rate: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(sample_rate=rate)
