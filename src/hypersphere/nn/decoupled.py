# SPDX-License-Identifier: MIT
"""SphereConv and decoupled convolution as layers with the signatures of `torch.nn`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hypersphere.checks import check_choice, check_flag, check_range
from hypersphere.formulas.angles import AngleLike, as_angle, k_from_raw, raw_from_k
from hypersphere.formulas.directions import working_dtype
from hypersphere.formulas.magnitudes import MagnitudeLike, as_magnitude, radius_from_raw, raw_from_radius
from hypersphere.functional.decoupled import WEIGHTINGS, decouple, unit_kernels

__all__ = [
    "DecoupledConv1d",
    "DecoupledConv2d",
    "DecoupledConv3d",
    "DecoupledLayer",
    "DecoupledLinear",
]

Size = int | tuple[int, ...]

# one node of a graph by torch.fx, which cannot follow what is decided by shapes and dtypes
torch.fx.wrap("decouple")


class DecoupledLayer(nn.Module):
    """What decoupled layers add to those of torch: the operator, and what is learned of it.

    Attributes:
        angle: the angle function g.
        magnitude: the magnitude h.
        weighting: how the length of a kernel enters, or None.
        eps: inside the roots of both norms.
        raw_k: (O,), learned k of the angle as |raw| + 0.05, or None.
        raw_radius: (O,), learned radius of the magnitude as raw² + 1e-4, or None.
        exponent: (), learned exponent of the magnitude, or None.
        gain: (O,), learned factor of every output channel, or None.
        running_norm: (), running mean of the patch norm where the radius is relative to it, else None.
        num_batches_tracked: (), batches behind it, or None.
    """

    weight: Tensor
    raw_k: nn.Parameter | None
    raw_radius: nn.Parameter | None
    exponent: nn.Parameter | None
    gain: nn.Parameter | None
    running_norm: Tensor | None
    num_batches_tracked: Tensor | None

    def _add_operator(
        self, angle: AngleLike, magnitude: MagnitudeLike, weighting: str | None, gain: bool, eps: float
    ) -> None:
        """Check the operator and make its parameters; after the constructor of the torch layer."""
        who = type(self).__name__
        check_range(who, "eps", eps, low=0.0, high=1.0)
        check_flag(who, "gain", gain)
        if weighting is not None:
            check_choice(who, "weighting", weighting, list(WEIGHTINGS))
        self.angle = as_angle(angle)
        self.magnitude = as_magnitude(magnitude)
        self.weighting = weighting
        self.eps = eps
        size = (self.weight.shape[0],)
        learned = self.magnitude.parameter if self.magnitude.learnable else None
        wanted = {
            "raw_k": size if self.angle.learnable else None,
            "raw_radius": size if learned == "radius" else None,
            "exponent": () if learned == "exponent" else None,
            "gain": size if gain else None,
        }
        for name, shape in wanted.items():
            made = None if shape is None else nn.Parameter(self.weight.new_empty(shape).detach())
            self.register_parameter(name, made)
        device = self.weight.device
        relative = self.magnitude.relative
        dtype = working_dtype(self.weight.dtype)
        self.register_buffer("running_norm", torch.ones((), device=device, dtype=dtype) if relative else None)
        self.register_buffer(
            "num_batches_tracked", torch.zeros((), device=device, dtype=torch.long) if relative else None
        )
        self.reset_operator()

    def reset_parameters(self) -> None:
        """Draw weight and bias as torch does, and set everything that is learned of the operator to its start."""
        super().reset_parameters()  # type: ignore[misc]
        if "gain" in self._parameters:
            self.reset_operator()

    def reset_operator(self) -> None:
        """Set k, radius, exponent, gain and the running norm to their starts; weight and bias are left alone."""
        angle, magnitude = self.angle, self.magnitude
        if self.raw_k is not None:
            nn.init.constant_(self.raw_k, raw_from_k(angle.k))  # type: ignore[attr-defined]
        if self.raw_radius is not None:
            nn.init.constant_(self.raw_radius, raw_from_radius(magnitude.radius))  # type: ignore[attr-defined]
        if self.exponent is not None:
            nn.init.constant_(self.exponent, magnitude.exponent)  # type: ignore[attr-defined]
        if self.gain is not None:
            nn.init.ones_(self.gain)
        if self.running_norm is not None:
            assert self.num_batches_tracked is not None
            self.running_norm.fill_(1.0)
            self.num_batches_tracked.zero_()

    @property
    def k(self) -> Tensor | None:
        """The learned k of every output channel, (O,), in radians; None where it is fixed or the angle has none."""
        return None if self.raw_k is None else k_from_raw(self.raw_k)

    @property
    def radius(self) -> Tensor | None:
        """The learned radius of every output channel, (O,), in units of the magnitude; None where there is none."""
        return None if self.raw_radius is None else radius_from_raw(self.raw_radius)

    @torch.no_grad()
    def project_(self) -> None:
        """Overwrite every kernel by w / sqrt(|w|² + eps); but for eps, a layer without weighting computes as before.

        Raises:
            ValueError: if the weight is computed, by a parametrization, a norm or a mask.
        """
        if "weight" not in self._parameters:
            raise ValueError(
                f"{type(self).__name__}.project_: the weight is computed by a parametrization, a norm or a mask, so it "
                "cannot be overwritten. Remove that first."
            )
        self.weight.copy_(unit_kernels(self.weight.to(working_dtype(self.weight.dtype)), self.eps)[0])

    def extra_repr(self) -> str:
        """The arguments of the torch layer, then those of the operator."""
        text = f"{super().extra_repr()}, angle={self.angle}, magnitude={self.magnitude}, eps={self.eps:g}"
        text += "" if self.weighting is None else f", weighting={self.weighting!r}"
        return text + (", gain=True" if self.gain is not None else "")

    def _decouple(
        self,
        input: Tensor,
        stride: Size = 1,
        padding: Size | str = 0,
        dilation: Size = 1,
        groups: int = 1,
    ) -> Tensor:
        """The output; in training, the running norm moves on."""
        layer: Any = self
        output, mean = decouple(
            self.weight.ndim - 2,
            input,
            self.weight,
            layer.bias,
            stride,
            padding,
            dilation,
            groups,
            self.angle,
            self.magnitude,
            self.weighting,
            self.eps,
            k=self.k,
            radius=self.radius,
            exponent=self.exponent,
            gain=self.gain,
            mean_norm=None if self.training else self.running_norm,
        )
        # an empty batch has no mean
        if self.training and self.running_norm is not None and input.numel():
            self._follow(mean)
        return output

    @torch.no_grad()
    def _follow(self, mean: Tensor) -> None:
        """Move the running norm towards the mean of a batch, unless that overflowed, as a loss scaler skips it too."""
        assert self.running_norm is not None
        assert self.num_batches_tracked is not None
        finite = mean.isfinite()
        self.num_batches_tracked.add_(finite)
        # an average of all batches until there are 1 / momentum of them
        share = self.num_batches_tracked.clamp_min(1).to(torch.float32).reciprocal()
        share = share.clamp_min(self.magnitude.momentum)  # type: ignore[attr-defined]
        step = torch.where(finite, (mean - self.running_norm) * share, 0.0)
        # through a view: torch.compile (2.13) loses what happens in place to a single number of float64
        self.running_norm.view(1).add_(step)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> DecoupledLayer:
        """Move as any module does, but the running norm never to a narrower dtype, in which small steps are lost."""
        kept = self.running_norm
        module: DecoupledLayer = super()._apply(fn, recurse)
        if kept is not None and self.running_norm.dtype not in (torch.float32, torch.float64):  # type: ignore[union-attr]
            self.running_norm = kept.to(self.running_norm.device)  # type: ignore[union-attr]
        return module

    def _load_from_state_dict(self, *args: Any) -> None:
        """Read as any module does, but for the dtype of the running norm, which `assign=True` would take over."""
        super()._load_from_state_dict(*args)
        if self.running_norm is not None:
            self.running_norm = self.running_norm.to(working_dtype(self.running_norm.dtype))

    def _convolve(self, input: Tensor) -> Tensor:
        """As the convolution of torch does, other kinds of padding included."""
        layer: Any = self
        padding = layer.padding
        if layer.padding_mode != "zeros":
            input = F.pad(input, layer._reversed_padding_repeated_twice, mode=layer.padding_mode)
            padding = 0
        return self._decouple(input, layer.stride, padding, layer.dilation, layer.groups)


class DecoupledConv2d(DecoupledLayer, nn.Conv2d):
    r"""Decoupled convolution: every output is h(|x|) g(theta) of a patch x and a kernel, plus a bias.

    Args:
        in_channels: as those of `torch.nn.Conv2d`; so are all arguments up to `padding_mode`.
        out_channels: O, number of kernels.
        kernel_size: of them.
        stride: between patches.
        padding: points on each side; those of padding_mode "zeros" count as zeros in the patch norm.
        dilation: between the points of a kernel.
        groups: of channels, each with patch norms of its own.
        bias: whether one is added to g; the published networks have none before batch normalisation.
        padding_mode: what stands outside the input.
        angle: name in `formulas.angles.ANGLES`, a mapping such as {"name": "sigmoid", "k": 0.5}, or an object.
        magnitude: name in `formulas.magnitudes.MAGNITUDES`, a mapping or an object.
        weighting: None, "linear", "joint" or "separate"; see `functional.decoupled_conv2d`.
        gain: learn a factor of every output channel, from 1: the rescaled SphereNorm; with magnitude "power" the full
            one, which contains the ordinary convolution.
        eps: inside the roots of both norms, in [0, 1]; released code 1e-4.
        device: where the parameters are made.
        dtype: of the parameters.

    Shape:
        (N, C, H, W) or (C, H, W) -> (N, O, oH, oW) or (O, oH, oW), in the dtype of the input or of autocast.

    Raises:
        ValueError: for an unknown name, a number out of range, or an input that does not fit.

    Edge cases:
        As `functional.decoupled_conv2d`. A relative radius uses the mean patch norm of the batch in training, also
        where nothing else in the network depends on other images, and the running one in evaluation, which starts at
        1: run a few batches in training mode first. Each process has its own.

    Source:
        liu2017spherenet, liu2018decoupled. Weights start as those of torch; a layer without weighting does not depend
        on their lengths, but its gradients fall with them.

    Example:
        >>> layer = DecoupledConv2d(3, 8, 3, padding=1, angle="cosine", magnitude="tanh")
        >>> layer(torch.zeros(2, 3, 16, 16)).shape
        torch.Size([2, 8, 16, 16])
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
        magnitude: MagnitudeLike = "sphere",
        weighting: str | None = None,
        gain: bool = False,
        eps: float = 1e-4,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        # in one tuple: torch spells the types of sizes once for each number of axes
        given: Any = (in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode)
        super().__init__(*(*given, device, dtype))
        self._add_operator(angle, magnitude, weighting, gain, eps)

    def forward(self, input: Tensor) -> Tensor:
        """Outputs (N, O, oH, oW) of images (N, C, H, W)."""
        return self._convolve(input)


