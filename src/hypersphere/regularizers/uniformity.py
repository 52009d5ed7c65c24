# SPDX-License-Identifier: MIT
"""Hyperspherical uniformity beside energy (separation, polarisation, covering, Gram determinant) as a regulariser."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from hypersphere.checks import check_count, check_range, lookup
from hypersphere.formulas.poles import Covering, Polarization, PoleObjective
from hypersphere.functional.uniformity import UNIFORMITIES, sharpest_poles
from hypersphere.nn.selection import Patterns
from hypersphere.regularizers.base import LayerRegularizer, too_few
from hypersphere.regularizers.layers import NeuronLayer
from hypersphere.regularizers.measures import check_options, in_stacks, num_groups
from hypersphere.regularizers.state import LayerState

__all__ = ["Uniformity"]

_WITH_POLES: dict[str, type[Polarization] | type[Covering]] = {"polarization": Polarization, "covering": Covering}

# the program sums over both tied pairs of half space, so that its hidden weight of 0.1 is 0.2 here
_PUBLISHED: dict[str, dict[str, Any]] = {
    "separation": {"hidden_weight": 0.2, "output_weight": 1.0, "half_space": True, "eps": 1e-4, "squared": True},
    "polarization": {"hidden_weight": 1.0, "output_weight": 10.0, "half_space": True, "eps": 1e-4},
    "resultant": {"hidden_weight": 0.01, "output_weight": 0.1, "normalized": False, "reduction": "sum"},
    "covering": {"hidden_weight": 0.01, "output_weight": 0.1, "half_space": True, "eps": 1e-4},
    "gram": {"hidden_weight": 0.01, "output_weight": 0.1, "half_space": True, "eps": 1e-4, "reduction": "sum"},
}


class Uniformity(LayerRegularizer):
    r"""Weighted sum over layers of a uniformity objective of their neurons, to be added to a loss.

    .. math::
        R = \lambda_h \sum_{l\ \text{hidden}} L(W_l) + \lambda_o\, L(W_{\text{out}})

    with L one of `functional.uniformity`. Polarisation and covering look at their neurons from poles, a few points for
    each layer, which an adversary moves before each step of the network: `sharpest_poles`.

    Args:
        kind: "separation", "polarization", "resultant", "covering" or "gram"; see `functional.uniformity`.
        half_space: spread lines instead of directions in hidden layers; not with "resultant", which would be 0.
        hidden_weight: lambda_h >= 0; 0 leaves the hidden layers out.
        output_weight: lambda_o >= 0; 0 leaves the output layer out.
        output_half_space: half space in the output layer too; the published programs never do.
        eps: added inside the square root of the norms, >= 0; the released code has 1e-4.
        num_poles: poles of each layer (of each of its groups), >= 1; published 1. Only the one where the objective is
            worst pulls at the neurons.
        inner_steps: steps of the poles for each step of the network, >= 0; published 10.
        inner_rate: how far such a step goes, radians for a gradient of 1, >= 0; below 0.95 / sharpness for "covering".
        inner_momentum: of the poles, in [0, 1); it lasts through the inner steps of one step of the network.
        seed: of the first poles, the same on every process.
        include: patterns of layer names; none means all.
        exclude: patterns of layer names to leave out.
        embeddings: whether embedding tables count.
        output: name of the output layer, where it is not found by itself; see `find_neurons`.
        options: those of the function of this kind: `distance`, `squared` (separation), `power` (polarization),
            `sharpness` (covering), `bandwidth`, `ridge`, `reduction` (gram), `normalized`, `reduction` (resultant).

    Shape:
        uniformity(model, *more) -> scalar, float32 or wider. `more` are modules outside the model, such as its head.

    Raises:
        ValueError: for an option that the kind does not have or that is out of range, or as `LayerRegularizer`.

    Edge cases:
        A grouped layer has the mean of its groups. Layers with one neuron are skipped. Poles move with each forward
        pass in training mode only; `terms` and evaluation mode use those of the last step. `state_dict` holds them.

    Source:
        liu2021uniformity; settings of the released code by `Uniformity.published`.

    Example:
        >>> from torch import nn
        >>> _ = torch.manual_seed(0)
        >>> model = nn.Sequential(nn.Linear(8, 5), nn.ReLU(), nn.Linear(5, 3))
        >>> uniformity = Uniformity("covering", sharpness=20.0, num_poles=4)
        >>> loss = model(torch.randn(4, 8)).square().mean() + uniformity(model)
        >>> list(uniformity.terms(model))
        ['0', '2']
    """

    def __init__(
        self,
        kind: str = "separation",
        half_space: bool = False,
        hidden_weight: float = 1.0,
        output_weight: float = 1.0,
        *,
        output_half_space: bool = False,
        eps: float = 0.0,
        num_poles: int = 1,
        inner_steps: int = 10,
        inner_rate: float = 0.05,
        inner_momentum: float = 0.9,
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
        who = self._who
        function = lookup("kind of uniformity", kind, UNIFORMITIES)
        check_options(who, kind, function, options, not_here=("half_space", "eps"))
        check_range(who, "eps", eps, low=0.0, high=1e30)
        check_count(who, "num_poles", num_poles)
        check_count(who, "inner_steps", inner_steps, low=0)
        check_range(who, "inner_rate", inner_rate, low=0.0, high=1e3)
        check_range(who, "inner_momentum", inner_momentum, low=0.0, high=0.9999)
        if kind == "resultant" and (half_space or output_half_space):
            raise ValueError(
                f"{who}: in half space the resultant of every layer is 0. Use another kind, or full space."
            )
        self._objective: PoleObjective | None = None
        if kind in _WITH_POLES:
            self._objective = _WITH_POLES[kind](**options)
            self.state = LayerState(seed)
        else:
            # whatever is wrong with an option is said now
            function(torch.eye(2), **options)
        self.kind = kind
        self.half_space = half_space
        self.output_half_space = output_half_space
        self.eps = eps
        self.num_poles = num_poles
        self.inner_steps = inner_steps
        self.inner_rate = inner_rate
        self.inner_momentum = inner_momentum
        self.options = options

    @classmethod
    def published(cls, kind: str, **changes: Any) -> Uniformity:
        """The settings of the released code: half space for hidden layers (but "resultant"), its weights, its eps.

        Its poles move at the learning rate of the network, and normalising twice makes its cosines smaller by a part
        in ten thousand; both are left out.

        Args:
            kind: see the class.
            changes: arguments to give another value.

        Example:
            >>> Uniformity.published("gram").options
            {'reduction': 'sum'}
        """
        return cls(kind, **(lookup("kind of uniformity", kind, _PUBLISHED) | changes))

    def extra_repr(self) -> str:
        """The objective and its weights."""
        options = "".join(f", {name}={value!r}" for name, value in self.options.items())
        poles = ""
        if self._objective is not None:
            poles = f", num_poles={self.num_poles}, inner_steps={self.inner_steps}, inner_rate={self.inner_rate:g}"
        space = f"half_space={self.half_space}, output_half_space={self.output_half_space}"
        return (
            f"{self.kind!r}{options}, {space}, hidden_weight={self.hidden_weight:g}, "
            f"output_weight={self.output_weight:g}, eps={self.eps:g}{poles}"
        )

    # -- the base asks --------------------------------------------------------------------------------------------

    def _too_few(self, layer: NeuronLayer) -> str | None:
        return too_few(layer, 2, "uniformity")

    def _is_ready(self, layers: Sequence[NeuronLayer]) -> bool:
        return all(self._fits(layer) for layer in layers)

    def _state_likes(self, layers: Sequence[NeuronLayer]) -> dict[str, Tensor]:
        return {layer.name: layer.weight.new_empty(self._shape(layer), dtype=torch.float32) for layer in layers}

    def _advance(self, layers: Sequence[NeuronLayer]) -> None:
        """Draw poles that are missing; let all take their steps."""
        state = self.state
        assert state is not None
        assert self._objective is not None
        due = [layer for layer in layers if not self._fits(layer)]
        if due:
            like = due[0].weight.new_empty(0, dtype=torch.float32)
            state.draw({layer.name: self._shape(layer) for layer in due}, like)
        for layer, poles in zip(layers, in_stacks(layers, self._moved, self._in_half_space), strict=True):
            state.put(layer.name, poles.flatten(0, 1))

    def _measure(self, layers: Sequence[NeuronLayer]) -> list[Tensor]:
        return [values.mean() for values in in_stacks(layers, self._values, self._in_half_space)]

    # -- some layers of one shape ---------------------------------------------------------------------------------

    def _values(self, weight: Tensor, layers: list[NeuronLayer]) -> Tensor:
        """The objective of each matrix, (B,)."""
        options: dict[str, Any] = dict(self.options)
        if self.kind != "resultant":
            options["half_space"] = self._in_half_space(layers[0])
        if self._objective is not None:
            options["poles"] = self._poles(layers)
        return UNIFORMITIES[self.kind](weight, eps=self.eps, **options)

    def _moved(self, weight: Tensor, layers: list[NeuronLayer]) -> Tensor:
        """Poles of each matrix, (B, P, D), after the steps of the adversary."""
        assert self._objective is not None
        return sharpest_poles(
            weight.detach(),
            self._poles(layers),
            self._objective,
            half_space=self._in_half_space(layers[0]),
            eps=self.eps,
            num_steps=self.inner_steps,
            rate=self.inner_rate,
            momentum=self.inner_momentum,
        )

    def _poles(self, layers: list[NeuronLayer]) -> Tensor:
        poles: Tensor = torch.cat([self._own(layer) for layer in layers]).unflatten(0, (-1, self.num_poles))
        return poles

    def _fits(self, layer: NeuronLayer) -> bool:
        """Whether there are poles for a layer of this width and so many groups."""
        if self.state is None:
            return True
        stored = self.state.tensors.get(layer.name)
        return stored is not None and stored.shape == self._shape(layer)

    def _shape(self, layer: NeuronLayer) -> tuple[int, int]:
        """Of the poles of a layer, all groups together."""
        return num_groups(layer) * self.num_poles, layer.weight.shape[-1]
