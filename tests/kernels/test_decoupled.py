# SPDX-License-Identifier: MIT
"""The fused form against the plain one: every option, parts of a batch, dtypes, layouts, and what it keeps."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

from hypersphere.formulas.angles import ANGLES
from hypersphere.formulas.magnitudes import MAGNITUDES
from hypersphere.functional import decoupled_conv2d, decoupled_linear

WEIGHTINGS = [None, "linear", "joint", "separate"]
PLACES = [(1, 1, 1, 1), (2, (1, 0), 1, 2), (1, 2, 2, 1)]


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def learned(angle: str, magnitude: str, num: int, dtype: torch.dtype) -> dict[str, Tensor]:
    """Everything that a call can be given, drawn at random."""
    found = {"gain": normal(num, seed=3)}
    if ANGLES[angle].learnable:
        found["k"] = normal(num, seed=4).abs() + 0.1
    if MAGNITUDES[magnitude].parameter == "radius" and MAGNITUDES[magnitude].learnable:
        found["radius"] = normal(num, seed=5).abs() + 0.3
    if MAGNITUDES[magnitude].parameter == "exponent":
        found["exponent"] = torch.tensor(0.3)
    return {name: values.to(dtype).requires_grad_() for name, values in found.items()}


def both(inputs: Tensor, weight: Tensor, bias: Tensor, place: Any, **options: Any) -> list[list[Tensor]]:
    """Output and all gradients, plain and fused."""
    tensors = [x.requires_grad_() for x in (inputs, weight, bias)]
    tensors += [x for x in options.values() if isinstance(x, Tensor)]
    results = []
    for impl in ("torch", "fused"):
        output = decoupled_conv2d(inputs, weight, bias, *place, **options, impl=impl)
        upstream = normal(*output.shape, seed=9, dtype=output.dtype)
        results.append([output.detach(), *torch.autograd.grad(output, tensors, upstream)])
    return results


@pytest.mark.parametrize("weighting", WEIGHTINGS)
@pytest.mark.parametrize(("angle", "magnitude"), list(itertools.product(ANGLES, MAGNITUDES)))
def test_parity_with_the_plain_form(
    angle: str, magnitude: str, weighting: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    # every place meets every angle, every magnitude and every weighting
    place: Any = PLACES[
        (list(ANGLES).index(angle) + list(MAGNITUDES).index(magnitude) + WEIGHTINGS.index(weighting)) % 3
    ]
    # a part is one image, so that sums over parts are seen
    monkeypatch.setattr("hypersphere.formulas.patches._PART", 100)
    options: dict[str, Any] = {"angle": angle, "magnitude": magnitude, "weighting": weighting}
    options |= learned(angle, magnitude, 4, torch.float64)
    inputs, weight = normal(3, 4, 5, 6), normal(4, 4 // place[3], 3, 2, seed=1)
    for plain, fused in zip(*both(inputs, weight, normal(4, seed=2), place, **options), strict=True):
        torch.testing.assert_close(fused, plain, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("angle", list(ANGLES))
def test_parity_in_low_precision_and_channels_last(angle: str, dtype: torch.dtype) -> None:
    inputs, weight = normal(3, 8, 5, 6, dtype=dtype), normal(4, 8, 3, 3, seed=1, dtype=dtype)
    inputs, weight = (x.contiguous(memory_format=torch.channels_last) for x in (inputs, weight))
    options = {"angle": angle, "magnitude": "tanh"} | learned(angle, "tanh", 4, dtype)
    # both round inner products alike; what lies behind them is float32 in both
    rtol, atol = (1e-4, 1e-5) if dtype == torch.float32 else (4 * torch.finfo(dtype).eps,) * 2
    for plain, fused in zip(*both(inputs, weight, normal(4, seed=2, dtype=dtype), PLACES[0], **options), strict=True):
        assert fused.dtype == plain.dtype
        torch.testing.assert_close(fused.float(), plain.float(), rtol=rtol, atol=atol * plain.abs().max().item())


@pytest.mark.parametrize(("angle", "magnitude"), list(itertools.product(ANGLES, MAGNITUDES)))
def test_only_what_is_asked_for_is_computed(angle: str, magnitude: str) -> None:
    options: dict[str, Any] = {"angle": angle, "magnitude": magnitude} | learned(angle, magnitude, 4, torch.float64)
    given = [normal(3, 4, 5, 6).requires_grad_(), normal(4, 4, 3, 3, seed=1).requires_grad_()]
    names = [name for name, values in options.items() if isinstance(values, Tensor)]
    given += [options.pop(name) for name in names]

    def output(*tensors: Tensor) -> Tensor:
        own = dict(zip(names, tensors[2:], strict=True))
        return decoupled_conv2d(*tensors[:2], **options, **own, impl="fused")

    whole = torch.autograd.grad(output(*given).square().sum(), given)
    for place, expected in enumerate(whole):
        alone = [tensor.detach() for tensor in given]
        alone[place].requires_grad_()
        (found,) = torch.autograd.grad(output(*alone).square().sum(), alone[place])
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("angle", "magnitude"), list(itertools.product(ANGLES, MAGNITUDES)))
def test_without_a_gradient_outputs_are_the_same(
    angle: str, magnitude: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They lie in the memory of the inner products then; a part of one image shows what is read after it is written."""
    monkeypatch.setattr("hypersphere.formulas.patches._PART", 100)
    inputs, weight = normal(3, 8, 5, 6, dtype=dtype), normal(4, 8, 3, 3, seed=1, dtype=dtype)
    options: dict[str, Any] = {"angle": angle, "magnitude": magnitude} | learned(angle, magnitude, 4, dtype)
    before = inputs.clone(), weight.clone()
    for bias in (None, normal(4, seed=2, dtype=dtype)):
        expected = decoupled_conv2d(inputs, weight, bias, **options, impl="fused").detach()
        for mode in (torch.no_grad(), torch.inference_mode()):
            with mode:
                assert torch.equal(decoupled_conv2d(inputs, weight, bias, **options, impl="fused"), expected)
    assert torch.equal(inputs, before[0])
    assert torch.equal(weight, before[1])


