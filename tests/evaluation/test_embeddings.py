# SPDX-License-Identifier: MIT
"""What evaluations accept as embeddings, and directions whose inner products do not depend on how they are summed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from hypersphere.evaluation.embeddings import (
    as_embeddings,
    direction_blocks,
    directions,
    fuse_flips,
    rows_within,
    whole_numbers,
)


def rows(num: int, dim: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((num, dim)).astype(np.float32)


def test_views_are_joined_side_by_side_or_added() -> None:
    plain, flipped = rows(3, 2), rows(3, 2, 1)
    np.testing.assert_array_equal(fuse_flips(plain, flipped, "concat"), np.concatenate([plain, flipped], 1))
    np.testing.assert_array_equal(fuse_flips(plain, flipped, "sum"), plain + flipped)
    both = torch.from_numpy(plain), torch.from_numpy(flipped)
    assert fuse_flips(*both, "concat").shape == (3, 4)
    torch.testing.assert_close(fuse_flips(*both), both[0] + both[1], rtol=0, atol=0)


def test_views_that_do_not_belong_together_are_refused() -> None:
    with pytest.raises(
        ValueError, match=r"fuse_flips: expected plain and flipped of one shape, got \(3, 2\) and \(2, 2\)"
    ):
        fuse_flips(rows(3, 2), rows(2, 2))
    with pytest.raises(TypeError, match=r"fuse_flips: expected two arrays or two tensors, got ndarray and Tensor"):
        fuse_flips(rows(3, 2), torch.zeros(3, 2))
    with pytest.raises(ValueError, match=r"unknown fusion 'mean': choose concat, sum"):
        fuse_flips(rows(3, 2), rows(3, 2), "mean")


def test_directions_are_unit_rows_to_a_part_in_ten_million() -> None:
    given = torch.from_numpy(rows(50, 128)).double() * torch.logspace(-30, 30, 50)[:, None]
    found = directions(given)
    exact = torch.nn.functional.normalize(given, dim=1, eps=1e-300)
    assert (found - exact).abs().max() <= 2.0**-27
    assert (found @ found.T - exact @ exact.T).abs().max() < 1e-7
    assert torch.equal(directions(torch.zeros(1, 3)), torch.zeros(1, 3, dtype=torch.float64))


def test_a_cosine_is_the_same_number_however_it_is_summed() -> None:
    first, second = directions(torch.from_numpy(rows(40, 512))), directions(torch.from_numpy(rows(40, 512, 1)))
    whole = first @ second.T
    order = torch.randperm(512, generator=torch.Generator().manual_seed(0))
    one_by_one = torch.stack([(first * row).flip(1).sum(dim=1) for row in second], dim=1)
    assert torch.equal(whole, first[:, order] @ second[:, order].T)
    assert torch.equal(whole, one_by_one)
    assert torch.equal(whole[3:4], first[3:4] @ second.T)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_blocks_are_the_whole_whatever_their_source(dtype: type, tmp_path: Path) -> None:
    given = rows(11, 3).astype(dtype)
    np.save(tmp_path / "rows.npy", given)
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r")
    whole = directions(torch.from_numpy(given))
    sources = [given, mapped, torch.from_numpy(given), given.astype(given.dtype.newbyteorder()), given[::-1][::-1]]
    for source in [*sources, [given[:4], mapped[4:5], torch.from_numpy(given[5:])]]:
        parts = list(direction_blocks("here", "rows", source, 2, dim=3, device=torch.device("cpu")))
        assert [start for start, _ in parts] == np.cumsum([0, *(len(part) for _, part in parts[:-1])]).tolist()
        assert max(len(part) for _, part in parts) == 2
        assert torch.equal(torch.cat([part for _, part in parts]), whole)


def test_what_has_no_direction_is_named_by_its_row() -> None:
    broken = rows(7, 3)
    broken[4, 1], broken[6, 0] = np.nan, np.inf
    sentence = r"here: gallery must be finite, got NaN or infinity in 2 of 7 rows, the first of them row 4\."
    with pytest.raises(ValueError, match=sentence):
        as_embeddings("here", "gallery", broken)
    with pytest.raises(ValueError, match=r"in 1 of 1 rows, the first of them row 4\."):
        list(direction_blocks("here", "gallery", [broken[:3], broken[3:]], 1, dim=3, device=torch.device("cpu")))


def test_other_things_than_embeddings_are_refused() -> None:
    with pytest.raises(TypeError, match=r"here: expected rows to be a numpy array or a torch.Tensor, got list"):
        as_embeddings("here", "rows", [[1.0]])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"here: expected rows of a floating-point dtype, got int64"):
        as_embeddings("here", "rows", np.ones((2, 2), dtype=np.int64))
    with pytest.raises(ValueError, match=r"here: expected rows \(N, D\), got shape \(3,\)"):
        as_embeddings("here", "rows", torch.zeros(3))
    with pytest.raises(ValueError, match=r"here: expected rows \(N, D\) with one row or more, got shape \(0, 3\)"):
        as_embeddings("here", "rows", torch.zeros(0, 3))
    with pytest.raises(ValueError, match=r"here: expected rows of 4 features, got shape \(2, 3\)"):
        list(direction_blocks("here", "rows", rows(2, 3), 1, dim=4, device=torch.device("cpu")))


def test_embeddings_come_without_their_graph() -> None:
    assert not as_embeddings("here", "rows", torch.ones(2, 2, requires_grad=True)).requires_grad


def test_names_are_whole_numbers() -> None:
    assert whole_numbers("here", "people", torch.tensor([3, 1], dtype=torch.int32)).dtype == np.int64
    with pytest.raises(TypeError, match=r"here: expected people of whole numbers, got float64"):
        whole_numbers("here", "people", [0.5])
    with pytest.raises(ValueError, match=r"here: expected people \(3,\), got shape \(2,\)"):
        whole_numbers("here", "people", [1, 2], 3)
    with pytest.raises(ValueError, match=r"here: expected people \(N,\), got shape \(1, 2\)"):
        whole_numbers("here", "people", [[1, 2]])


@pytest.mark.parametrize("dim", [2, 512, 4096])
def test_memory_is_enough_or_the_sentence_says_how_much_is(dim: int) -> None:
    with pytest.raises(
        ValueError, match=r"here: memory must be \d+ bytes \(\d+ MiB\) or more for \d+ features, got 1000\."
    ) as error:
        rows_within("here", 1000, dim=dim, per_query=24)
    least = int(str(error.value).split("must be ")[1].split(" bytes")[0])
    assert min(rows_within("here", least, dim=dim, per_query=24)) >= 1
    with pytest.raises(ValueError, match=r"MiB\) or more"):
        rows_within("here", least - 1, dim=dim, per_query=24)
    num_queries, num_rows = rows_within("here", 2**28, dim=dim, per_query=24)
    assert 48 * dim * (num_queries + num_rows) + 32 * num_queries * num_rows + 24 * num_queries <= 2**28
