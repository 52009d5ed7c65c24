# SPDX-License-Identifier: MIT
"""What a run adds to its loss for the neurons of its layers, and what it measures of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from hypersphere.config.ranges import at_least, layer_weights, require

__all__ = ["CompressionConfig", "EnergyConfig", "MonitorConfig", "OrthogonalityConfig", "UniformityConfig"]

Distance = Literal["euclidean", "angular"]


@dataclass
class EnergyConfig:
    """The hyperspherical energy that is added to the loss.

    Args:
        hidden_weight: factor of the mean pair energy of every hidden layer; 0 leaves them out.
        output_weight: factor of that of the classifier; 0 leaves it out.
        power: exponent s of the kernel, 0 or more; 0 is the logarithm of the distance, not of its square.
        distance: chord ("euclidean") or angle ("angular") between neurons.
        half_space: spread lines instead of directions, in hidden layers.
        output_half_space: the same in the output layer; published False.
        eps: added inside the square root of the norms; published 1e-4.
        angle_offset: added to every angle, in units of pi; published 1e-4 for angular.
        include: patterns of layer names; none means all.
        exclude: patterns of layer names to leave out.
    """

    hidden_weight: float = 0.0
    output_weight: float = 0.0
    power: float = 0.0
    distance: Distance = "euclidean"
    half_space: bool = False
    output_half_space: bool = False
    eps: float = 0.0
    angle_offset: float = 0.0
    include: list[str] = field(default_factory=list)
    exclude: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        require(
            "energy",
            layer_weights(self.hidden_weight, self.output_weight, False) | at_least(0, power=self.power, eps=self.eps),
        )

    @property
    def active(self) -> bool:
        """Whether anything is added to the loss."""
        return self.hidden_weight > 0 or self.output_weight > 0


@dataclass
class CompressionConfig:
    """Projections under which that energy is taken (CoMHE); weights, power and space are those of section `energy`.

    Args:
        projection: "none", "random", "angle_preserving", "adversarial" or "group".
        dim: dimension after projection, or coordinates of a group; layers with no more are left as they are.
        num_projections: projections that are averaged, for "random"; groups at most, for "group".
        redraw_every: steps between fresh projections; null is 1 for "random" and "group", never for the others.
        inner_steps: steps of a learned projection for each training step; null is 1 for "angle_preserving" and 10 for
            "adversarial".
        inner_rate: length of those steps in units of their gradient.
        normalized: whether it is in units of the projection's size instead.
        objective: what "angle_preserving" keeps, "cosine" (published code) or "angle" (paper).
        ascent: which energy "adversarial" raises, the "same" or that of "full_space" (published code).
        unrolled: differentiate through one more inner step; published True.
        project_first: whether the first layer is projected; published False.
        precision: of products with random projections.
    """

    projection: Literal["none", "random", "angle_preserving", "adversarial", "group"] = "none"
    dim: int = 30
    num_projections: int = 20
    redraw_every: int | None = None
    inner_steps: int | None = None
    inner_rate: float = 0.1
    normalized: bool = False
    objective: Literal["cosine", "angle"] = "cosine"
    ascent: Literal["same", "full_space"] = "same"
    unrolled: bool = False
    project_first: bool = True
    precision: Literal["float32", "bfloat16"] = "float32"

    def __post_init__(self) -> None:
        require(
            "compression",
            at_least(2, dim=self.dim)
            | at_least(1, num_projections=self.num_projections, redraw_every=self.redraw_every)
            | at_least(0, inner_steps=self.inner_steps, inner_rate=self.inner_rate),
        )


@dataclass
class UniformityConfig:
    """Another objective for evenly spread neurons, added to the loss.

    Args:
        kind: "none", "separation", "polarization", "resultant", "covering" or "gram".
        half_space: spread lines instead of directions, in hidden layers.
        hidden_weight: factor for every hidden layer; 0 leaves them out.
        output_weight: factor for the classifier; 0 leaves it out.
        eps: added inside the square root of the norms; published 1e-4.
    """

    kind: Literal["none", "separation", "polarization", "resultant", "covering", "gram"] = "none"
    half_space: bool = False
    hidden_weight: float = 1.0
    output_weight: float = 1.0
    eps: float = 0.0

    def __post_init__(self) -> None:
        require(
            "uniformity",
            layer_weights(self.hidden_weight, self.output_weight, self.kind != "none") | at_least(0, eps=self.eps),
        )


@dataclass
class OrthogonalityConfig:
    """A penalty on neurons that are not at right angles, added to the loss.

    Args:
        kind: "none", "orthonormal", "orthogonal" or "restricted_isometry".
        normalized: whether neurons are brought to length 1 first.
        hidden_weight: factor for every hidden layer; 0 leaves them out.
        output_weight: factor for the classifier; 0 leaves it out.
        include: patterns of layer names; none means all.
        exclude: patterns of layer names to leave out. With neither, the patterns are those of section energy.
    """

    kind: Literal["none", "orthonormal", "orthogonal", "restricted_isometry"] = "none"
    normalized: bool = False
    hidden_weight: float = 1e-4
    output_weight: float = 0.0
    include: list[str] = field(default_factory=list)
    exclude: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        require("orthogonality", layer_weights(self.hidden_weight, self.output_weight, self.kind != "none"))


@dataclass
class MonitorConfig:
    """The energy that every evaluation measures in every layer, regularised or not, so that runs compare.

    Args:
        power: exponent s of the kernel, 0 or more.
        distance: chord or angle.
        half_space: lines instead of directions.
    """

    power: float = 0.0
    distance: Distance = "euclidean"
    half_space: bool = False
