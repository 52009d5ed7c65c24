# SPDX-License-Identifier: MIT
"""SphereConv layers are decoupled ones of a constant magnitude, and keep nothing more than torch's."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

import hypersphere as hs
from hypersphere.nn.decoupled import DecoupledLayer

Make = Callable[..., nn.Module]
SPHERES: list[tuple[Make, type[nn.Module], tuple[int, ...]]] = [
    (lambda **how: hs.nn.SphereConv1d(4, 6, 3, **how), hs.nn.DecoupledConv1d, (2, 4, 7)),
    (lambda **how: hs.nn.SphereConv2d(4, 6, 3, **how), hs.nn.DecoupledConv2d, (2, 4, 7, 5)),
    (lambda **how: hs.nn.SphereConv3d(4, 6, 3, **how), hs.nn.DecoupledConv3d, (2, 4, 3, 5, 4)),
    (lambda **how: hs.nn.SphereLinear(4, 6, **how), hs.nn.DecoupledLinear, (2, 4)),
]


@pytest.mark.parametrize(("make", "base", "shape"), SPHERES)
def test_sphere_layers_are_the_angle_alone(make: Make, base: type[nn.Module], shape: tuple[int, ...]) -> None:
    layer = make(angle="linear", bias=False)
    assert isinstance(layer, DecoupledLayer)
    assert isinstance(layer, base)
    assert layer.magnitude == hs.magnitudes.Sphere()
    assert layer.state_dict().keys() == {"weight"}
    inputs = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    outputs = layer(inputs)
    assert outputs.abs().max().item() <= 1
    # the angle does not change with the length of the input, but for eps
    torch.testing.assert_close(layer(10 * inputs), outputs, rtol=1e-3, atol=1e-4)


def test_arguments_of_torch_and_of_the_operator() -> None:
    layer = hs.nn.SphereConv2d(
        4, 6, 3, 2, 1, groups=2, angle="learned_sigmoid", weighting="linear", gain=True, eps=1e-3
    )
    assert layer.state_dict().keys() == {"weight", "bias", "raw_k", "gain"}
    assert layer(torch.zeros(1, 4, 8, 8)).shape == (1, 6, 4, 4)
    with pytest.raises(TypeError, match="unexpected keyword argument 'magnitude'"):
        hs.nn.SphereConv2d(4, 6, 3, magnitude="ball")  # type: ignore[call-arg]
