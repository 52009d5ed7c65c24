# SPDX-License-Identifier: MIT
"""Recurrent cells whose gates answer by angle: SphereRNNCell, SphereGRUCell and SphereLSTMCell."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from hypersphere.checks import check_choice, check_count, check_floating, check_range
from hypersphere.formulas.angles import AngleLike, Sigmoid, as_angle, k_from_raw, raw_from_k
from hypersphere.formulas.directions import narrow, widen, working_dtype
from hypersphere.functional.decoupled import decoupled_linear, unit_kernels

__all__ = ["SphereGRUCell", "SphereLSTMCell", "SphereRNNCell"]

# what a gate can reach with its gain of the start: sigmoid(4) = 0.982 when one vector lies along its weights and the
# other at right angles, sigmoid(8) when both lie along. A gain of 1 would leave every gate within sigmoid(+-2)
_START_OF_GAIN = {"sum": 4.0, "concatenated": 8.0}


class _SphereCell(nn.Module):
    """What the three cells share: weights, gain, k and bias of every unit, and how input and state are read.

    Args:
        num_gates: how many rows of the weights one hidden number has.
        input_size: width of the input.
        hidden_size: width of the state.
        bias: whether units have one.
        angle: of the units.
        eps: inside the square root of the norms.
        form: "sum" or "concatenated".
        device: where the parameters are made.
        dtype: of the parameters.
    """

    bias: nn.Parameter | None
    raw_k: nn.Parameter | None

    def __init__(
        self,
        num_gates: int,
        input_size: int,
        hidden_size: int,
        bias: bool,
        *,
        angle: AngleLike,
        eps: float,
        form: str,
        device: torch.device | str | None,
        dtype: torch.dtype | None,
    ) -> None:
        super().__init__()
        who = type(self).__name__
        check_count(who, "input_size", input_size)
        check_count(who, "hidden_size", hidden_size)
        check_choice(who, "form", form, list(_START_OF_GAIN))
        check_range(who, "eps", eps, low=0.0, high=1.0)
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.angle = as_angle(angle)
        self.eps = eps
        self.form = form
        units = num_gates * hidden_size
        self.weight_ih = nn.Parameter(torch.empty(units, input_size, device=device, dtype=dtype))
        self.weight_hh = nn.Parameter(torch.empty(units, hidden_size, device=device, dtype=dtype))
        self.gain = nn.Parameter(torch.empty(units, device=device, dtype=dtype))
        for name, wanted in (("bias", bias), ("raw_k", self.angle.learnable)):
            parameter = nn.Parameter(torch.empty(units, device=device, dtype=dtype)) if wanted else None
            self.register_parameter(name, parameter)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Rows of both weights of length about 1, gain 4 ("sum") or 8 ("concatenated"), bias 0, k as the angle says."""
        for weight in (self.weight_ih, self.weight_hh):
            nn.init.normal_(weight, std=1 / math.sqrt(weight.shape[1]))
        nn.init.constant_(self.gain, _START_OF_GAIN[self.form])
        if self.bias is not None:
            nn.init.zeros_(self.bias)
        if self.raw_k is not None:
            assert isinstance(self.angle, Sigmoid)
            nn.init.constant_(self.raw_k, raw_from_k(self.angle.k))

    @property
    def k(self) -> Tensor | None:
        """The learned k of every unit, |raw_k| + 0.05; None where it is not learned."""
        return None if self.raw_k is None else k_from_raw(self.raw_k)

    @torch.no_grad()
    def project_(self) -> None:
        """Overwrite the weights of each unit by w / sqrt(|w|² + eps); but for eps, the cell computes as before.

        In the form "concatenated" the two parts of a unit are one vector and are divided by its length.
        """
        weights = [widen(weight, working_dtype(weight.dtype)) for weight in (self.weight_ih, self.weight_hh)]
        if self.form == "concatenated":
            unit = unit_kernels(torch.cat(weights, dim=1), self.eps)[0]
            units = list(unit.split([self.input_size, self.hidden_size], dim=1))
        else:
            units = [unit_kernels(weight, self.eps)[0] for weight in weights]
        self.weight_ih.copy_(units[0])
        self.weight_hh.copy_(units[1])

    def extra_repr(self) -> str:
        """The arguments, on one line."""
        text = f"{self.input_size}, {self.hidden_size}, angle={self.angle}, eps={self.eps:g}, form={self.form!r}"
        return text if self.bias is not None else f"{text}, bias=False"

    def _angles(self, vectors: Tensor, weight: Tensor, units: slice) -> Tensor:
        """g of the angles between vectors (N, D) and the weights (U, D) of some units, in float32 or wider."""
        k = None if self.k is None else self.k[units]
        found = decoupled_linear(vectors, weight, angle=self.angle, eps=self.eps, k=k)
        return widen(found, working_dtype(found.dtype))

    def _joint(self, x: Tensor, h: Tensor, units: slice) -> Tensor:
        """g of the angles between [x; h] and the concatenated weights of some units."""
        weight = torch.cat((self.weight_ih[units], self.weight_hh[units]), dim=1)
        return self._angles(torch.cat((x, h), dim=1), weight, units)

    def _scaled(self, found: Tensor, units: slice) -> Tensor:
        """Gain and bias of some units, in float32 or wider."""
        scaled = found * widen(self.gain[units], found.dtype)
        return scaled if self.bias is None else scaled + widen(self.bias[units], found.dtype)

    def _preactivation(self, x: Tensor, h: Tensor) -> Tensor:
        """gain * g + bias of all units."""
        units = slice(None)
        if self.form == "concatenated":
            return self._scaled(self._joint(x, h, units), units)
        found = self._angles(x, self.weight_ih, units) + self._angles(h, self.weight_hh, units)
        return self._scaled(found, units)

    def _read_input(self, input: Tensor) -> Tensor:
        """The input as a batch, or an error in words."""
        who = type(self).__name__
        check_floating(who, "input", input)
        if input.ndim not in (1, 2) or input.shape[-1] != self.input_size:
            raise ValueError(
                f"{who}: expected input (N, {self.input_size}) or ({self.input_size},), got {tuple(input.shape)}."
            )
        return input if input.ndim == 2 else input[None]

    def _read_state(self, name: str, state: Tensor | None, input: Tensor) -> Tensor:
        """A state as a batch in the dtype of the input; zeros for None."""
        if state is None:
            return input.new_zeros(1 if input.ndim == 1 else len(input), self.hidden_size)
        check_floating(type(self).__name__, name, state)
        expected = (*input.shape[:-1], self.hidden_size)
        if state.shape != expected:
            raise ValueError(
                f"{type(self).__name__}: expected {name} {expected} beside input {tuple(input.shape)}, "
                f"got {tuple(state.shape)}."
            )
        state = state.to(input.dtype)
        return state if input.ndim == 2 else state[None]


