# SPDX-License-Identifier: MIT
"""Who of a gallery is it: identification in a closed set by rank, in an open set at a rate of false alarms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch

from hypersphere.checks import check_count
from hypersphere.evaluation.embeddings import (
    MEMORY,
    Embeddings,
    direction_blocks,
    home_of,
    matrix_shape,
    rows_within,
    whole_numbers,
)
from hypersphere.evaluation.roc import num_allowed

__all__ = ["FPIRS", "ClosedSet", "OpenSet", "OpenSetPoint", "identify_closed_set", "identify_open_set"]

FPIRS = (0.001, 0.01, 0.1)
"""Rates of false alarms at which a written result gives how many are identified."""


@dataclass(frozen=True)
class ClosedSet:
    """At which rank of a gallery each of N probes found its own person.

    Args:
        ranks: (N,) int64, 1 + the number of other people who score at least as high as the probe's own.
        scores: (N,) float64, cosine with the own person.
        num_people: in the gallery.
    """

    ranks: np.ndarray
    scores: np.ndarray
    num_people: int

    def rate(self, rank: int) -> float:
        """Share of probes whose own person is among the first `rank`, in [0, 1]."""
        check_count("ClosedSet", "rank", rank)
        return float((self.ranks <= rank).mean())

    def cmc(self) -> np.ndarray:
        """`rate` of every rank from 1 to the number of people, (num_people,)."""
        counts = np.bincount(self.ranks, minlength=self.num_people + 1)[1:]
        return np.asarray(counts.cumsum() / len(self.ranks))

    def summary(self) -> dict[str, object]:
        """What is written into the JSON file."""
        ranks = [rank for rank in (1, 5, 10, 20, 100) if rank <= self.num_people]
        return {
            "kind": "closed set",
            "num_probes": len(self.ranks),
            "num_people": self.num_people,
            "rates": [{"rank": rank, "rate": self.rate(rank)} for rank in ranks],
        }

    def arrays(self) -> dict[str, np.ndarray]:
        """What is written beside it."""
        return {"ranks": self.ranks, "scores": self.scores, "cmc": self.cmc()}


@dataclass(frozen=True)
class OpenSetPoint:
    """Identification at one rate of false alarms, the mean over the galleries.

    Args:
        target: rate of false alarms that was allowed, in [0, 1].
        tpir: share of mated probes of rank 1 whose score is above the threshold, in [0, 1].
        fpir: share of probes without a mate whose largest score is above it, at most the target.
        per_gallery: `tpir` of each gallery.
        thresholds: of each gallery, cosines; None accepts all.
        resolved: False if in some gallery the target is below one probe in all.
    """

    target: float
    tpir: float
    fpir: float
    per_gallery: tuple[float, ...]
    thresholds: tuple[float | None, ...]
    resolved: bool


@dataclass(frozen=True)
class OpenSet:
    """What each of N probes found in each of G galleries.

    Args:
        mated: (G, N) bool, whether the probe's person is in the gallery.
        first: (G, N) bool, whether the own person scores strictly highest; False without a mate.
        own: (G, N) float64, cosine with the own person, -infinity without a mate.
        largest: (G, N) float64, largest cosine with anybody.
    """

    mated: np.ndarray
    first: np.ndarray
    own: np.ndarray
    largest: np.ndarray

    def at(self, target: float) -> OpenSetPoint:
        """The identified at a rate of false alarms, each gallery with a threshold of its own, then the mean.

        The threshold is the smallest that keeps the rate of alarms at most the target; a score must lie above it, and
        scores that tie are accepted together or not at all.

        Raises:
            ValueError: if `target` lies outside [0, 1].
        """
        identified, alarms, thresholds, resolved = [], [], [], True
        for mated, first, own, largest in zip(self.mated, self.first, self.own, self.largest, strict=True):
            strangers = np.sort(largest[~mated])[::-1]
            allowed = num_allowed(target, len(strangers))
            threshold = float(strangers[allowed]) if allowed < len(strangers) else -np.inf
            identified.append(float((first & (own > threshold))[mated].mean()))
            alarms.append(float((strangers > threshold).mean()))
            thresholds.append(threshold if np.isfinite(threshold) else None)
            resolved = resolved and allowed >= 1
        mean, rate = float(np.mean(identified)), float(np.mean(alarms))
        return OpenSetPoint(target, mean, rate, tuple(identified), tuple(thresholds), resolved)

    def rank_one(self) -> float:
        """Share of mated probes of rank 1 without a threshold, the mean over the galleries."""
        return float(np.mean([first[mated].mean() for first, mated in zip(self.first, self.mated, strict=True)]))

    def summary(self) -> dict[str, object]:
        """What is written into the JSON file."""
        return {
            "kind": "open set",
            "num_galleries": len(self.mated),
            "num_mated": self.mated.sum(axis=1).tolist(),
            "num_strangers": (~self.mated).sum(axis=1).tolist(),
            "rank_one": self.rank_one(),
            "tpir_at_fpir": [asdict(self.at(target)) for target in FPIRS],
        }

    def arrays(self) -> dict[str, np.ndarray]:
        """What is written beside it."""
        return {"mated": self.mated, "first": self.first, "own": self.own, "largest": self.largest}


def identify_closed_set(
    gallery: Embeddings,
    gallery_people: object,
    probes: Embeddings,
    probe_people: object,
    *,
    memory: int = MEMORY,
) -> ClosedSet:
    """Rank the people of a gallery for every probe, all of whose people are in it.

    A person's score is the largest cosine of the probe with that person's rows. Another person who ties with the own
    one comes before it.

    Args:
        gallery: (M, D), one row or more for each person, images or templates.
        gallery_people: (M,) whole number of the person of each row.
        probes: (N, D), compared on the device they are on.
        probe_people: (N,) whole numbers.
        memory: bytes to take beside input and result; the (N, M) cosines are never held together.

    Raises:
        TypeError: if people are not whole numbers, or embeddings not floating-point numbers.
        ValueError: if a probe has no mate, shapes do not fit, an embedding is not finite, or memory is too small.

    Edge cases:
        A zero row has cosine 0 with everything.

    Source:
        kemelmacher2016megaface and maze2018ijbc define rank alike.

    Example:
        >>> faces = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
        >>> identify_closed_set(faces, [5, 6, 7], np.array([[0.9, 0.2], [0.5, 0.4]]), [5, 5]).ranks
        array([1, 2])
    """
    mated, own, above, _, num_people = _compare(
        "identify_closed_set", gallery, gallery_people, probes, probe_people, memory
    )
    if not mated.all():
        raise ValueError(
            f"identify_closed_set: {int((~mated).sum())} of {len(mated)} probes have no mate in the gallery, the first "
            f"of them probe {int(np.argmin(mated))}. Leave them out, or use identify_open_set."
        )
    return ClosedSet(above + 1, own, num_people)


def identify_open_set(
    galleries: Sequence[tuple[Embeddings, object]],
    probes: Embeddings,
    probe_people: object,
    *,
    memory: int = MEMORY,
) -> OpenSet:
    """Identify probes some of whose people are strangers to the gallery.

    The largest scores of the probes without a mate in a gallery give that gallery's thresholds; a probe with one is
    identified if its own person comes first, without a tie, and scores above the threshold.

    Args:
        galleries: each (M, D) embeddings and (M,) people, evaluated on its own; figures are means over them.
        probes: (N, D), the same for all galleries.
        probe_people: (N,) whole numbers.
        memory: as for `identify_closed_set`.

    Raises:
        TypeError: as `identify_closed_set`.
        ValueError: as `identify_closed_set`, if there is no gallery, or one for which no probe or every probe has a
            mate.

    Source:
        maze2018ijbc. Code that joins the galleries, so that every probe has a mate, measures something else.

    Example:
        >>> faces, people = np.array([[1.0, 0.0], [0.0, 1.0]]), [5, 6]
        >>> found = identify_open_set([(faces, people)], np.array([[0.9, 0.2], [0.5, 0.6]]), [5, 8])
        >>> found.at(0.0).tpir
        1.0
    """
    if not galleries:
        raise ValueError("identify_open_set: expected one gallery or more, got none.")
    parts = []
    for number, (gallery, people) in enumerate(galleries):
        mated, own, above, largest, _ = _compare("identify_open_set", gallery, people, probes, probe_people, memory)
        if mated.all() or not mated.any():
            raise ValueError(
                f"identify_open_set: expected probes with a mate in gallery {number} and probes without, got "
                f"{int(mated.sum())} and {int((~mated).sum())}."
            )
        parts.append((mated, mated & (above == 0), own, largest))
    return OpenSet(*(np.stack(part) for part in zip(*parts, strict=True)))


def _compare(
    who: str, gallery: Embeddings, gallery_people: object, probes: Embeddings, probe_people: object, memory: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, int]:
    """Of each probe: has it a mate, its score, how many others score as high, the largest score; number of people."""
    num_gallery, dim = matrix_shape(who, "gallery", gallery)
    num_probes, _ = matrix_shape(who, "probes", probes)
    known, owner = np.unique(whole_numbers(who, "gallery_people", gallery_people, num_gallery), return_inverse=True)
    wanted = whole_numbers(who, "probe_people", probe_people, num_probes)
    own_place = np.searchsorted(known, wanted).clip(max=len(known) - 1)
    mated = known[own_place] == wanted
    device = home_of(probes)
    owners, places, mates = (torch.from_numpy(part).to(device) for part in (owner, own_place, mated))
    # of a person: the best score, and its comparison with the own person's
    block, num_rows = rows_within(who, memory, dim=dim, per_query=16 * len(known))
    parts = []
    for start, asked in direction_blocks(who, "probes", probes, block, dim=dim, device=device):
        best = asked.new_full((len(asked), len(known)), -torch.inf)
        for first, rows in direction_blocks(who, "gallery", gallery, num_rows, dim=dim, device=device):
            person = owners[first : first + len(rows)].expand(len(asked), -1)
            best.scatter_reduce_(1, person, asked @ rows.T, "amax")
        place, mate = places[start : start + len(asked)], mates[start : start + len(asked)]
        own = best.gather(1, place[:, None])
        above = (best >= own).sum(dim=1) - 1
        parts.append((own[:, 0].masked_fill(~mate, -torch.inf).cpu(), above.cpu(), best.amax(dim=1).cpu()))
    scores, ranks, largest = (torch.cat(part).numpy() for part in zip(*parts, strict=True))
    return mated, scores, ranks, largest, len(known)
