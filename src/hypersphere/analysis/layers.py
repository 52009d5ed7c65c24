# SPDX-License-Identifier: MIT
"""How the neurons of every layer are spread: energy beside its references, and the smallest angle."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hypersphere.analysis.thomson import smallest_angle
from hypersphere.functional import expected_energy, hyperspherical_energy, minimum_energy
from hypersphere.regularizers import find_neurons

__all__ = ["LayerMeasure", "measure_layers"]


@dataclass(frozen=True)
class LayerMeasure:
    """One layer, or the mean over the groups of a grouped one.

    Args:
        energy: mean pair energy.
        smallest_angle: between two neurons, radians; of the nearest pair in any group.
        num_neurons: K.
        dim: D.
        expected: the same energy of uniformly random directions; None where it is infinite.
        minimum: the smallest possible, or best known; None where it is unknown.
    """

    energy: float
    smallest_angle: float
    num_neurons: int
    dim: int
    expected: float | None
    minimum: float | None


@torch.no_grad()
def measure_layers(
    model: nn.Module, *, power: float = 0.0, distance: str = "euclidean", half_space: bool = False
) -> dict[str, LayerMeasure]:
    """Measure every layer of `model` that has neurons, regularised or not.

    Args:
        model: any module.
        power: exponent of the energy, as in `hyperspherical_energy`.
        distance: "euclidean" or "angular".
        half_space: measure lines instead of directions.

    Returns:
        Name of the layer -> what was measured; layers with fewer than two neurons are left out.
    """
    energy = functools.partial(hyperspherical_energy, power=power, distance=distance, half_space=half_space)
    found = {}
    for layer in find_neurons(model).layers:
        weight = layer.weight.detach()
        groups: list[Tensor] = [weight] if weight.ndim == 2 else list(weight)
        num_neurons, dim = groups[0].shape
        if num_neurons < 2:
            continue
        expected = (
            expected_energy(dim, power=power, distance=distance, half_space=half_space, num_points=num_neurons)
            if dim >= 2
            else math.inf
        )
        found[layer.name] = LayerMeasure(
            energy=float(torch.stack([energy(group) for group in groups]).mean()),
            smallest_angle=min(smallest_angle(group) for group in groups),
            num_neurons=num_neurons,
            dim=dim,
            expected=expected if math.isfinite(expected) else None,
            minimum=minimum_energy(num_neurons, dim, power=power, distance=distance, half_space=half_space),
        )
    return found