def _give(state: Tensor, input: Tensor) -> Tensor:
    """A new state in the dtype of the input, as a batch if the input was one."""
    state = narrow(state, input.dtype)
    return state if input.ndim == 2 else state[0]


class SphereRNNCell(_SphereCell):
    r"""`torch.nn.RNNCell` with angles in place of inner products.

    .. math::
        h' = \tanh\big( \gamma \odot [\, g(\theta(W_{ih}, x)) + g(\theta(W_{hh}, h)) \,] + b \big)

    with one learned gain :math:`\gamma` for each unit: two bounded terms alone never saturate a gate
    (:math:`\sigma(2) = 0.88`). Only the directions of input and state count.

    Args:
        input_size: I, >= 1. With I = 1 the angle of the input is its sign.
        hidden_size: H, >= 1.
        bias: whether units have a bias b.
        nonlinearity: "tanh" or "relu".
        angle: g: a name in `formulas.angles.ANGLES`, a mapping, or an object. A learnable k is learned for each unit.
        eps: added inside the square root of all norms, in [0, 1]. It makes g of a zero state 0.
        form: "sum" as above; "concatenated": one angle, :math:`g(\theta([W_{ih}, W_{hh}], [x; h]))`, in which the
            lengths of x and h decide how much each counts.
        device: where the parameters are made.
        dtype: of the parameters.

    Shape:
        input (N, I) or (I,), hx (N, H) or (H,), zero if not given -> h' of the shape of hx, in the dtype of the input.
        Norms, angles and activations are computed in float32 or wider.

    Attributes:
        weight_ih: (H, I), weight_hh: (H, H), gain: (H,), bias: (H,) or None, raw_k: (H,) or None, with k = |raw_k| +
            0.05. There is one bias, where torch's cells keep two that are added.

    Raises:
        ValueError: for a number out of range, an unknown name or wrong shapes.
        TypeError: if input or state are not floating point.

    Edge cases:
        A zero input or state contributes 0, with a finite gradient of at most gain / sqrt(eps) times the length.

    Source:
        liu2017spherenet says that the operator suits recurrent layers, and not how; both forms are ours.

    Example:
        >>> cell = SphereRNNCell(8, 16)
        >>> h = None
        >>> for row in torch.randn(5, 3, 8):
        ...     h = cell(row, h)
        >>> h.shape
        torch.Size([3, 16])
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        *,
        angle: AngleLike = "cosine",
        eps: float = 1e-4,
        form: str = "sum",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        check_choice("SphereRNNCell", "nonlinearity", nonlinearity, ("tanh", "relu"))
        super().__init__(1, input_size, hidden_size, bias, angle=angle, eps=eps, form=form, device=device, dtype=dtype)
        self.nonlinearity = nonlinearity

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        """The next state of an input and a state."""
        x, h = self._read_input(input), self._read_state("hx", hx, input)
        found = self._preactivation(x, h)
        return _give(found.relu() if self.nonlinearity == "relu" else found.tanh(), input)

    def extra_repr(self) -> str:
        """The arguments, on one line."""
        text = super().extra_repr()
        return text if self.nonlinearity == "tanh" else f"{text}, nonlinearity={self.nonlinearity!r}"


class SphereGRUCell(_SphereCell):
    r"""`torch.nn.GRUCell` with angles in place of inner products; arguments, forms and dtypes as `SphereRNNCell`.

    .. math::
        r, z &= \sigma\big( \gamma_{r,z} \odot [\, g(\theta(W_{ih}, x)) + g(\theta(W_{hh}, h)) \,] + b_{r,z} \big) \\
        n &= \tanh\big( \gamma_n \odot [\, g(\theta(W_{in}, x)) + r \odot g(\theta(W_{hn}, h)) \,] + b_n \big) \\
        h' &= (1 - z) \odot n + z \odot h

    The reset gate stands outside the angle, where torch's cell has it too. Inside, it could not forget: an angle does
    not notice a state that becomes shorter. In the form "concatenated" it stands inside, :math:`[x; r \odot h]`, since
    there a shorter state does count less.

    Args:
        input_size: I, >= 1.
        hidden_size: H, >= 1.
        bias: whether units have a bias b.
        angle: g; see `SphereRNNCell`.
        eps: added inside the square root of all norms.
        form: "sum" or "concatenated".
        device: where the parameters are made.
        dtype: of the parameters.

    Attributes:
        weight_ih: (3H, I), weight_hh: (3H, H), gain, bias, raw_k: (3H,); rows in torch's order r, z, n.

    Example:
        >>> SphereGRUCell(8, 16)(torch.randn(3, 8)).shape
        torch.Size([3, 16])
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        *,
        angle: AngleLike = "cosine",
        eps: float = 1e-4,
        form: str = "sum",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(3, input_size, hidden_size, bias, angle=angle, eps=eps, form=form, device=device, dtype=dtype)

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        """The next state of an input and a state."""
        x, h = self._read_input(input), self._read_state("hx", hx, input)
        gates, new = slice(0, 2 * self.hidden_size), slice(2 * self.hidden_size, None)
        if self.form == "concatenated":
            reset, update = self._scaled(self._joint(x, h, gates), gates).sigmoid().chunk(2, dim=1)
            found = self._joint(x, narrow(reset * h, h.dtype), new)
        else:
            of_x, of_h = self._angles(x, self.weight_ih, slice(None)), self._angles(h, self.weight_hh, slice(None))
            reset, update = self._scaled((of_x + of_h)[:, gates], gates).sigmoid().chunk(2, dim=1)
            found = of_x[:, new] + reset * of_h[:, new]
        candidate = self._scaled(found, new).tanh()
        return _give(candidate + update * (h - candidate), input)


