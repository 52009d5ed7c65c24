# SPDX-License-Identifier: MIT
"""Accuracy under attack: a set of attacks, transfer from another model, the smallest change for each image."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hypersphere.checks import check_count
from hypersphere.evaluation.attacks import Logits, input_gradient
from hypersphere.evaluation.masking import Finding, masking_findings
from hypersphere.evaluation.minimum_norm import (
    MINIMUM_ATTACKS,
    fooled_by,
    require_foolbox,
    row_norms,
    smallest_perturbation,
)
from hypersphere.evaluation.protocol import EPSILON, TRANSFERRED, Attack, choose_attacks
from hypersphere.evaluation.results import write_results
from hypersphere.nn.modes import evaluation_mode

__all__ = ["Robustness", "measure_robustness", "write_robustness"]


@dataclass(frozen=True)
class Robustness:
    """What attacks on N labelled images found.

    Args:
        attacks: what was done, by name.
        labels: (N,) int64.
        correct: (N,) bool, classified correctly when left alone; the others are not attacked and count as wrong.
        fooled: (N,) bool for each attack, False where not attacked.
        transferred: the same for attacks made on the source.
        smallest: norm -> (N,) float64, length of the smallest change known to fool: 0 where wrong by itself, infinite
            where no attack found one; empty if it was not asked for.
        zero_gradients: share of correctly classified images whose gradient is exactly zero, NaN if there are none.
        source_accuracy: of the source on the same images, or None without one.
        seed: of random starts.
    """

    attacks: dict[str, Attack]
    labels: np.ndarray
    correct: np.ndarray
    fooled: dict[str, np.ndarray]
    transferred: dict[str, np.ndarray] = field(default_factory=dict)
    smallest: dict[str, np.ndarray] = field(default_factory=dict)
    zero_gradients: float = float("nan")
    source_accuracy: float | None = None
    seed: int = 0

    @property
    def clean_accuracy(self) -> float:
        """Share of images classified correctly when left alone."""
        return float(self.correct.mean())

    def robust_accuracy(self, name: str) -> float:
        """Share of all images that are classified correctly and stay so under an attack."""
        return float((self.correct & ~self.fooled[name]).mean())

    def transfer_accuracy(self, name: str) -> float:
        """The same for the attack made on the source."""
        return float((self.correct & ~self.transferred[name]).mean())

    def together(self, norm: str) -> float | None:
        """Share of images that stay right under all bounded attacks in a norm, transferred ones too; None without."""
        names = [name for name, attack in self.attacks.items() if attack.norm == norm and not attack.is_unbounded]
        hit = [self.fooled[name] for name in names]
        hit += [self.transferred[name] for name in names if name in self.transferred]
        return float((self.correct & ~np.any(hit, axis=0)).mean()) if hit else None

    def findings(self) -> list[Finding]:
        """Whether the gradient is masked: see `hypersphere.evaluation.masking.masking_findings`."""
        return masking_findings(
            {name: self.robust_accuracy(name) for name in self.attacks},
            num_samples=len(self.labels),
            transferred={name: self.transfer_accuracy(name) for name in self.transferred},
            zero_gradients=None if np.isnan(self.zero_gradients) else self.zero_gradients,
        )


def measure_robustness(
    model: Logits,
    batches: Iterable[tuple[Tensor, Tensor]],
    *,
    attacks: Sequence[str] | Mapping[str, Attack] | None = None,
    epsilon: float = EPSILON,
    source: Logits | None = None,
    minimum: bool = True,
    seed: int = 0,
) -> Robustness:
    """Attack a model on labelled images.

    Args:
        model: images (N, ...) with pixels in [0, 1] -> logits (N, C), its own preparation of images (mean, deviation)
            inside. A module runs in evaluation mode and is afterwards as before; a function is to see to that itself.
        batches: pairs of images, float32 or float64 in [0, 1], and labels (N,), on the model's device.
        attacks: names of `ATTACKS`, or attacks of your own by name; None for all of the protocol.
        epsilon: L-inf radius of the protocol in (0, 1]; radii and steps of all named attacks but "unbounded" go with
            it (8 / 255 leaves them as they are).
        source: another model of the same images; attacks of `TRANSFERRED` are made on it too and tried on `model`.
        minimum: whether to look for the smallest change as well, in L2 and L-inf, which needs the extra `robustness`.
        seed: of random starts, >= 0; the same seed and batches give the same result on the same machine.

    Returns:
        What was found, image by image.

    Raises:
        ImportError: if `minimum` is asked for and foolbox is not installed.
        TypeError: if labels are no integers.
        ValueError: if there are no images, a pixel lies outside [0, 1], a label is no class of the model, a name is
            unknown or a number out of range.

    Example:
        >>> def above_half(images):
        ...     return torch.cat([0.5 - images, images - 0.5], dim=1)
        >>> batch = torch.tensor([[0.51], [0.9], [0.4]]), torch.tensor([1, 1, 1])
        >>> found = measure_robustness(above_half, [batch], attacks=["fgsm"], minimum=False)
        >>> round(found.clean_accuracy, 2), round(found.robust_accuracy("fgsm"), 2)
        (0.67, 0.33)
    """
    chosen = choose_attacks(attacks, epsilon=epsilon)
    check_count("measure_robustness", "seed", seed, low=0)
    if minimum:
        # before the other attacks take their time
        require_foolbox()
    parts: dict[str, list[np.ndarray]] = {}
    zero = 0
    # a statistic that moves, or a dropout that draws, would make it another model from one attack to the next
    with evaluation_mode(model, source):
        for number, (images, labels) in enumerate(batches):
            right = ~fooled_by(model, images, labels)
            attacked = _Batch(model, images[right], labels[right], minimum)
            found: dict[str, Tensor] = {"labels": labels, "correct": right}
            for name, attack in chosen.items():
                found[f"fooled {name}"] = _spread(right, attacked.run(name, attack, model, (seed, number)))
                if source is not None and name in TRANSFERRED:
                    found[f"transferred {name}"] = _spread(right, attacked.run(name, attack, source, (seed, number)))
            if source is not None:
                found["source"] = ~fooled_by(source, images, labels)
            for norm, sizes in attacked.smallest(seed).items():
                found[f"smallest {norm}"] = torch.zeros(len(right), dtype=torch.float64).masked_scatter(
                    right.cpu(), sizes
                )
            if len(attacked.labels):
                gradient = input_gradient(model, attacked.images, attacked.labels)[0]
                zero += int((gradient == 0).flatten(1).all(dim=1).sum())
            for key, values in found.items():
                parts.setdefault(key, []).append(values.cpu().numpy())
    if not parts or not sum(map(len, parts["labels"])):
        raise ValueError("measure_robustness: there are no images to attack.")
    arrays = {key: np.concatenate(values) for key, values in parts.items()}

    def those(prefix: str) -> dict[str, np.ndarray]:
        return {key.removeprefix(f"{prefix} "): one for key, one in arrays.items() if key.startswith(f"{prefix} ")}

    num_right = int(arrays["correct"].sum())
    return Robustness(
        chosen,
        arrays["labels"].astype(np.int64),
        arrays["correct"],
        those("fooled"),
        those("transferred"),
        those("smallest"),
        zero / num_right if num_right else float("nan"),
        float(arrays["source"].mean()) if source is not None else None,
        seed,
    )


class _Batch:
    """Correctly classified images and the smallest changes that were seen to fool the model on them."""

    def __init__(self, model: Logits, images: Tensor, labels: Tensor, minimum: bool) -> None:
        self.model, self.images, self.labels = model, images, labels
        # on the CPU, as not every accelerator knows float64
        size = torch.full((len(images),), torch.inf, dtype=torch.float64)
        self._smallest = {norm: size.clone() for norm in MINIMUM_ATTACKS} if minimum else {}

    def run(self, name: str, attack: Attack, made_on: Logits, seeds: tuple[int, int]) -> Tensor:
        """Whether an attack made on one model fools ours, (N,) bool; a restart is for those that none before fooled."""
        fooled = torch.zeros(len(self.labels), dtype=torch.bool, device=self.images.device)
        for restart in range(attack.restarts):
            left = ~fooled
            if not bool(left.any()):
                break
            entropy = np.random.SeedSequence([*seeds, restart, zlib.crc32(name.encode())])
            generator = torch.Generator().manual_seed(int(entropy.generate_state(1, np.uint64)[0] >> 1))
            points = attack(made_on, self.images[left], self.labels[left], generator)
            hit = fooled_by(self.model, points, self.labels[left])
            self._note(points, left, hit)
            fooled[left] = hit
        return fooled

    def smallest(self, seed: int) -> dict[str, Tensor]:
        """Norm -> (N,) on the CPU after the minimum-norm attacks."""
        if len(self.labels):
            everything = torch.ones_like(self.labels, dtype=torch.bool)
            for norm in self._smallest:
                points = smallest_perturbation(self.model, self.images, self.labels, norm=norm, seed=seed)
                self._note(points, everything, fooled_by(self.model, points, self.labels))
        return self._smallest

    def _note(self, points: Tensor, which: Tensor, hit: Tensor) -> None:
        for norm, sizes in self._smallest.items():
            length = row_norms(points - self.images[which], norm).masked_fill(~hit, torch.inf).cpu().double()
            sizes[which.cpu()] = torch.minimum(sizes[which.cpu()], length)


def _spread(right: Tensor, fooled: Tensor) -> Tensor:
    """(N,) bool from values of the correctly classified images alone."""
    everywhere = torch.zeros_like(right)
    everywhere[right] = fooled
    return everywhere


def write_robustness(
    run: Path,
    result: Robustness,
    *,
    split: str,
    indices: np.ndarray | None = None,
    source_name: str | None = None,
    step: int | None = None,
    stem: str = "robustness",
) -> dict[str, object]:
    """Write `evaluation/<stem>.json` and `.npz` into a run folder; the older ones are replaced.

    Args:
        run: the run folder.
        result: of `measure_robustness`.
        split: which images were attacked.
        indices: (N,) their numbers in the split, kept with the results of each.
        source_name: what the source is called.
        step: of the training at which the weights were taken, or None.
        stem: of the two files; a report reads "robustness".

    Returns:
        The content of the JSON file; a quantile that is infinite, because attacks found nothing, is None.

    Raises:
        OSError: if a file cannot be written.
    """
    findings = result.findings()
    summary: dict[str, object] = {
        "protocol": "robustness",
        "split": split,
        "num_samples": len(result.labels),
        "clean_accuracy": result.clean_accuracy,
        "attacks": [
            {"name": name, "description": str(attack), **asdict(attack)}
            | {"robust_accuracy": result.robust_accuracy(name)}
            | ({"transfer_accuracy": result.transfer_accuracy(name)} if name in result.transferred else {})
            for name, attack in result.attacks.items()
        ],
        "together": {norm: result.together(norm) for norm in ("linf", "l2")},
        "minimum": {norm: _quantiles(sizes[result.correct]) for norm, sizes in result.smallest.items()},
        "source": {"name": source_name, "accuracy": result.source_accuracy} if source_name is not None else None,
        "findings": [asdict(finding) for finding in findings],
        "num_suspicious": sum(finding.suspicious for finding in findings),
        "seed": result.seed,
        "step": step,
    }
    arrays = {"labels": result.labels, "correct": result.correct}
    if indices is not None:
        arrays["indices"] = indices
    arrays |= {f"fooled_{name}": found for name, found in result.fooled.items()}
    arrays |= {f"transferred_{name}": found for name, found in result.transferred.items()}
    arrays |= {f"smallest_{norm}": sizes for norm, sizes in result.smallest.items()}
    write_results(run, stem, summary, arrays)
    return summary


def _quantiles(sizes: np.ndarray) -> dict[str, Any]:
    """Of the correctly classified images: the least change that fools a tenth, a quarter, half... of them."""
    levels = {"tenth": 0.1, "quarter": 0.25, "median": 0.5, "three_quarters": 0.75, "nine_tenths": 0.9}
    ordered = np.sort(sizes)
    found: dict[str, Any] = {"num_samples": len(sizes), "num_not_found": int(np.isinf(sizes).sum())}
    for name, level in levels.items():
        # of the sizes that occur, as an infinite one cannot be averaged
        value = float(ordered[min(len(sizes) - 1, int(level * len(sizes)))]) if len(sizes) else float("inf")
        found[name] = value if np.isfinite(value) else None
    return found
