# SPDX-License-Identifier: MIT
"""Margin losses: against loops from the papers and numbers computed elsewhere, exact in every gradient and option."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from hypersphere.formulas.margins import MARGINS, GASoftmax, Margin, as_margin
from hypersphere.functional import margins as module
from hypersphere.functional.margins import margin_logits, margin_loss
from hypersphere.kernels import classes
from margin_loops import CASES, OTHERS, STATES, arguments, filled, logits, loss, margin_cases, title

IMPLS = ["torch", "chunked"]
ALL = {name: MARGINS[name] for name in MARGINS}
SOFTMAX = [case for case in CASES if case["name"] != "sphereface2"]


@pytest.fixture(params=IMPLS)
def impl(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both forms, with chunks of a few logits that are computed again in the backward pass."""
    monkeypatch.setattr(classes, "_CHUNK", {"cpu": 14})
    monkeypatch.setattr(classes, "_KEPT", 0)
    return request.param


def draw(case: Mapping[str, Any], num_samples: int = 6, num_classes: int = 5, dim: int = 4) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(3)
    features = torch.randn(num_samples, dim, generator=generator, dtype=torch.float64) * 2
    rows = num_classes * filled(case).get("centers", 1)
    weight = torch.randn(rows, dim, generator=generator, dtype=torch.float64) * 1.5
    return features, weight, torch.randint(0, num_classes, (num_samples,), generator=generator)