@pytest.mark.parametrize("eps", [1e-4, 0.0])
@pytest.mark.parametrize("weighting", WEIGHTINGS)
@pytest.mark.parametrize("angle", list(ANGLES))
def test_kept_are_input_weight_and_one_output(angle: str, weighting: str | None, eps: float) -> None:
    """Nothing else of their size: maps have one channel for each group, and vectors one number for each output."""
    inputs, weight = normal(4, 8, 6, 6, dtype=torch.float32), normal(16, 8, 3, 3, seed=1, dtype=torch.float32)
    options = learned(angle, "tanh", 16, torch.float32)
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    inputs.requires_grad_()
    weight.requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output = decoupled_conv2d(
            inputs, weight, padding=1, angle=angle, magnitude="tanh", weighting=weighting, eps=eps, **options
        )
    large = sorted(tensor.numel() for tensor in kept.values() if tensor.numel() > 4 * 36)
    assert large == sorted([inputs.numel(), weight.numel(), output.numel()])
    assert weight.data_ptr() in kept


def test_an_output_may_be_changed_in_place() -> None:
    """As after a convolution of torch: ReLU(inplace=True) follows it in many networks."""
    inputs, weight = normal(2, 4, 5, 5).requires_grad_(), normal(4, 4, 3, 3, seed=1).requires_grad_()
    for angle in ANGLES:
        (torch.relu_(decoupled_conv2d(inputs, weight, angle=angle))).sum().backward()


def test_backward_twice_through_a_retained_graph() -> None:
    inputs, weight = normal(2, 4).requires_grad_(), normal(3, 4, seed=1)
    loss = decoupled_linear(inputs, weight, angle="sigmoid", magnitude="ball").sum()
    (one,) = torch.autograd.grad(loss, inputs, retain_graph=True)
    (other,) = torch.autograd.grad(loss, inputs)
    assert torch.equal(one, other)


