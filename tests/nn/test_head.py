# SPDX-License-Identifier: MIT
"""The head: class = function, float32 whatever happens around it, and what a module of torch must be able to do."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from hypersphere.formulas.margins import MARGINS, CosFace, Margin, NormalizedSoftmax
from hypersphere.functional.classification import class_logits, cross_entropy
from hypersphere.functional.margins import margin_logits
from hypersphere.nn import MarginHead

KINDS = [
    {"margin": "softmax"},
    {"margin": "normalized_softmax"},
    {"margin": "normalized_softmax", "scale": "feature"},
    {"margin": "normalized_softmax", "scale": "learned"},
    {"margin": "normalized_softmax", "scale": 12, "label_smoothing": 0.01, "probability_floor": 1e-4},
    {"margin": {"name": "w_softmax", "angle_function": "sigmoid"}},
]


def make(**options: object) -> tuple[MarginHead, Tensor, Tensor]:
    torch.manual_seed(0)
    options = {"margin": "softmax"} | options
    return MarginHead(8, 5, **options), torch.randn(6, 8), torch.tensor([0, 1, 2, 3, 4, 4])


@pytest.mark.parametrize("options", KINDS, ids=str)
def test_the_class_is_the_function(options: dict[str, object]) -> None:
    head, x, y = make(**options)
    scale = head.log_scale.exp() if head.log_scale is not None else head.scale
    logits = margin_logits(x, head.weight, y, margin=head.margin, scale=scale)
    assert torch.equal(head.margin_logits(x, y), logits)
    smoothing, floor = head.label_smoothing, head.probability_floor
    expected = cross_entropy(logits, y, label_smoothing=smoothing, probability_floor=floor)
    torch.testing.assert_close(head(x, y), expected)
    assert torch.equal(head(x), margin_logits(x, head.weight, margin=head.margin, scale=scale))


def test_softmax_is_the_linear_classifier() -> None:
    head, x, y = make()
    torch.testing.assert_close(head(x), x @ head.weight.T)
    torch.testing.assert_close(head(x, y), nn.functional.cross_entropy(x @ head.weight.T, y))


def test_scales() -> None:
    cosines = class_logits(make()[1], make()[0].weight)
    head, x, _ = make(margin="normalized_softmax")
    torch.testing.assert_close(head(x), 30 * cosines)
    head, x, _ = make(margin="normalized_softmax", scale=12)
    torch.testing.assert_close(head(x), 12 * cosines)
    head, x, _ = make(margin="normalized_softmax", scale="feature")
    torch.testing.assert_close(head(x), x.norm(dim=1, keepdim=True) * cosines)


def test_a_learned_scale_starts_from_the_published_one_and_learns() -> None:
    head, x, y = make(margin="normalized_softmax", scale="learned")
    assert head.log_scale.shape == (1,)
    assert head.log_scale.exp().item() == pytest.approx(30.0)
    head(x, y).backward()
    assert head.log_scale.grad.abs().item() > 0
    assert make(margin="normalized_softmax")[0].log_scale is None
    assert "log_scale" not in make()[0].state_dict()


def test_class_vectors_start_from_he_normal() -> None:
    torch.manual_seed(0)
    head = MarginHead(200, 100)
    std = math.sqrt(2 / 200)
    assert head.weight.std().item() == pytest.approx(std, abs=5 * std / math.sqrt(2 * head.weight.numel()))


# ------------------------------------------------------------------------------------------------ a margin of one's own


@dataclass(frozen=True)
class Shifted(Margin):
    """A margin of this test, with a parameter."""

    shift: float = 0.35
    default_scale: ClassVar[str] = "feature"

    def target(self, cosine: Tensor, norm: Tensor, state: Mapping[str, Tensor]) -> Tensor:
        return cosine - self.shift


def test_a_margin_may_be_an_object() -> None:
    head, x, y = make(margin=Shifted(0.5))
    norm = x.norm(dim=1, keepdim=True)
    expected = head(x) - 0.5 * norm * nn.functional.one_hot(y, 5)
    torch.testing.assert_close(head.margin_logits(x, y), expected)
    assert head(x, y) > cross_entropy(head(x), y)
    with pytest.raises(ValueError, match=r"Shifted\(shift=0\.5\) has no name in MARGINS"):
        head.arguments()
    assert make(margin=NormalizedSoftmax())[0].arguments()["margin"] == "normalized_softmax"


def test_a_new_entry_in_the_table_is_all_a_margin_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MARGINS, "shifted", Shifted(0.2))
    head, x, y = make(margin="shifted", scale=10.0)
    assert torch.equal(head(x, y), make(margin=Shifted(0.2), scale=10.0)[0](x, y))
    assert head.arguments()["margin"] == "shifted"


# ------------------------------------------------------------------------------------------------------------ precision


@pytest.mark.parametrize("options", KINDS, ids=str)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_class_vectors_stay_in_float32_whatever_the_model_becomes(
    options: dict[str, object], dtype: torch.dtype
) -> None:
    head, x, y = make(**options)
    before = head.weight.detach().clone()
    model = nn.Sequential(nn.Linear(3, 8), head).to(dtype)
    assert model[0].weight.dtype == dtype
    assert {p.dtype for p in head.parameters()} == {torch.float32}
    assert torch.equal(head.weight, before)
    loss = head(x.to(dtype), y)
    loss.backward()
    assert loss.dtype == head.weight.grad.dtype == torch.float32


def test_other_moves_are_those_of_any_module() -> None:
    head = make(margin="normalized_softmax", scale="learned")[0]
    assert {p.dtype for p in head.double().parameters()} == {torch.float64}
    assert {p.dtype for p in head.float().parameters()} == {torch.float32}
    assert {p.dtype for p in head.to("meta", torch.float16).parameters()} == {torch.float32}
    assert {p.device.type for p in head.parameters()} == {"meta"}
    parameter = nn.Linear(2, 2).half().weight
    assert parameter.dtype == torch.float16


def test_a_default_of_low_precision_is_not_taken() -> None:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        assert MarginHead(3, 2).weight.dtype == torch.float32
    finally:
        torch.set_default_dtype(before)
    assert MarginHead(3, 2, dtype=torch.float64).weight.dtype == torch.float64


@pytest.mark.parametrize("options", KINDS, ids=str)
def test_autocast_changes_nothing(options: dict[str, object]) -> None:
    head, x, y = make(**options)
    expected = head(x, y)
    (gradient,) = torch.autograd.grad(expected, head.weight)
    with torch.autocast("cpu", torch.bfloat16):
        found = head(x, y)
        logits = head(x)
    assert torch.equal(found, expected)
    assert torch.equal(torch.autograd.grad(found, head.weight)[0], gradient)
    assert logits.dtype == torch.float32


@pytest.mark.parametrize("options", KINDS, ids=str)
def test_gradients_of_the_loss(options: dict[str, object]) -> None:
    head, x, y = make(**options, dtype=torch.float64)
    parameters = tuple(p.detach().clone().requires_grad_() for p in head.parameters())
    names = [name for name, _ in head.named_parameters()]

    def loss(features: Tensor, *values: Tensor) -> Tensor:
        return torch.func.functional_call(head, dict(zip(names, values, strict=True)), (features, y))

    assert torch.autograd.gradcheck(loss, (x.double().requires_grad_(), *parameters))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16])
@pytest.mark.parametrize("options", [{}, {"class_weights": True}, {"energy": {}}, {"sample_rate": 0.5}], ids=str)
def test_narrow_labels_are_no_label_that_is_ignored(options: dict[str, Any], dtype: torch.dtype) -> None:
    """-100 is 156 in uint8."""
    weights = torch.linspace(0.5, 2, 300) if options.get("class_weights") else None
    head = MarginHead(8, 300, **options | {"class_weights": weights, "synchronize": True})
    x, y = torch.randn(3, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([156, 45, 156])
    losses = []
    for labels in (y, y.to(dtype)):
        torch.manual_seed(0)
        losses.append(head(x, labels))
    assert losses[0] > 0
    assert torch.equal(*losses)
    assert torch.equal(head.margin_logits(x, y.to(dtype)), head.margin_logits(x, y))


# ------------------------------------------------------------------------------------------------- as a module of torch


@pytest.mark.parametrize("options", KINDS, ids=str)
def test_compiled_equals_eager(options: dict[str, object]) -> None:
    torch.compiler.reset()
    head, x, y = make(**options)
    compiled = torch.compile(head, fullgraph=True, backend="aot_eager")
    expected = head(x, y)
    found = compiled(x, y)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(
        torch.autograd.grad(found, head.weight), torch.autograd.grad(expected, head.weight), rtol=1e-5, atol=1e-6
    )
    torch.testing.assert_close(compiled(x), head(x))


@pytest.mark.parametrize("options", KINDS, ids=str)
def test_inference_can_be_exported(options: dict[str, object]) -> None:
    head, x, _ = make(**options)
    batch = torch.export.Dim("batch", min=2, max=1024)
    program = torch.export.export(head.eval(), (x,), dynamic_shapes={"x": {0: batch}})
    torch.testing.assert_close(program.module()(x[:3]), head(x[:3]))


@pytest.mark.parametrize("options", KINDS, ids=str)
def test_meta_copy_and_state(options: dict[str, object]) -> None:
    head, x, y = make(**options)
    other = MarginHead(**head.arguments(), device="meta")
    assert {p.device.type for p in other.parameters()} == {"meta"}
    other.to_empty(device="cpu").reset_parameters()
    other.load_state_dict(head.state_dict(), strict=True)
    assert torch.equal(other(x, y), head(x, y))
    assert torch.equal(copy.deepcopy(head)(x, y), head(x, y))


def test_repr_names_what_it_is() -> None:
    assert repr(make(margin="normalized_softmax", scale=12)[0]) == (
        "MarginHead(in_features=8, num_classes=5, margin=NormalizedSoftmax(), scale=12.0)"
    )
    assert repr(make(gradient="detached", label_smoothing=0.1)[0]).endswith("gradient=detached, label_smoothing=0.1)")


# -------------------------------------------------------------------------------------------------- in words when wrong


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"in_features": 0}, r"MarginHead: in_features must be a whole number of 1 or more, got 0"),
        ({"num_classes": 2.0}, r"MarginHead: num_classes must be a whole number of 1 or more, got 2\.0"),
        ({"margin": "sofmax"}, r"unknown margin 'sofmax': choose .* \(did you mean 'softmax'\?\)"),
        (
            {"scale": 30.0},
            r"MarginHead: Softmax has no scale, .*; got 30\.0\. Use scale='default', or margin='normalized_softmax'",
        ),
        ({"scale": "feature"}, r"MarginHead: Softmax has no scale"),
        ({"margin": "normalized_softmax", "scale": "learn"}, r"unknown scale 'learn': .* \(did you mean 'learned'\?\)"),
        ({"margin": "normalized_softmax", "scale": -1.0}, r"MarginHead: scale must lie in \[1e-06, 1e\+06\], got -1"),
        ({"label_smoothing": 1.5}, r"MarginHead: label_smoothing must lie in \[0, 1\], got 1\.5"),
        ({"probability_floor": -1e-4}, r"MarginHead: probability_floor must lie in \[0, 1\], got -0\.0001"),
        ({"dtype": torch.bfloat16}, r"MarginHead: dtype must be torch\.float32 or torch\.float64, got torch\.bfloat16"),
    ],
)
def test_wrong_arguments_are_refused_in_words(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MarginHead(**{"in_features": 8, "num_classes": 5, "margin": "softmax", **options})


def test_arguments_of_the_wrong_type_are_refused_in_words() -> None:
    with pytest.raises(TypeError, match=r"MarginHead: gradient: expected a string, one of detached, exact, got None\."):
        make(gradient=None)
    with pytest.raises(TypeError, match=r"MarginHead: scale must be a number, got None\."):
        make(margin="arcface", scale=None)
    with pytest.raises(TypeError, match=r"CosFace: cosine must be a number, got '0\.3'\."):
        CosFace("0.3")  # type: ignore[arg-type]


def test_wrong_input_is_refused_in_words() -> None:
    head, x, y = make(margin="normalized_softmax")
    with pytest.raises(ValueError, match=r"MarginHead: expected features \(N, 8\), got \(6, 7\)"):
        head(x[:, :7], y)
    with pytest.raises(ValueError, match=r"MarginHead: expected features \(N, 8\), got \(6, 8, 1\)"):
        head(x[..., None])
    with pytest.raises(ValueError, match=r"labels must lie in \[0, 4\], as there are 5 classes; got 5 at position 1"):
        head(x, torch.tensor([0, 5, 1, 1, 1, 1]))
    with pytest.raises(ValueError, match=r"got 6 samples and labels \(5,\)"):
        head(x, y[:5])
