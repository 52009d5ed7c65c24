# SPDX-License-Identifier: MIT
"""The classification head: class vectors, and the loss of features against them under a margin of choice."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Integer
from torch import Tensor, nn

from hypersphere.checks import check_choice, check_count, lookup
from hypersphere.formulas.directions import lengths, working_dtype
from hypersphere.formulas.margins import MARGINS, BatchStatistics, MarginLike, SphereFace2, as_margin
from hypersphere.formulas.specs import plain_values
from hypersphere.functional.class_sampling import class_scores, highest_classes, num_sampled
from hypersphere.functional.classification import check_whole, checked_labels
from hypersphere.functional.margins import check_class_weights, check_objective, margin_logits, margin_loss
from hypersphere.functional.targets import GRADIENTS, MarginMeasures, checked_scale, known_labels, own_cosines
from hypersphere.nn.class_energy import ClassEnergyLike, as_class_energy

__all__ = ["MarginHead"]


class MarginHead(nn.Module):
    r"""Class vectors with a margin loss: `head(x, y)` is the loss, `head(x)` the logits for inference.

    Args:
        in_features: D, width of the features, >= 1.
        num_classes: C, >= 1.
        margin: a member of `hypersphere.margins`, or its name: "sphereface", "arcface", "softmax" (inner products, no
            bias), "normalized_softmax" (cosines)...; or a mapping such as {"name": "cosface", "cosine": 0.4}.
        scale: what multiplies the cosines. "default": the margin's published number; "feature": each feature's own
            norm; a number in [1e-6, 1e6]; "learned": one number for all, trained as its logarithm `log_scale` and
            started from the published one; not where the loss is weighed by its scale (SphereFace2, SphereFaceR), which
            would run away. A margin of plain inner products takes "default" only.
        gradient: "exact", or "detached": backward takes what the margin makes of a cosine for the cosine itself.
        class_weights: (C,) >= 0, of the samples of each class; None for 1 each.
        label_smoothing: epsilon in [0, 1]; see `functional.margin_loss`.
        probability_floor: added to every probability before the logarithm, in [0, 1].
        ignore_index: label of samples that do not count.
        energy: a `ClassEnergy`, or a mapping of its arguments: that energy of the class vectors is added to the loss
            (SphereFace+). None for none.
        sample_rate: share of the classes, in (0, 1], that each loss meets in training: those of the batch and others
            drawn anew from torch's generator, as in `functional.sample_classes`. All processes meet the same ones.
            `leave_unsampled_rows` keeps the optimiser from the vectors of the others.
        synchronize: in training on several processes, take the mean over the samples of all of them, so that
            gradients that DDP averages are those of one process on the joined batch, whatever the share of each; then
            every process must call the head alike. False: the mean over the own samples, right for equal shares.
        device: where the parameters are made.
        dtype: float32 or float64. Whatever the model is cast to afterwards (`.half()`, `.to(torch.bfloat16)`), the
            parameters of the head keep this dtype: features may be narrower, class vectors may not.

    Attributes:
        weight: (C, D), or (C · centers, D) for a margin with several vectors for each class, side by side.
        log_scale: (1,) for a learned scale, else None.
        bias: (1,), shared by all classes, for a binary objective (SphereFace2), else None.
        annealing: lambda of the margin, a scalar buffer, 0 from the start; `hypersphere.schedules` moves it. It is no
            part of the state dict: a schedule keeps its own count.
        sampled: (C,) of bool, classes that losses met since `leave_unsampled_rows` last saw a step; None before any.

    Shape:
        x (N, D) of any floating-point dtype, y (N,) of integers -> loss, scalar; logits (N, C). Both in float32, or
        float64 where an input is; nothing in here runs in low precision under autocast.

    Raises:
        ValueError: for a number out of range, an unknown name, wrong shapes, or a label that is no class (seen on CPU
            tensors, while not compiling; elsewhere the device asserts).
        TypeError: if labels are not integers or features not floating point.

    Edge cases:
        What a margin remembers (CurricularFace, AdaFace) moves once with each loss in training mode that wants a
        gradient, with the batches of all processes together, never in `margin_logits` or `measures`, nor with a batch
        that overflowed: one with a feature that is infinite or no number. So does the choice of classes with a
        sample_rate below 1; class weights, smoothing, energy and the measures of such a loss are those of the classes
        that it met, and a compiler breaks its graph there. An energy of rule "unique" is that of each process's own
        batch.

    Example:
        >>> head = MarginHead(8, 3, margin="cosface")
        >>> features, labels = torch.randn(5, 8), torch.tensor([0, 1, 2, 0, 1])
        >>> head(features, labels).shape, head(features).shape
        (torch.Size([]), torch.Size([5, 3]))
    """

    log_scale: nn.Parameter | None
    bias: nn.Parameter | None
    class_weights: Tensor | None
    annealing: Tensor

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        *,
        margin: MarginLike = "sphereface",
        scale: float | str = "default",
        gradient: str = "exact",
        class_weights: Tensor | None = None,
        label_smoothing: float = 0.0,
        probability_floor: float = 0.0,
        ignore_index: int = -100,
        energy: ClassEnergyLike | None = None,
        sample_rate: float = 1.0,
        synchronize: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        for argument, value in (("in_features", in_features), ("num_classes", num_classes)):
            check_count("MarginHead", argument, value, low=1)
        if dtype not in (None, torch.float32, torch.float64):
            raise ValueError(
                f"MarginHead: dtype must be torch.float32 or torch.float64, got {dtype}. Class vectors are not kept in "
                "low precision; the features may be."
            )
        check_choice("MarginHead", "gradient", gradient, GRADIENTS)
        self.in_features = in_features
        self.num_classes = num_classes
        self.margin = as_margin(margin)
        self.scale = _checked(scale, self)
        self.gradient = gradient
        check_objective("MarginHead", self.margin, label_smoothing, probability_floor)
        self.label_smoothing = label_smoothing
        self.probability_floor = probability_floor
        self.ignore_index = ignore_index
        self.energy = None if energy is None else as_class_energy(energy)
        if self.energy is not None and (self.margin.centers > 1 or num_classes < 2):
            raise ValueError(
                f"MarginHead: the energy is of one vector for each of 2 classes or more, got {num_classes} classes "
                f"with {self.margin.centers} each. Leave it out, or add hypersphere.regularizers.HypersphericalEnergy."
            )
        if not 0 < sample_rate <= 1:
            raise ValueError(f"MarginHead: sample_rate must lie in (0, 1], got {sample_rate:g}.")
        self.sample_rate = sample_rate
        fewest = num_sampled(num_classes, sample_rate)
        if sample_rate < 1 and fewest < 2:
            raise ValueError(
                f"MarginHead: sample_rate {sample_rate:g} of {num_classes} classes are fewer than 2. Raise it to "
                f"{min(1.0, 2 / num_classes):g} or more."
            )
        self.sampled: Tensor | None = None
        self.synchronize = synchronize
        dtype = dtype or working_dtype(torch.get_default_dtype())
        place: dict[str, Any] = {"device": device, "dtype": dtype}
        self.weight = nn.Parameter(torch.empty(num_classes * self.margin.centers, in_features, **place))
        self.register_parameter("log_scale", nn.Parameter(torch.empty(1, **place)) if scale == "learned" else None)
        binary = self.margin.objective == "binary"
        self.register_parameter("bias", nn.Parameter(torch.empty(1, **place)) if binary else None)
        self.register_buffer("annealing", torch.zeros((), **place), persistent=False)
        for name in self.margin.initial_state():
            self.register_buffer(name, torch.empty((), **place))
        if class_weights is not None:
            # once, so that they may be read from a device too
            check_class_weights("MarginHead", class_weights.detach().cpu(), num_classes)
            class_weights = class_weights.detach().to(**place).clone()
        self.register_buffer("class_weights", class_weights)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw class vectors from N(0, 2 / D), as the released code of MHE does; all else is set to its start."""
        nn.init.normal_(self.weight, std=math.sqrt(2 / self.in_features))
        start = self.margin.default_scale
        number = 30.0 if isinstance(start, str) else start
        if self.log_scale is not None:
            nn.init.constant_(self.log_scale, math.log(number))
        if self.bias is not None:
            number = self.scale if isinstance(self.scale, float) else number
            classes = num_sampled(self.num_classes, self.sample_rate)
            first = self.margin.first_bias(classes, number) if isinstance(self.margin, SphereFace2) else 0.0
            nn.init.constant_(self.bias, first)
        with torch.no_grad():
            self.annealing.zero_()
            for name, value in self.margin.initial_state().items():
                self.get_buffer(name).fill_(value)

    def forward(
        self,
        x: Float[Tensor, "N D"],
        y: Integer[Tensor, " N"] | None = None,
        *,
        num_samples: float | Tensor | None = None,
    ) -> Float[Tensor, "*batch"]:
        """The mean loss (scalar) of features (N, D) with labels (N,); without labels the inference logits (N, C).

        `num_samples` divides the sum over samples in place of their number; see `functional.margin_loss`.
        """
        if y is None:
            self._check(x)
            return margin_logits(x, self.weight, margin=self.margin, scale=self._scale(), bias=self.bias)
        return self._loss(x, y, num_samples, measured=False)[0]

    def loss_and_measures(
        self, x: Float[Tensor, "N D"], y: Integer[Tensor, " N"], *, num_samples: float | Tensor | None = None
    ) -> tuple[Float[Tensor, ""], MarginMeasures]:
        """The loss as `head(x, y)` gives it, and the cosines that it saw: no second product with the class vectors."""
        loss, measures = self._loss(x, y, num_samples, measured=True)
        assert measures is not None
        return loss, measures

    def _loss(
        self, x: Tensor, y: Tensor, num_samples: float | Tensor | None, *, measured: bool
    ) -> tuple[Tensor, MarginMeasures | None]:
        self._check(x)
        y = checked_labels("MarginHead", y, x.shape[0], self.num_classes, ignore_index=self.ignore_index)
        weight: Tensor = self.weight
        class_weights, how = self.class_weights, self._how()
        learns = self.training and torch.is_grad_enabled()
        share = self._energy_share(y, num_samples, together=learns and self.synchronize)
        if learns:
            if self.synchronize and num_samples is None:
                num_samples = over_processes(self._total(y)) / num_processes()
            if self.sample_rate < 1:
                weight, y, class_weights = self._some_classes(y)
                how["ignore_index"] = -100
            self._advance(x, y, weight, how)
        rest: dict[str, Any] = {
            "class_weights": class_weights,
            "label_smoothing": self.label_smoothing,
            "probability_floor": self.probability_floor,
            "num_samples": num_samples,
        }
        measures: MarginMeasures | None = None
        if measured:
            loss, measures = margin_loss(x, weight, y, **how, **rest, with_measures=True)
        else:
            loss = margin_loss(x, weight, y, **how, **rest)
        if self.energy is None:
            return loss, measures
        energy = self.energy.value(weight, y, ignore_index=how["ignore_index"])
        # a mean over samples too, but without the weights of their classes
        total = loss + self.energy.weight * share * energy
        return total, measures and measures._replace(energy=energy.detach())

    def margin_logits(self, x: Float[Tensor, "N D"], y: Integer[Tensor, " N"]) -> Float[Tensor, "N C"]:
        """The logits (N, C) that enter the loss, each sample's own class made harder by the margin."""
        self._check(x)
        return margin_logits(x, self.weight, y, **self._how())

    @torch.no_grad()
    def measures(self, x: Float[Tensor, "N D"], y: Integer[Tensor, " N"]) -> MarginMeasures:
        """Cosines with the own class and the nearest other one, and whether the margin is met; nothing is changed."""
        self._check(x)
        return margin_loss(x, self.weight, y, **self._how(), with_measures=True)[1]

    def arguments(self) -> dict[str, Any]:
        """What rebuilds this head, in plain values: `MarginHead(**head.arguments())`.

        Class weights, and what belongs to one run (`synchronize`, device, dtype), are not among them.

        Raises:
            ValueError: if the margin is of a class that `MARGINS` does not name.
        """
        try:
            margin = plain_values(self.margin, MARGINS)
        except ValueError:
            raise ValueError(
                f"MarginHead: {self.margin!r} has no name in MARGINS, so it cannot be written down."
            ) from None
        return {
            "in_features": self.in_features,
            "num_classes": self.num_classes,
            "margin": margin,
            "scale": self.scale,
            "gradient": self.gradient,
            "label_smoothing": self.label_smoothing,
            "probability_floor": self.probability_floor,
            "ignore_index": self.ignore_index,
            "energy": None if self.energy is None else dataclasses.asdict(self.energy),
            "sample_rate": self.sample_rate,
        }

    def extra_repr(self) -> str:
        """The arguments, on one line."""
        plain = {
            "gradient": "exact",
            "label_smoothing": 0.0,
            "probability_floor": 0.0,
            "ignore_index": -100,
            "energy": None,
            "sample_rate": 1.0,
        }
        more = "".join(
            f", {name}={getattr(self, name)}" for name, usual in plain.items() if getattr(self, name) != usual
        )
        return (
            f"in_features={self.in_features}, num_classes={self.num_classes}, margin={self.margin}, "
            f"scale={self.scale}{more}"
        )

    def _how(self) -> dict[str, Any]:
        return {
            "margin": self.margin,
            "scale": self._scale(),
            "gradient": self.gradient,
            "annealing": self.annealing,
            "state": {name: self.get_buffer(name) for name in self.margin.initial_state()},
            "bias": self.bias,
            "ignore_index": self.ignore_index,
        }

    def _scale(self) -> float | str | Tensor:
        return self.scale if self.log_scale is None else self.log_scale.exp()

    def _check(self, x: Tensor) -> None:
        if x.ndim != 2 or x.shape[1] != self.in_features:
            raise ValueError(f"MarginHead: expected features (N, {self.in_features}), got {tuple(x.shape)}.")
        check_whole("MarginHead", self.weight)

    def _some_classes(self, y: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Vectors, labels (-100 where they do not count) and class weights of the classes that this loss meets."""
        with torch.no_grad():
            scores = class_scores(y, self.num_classes, ignore_index=self.ignore_index)
            if num_processes() > 1:
                if torch.distributed.get_rank() > 0:
                    # one process draws for all; the others have drawn too, to keep their generators in step
                    scores.masked_fill_(scores < 1, 0.0)
                torch.distributed.all_reduce(scores, torch.distributed.ReduceOp.MAX)
            index, labels = highest_classes(scores, y, self.sample_rate, ignore_index=self.ignore_index)
            if self.sampled is None or self.sampled.device != index.device:
                self.sampled = torch.zeros_like(scores, dtype=torch.bool)
            self.sampled[index] = True
        class_weights = None if self.class_weights is None else self.class_weights[index]
        return self.weight.index_select(0, class_rows(index, self.margin.centers)), labels, class_weights

    @torch.no_grad()
    def _advance(self, x: Tensor, y: Tensor, weight: Tensor, how: dict[str, Any]) -> None:
        """What the margin remembers, one batch on."""
        names = list(self.margin.initial_state())
        if not names:
            return
        centers = self.margin.centers
        labels = known_labels("MarginHead", y, x.shape[0], weight.shape[0] // centers, how["ignore_index"])
        known = labels >= 0
        cosine = own_cosines(x, weight, labels, centers).double()
        norm = lengths(x.to(working_dtype(x.dtype))).clamp(*self.margin.length_bounds).double()
        parts = torch.stack([torch.ones_like(norm), cosine, norm, norm.square()])
        sums = over_processes(torch.where(known, parts, 0.0).sum(dim=1))
        count = sums[0].clamp_min(1)
        mean_cosine, mean, square = sums[1:] / count
        deviation = ((square - mean.square()).clamp_min(0) * count / (count - 1).clamp_min(1)).sqrt()
        state = {name: self.get_buffer(name) for name in names}
        batch = BatchStatistics(*(value.to(self.weight.dtype) for value in (mean_cosine, mean, deviation)))
        moved = self.margin.advance(state, batch)
        # a batch without a class says nothing, nor does one that overflowed, whose step a scaler of gradients skips
        usable = (sums[0] > 0) & torch.stack([value.isfinite().all() for value in moved.values()]).all()
        for name, value in moved.items():
            state[name].copy_(torch.where(usable, value, state[name]))

    @torch.no_grad()
    def _total(self, y: Tensor) -> Tensor:
        """The number of samples that count, or the sum of their weights."""
        known = y != self.ignore_index
        if self.class_weights is None:
            return known.to(self.weight.dtype).sum()
        return (self.class_weights[y.masked_fill(~known, 0)] * known).sum()

    @torch.no_grad()
    def _energy_share(self, y: Tensor, num_samples: float | Tensor | None, *, together: bool) -> float | Tensor:
        """What an energy, the mean over the own samples, is multiplied by to be a part of that over all."""
        if self.energy is None:
            return 1.0
        if num_samples is not None:
            own, number = self._total(y), torch.as_tensor(num_samples, dtype=self.weight.dtype, device=y.device)
        elif together:
            own = (y != self.ignore_index).to(self.weight.dtype).sum()
            number = over_processes(own.clone()) / num_processes()
        else:
            return 1.0
        return own / torch.where(number > 0, number, 1)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        """Load as any module does, but never in a narrower dtype: `assign=True` would take tensors as they are."""
        for name in ("weight", "log_scale", "bias", *self._buffers):
            given = state_dict.get(prefix + name)
            if isinstance(given, Tensor) and given.is_floating_point():
                state_dict[prefix + name] = given.detach().to(working_dtype(given.dtype))
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> MarginHead:
        """Move the parameters as any module does, but never to a narrower dtype."""

        def keep_precision(tensor: Tensor) -> Tensor:
            moved = fn(tensor)
            if moved.dtype == tensor.dtype or moved.dtype in (torch.float32, torch.float64):
                return moved
            return tensor.to(moved.device)

        module: MarginHead = super()._apply(keep_precision, recurse)
        return module


def class_rows(classes: Tensor, centers: int) -> Tensor:
    """Rows of a head's weight that belong to some classes."""
    if centers == 1:
        return classes
    return (classes[:, None] * centers + torch.arange(centers, device=classes.device)).flatten()


def bare_head(who: str, head: nn.Module) -> MarginHead:
    """The head itself, of one that is wrapped for several processes or compiled; a TypeError for anything else."""
    found: Any = head
    while not isinstance(found, MarginHead):
        inner = getattr(found, "module", getattr(found, "_orig_mod", None))
        if not isinstance(inner, nn.Module):
            kind = type(head).__name__
            raise TypeError(f"{who}: expected a MarginHead, got {kind}. Pass the head itself, such as model.head.")
        found = inner
    return found


def num_processes() -> int:
    """How many processes train together."""
    group = torch.distributed.is_available() and torch.distributed.is_initialized()
    return torch.distributed.get_world_size() if group else 1


def over_processes(values: Tensor) -> Tensor:
    """The sum over all processes."""
    if num_processes() > 1:
        torch.distributed.all_reduce(values)
    return values


def _checked(scale: float | str, head: MarginHead) -> float | str:
    """The scale as given, or a ValueError in words."""
    if scale == "learned" and head.margin.weighs_loss:
        raise ValueError(
            f"MarginHead: the loss of {type(head.margin).__name__} is weighed by its scale, so a learned one would run "
            f"away. Use scale='default', which is {head.margin.default_scale!r}."
        )
    if isinstance(scale, str):
        lookup("scale", scale, dict.fromkeys(("default", "feature", "learned")))
        number: float | str = 1.0 if scale == "learned" else scale
    else:
        number = scale
    checked_scale("MarginHead", number, head.margin)
    return scale if isinstance(scale, str) else float(scale)
