# SPDX-License-Identifier: MIT
"""What every network for images must be able to do, checked the same way for each family."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

__all__ = ["check_compiled", "check_meta_then_real", "check_round_trip"]


def _images(model: nn.Module, number: int = 3) -> torch.Tensor:
    """Noise of the shape that the network was made for."""
    shape: tuple[int, ...] = model.image_shape  # type: ignore[assignment]
    return torch.randn(number, *shape)


def check_compiled(model: nn.Module, *, autocast: torch.dtype) -> None:
    """Compiled as one graph it computes the same, and features of the dtype `autocast` in bfloat16."""
    torch.compiler.reset()
    model.eval()
    images = _images(model)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(images), model(images))
    with torch.autocast("cpu", torch.bfloat16):
        assert compiled(images).dtype == autocast


def check_meta_then_real(make: Callable[..., Any]) -> Any:
    """Made without memory, then with it: every parameter is started; returns that network."""
    with torch.device("meta"):
        model = make()
    assert {p.device.type for p in model.parameters()} == {"meta"}
    model.to_empty(device="cpu").reset_parameters()
    assert model(_images(model)).isfinite().all()
    made = make(device="meta", dtype=torch.float64)
    assert {(p.device.type, p.dtype) for p in made.parameters()} == {("meta", torch.float64)}
    return model


def check_round_trip(make: Callable[..., Any]) -> Any:
    """Its state read by another, and a copy of it, compute the same; returns the copy."""
    model, other = make().eval(), make().eval()
    other.load_state_dict(model.state_dict(), strict=True)
    images = _images(model)
    assert torch.equal(other(images), model(images))
    copied = copy.deepcopy(model)
    assert torch.equal(copied(images), model(images))
    return copied
