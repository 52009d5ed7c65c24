# SPDX-License-Identifier: MIT
"""Margin losses where numbers end: parallels, nothing, duplicates, tiny and huge vectors, low precision."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

from hypersphere.formulas.margins import MARGINS, Margin, as_margin
from hypersphere.functional.margins import margin_logits, margin_loss
from margin_loops import CASES, arguments, title

KINDS = (
    "zero",
    "same",
    "opposite",
    "duplicates",
    "tiny x",
    "huge x",
    "tiny w",
    "huge w",
    "tiny",
    "huge",
    "largest half",
)
LABELS = torch.tensor([0, 1, 2, 3, 4, 4])


def hard(kind: str, dtype: torch.dtype, margin: Margin) -> tuple[Tensor, Tensor]:
    """Features in a dtype and class vectors in float32."""
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(5 * margin.centers, 8, generator=generator)
    x = torch.randn(6, 8, generator=generator)
    if kind == "zero":
        x[:3] = 0
        weight[1:3] = 0
    elif kind in ("same", "opposite"):
        x = weight[LABELS * margin.centers] * (3 if kind == "same" else -1)
    elif kind == "duplicates":
        weight[:], x[:] = weight[0], weight[0]
    elif kind == "largest half":
        x = x.sign() * 6e4
    size = 1e-20 if kind.startswith("tiny") else 1e18
    if kind in ("tiny x", "huge x", "tiny", "huge"):
        x = x / x.norm(dim=1, keepdim=True) * size
    if kind in ("tiny w", "huge w", "tiny", "huge"):
        weight = weight / weight.norm(dim=1, keepdim=True) * size
    return x.to(dtype).requires_grad_(), weight.requires_grad_()


def scales(margin: Margin) -> list[Any]:
    if not margin.normalized:
        return ["default"]
    one = [margin.default_scale] if isinstance(margin.default_scale, float) else []
    if margin.weighs_loss:
        return [*one, 1e3] if one else ["feature"]
    return [*one, "feature", 1e3]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", MARGINS)
def test_finite_value_gradient_and_measures(name: str, kind: str) -> None:
    margin = MARGINS[name]
    runs = list(itertools.product([torch.float32], scales(margin), ("exact", "detached"), ("torch", "chunked")))
    runs = [run for run in runs if run[2:] != ("detached", "torch")]
    runs += [
        (torch.bfloat16, scales(margin)[0], "exact", "torch"),
        (torch.float16, scales(margin)[-1], "exact", "torch"),
    ]
    for dtype, scale, gradient, impl in runs:
        if dtype != torch.float16 or "huge" not in kind:
            x, w = hard(kind, dtype, margin)
            given = {"margin": margin, "scale": scale, "gradient": gradient}
            loss, seen = margin_loss(x, w, LABELS, impl=impl, with_measures=True, **given)
            found = torch.autograd.grad(loss, (x, w))
            assert loss.dtype == torch.float32
            assert [gradient.dtype for gradient in found] == [dtype, torch.float32]
            for value in (loss, *found, seen.own, seen.nearest):
                assert value.isfinite().all(), (dtype, scale, gradient, impl)
            assert (seen.own.abs() <= 1).all()
            assert (seen.nearest.abs() <= 1).all()
    x, w = hard(kind, torch.float32, margin)
    table = margin_logits(x, w, LABELS, margin=margin)
    assert table.isfinite().all()
    assert all(gradient.isfinite().all() for gradient in torch.autograd.grad(table.sum(), (x, w)))


@pytest.mark.parametrize("case", CASES, ids=title)
def test_lengths_that_are_divided_out_may_be_any(case: dict[str, Any]) -> None:
    """Values and gradients (times the length) at 1e-20 and 1e+18 are those at 1, to float32."""
    margin = as_margin(arguments(case))
    if not margin.normalized or isinstance(margin.default_scale, str) or case["name"] in ("magface", "adaface"):
        pytest.skip("its logits or its margin hang on lengths")
    x, w = (t.detach() for t in hard("none", torch.float32, margin))
    x, w = x / x.norm(dim=1, keepdim=True), w / w.norm(dim=1, keepdim=True)
    results = []
    for of_x, of_w in ((1.0, 1.0), (1e-20, 1e18), (1e18, 1e-20)):
        inputs = ((x * of_x).requires_grad_(), (w * of_w).requires_grad_())
        loss = margin_loss(*inputs, LABELS, margin=margin, scale=8.0)
        gradients = torch.autograd.grad(loss, inputs)
        results.append((loss, gradients[0] * of_x, gradients[1] * of_w))
    for found in results[1:]:
        for a, b in zip(found, results[0], strict=True):
            torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4 * results[0][0].item())


@pytest.mark.parametrize("impl", ["torch", "chunked"])
@pytest.mark.parametrize("gradient", ["exact", "detached"])
@pytest.mark.parametrize("of_w", [1e-20, 1.0, "both"])
def test_long_features_with_short_class_vectors(of_w: float | str, gradient: str, impl: str) -> None:
    """Where the length of a feature counts, its gradient is that in float64: 50 times cosines here, to float32."""
    x, w = (t.detach() for t in hard("huge x", torch.float32, MARGINS["sphereface_r"]))
    w = w / w.norm(dim=1, keepdim=True)
    w = w * (torch.tensor([[1e-20], [1e18], [1.0], [1e-20], [1e18]]) if of_w == "both" else of_w)
    margin = as_margin({"name": "sphereface_r", "normalization": "none", "loss_weight": 50.0})
    found, expected = (
        torch.autograd.grad(margin_loss(a, b, LABELS, margin=margin, gradient=gradient, impl=way), a)[0]
        for a, b, way in ((x.clone().requires_grad_(), w, impl), (x.double().requires_grad_(), w.double(), "torch"))
    )
    assert 1 < expected.abs().max() < 50
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", MARGINS)
def test_low_precision_is_widened_before_anything_else(name: str, dtype: torch.dtype) -> None:
    margin = MARGINS[name]
    x, w = hard("none", dtype, margin)
    loss = margin_loss(x, w, LABELS, margin=margin)
    (of_x,) = torch.autograd.grad(loss, x)
    wide = x.detach().float().requires_grad_()
    expected = margin_loss(wide, w, LABELS, margin=margin)
    assert torch.equal(loss, expected)
    assert torch.equal(of_x, torch.autograd.grad(expected, wide)[0].to(dtype))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(margin_loss(x, w, LABELS, margin=margin), expected)
        assert torch.equal(margin_logits(x, w, LABELS, margin=margin), margin_logits(wide, w, LABELS, margin=margin))


@pytest.mark.parametrize("name", MARGINS)
def test_float64_in_one_input_is_float64_in_the_loss(name: str) -> None:
    margin = MARGINS[name]
    x, w = (t.detach() for t in hard("none", torch.float32, margin))
    bias = torch.zeros(1, requires_grad=True) if margin.objective == "binary" else None
    scale = torch.tensor([6.0], requires_grad=True) if scales(margin)[0] != "default" else "default"
    if margin.weighs_loss and isinstance(margin.default_scale, str):
        scale = "default"
    expected = margin_loss(x.double(), w.double(), LABELS, margin=margin, scale=scale, bias=bias)
    for impl in ("torch", "chunked"):
        for inputs in ((x.double(), w), (x, w.double())):
            inputs = tuple(t.clone().requires_grad_() for t in inputs)
            found = margin_loss(
                *inputs, LABELS, margin=margin, scale=scale, bias=bias, annealing=torch.zeros(()), impl=impl
            )
            assert found.dtype == torch.float64
            torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
            gradients = torch.autograd.grad(found, inputs)
            assert [gradient.dtype for gradient in gradients] == [t.dtype for t in inputs]


def test_a_floor_bounds_the_loss_of_the_worst_samples() -> None:
    x, w = hard("opposite", torch.float32, MARGINS["arcface"])
    loss = margin_loss(x, w, LABELS, margin=MARGINS["arcface"], scale=1e3, probability_floor=1e-4)
    assert loss.item() == pytest.approx(9.2103, abs=1e-4)
    assert all(gradient.isfinite().all() for gradient in torch.autograd.grad(loss, (x, w)))


@pytest.mark.parametrize("name", MARGINS)
def test_shapes_without_values_and_batches_without_samples(name: str) -> None:
    margin = MARGINS[name]
    x, w = hard("none", torch.float32, margin)
    assert margin_logits(x[:0], w, margin=margin).shape == (0, 5)
    there = margin_logits(x.to("meta"), w.to("meta"), LABELS.to("meta"), margin=margin)
    assert (there.shape, there.device.type) == ((6, 5), "meta")
    assert margin_loss(x.to("meta"), w.to("meta"), LABELS.to("meta"), margin=margin).shape == ()