def how(case: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """Margin, scale, memory and bias of a case, as the functions take them."""
    memory = STATES.get(case["name"])
    found = {"margin": as_margin(arguments(case)), "scale": case.get("scale", "default")}
    if memory is not None:
        found["state"] = {name: torch.tensor(value, dtype=torch.float64) for name, value in memory.items()}
    if case["name"] == "sphereface2":
        found["bias"] = torch.tensor([0.7], dtype=torch.float64)
    return found | more


def in_loops(case: Mapping[str, Any], features: Tensor, weight: Tensor, labels: Tensor, **more: Any) -> float:
    bias = 0.7 if case["name"] == "sphereface2" else 0.0
    return loss(case, features.tolist(), weight.tolist(), labels.tolist(), bias=bias, **more)


# --------------------------------------------------------------------------------------------------- against the truth


@pytest.mark.parametrize("case", CASES, ids=title)
def test_logits_and_loss_by_loops(case: dict[str, Any], impl: str) -> None:
    features, weight, labels = draw(case)
    bias = 0.7 if case["name"] == "sphereface2" else 0.0
    table = (features.tolist(), weight.tolist())
    expected = features.new_tensor(logits(case, *table, labels.tolist(), bias=bias))
    torch.testing.assert_close(margin_logits(features, weight, labels, **how(case)), expected, rtol=1e-12, atol=1e-11)
    expected = features.new_tensor(logits(case, *table, None, bias=bias))
    torch.testing.assert_close(margin_logits(features, weight, **how(case)), expected, rtol=1e-12, atol=1e-11)
    found = margin_loss(features, weight, labels, impl=impl, **how(case))
    assert found.item() == pytest.approx(in_loops(case, features, weight, labels), rel=1e-11)


@pytest.mark.parametrize("case", CASES, ids=title)
def test_every_option_by_loops(case: dict[str, Any], impl: str) -> None:
    features, weight, labels = draw(case)
    softmax = case["name"] != "sphereface2"
    shares = [0.5, 1.0, 2.0, 0.0, 3.0]
    labels[2] = -100
    for options in (
        {"annealing": 5.0},
        {"class_weights": shares},
        {"annealing": 0.3, "class_weights": shares, "label_smoothing": 0.2 * softmax},
        {"probability_floor": 1e-4 * softmax},
        {"class_weights": shares, "label_smoothing": 0.1 * softmax, "probability_floor": 1e-3 * softmax},
    ):
        given = dict(options)
        if "class_weights" in given:
            given["class_weights"] = torch.tensor(shares, dtype=torch.float64)
        found = margin_loss(features, weight, labels, impl=impl, **how(case), **given)
        assert found.item() == pytest.approx(in_loops(case, features, weight, labels, **options), rel=1e-10), options


FIXTURE = margin_cases()
NAMES = {"none": "normalized_softmax", "ga_linear": "ga_softmax"}


@pytest.mark.parametrize("given", FIXTURE["cases"], ids=lambda c: f"{c['margin']}-{c['parameters']}-{c['lam']:g}")
def test_numbers_computed_elsewhere(given: dict[str, Any], impl: str) -> None:
    features = torch.tensor(FIXTURE["features"], dtype=torch.float64, requires_grad=True)
    weight = torch.tensor(FIXTURE["weight"], dtype=torch.float64, requires_grad=True)
    labels, name = torch.tensor(FIXTURE["labels"]), NAMES.get(given["margin"], given["margin"])
    margin = as_margin({"name": name, **given["parameters"]})
    scale = given["scale"] if margin.normalized else "default"
    options = {"margin": margin, "scale": scale, "annealing": given["lam"]}
    found = margin_loss(features, weight, labels, impl=impl, **options)
    assert found.item() == pytest.approx(given["loss"], rel=1e-14, abs=1e-14)
    table = margin_logits(features, weight, labels, **options)
    of_features, of_weight = torch.autograd.grad(found, (features, weight))
    for value, key in ((table, "logits"), (of_features, "grad_features"), (of_weight, "grad_weight")):
        expected = torch.tensor(given[key], dtype=torch.float64)
        size = max(1.0, expected.abs().max().item())
        torch.testing.assert_close(value / size, expected / size, rtol=0, atol=1e-14)


# ----------------------------------------------------------------------------------------------------------- gradients


def numbers(case: Mapping[str, Any]) -> tuple[Tensor, ...]:
    """Everything that a loss is differentiated by: features, class vectors, and the scale or the bias."""
    features, weight, labels = draw(case, 4, 4, 3)
    return features, weight, labels, torch.tensor([3.0]).double(), torch.tensor([0.2]).double()


@pytest.mark.parametrize("case", CASES, ids=title)
def test_gradients_are_exact(case: dict[str, Any], impl: str) -> None:
    if case["name"] == "circle":
        pytest.skip("its weights are constants to autograd")
    features, weight, labels, scale, bias = numbers(case)
    one_number = filled(case)["scale"] != "feature" and as_margin(arguments(case)).normalized
    labels[1] = -100
    softmax = case["name"] != "sphereface2"
    options = {
        "annealing": torch.tensor(0.4, dtype=torch.float64),
        "class_weights": torch.tensor([0.5, 1.0, 2.0, 1.5], dtype=torch.float64),
        "label_smoothing": 0.1 * softmax,
    }

    def number(x: Tensor, w: Tensor, s: Tensor, b: Tensor) -> Tensor:
        given = how(case, **options)
        if one_number:
            # a small one, so that no probability is all or nothing
            given["scale"] = s
        if not softmax:
            given["bias"] = b
        return margin_loss(x, w, labels, impl=impl, **given)

    inputs = tuple(t.clone().requires_grad_() for t in (features, weight, scale, bias))
    if case["name"] == "adaface":
        # the length of a feature moves its margin, without a gradient
        inputs[0].requires_grad_(False)
    # entry by entry for one case of each margin, along a direction for the others
    assert torch.autograd.gradcheck(number, inputs, fast_mode=case in OTHERS)


@pytest.mark.parametrize("case", [case for case in CASES if case not in OTHERS], ids=title)
def test_second_gradients_are_exact(case: dict[str, Any], impl: str) -> None:
    if case["name"] == "circle":
        pytest.skip("its weights are constants to autograd")
    features, weight, labels, *_ = numbers(case)
    scale = 3.0 if isinstance(filled(case)["scale"], float) and as_margin(arguments(case)).normalized else "default"
    inputs = (features.requires_grad_(case["name"] != "adaface"), weight.requires_grad_())
    given = how(case, scale=scale)
    assert torch.autograd.gradgradcheck(
        lambda x, w: margin_loss(x, w, labels, impl=impl, **given), inputs, fast_mode=True
    )


@pytest.mark.parametrize("floor", [0.0, 1e-2])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_gradients_with_a_floor_and_smoothing(floor: float, smoothing: float, impl: str) -> None:
    case = {"name": "combined", "scale": 3.0}
    features, weight, labels, *_ = numbers(case)
    options = {"label_smoothing": smoothing, "probability_floor": floor}
    inputs = (features.requires_grad_(), weight.requires_grad_())
    assert torch.autograd.gradcheck(lambda x, w: margin_loss(x, w, labels, impl=impl, **how(case), **options), inputs)


@pytest.mark.parametrize("case", CASES, ids=title)
def test_gradients_of_logits_are_those_of_the_loss(case: dict[str, Any], impl: str) -> None:
    """The cross-entropy of the logits is the loss, in every gradient; a second way through all of it."""
    features, weight, labels = draw(case)
    inputs = (features.requires_grad_(), weight.requires_grad_())
    for gradient in ("exact", "detached"):
        given = how(case, gradient=gradient, annealing=0.5)
        margin = given["margin"]
        scale = {"default": margin.default_scale}.get(given["scale"], given["scale"])
        number = 1.0 if isinstance(scale, str) else scale
        table = margin_logits(features, weight, labels, **given)
        if margin.objective == "binary":
            own = F.one_hot(labels, table.shape[1]).to(table)
            each = margin.balance * own * F.logsigmoid(table) + (1 - margin.balance) * (1 - own) * F.logsigmoid(-table)
            whole = -each.sum(dim=1).mean()
        else:
            whole = F.cross_entropy(table, labels)
        whole = whole * margin.loss_factor(number)
        penalty = margin.penalty(features.norm(dim=1), number)
        whole = whole if penalty is None else whole + penalty.mean()
        found = margin_loss(features, weight, labels, impl=impl, **given)
        torch.testing.assert_close(found, whole, rtol=1e-11, atol=1e-12)
        for a, b in zip(torch.autograd.grad(found, inputs), torch.autograd.grad(whole, inputs), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("case", CASES, ids=title)
def test_a_detached_gradient_is_that_of_the_cosine(case: dict[str, Any]) -> None:
    """Every logit moves by scale times its cosine (of generalised softmax: g), whatever its value."""
    features, weight, labels = draw(case)
    given = how(case)
    margin = given["margin"]
    scale = {"default": margin.default_scale}.get(given["scale"], given["scale"])
    weight.requires_grad_()
    detached = margin_logits(features, weight, labels, **given, gradient="detached")
    exact = margin_logits(features, weight, labels, **given)
    torch.testing.assert_close(detached, exact, rtol=1e-12, atol=1e-12)
    unit = F.normalize(features)
    cosine = (unit @ F.normalize(weight).T).unflatten(1, (-1, margin.centers)).amax(dim=2)
    factor = features.norm(dim=1, keepdim=True) if scale == "feature" else scale
    if not margin.normalized:
        factor = features.norm(dim=1, keepdim=True) * weight.detach().norm(dim=1)
    easy = margin.inference(cosine) if isinstance(margin, GASoftmax) else cosine
    upstream = torch.randn(detached.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    (found,) = torch.autograd.grad((detached * upstream).sum(), weight)
    (expected,) = torch.autograd.grad((factor * easy * upstream).sum(), weight)
    if not margin.normalized:
        # lengths of class vectors keep their gradients
        found = found - (found * F.normalize(weight)).sum(dim=1, keepdim=True) * F.normalize(weight)
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-9)


# ------------------------------------------------------------------------------------------------ samples and classes


@pytest.mark.parametrize("name", MARGINS)
def test_samples_that_do_not_count(name: str, impl: str) -> None:
    features, weight, labels = draw({"name": name})
    given = how({"name": name})
    inputs = (features.requires_grad_(), weight.requires_grad_())
    some = labels.clone()
    some[[0, 3]] = 255
    found = margin_loss(features, weight, some, ignore_index=255, impl=impl, **given)
    kept = [1, 2, 4, 5]
    torch.testing.assert_close(found, margin_loss(features[kept], weight, labels[kept], impl=impl, **given))
    (gradient,) = torch.autograd.grad(found, features)
    assert not gradient[[0, 3]].any()
    # none left: zero, with gradient zero
    nothing = margin_loss(features, weight, torch.full_like(labels, -100), impl=impl, **given)
    assert nothing.item() == 0.0
    assert not any(gradient.any() for gradient in torch.autograd.grad(nothing, inputs))


@pytest.mark.parametrize("name", MARGINS)
def test_one_class_one_sample(name: str, impl: str) -> None:
    case = {"name": name}
    features, weight, _ = draw(case, 1, 1)
    labels, given = torch.zeros(1, dtype=torch.int64), how(case)
    inputs = (features.requires_grad_(), weight.requires_grad_())
    found, seen = margin_loss(features, weight, labels, impl=impl, with_measures=True, **given)
    assert found.item() == pytest.approx(in_loops(case, features, weight, labels), abs=1e-12)
    assert seen.nearest.tolist() == [-1.0]
    assert seen.right.tolist() == [True]
    assert all(gradient.isfinite().all() for gradient in torch.autograd.grad(found, inputs))


def test_the_number_of_samples_may_be_that_of_all_processes(impl: str) -> None:
    case = {"name": "magface"}
    features, weight, labels = draw(case)
    found = margin_loss(features, weight, labels, impl=impl, **how(case))
    for number in (12.0, torch.tensor(12.0)):
        half = margin_loss(features, weight, labels, impl=impl, num_samples=number, **how(case))
        torch.testing.assert_close(half, found / 2)
    assert margin_loss(features, weight, labels, num_samples=0, impl=impl, **how(case)).isfinite()


def test_labels_of_any_integer_dtype() -> None:
    features, weight, labels = draw({"name": "arcface"})
    expected = margin_loss(features, weight, labels, margin=MARGINS["arcface"])
    for dtype in (torch.int32, torch.int16, torch.uint8):
        assert torch.equal(margin_loss(features, weight, labels.to(dtype), margin=MARGINS["arcface"]), expected)


def test_without_a_margin_it_is_cross_entropy(impl: str) -> None:
    features, weight, labels = draw({"name": "softmax"})
    found = margin_loss(features, weight, labels, impl=impl)
    torch.testing.assert_close(found, F.cross_entropy(features @ weight.T, labels))
    for options in (
        {"label_smoothing": 0.3},
        {"weight": weight[:, 0].abs()},
        {"weight": weight[:, 0].abs(), "label_smoothing": 0.3},
    ):
        theirs = {{"weight": "class_weights"}.get(key, key): value for key, value in options.items()}
        found = margin_loss(features, weight, labels, impl=impl, **theirs)
        torch.testing.assert_close(found, F.cross_entropy(features @ weight.T, labels, **options))


def test_annealing_goes_from_no_margin_to_the_margin(impl: str) -> None:
    for name in ("sphereface", "l_softmax", "arcface", "ga_softmax"):
        features, weight, labels = draw({"name": name})
        given = how({"name": name})
        none = margin_logits(features, weight, **given)
        table = margin_logits(features, weight, labels, **given, annealing=1e9)
        torch.testing.assert_close(table, none, rtol=1e-7, atol=1e-7)
        for zero in (0.0, torch.zeros(())):
            found = margin_loss(features, weight, labels, impl=impl, **given, annealing=zero)
            torch.testing.assert_close(
                found, margin_loss(features, weight, labels, impl=impl, **given), rtol=1e-14, atol=0
            )


# ---------------------------------------------------------------------------------------------------- choosing a form


def test_the_form_is_chosen_by_size(monkeypatch: pytest.MonkeyPatch) -> None:
    features, weight, labels = draw({"name": "cosface"})
    taken: list[str] = []
    for name in ("compare", "compare_plain"):
        form = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *a, _n=name, _f=form, **k: (taken.append(_n), _f(*a, **k))[1])
    margin_loss(features, weight, labels)
    monkeypatch.setattr(module, "_LARGEST_PLAIN", 29)
    margin_loss(features, weight, labels)
    margin_loss(features, weight, labels, impl="torch")
    torch.func.grad(lambda w: margin_loss(features, w, labels))(weight)
    assert taken == ["compare_plain", "compare", "compare_plain", "compare_plain"]
    with pytest.raises(
        ValueError, match=r"margin_loss: impl='chunked' cannot run here: torch\.func .* Use impl='auto'"
    ):
        torch.func.grad(lambda w: margin_loss(features, w, labels, impl="chunked"))(weight)


@pytest.mark.parametrize("name", MARGINS)
@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")  # of torch's own forward-mode formulas
def test_under_torch_func(name: str) -> None:
    """Gradients of each sample by a map, and directional derivatives by forward mode."""
    features, weight, labels = draw({"name": name}, 3)
    given = how({"name": name})
    each = torch.func.vmap(
        torch.func.grad(lambda w, x, y: margin_loss(x[None], w, y[None], **given)), in_dims=(None, 0, 0)
    )(weight, features, labels)
    mean = torch.func.grad(lambda w: margin_loss(features, w, labels, **given))(weight)
    torch.testing.assert_close(each.mean(dim=0), mean)
    leaf = weight.clone().requires_grad_()
    torch.testing.assert_close(mean, torch.autograd.grad(margin_loss(features, leaf, labels, **given), leaf)[0])
    direction = torch.ones_like(weight)
    for function in (margin_loss, lambda *a, **k: margin_logits(*a, **k).logsumexp(dim=1).mean()):
        _, slope = torch.func.jvp(lambda w, f=function: f(features, w, labels, **given), (weight,), (direction,))
        (whole,) = torch.autograd.grad(function(features, leaf, labels, **given), leaf)
        torch.testing.assert_close(slope, (whole * direction).sum(), rtol=1e-8, atol=1e-10)


def test_a_compiled_loss_refuses_labels_that_it_cannot_read() -> None:
    torch.compiler.reset()
    features, weight, labels = draw({"name": "arcface"})
    compiled = torch.compile(
        lambda y: margin_loss(features, weight, y, margin=MARGINS["arcface"]), backend="aot_eager", fullgraph=True
    )
    compiled(labels)
    for wrong in (5, -3):
        with pytest.raises((RuntimeError, IndexError), match="out of bounds"):
            compiled(labels.index_fill(0, torch.tensor([2]), wrong))


# ---------------------------------------------------------------------------------------------- a margin of one's own


@dataclass(frozen=True)
class Yes(Margin):
    """A binary objective with nothing but a shift of the own class."""

    objective: ClassVar[str] = "binary"
    default_scale: ClassVar[float] = 5.0

    def target(self, cosine: Tensor, norm: Tensor, state: Mapping[str, Tensor]) -> Tensor:
        return cosine - 0.2


@dataclass(frozen=True)
class Untouched(Margin):
    """Inner products, of which the others are changed: no such thing."""

    normalized: ClassVar[bool] = False

    def others(self, cosine: Tensor, own: Tensor, state: Mapping[str, Tensor]) -> Tensor:
        return cosine + 1


def test_the_bias_reaches_every_class(impl: str) -> None:
    features, weight, labels = draw({"name": "softmax"})
    bias = torch.tensor([1.5], dtype=torch.float64, requires_grad=True)
    table = 5 * F.normalize(features) @ F.normalize(weight).T
    own = F.one_hot(labels, 5)
    expected = table - own + bias
    torch.testing.assert_close(margin_logits(features, weight, labels, margin=Yes(), bias=bias), expected)
    torch.testing.assert_close(margin_logits(features, weight, margin=Yes(), bias=bias), table + bias)
    found, seen = margin_loss(features, weight, labels, margin=Yes(), bias=bias, impl=impl, with_measures=True)
    whole = 0.5 * F.softplus(expected * (1 - 2 * own)).sum(dim=1).mean()
    torch.testing.assert_close(found, whole)
    torch.testing.assert_close(torch.autograd.grad(found, bias), torch.autograd.grad(whole, bias))
    correct = (expected.detach() > 0) == own.bool()
    assert seen.satisfied.tolist() == correct.all(dim=1).tolist()


# ------------------------------------------------------------------------------------------------ in words when wrong


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        (
            {"labels": torch.tensor([0, 5, 0, 0, 0, 0])},
            ValueError,
            r"margin_loss: labels must lie in \[0, 4\], as there are 5 classes; got 5 at position 1",
        ),
        (
            {"labels": torch.tensor([0, 0, 0, -1, 0, 0])},
            ValueError,
            r"labels must lie in \[0, 4\].* got -1 at position 3",
        ),
        ({"labels": torch.zeros(5, dtype=torch.int64)}, ValueError, r"got 6 samples and labels \(5,\)"),
        (
            {"labels": torch.zeros(6)},
            TypeError,
            r"margin_loss: expected labels of an integer dtype, got torch\.float32",
        ),
        (
            {"weight": torch.zeros(5, 3)},
            ValueError,
            r"margin_loss: expected features \(N, D\) and weight \(C, D\) of one width D, got \(6, 4\) and \(5, 3\)",
        ),
        ({"weight": torch.zeros(5)}, ValueError, r"margin_loss: expected weight \(C, D\), got shape \(5,\)"),
        (
            {"features": torch.zeros(6, 4, dtype=torch.int64)},
            TypeError,
            r"expected features of a floating-point dtype, got torch\.int64",
        ),
        (
            {"features": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)},
            ValueError,
            r"expected N >= 1 samples",
        ),
        (
            {"margin": MARGINS["sub_center_arcface"]},
            ValueError,
            r"C a multiple of the 3 centers, got \(6, 4\) and \(5, 4\)",
        ),
        ({"gradient": "none"}, ValueError, r"margin_loss: unknown gradient 'none': choose detached, exact"),
        ({"impl": "triton"}, ValueError, r"margin_loss: unknown impl 'triton': choose auto, chunked, torch"),
        ({"annealing": -1.0}, ValueError, r"margin_loss: annealing must lie in \[0, 1e\+09\], got -1"),
        (
            {"scale": 0.0, "margin": MARGINS["cosface"]},
            ValueError,
            r"margin_loss: scale must lie in \[1e-06, 1e\+06\], got 0",
        ),
        ({"scale": "norm", "margin": MARGINS["cosface"]}, ValueError, r"unknown scale 'norm': choose default, feature"),
        ({"scale": 2.0}, ValueError, r"margin_loss: Softmax has no scale, .*; got 2\.0\. Use scale='default'"),
        (
            {"scale": "feature", "margin": MARGINS["sphereface2"]},
            ValueError,
            r"the loss of SphereFace2 is weighed by its scale, which must be one number; got 'feature'",
        ),
        (
            {"scale": 30.0, "margin": as_margin({"name": "sphereface_r", "normalization": "none"})},
            ValueError,
            r"which must be 'feature', the length of each; got 30\.0",
        ),
        ({"label_smoothing": 1.5}, ValueError, r"margin_loss: label_smoothing must lie in \[0, 1\], got 1\.5"),
        ({"probability_floor": -0.1}, ValueError, r"margin_loss: probability_floor must lie in \[0, 1\], got -0\.1"),
        (
            {"label_smoothing": 0.1, "margin": MARGINS["sphereface2"]},
            ValueError,
            r"the objective of SphereFace2 is one yes or no for each class\. Leave them at 0",
        ),
        ({"class_weights": torch.ones(4)}, ValueError, r"margin_loss: expected class_weights \(5,\) .*, got \(4,\)\."),
        (
            {"margin": MARGINS["adaface"], "state": {"running_mean": torch.ones(())}},
            ValueError,
            r"margin_loss: state lacks running_deviation, which AdaFace remembers",
        ),
        (
            {"margin": Untouched()},
            ValueError,
            r"margin_loss: Untouched is not normalized, so it can change the own class alone",
        ),
        ({"bias": torch.zeros(1)}, ValueError, r"margin_loss: Softmax is not normalized, .* without bias"),
    ],
)
def test_wrong_input_is_refused_in_words(change: dict[str, Any], kind: type[Exception], message: str) -> None:
    features, weight, labels = draw({"name": "softmax"})
    given: dict[str, Any] = {"features": features, "weight": weight, "labels": labels} | change
    with pytest.raises(kind, match=message):
        margin_loss(given.pop("features"), given.pop("weight"), given.pop("labels"), **given)
    assert math.isfinite(margin_loss(features, weight, labels).item())
