# SPDX-License-Identifier: MIT
"""What a loss tells of a batch, what it keeps of a memory that moves on, and which scales a margin can have."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from hypersphere.formulas.margins import MARGINS, CurricularFace, Margin, Softmax, as_margin
from hypersphere.functional.margins import margin_logits, margin_loss
from hypersphere.functional.targets import checked_scale, known_labels, own_cosines
from hypersphere.kernels import classes
from margin_loops import CASES, angles, arguments, filled, logits, title

LABELS = torch.tensor([0, 1, 3, 2, 4, 4, -100, 1])


def draw(case: dict[str, Any], spread: float = 1.0) -> tuple[Tensor, Tensor]:
    """Features around the vectors of their classes, so that some are right and some satisfied."""
    generator = torch.Generator().manual_seed(5)
    centers = filled(case).get("centers", 1)
    weight = torch.randn(5 * centers, 4, generator=generator, dtype=torch.float64)
    weight = weight * torch.linspace(0.2, 3, len(weight), dtype=torch.float64)[:, None]
    noise = torch.randn(8, 4, generator=generator, dtype=torch.float64)
    return 3 * weight[LABELS.clamp_min(0) * centers] + spread * noise, weight


# ------------------------------------------------------------------------------------------------------------ measures


@pytest.mark.parametrize("impl", ["torch", "chunked"])
@pytest.mark.parametrize("case", CASES, ids=title)
def test_measures_by_brute_force(case: dict[str, Any], impl: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classes, "_CHUNK", {"cpu": 17})
    margin, p = as_margin(arguments(case)), filled(case)
    given: dict[str, Any] = {"margin": margin, "scale": case.get("scale", "default")}
    if case["name"] == "sphereface2":
        given["bias"] = torch.tensor([0.3], dtype=torch.float64)
    seen_both = {True: 0, False: 0}
    for spread in (0.3, 1.5, 6.0):
        features, weight = draw(case, spread)
        with_gradient = features.clone().requires_grad_()
        _, seen = margin_loss(with_gradient, weight, LABELS, impl=impl, with_measures=True, **given)
        assert not any(value.requires_grad for value in seen if value is not None)
        table = margin_logits(features, weight, LABELS, **given).tolist()
        plain = logits(case, features.tolist(), weight.tolist(), None, bias=0.3 * (case["name"] == "sphereface2"))
        for i, label in enumerate(LABELS.tolist()):
            if label < 0:
                continue
            theta = angles(features[i].tolist(), weight.tolist(), p.get("centers", 1))
            others = [j for j in range(5) if j != label]
            assert seen.own[i].item() == pytest.approx(math.cos(theta[label]), abs=1e-12)
            assert seen.nearest[i].item() == pytest.approx(max(math.cos(theta[j]) for j in others), abs=1e-12)
            assert seen.right[i].item() is (plain[i][label] > max(plain[i][j] for j in others))
            own, best = table[i][label], max(table[i][j] for j in others)
            satisfied = own > 0 > best if margin.objective == "binary" else own > best
            assert seen.satisfied[i].item() is satisfied
            seen_both[satisfied] += 1
    assert min(seen_both.values()) > 0


def test_a_tie_is_lost() -> None:
    weight = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    for name in ("softmax", "normalized_softmax", "circle"):
        _, seen = margin_loss(weight[:1], weight, torch.tensor([0]), margin=MARGINS[name], with_measures=True)
        assert (seen.right.item(), seen.own.item(), seen.nearest.item()) == (False, 1.0, 1.0)


@pytest.mark.parametrize("centers", [1, 3])
def test_own_cosines(centers: int) -> None:
    case = {"name": "sub_center_arcface", "centers": centers}
    features, weight = draw(case, 3.0)
    known = known_labels("test", LABELS, 8, 5, -100)
    found = own_cosines(features.float(), weight.requires_grad_(), known, centers)
    assert (found.dtype, found.requires_grad) == (torch.float64, False)
    for i, label in enumerate(known.tolist()):
        theta = angles(features.float()[i].tolist(), weight.tolist(), centers)
        assert found[i].item() == pytest.approx(math.cos(theta[label]) if label >= 0 else 0.0, abs=1e-6)


# ------------------------------------------------------------------------------------------------------ memory, labels


@pytest.mark.parametrize("kept", [0, 2**25])
def test_a_memory_that_has_moved_on_leaves_the_gradient(kept: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The chunked form computes logits again when the head may have seen another batch."""
    monkeypatch.setattr(classes, "_KEPT", kept)
    features, weight = draw({"name": "curricularface"}, 6.0)
    weight.requires_grad_()
    state = {"running_cosine": torch.tensor(0.2, dtype=torch.float64)}
    gradients = []
    for impl in ("torch", "chunked"):
        loss = margin_loss(features, weight, LABELS, margin=CurricularFace(), scale=4.0, state=state, impl=impl)
        state["running_cosine"].add_(0.5)
        gradients.append(torch.autograd.grad(loss, weight)[0])
        state["running_cosine"].sub_(0.5)
    torch.testing.assert_close(*gradients)


