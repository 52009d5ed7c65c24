# SPDX-License-Identifier: MIT
"""Decoupled convolution against independent numbers, loops over patches, its own special cases and hard inputs."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn import functional as F

from hypersphere.formulas.angles import ANGLES, Angle, Cosine, Linear, Sigmoid, SquareCosine
from hypersphere.formulas.magnitudes import Ball, Log, Magnitude, Mix, Power, Segmented, Sphere, Tanh
from hypersphere.formulas.magnitudes import Linear as LinearMagnitude
from hypersphere.functional import (
    decoupled_conv1d,
    decoupled_conv2d,
    decoupled_conv3d,
    decoupled_linear,
    patch_norms,
)
from hypersphere.functional.decoupled import WEIGHTINGS, decouple, unit_kernels

FIXTURE = json.loads((Path(__file__).parents[1] / "fixtures" / "operators.json").read_text())
# as its note says: alpha 1.3, beta 0.4, absolute radius 1.7, k 0.3
FIXTURE_ANGLES: dict[str, Angle] = {
    "cosine": Cosine(),
    "linear": Linear(),
    "sigmoid": Sigmoid(0.3),
    "square_cosine": SquareCosine(),
}
FIXTURE_MAGNITUDES: dict[str, Magnitude] = {
    "sphere": Sphere(1.3),
    "ball": Ball(1.3, 1.7, relative=False),
    "tanh": Tanh(1.3, 1.7, relative=False),
    "linear": LinearMagnitude(1.3),
    "segmented": Segmented(1.3, 0.4, 1.7, relative=False),
    "log": Log(1.3),
    "mix": Mix(1.3, 0.4),
}
IMPLS = ["torch", "fused"]
# stride, padding, dilation, groups
PLACES = [(1, 1, 1, 1), (2, 1, 1, 2), (1, 2, 2, 1)]


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


# ------------------------------------------------------------------------------------------------ independent numbers


@pytest.mark.parametrize("impl", IMPLS)
@pytest.mark.parametrize("case", FIXTURE["cases"], ids=lambda case: f"{case['angle']}-{case['magnitude']}")
def test_equal_the_independent_numbers(case: dict[str, Any], impl: str) -> None:
    inputs, weight, upstream = (
        torch.tensor(FIXTURE[name], dtype=torch.float64) for name in ("input", "weight", "upstream")
    )
    inputs.requires_grad_()
    weight.requires_grad_()
    angle, magnitude = FIXTURE_ANGLES[case["angle"]], FIXTURE_MAGNITUDES[case["magnitude"]]
    output = decoupled_linear(inputs, weight, angle=angle, magnitude=magnitude, impl=impl)
    gradients = torch.autograd.grad(output, (inputs, weight), upstream)
    torch.testing.assert_close(output.detach(), torch.tensor(case["output"], dtype=torch.float64), rtol=0, atol=1e-12)
    for found, name in zip(gradients, ("grad_input", "grad_weight"), strict=True):
        expected = torch.tensor(case[name], dtype=torch.float64)
        # the fixture's gradients are finite differences
        torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-8)


def loop(inputs: Tensor, weight: Tensor, stride: int, padding: int, dilation: int, groups: int) -> Tensor:
    """Linear angle, ball of radius 2: patch by patch, kernel by kernel."""
    padded = F.pad(inputs, [padding] * 4)
    size, width = weight.shape[2], weight.shape[1]
    reach = dilation * (size - 1) + 1
    rows, columns = ((side - reach) // stride + 1 for side in padded.shape[2:])
    out = torch.zeros(len(inputs), len(weight), rows, columns, dtype=torch.float64)
    for n, j, i, m in itertools.product(range(len(inputs)), range(len(weight)), range(rows), range(columns)):
        first = j // (len(weight) // groups) * width
        top, left = i * stride, m * stride
        patch = padded[n, first : first + width, top : top + reach : dilation, left : left + reach : dilation]
        r = math.sqrt(float(patch.square().sum()) + 1e-4)
        length = math.sqrt(float(weight[j].square().sum()) + 1e-4)
        cosine = float((patch * weight[j]).sum()) / (r * length)
        out[n, j, i, m] = min(r, 2.0) / 2.0 * (1 - 2 * math.acos(cosine) / math.pi)
    return out


@pytest.mark.parametrize("impl", IMPLS)
@pytest.mark.parametrize("place", PLACES)
def test_equal_a_loop_over_patches(place: tuple[int, int, int, int], impl: str) -> None:
    inputs, weight = normal(2, 4, 6, 5), normal(6, 4 // place[3], 3, 3, seed=1)
    ball = Ball(radius=2.0, relative=False)
    found = decoupled_conv2d(inputs, weight, None, *place, angle="linear", magnitude=ball, impl=impl)
    torch.testing.assert_close(found, loop(inputs, weight, *place), rtol=1e-12, atol=1e-13)


# ------------------------------------------------------------------------------------------------ laws


@pytest.mark.parametrize("impl", IMPLS)
@pytest.mark.parametrize("angle", list(ANGLES))
def test_sphereconv_depends_on_no_length(angle: str, impl: str) -> None:
    inputs, weight = normal(2, 4, 6, 5), normal(6, 4, 3, 3, seed=1)
    one = decoupled_conv2d(inputs, weight, angle=angle, eps=0.0, impl=impl)
    other = decoupled_conv2d(3e3 * inputs, 2e-3 * weight, angle=angle, eps=0.0, impl=impl)
    torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)
    # with the published eps, up to its share of the squares
    one = decoupled_conv2d(inputs, weight, angle=angle, impl=impl)
    other = decoupled_conv2d(10 * inputs, 0.5 * weight, angle=angle, impl=impl)
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("angle", list(ANGLES))
def test_gradients_are_tangential(angle: str) -> None:
    inputs, weight = normal(3, 7).requires_grad_(), normal(5, 7, seed=1).requires_grad_()
    output = decoupled_linear(inputs, weight, angle=angle, eps=0.0)
    of_inputs, of_weight = torch.autograd.grad(output, (inputs, weight), normal(3, 5, seed=2))
    assert (of_inputs * inputs).sum(1).abs().max().item() < 1e-13
    assert (of_weight * weight).sum(1).abs().max().item() < 1e-13


@pytest.mark.parametrize("impl", IMPLS)
@pytest.mark.parametrize("eps", [1e-4, 0.0])
def test_cosine_linear_weighted_is_the_ordinary_convolution(impl: str, eps: float) -> None:
    inputs, weight, bias = normal(2, 4, 6, 5), normal(6, 2, 3, 3, seed=1), normal(6, seed=2)
    found = decoupled_conv2d(
        inputs, weight, bias, 2, 1, 1, 2, magnitude="linear", weighting="linear", eps=eps, impl=impl
    )
    torch.testing.assert_close(found, F.conv2d(inputs, weight, bias, 2, 1, 1, 2), rtol=1e-12, atol=1e-13)


def test_full_spherenorm_contains_the_ordinary_convolution() -> None:
    inputs, weight = normal(2, 4, 6, 5), normal(6, 4, 3, 3, seed=1)
    gain = unit_kernels(weight, 1e-4)[1]
    exponent = torch.tensor(1.0, dtype=torch.float64)
    found = decoupled_conv2d(inputs, weight, magnitude=Power(), gain=gain, exponent=exponent)
    torch.testing.assert_close(found, F.conv2d(inputs, weight), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("impl", IMPLS)
def test_weighted_forms_are_the_published_ones(impl: str) -> None:
    """Equations 15 and 16 with an absolute radius: tanh of the product, product of two."""
    inputs, weight, rho = normal(3, 7), normal(5, 7, seed=1), 2.5
    r, n = ((x.square().sum(1) + 1e-4).sqrt() for x in (inputs, weight))
    cosine = inputs @ weight.T / r[:, None] / n
    tanh = Tanh(1.3, rho, relative=False)
    expected = {
        "linear": 1.3 * torch.tanh(r / rho)[:, None] * n * cosine,
        "joint": 1.3 * torch.tanh(r[:, None] * n / rho) * cosine,
        "separate": 1.3 * torch.tanh(n / rho) * torch.tanh(r / rho)[:, None] * cosine,
    }
    assert expected.keys() == WEIGHTINGS.keys()
    for weighting, values in expected.items():
        found = decoupled_linear(inputs, weight, magnitude=tanh, weighting=weighting, impl=impl)
        torch.testing.assert_close(found, values, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("impl", IMPLS)
def test_a_relative_radius_is_a_multiple_of_the_mean_norm(impl: str) -> None:
    inputs, weight = normal(2, 4, 6, 5), normal(6, 4, 3, 3, seed=1)
    mean = patch_norms(inputs, 3).mean()
    absolute = Ball(radius=0.9 * mean.item(), relative=False)
    expected = decoupled_conv2d(inputs, weight, magnitude=absolute, impl=impl)
    relative = Ball(radius=0.9)
    torch.testing.assert_close(decoupled_conv2d(inputs, weight, magnitude=relative, impl=impl), expected)
    given = decoupled_conv2d(inputs, weight, magnitude=relative, mean_norm=mean, impl=impl)
    torch.testing.assert_close(given, expected)
    # the layer does not see a common factor of its input
    scaled = decoupled_conv2d(50 * inputs, weight, magnitude=relative, eps=0.0, impl=impl)
    torch.testing.assert_close(scaled, decoupled_conv2d(inputs, weight, magnitude=relative, eps=0.0, impl=impl))


@pytest.mark.parametrize("impl", IMPLS)
def test_weighted_forms_with_a_relative_radius(impl: str) -> None:
    """Both lengths are in units of their means: that of the patches and that of the kernels."""
    inputs, weight, rho = normal(3, 7), normal(5, 7, seed=1) * torch.arange(1.0, 6.0)[:, None], 0.8
    r, n = ((x.square().sum(1) + 1e-4).sqrt() for x in (inputs, weight))
    cosine = inputs @ weight.T / r[:, None] / n
    mean, share = r.mean(), n / n.mean()
    expected = {
        "linear": torch.tanh(r / (rho * mean))[:, None] * n * cosine,
        "joint": torch.tanh(r[:, None] * share / (rho * mean)) * cosine,
        "separate": torch.tanh(share / rho) * torch.tanh(r / (rho * mean))[:, None] * cosine,
    }
    for weighting, values in expected.items():
        found = decoupled_linear(inputs, weight, magnitude=Tanh(1.0, rho), weighting=weighting, impl=impl)
        torch.testing.assert_close(found, values, rtol=1e-12, atol=1e-13)


def test_the_mean_norm_beside_the_output() -> None:
    inputs, weight = normal(2, 4, 6, 5), normal(6, 4, 3, 3, seed=1)
    place = (1, 1, 1, 1, "cosine", "tanh", None, 1e-4)
    for impl in IMPLS:
        mean = decouple(2, inputs.requires_grad_(), weight, None, *place, impl=impl)[1]
        torch.testing.assert_close(mean, patch_norms(inputs.detach(), 3, padding=1).mean())
        assert not mean.requires_grad


@pytest.mark.parametrize("impl", IMPLS)
def test_other_numbers_of_dimensions(impl: str) -> None:
    inputs, weight = normal(2, 4, 9), normal(6, 2, 3, seed=1)
    flat = decoupled_conv1d(inputs, weight, None, 2, 1, 1, 2, angle="linear", impl=impl)
    image = decoupled_conv2d(
        inputs[:, :, None], weight[:, :, None], None, (1, 2), (0, 1), 1, 2, angle="linear", impl=impl
    )
    torch.testing.assert_close(flat, image[:, :, 0])
    volume = decoupled_conv3d(
        inputs[:, :, None, None], weight[:, :, None, None], None, (1, 1, 2), (0, 0, 1), 1, 2, angle="linear", impl=impl
    )
    torch.testing.assert_close(flat, volume[:, :, 0, 0])
    one = decoupled_conv1d(inputs[0], weight, None, 2, 1, 1, 2, angle="linear", impl=impl)
    torch.testing.assert_close(one, flat[0])
    vectors = normal(2, 3, 5, 7)
    dense = decoupled_linear(vectors, normal(4, 7, seed=1), angle="sigmoid", impl=impl)
    patches = decoupled_conv1d(vectors.reshape(-1, 7, 1), normal(4, 7, seed=1)[:, :, None], angle="sigmoid", impl=impl)
    torch.testing.assert_close(dense, patches.reshape(2, 3, 5, 4))


def test_outputs_are_no_views() -> None:
    # an activation in place would make autograd copy all of a view, forth and back
    images, weight = torch.randn(2, 3, 5, 5, requires_grad=True), torch.randn(4, 3, 3, 3)
    output = decoupled_conv2d(images, weight)
    dense = decoupled_linear(torch.randn(2, 3, requires_grad=True), torch.randn(4, 3))
    for found in (output, dense):
        assert not found._is_view()
        assert type(found.relu_().grad_fn).__name__ == "ReluBackward0"


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
def test_padding_by_name_is_that_of_torch() -> None:
    inputs, weight = normal(2, 4, 6, 5), normal(6, 4, 4, 3, seed=1)
    how: dict[str, Any] = {"magnitude": "linear", "weighting": "linear"}
    for padding in ("same", "valid"):
        found = decoupled_conv2d(inputs, weight, padding=padding, dilation=(1, 2), **how)
        torch.testing.assert_close(found, F.conv2d(inputs, weight, padding=padding, dilation=(1, 2)))


# ------------------------------------------------------------------------------------------------ derivatives


LEARNED: dict[str, tuple[Any, dict[str, Tensor]]] = {
    "learned k": ({"angle": Sigmoid(0.5, learnable=True)}, {"k": torch.tensor([0.3, 0.5, 0.9, 2.0])}),
    "learned ball": ({"magnitude": Ball(learnable=True)}, {"radius": torch.tensor([0.5, 0.9, 1.1, 1.6])}),
    "absolute tanh": ({"magnitude": Tanh(1.1, 2.0, relative=False)}, {"radius": torch.tensor([2.0, 1.0, 4.0, 3.0])}),
    "segments": ({"magnitude": Segmented(1.0, 0.3, learnable=True)}, {"radius": torch.tensor([0.5, 0.9, 1.1, 1.6])}),
    "power": ({"magnitude": Power()}, {"exponent": torch.tensor(0.3)}),
    "gain": ({"angle": "linear"}, {"gain": torch.tensor([0.5, 1.0, 2.0, -1.0])}),
    "running mean": ({"magnitude": "tanh", "angle": "sigmoid"}, {"mean_norm": torch.tensor(3.0)}),
    "joint": ({"magnitude": Ball(), "weighting": "joint", "angle": "linear"}, {}),
    "separate": ({"magnitude": Tanh(), "weighting": "separate", "angle": "square_cosine"}, {}),
    "mix": ({"magnitude": Mix(0.5, 2.0), "weighting": "linear"}, {}),
}


def check_gradients(function: Callable[..., Tensor], *tensors: Tensor) -> None:
    # a random projection of the Jacobian in a tenth of the time; the usual tolerances would let one percent pass there
    torch.autograd.gradcheck(function, tensors, fast_mode=True, atol=1e-9, rtol=1e-6)


@pytest.mark.parametrize("impl", IMPLS)
@pytest.mark.parametrize(("angle", "magnitude"), list(itertools.product(FIXTURE_ANGLES, FIXTURE_MAGNITUDES)))
def test_gradcheck_of_every_angle_with_every_magnitude(angle: str, magnitude: str, impl: str) -> None:
    place = PLACES[(list(FIXTURE_ANGLES).index(angle) + list(FIXTURE_MAGNITUDES).index(magnitude)) % 3]
    inputs, weight = normal(1, 4, 4, 3).requires_grad_(), normal(4, 4 // place[3], 3, 2, seed=1).requires_grad_()
    bias = normal(4, seed=2).requires_grad_()
    chosen: dict[str, Any] = {"angle": FIXTURE_ANGLES[angle], "magnitude": FIXTURE_MAGNITUDES[magnitude]}

    def function(*tensors: Tensor) -> Tensor:
        return decoupled_conv2d(*tensors, *place, **chosen, impl=impl)

    check_gradients(function, inputs, weight, bias)


@pytest.mark.parametrize("impl", IMPLS)
@pytest.mark.parametrize("name", list(LEARNED))
@pytest.mark.parametrize("place", PLACES)
def test_gradcheck_of_everything_that_can_be_learned(name: str, place: tuple[int, int, int, int], impl: str) -> None:
    chosen, learned = LEARNED[name]
    tensors = [x.double().requires_grad_() for x in learned.values()]
    inputs, weight = normal(1, 4, 4, 3).requires_grad_(), normal(4, 4 // place[3], 3, 2, seed=1).requires_grad_()

    def function(inputs: Tensor, weight: Tensor, *values: Tensor) -> Tensor:
        given: dict[str, Any] = dict(zip(learned, values, strict=True))
        return decoupled_conv2d(inputs, weight, None, *place, **chosen, **given, impl=impl)

    check_gradients(function, inputs, weight, *tensors)


@pytest.mark.parametrize("impl", IMPLS)
def test_second_derivatives(impl: str) -> None:
    inputs, weight = normal(2, 3).requires_grad_(), normal(2, 3, seed=1).requires_grad_()
    k = torch.tensor([0.4, 0.8], dtype=torch.float64, requires_grad=True)

    def function(inputs: Tensor, weight: Tensor, k: Tensor) -> Tensor:
        return decoupled_linear(inputs, weight, angle=Sigmoid(learnable=True), magnitude="tanh", k=k, impl=impl)

    torch.autograd.gradgradcheck(function, (inputs, weight, k))


def test_batches_of_weights_by_vmap_take_the_plain_form() -> None:
    inputs, weights = normal(2, 3), normal(4, 5, 3, seed=1)
    found = torch.func.vmap(lambda weight: decoupled_linear(inputs, weight, angle="linear"))(weights)
    for one, weight in zip(found, weights, strict=True):
        torch.testing.assert_close(one, decoupled_linear(inputs, weight, angle="linear"))
    with pytest.raises(
        ValueError, match=r"decoupled_linear: impl='fused' cannot run here: torch\.func and forward-mode"
    ):
        torch.func.vmap(lambda weight: decoupled_linear(inputs, weight, impl="fused"))(weights)


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")  # of torch itself
def test_forward_mode_derivatives_and_hessians() -> None:
    inputs, weight = normal(2, 3), normal(4, 3, seed=1)

    def function(weight: Tensor) -> Tensor:
        return decoupled_linear(inputs, weight, angle="sigmoid", magnitude="tanh")

    forwards, backwards = torch.func.jacfwd(function)(weight), torch.func.jacrev(function)(weight)
    torch.testing.assert_close(forwards, backwards, rtol=1e-12, atol=1e-13)
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(weight, normal(4, 3, seed=2))  # the input is an ordinary one
        tangent = forward_ad.unpack_dual(function(dual)).tangent
    torch.testing.assert_close(tangent, (backwards * normal(4, 3, seed=2)).sum((2, 3)))
    found = torch.func.hessian(lambda w: function(w).square().sum())(weight)
    expected = torch.autograd.functional.hessian(lambda w: function(w).square().sum(), weight)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


# ------------------------------------------------------------------------------------------------ wrong input


IMAGES, KERNELS = torch.zeros(2, 4, 6, 5), torch.zeros(6, 4, 3, 3)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: decoupled_conv2d(torch.zeros(2, 3, 6, 5), KERNELS),
            ValueError,
            r"decoupled_conv2d: expected input \(N, 4, H, W\) for weight \(6, 4, 3, 3\) and groups=1, got shape \(2",
        ),
        (
            lambda: decoupled_conv2d(IMAGES, torch.zeros(6, 4, 3)),
            ValueError,
            r"decoupled_conv2d: expected weight \(O, C / groups, kT, kH\), got shape \(6, 4, 3\)",
        ),
        (lambda: decoupled_conv2d(IMAGES, KERNELS, groups=4), ValueError, r"groups must divide the 6 kernels, got 4"),
        (
            lambda: decoupled_conv2d(IMAGES, KERNELS.double()),
            TypeError,
            r"decoupled_conv2d: expected input and weight of one dtype, got torch.float32 and torch.float64\. Cast",
        ),
        (
            lambda: decoupled_conv2d(IMAGES.long(), KERNELS),
            TypeError,
            r"decoupled_conv2d: expected input of a floating-point dtype, got torch.int64",
        ),
        (
            lambda: decoupled_conv2d(IMAGES, KERNELS, stride=0),
            ValueError,
            r"stride must be a whole number of 1 or more",
        ),
        (lambda: decoupled_conv2d(IMAGES, KERNELS, padding=(1, 2, 3)), ValueError, r"or 2 of them, got \(1, 2, 3\)"),
        (
            lambda: decoupled_conv2d(IMAGES, KERNELS, stride=2, padding="same"),
            ValueError,
            r"padding='same' is for stride 1, got stride \(2, 2\)",
        ),
        (
            lambda: decoupled_conv2d(IMAGES, KERNELS, padding="full"),
            ValueError,
            r"unknown padding 'full': choose same, v",
        ),
        (
            lambda: decoupled_conv2d(IMAGES, KERNELS, dilation=4),
            ValueError,
            r"the kernel covers \(9, 9\) points, the padded input has only \(6, 5\)\. Pad more",
        ),
        (lambda: decoupled_conv2d(IMAGES, KERNELS, eps=-1.0), ValueError, r"eps must lie in \[0, 1\], got -1"),
        (lambda: decoupled_conv2d(IMAGES, KERNELS, weighting="x"), ValueError, r"unknown weighting 'x': choose joint"),
        (
            lambda: decoupled_conv2d(IMAGES, KERNELS, impl="x"),
            ValueError,
            r"unknown impl 'x': choose auto, fused, torch",
        ),
        (
            lambda: decoupled_conv2d(IMAGES, torch.zeros(6, 2, 3, 3), torch.zeros(2), groups=2),
            ValueError,
            r"decoupled_conv2d: expected bias \(6,\) for weight \(6, 2, 3, 3\), got shape \(2,\)",
        ),
        (
            lambda: decoupled_conv2d(IMAGES, KERNELS, angle="sigmoid", k=torch.ones(3)),
            ValueError,
            r"decoupled_conv2d: expected k \(6,\) or \(\) for weight \(6, 4, 3, 3\), got shape \(3,\)",
        ),
        (lambda: decoupled_conv2d(IMAGES, KERNELS, angle="x"), ValueError, r"unknown angle 'x': choose cosine"),
        (
            lambda: decoupled_conv2d(IMAGES, KERNELS, k=torch.ones(())),
            ValueError,
            r"decoupled_conv2d: angle Cosine\(\) has no use for k\. Leave it out",
        ),
        (
            lambda: decoupled_conv2d(IMAGES, KERNELS, radius=torch.ones(6)),
            ValueError,
            r"magnitude Sphere\(alpha=1\.0\) has no use for radius",
        ),
        (
            lambda: decoupled_conv2d(IMAGES, KERNELS, magnitude="tanh", exponent=torch.ones(())),
            ValueError,
            r"magnitude Tanh\(.*\) has no use for exponent",
        ),
        (
            lambda: decoupled_conv2d(IMAGES, KERNELS, magnitude="tanh", mean_norm=torch.ones(2)),
            ValueError,
            r"decoupled_conv2d: expected mean_norm \(\), got shape \(2,\)",
        ),
        (
            lambda: decoupled_conv2d(IMAGES, KERNELS, magnitude="power", exponent=torch.ones(6)),
            ValueError,
            r"decoupled_conv2d: expected exponent \(\), got shape \(6,\)",
        ),
        (
            lambda: decoupled_conv2d(IMAGES, KERNELS, magnitude="tanh", radius=torch.tensor(-1.0)),
            ValueError,
            r"decoupled_conv2d: radius must be above 0, got -1\.",
        ),
        *[
            (
                lambda stride=stride: decoupled_conv2d(IMAGES, KERNELS, stride=stride),
                ValueError,
                r"decoupled_conv2d: stride must be a whole number of 1 or more, or 2 of them, got",
            )
            for stride in (1.5, None, "1", True, 0)
        ],
        *[
            (
                lambda name=name: decoupled_conv2d(IMAGES, KERNELS, **{name: 1.0}),
                TypeError,
                rf"decoupled_conv2d: expected {name} to be a torch\.Tensor, got float",
            )
            for name in ("k", "radius", "bias", "gain", "mean_norm")
        ],
        (
            lambda: decoupled_conv2d(IMAGES, KERNELS, magnitude="tanh", mean_norm=torch.tensor(-1.0)),
            ValueError,
            r"decoupled_conv2d: mean_norm must be 0 or above, got -1\.",
        ),
        (
            lambda: decoupled_conv2d(IMAGES, KERNELS[:, :, :0]),
            ValueError,
            r"decoupled_conv2d: a kernel needs at least one point, got weight",
        ),
        (
            lambda: decoupled_linear(torch.zeros(2, 3), torch.zeros(5, 4)),
            ValueError,
            r"decoupled_linear: expected input \(\.\.\., 4\) for weight \(5, 4\), got shape \(2, 3\)",
        ),
    ],
)
def test_what_is_wrong_is_said(call: Callable[[], object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
