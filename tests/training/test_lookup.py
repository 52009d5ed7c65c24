# SPDX-License-Identifier: MIT
"""Two images compared and one looked for: cosines by hand, the decision of the run, foreign galleries refused."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from face_runs import people, picture, write_faces_run
from hypersphere.training.embed import embed_run
from hypersphere.training.embedder import Embedder
from hypersphere.training.lookup import compare_images, comparison_lines, found_lines, read_threshold, search_gallery


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_faces_run(tmp_path / "run")


def evaluated(run: Path, cosine: float = 0.5, flip: str = "sum", **others: Any) -> None:
    """An evaluation of verification, as far as single pairs need one."""
    (run / "evaluation").mkdir(exist_ok=True)
    decision = {"cosine": cosine, "flip": flip, "source": "lfw-common, fold 1"} | others
    (run / "evaluation" / "verification.json").write_text(json.dumps({"decision": decision}))


def cosine(run: Path, left: Path, right: Path, flip: str = "none") -> float:
    embedder = Embedder(run, flip=flip)
    a, b = (
        embedder(torch.from_numpy(embedder.preparation.read(path))[None])[0].astype(np.float64)
        for path in (left, right)
    )
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


@pytest.mark.parametrize("flip", ["none", "concat", "sum"])
def test_cosine_and_angle_of_two_images(run: Path, tmp_path: Path, flip: str) -> None:
    left, right = picture(tmp_path / "a.png", 0), picture(tmp_path / "b.png", 1)
    found = compare_images(run, left, right, flip=flip)
    assert found.cosine == pytest.approx(cosine(run, left, right, flip), abs=1e-6)
    assert found.angle == pytest.approx(math.acos(found.cosine), abs=1e-9)
    again = compare_images(run, right, left, flip=flip)
    assert again.cosine == pytest.approx(found.cosine, abs=1e-6)


def test_an_image_is_like_itself(run: Path, tmp_path: Path) -> None:
    path = picture(tmp_path / "a.png", 0)
    found = compare_images(run, path, path)
    assert found.cosine == 1.0
    assert found.angle == 0.0
    assert comparison_lines(found) == [
        "cosine    1.0000",
        "angle     0.00 degrees",
        "decision  none: no verification of this run has been evaluated (hypersphere evaluate RUN --protocol "
        "verification)",
    ]


def test_the_decision_is_that_of_the_run(run: Path, tmp_path: Path) -> None:
    left, right = picture(tmp_path / "a.png", 0), picture(tmp_path / "b.png", 1)
    exact = compare_images(run, left, right, flip="sum").cosine
    evaluated(run, exact - 0.01)
    above = compare_images(run, left, right)
    assert (above.same, above.flip) == (True, "sum")
    assert comparison_lines(above)[2] == (
        f"decision  same: above the threshold of {exact - 0.01:.4f} (lfw-common, fold 1)"
    )
    evaluated(run, exact)
    assert compare_images(run, left, right).same is False
    told = comparison_lines(compare_images(run, left, right))[2]
    assert told == f"decision  different: not above the threshold of {exact:.4f} (lfw-common, fold 1)"


def test_a_threshold_of_another_flip_decides_nothing(run: Path, tmp_path: Path) -> None:
    path = picture(tmp_path / "a.png", 0)
    evaluated(run)
    found = compare_images(run, path, path, flip="none")
    assert (found.same, found.threshold) == (None, None)
    assert comparison_lines(found)[2] == "decision  none: the run's was measured with --flip sum"


@pytest.mark.parametrize("content", ["{", "[]", '{"decision": {"cosine": "x"}}', '{"decision": {"cosine": 1}}'])
def test_a_damaged_evaluation_is_told(run: Path, content: str) -> None:
    evaluated(run)
    (run / "evaluation" / "verification.json").write_text(content)
    with pytest.raises(ValueError, match=r"^verify: .*verification\.json is damaged \("):
        read_threshold(run)


def test_an_evaluation_without_a_decision_is_none(run: Path) -> None:
    assert read_threshold(run) is None
    evaluated(run)
    (run / "evaluation" / "verification.json").write_text("{}")
    assert read_threshold(run) is None


def test_images_that_cannot_be_used_are_told(run: Path, tmp_path: Path) -> None:
    good, bad = picture(tmp_path / "a.png", 0), tmp_path / "b.png"
    with pytest.raises(FileNotFoundError, match=r"^verify: there is no file .*b\.png\.$"):
        compare_images(run, good, bad)
    bad.write_text("no image")
    with pytest.raises(
        ValueError, match=r"^verify: 1 of 2 images cannot be used: .*b\.png: the image cannot be decoded"
    ):
        compare_images(run, good, bad)
    with pytest.raises(ValueError, match=r"^verify: expected an image, got the folder .*\.$"):
        compare_images(run, good, tmp_path)
    with pytest.raises(FileNotFoundError, match=r"^verify: .* is no run"):
        compare_images(tmp_path, good, good)


@pytest.mark.parametrize("embedded", [False, True])
def test_the_nearest_images_come_first(run: Path, tmp_path: Path, embedded: bool) -> None:
    folder = people(tmp_path / "people")
    gallery = folder
    if embedded:
        gallery = tmp_path / "people.npy"
        embed_run(run, gallery, images=[folder])
    image = folder / "bob" / "bob_1.png"
    found = search_gallery(run, gallery, image, top=4)
    files = sorted(folder.rglob("*.png"))
    expected = sorted(((cosine(run, image, path), str(path)) for path in files), reverse=True)[:4]
    assert [match.image for match in found.matches] == [path for _, path in expected]
    assert [match.cosine for match in found.matches] == pytest.approx([value for value, _ in expected], abs=1e-6)
    first = found.matches[0]
    assert (first.row, first.label, first.image) == (4, "bob", str(image))
    assert first.cosine == pytest.approx(1.0, abs=1e-7)
    assert found.num_images == 9
    told = found_lines(found)
    assert told[0] == f"1   1.0000  bob  {image}"
    assert told[-1] == "of 9 images"


def test_a_small_gallery_is_shown_whole(run: Path, tmp_path: Path) -> None:
    folder = people(tmp_path / "people", num_each=1)
    (folder / "ann" / "ann_0.png").write_text("no image")
    found = search_gallery(run, folder, folder / "bob" / "bob_0.png", top=10)
    assert [match.label for match in found.matches] == ["bob", "cat"]
    assert found_lines(found)[2:] == [
        "of 2 images",
        f"left out 1 images that cannot be used: {folder / 'ann' / 'ann_0.png'}",
    ]


def test_an_embedded_gallery_says_how_the_image_is_mirrored(run: Path, tmp_path: Path) -> None:
    folder, gallery = people(tmp_path / "people"), tmp_path / "x.npy"
    embed_run(run, gallery, images=[folder], flip="concat")
    image = folder / "cat" / "cat_2.png"
    first = search_gallery(run, gallery, image, top=1).matches[0]
    assert (first.image, round(first.cosine, 6)) == (str(image), 1.0)
    with pytest.raises(ValueError, match=r"x\.npy has 12 features a row, the model in .*run gives 6 \(flip sum\)\.$"):
        search_gallery(run, gallery, image, flip="sum")


def test_a_gallery_of_another_model_is_refused(run: Path, tmp_path: Path) -> None:
    folder, gallery = people(tmp_path / "people"), tmp_path / "x.npy"
    embed_run(run, gallery, images=[folder])
    other = write_faces_run(tmp_path / "other", seed=1)
    words = r"x\.npy was not embedded by the model in .*other as it is used here; what differs: weights\. Use the"
    with pytest.raises(ValueError, match=words):
        search_gallery(other, gallery, folder / "ann" / "ann_0.png")
    # rows that say nothing are taken at their word
    (tmp_path / "x.json").unlink()
    assert search_gallery(other, gallery, folder / "ann" / "ann_0.png", top=2).num_images == 9


def test_what_cannot_be_searched_is_told(run: Path, tmp_path: Path) -> None:
    image = picture(tmp_path / "a.png", 0)
    with pytest.raises(ValueError, match=r"^search: top must be a whole number of 1 or more, got 0\.$"):
        search_gallery(run, tmp_path, image, top=0)
    with pytest.raises(FileNotFoundError, match=r"^search: there is no file .*none\.npy\.$"):
        search_gallery(run, tmp_path / "none.npy", image)
    with pytest.raises(ValueError, match=r"^search: .*a\.png is damaged or no \.npy file"):
        search_gallery(run, image, image)
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"^search: there is no image in the folder .*empty\.$"):
        search_gallery(run, tmp_path / "empty", image)
