# SPDX-License-Identifier: MIT
"""Logits and cross-entropy: against loops from the definitions, at the edges of float32, and in words when wrong."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from hypersphere.formulas.margins import Margin, NormalizedSoftmax, Softmax
from hypersphere.functional.classification import class_logits, cross_entropy
from hypersphere.functional.margins import margin_logits

COSINES = NormalizedSoftmax()


@dataclass(frozen=True)
class Shifted(Margin):
    """A margin of this test: the cosine less a constant."""

    shift: float = 0.35
    default_scale: ClassVar[float] = 64.0

    def target(self, cosine: Tensor, norm: Tensor, state: Mapping[str, Tensor]) -> Tensor:
        return cosine - self.shift


def draw(num_samples: int = 6, num_classes: int = 5, dim: int = 4) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(num_samples, dim, generator=generator, dtype=torch.float64) * 3
    weight = torch.randn(num_classes, dim, generator=generator, dtype=torch.float64) * 2
    return features, weight, torch.randint(0, num_classes, (num_samples,), generator=generator)


def cosine(x: Tensor, w: Tensor) -> float:
    return float(x @ w) / math.sqrt(float(x @ x) * float(w @ w))


# --------------------------------------------------------------------------------------------------------------- logits


def test_logits_by_a_loop() -> None:
    features, weight, _ = draw()
    for normalize, factor in (("none", None), ("weight", "norm"), ("both", "one")):
        found = class_logits(features, weight, normalize=normalize)
        for i, x in enumerate(features):
            for j, w in enumerate(weight):
                norm = float(x.norm()) if factor == "norm" else 1.0
                expected = float(x @ w) if factor is None else norm * cosine(x, w)
                assert found[i, j].item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("normalize", ["none", "weight", "both"])
def test_gradients_of_logits(normalize: str) -> None:
    features, weight, _ = draw()
    inputs = (features.requires_grad_(), weight.requires_grad_())
    assert torch.autograd.gradcheck(lambda x, w: class_logits(x, w, normalize=normalize), inputs)
    assert torch.autograd.gradgradcheck(lambda x, w: class_logits(x, w, normalize=normalize), inputs)
    # one of the two may be constant
    assert torch.autograd.gradcheck(lambda w: class_logits(features.detach(), w, normalize=normalize), (weight,))
    assert torch.autograd.gradcheck(lambda x: class_logits(x, weight.detach(), normalize=normalize), (features,))


def test_gradients_of_class_vectors_are_tangential() -> None:
    features, weight, labels = draw()
    weight.requires_grad_()
    cross_entropy(margin_logits(features, weight, labels, margin=COSINES), labels).backward()
    torch.testing.assert_close((weight * weight.grad).sum(1), torch.zeros(5, dtype=torch.float64), atol=1e-12, rtol=0)


def test_lengths_of_class_vectors_are_taken_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    features, weight, _ = draw()
    whole = class_logits(features, weight)
    monkeypatch.setattr("hypersphere.kernels.classes._NORM_CHUNK", 8)
    torch.testing.assert_close(class_logits(features, weight), whole, rtol=0, atol=0)


@pytest.mark.parametrize("weight_norm", [1e-20, 1.0, 1e18])
@pytest.mark.parametrize("feature_norm", [1e-20, 1.0, 1e18])
def test_float32_lengths_neither_underflow_nor_overflow(feature_norm: float, weight_norm: float) -> None:
    features, weight, labels = draw(dim=300)
    unit_features, unit_weight = F.normalize(features), F.normalize(weight)
    x = (unit_features * feature_norm).float().requires_grad_()
    w = (unit_weight * weight_norm).float().requires_grad_()
    logits = margin_logits(x, w, labels, margin=COSINES, scale=16.0)
    torch.testing.assert_close(logits.double(), 16 * unit_features @ unit_weight.T, rtol=1e-5, atol=1e-5)
    cross_entropy(logits, labels).backward()
    reference = [t.clone().requires_grad_() for t in (unit_features, unit_weight)]
    cross_entropy(margin_logits(*reference, labels, margin=COSINES, scale=16.0), labels).backward()
    torch.testing.assert_close(x.grad.double() * feature_norm, reference[0].grad, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(w.grad.double() * weight_norm, reference[1].grad, rtol=1e-4, atol=1e-6)
    # the feature's own length stays: huge logits, but finite values and gradients
    x.grad = w.grad = None
    cross_entropy(margin_logits(x, w, labels, margin=COSINES, scale="feature"), labels).backward()
    assert x.grad.isfinite().all()
    assert w.grad.isfinite().all()


@pytest.mark.parametrize("scale", ["default", "feature"])
def test_zero_vectors(scale: str) -> None:
    x, w = torch.zeros(2, 3, requires_grad=True), torch.eye(3)[:2].clone()
    w[1] = 0
    w.requires_grad_()
    labels = torch.tensor([0, 1])
    logits = margin_logits(x, w, labels, margin=COSINES, scale=scale)
    assert torch.equal(logits, torch.zeros(2, 2))
    cross_entropy(logits, labels).backward()
    assert x.grad.isfinite().all()
    assert torch.equal(w.grad, torch.zeros(2, 3))
    # the length of a zero feature has no direction to shrink in, its logit x · u has
    assert torch.equal(x.grad != 0, torch.tensor([[scale == "feature", False, False]] * 2))


@pytest.mark.parametrize("scale", [7.0, "feature", torch.tensor([7.0], dtype=torch.float64)])
def test_a_margin_changes_the_own_class_only(scale: float | str | Tensor) -> None:
    features, weight, labels = draw()
    inference = margin_logits(features, weight, margin=Shifted(), scale=scale)
    training = margin_logits(features, weight, labels, margin=Shifted(), scale=scale)
    for i, x in enumerate(features):
        factor = float(x.norm()) if isinstance(scale, str) else 7.0
        for j, w in enumerate(weight):
            assert inference[i, j].item() == pytest.approx(factor * cosine(x, w), rel=1e-12)
            expected = factor * (cosine(x, w) - (0.35 if j == labels[i] else 0.0))
            assert training[i, j].item() == pytest.approx(expected, rel=1e-12)
    inputs = (features.requires_grad_(), weight.requires_grad_())
    assert torch.autograd.gradcheck(lambda x, w: margin_logits(x, w, labels, margin=Shifted(), scale=scale), inputs)


def test_the_default_scale_is_the_margins() -> None:
    features, weight, labels = draw()
    for margin, scale in ((COSINES, 30.0), (Shifted(), 64.0)):
        expected = margin_logits(features, weight, labels, margin=margin, scale=scale)
        assert torch.equal(margin_logits(features, weight, labels, margin=margin), expected)
    assert torch.equal(margin_logits(features, weight, labels), features @ weight.T)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("normalize", ["none", "weight", "both"])
def test_low_precision_features_are_read_in_float32(dtype: torch.dtype, normalize: str) -> None:
    features, weight, _ = draw()
    features, weight = features.to(dtype), weight.float()
    expected = class_logits(features.float(), weight, normalize=normalize)
    with torch.autocast("cpu", torch.bfloat16):
        found = class_logits(features, weight, normalize=normalize)
    assert found.dtype == torch.float32
    assert torch.equal(found, expected)


# -------------------------------------------------------------------------------------------------------- cross-entropy


@pytest.mark.parametrize("smoothing", [0.0, 0.01, 0.3, 1.0])
@pytest.mark.parametrize("floor", [0.0, 1e-4, 0.1])
def test_cross_entropy_by_a_loop(smoothing: float, floor: float) -> None:
    logits = draw()[0]
    labels = torch.tensor([0, 1, 2, 3, 3, 3])
    total = 0.0
    for row, label in zip(logits.tolist(), labels.tolist(), strict=True):
        partition = math.fsum(math.exp(z) for z in row)
        for k, z in enumerate(row):
            target = (1 - smoothing) * (k == label) + smoothing / len(row)
            total -= target * math.log(math.exp(z) / partition + floor)
    found = cross_entropy(logits, labels, label_smoothing=smoothing, probability_floor=floor)
    assert found.item() == pytest.approx(total / len(labels), rel=1e-12)


@pytest.mark.parametrize("floor", [0.0, 1e-4])
@pytest.mark.parametrize("smoothing", [0.0, 0.01])
def test_gradients_of_cross_entropy(smoothing: float, floor: float) -> None:
    logits, _, _ = draw()
    labels = torch.tensor([0, 1, 2, 3, 3, 3])
    assert torch.autograd.gradcheck(
        lambda z: cross_entropy(z, labels, label_smoothing=smoothing, probability_floor=floor),
        (logits.requires_grad_(),),
    )


def test_the_floor_bounds_the_loss_and_silences_hopeless_samples() -> None:
    logits = torch.tensor([[0.0, 1e30]], requires_grad=True)
    loss = cross_entropy(logits, torch.tensor([0]), probability_floor=1e-4)
    loss.backward()
    assert loss.item() == pytest.approx(-math.log(1e-4))
    assert torch.equal(logits.grad, torch.zeros(1, 2))


def test_without_a_floor_the_loss_is_torchs() -> None:
    logits, _, _ = draw()
    labels = torch.tensor([0, 1, 2, 3, 3, 3])
    for smoothing in (0.0, 0.1):
        expected = F.cross_entropy(logits, labels, label_smoothing=smoothing)
        assert torch.equal(cross_entropy(logits, labels, label_smoothing=smoothing), expected)
    assert cross_entropy(logits.bfloat16(), labels).dtype == torch.float32


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64, torch.uint32])
@pytest.mark.parametrize("floor", [0.0, 1e-4])
def test_labels_of_any_integer_dtype(dtype: torch.dtype, floor: float) -> None:
    logits, _, _ = draw()
    labels = torch.tensor([0, 1, 2, 3, 3, 3])
    expected = cross_entropy(logits, labels, probability_floor=floor)
    assert torch.equal(cross_entropy(logits, labels.to(dtype), probability_floor=floor), expected)


# -------------------------------------------------------------------------------------------------- in words when wrong


@pytest.mark.parametrize(("label", "position"), [(5, 0), (-1, 3)])
def test_a_label_that_is_no_class_is_named(label: int, position: int) -> None:
    features, weight, labels = draw()
    labels[position] = label
    expected = rf"labels must lie in \[0, 4\], as there are 5 classes; got {label} at position {position}\."
    with pytest.raises(ValueError, match=f"margin_logits: {expected}"):
        margin_logits(features, weight, labels, margin=COSINES)
    with pytest.raises(ValueError, match=f"cross_entropy: {expected}"):
        cross_entropy(features @ weight.T, labels)


def test_wrong_shapes_and_dtypes_are_refused_in_words() -> None:
    features, weight, labels = draw()
    logits = features @ weight.T
    with pytest.raises(ValueError, match=r"weight \(C, D\) of one width D, got \(6, 3\) and \(5, 4\)\."):
        class_logits(features[:, :3], weight)
    with pytest.raises(ValueError, match=r"class_logits: expected features \(N, D\), got shape \(4,\)"):
        class_logits(features[0], weight)
    with pytest.raises(TypeError, match=r"class_logits: expected features of a floating-point dtype, got torch\.int64"):
        class_logits(labels[:, None], weight)
    with pytest.raises(ValueError, match=r"6 samples and labels \(5,\)\."):
        cross_entropy(logits, labels[:5])
    with pytest.raises(ValueError, match=r"6 samples and labels \(6, 1\)\."):
        cross_entropy(logits, labels[:, None])
    with pytest.raises(ValueError, match=r"expected N >= 1 samples and labels \(N,\), got 0 samples"):
        cross_entropy(logits[:0], labels[:0])
    for wrong in (labels.float(), labels.bool()):
        with pytest.raises(TypeError, match=r"cross_entropy: expected labels of an integer dtype, got torch\."):
            cross_entropy(logits, wrong)


def test_wrong_options_are_refused_in_words() -> None:
    features, weight, labels = draw()
    with pytest.raises(ValueError, match=r"class_logits: unknown normalize 'feature': choose both, none, weight"):
        class_logits(features, weight, normalize="feature")
    with pytest.raises(ValueError, match=r"margin_logits: unknown scale 'features': .* \(did you mean 'feature'\?\)"):
        margin_logits(features, weight, margin=COSINES, scale="features")
    with pytest.raises(ValueError, match=r"margin_logits: scale must lie in \[1e-06, 1e\+06\], got 0"):
        margin_logits(features, weight, margin=COSINES, scale=0.0)
    with pytest.raises(ValueError, match="Softmax has no scale, its logits are inner products"):
        margin_logits(features, weight, margin=Softmax(), scale=30.0)
    for option in ("label_smoothing", "probability_floor"):
        with pytest.raises(ValueError, match=rf"cross_entropy: {option} must lie in \[0, 1\], got 2"):
            cross_entropy(features, labels[:6] * 0, **{option: 2.0})
