# SPDX-License-Identifier: MIT
"""Counting what was recognised: against scikit-learn, over any division into batches, and onto disk whole."""

from __future__ import annotations

import errno
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, confusion_matrix, log_loss, recall_score
from torch import Tensor

from hypersphere.evaluation import Classification, classify, write_classification

NUM, DIM, CLASSES = 41, 4, 5


def data() -> tuple[Tensor, Tensor, Tensor]:
    """Images that are their own features, labels, and class vectors."""
    generator = torch.Generator().manual_seed(3)
    images = torch.randn(NUM, DIM, generator=generator)
    vectors = torch.randn(CLASSES, DIM, generator=generator)
    return images, torch.randint(0, CLASSES - 1, (NUM,), generator=generator), vectors


def found(batch_size: int = NUM, *, keep_features: bool = True) -> Classification:
    images, labels, vectors = data()

    def forward(batch: Tensor, batch_labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        logits = batch @ vectors.T
        return batch, logits, torch.nn.functional.cross_entropy(logits, batch_labels)

    batches = zip(images.split(batch_size), labels.split(batch_size), strict=True)
    return classify(forward, batches, keep_features=keep_features)


def test_it_counts_as_scikit_learn_does() -> None:
    images, labels, vectors = data()
    result = found()
    predictions = (images @ vectors.T).argmax(1)
    assert result.num_samples == NUM
    assert result.accuracy == pytest.approx(accuracy_score(labels, predictions))
    np.testing.assert_array_equal(
        result.confusion(CLASSES), confusion_matrix(labels, predictions, labels=range(CLASSES))
    )
    expected = log_loss(labels, (images @ vectors.T).double().softmax(1), labels=list(range(CLASSES)))
    assert result.loss == pytest.approx(expected, rel=1e-5)


@given(st.integers(1, NUM))
def test_batches_do_not_matter(batch_size: int) -> None:
    whole, parts = found(), found(batch_size)
    assert parts.accuracy == whole.accuracy
    assert parts.loss == pytest.approx(whole.loss, rel=1e-5)
    np.testing.assert_array_equal(parts.labels, whole.labels)
    np.testing.assert_array_equal(parts.predictions, whole.predictions)
    np.testing.assert_array_equal(parts.features, whole.features)


def test_nothing_is_left_of_the_graph() -> None:
    weight = torch.nn.Parameter(torch.eye(2))
    seen = []

    def forward(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        logits = images @ weight
        seen.append(logits.requires_grad)
        return logits, logits, logits.sum()

    classify(forward, [(torch.eye(2), torch.tensor([0, 1]))])
    assert seen == [False]


def test_features_are_kept_only_on_request_and_in_half_the_memory_where_they_fit() -> None:
    assert found(keep_features=False).features is None
    assert found().features.dtype == np.float16

    def forward(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return images, images, images.sum()

    large = classify(forward, [(torch.tensor([[1e5, 0.0]]), torch.tensor([0]))], keep_features=True)
    assert large.features.dtype == np.float32
    assert large.features[0, 0] == 1e5


def test_without_images_there_is_no_result() -> None:
    with pytest.raises(ValueError, match=r"classify: there are no images to evaluate on."):
        classify(lambda images, labels: (images, images, images.sum()), [])


def write(folder: Path, **options: object) -> dict[str, object]:
    names = [f"class {number}" for number in range(CLASSES)]
    return write_classification(folder, found(), class_names=names, class_vectors=data()[2], split="test", **options)  # type: ignore[arg-type]


def test_what_is_written_is_what_a_report_reads(tmp_path: Path) -> None:
    images, labels, vectors = data()
    summary = write(tmp_path, step=7)
    assert json.loads((tmp_path / "evaluation" / "classification.json").read_text()) == summary
    predictions = (images @ vectors.T).argmax(1)
    recall = recall_score(labels, predictions, labels=range(CLASSES), average=None, zero_division=0)
    assert summary["per_class_accuracy"][:-1] == pytest.approx(recall[:-1])
    # of the last class there are no images
    assert summary["per_class_accuracy"][-1] is None
    assert (summary["protocol"], summary["split"], summary["step"]) == ("classification", "test", 7)
    with np.load(tmp_path / "evaluation" / "classification.npz", allow_pickle=False) as arrays:
        shapes = {name: (arrays[name].shape, arrays[name].dtype.kind) for name in arrays.files}
        np.testing.assert_array_equal(arrays["class_vectors"], vectors.numpy())
        np.testing.assert_allclose(arrays["features"], images.numpy(), atol=2e-3)
    assert shapes == {
        "features": ((NUM, DIM), "f"),
        "labels": ((NUM,), "i"),
        "predictions": ((NUM,), "i"),
        "confusion": ((CLASSES, CLASSES), "i"),
        "class_vectors": ((CLASSES, DIM), "f"),
    }


def test_the_same_result_is_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path / name)
    for suffix in ("json", "npz"):
        first, second = (tmp_path / name / "evaluation" / f"classification.{suffix}" for name in ("a", "b"))
        assert first.read_bytes() == second.read_bytes()


def test_another_result_goes_beside_the_first(tmp_path: Path) -> None:
    write(tmp_path)
    write(tmp_path, stem="classification-other-train")
    assert {path.name for path in (tmp_path / "evaluation").iterdir()} == {
        f"{stem}.{suffix}" for stem in ("classification", "classification-other-train") for suffix in ("json", "npz")
    }


def test_logits_that_are_not_numbers_name_no_class(tmp_path: Path) -> None:
    images = torch.eye(3)
    images[0, 2] = math.nan
    result = classify(lambda x, y: (x, x, x.nansum()), [(images, torch.tensor([0, 1, 1]))])
    assert result.predictions.tolist() == [-1, 1, 2]
    assert result.accuracy == pytest.approx(1 / 3)
    assert result.confusion(3).tolist() == [[0, 0, 0], [0, 1, 1], [0, 0, 0]]
    summary = write_classification(tmp_path, result, class_names=["a", "b", "c"], class_vectors=images, split="test")
    assert summary["per_class_accuracy"] == [0.0, 0.5, None]


def test_a_full_disk_leaves_the_result_of_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, step=1)
    before = {path: path.read_bytes() for path in (tmp_path / "evaluation").iterdir()}

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left on device"):
        write(tmp_path, step=2)
    assert {path: path.read_bytes() for path in (tmp_path / "evaluation").iterdir()} == before


def test_a_loss_that_is_no_number_is_written_as_null(tmp_path: Path) -> None:
    result = Classification(0.5, math.nan, 2, None, np.array([0, 1]), np.array([0, 0]))
    summary = write_classification(tmp_path, result, class_names=["a", "b"], class_vectors=torch.eye(2), split="test")
    assert summary["loss"] is None
    assert json.loads((tmp_path / "evaluation" / "classification.json").read_text())["loss"] is None
