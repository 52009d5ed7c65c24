# SPDX-License-Identifier: MIT
"""Retrieval by angle: recall at k, R-precision, MAP@R, and classification by nearest neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hypersphere.checks import check_count
from hypersphere.evaluation.embeddings import MEMORY, Embeddings, matrix_shape, whole_numbers
from hypersphere.evaluation.search import neighbour_blocks

__all__ = ["Retrieval", "retrieve"]


@dataclass(frozen=True)
class Retrieval:
    """Figures over the queries whose class the gallery holds, all in [0, 1].

    Args:
        recall: k -> share of queries with one of their class or more among the k nearest.
        knn_accuracy: k -> share of queries whose class has most of the k nearest.
        r_precision: mean share of their class among the R nearest, R rows of the class in the gallery.
        map_at_r: mean over queries of (1/R) Σ_i P(i)·rel(i), i = 1..R, P(i) the share of the class among the first i.
        num_queries: how many figures are means over.
        num_alone: queries left out, as there is none of their class to find.
    """

    recall: dict[int, float]
    knn_accuracy: dict[int, float]
    r_precision: float
    map_at_r: float
    num_queries: int
    num_alone: int


def retrieve(
    embeddings: Embeddings,
    labels: object,
    *,
    queries: Embeddings | None = None,
    query_labels: object | None = None,
    ks: Sequence[int] = (1, 5, 10),
    memory: int = MEMORY,
) -> Retrieval:
    """Rank a gallery by cosine for every query and say how much of its class comes first.

    Args:
        embeddings: (N, D), the gallery.
        labels: (N,) whole numbers, its classes.
        queries: (Q, D), compared on the device they are on; None lets every row of the gallery search the others.
        query_labels: (Q,) whole numbers, with `queries` only.
        ks: numbers of neighbours for recall and classification, each from 1 to the rows there are to find.
        memory: bytes to take beside the input; the (Q, N) cosines are never held together.

    Returns:
        Recall, accuracy and precision.

    Raises:
        TypeError: if labels are not whole numbers, or embeddings not floating-point numbers.
        ValueError: if no query has one of its class to find, shapes do not fit, an embedding is not finite, or a
            number is out of range.

    Edge cases:
        Of equal cosines the smaller row comes first. Neighbours vote with one vote each; classes with equally many are
        told apart by the larger sum of their neighbours' cosines, then by the smaller label. A zero row has cosine 0
        with everything.

    Source:
        musgrave2020metric for R-precision and MAP@R.

    Example:
        >>> towards = np.array([[1.0, 0.0], [0.9, 0.1], [0.5, 0.5], [0.1, 0.9]])
        >>> found = retrieve(towards, [0, 0, 1, 1], ks=[1])
        >>> found.recall, found.knn_accuracy, found.map_at_r
        ({1: 0.75}, {1: 0.75}, 0.75)
    """
    num_rows, _ = matrix_shape("retrieve", "embeddings", embeddings)
    known = whole_numbers("retrieve", "labels", labels, num_rows)
    if (queries is None) != (query_labels is None):
        raise ValueError("retrieve: queries and query_labels come together; leave out both to search among themselves.")
    alone = queries is None
    wanted = known
    if queries is not None:
        wanted = whole_numbers(
            "retrieve", "query_labels", query_labels, matrix_shape("retrieve", "queries", queries)[0]
        )
    if not ks:
        raise ValueError("retrieve: expected one number of neighbours or more in ks, got none.")
    ks = tuple(dict.fromkeys(ks))
    for k in ks:
        check_count("retrieve", "k", k)
    classes, place = np.unique(known, return_inverse=True)
    own = np.searchsorted(classes, wanted).clip(max=len(classes) - 1)
    relevant = np.where(classes[own] == wanted, np.bincount(place)[own] - alone, 0)
    found = relevant > 0
    if not found.any():
        raise ValueError("retrieve: no query has another row of its class to find, so there is nothing to measure.")
    depth = max(*ks, int(relevant.max()))
    totals = dict.fromkeys(("r_precision", "map_at_r"), 0.0)
    recall, votes = dict.fromkeys(ks, 0), dict.fromkeys(ks, 0)
    label, mine, count = (torch.from_numpy(part) for part in (place, own, relevant))
    for start, cosines, indices in neighbour_blocks(
        embeddings, queries, depth, memory=memory, who="retrieve", per_neighbour=192
    ):
        rows = torch.from_numpy(found[start : start + len(indices)])
        near, cosine = label[indices.cpu()[rows]], cosines.cpu()[rows]
        class_of, num_relevant = (part[start : start + len(indices)][rows] for part in (mine, count))
        hit = (near == class_of[:, None]).double()
        within = torch.arange(1, depth + 1) <= num_relevant[:, None]
        precision = hit.cumsum(dim=1) / torch.arange(1, depth + 1)
        totals["r_precision"] += float(((hit * within).sum(dim=1) / num_relevant).sum())
        totals["map_at_r"] += float(((precision * hit * within).sum(dim=1) / num_relevant).sum())
        for k in ks:
            recall[k] += int(hit[:, :k].any(dim=1).sum())
            votes[k] += int((_winner(near[:, :k], cosine[:, :k]) == class_of).sum())
    num = int(found.sum())
    return Retrieval(
        {k: recall[k] / num for k in ks},
        {k: votes[k] / num for k in ks},
        totals["r_precision"] / num,
        totals["map_at_r"] / num,
        num,
        len(found) - num,
    )


def _winner(near: Tensor, cosines: Tensor) -> Tensor:
    """(Q,) class with most of the neighbours (Q, k), ties by the sum of cosines, then by the smaller class."""
    if near.shape[1] == 1:
        return near[:, 0]
    # runs of one class, so that (Q, k) numbers suffice however many classes there are
    sorted_near, order = near.sort(dim=1, stable=True)
    run = torch.cat([torch.zeros_like(near[:, :1]), (sorted_near.diff(dim=1) != 0).long()], dim=1).cumsum(dim=1)
    zero = cosines.new_zeros(cosines.shape)
    count = zero.scatter_add(1, run, torch.ones_like(cosines))
    total = zero.scatter_add(1, run, cosines.gather(1, order))
    most = count == count.amax(dim=1, keepdim=True)
    total = total.masked_fill(~most, -torch.inf)
    # the first of the largest sums is that of the smallest class
    first = (total == total.amax(dim=1, keepdim=True)).int().argmax(dim=1, keepdim=True)
    return sorted_near.gather(1, (run == first).int().argmax(dim=1, keepdim=True))[:, 0]
