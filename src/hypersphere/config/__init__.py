# SPDX-License-Identifier: MIT
"""Every setting of a run, typed, with its default and its range; a recipe is a file of these values."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypersphere.config.adversary import AdversaryConfig
from hypersphere.config.data import DataConfig
from hypersphere.config.head import AnnealingConfig, HeadConfig, MarginScheduleConfig, ScaleScheduleConfig
from hypersphere.config.model import ModelConfig
from hypersphere.config.optimization import OptimizerConfig, ScheduleConfig, TrainingConfig
from hypersphere.config.weights import (
    CompressionConfig,
    EnergyConfig,
    MonitorConfig,
    OrthogonalityConfig,
    UniformityConfig,
)

__all__ = [
    "AdversaryConfig",
    "AnnealingConfig",
    "CompressionConfig",
    "Config",
    "DataConfig",
    "EnergyConfig",
    "HeadConfig",
    "MarginScheduleConfig",
    "ModelConfig",
    "MonitorConfig",
    "OptimizerConfig",
    "OrthogonalityConfig",
    "ScaleScheduleConfig",
    "ScheduleConfig",
    "TrainingConfig",
    "UniformityConfig",
]


@dataclass
class Config:
    """Everything that makes a run; `config.yaml` of a run folder holds one, complete.

    Args:
        recipe: the name under which these values were published or given.
        description: one line that says what the run is.
        data: which images.
        model: which network.
        head: which loss.
        annealing: how the margin sets in.
        margin_schedule: which argument of it moves.
        scale_schedule: whether the scale moves.
        energy: which hyperspherical energy is in the loss.
        compression: under which projections that energy is taken.
        uniformity: which other objective for even spread is in the loss.
        orthogonality: which penalty on angles other than right ones is in the loss.
        adversary: by which attack training images are replaced.
        monitor: which energy is measured.
        optimizer: which optimiser.
        schedule: which learning rate when.
        training: how long.
    """

    recipe: str = ""
    description: str = ""
    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    head: HeadConfig = field(default_factory=HeadConfig)
    annealing: AnnealingConfig = field(default_factory=AnnealingConfig)
    margin_schedule: MarginScheduleConfig = field(default_factory=MarginScheduleConfig)
    scale_schedule: ScaleScheduleConfig = field(default_factory=ScaleScheduleConfig)
    energy: EnergyConfig = field(default_factory=EnergyConfig)
    compression: CompressionConfig = field(default_factory=CompressionConfig)
    uniformity: UniformityConfig = field(default_factory=UniformityConfig)
    orthogonality: OrthogonalityConfig = field(default_factory=OrthogonalityConfig)
    adversary: AdversaryConfig = field(default_factory=AdversaryConfig)
    monitor: MonitorConfig = field(default_factory=MonitorConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
