# SPDX-License-Identifier: MIT
"""Parts of a set by class: a held-out share, and fewer samples of chosen classes."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from hypersphere.checks import check_range, nearest
from hypersphere.data.order import permutation
from hypersphere.data.sources import some

__all__ = ["hold_out", "keep_fractions", "remaining_classes"]


def hold_out(labels: np.ndarray, share: float | int, *, role: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Divide a set in two, every class alike.

    Args:
        labels: class of each sample, (N,) integers >= 0.
        share: what is held out: a fraction in (0, 1), or a number of samples.
        role: what for; "validation" and "test" give different samples for one seed.
        seed: picks the samples within each class.

    Returns:
        Sample numbers of the rest and of what is held out, each ascending. A class gives its proportional number,
        rounded so that the sum is right, and always keeps one sample: of classes with few samples the sum held out
        can be smaller than asked for, even zero.

    Example:
        >>> rest, held = hold_out(np.array([0, 0, 0, 0, 1, 1, 1, 1]), 0.25, role="validation", seed=0)
        >>> rest.tolist(), held.tolist()
        ([0, 2, 3, 4, 5, 6], [1, 7])
    """
    counts = np.bincount(labels)
    total = share if isinstance(share, int) else round(share * len(labels))
    exact = counts * (total / max(len(labels), 1))
    quotas = np.floor(exact).astype(np.int64)
    # largest remainders first, lower class number first among equals
    by_remainder = np.argsort(quotas - exact, kind="stable")
    spare = by_remainder[quotas[by_remainder] < counts[by_remainder] - 1]
    quotas[spare[: total - quotas.sum()]] += 1
    quotas = np.minimum(quotas, np.maximum(counts - 1, 0))
    held = _first_of_each_class(labels, quotas, permutation(len(labels), role, seed))
    return np.setdiff1d(np.arange(len(labels)), held), held


def keep_fractions(
    labels: np.ndarray, keep: Mapping[str, float], class_names: Sequence[str], *, seed: int
) -> np.ndarray:
    """Sample numbers that remain, ascending, when only a fraction of some classes is kept.

    Args:
        labels: class of each sample, (N,).
        keep: class name, or class number where no class has that name, to a fraction in [0, 1]; classes that are not
            named stay whole. Of a fraction above 0 at least one sample remains. A smaller fraction keeps a part of what
            a greater one keeps.
        class_names: the name of each class.
        seed: picks the samples.

    Raises:
        ValueError: if a class is unknown or named twice, or a fraction lies outside [0, 1].

    Example:
        >>> keep_fractions(np.array([0, 0, 1, 1]), {"dog": 0.5}, ["cat", "dog"], seed=0).tolist()
        [0, 1, 3]
    """
    quotas = np.bincount(labels, minlength=len(class_names))
    numbers = {name: number for number, name in enumerate(class_names)}
    # a name wins over a number: the classes of a set of digits are named "0", "1", ...
    by_key = {str(number): number for number in range(len(class_names))} | numbers
    named: dict[int, object] = {}
    for key, fraction in keep.items():
        who = f"keep[{key!r}]"
        number = by_key.get(str(key))
        if number is None:
            guess = nearest(str(key), class_names)
            hint = f" (did you mean {guess!r}?)" if guess else ""
            raise ValueError(f"keep: unknown class {key!r} among {len(class_names)}: {some(class_names)}{hint}.")
        check_range(who, "fraction", fraction, low=0.0, high=1.0)
        if number in named:
            raise ValueError(f"{who}: class {class_names[number]!r} is named twice, as {named[number]!r} too.")
        named[number] = key
        quotas[number] = max(round(fraction * quotas[number]), min(1, quotas[number]) if fraction else 0)
    return _first_of_each_class(labels, quotas, permutation(len(labels), "keep", seed))


def remaining_classes(
    labels: np.ndarray, class_names: Sequence[str], *, min_images: int = 0, without: Collection[str] = ()
) -> np.ndarray:
    """Numbers of the classes that remain, ascending.

    Args:
        labels: class of each sample, (N,).
        class_names: the name of each class.
        min_images: classes with fewer samples are left out.
        without: names of classes that are left out.

    Example:
        >>> remaining_classes(np.array([0, 0, 1, 2, 2]), ["ann", "bob", "cid"], min_images=2, without=["cid"]).tolist()
        [0]
    """
    enough = np.bincount(labels, minlength=len(class_names)) >= min_images
    return np.flatnonzero(enough & ~np.isin(np.array(class_names, dtype=object), list(without)))


def _first_of_each_class(labels: np.ndarray, quotas: np.ndarray, order: np.ndarray) -> np.ndarray:
    """The first `quotas[c]` samples of class c in `order`, ascending."""
    grouped = order[np.argsort(labels[order], kind="stable")]
    starts = np.cumsum(np.bincount(labels, minlength=len(quotas))) - np.bincount(labels, minlength=len(quotas))
    place = np.arange(len(labels)) - starts[labels[grouped]]
    return np.sort(grouped[place < quotas[labels[grouped]]])
