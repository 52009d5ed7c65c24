# SPDX-License-Identifier: MIT
"""What all regularisers share: which layers they look at, how layers are summed, and when their own state moves on."""

from __future__ import annotations

import abc
import logging
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from hypersphere.checks import check_range
from hypersphere.nn.selection import Patterns, name_patterns
from hypersphere.regularizers.compiled import enroll, state_after_step
from hypersphere.regularizers.layers import NeuronLayer, NeuronLayers, find_neurons
from hypersphere.regularizers.state import LayerState

__all__ = ["LayerRegularizer", "too_few"]

logger = logging.getLogger(__name__)


class LayerRegularizer(nn.Module, abc.ABC):
    """A weighted sum over the layers of any model; a subclass says what it measures of one layer.

    A subclass that keeps something between steps (projections, poles) calls `keep_state` in its constructor and moves
    it on in `_advance`. That happens once for each forward pass in training mode; in evaluation mode and in `terms`,
    nothing changes that a later step could see.

    Args:
        hidden_weight: factor >= 0 of every hidden layer; 0 leaves them out.
        output_weight: factor >= 0 of the output layer; 0 leaves it out.
        include: patterns of layer names; none means all.
        exclude: patterns of layer names to leave out.
        embeddings: whether embedding tables count.
        output: name of the output layer, where it is not found by itself; () for none; see `find_neurons`.

    Shape:
        regularizer(model, *more) -> scalar, float32 or wider. `more` are modules outside the model, such as its head.

    Raises:
        ValueError: for a negative weight, a pattern that matches nothing, or a model in which no layer is left to
            regularise (says why for each).

    Edge cases:
        Frozen and shared weights, and layers with too few neurons, are skipped; `skipped` says why, and the log says so
        once. The value depends on the weights alone: with gradient accumulation, add it once for each optimiser step;
        under DDP each process adds it whole, and averaging gradients leaves it as it is.
    """

    # where it makes a difference, a subclass sets these from its arguments
    half_space: bool = False
    output_half_space: bool = False

    def __init__(
        self,
        *,
        hidden_weight: float = 1.0,
        output_weight: float = 1.0,
        include: Patterns = (),
        exclude: Patterns = (),
        embeddings: bool = False,
        output: Patterns | None = None,
    ) -> None:
        super().__init__()
        check_range(self._who, "hidden_weight", hidden_weight, low=0.0, high=1e30)
        check_range(self._who, "output_weight", output_weight, low=0.0, high=1e30)
        self.hidden_weight = hidden_weight
        self.output_weight = output_weight
        self.include = name_patterns(include)
        self.exclude = name_patterns(exclude)
        self.embeddings = embeddings
        self.output = None if output is None else name_patterns(output)
        self.state: LayerState | None = None
        self._number = enroll(self)
        self._told = False

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        # a copy is another regulariser
        self._number = enroll(self)

    def forward(self, model: nn.Module, *more: nn.Module) -> Tensor:
        """The regulariser of a model, a scalar to add to its loss."""
        layers = self._find(model, *more).layers
        if self.state is not None and self.training:
            self._step(layers)
            values = self._measure(layers)
        else:
            values = self._look(layers)
        weights = [self.output_weight if layer.is_output else self.hidden_weight for layer in layers]
        return torch.stack([weight * value for weight, value in zip(weights, values, strict=True)]).sum()

    def terms(self, model: nn.Module, *more: nn.Module) -> dict[str, Tensor]:
        """Name of each regularised layer -> its value, unweighted; as after the last step, and nothing moves on."""
        layers = self._find(model, *more).layers
        return dict(zip([layer.name for layer in layers], self._look(layers), strict=True))

    def skipped(self, model: nn.Module, *more: nn.Module) -> dict[str, str]:
        """Name of each layer that is left out -> why."""
        return self._select(model, *more).skipped

    # -- what a subclass says -------------------------------------------------------------------------------------

    @abc.abstractmethod
    def _measure(self, layers: Sequence[NeuronLayer]) -> list[Tensor]:
        """The unweighted value of each layer, scalars."""

    def _too_few(self, layer: NeuronLayer) -> str | None:
        """Why a layer has not enough neurons to be measured, or None."""
        return too_few(layer, 2)

    def _advance(self, layers: Sequence[NeuronLayer]) -> None:
        """Move the state on by one step; whatever a layer needs is there afterwards."""

    def _state_likes(self, layers: Sequence[NeuronLayer]) -> dict[str, Tensor]:
        """Layers that the state has a tensor for after `_advance`, with empty tensors of that dtype and shape."""
        return {}

    def _is_ready(self, layers: Sequence[NeuronLayer]) -> bool:
        """Whether the state holds all that these layers need."""
        return self.state is None or self.state.clock.steps > 0

    # -- which layers ---------------------------------------------------------------------------------------------

    @property
    def _who(self) -> str:
        return type(self).__name__

    def _step(self, layers: Sequence[NeuronLayer]) -> None:
        """Move the state on; compiled code leaves that to one operator and takes what comes out."""
        assert self.state is not None
        if not torch.compiler.is_compiling():
            self._advance(layers)
            self.state.clock.steps += 1
            return
        parts = [layer.name for layer in layers], [layer.weight for layer in layers], [x.is_output for x in layers]
        before, likes = self.state.tensors, self._state_likes(layers)
        self.state.tensors = state_after_step(self._number, *parts, before, likes)

    def advance_from_compiled(
        self, names: Sequence[str], wanted: Sequence[str], weights: Sequence[Tensor], outputs: Sequence[bool]
    ) -> list[Tensor]:
        """One step on the given layers; copies of the state's tensors for the `wanted` ones."""
        assert self.state is not None
        layers = [NeuronLayer(*parts) for parts in zip(names, weights, outputs, strict=True)]
        self._advance(layers)
        self.state.clock.steps += 1
        return [self.state.tensors[name].clone() for name in wanted]

    def _in_half_space(self, layer: NeuronLayer) -> bool:
        return self.output_half_space if layer.is_output else self.half_space

    def _own(self, layer: NeuronLayer) -> Tensor:
        """What the state holds for a layer, on its device."""
        assert self.state is not None
        return self.state.tensors[layer.name].to(layer.weight.device)

    def _look(self, layers: Sequence[NeuronLayer]) -> list[Tensor]:
        """Values as the state is; what it lacks is made for the occasion and forgotten."""
        if self.state is None or self._is_ready(layers):
            return self._measure(layers)
        with self.state.kept():
            self._advance(layers)
            return self._measure(layers)

    def _find(self, model: nn.Module, *more: nn.Module) -> NeuronLayers:
        """The layers to regularise, at least one."""
        found = self._select(model, *more)
        if not found.layers:
            reasons = "; ".join(f"{name}: {reason}" for name, reason in found.skipped.items())
            raise ValueError(
                f"{self._who}: no layer of {type(model).__name__} is left to regularise"
                f" ({reasons or 'it has no layer with neurons'})."
            )
        if found.skipped and not self._told and not torch.compiler.is_compiling():
            self._told = True
            reasons = "; ".join(f"{name} ({reason})" for name, reason in found.skipped.items())
            logger.info("%s leaves out %s", self._who, reasons)
        return found

    def _select(self, model: nn.Module, *more: nn.Module) -> NeuronLayers:
        """Every layer with neurons, sorted into those to regularise and those not."""
        found = find_neurons(
            model,
            *more,
            include=self.include,
            exclude=self.exclude,
            embeddings=self.embeddings,
            output=self.output,
            trainable_only=True,
            any_order=True,
        )
        layers = []
        for layer in found.layers:
            reason = self._reason_not(layer)
            if reason is None:
                layers.append(layer)
            else:
                found.skipped[layer.name] = reason
        return NeuronLayers(layers, found.skipped)

    def _reason_not(self, layer: NeuronLayer) -> str | None:
        """Why a layer with neurons is left out, or None."""
        weight, name = (
            (self.output_weight, "output_weight") if layer.is_output else (self.hidden_weight, "hidden_weight")
        )
        return f"{name} is 0" if weight == 0 else self._too_few(layer)


def too_few(layer: NeuronLayer, smallest: int, what: str = "an energy") -> str | None:
    """The sentence for a layer with fewer than `smallest` neurons (in each group), or None."""
    num_neurons = layer.weight.shape[-2]
    if num_neurons >= smallest:
        return None
    where = " in each group" if layer.weight.ndim == 3 else ""
    return f"{num_neurons} neuron{where} is too few, {what} needs {smallest}"
