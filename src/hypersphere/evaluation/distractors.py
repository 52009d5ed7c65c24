# SPDX-License-Identifier: MIT
"""Identification and verification among very many distractors, by the rule of MegaFace, in a pass of bounded memory."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hypersphere.checks import check_count
from hypersphere.evaluation.embeddings import (
    MEMORY,
    Embeddings,
    as_embeddings,
    direction_blocks,
    directions,
    rows_within,
    whole_numbers,
)
from hypersphere.evaluation.roc import OperatingPoint, num_allowed, operating_point

__all__ = ["AmongDistractors", "identify_among_distractors"]

# a pair is two numbers and a score; what is made of all scores at the end is a third as much
_BYTES_PER_PAIR = 32


@dataclass(frozen=True)
class AmongDistractors:
    """What N probes found among M distractors.

    Args:
        num_distractors: M.
        pairs: (P, 2) int64, every ordered pair (a, b) of two probes of one person; b is the only mate in the gallery.
        scores: (P,) float64, cosine of each pair.
        largest: (N, K) float64, the K largest cosines of each probe with distractors, falling.
        points: verification of the unordered pairs against every probe with every distractor, at each rate asked for.
    """

    num_distractors: int
    pairs: np.ndarray
    scores: np.ndarray
    largest: np.ndarray
    points: tuple[OperatingPoint, ...]

    def hits(self, rank: int) -> np.ndarray:
        """(P,) bool, whether fewer than `rank` distractors score at least as high as the mate; a tie counts against.

        Raises:
            ValueError: if `rank` is not a whole number from 1 to the K that was asked for.
        """
        check_count("AmongDistractors", "rank", rank)
        if rank > self.num_distractors:
            return np.ones(len(self.scores), dtype=np.bool_)
        if rank > self.largest.shape[1]:
            raise ValueError(
                f"AmongDistractors: rank must be at most {self.largest.shape[1]}, got {rank}. Ask for more ranks."
            )
        return np.asarray(self.largest[self.pairs[:, 0], rank - 1] < self.scores)

    def rate(self, rank: int) -> float:
        """Share of pairs that are hits at `rank`, in [0, 1]; every ordered pair counts alike."""
        return float(self.hits(rank).mean())

    def summary(self) -> dict[str, object]:
        """What is written into the JSON file."""
        return {
            "kind": "distractors",
            "num_probes": len(self.largest),
            "num_distractors": self.num_distractors,
            "num_pairs": len(self.pairs),
            "rates": [{"rank": rank, "rate": self.rate(rank)} for rank in range(1, self.largest.shape[1] + 1)],
            "tar_at_far": [point.entries() for point in self.points],
        }

    def arrays(self) -> dict[str, np.ndarray]:
        """What is written beside it."""
        return {"pairs": self.pairs, "scores": self.scores, "largest": self.largest}


def identify_among_distractors(
    probes: Embeddings,
    people: object,
    distractors: Embeddings | Iterable[Embeddings],
    *,
    max_rank: int = 1,
    fars: Sequence[float] = (),
    num_distractors: int | None = None,
    memory: int = MEMORY,
) -> AmongDistractors:
    """Find each probe's mate in a gallery of M distractors and that mate alone, for every mate in turn.

    Distractors are read once, block by block. Of each probe the `max_rank` largest cosines are kept, and of all N·M
    impostor pairs as many of the largest as the largest rate of `fars` needs; both are exact.

    Args:
        probes: (N, D), compared on the device they are on.
        people: (N,) whole number of the person of each probe.
        distractors: (M, D) array (a mapped file too) or tensor, or blocks of them one after the other.
        max_rank: largest rank that will be asked for, >= 1.
        fars: rates of false accepts at which the rate of true ones is wanted, in [0, 1]; of N·M impostors.
        num_distractors: M, needed with `fars` where `distractors` come as blocks.
        memory: bytes to take beside the input, the pairs among them; probes (16·N·D) and the largest cosines of each
            come on top.

    Returns:
        Hits and rates.

    Raises:
        TypeError: if people are not whole numbers, or embeddings not floating-point numbers.
        ValueError: if no two probes are of one person, there are no distractors or not `num_distractors`, shapes do not
            fit, an embedding is not finite, a rate is out of range, or its impostors or the pairs, n(n-1) of each
            person's n probes at 32 bytes, need more than half of `memory`.

    Edge cases:
        A zero row has cosine 0 with everything. Images that occur both as a mate and as a distractor tie: counted as a
        miss. Remove distractors of the probes' people and of noisy labels first, and report both figures.

    Source:
        kemelmacher2016megaface. Different from it: probes of other people are not among the impostors.

    Example:
        >>> probes = np.array([[1.0, 0.0], [0.8, 0.6]])
        >>> found = identify_among_distractors(probes, [3, 3], np.array([[0.0, 1.0], [0.5, 0.5]]), max_rank=2)
        >>> found.rate(1), found.rate(2)
        (0.5, 1.0)
    """
    who = "identify_among_distractors"
    check_count(who, "max_rank", max_rank)
    rows = as_embeddings(who, "probes", probes)
    owners = whole_numbers(who, "people", people, len(rows))
    held = _bytes_of_pairs(who, owners, memory)
    asked = directions(rows)
    pairs, scores = _pairs_of_one_person(owners, asked, memory - held)
    total = len(distractors) if isinstance(distractors, np.ndarray | Tensor) else num_distractors
    if fars and total is None:
        raise ValueError(f"{who}: with fars and distractors in blocks, num_distractors must be given.")
    kept = max((num_allowed(far, max(1, len(rows) * (total or 0))) + 1 for far in fars), default=0)
    impostors = _Largest(who, min(kept, len(rows) * (total or 0)), memory, held, asked)
    num_queries, num_rows = rows_within(who, (memory - held) // 2, dim=rows.shape[1], per_query=64 * max_rank)
    best = asked.new_empty(len(rows), 0)
    seen = 0
    for start, block in direction_blocks(
        who, "distractors", distractors, num_rows, dim=rows.shape[1], device=asked.device
    ):
        parts = []
        for first in range(0, len(rows), num_queries):
            cosines = asked[first : first + num_queries] @ block.T
            top = cosines.topk(min(max_rank, len(block)), dim=1).values
            impostors.add(cosines, top[:, 0])
            both = torch.cat([best[first : first + num_queries], top], dim=1)
            parts.append(both.topk(min(max_rank, both.shape[1]), dim=1).values)
        best = torch.cat(parts)
        seen = start + len(block)
    if not seen or (total is not None and seen != total):
        expected = "one distractor or more" if total is None or not seen else f"{total} distractors"
        raise ValueError(f"{who}: expected {expected}, got {seen}.")
    genuine = scores[pairs[:, 0] < pairs[:, 1]]
    largest = impostors.values()
    points = tuple(operating_point(genuine, largest, len(rows) * seen, far) for far in fars)
    return AmongDistractors(seen, pairs, scores, best.cpu().numpy(), points)


def _bytes_of_pairs(who: str, people: np.ndarray, memory: int) -> int:
    """What the pairs need; ValueError where there are none, or they need more than half of `memory`."""
    counts = np.unique(people, return_counts=True)[1]
    num_pairs = int((counts * (counts - 1)).sum())
    if not num_pairs:
        raise ValueError(f"{who}: expected two probes or more of some person, got one of each.")
    needed = _BYTES_PER_PAIR * num_pairs
    if 2 * needed > memory:
        raise ValueError(
            f"{who}: there are {num_pairs} ordered pairs of one person, up to {counts.max()} probes of each, so memory "
            f"must be {2 * needed} bytes ({-(-needed // 2**19)} MiB) or more, got {memory}. Give more, or fewer probes "
            "of a person."
        )
    return needed


def _pairs_of_one_person(people: np.ndarray, rows: Tensor, memory: int) -> tuple[np.ndarray, np.ndarray]:
    """Every ordered pair of two probes of one person, (P, 2), by the first and then the second; their cosines (P,)."""
    order = np.argsort(people, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(people[order])) + 1)
    num_mates = np.empty(len(people), dtype=np.int64)
    for group in groups:
        num_mates[group] = len(group) - 1
    # where the pairs of each probe begin
    starts = num_mates.cumsum() - num_mates
    pairs = np.empty((int(num_mates.sum()), 2), dtype=np.int64)
    scores = np.empty(len(pairs))
    # a quarter for pairs at 64 bytes, of cosines and places twice, one for the rows of both sides
    side = max(1, min(math.isqrt(memory // 256), memory // (64 * rows.shape[1])))
    for group in groups:
        for first in range(0, len(group), side):
            left = np.arange(first, min(first + side, len(group)))[:, None]
            for second in range(0, len(group), side):
                right = np.arange(second, min(second + side, len(group)))[None]
                # a probe is no mate of its own, so those behind it move up
                place = starts[group[left]] + right - (right > left)
                one, other = (torch.from_numpy(group[part.ravel()]).to(rows.device) for part in (left, right))
                cosines = (rows[one] @ rows[other].T).cpu().numpy()
                mates = left != right
                place = place[mates]
                scores[place] = cosines[mates]
                pairs[place, 0] = np.broadcast_to(group[left], mates.shape)[mates]
                pairs[place, 1] = np.broadcast_to(group[right], mates.shape)[mates]
    return pairs, scores


class _Largest:
    """The `count` largest of all numbers that are added, in memory for about three times as many."""

    def __init__(self, who: str, count: int, memory: int, held: int, like: Tensor) -> None:
        # candidates up to twice as many, and a copy of all while the largest are chosen; half of what is not held
        needed = 2 * 48 * count + held
        if needed > memory:
            raise ValueError(
                f"{who}: the largest of fars needs the {count} highest impostor scores, so memory must be "
                f"{needed} bytes ({-(-needed // 2**20)} MiB) or more, got {memory}. Give more, or leave out "
                "rates that large."
            )
        self.count, self.held, self.pending = count, like.new_empty(0), 0
        self.parts: list[Tensor] = []
        self.least = -torch.inf

    def add(self, values: Tensor, largest: Tensor) -> None:
        """Keep what may be among the largest of values (Q, M), whose rows have these largest (Q,)."""
        if not self.count:
            return
        # soon most rows hold nothing new, and need not be read again
        some = values[largest > self.least].flatten()
        if len(self.held) == self.count:
            # what ties with the least that is held changes nothing
            some = some[some > self.least]
        self.parts.append(some)
        self.pending += len(some)
        if self.pending >= max(self.count, 2**16):
            self._settle()

    def _settle(self) -> None:
        joined = torch.cat([self.held, *self.parts])
        self.held, self.parts, self.pending = joined, [], 0
        if len(joined) >= self.count:
            if joined.is_cuda:
                self.held = joined.topk(self.count, sorted=False).values
            else:
                # in place, where topk would hold the place of every number too
                joined.numpy().partition(len(joined) - self.count)
                self.held = joined[len(joined) - self.count :].clone()
            self.least = float(self.held.min())

    def values(self) -> np.ndarray:
        """The largest, falling."""
        if self.count:
            self._settle()
        return np.asarray(self.held.sort(descending=True).values.cpu().numpy())