class SphereLSTMCell(_SphereCell):
    r"""`torch.nn.LSTMCell` with angles in place of inner products; arguments, forms and dtypes as `SphereRNNCell`.

    .. math::
        i, f, g, o &= \gamma \odot [\, g(\theta(W_{ih}, x)) + g(\theta(W_{hh}, h)) \,] + b \\
        c' &= \sigma(f) \odot c + \sigma(i) \odot \tanh(g) \\
        h' &= \sigma(o) \odot \tanh(c')

    Args:
        input_size: I, >= 1.
        hidden_size: H, >= 1.
        bias: whether units have a bias b.
        angle: g; see `SphereRNNCell`.
        eps: added inside the square root of all norms.
        form: "sum" or "concatenated".
        device: where the parameters are made.
        dtype: of the parameters.

    Shape:
        input (N, I) or (I,), hx a pair (h, c) of (N, H) or (H,), zero if not given -> (h', c').

    Attributes:
        weight_ih: (4H, I), weight_hh: (4H, H), gain, bias, raw_k: (4H,); rows in torch's order i, f, g, o.

    Example:
        >>> h, c = SphereLSTMCell(8, 16)(torch.randn(3, 8))
        >>> h.shape, c.shape
        (torch.Size([3, 16]), torch.Size([3, 16]))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        *,
        angle: AngleLike = "cosine",
        eps: float = 1e-4,
        form: str = "sum",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(4, input_size, hidden_size, bias, angle=angle, eps=eps, form=form, device=device, dtype=dtype)

    def forward(self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """The next (h, c) of an input and the pair before it."""
        given: object = hx
        if given is not None and not (isinstance(given, tuple | list) and len(given) == 2):
            found = type(given).__name__ + (f" of {len(given)}" if isinstance(given, tuple | list) else "")
            raise TypeError(f"SphereLSTMCell: expected hx to be a pair (h, c) of tensors, got {found}.")
        hidden, cell = (None, None) if hx is None else hx
        x = self._read_input(input)
        h, c = self._read_state("h of hx", hidden, input), self._read_state("c of hx", cell, input)
        enter, forget, content, leave = self._preactivation(x, h).chunk(4, dim=1)
        c = forget.sigmoid() * c + enter.sigmoid() * content.tanh()
        return _give(leave.sigmoid() * c.tanh(), input), _give(c, input)
