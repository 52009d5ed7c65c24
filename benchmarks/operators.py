# SPDX-License-Identifier: MIT
"""What SphereConv and decoupled convolution cost beside the ordinary one, eager and compiled, and in a whole step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.common import Row, compare, peak_memory
from benchmarks.regularizer import Step
from hypersphere.functional import decoupled_conv2d
from hypersphere.nn import SphereConv2d
from hypersphere.regularizers import HypersphericalEnergy
from hypersphere.training.environment import has_bfloat16

BATCH = 128
SIZES = ((64, 32), (128, 16), (256, 8))
COMBINATIONS = (
    ("linear", "sphere"),
    ("sigmoid", "sphere"),
    ("square_cosine", "sphere"),
    ("cosine", "ball"),
    ("cosine", "tanh"),
    ("cosine", "segmented"),
)
NAMES = {torch.float32: "float32", torch.bfloat16: "bfloat16"}


class Pass:
    """Forward and backward of one 3×3 convolution, channels_last, gradients of input and weight."""

    def __init__(self, channels: int, side: int, dtype: torch.dtype, convolve: Callable[..., Tensor]) -> None:
        generator = torch.Generator().manual_seed(0)
        shape = (BATCH, channels, side, side)
        inputs, grad = (torch.randn(shape, generator=generator).to(dtype) for _ in range(2))
        weight = (torch.randn(channels, channels, 3, 3, generator=generator) / (3 * channels**0.5)).to(dtype)
        inputs, self.grad, weight = (x.contiguous(memory_format=torch.channels_last) for x in (inputs, grad, weight))
        self.inputs, self.weight = inputs.requires_grad_(), weight.requires_grad_()
        self.convolve = convolve

    def __call__(self) -> None:
        """One pass each way."""
        self.inputs.grad = self.weight.grad = None
        self.convolve(self.inputs, self.weight, padding=1).backward(self.grad)


def layer_pass(make: Callable[[], nn.Module]) -> Callable[[], object]:
    """Forward and backward of a layer and what follows it, on noise of 64×32×32 in float32."""
    torch.manual_seed(0)
    layer = make().to(memory_format=torch.channels_last)
    inputs = torch.randn(BATCH, 64, 32, 32).contiguous(memory_format=torch.channels_last).requires_grad_()
    layer(inputs[:2]).sum().backward()

    def run() -> None:
        layer(inputs).square().mean().backward()

    return run


def sphere_layer() -> Callable[[], object]:
    """SphereConv without normalisation."""
    return layer_pass(lambda: SphereConv2d(64, 64, 3, padding=1, bias=False))


def normed_layer() -> Callable[[], object]:
    """An ordinary convolution and BatchNorm."""
    return layer_pass(lambda: nn.Sequential(nn.Conv2d(64, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64)))


def rows() -> Iterator[Row]:
    """Operators, eager and compiled, in float32 and, where the processor has it, bfloat16; then a step, then memory."""
    # without instructions for bfloat16 both sides of a ratio are slow alike
    bfloat16 = has_bfloat16()
    dtypes = (torch.float32, torch.bfloat16) if bfloat16 else (torch.float32,)
    if not bfloat16:
        print("this processor has no instructions for bfloat16: float32 only")
    for channels, side in SIZES:
        for dtype in dtypes:
            ordinary = Pass(channels, side, dtype, F.conv2d)
            yield operator_row(channels, side, dtype, "cosine", "sphere", ordinary, bound=1.15)
            for angle, magnitude in COMBINATIONS:
                bound = 2.0 if dtype == torch.bfloat16 else 1.6
                yield operator_row(channels, side, dtype, angle, magnitude, ordinary, bound=bound)
            for angle, magnitude in (("cosine", "sphere"), *COMBINATIONS):
                torch.compiler.reset()
                compiled = torch.compile(partial(decoupled_conv2d, angle=angle, magnitude=magnitude), fullgraph=True)
                yield compare(
                    f"{angle} {magnitude} {channels}x{side}x{side} {NAMES[dtype]}, compiled",
                    "conv2d",
                    Pass(channels, side, dtype, compiled),
                    ordinary,
                    bound=1.25,
                )
    for norm in (False, True):
        energy = HypersphericalEnergy(power=2.0, half_space=True, eps=1e-4)
        yield compare(
            f"step of CNN-9 32/64/128, SphereConv{' + BatchNorm' if norm else ''}, with MHE, {NAMES[dtypes[-1]]}",
            "ordinary with BatchNorm",
            Step(32, energy, BATCH, bfloat16=bfloat16, operator="sphere", norm=norm),
            Step(32, None, BATCH, bfloat16=bfloat16),
            bound=None if norm else 1.25,
        )
    for what, setup in (("SphereConv2d", sphere_layer), ("Conv2d + BatchNorm2d", normed_layer)):
        yield peak_memory(f"peak of a pass of {what}, 64x32x32, batch 128", "before it", setup, bound=None, rounds=3)


def operator_row(
    channels: int, side: int, dtype: torch.dtype, angle: str, magnitude: str, ordinary: Pass, *, bound: float
) -> Row:
    """One operator, eager."""
    how: dict[str, Any] = {"angle": angle, "magnitude": magnitude}
    return compare(
        f"{angle} {magnitude} {channels}x{side}x{side} {NAMES[dtype]}",
        "conv2d",
        Pass(channels, side, dtype, partial(decoupled_conv2d, **how)),
        ordinary,
        bound=bound,
    )
