# SPDX-License-Identifier: MIT
"""What the operators of a network do with images: cosines and lengths of patches, and what was learned of angles."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.parameter import is_lazy

from hypersphere.evaluation.results import write_results
from hypersphere.formulas.angles import ANGLES
from hypersphere.formulas.directions import full_precision
from hypersphere.formulas.magnitudes import MAGNITUDES
from hypersphere.formulas.specs import plain_values
from hypersphere.functional.patches import patch_cosines, patch_norms
from hypersphere.nn.decoupled import DecoupledLayer
from hypersphere.nn.modes import evaluation_mode

__all__ = [
    "COSINE_EDGES",
    "NORM_EDGES",
    "Moments",
    "OperatorMeasure",
    "cosine_chance",
    "learned_values",
    "measure_operators",
    "write_operators",
]

# an odd number, so that one bin lies around the right angle
COSINE_EDGES = np.linspace(-1.0, 1.0, 402)
"""Edges of the bins of cosines, equally wide."""
NORM_EDGES = np.logspace(-4.0, 6.0, 401)
"""Edges of the bins of patch norms, 40 for each factor of ten; norms beyond are counted in the outermost bins."""

# values that are counted at once, which stay in a processor's cache; float32 counts them exactly
_PART = 2**18
_LAYERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)


@dataclass
class Moments:
    """Mean and spread of many values that come in parts.

    Args:
        count: of values.
        mean: of them.
        deviations: sum of squared differences from the mean.
        sizes: sum of absolute values.
    """

    count: int = 0
    mean: float = 0.0
    deviations: float = 0.0
    sizes: float = 0.0

    def add(self, values: Tensor) -> None:
        """Take in all values of a tensor of at most some hundred thousand, all finite."""
        count = values.numel()
        if not count:
            return
        mean = float(values.mean())
        deviations = float((values - mean).square_().sum())
        self.sizes += float(values.abs().sum())
        # Chan, Golub and LeVeque: exact where the spread is far below the mean
        share = count / (self.count + count)
        apart = mean - self.mean
        self.mean += apart * share
        self.deviations += deviations + apart**2 * self.count * share
        self.count += count

    def drop_zeros(self, count: int) -> None:
        """Take back values that were exactly zero."""
        left = self.count - count
        mean = self.mean * self.count / left if left else 0.0
        self.deviations = max(0.0, self.deviations + self.mean**2 * self.count - mean**2 * left)
        self.count, self.mean = left, mean

    @property
    def std(self) -> float:
        """Standard deviation of the values as they are, NaN of nothing."""
        return math.sqrt(self.deviations / self.count) if self.count else math.nan

    @property
    def mean_size(self) -> float:
        """Mean of the absolute values, NaN of nothing."""
        return self.sizes / self.count if self.count else math.nan


@dataclass
class OperatorMeasure:
    """What one layer did with the images it was shown.

    Args:
        name: of the layer in its model.
        num_kernels: O.
        dim: D, numbers in a patch and in a kernel.
        angle: of a decoupled layer, as plain values; None for an ordinary one.
        magnitude: the same.
        eps: inside the roots of the norms behind the cosines; 0 for an ordinary layer.
        cosine: of cosines between patches and kernels, in [-1, 1]; patches of length zero have none.
        norm: of lengths of patches, without eps.
        output: of outputs.
        cosines: (401,) how many lie between `COSINE_EDGES`.
        norms: (400,) how many lie between `NORM_EDGES`, without those of length zero.
        num_zero: patches of length zero.
        values: what was learned: "k" (O,) in radians, "radius" (O,) in the units of the magnitude, "exponent" (1,),
            "gain" (O,); without those that are fixed.
        starts: where these began.
        unit: length that a radius of 1 means, the running mean of the patch norm where it is relative to it, else 1.
    """

    name: str
    num_kernels: int
    dim: int
    angle: Any
    magnitude: Any
    eps: float
    cosine: Moments = field(default_factory=Moments)
    norm: Moments = field(default_factory=Moments)
    output: Moments = field(default_factory=Moments)
    cosines: np.ndarray = field(default_factory=lambda: np.zeros(len(COSINE_EDGES) - 1, dtype=np.int64))
    norms: np.ndarray = field(default_factory=lambda: np.zeros(len(NORM_EDGES) - 1, dtype=np.int64))
    num_zero: int = 0
    values: dict[str, np.ndarray] = field(default_factory=dict)
    starts: dict[str, float] = field(default_factory=dict)
    unit: float = 1.0


@torch.no_grad()
def measure_operators(
    model: nn.Module, batches: Iterable[Any], *, forward: Callable[[Any], object] | None = None
) -> dict[str, OperatorMeasure]:
    """Show images to a model, and count what its convolutions and dense layers meet.

    Decoupled and ordinary layers are measured alike, so that a network can be held against its baseline. Cosines are
    counted as they come, never kept.

    Args:
        model: any module; it runs in evaluation mode and is afterwards as before, hooks and modes included.
        batches: what `forward` takes; tens of images at once, as all cosines of a batch in one layer are made together.
        forward: what is called with each batch; the model itself when None.

    Returns:
        Name of a layer -> what it met, in the order of the model; a layer that nothing went through is left out.

    Edge cases:
        Cosines of a decoupled layer are those it computes, eps in both roots; of an ordinary one the exact ones. A
        patch of length zero has no direction: it is counted in `num_zero`, not among the cosines. Zeros beyond the
        border of an image belong to its patches. A layer that is used several times in a pass adds everything up.

    Example:
        >>> model = nn.Sequential(nn.Conv2d(1, 2, 3))
        >>> found = measure_operators(model, [torch.ones(1, 1, 5, 5)])["0"]
        >>> found.dim, found.cosine.count, found.norm.mean
        (9, 18, 3.0)
    """
    found: dict[str, _Tally] = {}
    # code that was compiled before knows no hooks
    with ExitStack() as after, torch.compiler.set_stance("force_eager"), evaluation_mode(model):
        for name, layer in model.named_modules():
            if isinstance(layer, _LAYERS) and not is_lazy(layer.weight):
                found[name] = _Tally(name, layer)
                after.callback(layer.register_forward_hook(found[name].see, with_kwargs=True).remove)
        for batch in batches:
            (forward or model)(batch)
    return {name: tally.measure for name, tally in found.items() if tally.measure.norm.count}


class _Tally:
    """A layer and what was counted of it."""

    def __init__(self, name: str, layer: nn.Module) -> None:
        weight = layer.weight
        assert isinstance(weight, Tensor)
        decoupled = isinstance(layer, DecoupledLayer)
        unit = getattr(layer, "running_norm", None)
        values = _learned(layer)
        self.measure = OperatorMeasure(
            name=name,
            num_kernels=weight.shape[0],
            dim=weight[0].numel(),
            angle=_plain(layer.angle, ANGLES) if decoupled else None,
            magnitude=_plain(layer.magnitude, MAGNITUDES) if decoupled else None,
            eps=float(layer.eps) if isinstance(layer, DecoupledLayer) else 0.0,
            values={what: value.double().flatten().cpu().numpy() for what, (value, _) in values.items()},
            starts={what: start for what, (_, start) in values.items()},
            unit=float(unit) if isinstance(unit, Tensor) else 1.0,
        )

    def see(self, layer: nn.Module, inputs: tuple[Tensor, ...], named: dict[str, Tensor], output: Tensor) -> None:
        """Count what the layer met in one call."""
        one, input = self.measure, inputs[0] if inputs else named["input"]
        place: tuple[Any, ...] = ()
        weight: Any = layer.weight
        if isinstance(layer, nn.Linear):
            input = input.reshape(-1, input.shape[-1])
        else:
            convolution: Any = layer
            input = input if input.ndim == weight.ndim else input.unsqueeze(0)
            padding = convolution.padding
            if convolution.padding_mode != "zeros":
                mode = convolution.padding_mode
                input, padding = F.pad(input, convolution._reversed_padding_repeated_twice, mode=mode), 0
            place = (convolution.stride, padding, convolution.dilation, convolution.groups)
        # of a result in lower precision, bins would be the numbers that this precision has
        dtype = torch.float64 if input.dtype == torch.float64 else torch.float32
        with full_precision(input.device):
            patches, kernels = input.to(dtype), weight.to(dtype)
            if place:
                norms = patch_norms(patches, kernels.shape[2:], *place, eps=0.0)
            else:
                norms = torch.linalg.vector_norm(patches, dim=1, keepdim=True)
            cosines = patch_cosines(patches, kernels, *place, eps=one.eps)
        # the same patch counts once, also where every group of kernels sees a part of it
        num_zero = int((norms == 0).sum())
        nameless = num_zero * (one.num_kernels // norms.shape[1])
        one.num_zero += num_zero
        for part in _parts(cosines):
            one.cosine.add(part)
            one.cosines[:] += _counts(part.clamp(-1, 1), -1.0, 1.0, len(one.cosines))
        # their cosine is 0 exactly
        one.cosine.drop_zeros(nameless)
        one.cosines[len(one.cosines) // 2] -= nameless
        low, high = math.log10(NORM_EDGES[0]), math.log10(NORM_EDGES[-1])
        for part in _parts(norms):
            one.norm.add(part)
            one.norms[:] += _counts(part.log10().clamp(low, high), low, high, len(one.norms))
        # the first bin takes the shortest, but what has no length is not short
        one.norms[0] -= num_zero
        for part in _parts(output):
            one.output.add(part.to(dtype))


def _parts(values: Tensor) -> Iterable[Tensor]:
    for part in values.flatten().split(_PART):
        yield part if bool(part.sum().isfinite()) else part[part.isfinite()]


def _counts(values: Tensor, low: float, high: float, bins: int) -> np.ndarray:
    counts: np.ndarray = torch.histc(values, bins, low, high).cpu().numpy().astype(np.int64)
    return counts


def _plain(spec: Any, table: dict[str, Any]) -> Any:
    """A specification as plain values, or in words where it is the user's own."""
    try:
        return plain_values(spec, table)
    except ValueError:
        return repr(spec)


