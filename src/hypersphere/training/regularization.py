# SPDX-License-Identifier: MIT
"""From the sections of a config to the regularisers that a run adds to its loss."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from torch import nn

from hypersphere.config import Config
from hypersphere.regularizers import CompressiveEnergy, HypersphericalEnergy, Orthogonality, Uniformity
from hypersphere.regularizers.base import LayerRegularizer

__all__ = ["make_regularizers"]


def make_regularizers(config: Config) -> nn.ModuleDict:
    """Name of each term of the loss, as metrics call it -> the regulariser; empty where all weights are zero.

    Args:
        config: sections energy, compression, uniformity and orthogonality are read. Patterns of layer names are those
            of section energy for all, unless section orthogonality has its own. Projections and poles are drawn from
            `training.seed`.

    Raises:
        ValueError: if projections are asked for and the energy has no weight, or the energy has an angle offset, which
            projected neurons do not take.
    """
    made: dict[str, LayerRegularizer] = {}
    shared: dict[str, Any] = {"include": config.energy.include, "exclude": config.energy.exclude}
    seeded = shared | {"seed": config.training.seed}
    if config.compression.projection != "none":
        made["energy"] = _compressive(config, seeded)
    elif config.energy.active:
        made["energy"] = HypersphericalEnergy(**asdict(config.energy))
    if config.uniformity.kind != "none":
        made["uniformity"] = Uniformity(**asdict(config.uniformity), **seeded)
    if config.orthogonality.kind != "none":
        own = asdict(config.orthogonality)
        patterns = {} if own["include"] or own["exclude"] else shared
        made["orthogonality"] = Orthogonality(**(own | patterns), seed=config.training.seed)
    return nn.ModuleDict(made)


def _compressive(config: Config, seeded: dict[str, Any]) -> CompressiveEnergy:
    energy, compression = asdict(config.energy), asdict(config.compression)
    if not config.energy.active:
        raise ValueError(
            f"compression.projection is {config.compression.projection!r}, but the energy is not in the loss. Set "
            "energy.hidden_weight above 0."
        )
    if energy.pop("angle_offset"):
        raise ValueError(
            f"energy.angle_offset is not for projected neurons, got {config.energy.angle_offset:g}. Set it to 0, or "
            "compression.projection to none."
        )
    return CompressiveEnergy(**compression, **(energy | seeded))
