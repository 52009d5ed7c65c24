# SPDX-License-Identifier: MIT
"""Search: against a full sort, with exact ties, in blocks of every size, and by faiss where it is installed."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hypersphere.evaluation import search
from hypersphere.evaluation.embeddings import directions
from hypersphere.evaluation.search import BACKENDS, neighbour_blocks

DIM = 5
# the least that five features need is a little more than this
SMALL = 20_000

faiss = pytest.mark.skipif(importlib.util.find_spec("faiss") is None, reason="faiss is not installed")


def rows(num: int, seed: int, *, coarse: bool = False) -> np.ndarray:
    generator = np.random.default_rng(seed)
    # coarse rows repeat, so that many cosines tie
    return generator.integers(-1, 2, (num, DIM)).astype(np.float32) if coarse else generator.standard_normal((num, DIM))


def by_sorting(gallery: np.ndarray, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    cosines = (directions(torch.tensor(queries)) @ directions(torch.tensor(gallery)).T).numpy()
    # lexsort: falling cosine, then rising row
    order = np.stack([np.lexsort((np.arange(len(gallery)), -row)) for row in cosines])[:, :k]
    return np.take_along_axis(cosines, order, 1), order


@given(st.integers(1, 700), st.integers(0, 2**31), st.booleans(), st.integers(SMALL, 4 * SMALL), st.data())
def test_it_is_a_sort_of_all_cosines(num: int, seed: int, coarse: bool, memory: int, data: st.DataObject) -> None:
    k = data.draw(st.integers(1, min(num, 40)))
    gallery, queries = rows(num, seed, coarse=coarse), rows(7, seed + 1, coarse=coarse)
    found = search(gallery, queries, k, memory=memory)
    cosines, order = by_sorting(gallery, queries, k)
    np.testing.assert_array_equal(found.indices, order)
    np.testing.assert_array_equal(found.cosines, cosines)


def test_cosines_are_those_of_the_rows() -> None:
    gallery, queries = rows(100, 0), 1e3 * rows(9, 1)
    found = search(gallery, queries, 100)
    exact = (queries / np.linalg.norm(queries, axis=1, keepdims=True)) @ (
        gallery / np.linalg.norm(gallery, axis=1, keepdims=True)
    ).T
    np.testing.assert_allclose(found.cosines, np.take_along_axis(exact, found.indices, 1), atol=1e-7)


def test_arrays_tensors_and_mapped_files_are_searched_alike(tmp_path: Path) -> None:
    gallery, queries = rows(50, 0).astype(np.float32), rows(4, 1).astype(np.float32)
    np.save(tmp_path / "gallery.npy", gallery)
    expected = search(gallery, queries, 6)
    for source in (torch.from_numpy(gallery), np.load(tmp_path / "gallery.npy", mmap_mode="r")):
        np.testing.assert_array_equal(search(source, torch.from_numpy(queries), 6).indices, expected.indices)


def test_a_zero_row_is_at_right_angles_to_everything() -> None:
    gallery = np.array([[-1.0, 0.0], [0.0, 0.0], [1.0, 0.0]])
    found = search(gallery, np.array([[1.0, 0.0], [0.0, 0.0]]), 3)
    assert found.indices.tolist() == [[2, 1, 0], [0, 1, 2]]
    assert found.cosines.tolist() == [[1.0, 0.0, -1.0], [0.0, 0.0, 0.0]]


@given(st.integers(2, 300), st.integers(0, 2**31), st.integers(SMALL, 4 * SMALL))
def test_among_themselves_no_row_is_its_own_neighbour(num: int, seed: int, memory: int) -> None:
    gallery = rows(num, seed, coarse=True)
    k = min(num - 1, 9)
    blocks = list(neighbour_blocks(gallery, None, k, memory=memory))
    indices = torch.cat([indices for _, _, indices in blocks]).numpy()
    cosines = torch.cat([cosines for _, cosines, _ in blocks]).numpy()
    whole = (directions(torch.tensor(gallery)) @ directions(torch.tensor(gallery)).T).numpy()
    for row in range(num):
        order = [other for other in np.lexsort((np.arange(num), -whole[row])) if other != row][:k]
        assert indices[row].tolist() == order
        assert cosines[row].tolist() == whole[row, order].tolist()


@faiss
@pytest.mark.parametrize("coarse", [False, True])
def test_faiss_finds_the_same(coarse: bool) -> None:
    gallery, queries = rows(60 if coarse else 3000, 0, coarse=coarse), rows(300, 1)
    exact, other = search(gallery, queries, 10), search(gallery, queries, 10, backend="faiss")
    np.testing.assert_array_equal(other.cosines, exact.cosines)
    np.testing.assert_array_equal(other.indices, exact.indices)
    whole = search(gallery[:12], queries, 12, backend="faiss")
    np.testing.assert_array_equal(whole.indices, search(gallery[:12], queries, 12).indices)


@faiss
def test_an_index_that_looks_at_a_part_finds_most() -> None:
    generator = np.random.default_rng(0)
    gallery = generator.standard_normal((2000, 16)).astype(np.float32)
    queries = gallery[:100] + 0.01
    exact = search(gallery, queries, 1)
    for index in ("HNSW32", "IVF4,Flat"):
        found = search(gallery, queries, 1, backend="faiss", index=index)
        assert (found.indices == exact.indices).mean() > 0.8
        same = found.indices == exact.indices
        np.testing.assert_array_equal(found.cosines[same], exact.cosines[same])


@faiss
def test_what_faiss_does_not_know_is_said_in_its_own_words() -> None:
    with pytest.raises(ValueError, match=r"search: faiss knows no index 'Plain'\. Its own words: .*Plain"):
        search(rows(5, 0), rows(1, 0), 1, backend="faiss", index="Plain")
    with pytest.raises(ValueError, match=r"search: expected queries of 5 features and k of 5 at most, got 5 and 6"):
        search(rows(5, 0), rows(1, 0), 6, backend="faiss")


def test_without_faiss_the_sentence_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(
        ImportError, match=r'search: backend="faiss" needs .* pip install "hypersphere\[search\]", or use'
    ):
        search(rows(5, 0), rows(1, 0), 1, backend="faiss")


@pytest.mark.parametrize("backend", [name for name in BACKENDS if name == "exact"])
def test_what_cannot_be_searched_is_refused(backend: str) -> None:
    with pytest.raises(ValueError, match=r"search: k must be at most 5, the rows there are to find, got 6"):
        search(rows(5, 0), rows(1, 0), 6, backend=backend)
    with pytest.raises(ValueError, match=r"search: k must be a whole number of 1 or more, got 0"):
        search(rows(5, 0), rows(1, 0), 0, backend=backend)
    with pytest.raises(ValueError, match=r"search: expected queries of 5 features, got shape \(1, 3\)"):
        search(rows(5, 0), np.zeros((1, 3)), 1, backend=backend)
    with pytest.raises(ValueError, match=r"search: memory must be \d+ bytes \(1 MiB\) or more for 5 features, got 100"):
        search(rows(5, 0), rows(1, 0), 1, memory=100)
    broken = rows(5, 0)
    broken[2] = np.nan
    with pytest.raises(ValueError, match=r"search: gallery must be finite, .* row 2\."):
        search(broken, rows(1, 0), 1, backend=backend)
    with pytest.raises(ValueError, match=r"unknown backend 'fais': choose exact, faiss \(did you mean 'faiss'\?\)"):
        search(rows(5, 0), rows(1, 0), 1, backend="fais")
