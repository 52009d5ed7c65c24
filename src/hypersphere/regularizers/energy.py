# SPDX-License-Identifier: MIT
"""Minimum hyperspherical energy (MHE) as a regulariser for any model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from hypersphere.checks import check_choice, check_count, check_range
from hypersphere.formulas.energies import PairKernel, PairPotential, Riesz
from hypersphere.functional.energy import IMPLEMENTATIONS, stacked_energy
from hypersphere.functional.sampling import minibatch_energy
from hypersphere.kernels.energy import reasons_not
from hypersphere.nn.selection import Patterns
from hypersphere.regularizers.base import LayerRegularizer, too_few
from hypersphere.regularizers.layers import NeuronLayer
from hypersphere.regularizers.measures import fills_the_device, in_stacks
from hypersphere.regularizers.state import LayerState

__all__ = ["HypersphericalEnergy"]


class HypersphericalEnergy(LayerRegularizer):
    r"""Weighted sum over layers of the mean pair energy of their neurons, to be added to a loss.

    .. math::
        R = \lambda_h \sum_{l\ \text{hidden}} E(W_l) + \lambda_o\, E(W_{\text{out}})

    with E of `hyperspherical_energy`. Layers are summed, not averaged, as published.

    Args:
        power: exponent s >= 0 of the kernel; 0 is the logarithm of the distance, so that the loss of the released
            code, which takes the squared distance there, is twice this one.
        distance: "euclidean" or "angular".
        half_space: spread lines instead of directions in hidden layers.
        hidden_weight: lambda_h >= 0; 0 leaves the hidden layers out.
        output_weight: lambda_o >= 0; 0 leaves the output layer out.
        output_half_space: half space in the output layer too; the published programs never do.
        eps: added inside the square root of the norms, >= 0; the released code has 1e-4.
        angle_offset: added to every angle, in units of pi; the released code has 1e-4 for "angular".
        kernel: a kernel object in place of `power`.
        include: patterns of layer names; none means all.
        exclude: patterns of layer names to leave out.
        embeddings: whether embedding tables count.
        output: name of the output layer, where it is not found by itself; () for none; see `find_neurons`.
        num_rows: of layers with more neurons than this, look at that many, drawn anew in each training step, and their
            pairs with all others: an unbiased estimate of energy and gradient, as `sampled_energy`, for heads of very
            many classes. None: every layer whole.
        seed: of those draws, the same on every process; their state is in `state_dict`.
        impl: see `hyperspherical_energy`; "auto" takes the single pass for large layers, which has no second
            derivative ("torch" has), and stacks small layers of one shape.

    Shape:
        energy(model, *more) -> scalar, float32 or wider. `more` are modules outside the model, such as its head.

    Raises:
        ValueError: for an option out of range, a pattern that matches nothing, or a model in which no layer is left
            to regularise (says why for each).

    Edge cases:
        Layers with fewer than two neurons (one in half space), frozen and shared weights are skipped; `skipped` says
        why, and the log says so once. The value depends on the weights alone: with gradient accumulation, add it once
        for each optimiser step; under DDP each process adds it whole, and averaging gradients leaves it as it is.

    Source:
        liu2018mhe, eq. 4; weights of the released code: hidden 1, output 10 (angular with power > 0: 0.1 and 1).

    Example:
        >>> from torch import nn
        >>> _ = torch.manual_seed(0)
        >>> model = nn.Sequential(nn.Linear(8, 5), nn.ReLU(), nn.Linear(5, 3))
        >>> energy = HypersphericalEnergy(power=2.0, output_weight=0.1)
        >>> loss = model(torch.randn(4, 8)).square().mean() + energy(model)
        >>> list(energy.terms(model))
        ['0', '2']
    """

    def __init__(
        self,
        power: float = 0.0,
        distance: str = "euclidean",
        half_space: bool = False,
        hidden_weight: float = 1.0,
        output_weight: float = 1.0,
        *,
        output_half_space: bool = False,
        eps: float = 0.0,
        angle_offset: float = 0.0,
        kernel: PairKernel | None = None,
        include: Patterns = (),
        exclude: Patterns = (),
        embeddings: bool = False,
        output: Patterns | None = None,
        num_rows: int | None = None,
        seed: int = 0,
        impl: str = "auto",
    ) -> None:
        super().__init__(
            hidden_weight=hidden_weight,
            output_weight=output_weight,
            include=include,
            exclude=exclude,
            embeddings=embeddings,
            output=output,
        )
        check_range("HypersphericalEnergy", "eps", eps, low=0.0)
        check_choice("HypersphericalEnergy", "impl", impl, IMPLEMENTATIONS)
        PairPotential(Riesz(power) if kernel is None else kernel, distance, angle_offset)
        self.power = power
        self.distance = distance
        self.half_space = half_space
        self.output_half_space = output_half_space
        self.eps = eps
        self.angle_offset = angle_offset
        self.kernel = kernel
        self.num_rows = num_rows
        self.impl = impl
        if num_rows is not None:
            check_count("HypersphericalEnergy", "num_rows", num_rows)
            self.state = LayerState(seed)

    def extra_repr(self) -> str:
        """The energy and its weights."""
        what = f"power={self.power:g}" if self.kernel is None else f"kernel={self.kernel!r}"
        space = f"half_space={self.half_space}, output_half_space={self.output_half_space}"
        return (
            f"{what}, distance={self.distance!r}, {space}, hidden_weight={self.hidden_weight:g}, "
            f"output_weight={self.output_weight:g}, eps={self.eps:g}"
        )

    def _too_few(self, layer: NeuronLayer) -> str | None:
        return too_few(layer, 1 if self._in_half_space(layer) else 2)

    def _advance(self, layers: Sequence[NeuronLayer]) -> None:
        """Draw the rows of this step."""
        assert self.state is not None
        sampled = [layer for layer in layers if self._is_sampled(layer)]
        if sampled:
            self.state.draw({layer.name: (1, layer.weight.shape[-2]) for layer in sampled}, self._like(sampled[0]))
        for layer in sampled:
            # where the largest of random numbers lie is a random set of rows
            self.state.put(layer.name, self.state.tensors[layer.name].topk(self._num_rows).indices)

    def _state_likes(self, layers: Sequence[NeuronLayer]) -> dict[str, Tensor]:
        sampled = [layer for layer in layers if self._is_sampled(layer)]
        return {layer.name: layer.weight.new_empty((1, self._num_rows), dtype=torch.int64) for layer in sampled}

    def _is_ready(self, layers: Sequence[NeuronLayer]) -> bool:
        assert self.state is not None
        return all(self._fits(layer) for layer in layers if self._is_sampled(layer))

    def _fits(self, layer: NeuronLayer) -> bool:
        """Whether there are drawn rows, and rows of this layer."""
        assert self.state is not None
        rows = self.state.tensors.get(layer.name)
        if rows is None or rows.shape[1] != self._num_rows:
            return False
        # compiled code cannot ask the values; there, a layer has the size that it was compiled with
        return torch.compiler.is_compiling() or int(rows.max()) < layer.weight.shape[0]

    def _measure(self, layers: Sequence[NeuronLayer]) -> list[Tensor]:
        """Mean pair energy of each layer; small layers of one shape are computed together, in few launches."""
        whole = [layer for layer in layers if not self._is_sampled(layer)]
        exact = in_stacks(whole, self._stacked, self._in_half_space)
        # a grouped layer has as many energies as groups; its own is their mean
        energies = {layer.name: values.mean() for layer, values in zip(whole, exact, strict=True)}
        return [energies[layer.name] if layer.name in energies else self._estimate(layer) for layer in layers]

    def _stacked(self, weight: Tensor, layers: Sequence[NeuronLayer]) -> Tensor:
        """Energies (B,) of (B, K, D) neurons."""
        kernel = Riesz(self.power) if self.kernel is None else self.kernel
        # left to choose, the single pass for every matrix that is worth a launch of its own
        single_pass = self.impl == "auto" and fills_the_device(weight) and not reasons_not(weight, kernel)
        return stacked_energy(weight, **self._options(layers[0]), impl="blocked" if single_pass else self.impl)

    def _estimate(self, layer: NeuronLayer) -> Tensor:
        """Energy of the drawn rows with all others."""
        return minibatch_energy(layer.weight, self._own(layer)[0], **self._options(layer), impl=self.impl)

    def _options(self, layer: NeuronLayer) -> dict[str, Any]:
        return {
            "power": self.power,
            "distance": self.distance,
            "half_space": self._in_half_space(layer),
            "eps": self.eps,
            "angle_offset": self.angle_offset,
            "kernel": self.kernel,
        }

    @property
    def _num_rows(self) -> int:
        assert self.num_rows is not None
        return self.num_rows

    def _is_sampled(self, layer: NeuronLayer) -> bool:
        """Whether a layer has more neurons than are looked at in one step; groups are never sampled."""
        return self.num_rows is not None and layer.weight.ndim == 2 and layer.weight.shape[0] > self.num_rows

    def _like(self, layer: NeuronLayer) -> Tensor:
        return layer.weight.new_empty(0, dtype=torch.float32)
