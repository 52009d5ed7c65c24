# SPDX-License-Identifier: MIT
"""The rule of MegaFace: against the full matrix of cosines, with exact ties, in bounded memory."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hypersphere.evaluation import identify_among_distractors, roc_curve
from hypersphere.evaluation.embeddings import directions

DIM, SMALL = 4, 60_000


def coarse(num: int, seed: int) -> np.ndarray:
    """Rows that repeat, so that many cosines tie."""
    return np.random.default_rng(seed).integers(-1, 2, (num, DIM)).astype(np.float32)


def matrix(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return (directions(torch.tensor(first)) @ directions(torch.tensor(second)).T).numpy()


@given(
    st.integers(2, 25),
    st.integers(1, 400),
    st.integers(0, 2**31),
    st.integers(SMALL, 3 * SMALL),
    st.booleans(),
    st.lists(st.sampled_from([0.0, 1e-3, 0.01, 0.05, 0.1]), max_size=3),
)
def test_a_pass_in_blocks_is_the_full_matrix(
    num: int, num_distractors: int, seed: int, memory: int, ties: bool, fars: list[float]
) -> None:
    generator = np.random.default_rng(seed)
    people = generator.integers(0, max(1, num // 3), num)
    people[1] = people[0]
    probes, distractors = coarse(num, seed), coarse(num_distractors, seed + 1)
    if not ties:
        probes, distractors = probes + generator.random((num, DIM)), distractors + generator.random(distractors.shape)
    found = identify_among_distractors(probes, people, distractors, max_rank=5, fars=fars, memory=memory)
    among, between = matrix(probes, distractors), matrix(probes, probes)
    expected = [(a, b) for a in range(num) for b in range(num) if a != b and people[a] == people[b]]
    assert [tuple(pair) for pair in found.pairs.tolist()] == expected
    for rank in range(1, 6):
        hits = [int((among[a] >= between[a, b]).sum()) < rank for a, b in expected]
        assert found.hits(rank).tolist() == hits
        assert found.rate(rank) == np.mean(hits)
    genuine = np.array([between[a, b] for a, b in expected if a < b])
    curve = roc_curve(np.concatenate([genuine, among.ravel()]), np.arange(len(genuine) + among.size) < len(genuine))
    for point, far in zip(found.points, fars, strict=True):
        whole = curve.tar_at_far(far)
        assert (point.tar, point.far, point.false_accepts) == (whole.tar, whole.far, whole.false_accepts)
        assert (point.num_impostors, point.resolved) == (among.size, whole.resolved)


def test_by_hand() -> None:
    # three images of one person and a distractor between them
    angles = np.deg2rad([0.0, 40.0, 90.0])
    probes = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    distractor = np.array([[np.cos(np.deg2rad(60.0)), np.sin(np.deg2rad(60.0))]])
    found = identify_among_distractors(probes, [1, 1, 1], distractor)
    # 0 finds 40 (nearer than 60) and not 90; 40 finds neither 0 (40 away, 60 is 20 away) nor 90; 90 finds neither
    assert found.hits(1).tolist() == [True, False, False, False, False, False]
    assert found.rate(1) == pytest.approx(1 / 6)
    assert found.rate(2) == 1.0


def test_a_mate_that_is_a_distractor_too_ties_and_a_tie_counts_against() -> None:
    generator = np.random.default_rng(0)
    probes = generator.standard_normal((2, 512)).astype(np.float32)
    others = generator.standard_normal((1000, 512)).astype(np.float32)
    copied = np.concatenate([others[:700], probes[1:], others[700:]])
    alone = identify_among_distractors(probes, [1, 1], copied, max_rank=1000)
    without = identify_among_distractors(probes, [1, 1], others, max_rank=1000)
    # the copy ties exactly, wherever its block begins, and moves the mate back by one place
    rank = 1 + int((matrix(probes[:1], others) >= matrix(probes[:1], probes[1:])).sum())
    assert (without.hits(rank)[0], alone.hits(rank)[0], alone.hits(rank + 1)[0]) == (True, False, True)


def test_distractors_come_as_an_array_a_tensor_a_file_or_blocks(tmp_path: Path) -> None:
    probes, distractors = coarse(9, 0), np.random.default_rng(1).standard_normal((200, DIM)).astype(np.float32)
    people = np.arange(9) // 3
    np.save(tmp_path / "distractors.npy", distractors)

    def blocks() -> Iterator[np.ndarray]:
        for start in range(0, 200, 33):
            yield distractors[start : start + 33]

    given: dict[str, object] = {"max_rank": 3, "fars": (0.01, 0.1)}
    expected = identify_among_distractors(probes, people, distractors, **given)  # type: ignore[arg-type]
    mapped = np.load(tmp_path / "distractors.npy", mmap_mode="r")
    for source in (torch.from_numpy(distractors), mapped, blocks()):
        found = identify_among_distractors(probes, people, source, num_distractors=200, **given)  # type: ignore[arg-type]
        assert found.points == expected.points
        np.testing.assert_array_equal(found.largest, expected.largest)
    assert identify_among_distractors(probes, people, blocks(), max_rank=3).rate(3) == expected.rate(3)


def test_fewer_distractors_than_ranks() -> None:
    probes, few = coarse(6, 0) + 0.1, coarse(2, 1)
    found = identify_among_distractors(probes, [0, 0, 0, 1, 1, 1], few, max_rank=10)
    assert found.largest.shape == (6, 2)
    assert found.rate(3) == found.rate(10) == 1.0


def test_what_is_no_experiment_is_refused() -> None:
    probes, distractors = coarse(4, 0) + 0.5, coarse(50, 1)
    with pytest.raises(ValueError, match=r"expected two probes or more of some person, got one of each"):
        identify_among_distractors(probes, [1, 2, 3, 4], distractors)
    with pytest.raises(ValueError, match=r"with fars and distractors in blocks, num_distractors must be given"):
        identify_among_distractors(probes, [1, 1, 2, 2], [distractors], fars=(0.1,))
    with pytest.raises(ValueError, match=r"expected 60 distractors, got 50"):
        identify_among_distractors(probes, [1, 1, 2, 2], [distractors], num_distractors=60)
    with pytest.raises(ValueError, match=r"expected one distractor or more, got 0"):
        identify_among_distractors(probes, [1, 1, 2, 2], [])
    with pytest.raises(ValueError, match=r"expected distractors of 4 features, got shape \(2, 3\)"):
        identify_among_distractors(probes, [1, 1, 2, 2], np.zeros((2, 3)))
    with pytest.raises(ValueError, match=r"target must lie in \[0, 1\], got 2"):
        identify_among_distractors(probes, [1, 1, 2, 2], distractors, fars=(2.0,))
    broken = coarse(50, 1)
    broken[44, 0] = np.inf
    with pytest.raises(ValueError, match=r"identify_among_distractors: distractors must be finite, .* row 44\."):
        identify_among_distractors(probes, [1, 1, 2, 2], [broken[:30], broken[30:]])
    with pytest.raises(ValueError, match=r"rank must be at most 1, got 2\. Ask for more ranks"):
        identify_among_distractors(probes, [1, 1, 2, 2], distractors).rate(2)
    wide = np.zeros((10_000, DIM), dtype=np.float32)
    sentence = r"the 4001 highest impostor scores, so memory must be 384224 bytes \(1 MiB\) or more, got 200000\. Give"
    with pytest.raises(ValueError, match=sentence):
        identify_among_distractors(probes, [1, 1, 2, 2], wide, fars=(0.1,), memory=200_000)
    # 40 * 39 pairs of one, 2 of the other
    sentence = (
        r"there are 1562 ordered pairs of one person, up to 40 probes of each, so memory must be 99968 bytes "
        r"\(1 MiB\) or more, got 99967\. Give more, or fewer probes of a person\.$"
    )
    with pytest.raises(ValueError, match=sentence):
        identify_among_distractors(coarse(42, 0), [1] * 40 + [2] * 2, distractors, memory=99_967)
    assert len(identify_among_distractors(coarse(42, 0), [1] * 40 + [2] * 2, distractors, memory=99_968).pairs) == 1562


# blocks of 13 of the 20 probes of a person, or all at once
@pytest.mark.parametrize("memory", [80_000, 2**20])
def test_pairs_in_blocks_are_all_pairs(memory: int) -> None:
    people = np.random.default_rng(3).integers(0, 3, 60)
    probes = np.random.default_rng(4).standard_normal((60, DIM))
    found = identify_among_distractors(probes, people, coarse(9, 0), memory=memory)
    expected = [(a, b) for a in range(60) for b in range(60) if a != b and people[a] == people[b]]
    assert [tuple(pair) for pair in found.pairs.tolist()] == expected
    np.testing.assert_array_equal(found.scores, matrix(probes, probes)[tuple(found.pairs.T)])


@pytest.mark.skipif(sys.platform != "linux", reason="memory is told in other units elsewhere")
def test_a_hundred_thousand_distractors_take_little_more_than_the_memory_they_may() -> None:
    script = """
