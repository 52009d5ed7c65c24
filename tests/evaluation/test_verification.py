# SPDX-License-Identifier: MIT
"""Verification over folds: against loops written from the protocols, one fold alone, and onto disk whole."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from hypersphere.evaluation import Pairs, Verification, roc_curve, verify, verify_scores, write_verification

PEOPLE, VIEWS, DIM, FOLDS = 30, 4, 8, 5


def faces(noise: float = 1.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray, Pairs]:
    """Embeddings with an offset, of images and mirror images, and pairs of which half are of one person."""
    generator = np.random.default_rng(seed)
    centres = generator.standard_normal((PEOPLE, 1, DIM))
    plain, flipped = (
        (centres + noise * generator.standard_normal((PEOPLE, VIEWS, DIM)) + 2.0).reshape(-1, DIM) for _ in range(2)
    )
    same = np.tile([True, False], 40)
    left = generator.integers(0, PEOPLE * VIEWS, 80)
    within = (left // VIEWS) * VIEWS + (left + generator.integers(1, VIEWS, 80)) % VIEWS
    other = (left + VIEWS * generator.integers(1, PEOPLE, 80)) % (PEOPLE * VIEWS)
    fold = 1 + np.arange(80) % FOLDS
    return plain, flipped, Pairs(left, np.where(same, within, other), same, fold)


def made(left: list[int], right: list[int], same: list[bool], fold: list[int]) -> Pairs:
    return Pairs(np.array(left), np.array(right), np.array(same), np.array(fold))


def official(plain: np.ndarray, flipped: np.ndarray, pairs: Pairs) -> tuple[list[float], list[float]]:
    """The released rule as loops: thresholds and accuracies of the folds."""
    features = np.concatenate([plain, flipped], axis=1)
    left, right, grid = features[pairs.left], features[pairs.right], np.arange(-10_000, 10_001) / 10_000
    thresholds, accuracies = [], []
    for fold in range(1, FOLDS + 1):
        test = pairs.fold == fold
        mean = np.concatenate([left[~test], right[~test]]).mean(axis=0)
        score = np.array(
            [
                np.dot(a - mean, b - mean) / np.linalg.norm(a - mean) / np.linalg.norm(b - mean)
                for a, b in zip(left, right, strict=True)
            ]
        )

        reached = (score[~test & pairs.same] > grid[:, None]).sum(axis=1)
        reached += (score[~test & ~pairs.same] < grid[:, None]).sum(axis=1)
        thresholds.append(float(grid[reached == reached.max()].mean()))
        right_ones = (score[test & pairs.same] > thresholds[-1]).sum() + (
            score[test & ~pairs.same] < thresholds[-1]
        ).sum()
        accuracies.append(float(right_ones / test.sum()))
    return thresholds, accuracies


def common(plain: np.ndarray, flipped: np.ndarray, pairs: Pairs) -> tuple[list[float], list[float]]:
    """The common rule as loops."""
    features = plain + flipped
    features = features / np.linalg.norm(features, axis=1, keepdims=True)
    distance = ((features[pairs.left] - features[pairs.right]) ** 2).sum(axis=1)
    thresholds, accuracies = [], []
    for fold in range(1, FOLDS + 1):
        test = pairs.fold == fold
        reached = [((distance[~test] < threshold) == pairs.same[~test]).mean() for threshold in np.arange(0, 4, 0.01)]
        thresholds.append(float(np.arange(0, 4, 0.01)[int(np.argmax(reached))]))
        accuracies.append(float(((distance[test] < thresholds[-1]) == pairs.same[test]).mean()))
    return thresholds, accuracies


@pytest.mark.parametrize("seed", range(3))
def test_the_official_rule_is_that_of_the_released_code(seed: int) -> None:
    plain, flipped, pairs = faces(seed=seed)
    found = verify(plain, pairs, flipped=flipped)
    thresholds, accuracies = official(plain, flipped, pairs)
    np.testing.assert_allclose(found.thresholds, thresholds, atol=1e-9)
    np.testing.assert_allclose(found.accuracies, accuracies, atol=1e-15)
    assert found.accuracy == pytest.approx(np.mean(accuracies))
    assert found.spread == pytest.approx(np.std(accuracies, ddof=1) / np.sqrt(FOLDS))
    assert 0.6 < found.accuracy < 1.0


@pytest.mark.parametrize("seed", range(3))
def test_the_common_rule_is_that_of_the_common_code(seed: int) -> None:
    plain, flipped, pairs = faces(seed=seed)
    found = verify(torch.from_numpy(plain), pairs, flipped=torch.from_numpy(flipped), protocol="lfw-common")
    thresholds, accuracies = common(plain, flipped, pairs)
    np.testing.assert_allclose(-found.thresholds, thresholds, atol=1e-12)
    np.testing.assert_allclose(found.accuracies, accuracies, atol=1e-15)
    assert found.spread == pytest.approx(np.std(accuracies))


def test_the_two_rules_differ_where_the_mean_matters() -> None:
    plain, flipped, pairs = faces()
    joined = verify(np.concatenate([plain, flipped], axis=1), pairs)
    np.testing.assert_array_equal(joined.scores, verify(plain, pairs, flipped=flipped).scores)
    assert not np.allclose(joined.scores, 1 + verify(plain, pairs, flipped=flipped, protocol="lfw-common").scores / 2)


@pytest.mark.parametrize("protocol", ["lfw-official", "lfw-common"])
def test_the_fold_that_is_tested_decides_nothing(protocol: str) -> None:
    plain, _, pairs = faces()
    before = verify(plain, pairs, protocol=protocol, only_fold=2)
    turned = Pairs(pairs.left, pairs.right, np.where(pairs.fold == 2, ~pairs.same, pairs.same), pairs.fold)
    after = verify(plain, turned, protocol=protocol, only_fold=2)
    np.testing.assert_array_equal(before.thresholds, after.thresholds)
    assert after.accuracy == pytest.approx(1 - before.accuracy)


@pytest.mark.parametrize("protocol", ["lfw-official", "lfw-common"])
def test_one_fold_alone_is_that_fold_of_all(protocol: str) -> None:
    plain, _, pairs = faces()
    whole, part = verify(plain, pairs, protocol=protocol), verify(plain, pairs, protocol=protocol, only_fold=3)
    assert part.folds == (3,)
    assert part.spread is None
    assert part.accuracy == whole.accuracies[2]
    assert part.thresholds[0] == whole.thresholds[2]
    np.testing.assert_array_equal(part.indices, np.flatnonzero(pairs.fold == 3))
    np.testing.assert_array_equal(part.scores, whole.scores[pairs.fold == 3])
    np.testing.assert_array_equal(part.correct, whole.correct[pairs.fold == 3])
    assert part.correct.mean() == pytest.approx(part.accuracy)


@pytest.mark.parametrize("protocol", ["lfw-official", "lfw-common"])
def test_neither_length_nor_dtype_of_the_whole_matters(protocol: str) -> None:
    plain, _, pairs = faces()
    expected = verify(plain.astype(np.float32), pairs, protocol=protocol)
    for scale in (2.0**-100, 2.0**100):
        scaled = verify((plain.astype(np.float32) * np.float32(scale)), pairs, protocol=protocol)
        np.testing.assert_allclose(scaled.scores, expected.scores, atol=1e-12)
    huge = verify(plain.astype(np.float32).astype(np.float64) * 1e300, pairs, protocol=protocol)
    np.testing.assert_allclose(huge.scores, expected.scores, atol=1e-12)
    half = verify(torch.from_numpy(plain).bfloat16(), pairs, protocol=protocol)
    np.testing.assert_allclose(half.scores, expected.scores, atol=0.05)


def test_a_zero_embedding_is_like_nobody_not_like_another_zero() -> None:
    rows = np.array([[0.0, 0.0], [0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    pairs = made([0, 0, 2, 2], [1, 2, 2, 3], [True, True, True, False], [1, 1, 2, 2])
    found = verify(rows, pairs, protocol="lfw-common")
    np.testing.assert_array_equal(found.scores, [-2.0, -2.0, 0.0, -2.0])
    assert found.num_zero == 2


def test_one_vector_for_all_images_verifies_nothing() -> None:
    _, _, pairs = faces()
    constant = np.full((PEOPLE * VIEWS, DIM), 0.1, dtype=np.float32)
    found = verify(constant, pairs)
    # the mean leaves rounding, whose directions would be noise
    np.testing.assert_array_equal(found.scores, np.zeros(len(pairs)))
    assert found.accuracy <= 0.5
    assert found.num_zero == len(constant)
    common = verify(constant, pairs, protocol="lfw-common")
    assert (common.accuracy, common.num_zero) == (0.5, 0)


def test_embeddings_are_zero_by_the_mean_of_a_fold_that_is_reported() -> None:
    # tested on fold 1, the mean is that of rows 2 and 3, where row 0 lies; on fold 2 it is that of rows 0 and 1
    rows = np.array([[1.0, 1.0], [5.0, 1.0], [0.0, 0.0], [2.0, 2.0], [0.0, 7.0]])
    pairs = made([0, 0, 2, 2], [1, 1, 3, 3], [True, False, True, False], [1, 1, 2, 2])
    assert [verify(rows, pairs, only_fold=fold).num_zero for fold in (None, 1, 2)] == [1, 1, 0]
    # no row is at the mean, and one of length zero is as good as any other
    assert verify(rows, pairs, only_fold=2, protocol="lfw-common").num_zero == 1


def test_scores_from_elsewhere_are_judged_alike() -> None:
    plain, _, pairs = faces()
    unit = plain / np.linalg.norm(plain, axis=1, keepdims=True)
    distances = ((unit[pairs.left] - unit[pairs.right]) ** 2).sum(axis=1)
    found, expected = (
        verify_scores(-distances, pairs, protocol="lfw-common"),
        verify(plain, pairs, protocol="lfw-common"),
    )
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-12)
    np.testing.assert_array_equal(found.accuracies, expected.accuracies)
    assert verify_scores(-distances, pairs, protocol="lfw-common", only_fold=1).folds == (1,)


def test_what_cannot_be_verified_is_refused() -> None:
    plain, flipped, pairs = faces()
    with pytest.raises(ValueError, match=r"unknown protocol 'lfw': choose lfw-common, lfw-official"):
        verify(plain, pairs, protocol="lfw")
    with pytest.raises(ValueError, match=r"verify: the pairs name row \d+, but there are 3 embeddings"):
        verify(plain[:3], pairs)
    with pytest.raises(ValueError, match=r"fuse_flips: expected plain and flipped of one shape"):
        verify(plain, pairs, flipped=flipped[:5])
    broken = plain.copy()
    broken[7, 0] = np.inf
    with pytest.raises(ValueError, match=r"verify: embeddings must be finite, .* the first of them row 7\."):
        verify(broken, pairs)
    with pytest.raises(ValueError, match=r"verify: flipped must be finite"):
        verify(plain, pairs, flipped=broken)
    with pytest.raises(ValueError, match=r"verify: only_fold must lie in \[1, 5\], got 6"):
        verify(plain, pairs, only_fold=6)
    with pytest.raises(ValueError, match=r"verify: expected two folds or more, .* got 1\."):
        verify(plain, made([0, 1], [1, 5], [True, False], [1, 1]))
    with pytest.raises(
        ValueError, match=r"verify_scores: expected 80 finite scores, one a pair, got shape \(3,\) with 3"
    ):
        verify_scores(np.zeros(3), pairs)
    with pytest.raises(ValueError, match=r"verify_scores: .* got shape \(80,\) with 0 finite"):
        verify_scores(np.full(80, np.nan), pairs)


def found() -> Verification:
    plain, flipped, pairs = faces()
    return verify(plain, pairs, flipped=flipped)


def test_what_is_written_is_what_a_report_reads(tmp_path: Path) -> None:
    result = found()
    summary = write_verification(tmp_path, result, split="test", step=7, fars=(0.0, 0.1), details={"data": "drawn"})
    assert json.loads((tmp_path / "evaluation" / "verification.json").read_text()) == summary
    assert (summary["protocol"], summary["variant"], summary["split"]) == ("verification", "lfw-official", "test")
    assert (summary["num_pairs"], summary["num_same"], summary["step"], summary["data"]) == (80, 40, 7, "drawn")
    assert (summary["accuracy"], summary["accuracies"]) == (result.accuracy, result.accuracies.tolist())
    curve = roc_curve(result.scores, result.same)
    assert summary["area"] == curve.area()
    assert summary["area_interval"]["low"] < curve.area() < summary["area_interval"]["high"]
    assert summary["equal_error_rate"] == curve.equal_error_rate()
    assert [point["tar"] for point in summary["tar_at_far"]] == [curve.tar_at_far(far).tar for far in (0.0, 0.1)]
    with np.load(tmp_path / "evaluation" / "verification.npz", allow_pickle=False) as arrays:
        np.testing.assert_array_equal(arrays["scores"], result.scores)
        np.testing.assert_array_equal(arrays["correct"], result.correct)
        np.testing.assert_array_equal(arrays["folds"], result.fold)
        assert arrays["same"].dtype == np.bool_
        assert (arrays["roc_far"][0], arrays["roc_tar"][-1]) == (0.0, 1.0)
        assert np.trapezoid(arrays["roc_tar"], arrays["roc_far"]) == pytest.approx(curve.area())


def test_the_same_result_is_the_same_bytes_and_another_goes_beside_it(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_verification(tmp_path / name, found(), split="test")
    write_verification(tmp_path / "a", found(), split="test", stem="verification-ytf")
    folders = [tmp_path / name / "evaluation" for name in ("a", "b")]
    for suffix in ("json", "npz"):
        assert len({(folder / f"verification.{suffix}").read_bytes() for folder in folders}) == 1
    assert len(list(folders[0].iterdir())) == 4


def test_a_full_disk_leaves_the_result_of_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_verification(tmp_path, found(), split="test", step=1)
    before = {path: path.read_bytes() for path in (tmp_path / "evaluation").iterdir()}

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left on device"):
        write_verification(tmp_path, found(), split="test", step=2)
    assert {path: path.read_bytes() for path in (tmp_path / "evaluation").iterdir()} == before
