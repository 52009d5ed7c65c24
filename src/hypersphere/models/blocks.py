# SPDX-License-Identifier: MIT
"""The parts that residual and plain networks are made of: convolutions, units with a shortcut, the last layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hypersphere.models.operators import Operator

__all__ = ["Activation", "Layers", "SamePadding", "Unit", "in_full_precision"]

Activation = Literal["relu", "prelu", "none"]


class SamePadding(nn.Module):
    """Zeros around a map as TensorFlow's SAME puts them: where their number is odd, one more below and to the right.

    Args:
        kernel_size: of the layer that follows, which pads nothing itself.
        stride: of that layer.
        value: what to pad with, -inf before a maximum.

    Shape:
        (N, C, H, W) -> (N, C, H + h, W + w), such that the layer that follows gives ceil(H / stride) rows.

    Source:
        The released code of liu2017spherenet and liu2018decoupled is in TensorFlow. PyTorch pads both sides alike, so
        that a strided layer reads a grid that is one pixel away.

    Example:
        >>> SamePadding(3, 2)(torch.zeros(1, 1, 32, 32)).shape
        torch.Size([1, 1, 33, 33])
    """

    def __init__(self, kernel_size: int, stride: int, value: float = 0.0) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = stride
        self.value = value

    def forward(self, images: Float[Tensor, "N C H W"]) -> Float[Tensor, "N C H2 W2"]:
        """The padded map."""
        padding = []
        for size in (images.shape[3], images.shape[2]):
            outputs = -(-size // self.stride)
            total = max((outputs - 1) * self.stride + self.kernel_size - size, 0)
            padding += [total // 2, total - total // 2]
        return nn.functional.pad(images, padding, value=self.value)

    def extra_repr(self) -> str:
        """What it was made with."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, value={self.value}"


@dataclass(frozen=True)
class Layers:
    """What the layers of one network have in common.

    Args:
        convolution: makes the convolutions.
        ordinary: makes those that are ordinary in every network, the 1×1 shortcuts.
        norm: whether each is normalised over the batch.
        norm_eps: added to the batch variance.
        norm_momentum: share of the newest batch in the running statistics.
        activation: "relu", "prelu" (a slope for each channel, 0 at the start) or "none".
        tf_padding: pad strided layers as TensorFlow does.
        device: where the parameters are made.
        dtype: of the parameters.
    """

    convolution: Operator
    ordinary: Operator
    norm: bool
    norm_eps: float
    norm_momentum: float
    activation: Activation
    tf_padding: bool
    device: torch.device | str | None
    dtype: torch.dtype | None

    def convolved(
        self,
        inputs: int,
        width: int,
        kernel_size: int = 3,
        *,
        stride: int = 1,
        activated: bool = True,
        ordinary: bool = False,
    ) -> nn.Sequential:
        """A convolution that keeps the size of the map, divided by its stride; norm and activation after it."""
        made = nn.Sequential()
        shifted = self.tf_padding and stride > 1
        if shifted:
            made.add_module("pad", SamePadding(kernel_size, stride))
        make = self.ordinary if ordinary else self.convolution
        padding = 0 if shifted else kernel_size // 2
        made.add_module("conv", make(inputs, width, kernel_size, stride=stride, padding=padding))
        if self.norm:
            norm = nn.BatchNorm2d(width, self.norm_eps, self.norm_momentum, device=self.device, dtype=self.dtype)
            made.add_module("norm", norm)
        if activated and self.activation != "none":
            made.add_module("activation", self.activated(width))
        return made

    def activated(self, width: int) -> nn.Module:
        """The activation of a map with `width` channels."""
        if self.activation == "prelu":
            return nn.PReLU(width, init=0.0, device=self.device, dtype=self.dtype)
        return nn.ReLU() if self.activation == "relu" else nn.Identity()

    def pooled(self) -> nn.Sequential:
        """The maximum over 3×3 at stride 2 that follows a large first convolution."""
        if self.tf_padding:
            return nn.Sequential(SamePadding(3, 2, value=-torch.inf), nn.MaxPool2d(3, 2))
        return nn.Sequential(nn.MaxPool2d(3, 2, padding=1))


class Unit(nn.Module):
    """Two 3×3 convolutions and a shortcut around both: the first is activated, the second is not.

    Args:
        layers: how convolutions are made.
        inputs: channels of the input.
        width: channels of the output.
        stride: of the first convolution and the shortcut.
        activate_sum: whether the sum is activated.

    Shape:
        (N, inputs, H, W) -> (N, width, ceil(H / stride), ceil(W / stride)). Where that is another shape, the shortcut
        is an ordinary 1×1 convolution with a norm, else the identity.

    Source:
        liu2017spherenet and liu2018decoupled, released code, section 4 of both: version 1 of the residual unit.
    """

    def __init__(self, layers: Layers, inputs: int, width: int, *, stride: int = 1, activate_sum: bool = True) -> None:
        super().__init__()
        self.first = layers.convolved(inputs, width, stride=stride)
        self.second = layers.convolved(width, width, activated=False)
        same = inputs == width and stride == 1
        self.shortcut = (
            None if same else layers.convolved(inputs, width, 1, stride=stride, activated=False, ordinary=True)
        )
        self.activation = layers.activated(width) if activate_sum else None

    def forward(self, images: Float[Tensor, "N C H W"]) -> Float[Tensor, "N C2 H2 W2"]:
        """The sum of both ways."""
        result: Tensor = self.second(self.first(images))
        result = result + (images if self.shortcut is None else self.shortcut(images))
        return result if self.activation is None else self.activation(result)


def in_full_precision(maps: Float[Tensor, "N C H W"], *layers: nn.Module) -> Float[Tensor, "N D"]:
    """Maps, flattened, through the last layers of a network in the dtype of their weights, which autocast leaves alone.

    Features of low precision would cost a face its last digits in each comparison, and these layers take little time.

    Args:
        maps: in any floating-point dtype.
        layers: a linear one first, which says the dtype.

    Example:
        >>> with torch.autocast("cpu", torch.bfloat16):
        ...     in_full_precision(torch.zeros(2, 3, 1, 1, dtype=torch.bfloat16), nn.Linear(3, 4)).dtype
        torch.float32
    """
    weight = layers[0].weight
    assert isinstance(weight, Tensor)
    device = maps.device.type
    if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
        with torch.autocast(device, enabled=False):
            return _through(layers, maps.flatten(1).to(weight.dtype))
    return _through(layers, maps.flatten(1).to(weight.dtype))


def _through(layers: Sequence[nn.Module], features: Tensor) -> Tensor:
    for layer in layers:
        features = layer(features)
    return features