def _learned(layer: nn.Module) -> dict[str, tuple[Tensor, float]]:
    """What is learned of a layer's operator, and where it started."""
    if not isinstance(layer, DecoupledLayer):
        return {}
    parts = {
        "k": (layer.k, getattr(layer.angle, "k", math.nan)),
        "radius": (layer.radius, getattr(layer.magnitude, "radius", math.nan)),
        "exponent": (layer.exponent, getattr(layer.magnitude, "exponent", math.nan)),
        "gain": (layer.gain, 1.0),
    }
    return {name: (value.detach(), float(start)) for name, (value, start) in parts.items() if value is not None}


def cosine_chance(dim: int, edges: np.ndarray = COSINE_EDGES) -> tuple[np.ndarray, float]:
    """How the cosine of two independent uniform directions is distributed: its density is (1 - c²)^((D - 3) / 2).

    Args:
        dim: D >= 1.
        edges: of bins in [-1, 1], rising.

    Returns:
        Share of each bin, and the mean of the absolute value, Gamma(D / 2) / (sqrt(pi) Gamma((D + 1) / 2)).

    Example:
        >>> shares, size = cosine_chance(3, np.linspace(-1, 1, 5))
        >>> shares.round(3).tolist(), round(size, 3)
        ([0.25, 0.25, 0.25, 0.25], 0.5)
    """
    size = math.exp(math.lgamma(dim / 2) - math.lgamma((dim + 1) / 2)) / math.sqrt(math.pi)
    if dim == 1:
        # nothing but +1 and -1, which the outermost bins hold where they reach so far
        below = np.where(edges >= 1, 1.0, np.where(edges > -1, 0.5, 0.0))
    else:
        # by the angle, whose density sin^(D - 2) is finite in two dimensions too
        theta = np.linspace(0.0, math.pi, 200_001)
        density = np.exp((dim - 2) * np.log(np.maximum(np.sin(theta), 1e-300)))
        mass = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2)])
        below = 1 - np.interp(np.arccos(np.clip(edges, -1.0, 1.0)), theta, mass / mass[-1])
    return np.diff(below), size


