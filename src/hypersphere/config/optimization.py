# SPDX-License-Identifier: MIT
"""How the weights of a run follow gradients, for how long and how fast."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from hypersphere.config.ranges import at_least, require

__all__ = ["OptimizerConfig", "ScheduleConfig", "TrainingConfig"]

Unit = Literal["run", "epochs", "steps"]


@dataclass
class OptimizerConfig:
    """How weights follow gradients.

    Args:
        name: "sgd", "adam" or "adamw".
        rate: learning rate before the schedule, above 0.
        momentum: of SGD, in [0, 1).
        nesterov: Nesterov's form of it.
        betas: of Adam.
        weight_decay: factor of half the squared norm of the decayed parameters (adamw: decoupled), 0 or more.
        decay_norms: whether scales and shifts of normalisation layers decay too; published True.
        decay_biases: whether biases of other layers do.
        decay_angular: whether kernels do of which only the direction counts; published False.
        decay_slopes: whether slopes of PReLU do; published True by the SphereFace paper, False by that of DCNets.
        bias_rate_factor: rate of those biases in units of `rate`, above 0; published 2 by the SphereFace paper.
        project_every: steps between two projections of those kernels to length 1; published 100, 0 is never.
        weighted_gradients: multiply the step of each of those kernels by its length, which its gradient is divided by.
    """

    name: Literal["sgd", "adam", "adamw"] = "sgd"
    rate: float = 0.1
    momentum: float = 0.9
    nesterov: bool = False
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 5e-4
    decay_norms: bool = True
    decay_biases: bool = True
    decay_angular: bool = False
    decay_slopes: bool = False
    bias_rate_factor: float = 1.0
    project_every: int = 0
    weighted_gradients: bool = False

    def __post_init__(self) -> None:
        require(
            "optimizer",
            {
                f"rate must be above 0, got {self.rate:g}.": 0 < self.rate < math.inf,
                f"bias_rate_factor must be above 0, got {self.bias_rate_factor:g}.": (
                    0 < self.bias_rate_factor < math.inf
                ),
                f"momentum must lie in [0, 1), got {self.momentum:g}.": 0 <= self.momentum < 1,
                **at_least(0, weight_decay=self.weight_decay, project_every=self.project_every),
                "nesterov needs a momentum above 0.": not self.nesterov or self.momentum > 0,
            },
        )


@dataclass
class ScheduleConfig:
    """How the learning rate changes.

    Args:
        name: "constant", "steps" (multiplied by `factor` at each milestone) or "cosine" (down to `final`).
        unit: what milestones and warmup count: "run" (fractions of the run, which keep their place when the run is
            shortened), "epochs" or "steps".
        milestones: of "steps", increasing.
        factor: of "steps", in (0, 1].
        warmup: over this stretch the rate rises linearly from 0.
        final: of "cosine", what is left of the rate at the end, as a share in [0, 1].
    """

    name: Literal["constant", "steps", "cosine"] = "constant"
    unit: Unit = "run"
    milestones: list[float] = field(default_factory=list)
    factor: float = 0.1
    warmup: float = 0.0
    final: float = 0.0

    def __post_init__(self) -> None:
        inside = self.unit != "run" or all(0 <= x <= 1 for x in [*self.milestones, self.warmup])
        require(
            "schedule",
            {
                f"milestones must be increasing and 0 or more, got {self.milestones}.": (
                    sorted(set(self.milestones)) == self.milestones and min(self.milestones, default=0) >= 0
                ),
                f"milestones and warmup are fractions of the run with unit 'run', got {self.milestones} and "
                f"{self.warmup:g}. Set schedule.unit to epochs or steps for counts.": inside,
                f"factor must lie in (0, 1], got {self.factor:g}.": 0 < self.factor <= 1,
                **at_least(0, warmup=self.warmup),
                f"final must lie in [0, 1], got {self.final:g}.": 0 <= self.final <= 1,
                "name 'steps' needs milestones.": self.name != "steps" or bool(self.milestones),
            },
        )


@dataclass
class TrainingConfig:
    """How long, how fast and how often.

    Args:
        epochs: passes over the training images, fractions allowed; the length of the run unless `steps` is given.
        steps: optimiser steps, in place of `epochs`.
        batch_size: images of one optimiser step, all processes together.
        accumulate: parts that a batch is divided into to save memory; the result is the same but for rounding and
            batch statistics.
        precision: "float32" or "bfloat16" (autocast: products in bfloat16, everything delicate in float32).
        channels_last: keep images in the memory order that CPUs and tensor cores prefer.
        compile: run the network through torch.compile.
        clip: largest norm of the whole gradient, or None.
        seed: of weights, order and augmentation.
        threads: of the processor, or None for PyTorch's choice; a run repeats exactly only with the same number.
        log_every: steps between two lines of metrics.
        evaluate_every: epochs between two evaluations, fractions allowed; one is always made at either end.
        checkpoint_every: steps between two checkpoints.
        tensorboard: also write the metrics for TensorBoard.
        start_from: a run folder or a .safetensors file of which every tensor that fits replaces a fresh one, or None.
        recalibrate: training batches at the end of the run from which running statistics are measured again; accuracy
            is told before and after. 0 leaves them as trained.
    """

    epochs: float = 10.0
    steps: int | None = None
    batch_size: int = 128
    accumulate: int = 1
    precision: Literal["float32", "bfloat16"] = "float32"
    channels_last: bool = True
    compile: bool = False
    clip: float | None = None
    seed: int = 0
    threads: int | None = None
    log_every: int = 50
    evaluate_every: float = 1.0
    checkpoint_every: int = 500
    tensorboard: bool = False
    start_from: str | None = None
    recalibrate: int = 0

    def __post_init__(self) -> None:
        whole = ("batch_size", "accumulate", "log_every", "checkpoint_every", "steps", "threads")
        require(
            "training",
            at_least(1, **{name: getattr(self, name) for name in whole})
            | {
                f"epochs must be above 0, got {self.epochs:g}.": 0 < self.epochs < math.inf,
                f"clip must be above 0, got {self.clip}.": self.clip is None or self.clip > 0,
                **at_least(0, seed=self.seed, recalibrate=self.recalibrate),
                f"evaluate_every must be above 0, got {self.evaluate_every:g}.": self.evaluate_every > 0,
                f"accumulate must not exceed batch_size, got {self.accumulate} and {self.batch_size}.": (
                    self.accumulate <= self.batch_size
                ),
            },
        )
