# SPDX-License-Identifier: MIT
"""Which sample comes when: every order is a function of its seeds alone, on every machine and version."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

import numpy as np

from hypersphere.checks import check_count, check_range

__all__ = ["ROLES", "identity_batches", "index_batches", "num_batches", "permutation", "shuffle_through"]

Item = TypeVar("Item")

# what an order is for; the same seed gives each role an order of its own
ROLES = ("shuffle", "test", "validation", "keep", "buffer", "identity", "images")


def permutation(num: int, role: str, *seeds: int) -> np.ndarray:
    """The numbers 0 .. num - 1 in random order, int64.

    `RandomState` is the one generator whose streams NumPy promises never to change.

    Raises:
        ValueError: if a seed is negative or the role is not one of `ROLES`.

    Example:
        >>> permutation(5, "shuffle", 0, 1).tolist()
        [3, 0, 2, 4, 1]
    """
    return _random(role, *seeds).permutation(num).astype(np.int64, copy=False)


def shuffle_through(items: Iterable[Item], buffer: int, *seeds: int) -> Iterator[Item]:
    """The items, each once, in an order that needs only `buffer` of them at a time.

    The buffer is filled from the front; then one of it, each as likely as the others, makes room for the next item. So
    an item can come at any time after its place, but no more than `buffer` places before it.

    Raises:
        ValueError: if a seed is negative or `buffer` is below 1.

    Example:
        >>> list(shuffle_through("abcdef", 3, 0))
        ['c', 'd', 'b', 'e', 'a', 'f']
    """
    check_count("shuffle_through", "buffer", buffer, low=1)
    random = _random("buffer", *seeds)
    held: list[Item] = []
    for item in items:
        if len(held) < buffer:
            held.append(item)
            continue
        place = random.randint(buffer)
        yield held[place]
        held[place] = item
    yield from (held[place] for place in random.permutation(len(held)))


def _random(role: str, *seeds: int) -> np.random.RandomState:
    for seed in seeds:
        check_count("permutation", "seed", seed, low=0)
    return np.random.RandomState(np.random.MT19937(np.random.SeedSequence([ROLES.index(role), *seeds])))


def num_batches(num: int, batch_size: int, *, drop_last: bool = False) -> int:
    """How many batches `num` samples make; the last one may be short unless `drop_last` leaves it out.

    Example:
        >>> num_batches(10, 4), num_batches(10, 4, drop_last=True)
        (3, 2)
    """
    check_count("batches", "batch_size", batch_size, low=1)
    return num // batch_size if drop_last else -(-num // batch_size)


def index_batches(
    num: int,
    batch_size: int,
    *,
    seed: int = 0,
    epoch: int = 0,
    shuffle: bool = False,
    drop_last: bool = False,
    start: int = 0,
    rank: int = 0,
    world_size: int = 1,
) -> Iterator[np.ndarray]:
    """The sample numbers of each batch of one epoch from batch `start` on, by the arguments of `ImageSet.batches`.

    Example:
        >>> [batch.tolist() for batch in index_batches(5, 2, start=1)]
        [[2, 3], [4]]
        >>> [batch.tolist() for batch in index_batches(5, 3, rank=1, world_size=2)]
        [[2], [4]]
    """
    total = num_batches(num, batch_size, drop_last=drop_last)
    _check_share(start, rank, world_size)
    order = permutation(num, "shuffle", seed, epoch) if shuffle else np.arange(num, dtype=np.int64)
    batches = (order[number * batch_size : (number + 1) * batch_size] for number in range(start, total))
    return (np.array_split(batch, world_size)[rank] for batch in batches)


def identity_batches(
    labels: np.ndarray,
    batch_size: int,
    images_per_identity: int,
    *,
    name: str = "batches",
    seed: int = 0,
    epoch: int = 0,
    drop_last: bool = False,
    start: int = 0,
    rank: int = 0,
    world_size: int = 1,
) -> Iterator[np.ndarray]:
    """The sample numbers of each batch of one epoch: P identities, all different, with K images of each.

    Identities come in rounds, which run on through the epochs: each round shows every identity once, in an order of its
    own, and its last batch is filled with the first ones again. An identity of fewer than K images shows each before
    one comes again; of more, K are drawn. An epoch has as many batches as with `index_batches`. A batch is a function
    of seed, epoch and its number alone.

    Args:
        labels: identity of each sample, (N,) integers >= 0.
        batch_size: P K.
        images_per_identity: K.
        name: of the set, for messages.
        seed: as in `ImageSet.batches`, and so is all that follows.
        epoch: likewise.
        drop_last: likewise.
        start: likewise.
        rank: likewise; shares are parts of the batch in its order, of whole identities where the processes divide P.
        world_size: likewise.

    Raises:
        ValueError: at the call, if an argument is out of range, K does not divide the batch, or there are fewer than P
            identities.

    Example:
        >>> labels = np.array([0, 0, 0, 1, 2, 2])
        >>> [labels[batch].tolist() for batch in identity_batches(labels, 4, 2)]
        [[2, 2, 1, 1], [0, 0, 2, 2]]
    """
    steps = num_batches(len(labels), batch_size, drop_last=drop_last)
    check_count(name, "images_per_identity", images_per_identity, low=1)
    check_count(name, "epoch", epoch, low=0)
    _check_share(start, rank, world_size)
    order = np.argsort(labels, kind="stable")
    _, starts, counts = np.unique(labels[order], return_index=True, return_counts=True)
    each, rest = divmod(batch_size, images_per_identity)
    if rest:
        raise ValueError(
            f"{name}: a batch of {batch_size} images cannot hold {images_per_identity} of each of its identities; make "
            "training.batch_size a multiple of data.images_per_identity."
        )
    if each > len(counts):
        raise ValueError(
            f"{name}: a batch of {batch_size} images, {images_per_identity} of each identity, needs {each} identities, "
            f"but there are {len(counts)}; lower training.batch_size or raise data.images_per_identity."
        )

    def batch(number: int) -> np.ndarray:
        step = epoch * steps + number
        turn, place = divmod(step, -(-len(counts) // each))
        queue = permutation(len(counts), "identity", seed, turn)
        chosen = queue[place * each : (place + 1) * each]
        chosen = np.concatenate([chosen, queue[: each - len(chosen)]])
        random = _random("images", seed, step)
        found = []
        for identity in chosen.tolist():
            num = int(counts[identity])
            drawn = [random.permutation(num) for _ in range(-(-images_per_identity // num))]
            found.append(order[starts[identity] + np.concatenate(drawn)[:images_per_identity]])
        return np.concatenate(found)

    return (np.array_split(batch(number), world_size)[rank] for number in range(start, steps))


def _check_share(start: int, rank: int, world_size: int) -> None:
    who = "batches"
    check_count(who, "world_size", world_size, low=1)
    check_count(who, "start", start, low=0)
    check_count(who, "rank", rank, low=0)
    check_range(who, "rank", rank, high=world_size - 1)