@pytest.mark.parametrize("angle", ["cosine", "sigmoid"])
def test_many_gradients_at_once(angle: str) -> None:
    inputs, weight, many = normal(2, 4).requires_grad_(), normal(3, 4, seed=1).requires_grad_(), normal(5, 2, 3, seed=2)
    output = decoupled_linear(inputs, weight, angle=angle, magnitude="tanh")
    found = torch.autograd.grad(output, (inputs, weight), many, is_grads_batched=True, retain_graph=True)
    for number, grad in enumerate(many):
        expected = torch.autograd.grad(output, (inputs, weight), grad, retain_graph=True)
        torch.testing.assert_close(tuple(one[number] for one in found), expected)
    assert not any(one.requires_grad for one in found)


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_one_number_for_all_outputs(weighting: str | None) -> None:
    for angle, magnitude, name in (("sigmoid", "sphere", "k"), ("sigmoid", "tanh", "k"), ("linear", "ball", "radius")):
        options = {"angle": angle, "magnitude": magnitude, "weighting": weighting}
        options[name] = torch.tensor(0.6, dtype=torch.float64, requires_grad=True)
        for plain, fused in zip(
            *both(normal(3, 4, 5, 6), normal(4, 4, 3, 2, seed=1), normal(4, seed=2), PLACES[0], **options), strict=True
        ):
            torch.testing.assert_close(fused, plain, rtol=1e-9, atol=1e-11)


def test_a_gradient_to_differentiate_again_counts_every_path_once() -> None:
    """Arguments may be computed from each other: a weight from the input, a mean norm from the input, one twice."""
    weight = normal(4, 3, seed=1)

    def of_weight(x: Tensor, impl: str) -> Tensor:
        return decoupled_linear(x, weight * x.sum(0).tanh(), angle="linear", impl=impl)

    def of_mean(x: Tensor, impl: str) -> Tensor:
        mean = (x.square().sum(1) + 1e-4).sqrt().mean()
        return decoupled_linear(x, weight, magnitude="tanh", mean_norm=mean, impl=impl)

    def twice(x: Tensor, impl: str) -> Tensor:
        both = x.flatten()[:4].abs() + 0.3
        return decoupled_linear(x, weight, angle="linear", magnitude="tanh", gain=both, radius=both, impl=impl)

    for function in (of_weight, of_mean, twice):
        inputs = normal(2, 3).requires_grad_()
        found = []
        for impl in ("torch", "fused"):
            (first,) = torch.autograd.grad(function(inputs, impl).square().sum(), inputs, create_graph=True)
            found.append((first, *torch.autograd.grad(first.square().sum(), inputs)))
        for plain, fused in zip(*found, strict=True):
            torch.testing.assert_close(fused, plain, rtol=1e-10, atol=1e-12)


def test_what_is_changed_between_the_passes_is_noticed() -> None:
    inputs, weight = normal(2, 3).requires_grad_(), normal(4, 3, seed=1).requires_grad_()
    for changed in (inputs, weight):
        output = decoupled_linear(inputs, weight, angle="linear", impl="fused")
        with torch.no_grad():
            changed.mul_(2)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            output.sum().backward()


def test_the_dtypes_of_the_backward_pass_are_those_of_the_forward_pass() -> None:
    inputs, weight = normal(8, 5, dtype=torch.float32).requires_grad_(), normal(4, 5, seed=1, dtype=torch.float32)
    loss = decoupled_linear(inputs, weight, angle="linear", impl="fused").square().sum()
    (outside,) = torch.autograd.grad(loss, inputs, retain_graph=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        (inside,) = torch.autograd.grad(loss, inputs)
    assert torch.equal(inside, outside)


@pytest.mark.parametrize("impl", ["torch", "fused"])
def test_an_empty_batch_has_gradients_of_zero(impl: str) -> None:
    weight = normal(4, 3)
    small = [normal(4, seed=seed).abs() + 0.1 for seed in (1, 2, 3, 4)]
    for tensor in (weight, *small):
        tensor.requires_grad_()
    given: dict[str, Any] = dict(zip(("bias", "k", "radius", "gain"), small, strict=True))
    output = decoupled_linear(torch.zeros(0, 3).double(), weight, angle="sigmoid", magnitude="tanh", **given, impl=impl)
    for gradient in torch.autograd.grad(output.sum(), (weight, *small)):
        assert not gradient.any()
