# SPDX-License-Identifier: MIT
"""The rows of a gallery nearest in angle to each query, exactly in blocks or by faiss."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hypersphere.checks import check_count, lookup
from hypersphere.evaluation.embeddings import (
    MEMORY,
    Embeddings,
    as_embeddings,
    direction_blocks,
    directions,
    home_of,
    matrix_shape,
    rows_within,
)

__all__ = ["BACKENDS", "Neighbours", "neighbour_blocks", "search"]

# more candidates than asked for, among which float32 may have lost the order
_SPARE = 16
# rows that an index learns its divisions from
_TRAINED_ON = 2**17


@dataclass(frozen=True)
class Neighbours:
    """The k nearest rows of a gallery for each of Q queries.

    Args:
        cosines: (Q, k) float64, falling.
        indices: (Q, k) int64, rows of the gallery; of equal cosines the smaller row comes first.
    """

    cosines: np.ndarray
    indices: np.ndarray


def search(
    gallery: Embeddings,
    queries: Embeddings,
    k: int,
    *,
    backend: str = "exact",
    index: str = "Flat",
    memory: int = MEMORY,
) -> Neighbours:
    """Find the k rows of a gallery whose cosine with each query is largest.

    Args:
        gallery: (N, D), of any length; a mapped file is read in blocks.
        queries: (Q, D), compared on the device they are on ("exact").
        k: how many, 1 to N.
        backend: "exact", or "faiss", which needs the extra `search` and is faster on large galleries; see `BACKENDS`.
        index: kind of faiss index in the words of its `index_factory`. "Flat" compares all; others, such as
            "HNSW32" or "IVF1024,Flat", may miss neighbours; a place left empty is row -1 of cosine -infinity.
        memory: bytes to take beside input and result ("exact").

    Returns:
        Cosines and rows; of both backends the same with "Flat", the order of equal cosines too unless more than 16
        rows tie at the k-th place.

    Raises:
        ImportError: if faiss is asked for and not installed.
        TypeError: if an input is neither an array nor a tensor of floating-point numbers.
        ValueError: if a row is not finite, widths differ, k or memory is out of range, or `backend` is unknown.

    Edge cases:
        A zero row has cosine 0 with everything. Rows that differ by less than 1e-8 in each direction cosine may tie.

    Source:
        faiss: johnson2021billion.

    Example:
        >>> found = search(np.eye(3), np.array([[0.9, 0.1, 0.0]]), 2)
        >>> found.indices, found.cosines.round(3)
        (array([[0, 1]]), array([[0.994, 0.11 ]]))
    """
    return lookup("backend", backend, BACKENDS)[1](gallery, queries, k, index, memory)


def _exact(gallery: Embeddings, queries: Embeddings, k: int, index: str, memory: int) -> Neighbours:
    parts = [
        (cosines.cpu(), indices.cpu()) for _, cosines, indices in neighbour_blocks(gallery, queries, k, memory=memory)
    ]
    return Neighbours(*(torch.cat(part).numpy() for part in zip(*parts, strict=True)))


def neighbour_blocks(
    gallery: Embeddings,
    queries: Embeddings | None,
    k: int,
    *,
    memory: int = MEMORY,
    who: str = "search",
    per_neighbour: int = 64,
) -> Iterator[tuple[int, Tensor, Tensor]]:
    """The neighbours of one block of queries after the other.

    Args:
        gallery: (N, D).
        queries: (Q, D), or None for the gallery's own rows, none of which is then its own neighbour.
        k: how many, 1 to N (N - 1 without queries).
        memory: bytes to take beside input and result.
        who: speaks in errors.
        per_neighbour: bytes that each neighbour of a block takes, what the caller makes of it included.

    Yields:
        Number of the first query of the block, cosines (B, k) and rows (B, k) as in `Neighbours`.

    Raises:
        TypeError, ValueError: as `search`.
    """
    limit, dim = matrix_shape(who, "gallery", gallery)
    limit -= queries is None
    asking, argument = (gallery, "gallery") if queries is None else (queries, "queries")
    matrix_shape(who, argument, asking)
    device = home_of(asking)
    check_count(who, "k", k)
    if k > limit:
        raise ValueError(f"{who}: k must be at most {limit}, the rows there are to find, got {k}.")
    num_queries, num_rows = rows_within(who, memory, dim=dim, per_query=per_neighbour * k)
    for start, asked in direction_blocks(who, argument, asking, num_queries, dim=dim, device=device):
        cosines = asked.new_empty(len(asked), 0)
        indices = torch.empty(len(asked), 0, dtype=torch.int64, device=device)
        for first, block in direction_blocks(who, "gallery", gallery, num_rows, dim=dim, device=device):
            found = asked @ block.T
            if queries is None:
                own = torch.arange(start, start + len(asked), device=device) - first
                inside = (own >= 0) & (own < len(block))
                found[inside.nonzero().flatten(), own[inside]] = -torch.inf
            place = torch.arange(first, first + len(block), device=device).expand(len(asked), -1)
            best, here = _largest(found, min(k, len(block)))
            # rows found before come first, so that among equals the smaller row still does
            cosines, indices = torch.cat([cosines, best], 1), torch.cat([indices, place.gather(1, here)], 1)
            kept, here = _largest(cosines, min(k, cosines.shape[1]))
            cosines, indices = kept, indices.gather(1, here)
        yield start, cosines, indices


def _largest(values: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k largest of each row and their columns; of equal values the smaller column, and it first."""
    best, columns = values.topk(k, dim=1)
    # topk takes any of the values that tie at the k-th place
    last = best[:, -1:]
    torn = ((values >= last).sum(dim=1) > k).nonzero().flatten()
    if len(torn):
        some, least = values[torn], last[torn]
        above, equal = some > least, some == least
        room = k - above.sum(dim=1, keepdim=True)
        chosen = above | (equal & (equal.cumsum(dim=1) <= room))
        columns[torn] = chosen.nonzero()[:, 1].reshape(len(torn), k)
    columns = columns.sort(dim=1).values
    best, order = values.gather(1, columns).sort(dim=1, descending=True, stable=True)
    return best, columns.gather(1, order)


