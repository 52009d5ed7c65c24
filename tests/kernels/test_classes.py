# SPDX-License-Identifier: MIT
"""Classes met in chunks: the plain form exactly, at odd sizes, with little kept, and without needless memory."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from hypersphere.kernels import classes
from hypersphere.kernels.classes import Plan, compare, compare_plain, inverse_norms, own_places


def bend(cosine: Tensor, own: Tensor, factor: Tensor, bias: Tensor) -> Tensor:
    """Logits of other classes that hang on the own cosine, a constant, and on two parameters."""
    return factor * (cosine + cosine.square() * (cosine > own)) + bias


PLANS = {
    "cosines": Plan(),
    "products": Plan(normalize=False),
    "centers": Plan(centers=3),
    "products of centers": Plan(normalize=False, centers=2),
    "bent": Plan(function=bend),
    "bent centers": Plan(function=bend, centers=2),
    "binary": Plan(reduction="softplus"),
    "bent binary": Plan(function=bend, reduction="softplus"),
}
# samples, classes, width: one of each, odd ones, more samples than fit into a chunk
SIZES = [(1, 1, 1), (1, 7, 3), (5, 1, 4), (17, 23, 5), (3, 64, 2)]


def draw(plan: Plan, num_samples: int = 5, num_classes: int = 7, dim: int = 4) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(num_samples + 31 * num_classes)
    normal = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)  # noqa: E731
    labels = torch.randint(0, num_classes, (num_samples,), generator=generator)
    labels[::4] = -1 if num_samples > 1 else labels[0]
    found = {
        "rows": normal(num_samples, dim).requires_grad_(),
        "weight": normal(num_classes * plan.centers, dim).requires_grad_(),
        "labels": labels,
        "weights": normal(num_classes).abs(),
        "parameters": (),
    }
    if plan.function is not None:
        found["parameters"] = (normal(1, num_samples).requires_grad_(), normal(()).requires_grad_())
    return found


def inputs_of(given: dict[str, Any]) -> list[Tensor]:
    return [given["rows"], given["weight"], *given["parameters"]]


def weighed(form: Callable[..., Any], given: dict[str, Any], plan: Plan) -> Tensor:
    """One number that every differentiable output enters."""
    found = form(given["rows"], given["weight"], given["labels"], plan, **options(given))
    total = torch.zeros((), dtype=torch.float64)
    for factor, part in zip((1.3, 0.7, 0.9, 0.2), found[:4], strict=True):
        total = total + factor * torch.where(part.isfinite(), part, 0.0).sin().sum()
    return total


def options(given: dict[str, Any]) -> dict[str, Any]:
    return {"weights": given["weights"], "parameters": given["parameters"]}


@pytest.fixture(params=["kept", "computed again"])
def tiny(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of a few logits, and as asked none kept for the backward pass."""
    monkeypatch.setattr(classes, "_CHUNK", {"cpu": 12})
    if request.param != "kept":
        monkeypatch.setattr(classes, "_KEPT", 0)


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_chunks_are_the_plain_form(plan: Plan, size: tuple[int, int, int]) -> None:
    given = draw(plan, *size)
    plan = Plan(plan.normalize, plan.centers, plan.function, plan.reduction, measured=True)
    found = compare(given["rows"], given["weight"], given["labels"], plan, **options(given))
    expected = compare_plain(given["rows"], given["weight"], given["labels"], plan, **options(given))
    for name, a, b in zip(found._fields, found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12, msg=lambda text, name=name: f"{name}: {text}")
    assert not found.nearest.requires_grad
    assert not found.largest.requires_grad
    wanted = inputs_of(given)
    gradients = [
        torch.autograd.grad(weighed(form, given, plan), wanted, allow_unused=True) for form in (compare, compare_plain)
    ]
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, torch.zeros_like(a) if b is None else b, rtol=1e-11, atol=1e-12)


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_derivatives(plan: Plan) -> None:
    given = draw(plan, 4, 5, 3)

    def number(rows: Tensor, weight: Tensor, *parameters: Tensor) -> Tensor:
        return weighed(compare, {**given, "rows": rows, "weight": weight, "parameters": parameters}, plan)

    assert torch.autograd.gradcheck(number, inputs_of(given))
    assert torch.autograd.gradgradcheck(number, inputs_of(given), fast_mode=True)


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_one_input_may_be_constant(plan: Plan) -> None:
    given = draw(plan)
    whole = torch.autograd.grad(weighed(compare, given, plan), inputs_of(given))
    for index, name in enumerate(("rows", "weight")):
        alone = {**given, "parameters": tuple(p.detach() for p in given["parameters"])}
        alone["weight" if name == "rows" else "rows"] = alone["weight" if name == "rows" else "rows"].detach()
        (found,) = torch.autograd.grad(weighed(compare, alone, plan), alone[name])
        torch.testing.assert_close(found, whole[index])


