# SPDX-License-Identifier: MIT
"""SphereConv and decoupled convolution, f = h(|w|, |x|) g(theta): the angle and the length of a patch, told apart."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from hypersphere.checks import check_choice, check_floating, check_range
from hypersphere.formulas.angles import Angle, AngleLike, as_angle
from hypersphere.formulas.directions import divide_rows, kernel_lengths, narrow, widen, working_dtype
from hypersphere.formulas.magnitudes import Magnitude, MagnitudeLike, as_magnitude
from hypersphere.formulas.patches import Size, batched, window_of
from hypersphere.kernels.decoupled import Arguments, Operator, fused
from hypersphere.kernels.eligible import reasons_not

__all__ = [
    "WEIGHTINGS",
    "decouple",
    "decoupled_conv1d",
    "decoupled_conv2d",
    "decoupled_conv3d",
    "decoupled_linear",
    "unit_kernels",
]

WEIGHTINGS: dict[str, str] = {
    "linear": "times |w|: with cosine and linear magnitude the ordinary convolution",
    "joint": "h sees the product |w| |x|",
    "separate": "times h(|w|) / alpha",
}
"""How the length of a kernel enters; None, the default, leaves it out, so that all kernels count alike."""


def decoupled_conv2d(
    input: Float[Tensor, "*N C H W"],
    weight: Float[Tensor, "O c kH kW"],
    bias: Float[Tensor, "O"] | None = None,
    stride: Size = 1,
    padding: Size | str = 0,
    dilation: Size = 1,
    groups: int = 1,
    *,
    angle: AngleLike = "cosine",
    magnitude: MagnitudeLike = "sphere",
    weighting: str | None = None,
    eps: float = 1e-4,
    k: Float[Tensor, "*O"] | None = None,
    radius: Float[Tensor, "*O"] | None = None,
    exponent: Float[Tensor, ""] | None = None,
    gain: Float[Tensor, "O"] | None = None,
    mean_norm: Float[Tensor, ""] | None = None,
    impl: str = "auto",
) -> Float[Tensor, "*N O oH oW"]:
    r"""Decoupled convolution of images: every patch x meets every kernel w as

    .. math::
        f(w, x) = a\, h(r)\, g(\theta) + b, \qquad \cos\theta = \frac{w \cdot x}{n\, r}, \qquad
        r = \sqrt{|x|^2 + \epsilon}, \quad n = \sqrt{|w|^2 + \epsilon}

    with h of `formulas.magnitudes` and g of `formulas.angles`. SphereConv is h = 1, the default. Arguments up to
    `groups` are those of `torch.nn.functional.conv2d`.

    Args:
        input: images (N, C, H, W), or one image without N.
        weight: kernels (O, C / groups, kH, kW), of any length.
        bias: b, (O,).
        stride: as in torch.
        padding: as in torch, "same" and "valid" too. Points outside count as zeros in product and norm alike, so that
            at the border the visible part of a patch meets the whole kernel.
        dilation: as in torch.
        groups: as in torch; each group of channels has patches, and patch norms, of its own.
        angle: name in `formulas.angles.ANGLES`, a mapping such as {"name": "sigmoid", "k": 0.5}, or an object.
        magnitude: name in `formulas.magnitudes.MAGNITUDES`, a mapping or an object.
        weighting: how the length of a kernel enters. None: not at all. "linear": f is multiplied by n. "joint": h
            sees n r. "separate": f is multiplied by h(n) / alpha. With a relative radius, "joint" and "separate" take n
            in units of its mean over the kernels.
        eps: epsilon >= 0, inside both roots; released code 1e-4. It bounds the gradient at a zero patch by
            1 / sqrt(eps) and shrinks the cosine of patches shorter than about 10 sqrt(eps). Below 1e-30 it counts as 0.
        k: of the angle, radians, (O,) or (), in place of the angle's own number.
        radius: rho > 0 of the magnitude, (O,) or (), in its units.
        exponent: of magnitude "power", ().
        gain: a, (O,).
        mean_norm: the mean patch norm that a relative radius is a multiple of; None for that of this batch, through
            which the gradient flows as in the released code.
        impl: "auto"; "torch", plain operations, which compilers and exporters get and any derivative can be taken of
            (forward mode in float32 and float64, and not of itself: PyTorch loses that of every custom function);
            "fused", with less memory and fewer passes, whose second derivative is that of "torch".

    Returns:
        (N, O, oH, oW) in the dtype of the input, or of autocast. Products are in that dtype; norms, division and
        functions in float32, or float64 for inputs of that. With the cosine in bfloat16, h / r is found in float32 and
        rounded once before it multiplies.

    Raises:
        ValueError: for a shape that does not fit, an unknown name, or a number out of range.
        TypeError: if an input is not floating point, or input and weight are of different dtypes outside autocast.

    Edge cases:
        A zero patch or kernel has the output b, and finite gradients. With eps = 0 a patch shorter than 1e-15 counts
        as zero, with gradient zero. Exactly parallel patches: see `formulas.angles`. In float16, inputs (under
        autocast) and inner products beyond its range are taken at its ends. An empty batch gives an empty output.

    Source:
        liu2017spherenet, eq. 1; liu2018decoupled, eq. 2, 15, 16; eps, padding and norms as in their released code.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> images, kernels = torch.randn(2, 3, 8, 8), torch.randn(5, 3, 3, 3)
        >>> outputs = decoupled_conv2d(images, kernels, padding=1, angle="linear")
        >>> outputs.shape, bool(outputs.abs().max() < 1)
        (torch.Size([2, 5, 8, 8]), True)
    """
    operator = (stride, padding, dilation, groups, angle, magnitude, weighting, eps)
    learned: dict[str, Any] = {"k": k, "radius": radius, "exponent": exponent, "gain": gain, "mean_norm": mean_norm}
    return decouple(2, input, weight, bias, *operator, **learned, impl=impl)[0]


def decoupled_conv1d(
    input: Float[Tensor, "*N C L"],
    weight: Float[Tensor, "O c kL"],
    bias: Float[Tensor, "O"] | None = None,
    stride: Size = 1,
    padding: Size | str = 0,
    dilation: Size = 1,
    groups: int = 1,
    *,
    angle: AngleLike = "cosine",
    magnitude: MagnitudeLike = "sphere",
    weighting: str | None = None,
    eps: float = 1e-4,
    k: Float[Tensor, "*O"] | None = None,
    radius: Float[Tensor, "*O"] | None = None,
    exponent: Float[Tensor, ""] | None = None,
    gain: Float[Tensor, "O"] | None = None,
    mean_norm: Float[Tensor, ""] | None = None,
    impl: str = "auto",
) -> Float[Tensor, "*N O oL"]:
    """Decoupled convolution of sequences (N, C, L); everything else as `decoupled_conv2d`.

    Example:
        >>> decoupled_conv1d(torch.ones(1, 2, 5), torch.ones(1, 2, 3), eps=0.0)
        tensor([[[1.0000, 1.0000, 1.0000]]])
    """
    operator = (stride, padding, dilation, groups, angle, magnitude, weighting, eps)
    learned: dict[str, Any] = {"k": k, "radius": radius, "exponent": exponent, "gain": gain, "mean_norm": mean_norm}
    return decouple(1, input, weight, bias, *operator, **learned, impl=impl)[0]


def decoupled_conv3d(
    input: Float[Tensor, "*N C T H W"],
    weight: Float[Tensor, "O c kT kH kW"],
    bias: Float[Tensor, "O"] | None = None,
    stride: Size = 1,
    padding: Size | str = 0,
    dilation: Size = 1,
    groups: int = 1,
    *,
    angle: AngleLike = "cosine",
    magnitude: MagnitudeLike = "sphere",
    weighting: str | None = None,
    eps: float = 1e-4,
    k: Float[Tensor, "*O"] | None = None,
    radius: Float[Tensor, "*O"] | None = None,
    exponent: Float[Tensor, ""] | None = None,
    gain: Float[Tensor, "O"] | None = None,
    mean_norm: Float[Tensor, ""] | None = None,
    impl: str = "auto",
) -> Float[Tensor, "*N O oT oH oW"]:
    """Decoupled convolution of volumes (N, C, T, H, W); everything else as `decoupled_conv2d`.

    Example:
        >>> decoupled_conv3d(torch.ones(1, 1, 2, 2, 2), torch.ones(1, 1, 2, 2, 2), eps=0.0).flatten()
        tensor([1.0000])
    """
    operator = (stride, padding, dilation, groups, angle, magnitude, weighting, eps)
    learned: dict[str, Any] = {"k": k, "radius": radius, "exponent": exponent, "gain": gain, "mean_norm": mean_norm}
    return decouple(3, input, weight, bias, *operator, **learned, impl=impl)[0]


def decoupled_linear(
    input: Float[Tensor, "*N D"],
    weight: Float[Tensor, "O D"],
    bias: Float[Tensor, "O"] | None = None,
    *,
    angle: AngleLike = "cosine",
    magnitude: MagnitudeLike = "sphere",
    weighting: str | None = None,
    eps: float = 1e-4,
    k: Float[Tensor, "*O"] | None = None,
    radius: Float[Tensor, "*O"] | None = None,
    exponent: Float[Tensor, ""] | None = None,
    gain: Float[Tensor, "O"] | None = None,
    mean_norm: Float[Tensor, ""] | None = None,
    impl: str = "auto",
) -> Float[Tensor, "*N O"]:
    """The decoupled form of a dense layer: the patch is the whole vector (N, D); everything else as `decoupled_conv2d`.

    Example:
        >>> decoupled_linear(torch.tensor([[3.0, 4.0]]), torch.eye(2), eps=0.0)
        tensor([[0.6000, 0.8000]])
    """
    operator = (1, 0, 1, 1, angle, magnitude, weighting, eps)
    learned: dict[str, Any] = {"k": k, "radius": radius, "exponent": exponent, "gain": gain, "mean_norm": mean_norm}
    return decouple(0, input, weight, bias, *operator, **learned, impl=impl)[0]


def decouple(
    dims: int,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Size,
    padding: Size | str,
    dilation: Size,
    groups: int,
    angle: AngleLike,
    magnitude: MagnitudeLike,
    weighting: str | None,
    eps: float,
    *,
    k: Tensor | None = None,
    radius: Tensor | None = None,
    exponent: Tensor | None = None,
    gain: Tensor | None = None,
    mean_norm: Tensor | None = None,
    impl: str = "auto",
) -> tuple[Tensor, Tensor]:
    """What all four do, with the mean patch norm of the batch, or the one given, as a constant beside the output.

    Args:
        dims: axes of space, 0 for a dense layer; all others as those of `decoupled_conv2d`.
    """
    who = f"decoupled_conv{dims}d" if dims else "decoupled_linear"
    check_choice(who, "impl", impl, ["auto", "torch", "fused"])
    check_range(who, "eps", eps, low=0.0, high=1.0)
    if weighting is not None:
        check_choice(who, "weighting", weighting, list(WEIGHTINGS))
    chosen, size = as_angle(angle), as_magnitude(magnitude)
    inputs, leading = batched(who, input, weight, dims, groups)
    _check_outputs(who, weight, bias=(bias, False), k=(k, True), radius=(radius, True), gain=(gain, False))
    _check_wanted(who, chosen, size, k=k, radius=radius, exponent=exponent, mean_norm=mean_norm)
    inputs, window = window_of(who, inputs, weight, stride, padding, dilation, groups)
    operator = Operator(chosen, size, window, eps, joint=weighting == "joint")

    dtype = working_dtype(weight.dtype)
    compute = _product_dtype(who, inputs, weight)
    # once, so that the gradients by way of the direction and of the length meet before they are narrowed
    weight = widen(weight, dtype)
    lengths = kernel_lengths(weight, eps)
    parameter = {"radius": radius, "exponent": exponent}.get(size.parameter or "")
    factor = _factor(size, weighting, lengths, parameter)
    if gain is not None:
        factor = gain.to(dtype) if factor is None else factor * gain
    joint = lengths if operator.joint else None
    if joint is not None and size.relative:
        # kernels that are all zero have no mean length
        average = joint.mean()
        joint = joint / average.masked_fill(average == 0, 1.0)
    arguments = Arguments(
        _cast(inputs, compute),
        weight,
        lengths,
        k,
        parameter,
        factor,
        joint,
        bias,
        mean_norm if size.relative else None,
    )
    given = (input, weight, bias, k, radius, exponent, gain, mean_norm)
    reasons = reasons_not(*given) if impl != "torch" else []
    if impl == "fused" and reasons:
        raise ValueError(f"{who}: impl='fused' cannot run here: {'; '.join(reasons)}. Use impl='auto'.")
    output, mean = _plain(arguments, operator) if impl == "torch" or reasons else fused(arguments, operator, _plain)
    if len(leading) != 1:
        # no view otherwise: what changes it in place, such as an activation, would be copied there and back
        output = output.reshape(*leading, *output.shape[1:])
    return output, mean


def _plain(arguments: Arguments, operator: Operator) -> tuple[Tensor, Tensor]:
    """The operator in operations that autograd knows, any number of times."""
    inputs, dtype = arguments.inputs, working_dtype(arguments.inputs.dtype)
    magnitude = operator.magnitude
    squares = widen(inputs, dtype).square().unflatten(1, (operator.window.groups, -1)).sum(dim=2)
    norm, inverse = (operator.over_channels(x) for x in operator.norms(operator.window.sums(squares)))
    mean = operator.mean(norm) if arguments.mean is None else arguments.mean

    factors = None if operator.folds else arguments.factor
    small = (arguments.k, arguments.parameter, factors, arguments.joint, arguments.bias)
    k, parameter, factor, joint, bias = [_vector(operator, values, dtype) for values in small]
    if magnitude.relative:
        share: Any = magnitude.radius if parameter is None else parameter  # type: ignore[attr-defined]
        parameter = share * mean
    height = magnitude.value(norm if joint is None else norm * joint, parameter)
    dots = widen(operator.by_group(operator.products(inputs, operator.kernels(arguments)[1])), dtype)
    output = operator.angle.value(_cosine(dots, norm, inverse), k) * height
    if factor is not None:
        output = output * factor
    if bias is not None:
        output = output + bias
    return narrow(output.flatten(1, operator.channels), inputs.dtype), mean.detach()


def _cosine(dots: Tensor, norm: Tensor, inverse: Tensor) -> Tensor:
    """c = y / r, from r and 1 / r."""
    function = _Cosine if torch.compiler.is_compiling() else _CosineBothWays
    found: Tensor = function.apply(dots, norm, inverse)
    return found


class _Cosine(torch.autograd.Function):
    """The gradient of r is found from c: from y, a long patch and a long kernel make it pass the range of float32."""

    generate_vmap_rule = True

    @staticmethod
    def forward(dots: Tensor, norm: Tensor, inverse: Tensor) -> Tensor:
        return dots * inverse

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(inputs[0], inputs[2])

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, Tensor | None, None]:
        dots, inverse = ctx.saved_tensors
        of_dots = grad_outputs[0] * inverse
        if not ctx.needs_input_grad[1]:
            return of_dots, None, None
        # all that 1 / r has to say is said of r
        return of_dots, -(of_dots * (dots * inverse)).sum_to_size(inverse.shape), None


class _CosineBothWays(_Cosine):
    """The same with a forward-mode derivative, which compilers do not take."""

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
        _Cosine.setup_context(ctx, inputs, output)
        ctx.save_for_forward(inputs[0], inputs[2])

    @staticmethod
    def jvp(ctx: Any, *grad_inputs: Tensor) -> Tensor:
        dots, inverse = ctx.saved_tensors
        of_dots, of_norm, _ = grad_inputs
        tangent: Tensor = (of_dots - dots * inverse * of_norm) * inverse
        return tangent


def _vector(operator: Operator, values: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    return operator.by_group(values.to(dtype)) if values is not None and values.ndim else values


def unit_kernels(weight: Float[Tensor, "O ..."], eps: float = 0.0) -> tuple[Tensor, Tensor]:
    """Kernels at length 1, w / sqrt(|w|² + eps), and the divisors n (O,), differentiable; float32 or float64.

    Example:
        >>> unit_kernels(torch.tensor([[3.0, 4.0]]))
        (tensor([[0.6000, 0.8000]]), tensor([5.]))
    """
    lengths = kernel_lengths(weight, eps)
    return divide_rows(weight, lengths), lengths


def _factor(magnitude: Magnitude, weighting: str | None, lengths: Tensor, parameter: Tensor | None) -> Tensor | None:
    """What the length of its kernel multiplies an output by, (O,), or None."""
    if weighting == "linear":
        return lengths
    if weighting != "separate":
        return None
    if magnitude.relative:
        share: Any = magnitude.radius if parameter is None else parameter  # type: ignore[attr-defined]
        parameter = share * lengths.mean()
    return magnitude.value(lengths, parameter) / magnitude.alpha


def _check_outputs(who: str, weight: Tensor, **given: tuple[Tensor | None, bool]) -> None:
    """Whether what there is one of for each output has that many, or, where that is allowed, is a single number."""
    for name, (values, single) in given.items():
        if values is None:
            continue
        check_floating(who, name, values)
        if values.shape != weight.shape[:1] and not (single and values.ndim == 0):
            shapes = f"({weight.shape[0]},)" + (" or ()" if single else "")
            raise ValueError(
                f"{who}: expected {name} {shapes} for weight {tuple(weight.shape)}, got shape {tuple(values.shape)}."
            )


def _check_wanted(who: str, angle: Angle, magnitude: Magnitude, **given: Tensor | None) -> None:
    """Whether somebody asks for what is given, whether a single number is one, and whether a width is above zero."""
    wanted = {
        "k": hasattr(angle, "k"),
        "radius": magnitude.parameter == "radius",
        "exponent": magnitude.parameter == "exponent",
        # a fact of the batch, which not every magnitude asks for
        "mean_norm": True,
    }
    for name, values in given.items():
        if values is None:
            continue
        if not wanted[name]:
            user = f"angle {angle}" if name == "k" else f"magnitude {magnitude}"
            raise ValueError(f"{who}: {user} has no use for {name}. Leave it out.")
        check_floating(who, name, values)
        if name in ("exponent", "mean_norm") and values.ndim:
            raise ValueError(f"{who}: expected {name} (), got shape {tuple(values.shape)}.")
        if name == "exponent" or values.device.type != "cpu" or reasons_not(values):
            continue
        # a mean norm of zero is that of images that are
        if (values < 0).any() if name == "mean_norm" else not (values > 0).all():
            words = "0 or above" if name == "mean_norm" else "above 0"
            raise ValueError(f"{who}: {name} must be {words}, got {float(values.min()):g}.")


def _cast(inputs: Tensor, dtype: torch.dtype) -> Tensor:
    """The input in the dtype of the products; in float16 what is beyond its range is at its ends."""
    if dtype == torch.float16:
        return narrow(inputs, dtype)
    return widen(inputs, dtype) if dtype.itemsize > inputs.dtype.itemsize else inputs.to(dtype)


def _product_dtype(who: str, inputs: Tensor, weight: Tensor) -> torch.dtype:
    """The dtype of inner products: that of autocast where it is on, else of the input."""
    device = inputs.device.type
    if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
        return inputs.dtype if inputs.dtype == torch.float64 else torch.get_autocast_dtype(device)
    if inputs.dtype != weight.dtype:
        raise TypeError(
            f"{who}: expected input and weight of one dtype, got {inputs.dtype} and {weight.dtype}. Cast the input, or "
            "run under torch.autocast."
        )
    return inputs.dtype
