# SPDX-License-Identifier: MIT
"""Verification of pairs over folds: the rule of LFW as SphereFace released it, and the common variant."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hypersphere.checks import lookup
from hypersphere.evaluation.embeddings import Embeddings, as_embeddings, fuse_flips
from hypersphere.evaluation.intervals import auc_interval
from hypersphere.evaluation.pairs import Pairs
from hypersphere.evaluation.results import write_results
from hypersphere.evaluation.roc import Roc, roc_curve
from hypersphere.evaluation.thresholds import PROTOCOLS
from hypersphere.formulas.directions import unit_rows

__all__ = ["FARS", "Verification", "verify", "verify_scores", "write_verification"]

FARS = (1e-4, 1e-3, 1e-2, 1e-1)
"""Rates of false accepts at which a written result gives true ones."""


@dataclass(frozen=True)
class Verification:
    """What verification found on the P reported pairs, those of all folds or of one.

    Args:
        protocol: the name in `PROTOCOLS`.
        scores: (P,) float64, larger for what is more alike, as scored when the fold of the pair was tested.
        same: (P,) bool.
        fold: (P,) int64.
        indices: (P,) int64, numbers of the pairs in the list that was given.
        folds: the F reported folds.
        thresholds: (F,) chosen on the other folds, in the unit of the scores.
        accuracies: (F,) on the fold itself, in [0, 1].
        num_zero: embeddings whose cosine with everything counted as 0 in a reported fold, as their length is zero
            there, after the mean is subtracted where it is.
    """

    protocol: str
    scores: np.ndarray
    same: np.ndarray
    fold: np.ndarray
    indices: np.ndarray
    folds: tuple[int, ...]
    thresholds: np.ndarray
    accuracies: np.ndarray
    num_zero: int = 0

    @property
    def accuracy(self) -> float:
        """Mean of the reported folds, in [0, 1]."""
        return float(self.accuracies.mean())

    @property
    def spread(self) -> float | None:
        """Standard error or deviation over the folds, as the protocol has it; None with one fold."""
        if len(self.folds) < 2:
            return None
        if PROTOCOLS[self.protocol].spread == "standard error":
            return float(self.accuracies.std(ddof=1) / np.sqrt(len(self.folds)))
        return float(self.accuracies.std())

    @property
    def correct(self) -> np.ndarray:
        """(P,) bool, whether each pair was told right by the threshold of its fold."""
        place = np.searchsorted(self.folds, self.fold)
        return PROTOCOLS[self.protocol].right(self.scores, self.same, self.thresholds[place])

    def roc(self) -> Roc:
        """Of all reported pairs together."""
        return roc_curve(self.scores, self.same)


def verify(
    embeddings: Embeddings,
    pairs: Pairs,
    *,
    flipped: Embeddings | None = None,
    protocol: str = "lfw-official",
    only_fold: int | None = None,
) -> Verification:
    """Tell whether pairs of images show one person, by a threshold from the other folds.

    Args:
        embeddings: (N, D), f(x) as the network gives it: not normalised.
        pairs: rows of `embeddings` and folds.
        flipped: (N, D), f of the mirrored images, joined as the protocol does; None if `embeddings` are joined
            already, or mirror images are left out.
        protocol: a name of `PROTOCOLS`.
        only_fold: report this fold alone, 1 to F, for a model that was trained on the others.

    Returns:
        Scores, thresholds and accuracies.

    Raises:
        TypeError: if embeddings are neither an array nor a tensor of floating-point numbers.
        ValueError: if an embedding is not finite, a pair names a row that is not there, there is one fold only, or a
            name or fold is unknown.

    Edge cases:
        A row of length zero (after the mean is subtracted, where it is) has cosine 0 and squared distance 2 to
        everything, another zero row too. Where the mean is subtracted, a row shorter than 1e-10 of its former length
        counts as zero: of a model that gives one vector for all images, rounding is all that would be left.

    Source:
        huang2007lfw; "lfw-official" as in the released code of liu2017sphereface, "lfw-common" as in that of
        deng2019arcface.

    Example:
        >>> towards = np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 0.9]])
        >>> left, right, fold = np.array([[0, 0, 2, 1], [1, 2, 3, 3], [1, 1, 2, 2]])
        >>> pairs = Pairs(left, right, np.array([True, False, True, False]), fold)
        >>> verify(towards, pairs, protocol="lfw-common").accuracy
        1.0
    """
    rule = lookup("protocol", protocol, PROTOCOLS)
    rows = as_embeddings("verify", "embeddings", embeddings)
    if flipped is not None:
        mirrored = as_embeddings("verify", "flipped", flipped)
        joined = fuse_flips(rows.double(), mirrored.to(rows.device).double(), rule.fusion)
        assert isinstance(joined, Tensor)
        rows = joined
    pairs.check_rows("verify", len(rows))
    wide = rows.double()
    left, right = (torch.from_numpy(side).to(wide.device) for side in (pairs.left, pairs.right))

    if not rule.centred:
        fixed = _scores(wide, left, right, rule.score)
        return _over_folds(lambda _: fixed, pairs, protocol, only_fold)

    def scores(held_out: int) -> tuple[np.ndarray, np.ndarray]:
        others = torch.from_numpy(pairs.fold != held_out).to(wide.device)
        return _scores(_centred(wide, left[others], right[others]), left, right, rule.score)

    return _over_folds(scores, pairs, protocol, only_fold)


def verify_scores(
    scores: np.ndarray, pairs: Pairs, *, protocol: str = "lfw-official", only_fold: int | None = None
) -> Verification:
    """The same from scores that were made elsewhere, such as `set_cosines`; only threshold and folds are chosen here.

    Args:
        scores: (P,), larger for what is more alike, in the range of the thresholds: a cosine for "lfw-official", minus
            a squared distance for "lfw-common".
        pairs: their kind and folds; the rows are not looked at.
        protocol: as for `verify`.
        only_fold: as for `verify`.

    Raises:
        ValueError: if there is not one finite score a pair, or as `verify`.

    Example:
        >>> left, right, fold = np.array([[0, 0, 2, 1], [1, 2, 3, 3], [1, 1, 2, 2]])
        >>> pairs = Pairs(left, right, np.array([True, False, True, False]), fold)
        >>> verify_scores(np.array([0.9, 0.5, 0.8, 0.6]), pairs).thresholds
        array([0.7, 0.7])
    """
    lookup("protocol", protocol, PROTOCOLS)
    given = np.asarray(scores, dtype=np.float64)
    if given.shape != (len(pairs),) or not np.isfinite(given).all():
        raise ValueError(
            f"verify_scores: expected {len(pairs)} finite scores, one a pair, got shape {given.shape} with "
            f"{int(np.isfinite(given).sum())} finite."
        )
    return _over_folds(lambda _: (given, np.zeros(0, dtype=np.bool_)), pairs, protocol, only_fold)


def _over_folds(
    scores_of: Callable[[int], tuple[np.ndarray, np.ndarray]], pairs: Pairs, protocol: str, only_fold: int | None
) -> Verification:
    """Verification by `scores_of`: of a fold, the scores of all pairs (P,), and which embeddings are zero (N,)."""
    rule, num_folds = PROTOCOLS[protocol], pairs.num_folds
    pairs.check_fold("verify", only_fold)
    folds = tuple(range(1, num_folds + 1)) if only_fold is None else (only_fold,)
    reported = np.isin(pairs.fold, folds)
    scores = np.empty(len(pairs))
    thresholds, accuracies = np.empty(len(folds)), np.empty(len(folds))
    ever_zero = []
    for place, fold in enumerate(folds):
        (found, zero), tested = scores_of(fold), pairs.fold == fold
        ever_zero.append(zero)
        thresholds[place] = rule.best_threshold(found[~tested], pairs.same[~tested])
        scores[tested] = found[tested]
        accuracies[place] = rule.right(found[tested], pairs.same[tested], thresholds[place]).mean()
    return Verification(
        protocol,
        scores[reported],
        pairs.same[reported],
        pairs.fold[reported],
        np.flatnonzero(reported),
        folds,
        thresholds,
        accuracies,
        int(np.any(ever_zero, axis=0).sum()),
    )


def _centred(rows: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """Rows less the mean of those that the pairs name, counted as often as they do."""
    times = torch.bincount(torch.cat([left, right]), minlength=len(rows)).to(rows.dtype)
    # a power of two, so that rows of any size keep their digits and the sum stays finite
    rows = rows * 2.0 ** -max(math.frexp(float(rows.abs().amax()))[1], -1000)
    moved = rows - (times @ rows / times.sum())
    gone = moved.norm(dim=1) < 1e-10 * rows.norm(dim=1)
    return moved.masked_fill(gone[:, None], 0.0)


def _scores(rows: Tensor, left: Tensor, right: Tensor, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Of pairs, (P,), and which rows are zero, (N,) bool."""
    unit = unit_rows(rows)[0]
    zero = (unit == 0).all(dim=1)
    parts = []
    for first, second in zip(left.split(4096), right.split(4096), strict=True):
        if kind == "cosine":
            parts.append((unit[first] * unit[second]).sum(dim=1))
        else:
            squared = (unit[first] - unit[second]).square().sum(dim=1)
            parts.append(-squared.masked_fill(zero[first] | zero[second], 2.0))
    return torch.cat(parts).cpu().numpy(), zero.cpu().numpy()