class DecoupledConv1d(DecoupledLayer, nn.Conv1d):
    """Decoupled convolution of sequences (N, C, L); arguments as those of `DecoupledConv2d`.

    Example:
        >>> DecoupledConv1d(3, 8, 3, padding=1)(torch.zeros(2, 3, 16)).shape
        torch.Size([2, 8, 16])
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
        magnitude: MagnitudeLike = "sphere",
        weighting: str | None = None,
        gain: bool = False,
        eps: float = 1e-4,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        # in one tuple: torch spells the types of sizes once for each number of axes
        given: Any = (in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode)
        super().__init__(*(*given, device, dtype))
        self._add_operator(angle, magnitude, weighting, gain, eps)

    def forward(self, input: Tensor) -> Tensor:
        """Outputs of sequences (N, C, L)."""
        return self._convolve(input)


class DecoupledConv3d(DecoupledLayer, nn.Conv3d):
    """Decoupled convolution of volumes (N, C, T, H, W); arguments as those of `DecoupledConv2d`.

    Example:
        >>> DecoupledConv3d(3, 8, 3, padding=1)(torch.zeros(2, 3, 4, 4, 4)).shape
        torch.Size([2, 8, 4, 4, 4])
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
        magnitude: MagnitudeLike = "sphere",
        weighting: str | None = None,
        gain: bool = False,
        eps: float = 1e-4,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        # in one tuple: torch spells the types of sizes once for each number of axes
        given: Any = (in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode)
        super().__init__(*(*given, device, dtype))
        self._add_operator(angle, magnitude, weighting, gain, eps)

    def forward(self, input: Tensor) -> Tensor:
        """Outputs of volumes (N, C, T, H, W)."""
        return self._convolve(input)


class DecoupledLinear(DecoupledLayer, nn.Linear):
    """A decoupled dense layer: the patch is the whole vector (..., D); options as those of `DecoupledConv2d`.

    Example:
        >>> DecoupledLinear(4, 2, magnitude="linear")(torch.zeros(5, 4)).shape
        torch.Size([5, 2])
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        angle: AngleLike = "cosine",
        magnitude: MagnitudeLike = "sphere",
        weighting: str | None = None,
        gain: bool = False,
        eps: float = 1e-4,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(in_features, out_features, bias, device=device, dtype=dtype)
        self._add_operator(angle, magnitude, weighting, gain, eps)

    def forward(self, input: Tensor) -> Tensor:
        """Outputs (..., O) of vectors (..., D)."""
        return self._decouple(input)