def learned_values(model: nn.Module) -> dict[str, dict[str, float]]:
    """Mean and standard deviation, over the kernels of every layer, of what is learned of its operator.

    Returns:
        Name of a layer -> {"k_mean", "k_std", "radius_mean", ...}; without layers that learn nothing of the kind.

    Example:
        >>> from hypersphere.nn import SphereConv2d
        >>> learned_values(nn.Sequential(SphereConv2d(1, 2, 3, angle="learned_sigmoid")))
        {'0': {'k_mean': 0.75, 'k_std': 0.0}}
    """
    found = {}
    for name, layer in model.named_modules():
        row: dict[str, float] = {}
        for what, (value, _) in _learned(layer).items():
            wide = value.double()
            row |= {f"{what}_mean": float(wide.mean())}
            row |= {f"{what}_std": float(wide.std(correction=0))} if wide.numel() > 1 else {}
        if row:
            found[name] = row
    return found


def write_operators(
    run: Path, found: dict[str, OperatorMeasure], *, num_samples: int, split: str, step: int | None = None
) -> dict[str, Any]:
    """Write `evaluation/operators.json` and `.npz` into a run folder; the older ones are replaced.

    Args:
        run: the run folder.
        found: of `measure_operators`.
        num_samples: images behind it.
        split: which ones.
        step: of the training at which the weights were taken, or None.

    Returns:
        The content of the JSON file. Histograms and learned values are in the other one: `cosines` (L, 401) between
        `cosine_edges`, `norms` (L, 400) between `norm_edges`, and the values of layer number 3, say, in `3.k`.

    Raises:
        OSError: if a file cannot be written.
    """
    arrays = {
        "cosine_edges": COSINE_EDGES,
        "norm_edges": NORM_EDGES,
        "cosines": np.stack([one.cosines for one in found.values()]),
        "norms": np.stack([one.norms for one in found.values()]),
    }
    layers = []
    for place, one in enumerate(found.values()):
        learned = {}
        for what, values in one.values.items():
            arrays[f"{place}.{what}"] = values
            numbers = {"start": one.starts[what], "mean": float(values.mean()), "std": float(values.std())}
            learned[what] = {name: _plain_number(value) for name, value in numbers.items()}
        layers.append(
            {
                "name": one.name,
                "num_kernels": one.num_kernels,
                "dim": one.dim,
                "angle": one.angle,
                "magnitude": one.magnitude,
                "eps": one.eps,
                "num_patches": one.norm.count,
                "num_zero": one.num_zero,
                "cosine": _moments(one.cosine) | {"mean_size": _plain_number(one.cosine.mean_size)},
                "norm": _moments(one.norm),
                "output": _moments(one.output),
                "unit": _plain_number(one.unit),
                "learned": learned,
            }
        )
    summary = {"protocol": "operators", "split": split, "num_samples": num_samples, "step": step, "layers": layers}
    write_results(run, "operators", summary, arrays)
    return summary


def _moments(found: Moments) -> dict[str, float | None]:
    return {"mean": found.mean if found.count else None, "std": _plain_number(found.std)}


def _plain_number(value: float) -> float | None:
    """JSON has no word for what is not a number."""
    return value if math.isfinite(value) else None