@pytest.mark.parametrize("form", [compare, compare_plain])
def test_a_class_has_no_part_in_the_others_of_its_own_samples(form: Callable[..., Any]) -> None:
    rows = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], dtype=torch.float64)
    weight = torch.tensor([[2.0, 0.0], [0.0, 3.0]], dtype=torch.float64)
    found = form(rows, weight, torch.tensor([0, 0, -1]), Plan(measured=True))
    assert found.own.tolist() == [1.0, 0.0, 0.0]
    # with two classes, the one other class is all there is; a sample without a class has two
    assert found.reduced.tolist() == pytest.approx([0.0, 1.0, 1.0 + math.log(2)])
    assert found.largest.tolist() == found.nearest.tolist() == [0.0, 1.0, 1.0]
    alone = form(rows, weight[:1], torch.tensor([0, 0, 0]), Plan(measured=True))
    assert alone.reduced.tolist() == alone.nearest.tolist() == [-math.inf] * 3


@pytest.mark.parametrize("form", [compare, compare_plain])
def test_products_with_lengths_are_measured_without_them(form: Callable[..., Any]) -> None:
    """The longest vector has the largest product, and another one the nearest direction."""
    rows = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    weight = torch.tensor([[0.0, 1.0], [10.0, 10.0], [0.9, 0.1]], dtype=torch.float64)
    found = form(rows, weight, torch.tensor([0]), Plan(normalize=False, measured=True))
    assert found.largest.item() == 10.0
    assert found.nearest.item() == pytest.approx(0.9 / math.sqrt(0.82))
    assert found.length.item() == 1.0
    assert form(rows, weight, torch.tensor([0]), Plan(normalize=False)).nearest.numel() == 0


def test_the_nearest_of_several_vectors_counts() -> None:
    table = torch.tensor([[0.1, 0.9], [0.5, 0.2], [0.7, 0.7], [0.3, 0.4]])
    labels = torch.tensor([0, 1, -1])
    # rows 0 and 1 belong to class 0, rows 2 and 3 to class 1; equal ones go to the first
    products = torch.stack([table[:, 0], table[:, 0], table[:, 1]])
    found = own_places(labels, 2, lambda rows: products.gather(1, rows[:, None])[:, 0])
    assert found.tolist() == [1, 2, -1]
    assert own_places(labels, 1, lambda rows: products[0]) is labels


def test_large_logits_of_many_chunks_do_not_overflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classes, "_CHUNK", {"cpu": 2})
    rows = torch.tensor([[1e4], [-1e4]], requires_grad=True)
    weight = torch.linspace(-5, 5, 11)[:, None].clone().requires_grad_()
    found = compare(rows, weight, torch.tensor([10, 10]), Plan(normalize=False))
    assert found.reduced.tolist() == [4e4, 5e4]
    for gradient in torch.autograd.grad(found.reduced.sum(), (rows, weight)):
        assert gradient.isfinite().all()


def test_memory_of_the_backward_pass_goes_with_it() -> None:
    given = draw(Plan())
    number = weighed(compare, given, Plan())
    node = number.grad_fn
    number.backward()
    while node is not None and type(node).__name__ != "_CompareBackward":
        node = next((parent for parent, _ in node.next_functions if parent is not None), None)
    with pytest.raises(RuntimeError, match="saved tensors after they have already been freed"):
        node.saved_tensors  # noqa: B018
    # nothing but these: what is kept for the pass is among them
    assert not [name for name, value in vars(node).items() if isinstance(value, Tensor)]


@pytest.mark.parametrize("layout", ["turned", "every other row"])
def test_strided_inputs(layout: str) -> None:
    given = draw(Plan())
    strided = dict(given)
    for name in ("rows", "weight"):
        values = given[name].detach()
        changed = values.t().contiguous().t() if layout == "turned" else values.repeat_interleave(2, dim=0)[::2]
        assert not changed.is_contiguous()
        strided[name] = changed.requires_grad_()
    for a, b in zip(
        torch.autograd.grad(weighed(compare, strided, Plan()), inputs_of(strided)),
        torch.autograd.grad(weighed(compare, given, Plan()), inputs_of(given)),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


def test_norms_are_taken_a_few_rows_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    weight = torch.randn(9, 4, generator=torch.Generator().manual_seed(0))
    weight[3] = 0
    whole = inverse_norms(weight)
    assert whole[3].item() == 0.0
    torch.testing.assert_close(whole[:3], weight[:3].norm(dim=1, keepdim=True).reciprocal())
    monkeypatch.setattr(classes, "_NORM_CHUNK", 8)
    assert torch.equal(inverse_norms(weight), whole)


@pytest.mark.parametrize("row", [1.0, 0.0, 1e-20, 1e18])
def test_norms_without_a_graph_are_the_same(row: float) -> None:
    weight = torch.randn(9, 4, generator=torch.Generator().manual_seed(0))
    weight[3] *= row
    with torch.no_grad():
        found = inverse_norms(weight)
    torch.testing.assert_close(found, inverse_norms(weight), rtol=1e-6, atol=0)
