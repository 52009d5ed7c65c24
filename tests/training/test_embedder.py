# SPDX-License-Identifier: MIT
"""Features by a finished run: prepared as its own test images, mirrored as asked, refused in words."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from face_runs import picture, write_faces_run
from hypersphere.config import DataConfig
from hypersphere.data import load_images, normalize_pixels
from hypersphere.models import load_classifier
from hypersphere.training.embedder import Embedder, Preparation


def pixels(num: int = 5, side: int = 8) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (num, 3, side, side), dtype=torch.uint8, generator=generator)


def test_features_are_those_of_the_network_on_normalised_pixels(tmp_path: Path) -> None:
    run = write_faces_run(tmp_path / "run", mean=[10.0, 20.0, 30.0], std=[50.0, 60.0, 70.0], channel_order="bgr")
    classifier, _ = load_classifier(run)
    seen = normalize_pixels(pixels().flip(1), [10.0, 20.0, 30.0], [50.0, 60.0, 70.0])
    found = Embedder(run)(pixels())
    assert found.dtype == np.float32
    assert found.shape == (5, 6)
    torch.testing.assert_close(torch.from_numpy(found), classifier.features(seen).detach(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("flip", "dim"), [("none", 6), ("concat", 12), ("sum", 6)])
def test_mirror_images_are_joined_as_asked(tmp_path: Path, flip: str, dim: int) -> None:
    run = write_faces_run(tmp_path / "run")
    plain = Embedder(run)
    embedder = Embedder(run, flip=flip)
    assert embedder.dim == dim
    seen, mirrored = plain(pixels()), plain(pixels().flip(3))
    expected = {"none": seen, "concat": np.concatenate([seen, mirrored], axis=1), "sum": seen + mirrored}[flip]
    assert np.array_equal(embedder(pixels()), expected)


def test_facts_tell_one_function_from_another(tmp_path: Path) -> None:
    first = Embedder(write_faces_run(tmp_path / "a")).facts
    assert Embedder(write_faces_run(tmp_path / "b")).facts == first
    assert Embedder(tmp_path / "a", flip="sum").facts != first
    assert Embedder(write_faces_run(tmp_path / "c", seed=1)).facts["weights"] != first["weights"]
    assert Embedder(write_faces_run(tmp_path / "d", std=[1.0])).facts["preparation"] != first["preparation"]


def test_features_must_be_finite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    embedder = Embedder(write_faces_run(tmp_path / "run"))
    features = torch.ones(3, 6)
    features[1, 2] = torch.inf
    monkeypatch.setattr(embedder, "_model", lambda pixels: {"features": features})
    with pytest.raises(ValueError, match=r"run gives features that are not finite \(image 1 of a batch of 3\)\.$"):
        embedder(pixels(3))


def test_what_cannot_be_asked_for_is_refused(tmp_path: Path) -> None:
    run = write_faces_run(tmp_path / "run")
    with pytest.raises(ValueError, match=r"^embed: unknown flip 'add': choose concat, none, sum"):
        Embedder(run, flip="add")
    with pytest.raises(FileNotFoundError, match=r"^verify: .*none is no run: there is neither config.yaml nor model"):
        Embedder(tmp_path / "none", who="verify")
    (run / "model.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"^embed: .*run is not finished, so there is no trained model in it"):
        Embedder(run)


@pytest.mark.parametrize(
    ("size", "resize", "crop"),
    [
        (8, "crop", None),
        (8, "squeeze", None),
        ([12, 8], "crop", None),
        (12, "crop", 8),
        (None, "crop", 8),
        (None, "crop", None),
    ],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_images_are_read_as_the_test_images_of_the_run(
    tmp_path: Path, size: int | list[int] | None, resize: str, crop: int | None, channels: int
) -> None:
    mode = "L" if channels == 1 else "RGB"
    files = [
        picture(tmp_path / "images" / person / f"{number}.png", 10 * len(person) + number, size=(20, 14), mode=mode)
        for person in ("ann", "barbara")
        for number in range(4)
    ]
    config = DataConfig(name=str(tmp_path / "images"), size=size, resize=resize, crop=crop, cache=False)
    (batch, _), *_ = load_images(config, split="train").batches(100)
    spec = {"image_shape": list(batch.shape[1:]), "size": size, "resize": resize, "crop": crop}
    read = [Preparation.of(spec).read(path) for path in files]
    # a fifth of each class is the test split
    in_train = [any(np.array_equal(image, other) for other in batch.numpy()) for image in read]
    assert sum(in_train) == len(batch) >= 6


def test_a_grey_image_is_taken_as_colour_and_never_the_reverse(tmp_path: Path) -> None:
    grey = Preparation((3, 8, 8), 8).read(picture(tmp_path / "grey.png", 0, mode="L"))
    assert np.array_equal(grey[0], grey[1])
    assert np.array_equal(grey[0], grey[2])
    with pytest.raises(ValueError, match=r"^the image is in colour, the model takes grey ones; save it as grey$"):
        Preparation((1, 8, 8), 8).read(picture(tmp_path / "colour.png", 0))


def test_bytes_are_read_like_files(tmp_path: Path) -> None:
    path = picture(tmp_path / "a.png", 0)
    preparation = Preparation((3, 8, 8))
    assert np.array_equal(preparation.read(path.read_bytes()), preparation.read(path))
    assert np.array_equal(preparation.read(path), np.asarray(Image.open(path)).transpose(2, 0, 1))


@pytest.mark.parametrize(
    ("crop", "words"),
    [
        (None, "the image is 9x7 pixels, the model takes 8x8 and its run resized nothing (data.size)"),
        (8, "the image is 9x7 pixels, the model takes 8x8"),
    ],
)
def test_another_size_is_refused_where_nothing_is_resized(tmp_path: Path, crop: int | None, words: str) -> None:
    path = picture(tmp_path / "a.png", 0, size=(9, 7))
    with pytest.raises(ValueError, match=f"^{re.escape(words)}$"):
        Preparation((3, 8, 8), crop=crop).read(path)


def test_what_is_no_image_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_text("no image")
    with pytest.raises(ValueError, match=r"^the image cannot be decoded \(its format is not known\)$"):
        Preparation((3, 8, 8), 8).read(tmp_path / "a.jpg")
    (tmp_path / "a.jpg").write_bytes(b"")
    with pytest.raises(ValueError, match=r"^the image cannot be decoded \(the file is empty\)$"):
        Preparation((3, 8, 8), 8).read(tmp_path / "a.jpg")
