# SPDX-License-Identifier: MIT
"""The order in which many things are shown: a fixed draw of a few, and similar ones next to each other."""

from __future__ import annotations

import numpy as np

__all__ = ["cluster_order", "subsample"]


def subsample(count: int, limit: int, *, seed: int = 0) -> np.ndarray:
    """At most `limit` indices below `count`, in rising order, drawn by seed.

    Example:
        >>> subsample(3, 5)
        array([0, 1, 2])
    """
    if count <= limit:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, limit, replace=False))


def cluster_order(similarity: np.ndarray) -> np.ndarray:
    """An order in which similar items stand together, by average linkage.

    Clusters merge from the most similar pair on; of the four ways to put two clusters in line, the one whose touching
    ends are most similar is taken.

    Args:
        similarity: (K, K), symmetric; larger is more similar. NaN counts as least similar.

    Returns:
        (K,) a permutation. Takes K² operations for each of K - 1 merges: meant for hundreds of items.
    """
    count = len(similarity)
    ends = np.nan_to_num(np.asarray(similarity, dtype=np.float64), nan=-1e9, neginf=-1e9, posinf=1e9)
    between = ends.copy()
    np.fill_diagonal(between, -np.inf)
    lines = [[item] for item in range(count)]
    for _ in range(count - 1):
        first, second = sorted(divmod(int(between.argmax()), count))
        left, right = lines[first], lines[second]
        ways = [(a, b) for a in (left, left[::-1]) for b in (right, right[::-1])]
        a, b = max(ways, key=lambda way: ends[way[0][-1], way[1][0]])
        row = (len(left) * between[first] + len(right) * between[second]) / (len(left) + len(right))
        row[first] = -np.inf
        between[first], between[:, first] = row, row
        between[second], between[:, second] = -np.inf, -np.inf
        lines[first], lines[second] = a + b, []
    return np.array(lines[0] if count else [], dtype=np.int64)
