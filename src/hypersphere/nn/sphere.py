# SPDX-License-Identifier: MIT
"""SphereConv as layers: decoupled ones whose magnitude is constant, so that only the angle counts."""

from __future__ import annotations

from typing import Any

import torch

from hypersphere.formulas.angles import AngleLike
from hypersphere.nn.decoupled import (
    DecoupledConv1d,
    DecoupledConv2d,
    DecoupledConv3d,
    DecoupledLinear,
    Size,
)

__all__ = ["SphereConv1d", "SphereConv2d", "SphereConv3d", "SphereLinear"]


class SphereConv1d(DecoupledConv1d):
    """SphereConv: `DecoupledConv1d` with the angle alone, magnitude "sphere".

    Example:
        >>> SphereConv1d(3, 8, 3, angle="linear").magnitude
        Sphere(alpha=1.0)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size | str = 0,
        dilation: Size = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        *,
        angle: AngleLike = "cosine",
        weighting: str | None = None,
        gain: bool = False,
        eps: float = 1e-4,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        shape = (in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode)
        options: Any = {"angle": angle, "weighting": weighting, "gain": gain, "eps": eps}
        super().__init__(*shape, **options, device=device, dtype=dtype)


class SphereConv2d(DecoupledConv2d):
    """SphereConv: `DecoupledConv2d` with the angle alone, magnitude "sphere".

    Example:
        >>> SphereConv2d(3, 8, 3, angle="linear").magnitude
        Sphere(alpha=1.0)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size | str = 0,
        dilation: Size = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        *,
        angle: AngleLike = "cosine",
        weighting: str | None = None,
        gain: bool = False,
        eps: float = 1e-4,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        shape = (in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode)
        options: Any = {"angle": angle, "weighting": weighting, "gain": gain, "eps": eps}
        super().__init__(*shape, **options, device=device, dtype=dtype)


class SphereConv3d(DecoupledConv3d):
    """SphereConv: `DecoupledConv3d` with the angle alone, magnitude "sphere".

    Example:
        >>> SphereConv3d(3, 8, 3, angle="linear").magnitude
        Sphere(alpha=1.0)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size | str = 0,
        dilation: Size = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        *,
        angle: AngleLike = "cosine",
        weighting: str | None = None,
        gain: bool = False,
        eps: float = 1e-4,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        shape = (in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode)
        options: Any = {"angle": angle, "weighting": weighting, "gain": gain, "eps": eps}
        super().__init__(*shape, **options, device=device, dtype=dtype)


class SphereLinear(DecoupledLinear):
    """The dense layer of angles alone: `DecoupledLinear` with magnitude "sphere".

    Example:
        >>> SphereLinear(4, 2)(torch.zeros(5, 4)).shape
        torch.Size([5, 2])
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        angle: AngleLike = "cosine",
        weighting: str | None = None,
        gain: bool = False,
        eps: float = 1e-4,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        options: Any = {"angle": angle, "weighting": weighting, "gain": gain, "eps": eps}
        super().__init__(in_features, out_features, bias, **options, device=device, dtype=dtype)
