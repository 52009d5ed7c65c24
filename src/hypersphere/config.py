# SPDX-License-Identifier: MIT
"""Every setting of a run, typed, with its default and its range; a recipe is a file of these values."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal

from hypersphere.checks import problems

__all__ = [
    "CompressionConfig",
    "Config",
    "DataConfig",
    "EnergyConfig",
    "HeadConfig",
    "ModelConfig",
    "MonitorConfig",
    "OptimizerConfig",
    "OrthogonalityConfig",
    "ScheduleConfig",
    "TrainingConfig",
    "UniformityConfig",
]

Distance = Literal["euclidean", "angular"]
Unit = Literal["run", "epochs", "steps"]


def _require(who: str, conditions: dict[str, bool]) -> None:
    """Raise one ValueError with every sentence whose condition does not hold."""
    problems(who, [sentence for sentence, holds in conditions.items() if not holds])


@dataclass
class DataConfig:
    """Which images, and what is done to them on the way to the model.

    Args:
        name: a name from `hypersphere list`, or a folder, a CSV file or a Parquet file.
        image_column: the column of images, or None to find it.
        label_column: the column of labels, or None to find it.
        size: None if all images have one height and width, or the side length that each is cropped and resized to.
        validation: fraction of train used as the validation split, in [0, 1).
        split_seed: picks the validation split, and the test split of a set that has none.
        keep: class name or number -> fraction of its train images to keep.
        subsample_seed: picks those.
        padding: pixels around each training image before it is cut back to its size at a random place.
        padding_mode: "zero" or "symmetric".
        flip: whether training images are mirrored at random.
        mean: subtracted from the pixels 0..255; one number, or one for each channel.
        std: what they are then divided by.
        cache: whether decoded images are kept on disk for the next run.
        stream: decode images while training (True), before (False), or by their size (None).
    """

    name: str = "digits"
    image_column: str | None = None
    label_column: str | None = None
    size: int | None = None
    validation: float = 0.0
    split_seed: int = 0
    keep: dict[str, float] = field(default_factory=dict)
    subsample_seed: int = 0
    padding: int = 0
    padding_mode: Literal["zero", "symmetric"] = "zero"
    flip: bool = False
    mean: list[float] = field(default_factory=lambda: [127.5])
    std: list[float] = field(default_factory=lambda: [128.0])
    cache: bool = True
    stream: bool | None = None

    def __post_init__(self) -> None:
        _require(
            "data",
            {
                f"validation must lie in [0, 1), got {self.validation:g}.": 0 <= self.validation < 1,
                f"padding must be 0 or more, got {self.padding}.": self.padding >= 0,
                f"every number of std must be above 0, got {self.std}.": min(self.std, default=0) > 0,
                f"every fraction of keep must lie in [0, 1], got {self.keep}.": all(
                    0 <= share <= 1 for share in self.keep.values()
                ),
            },
        )


@dataclass
class ModelConfig:
    """Which network makes features of images.

    Args:
        name: a model of `hypersphere list models`.
        arguments: arguments of its class, such as base_width; the shape of the images is filled in.
    """

    name: str = "digits-cnn"
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass
class HeadConfig:
    """How features become a loss.

    Args:
        margin: a head of `hypersphere list margins`.
        scale: what multiplies the cosines: "default" (as published), "feature", "learned" or a number.
        label_smoothing: share of the target spread over all classes, in [0, 1].
        probability_floor: added to every probability before the logarithm, in [0, 1]; published 1e-4, 0 is plain.
    """

    margin: str = "softmax"
    scale: float | str = "default"
    label_smoothing: float = 0.0
    probability_floor: float = 0.0

    def __post_init__(self) -> None:
        _require(
            "head",
            {
                f"label_smoothing must lie in [0, 1], got {self.label_smoothing:g}.": 0 <= self.label_smoothing <= 1,
                f"probability_floor must lie in [0, 1], got {self.probability_floor:g}.": (
                    0 <= self.probability_floor <= 1
                ),
            },
        )


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
        _require(
            "energy",
            _weights(self.hidden_weight, self.output_weight, False)
            | {
                f"power must be 0 or more, got {self.power:g}.": 0 <= self.power < math.inf,
                f"eps must be 0 or more, got {self.eps:g}.": self.eps >= 0,
            },
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
        _require(
            "compression",
            {
                f"dim must be 2 or more, got {self.dim}.": self.dim >= 2,
                f"num_projections must be 1 or more, got {self.num_projections}.": self.num_projections >= 1,
                f"redraw_every must be 1 or more, got {self.redraw_every}.": self.redraw_every is None
                or self.redraw_every >= 1,
                f"inner_steps must be 0 or more, got {self.inner_steps}.": self.inner_steps is None
                or self.inner_steps >= 0,
                f"inner_rate must be 0 or more, got {self.inner_rate:g}.": 0 <= self.inner_rate < math.inf,
            },
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
        _require(
            "uniformity",
            _weights(self.hidden_weight, self.output_weight, self.kind != "none")
            | {f"eps must be 0 or more, got {self.eps:g}.": self.eps >= 0},
        )


@dataclass
class OrthogonalityConfig:
    """A penalty on neurons that are not at right angles, added to the loss.

    Args:
        kind: "none", "orthonormal", "orthogonal" or "restricted_isometry".
        normalized: whether neurons are brought to length 1 first.
        hidden_weight: factor for every hidden layer; 0 leaves them out.
        output_weight: factor for the classifier; 0 leaves it out.
    """

    kind: Literal["none", "orthonormal", "orthogonal", "restricted_isometry"] = "none"
    normalized: bool = False
    hidden_weight: float = 1e-4
    output_weight: float = 0.0

    def __post_init__(self) -> None:
        _require("orthogonality", _weights(self.hidden_weight, self.output_weight, self.kind != "none"))


def _at_least(low: int, count: int | None) -> bool:
    """Whether a count that may be left to its default is large enough."""
    return count is None or count >= low


def _weights(hidden_weight: float, output_weight: float, active: bool) -> dict[str, bool]:
    """What two weights of layers must fulfil."""
    return {
        f"hidden_weight must be 0 or more, got {hidden_weight:g}.": hidden_weight >= 0,
        f"output_weight must be 0 or more, got {output_weight:g}.": output_weight >= 0,
        "one of hidden_weight and output_weight must be above 0.": not active or hidden_weight + output_weight > 0,
    }


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
    """

    name: Literal["sgd", "adam", "adamw"] = "sgd"
    rate: float = 0.1
    momentum: float = 0.9
    nesterov: bool = False
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 5e-4
    decay_norms: bool = True
    decay_biases: bool = True

    def __post_init__(self) -> None:
        _require(
            "optimizer",
            {
                f"rate must be above 0, got {self.rate:g}.": 0 < self.rate < math.inf,
                f"momentum must lie in [0, 1), got {self.momentum:g}.": 0 <= self.momentum < 1,
                f"weight_decay must be 0 or more, got {self.weight_decay:g}.": self.weight_decay >= 0,
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
        _require(
            "schedule",
            {
                f"milestones must be increasing and 0 or more, got {self.milestones}.": (
                    sorted(set(self.milestones)) == self.milestones and min(self.milestones, default=0) >= 0
                ),
                f"milestones and warmup are fractions of the run with unit 'run', got {self.milestones} and "
                f"{self.warmup:g}. Set schedule.unit to epochs or steps for counts.": inside,
                f"factor must lie in (0, 1], got {self.factor:g}.": 0 < self.factor <= 1,
                f"warmup must be 0 or more, got {self.warmup:g}.": self.warmup >= 0,
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

    def __post_init__(self) -> None:
        whole = {name: getattr(self, name) for name in ("batch_size", "accumulate", "log_every", "checkpoint_every")}
        _require(
            "training",
            {f"{name} must be 1 or more, got {value}.": value >= 1 for name, value in whole.items()}
            | {
                f"epochs must be above 0, got {self.epochs:g}.": 0 < self.epochs < math.inf,
                f"steps must be 1 or more, got {self.steps}.": self.steps is None or self.steps >= 1,
                f"clip must be above 0, got {self.clip}.": self.clip is None or self.clip > 0,
                f"seed must be 0 or more, got {self.seed}.": self.seed >= 0,
                f"threads must be 1 or more, got {self.threads}.": self.threads is None or self.threads >= 1,
                f"evaluate_every must be above 0, got {self.evaluate_every:g}.": self.evaluate_every > 0,
                f"accumulate must not exceed batch_size, got {self.accumulate} and {self.batch_size}.": (
                    self.accumulate <= self.batch_size
                ),
            },
        )


@dataclass
class Config:
    """Everything that makes a run; `config.yaml` of a run folder holds one, complete.

    Args:
        recipe: the name under which these values were published or given.
        description: one line that says what the run is.
        data: which images.
        model: which network.
        head: which loss.
        energy: which hyperspherical energy is in the loss.
        compression: under which projections that energy is taken.
        uniformity: which other objective for even spread is in the loss.
        orthogonality: which penalty on angles other than right ones is in the loss.
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
    energy: EnergyConfig = field(default_factory=EnergyConfig)
    compression: CompressionConfig = field(default_factory=CompressionConfig)
    uniformity: UniformityConfig = field(default_factory=UniformityConfig)
    orthogonality: OrthogonalityConfig = field(default_factory=OrthogonalityConfig)
    monitor: MonitorConfig = field(default_factory=MonitorConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
