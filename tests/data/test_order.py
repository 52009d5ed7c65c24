# SPDX-License-Identifier: MIT
"""Orders that never change, and batches that any process can ask for directly."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypersphere.checks import check_count
from hypersphere.data.order import ROLES, identity_batches, index_batches, num_batches, permutation, shuffle_through


def test_orders_are_those_of_every_earlier_version() -> None:
    assert permutation(10, "shuffle", 0, 0).tolist() == [6, 1, 0, 5, 3, 8, 7, 9, 2, 4]
    assert permutation(10, "validation", 7).tolist() == [9, 7, 2, 8, 3, 1, 6, 5, 4, 0]


def test_roles_seeds_and_epochs_have_orders_of_their_own() -> None:
    orders = [permutation(100, role, seed, epoch).tolist() for role in ROLES for seed in (0, 1) for epoch in (0, 1)]
    assert all(sorted(order) == list(range(100)) for order in orders)
    assert len({tuple(order) for order in orders}) == len(orders)


@given(
    num=st.integers(0, 40),
    batch_size=st.integers(1, 12),
    start=st.integers(0, 8),
    world_size=st.integers(1, 5),
    shuffle=st.booleans(),
    drop_last=st.booleans(),
)
def test_processes_share_the_batches_of_one_process(
    num: int, batch_size: int, start: int, world_size: int, shuffle: bool, drop_last: bool
) -> None:
    order = {"seed": 3, "epoch": 4, "shuffle": shuffle, "drop_last": drop_last}
    whole = list(index_batches(num, batch_size, **order))
    assert len(whole) == num_batches(num, batch_size, drop_last=drop_last)
    seen = np.concatenate([np.empty(0, np.int64), *whole])
    assert len(set(seen.tolist())) == len(seen) == (len(whole) * batch_size if drop_last else num)
    ranks = [
        list(index_batches(num, batch_size, start=start, rank=rank, world_size=world_size, **order))
        for rank in range(world_size)
    ]
    for shares, batch in zip(zip(*ranks, strict=True), whole[start:], strict=True):
        assert np.array_equal(np.concatenate(shares), batch)
        assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_without_shuffle_the_order_is_that_of_the_set() -> None:
    assert [batch.tolist() for batch in index_batches(5, 2, seed=8, epoch=9)] == [[0, 1], [2, 3], [4]]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_size": 0}, r"batches: batch_size must be a whole number of 1 or more, got 0."),
        ({"batch_size": 2.0}, r"batches: batch_size must be a whole number of 1 or more, got 2.0."),
        ({"batch_size": 2, "start": -1}, r"batches: start must be a whole number of 0 or more, got -1."),
        ({"batch_size": 2, "world_size": 0}, r"batches: world_size must be a whole number of 1 or more, got 0."),
        ({"batch_size": 2, "rank": 2, "world_size": 2}, r"batches: rank must lie in \[-inf, 1\], got 2."),
        ({"batch_size": 2, "rank": -1}, r"batches: rank must be a whole number of 0 or more, got -1."),
        (
            {"batch_size": 2, "shuffle": True, "seed": -1},
            r"permutation: seed must be a whole number of 0 or more, got -1.",
        ),
    ],
)
def test_wrong_arguments_are_refused_at_the_call(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        index_batches(10, **settings)


def test_a_count_is_no_truth_value() -> None:
    with pytest.raises(ValueError, match=r"who: size must be a whole number of 0 or more, got True."):
        check_count("who", "size", True, low=0)


def test_a_buffer_shows_every_item_once_and_none_too_early() -> None:
    for buffer in (1, 7, 100, 1000):
        order = list(shuffle_through(range(100), buffer, 3, 1))
        assert sorted(order) == list(range(100))
        assert all(item < place + buffer for place, item in enumerate(order))
    assert list(shuffle_through(range(9), 1, 5)) == list(range(9))
    assert list(shuffle_through([], 3, 5)) == []


def test_a_buffer_as_large_as_the_set_makes_every_order_alike() -> None:
    orders = [tuple(shuffle_through("abc", 3, seed)) for seed in range(1200)]
    # five standard deviations of a binomial count around 200
    assert all(abs(orders.count(order) - 200) < 5 * 200**0.5 for order in itertools.permutations("abc"))


def test_the_order_of_a_buffer_is_that_of_every_earlier_version() -> None:
    assert list(shuffle_through(range(8), 4, 0, 1)) == [3, 1, 0, 4, 2, 6, 7, 5]
    assert list(shuffle_through(range(8), 4, 0, 2)) != [3, 1, 0, 4, 2, 6, 7, 5]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((0, 1), r"buffer must be a whole number of 1 or more, got 0\."), ((2, -1), r"seed must be .* got -1\.")],
)
def test_wrong_arguments_of_a_buffer_are_refused(arguments: tuple[int, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        list(shuffle_through("abc", *arguments))


# identities -----------------------------------------------------------------------------------------------------------

# nine identities with 1 to 9 images each, out of order
LABELS = np.random.default_rng(0).permutation(np.repeat(np.arange(9) * 3, np.arange(1, 10)))


@pytest.mark.parametrize("each", [1, 2, 4, 9])
@pytest.mark.parametrize("images", [1, 2, 5])
def test_a_batch_holds_as_many_images_of_each_identity(each: int, images: int) -> None:
    batches = list(identity_batches(LABELS, each * images, images, seed=1, drop_last=True))
    assert len(batches) == len(LABELS) // (each * images)
    for batch in batches:
        people = LABELS[batch].reshape(each, images)
        assert (people == people[:, :1]).all()
        assert len(np.unique(people[:, 0])) == each
        # no image twice before each of its identity was there
        for rows in batch.reshape(each, images):
            there = int((LABELS[rows[0]] == LABELS).sum())
            assert np.unique(rows, return_counts=True)[1].max() == -(-images // there)


def test_every_identity_is_visited_in_every_round_across_epochs() -> None:
    # 45 images, 4 identities of 5 images: two batches an epoch, three a round of nine identities
    visits = [
        set(LABELS[batch].tolist())
        for epoch in range(6)
        for batch in identity_batches(LABELS, 20, 5, seed=2, epoch=epoch, drop_last=True)
    ]
    assert len(visits) == 12
    rounds = [visits[number : number + 3] for number in range(0, 12, 3)]
    assert all(set().union(*turn) == set(LABELS.tolist()) for turn in rounds)
    assert len({tuple(map(frozenset, turn)) for turn in rounds}) == 4


def test_all_images_of_an_identity_are_drawn_alike() -> None:
    labels = np.array([0] * 4 + [1] * 4)
    drawn = np.concatenate([np.concatenate(list(identity_batches(labels, 4, 2, seed=seed))) for seed in range(400)])
    # each image comes 400 times of 3200, within five standard deviations
    assert (abs(np.bincount(drawn) - 400) < 5 * 400**0.5).all()


def test_batches_of_identities_begin_anywhere_and_differ_by_seed_and_epoch() -> None:
    def shown(**settings: int) -> list[list[int]]:
        return [batch.tolist() for batch in identity_batches(LABELS, 10, 5, **settings)]

    whole = shown(seed=3, epoch=2)
    assert shown(seed=3, epoch=2) == whole
    for start in range(6):
        assert shown(seed=3, epoch=2, start=start) == whole[start:]
    assert whole not in (shown(seed=4, epoch=2), shown(seed=3, epoch=3))


def test_the_order_of_identities_is_that_of_every_earlier_version() -> None:
    found = [batch.tolist() for batch in identity_batches(np.array([0, 0, 1, 1, 1, 2]), 4, 2, seed=0, epoch=1)]
    assert found == [[0, 1, 3, 4], [5, 5, 0, 1]]


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_shares_of_a_batch_of_identities_join_to_it(world_size: int) -> None:
    shares = [list(identity_batches(LABELS, 12, 4, rank=rank, world_size=world_size)) for rank in range(world_size)]
    for number, batch in enumerate(identity_batches(LABELS, 12, 4)):
        assert np.array_equal(np.concatenate([share[number] for share in shares]), batch)
        if world_size == 3:
            assert all(len(np.unique(LABELS[share[number]])) == 1 for share in shares)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"batch_size": 30, "images_per_identity": 4},
            r"faces: a batch of 30 images cannot hold 4 of each of its ident",
        ),
        (
            {"batch_size": 40, "images_per_identity": 4},
            r"faces: a batch of 40 images, 4 of each identity, needs 10 identities, but there are 9; lower training",
        ),
        (
            {"batch_size": 8, "images_per_identity": 0},
            r"images_per_identity must be a whole number of 1 or more, got 0",
        ),
        ({"batch_size": 8, "images_per_identity": 4, "epoch": -1}, r"epoch must be a whole number of 0 or more"),
        ({"batch_size": 8, "images_per_identity": 4, "rank": 1}, r"rank must lie in \[-inf, 0\], got 1"),
    ],
)
def test_wrong_batches_of_identities_are_refused_at_the_call(settings: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        identity_batches(LABELS, name="faces", **settings)
