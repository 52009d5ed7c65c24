# SPDX-License-Identifier: MIT
"""Decoupled convolution where numbers end: nothing, parallels, tiny and huge vectors, low precision, no images."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from hypersphere.formulas.angles import ANGLES
from hypersphere.formulas.magnitudes import MAGNITUDES
from hypersphere.functional import decoupled_conv2d, decoupled_linear
from hypersphere.functional.decoupled import WEIGHTINGS, unit_kernels

IMPLS = ["torch", "fused"]


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


KINDS = ("zero image", "zero kernels", "parallel", "tiny", "huge")
# float16 ends at 65504
HARD = [(kind, torch.float16) for kind in KINDS if kind != "huge"]
HARD += list(itertools.product(KINDS, (torch.float32, torch.bfloat16)))


def hard_input(kind: str, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    inputs, weight = normal(2, 4, 6, 5, dtype=torch.float32), normal(6, 4, 3, 3, seed=1, dtype=torch.float32)
    if kind == "zero image":
        inputs.zero_()
    elif kind == "zero kernels":
        weight.zero_()
    elif kind == "parallel":
        inputs = weight[:2, :, :, :].repeat(1, 1, 2, 2)
    elif kind == "tiny":
        inputs, weight = 1e-20 * inputs / inputs.norm(), 1e-20 * weight
    elif kind == "huge":
        inputs, weight = 1e18 * inputs / inputs.norm(), 1e18 * weight / weight.norm()
    return inputs.to(dtype).requires_grad_(), weight.to(dtype).requires_grad_()


@pytest.mark.parametrize("eps", [1e-4, 0.0])
@pytest.mark.parametrize(("kind", "dtype"), HARD)
@pytest.mark.parametrize("impl", IMPLS)
def test_finite_value_and_gradient(kind: str, dtype: torch.dtype, eps: float, impl: str) -> None:
    weightings = itertools.cycle((None, *WEIGHTINGS))  # every magnitude meets all four: there are five angles
    for magnitude, angle in itertools.product(MAGNITUDES, ANGLES):
        inputs, weight = hard_input(kind, dtype)
        weighting = next(weightings)
        how: dict[str, Any] = {"angle": angle, "magnitude": magnitude, "weighting": weighting, "eps": eps}
        output = decoupled_conv2d(inputs, weight, padding=1, **how, impl=impl)
        assert output.dtype == dtype
        assert bool(output.isfinite().all())
        if kind.startswith("zero"):
            assert not output.any()
        gradients = torch.autograd.grad(output.float().sum(), (inputs, weight))
        assert all(bool(gradient.isfinite().all()) for gradient in gradients), how


def test_a_zero_patch_has_the_gradient_of_a_hundred_unit_kernels() -> None:
    """d c / d x = w / (|w| sqrt(eps)) at x = 0."""
    inputs, weight = torch.zeros(1, 5, dtype=torch.float64, requires_grad=True), normal(1, 5)
    (gradient,) = torch.autograd.grad(decoupled_linear(inputs, weight).sum(), inputs)
    torch.testing.assert_close(gradient, 100 * unit_kernels(weight, 1e-4)[0])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_stays_near_float32(dtype: torch.dtype) -> None:
    inputs, weight = normal(2, 16, 6, 5, dtype=dtype), normal(6, 16, 3, 3, seed=1, dtype=dtype)
    for angle in ANGLES:
        found = decoupled_conv2d(inputs, weight, angle=angle, magnitude="tanh")
        expected = decoupled_conv2d(inputs.float(), weight.float(), angle=angle, magnitude="tanh")
        torch.testing.assert_close(found.float(), expected, rtol=0.02, atol=4 * torch.finfo(dtype).eps)


def test_autocast_takes_products_alone_to_low_precision() -> None:
    inputs, weight = normal(2, 16, 6, 5, dtype=torch.float32), normal(6, 16, 3, 3, seed=1, dtype=torch.float32)
    weight.requires_grad_()
    for impl in IMPLS:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = decoupled_conv2d(inputs, weight, angle="linear", impl=impl)
        assert found.dtype == torch.bfloat16
        expected = decoupled_conv2d(inputs, weight, angle="linear")
        torch.testing.assert_close(found.float(), expected, rtol=0.02, atol=0.01)
        (gradient,) = torch.autograd.grad(found.float().square().sum(), weight)
        assert gradient.dtype == torch.float32


@pytest.mark.parametrize("scale", [1e10, 1e14, 1e18])
@pytest.mark.parametrize("impl", IMPLS)
def test_gradients_of_long_vectors_are_those_of_float64(scale: float, impl: str) -> None:
    tensors = [scale * F.normalize(normal(num, 7, seed=num)).float() for num in (3, 5)]
    found = []
    for dtype in (torch.float32, torch.float64):
        pair = [tensor.to(dtype).requires_grad_() for tensor in tensors]
        found.append(torch.autograd.grad(decoupled_linear(*pair, angle="linear", impl=impl).square().sum(), pair))
    for single, double in zip(*found, strict=True):
        torch.testing.assert_close(single.double() * scale, double * scale, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("impl", IMPLS)
def test_an_eps_that_float32_does_not_know_counts_as_none(impl: str) -> None:
    inputs, weight = torch.zeros(2, 3, requires_grad=True), torch.zeros(4, 3, requires_grad=True)
    output = decoupled_linear(inputs, weight, eps=1e-50, impl=impl)
    for found in (output, *torch.autograd.grad(output.sum(), (inputs, weight))):
        assert not found.any()


@pytest.mark.parametrize("impl", IMPLS)
def test_inputs_beyond_float16_under_autocast(impl: str) -> None:
    with torch.autocast("cpu", dtype=torch.float16):
        found = decoupled_linear(torch.full((1, 4), 1e5), torch.eye(4), impl=impl)
    torch.testing.assert_close(found, torch.full((1, 4), 0.5, dtype=torch.float16), rtol=0, atol=1e-3)


def test_an_empty_batch() -> None:
    inputs, weight = torch.zeros(0, 4, 6, 5, requires_grad=True), normal(6, 4, 3, 3, dtype=torch.float32)
    output = decoupled_conv2d(inputs, weight.requires_grad_(), padding=1, angle="linear")
    assert output.shape == (0, 6, 6, 5)
    output.sum().backward()
    assert not weight.grad.any()


@pytest.mark.parametrize("impl", IMPLS)
def test_a_gain_beyond_float16_is_taken_at_its_end(impl: str) -> None:
    inputs, weight = normal(2, 3, dtype=torch.float16), torch.eye(3, dtype=torch.float16)
    gain = torch.tensor([1.0, 1e5, -1e5], requires_grad=True)
    output = decoupled_linear(inputs, weight, gain=gain, impl=impl)
    (gradient,) = torch.autograd.grad(output.float().sum(), gain)
    assert bool(output.isfinite().all())
    assert bool(gradient.isfinite().all())


@pytest.mark.parametrize("weighting", [None, *WEIGHTINGS])
@pytest.mark.parametrize(("size", "scale"), [(1e-20, 1.0), (1e18, 1e-9)])
@pytest.mark.parametrize("impl", IMPLS)
def test_gradients_of_very_short_and_long_kernels_are_those_of_float64(
    size: float, scale: float, weighting: str | None, impl: str
) -> None:
    inputs, weight = torch.tensor([[1.0, -3.0], [2.0, 0.5]]), size * torch.tensor([[0.6, 0.9], [-0.28, 0.7]])
    upstream = scale * torch.tensor([[1.0, 2.0], [0.5, -1.0]])
    for angle, magnitude in itertools.product(ANGLES, MAGNITUDES):
        how: dict[str, Any] = {"angle": angle, "magnitude": magnitude, "weighting": weighting, "eps": 0.0}
        gradients = []
        for dtype in (torch.float32, torch.float64):
            kernels = weight.to(dtype).requires_grad_()
            output = decoupled_linear(inputs.to(dtype), kernels, **how, impl=impl)
            gradients.append(torch.autograd.grad((output * upstream.to(dtype)).sum(), kernels)[0].double())
        found, expected = gradients
        torch.testing.assert_close(found, expected, rtol=2e-4, atol=2e-4 * expected.abs().max().item(), msg=str(how))


@pytest.mark.parametrize("impl", IMPLS)
def test_the_gradient_of_a_float16_weight_is_narrowed_once(impl: str) -> None:
    """What comes by the direction and what comes by the length are each beyond float16; the sum is at its ends."""
    weight = torch.tensor([[0.6e-2, 0.8e-2]], dtype=torch.float16, requires_grad=True)
    inputs = torch.tensor([[1.0, -3.0]], dtype=torch.float16).repeat(64, 1)
    (64 * decoupled_linear(inputs, weight, impl=impl)).sum().backward()
    assert weight.grad is not None
    assert weight.grad.tolist() == [[65504.0, -65504.0]]


@pytest.mark.parametrize("impl", IMPLS)
def test_without_eps_patches_count_down_to_a_length_of_1e_15(impl: str) -> None:
    inputs, weight = F.normalize(normal(3, 5)).float(), normal(4, 5, seed=1).float()
    expected = decoupled_linear(inputs, weight, eps=0.0, impl=impl)
    found = decoupled_linear(2e-15 * inputs, weight, eps=0.0, impl=impl)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    assert not decoupled_linear(0.5e-15 * inputs, weight, eps=0.0, impl=impl).any()


@pytest.mark.parametrize("impl", ["torch", "fused"])
@pytest.mark.parametrize("magnitude", ["ball", "tanh", "segmented"])
def test_kernels_that_are_all_zero_have_no_mean_length(magnitude: str, impl: str) -> None:
    inputs, weight = normal(3, 4).requires_grad_(), torch.zeros(2, 4, dtype=torch.float64, requires_grad=True)
    how: dict[str, Any] = {"magnitude": magnitude, "weighting": "joint", "eps": 0.0, "impl": impl}
    output = decoupled_linear(inputs, weight, **how)
    assert (output == 0).all()
    for gradient in torch.autograd.grad(output.sum(), (inputs, weight)):
        assert gradient.isfinite().all()