def _by_faiss(gallery: Embeddings, queries: Embeddings, k: int, index: str, memory: int) -> Neighbours:
    faiss = _require_faiss()
    num_rows, dim = matrix_shape("search", "gallery", gallery)
    asked = as_embeddings("search", "queries", queries).cpu()
    check_count("search", "k", k)
    if asked.shape[1] != dim or k > num_rows:
        raise ValueError(
            f"search: expected queries of {dim} features and k of {num_rows} at most, got {asked.shape[1]} and {k}."
        )
    exact = directions(asked)
    try:
        built = faiss.index_factory(dim, index, faiss.METRIC_INNER_PRODUCT)
    except RuntimeError as error:
        raise ValueError(f"search: faiss knows no index {index!r}. Its own words: {error}") from error
    if not built.is_trained:
        some = gallery[:: -(-num_rows // _TRAINED_ON)]
        built.train(directions(as_embeddings("search", "gallery", some).cpu()).float().numpy())
    for _, block in direction_blocks("search", "gallery", gallery, 4096, dim=dim, device=asked.device):
        built.add(block.float().numpy())
    candidates = built.search(exact.float().numpy(), min(k + _SPARE, num_rows))[1]
    cosines, indices = [], []
    for start in range(0, len(exact), 256):
        # an index that looks at a part of the gallery may find fewer: faiss writes -1, which comes last here
        near = np.sort(candidates[start : start + 256], axis=1)
        needed, place = np.unique(near.clip(min=0), return_inverse=True)
        rows = (
            gallery[needed] if isinstance(gallery, np.ndarray) else gallery[torch.from_numpy(needed).to(gallery.device)]
        )
        targets = directions(as_embeddings("search", "gallery", rows).cpu())[
            torch.from_numpy(place.reshape(near.shape))
        ]
        found = torch.einsum("qd,qnd->qn", exact[start : start + 256], targets)
        named = torch.from_numpy(near)
        best, here = _largest(found.masked_fill(named < 0, -torch.inf), k)
        cosines.append(best)
        indices.append(named.gather(1, here))
    return Neighbours(torch.cat(cosines).numpy(), torch.cat(indices).numpy())


def _require_faiss() -> Any:
    try:
        import faiss
    except ModuleNotFoundError as error:
        raise ImportError(
            'search: backend="faiss" needs the package faiss: pip install "hypersphere[search]", or use '
            'backend="exact".'
        ) from error
    return faiss


BACKENDS: dict[str, tuple[str, Callable[[Embeddings, Embeddings, int, str, int], Neighbours]]] = {
    "exact": ("every cosine, block by block", _exact),
    "faiss": ("an index of the faiss library, whose candidates are compared exactly", _by_faiss),
}
"""How neighbours are found, by name."""
