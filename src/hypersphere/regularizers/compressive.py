# SPDX-License-Identifier: MIT
"""Compressive minimum hyperspherical energy (CoMHE): the energy of projected neurons as a regulariser."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from hypersphere.checks import check_choice, check_count, check_range, lookup
from hypersphere.formulas.directions import widen, working_dtype
from hypersphere.formulas.energies import PairPotential, Riesz
from hypersphere.functional.compressive import (
    OBJECTIVES,
    adversarial_projection,
    angle_preserving_projection,
    grouped_energy,
    projected_energy,
)
from hypersphere.functional.energy import stacked_energy
from hypersphere.kernels.energy import reasons_not
from hypersphere.nn.selection import Patterns
from hypersphere.regularizers.base import LayerRegularizer, too_few
from hypersphere.regularizers.layers import NeuronLayer
from hypersphere.regularizers.state import LayerState

__all__ = ["PROJECTIONS", "CompressiveEnergy"]

PROJECTIONS = {
    "random": "Gaussian projections, drawn again every `redraw_every` steps",
    "angle_preserving": "a projection that learns to keep the cosines (or angles) between neurons",
    "adversarial": "a projection that learns to make the energy as high as it can",
    "group": "groups of coordinates, drawn again every `redraw_every` steps",
}

_ASCENTS = ("same", "full_space")
_PRECISIONS = ("float32", "bfloat16")

# what the released programs share: half space, power 2, the first convolution and the classifier unprojected
_RELEASED: dict[str, Any] = {"eps": 1e-4, "output_weight": 10.0, "project_first": False}
_PUBLISHED: dict[str, dict[str, Any]] = {
    "random": {"dim": 40, "num_projections": 20},
    "angle_preserving": {"dim": 30, "inner_steps": 1, "inner_rate": 0.1, "unrolled": True},
    "adversarial": {"dim": 30, "inner_steps": 10, "inner_rate": 0.1, "ascent": "full_space", "unrolled": True},
}


class CompressiveEnergy(LayerRegularizer):
    r"""Weighted sum over layers of the energy of their neurons in few dimensions, to be added to a loss.

    .. math::
        R = \lambda_h \sum_{l\ \text{hidden}} \frac1C \sum_c E(P_c^{(l)} W_l) + \lambda_o\, E(W_{\text{out}})

    with E of `hyperspherical_energy`. In thousands of dimensions every layer is nearly orthogonal and its energy flat;
    in thirty it is not, so the gradient has something to say. The output layer is not projected unless asked for, and a
    layer whose dimension does not exceed `dim` never is.

    Args:
        projection: "random", "angle_preserving", "adversarial" or "group"; see `PROJECTIONS`.
        dim: dimension p >= 2 after projection, or coordinates of a group.
        num_projections: projections C that are averaged ("random"), or groups at most ("group", where a layer of D
            dimensions has D // dim); the learned projections are one for each layer.
        power: exponent s >= 0 of the kernel.
        half_space: spread lines instead of directions in hidden layers.
        hidden_weight: lambda_h >= 0; 0 leaves the hidden layers out.
        output_weight: lambda_o >= 0; 0 leaves the output layer out.
        distance: "euclidean" or "angular".
        output_half_space: half space in the output layer too; the published programs never do.
        eps: added inside the square root of the norms, >= 0; published 1e-4.
        redraw_every: training steps between fresh projections, >= 1; for learned ones the restart from a random one.
            None: every step for "random" and "group", never for learned ones.
        inner_steps: gradient steps of a learned projection for each training step, >= 0; None: 1 for
            "angle_preserving", 10 for "adversarial", as published.
        inner_rate: length of such a step in units of the gradient; published: the learning rate of the network.
        normalized: whether its length is inner_rate · |P| instead. An adversary that is let go far enough wins: a
            projection that takes the difference of two neurons away has infinite energy, so keep its steps short.
        objective: what "angle_preserving" keeps, "cosine" (published code) or "angle" (paper).
        ascent: which energy "adversarial" raises: "same", the one that is then minimised, or "full_space", as the
            released code does.
        unrolled: minimise at one more inner step, differentiated through (second order, as the released code);
            otherwise weights and projection alternate.
        project_first: whether the first regularised layer is projected; the released programs leave the first
            convolution as it is.
        project_output: whether the output layer is projected.
        precision: of the product with random projections, "float32" or "bfloat16"; norms and energies are float32.
        seed: of the projections, the same on every process.
        include: patterns of layer names; none means all.
        exclude: patterns of layer names to leave out.
        embeddings: whether embedding tables count.
        output: name of the output layer, where it is not found by itself; see `find_neurons`.

    Shape:
        energy(model, *more) -> scalar, float32 or wider. `more` are modules outside the model, such as its head.

    Raises:
        ValueError: for an option out of range, or as `LayerRegularizer`.

    Edge cases:
        Groups of a grouped layer share the projection. Projections move on with each forward pass in training mode;
        `terms` and evaluation mode use those of the last step. `state_dict` holds generator, step count and
        projections; a run that saves and loads it goes on as if nothing had happened.

    Source:
        lin2020comhe; settings of the released code by `CompressiveEnergy.published`.

    Example:
        >>> from torch import nn
        >>> _ = torch.manual_seed(0)
        >>> model = nn.Sequential(nn.Linear(100, 50), nn.ReLU(), nn.Linear(50, 3))
        >>> energy = CompressiveEnergy("random", dim=10)
        >>> loss = model(torch.randn(4, 100)).square().mean() + energy(model)
        >>> list(energy.terms(model))
        ['0', '2']
    """

    def __init__(
        self,
        projection: str = "random",
        dim: int = 30,
        num_projections: int = 20,
        power: float = 2.0,
        half_space: bool = True,
        hidden_weight: float = 1.0,
        output_weight: float = 1.0,
        *,
        distance: str = "euclidean",
        output_half_space: bool = False,
        eps: float = 0.0,
        redraw_every: int | None = None,
        inner_steps: int | None = None,
        inner_rate: float = 0.1,
        normalized: bool = False,
        objective: str = "cosine",
        ascent: str = "same",
        unrolled: bool = False,
        project_first: bool = True,
        project_output: bool = False,
        precision: str = "float32",
        seed: int = 0,
        include: Patterns = (),
        exclude: Patterns = (),
        embeddings: bool = False,
        output: Patterns | None = None,
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
        lookup("projection", projection, PROJECTIONS)
        check_count(who, "dim", dim, low=2)
        check_count(who, "num_projections", num_projections)
        check_range(who, "eps", eps, low=0.0, high=1e30)
        check_range(who, "inner_rate", inner_rate, low=0.0, high=1e6)
        check_choice(who, "objective", objective, OBJECTIVES)
        check_choice(who, "ascent", ascent, _ASCENTS)
        check_choice(who, "precision", precision, _PRECISIONS)
        PairPotential(Riesz(power), distance)
        self._learns = projection in ("angle_preserving", "adversarial")
        if inner_steps is None:
            inner_steps = 1 if projection == "angle_preserving" else 10
        check_count(who, "inner_steps", inner_steps, low=0)
        if redraw_every is not None:
            check_count(who, "redraw_every", redraw_every)
        elif not self._learns:
            redraw_every = 1
        self.projection = projection
        self.dim = dim
        self.num_projections = num_projections
        self.power = power
        self.distance = distance
        self.half_space = half_space
        self.output_half_space = output_half_space
        self.eps = eps
        self.redraw_every = redraw_every
        self.inner_steps = inner_steps
        self.inner_rate = inner_rate
        self.normalized = normalized
        self.objective = objective
        self.ascent = ascent
        self.unrolled = unrolled
        self.project_first = project_first
        self.project_output = project_output
        self.precision = precision
        self.state: LayerState = LayerState(seed)

    @classmethod
    def published(cls, projection: str, **changes: Any) -> CompressiveEnergy:
        """The settings of the released code: `random` (20 of 40 dimensions), `angle_preserving`, `adversarial` (30).

        Args:
            projection: which of the three; there is no released code for "group".
            changes: arguments to give another value.

        Raises:
            ValueError: for a projection without released code.
        """
        settings = lookup("published projection", projection, _PUBLISHED)
        return cls(projection, **(_RELEASED | settings | changes))

    def extra_repr(self) -> str:
        """The projection and the energy."""
        how = f"num_projections={self.num_projections}, redraw_every={self.redraw_every}"
        if self._learns:
            how = f"inner_steps={self.inner_steps}, inner_rate={self.inner_rate:g}, unrolled={self.unrolled}"
        return (
            f"{self.projection!r}, dim={self.dim}, {how}, power={self.power:g}, distance={self.distance!r}, "
            f"half_space={self.half_space}, hidden_weight={self.hidden_weight:g}, "
            f"output_weight={self.output_weight:g}, eps={self.eps:g}"
        )

    def is_projected(self, layer: NeuronLayer, *, first: bool = False) -> bool:
        """Whether a layer is projected: it has more dimensions than `dim`, and no rule says otherwise."""
        if layer.weight.shape[-1] <= self.dim:
            return False
        return self.project_output if layer.is_output else self.project_first or not first

    # -- the base asks --------------------------------------------------------------------------------------------

    def _too_few(self, layer: NeuronLayer) -> str | None:
        if self.projection == "angle_preserving" and layer.weight.shape[-2] < 2:
            return too_few(layer, 2, "an angle")
        return too_few(layer, 1 if self._in_half_space(layer) else 2)

    def _is_ready(self, layers: Sequence[NeuronLayer]) -> bool:
        return all(self._fits(layer) for layer in self._projected(layers))

    def _advance(self, layers: Sequence[NeuronLayer]) -> None:
        """Draw what is due or missing; let learned projections take their steps."""
        projected = self._projected(layers)
        redraw = self.redraw_every is not None and self.state.clock.steps % self.redraw_every == 0
        due = [layer for layer in projected if redraw or not self._fits(layer)]
        if due:
            self.state.draw({layer.name: self._drawn_shape(layer) for layer in due}, self._like(due[0]))
        if self.projection == "group":
            for layer in due:
                # the order of random numbers is a random permutation
                self.state.put(layer.name, self.state.tensors[layer.name].argsort())
        if self._learns:
            for layer in projected:
                learned = self._learn(layer, self._own(layer), self.inner_steps, unrolled=False)
                self.state.put(layer.name, learned)

    def _state_likes(self, layers: Sequence[NeuronLayer]) -> dict[str, Tensor]:
        likes = {}
        for layer in self._projected(layers):
            dtype = torch.int64 if self.projection == "group" else self._like(layer).dtype
            likes[layer.name] = layer.weight.new_empty(self._drawn_shape(layer), dtype=dtype)
        return likes

    def _measure(self, layers: Sequence[NeuronLayer]) -> list[Tensor]:
        projected = {layer.name for layer in self._projected(layers)}
        return [self._of_projected(layer) if layer.name in projected else self._plain(layer) for layer in layers]

    # -- one layer ------------------------------------------------------------------------------------------------

    def _projected(self, layers: Sequence[NeuronLayer]) -> list[NeuronLayer]:
        return [layer for number, layer in enumerate(layers) if self.is_projected(layer, first=number == 0)]

    def _plain(self, layer: NeuronLayer) -> Tensor:
        """Energy of a layer as it is; the mean over its groups."""
        weight = layer.weight if layer.weight.ndim == 3 else layer.weight[None]
        return stacked_energy(weight, **self._measured(layer)).mean()

    def _of_projected(self, layer: NeuronLayer) -> Tensor:
        """Energy of a layer under its projection."""
        own = self._own(layer)
        if self.projection == "group":
            count = min(self.num_projections, own.shape[-1] // self.dim)
            groups = own[0, : count * self.dim].view(count, self.dim)
            return grouped_energy(layer.weight, groups, **self._measured(layer))
        if self._learns:
            if self.unrolled:
                own = self._learn(layer, own, 1, unrolled=True)
            return projected_energy(layer.weight, own, **self._measured(layer))
        return projected_energy(layer.weight, own.view(-1, self.dim, own.shape[-1]), **self._measured(layer))

    def _learn(self, layer: NeuronLayer, projection: Tensor, num_steps: int, *, unrolled: bool) -> Tensor:
        """A learned projection some steps later."""
        weight = widen(layer.weight, working_dtype(layer.weight.dtype))
        if not unrolled:
            weight = weight.detach()
        rate, normalized = self.inner_rate, self.normalized
        if self.projection == "angle_preserving":
            return angle_preserving_projection(
                weight,
                projection,
                num_steps=num_steps,
                rate=rate,
                normalized=normalized,
                objective=self.objective,
                unrolled=unrolled,
            )
        kernel = self._kernel(layer)
        if self.ascent == "full_space":
            kernel["half_space"] = False
        return adversarial_projection(
            weight, projection, num_steps=num_steps, rate=rate, normalized=normalized, unrolled=unrolled, **kernel
        )

    def _kernel(self, layer: NeuronLayer) -> dict[str, Any]:
        half_space = self._in_half_space(layer)
        return {"power": self.power, "distance": self.distance, "half_space": half_space, "eps": self.eps}

    def _measured(self, layer: NeuronLayer) -> dict[str, Any]:
        """The same, for an energy that is differentiated once: value and gradient in one pass where that can be."""
        impl = "auto" if reasons_not(layer.weight, Riesz(self.power)) else "blocked"
        return self._kernel(layer) | {"impl": impl}

    # -- its projection -------------------------------------------------------------------------------------------

    def _drawn_shape(self, layer: NeuronLayer) -> tuple[int, int]:
        dim = layer.weight.shape[-1]
        rows = {"random": self.num_projections * self.dim, "group": 1}.get(self.projection, self.dim)
        return rows, dim

    def _fits(self, layer: NeuronLayer) -> bool:
        """Whether there is a projection of the size that this layer needs."""
        own = self.state.tensors.get(layer.name)
        return own is not None and own.shape == self._drawn_shape(layer)

    def _like(self, layer: NeuronLayer) -> Tensor:
        """An empty tensor of the dtype and the device in which projections are drawn."""
        narrow = self.precision == "bfloat16" and self.projection == "random"
        return layer.weight.new_empty(0, dtype=torch.bfloat16 if narrow else torch.float32)