def write_verification(
    run: Path,
    result: Verification,
    *,
    split: str,
    fars: Sequence[float] = FARS,
    people: np.ndarray | None = None,
    step: int | None = None,
    stem: str = "verification",
    details: Mapping[str, object] | None = None,
) -> dict[str, object]:
    """Write `evaluation/<stem>.json` and `.npz` into a run folder; the older ones are replaced.

    Args:
        run: the run folder.
        result: of `verify`, with pairs of both kinds.
        split: which pairs were verified.
        fars: rates of false accepts at which true ones are given, in [0, 1].
        people: (P, 2) both people of each reported pair, for the interval of the area; see `auc_interval`.
        step: of the training at which the weights were taken, or None.
        stem: of the two files; a report reads "verification".
        details: more entries of the JSON file.

    Returns:
        The content of the JSON file.

    Raises:
        OSError: if a file cannot be written.
        ValueError: if all reported pairs are of one kind, or a rate is out of range.
    """
    curve, rule = result.roc(), PROTOCOLS[result.protocol]
    summary: dict[str, object] = {
        "protocol": "verification",
        "variant": result.protocol,
        "description": str(rule),
        "split": split,
        "num_pairs": len(result.scores),
        "num_same": int(result.same.sum()),
        "accuracy": result.accuracy,
        "spread": result.spread,
        "spread_kind": rule.spread,
        "folds": list(result.folds),
        "thresholds": result.thresholds.tolist(),
        "accuracies": result.accuracies.tolist(),
        "score": "cosine" if rule.score == "cosine" else "minus squared distance",
        "area": curve.area(),
        "area_interval": asdict(auc_interval(result.scores, result.same, people=people)),
        "equal_error_rate": curve.equal_error_rate(),
        "tar_at_far": [curve.tar_at_far(far).entries() for far in fars],
        "num_zero": result.num_zero,
        "step": step,
        **(details or {}),
    }
    drawn = curve.corners()
    arrays = {
        "scores": result.scores,
        "same": result.same,
        "folds": result.fold,
        "indices": result.indices,
        "correct": result.correct,
    }
    arrays |= {"roc_far": drawn.far, "roc_tar": drawn.tar, "roc_thresholds": drawn.thresholds}
    write_results(run, stem, summary, arrays)
    return summary