import resource
import numpy as np
from hypersphere.evaluation import identify_among_distractors

generator = np.random.default_rng(0)
distractors = generator.standard_normal((100_000, 512), dtype=np.float32)
probes = generator.standard_normal((100, 512), dtype=np.float32)
identify_among_distractors(probes[:2], [0, 0], distractors[:10])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
found = identify_among_distractors(probes, np.arange(100) // 2, distractors, max_rank=10, fars=(1e-6, 1e-3))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, found.points[0].false_accepts)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    kilobytes, accepted = map(int, done.stdout.split())
    assert kilobytes < 300 * 1024
    assert accepted == 10


@pytest.mark.skipif(sys.platform != "linux", reason="memory is told in other units elsewhere")
def test_many_images_of_one_person_take_the_memory_they_may() -> None:
    script = """
import resource
import numpy as np
from hypersphere.evaluation import identify_among_distractors

generator = np.random.default_rng(0)
probes, distractors = generator.standard_normal((2000, 8)), generator.standard_normal((100, 8))
identify_among_distractors(probes, np.arange(2000) // 2, distractors, fars=(0.01,), memory=2**20)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
found = identify_among_distractors(probes, np.arange(2000) // 1000, distractors, fars=(0.01,), memory=128 * 2**20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, len(found.pairs))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    kilobytes, count = map(int, done.stdout.split())
    assert count == 1_998_000
    assert kilobytes < 128 * 1024