def test_labels_that_do_not_count_and_labels_that_nobody_may_read() -> None:
    assert known_labels("test", torch.tensor([2, -7, 0]), 3, 3, -7).tolist() == [2, -1, 0]
    assert known_labels("test", torch.tensor([2, 1, 0]), 3, 3, 1).tolist() == [2, -1, 0]
    with pytest.raises(ValueError, match=r"test: labels must lie in \[0, 2\], .* got -1 at position 1"):
        known_labels("test", torch.tensor([2, -1, 0]), 3, 3, -100)
    # where values are out of reach, one that is no class becomes one that look-ups refuse
    seen: list[Tensor] = []

    def look(x: Tensor, labels: Tensor) -> Tensor:
        seen.append(known_labels("test", labels, 3, 3, -100))
        return x.sum()

    torch.func.grad(look)(torch.zeros(3), torch.tensor([2, -1, -100]))
    assert seen[0].tolist() == [2, 3, -1]


NARROW = (torch.uint8, torch.int8, torch.int16, torch.uint16, torch.uint32, torch.uint64)


@pytest.mark.parametrize("dtype", NARROW)
@pytest.mark.parametrize("num_classes", [200, 300])
def test_labels_of_any_integer_dtype_are_compared_as_int64(dtype: torch.dtype, num_classes: int) -> None:
    """-100 is 156 in uint8, and 300 classes are 44."""
    labels = [0, 45, 120, *([156] if torch.iinfo(dtype).max > 156 else [])]
    given = torch.tensor(labels).to(dtype)
    found = known_labels("test", given, len(labels), num_classes, -100)
    assert (found.tolist(), found.dtype) == (labels, torch.int64)
    with pytest.raises(ValueError, match=r"test: labels must lie in \[0, 119\].*; got 120 at position 2"):
        known_labels("test", given, len(labels), 120, -100)
    weight = torch.randn(num_classes, 4, generator=torch.Generator().manual_seed(0))
    x = weight[: len(labels)]
    expected = margin_loss(x, weight, torch.tensor(labels))
    assert expected > 0
    assert torch.equal(margin_loss(x, weight, given), expected)
    assert torch.equal(margin_logits(x, weight, given), margin_logits(x, weight, torch.tensor(labels)))


# -------------------------------------------------------------------------------------------------------------- scales


def test_scales_that_a_margin_can_have() -> None:
    assert checked_scale("test", "default", MARGINS["arcface"]) == 64.0
    assert checked_scale("test", "default", MARGINS["sphereface"]) == "feature"
    assert checked_scale("test", "default", Softmax()) == 1.0
    assert checked_scale("test", "feature", MARGINS["arcface"]) == "feature"
    found = checked_scale("test", 12, MARGINS["arcface"])
    assert (found, type(found)) == (12.0, float)
    learned = torch.tensor([3.0])
    assert checked_scale("test", learned, MARGINS["sphereface2"]) is learned
    for hidden in (torch.tensor(-3.0, device="meta"), torch.tensor(1e-3).requires_grad_()):
        assert checked_scale("test", hidden, MARGINS["arcface"]) is hidden
    assert torch.func.grad(lambda s: checked_scale("test", s, MARGINS["arcface"]))(torch.tensor(-3.0)) == 1


@pytest.mark.parametrize(
    ("scale", "margin", "message"),
    [
        (2.0, Softmax(), r"test: Softmax has no scale, its logits are inner products .* got 2\.0"),
        ("learned", MARGINS["arcface"], r"test: unknown scale 'learned': choose default, feature"),
        (torch.tensor(0.0), MARGINS["arcface"], r"test: scale must lie in \[1e-38, inf\], got 0"),
        (torch.tensor([-3.0]), MARGINS["arcface"], r"test: scale must lie in \[1e-38, inf\], got -3"),
        (torch.ones(3), MARGINS["arcface"], r"test: expected scale to be one number, got shape \(3,\)\."),
        (math.nan, MARGINS["arcface"], r"test: scale must lie in \[1e-06, 1e\+06\], got nan"),
        (
            "feature",
            MARGINS["sphereface2"],
            r"the loss of SphereFace2 is weighed by its scale, which must be one number",
        ),
    ],
)
def test_scales_that_it_cannot_have(scale: Any, margin: Margin, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        checked_scale("test", scale, margin)


def test_a_scale_that_is_no_number_is_refused() -> None:
    with pytest.raises(TypeError, match=r"test: scale must be a number, got None\."):
        checked_scale("test", None, MARGINS["arcface"])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"annealing": torch.tensor(-1.0)}, r"margin_loss: annealing must lie in \[0, 1e\+09\], got -1"),
        ({"annealing": torch.ones(2)}, r"margin_loss: expected annealing to be one number, got shape \(2,\)\."),
        ({"bias": torch.ones(5)}, r"margin_loss: expected bias to be one number, got shape \(5,\)\."),
        ({"num_samples": -3}, r"margin_loss: num_samples must lie in \[0, inf\], got -3"),
        ({"num_samples": torch.tensor(-3)}, r"margin_loss: num_samples must lie in \[0, inf\], got -3"),
        ({"num_samples": torch.ones(8)}, r"margin_loss: expected num_samples to be one number, got shape \(8,\)\."),
        (
            {"class_weights": torch.tensor([1.0, 1.0, -2.0, 1.0, 1.0])},
            r"margin_loss: expected class_weights \(5,\) of numbers of 0 or more, got \(5,\) with a least of -2\.",
        ),
    ],
)
def test_tensors_out_of_range_are_refused_in_words(options: dict[str, Any], message: str) -> None:
    features, weight = draw({"name": "arcface"})
    with pytest.raises(ValueError, match=message):
        margin_loss(features, weight, LABELS, margin=MARGINS["arcface"], **options)
