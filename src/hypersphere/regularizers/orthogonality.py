# SPDX-License-Identifier: MIT
"""Orthogonality penalties (orthonormal, orthogonal, restricted isometry) as a regulariser for any model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from hypersphere.checks import lookup
from hypersphere.functional.orthogonality import ORTHOGONALITIES
from hypersphere.nn.selection import Patterns
from hypersphere.regularizers.base import LayerRegularizer, too_few
from hypersphere.regularizers.layers import NeuronLayer
from hypersphere.regularizers.measures import check_options, in_stacks, num_groups
from hypersphere.regularizers.state import LayerState

__all__ = ["Orthogonality"]


class Orthogonality(LayerRegularizer):
    r"""Weighted sum over layers of how far their neurons are from right angles, to be added to a loss.

    .. math::
        R = \lambda_h \sum_{l\ \text{hidden}} L(W_l) + \lambda_o\, L(W_{\text{out}})

    with L one of `functional.orthogonality`.

    Args:
        kind: "orthonormal" (|W Wᵀ - I|², lengths of 1 as well), "orthogonal" (pairs only, lengths are free) or
            "restricted_isometry" (spectral norm of W Wᵀ - I).
        normalized: take neurons at length 1, so that only angles count.
        hidden_weight: lambda_h >= 0; 0 leaves the hidden layers out. SphereNet writes lambda / 2 |W Wᵀ - I|² with
            lambda = 2e-4, which is 1e-4 here.
        output_weight: lambda_o >= 0; 0 leaves the output layer out.
        seed: of the vectors that the power iteration of "restricted_isometry" begins with: new ones for each step, the
            same on every process.
        include: patterns of layer names; none means all.
        exclude: patterns of layer names to leave out.
        embeddings: whether embedding tables count.
        output: name of the output layer, where it is not found by itself; see `find_neurons`.
        options: those of the function of this kind: `reduction` ("sum" as published, or "mean"); for
            "restricted_isometry" `num_iterations` and `squared`.

    Shape:
        penalty(model, *more) -> scalar, float32 or wider. `more` are modules outside the model, such as its head.

    Raises:
        ValueError: for an option that the kind does not have or that is out of range, or as `LayerRegularizer`.

    Edge cases:
        A grouped layer has the mean of its groups. Layers with one neuron are skipped. With lengths in the penalty,
        leave out weight decay on the same weights, and do not use it on layers whose scale is fixed elsewhere.

    Source:
        bansal2018orthogonality; liu2017spherenet and liu2018mhe, where they are the baselines of energy.

    Example:
        >>> from torch import nn
        >>> _ = torch.manual_seed(0)
        >>> model = nn.Sequential(nn.Linear(8, 5), nn.ReLU(), nn.Linear(5, 3))
        >>> penalty = Orthogonality("orthonormal", hidden_weight=1e-4, output_weight=0.0)
        >>> loss = model(torch.randn(4, 8)).square().mean() + penalty(model)
        >>> list(penalty.terms(model))
        ['0']
    """

    def __init__(
        self,
        kind: str = "orthonormal",
        normalized: bool = False,
        hidden_weight: float = 1.0,
        output_weight: float = 1.0,
        *,
        seed: int = 0,
        include: Patterns = (),
        exclude: Patterns = (),
        embeddings: bool = False,
        output: Patterns | None = None,
        **options: Any,
    ) -> None:
        super().__init__(
            hidden_weight=hidden_weight,
            output_weight=output_weight,
            include=include,
            exclude=exclude,
            embeddings=embeddings,
            output=output,
        )
        function = lookup("kind of orthogonality", kind, ORTHOGONALITIES)
        check_options(self._who, kind, function, options, not_here=("normalized", "probe"))
        probe: dict[str, Tensor] = {}
        if kind == "restricted_isometry":
            self.state = LayerState(seed)
            probe = {"probe": torch.ones(2)}
        # whatever is wrong with an option is said now
        function(torch.eye(2), **probe, **options)
        self.kind = kind
        self.normalized = normalized
        self.options = options

    def extra_repr(self) -> str:
        """The penalty and its weights."""
        options = "".join(f", {name}={value!r}" for name, value in self.options.items())
        return (
            f"{self.kind!r}, normalized={self.normalized}{options}, hidden_weight={self.hidden_weight:g}, "
            f"output_weight={self.output_weight:g}"
        )

    # -- the base asks --------------------------------------------------------------------------------------------

    def _too_few(self, layer: NeuronLayer) -> str | None:
        return too_few(layer, 2, "orthogonality")

    def _is_ready(self, layers: Sequence[NeuronLayer]) -> bool:
        return self.state is None or all(
            layer.name in self.state.tensors and self.state.tensors[layer.name].shape == _probe_shape(layer)
            for layer in layers
        )

    def _state_likes(self, layers: Sequence[NeuronLayer]) -> dict[str, Tensor]:
        return {layer.name: layer.weight.new_empty(_probe_shape(layer), dtype=torch.float32) for layer in layers}

    def _advance(self, layers: Sequence[NeuronLayer]) -> None:
        """Draw where the power iterations begin."""
        assert self.state is not None
        shapes = {layer.name: _probe_shape(layer) for layer in layers}
        self.state.draw(shapes, layers[0].weight.new_empty(0, dtype=torch.float32))

    def _measure(self, layers: Sequence[NeuronLayer]) -> list[Tensor]:
        return [values.mean() for values in in_stacks(layers, self._values)]

    def _values(self, weight: Tensor, layers: list[NeuronLayer]) -> Tensor:
        """The penalty of each matrix, (B,)."""
        options: dict[str, Any] = dict(self.options)
        if self.state is not None:
            drawn = [self.state.tensors[layer.name].to(weight.device) for layer in layers]
            options["probe"] = torch.cat(drawn)
        return ORTHOGONALITIES[self.kind](weight, normalized=self.normalized, **options)


def _probe_shape(layer: NeuronLayer) -> tuple[int, int]:
    return num_groups(layer), min(layer.weight.shape[-2:])
