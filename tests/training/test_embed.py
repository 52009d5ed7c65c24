# SPDX-License-Identifier: MIT
"""Embeddings of many images: the right rows in the right order, whole or resumed, and a word on every broken image."""

from __future__ import annotations

import csv
import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from face_runs import people, picture, write_faces_run
from hypersphere.config import DataConfig
from hypersphere.data import load_images
from hypersphere.training.embed import default_batch, embed_files, embed_run, lines, write_embeddings
from hypersphere.training.embedded import EmbeddedFiles, read_embedded
from hypersphere.training.embedder import Embedder, Preparation
from hypersphere.training.pictures import FilePictures, find_files

HERE = Path(__file__).parent.parent
FACTS = {"format": 1, "dim": 2, "batch": 2, "source": {}}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that the tests leave as it is."""
    return write_faces_run(tmp_path_factory.mktemp("runs") / "faces")


def sums(pixels: torch.Tensor) -> np.ndarray:
    """Stands in for a network: two numbers of each image."""
    values = pixels.flatten(1).double()
    return torch.stack([values.sum(1), values[:, 0]], dim=1).float().numpy()


def pictures(folder: Path) -> FilePictures:
    return FilePictures(find_files([folder]), Preparation((3, 8, 8), 8))


class Stopping:
    """Embeds some batches, then is stopped by a person."""

    def __init__(self, batches: int) -> None:
        self.left = batches

    def __call__(self, pixels: torch.Tensor) -> np.ndarray:
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        return sums(pixels)


def test_every_image_gets_its_row(run: Path, tmp_path: Path) -> None:
    folder = people(tmp_path / "people")
    found = embed_run(run, tmp_path / "x.npy", images=[folder], batch=4)
    rows = np.load(tmp_path / "x.npy")
    assert rows.dtype == np.dtype("<f4")
    embedder = Embedder(run)
    files = find_files([folder])
    with (tmp_path / "x.csv").open(newline="") as opened:
        index = list(csv.DictReader(opened))
    assert [entry["row"] for entry in index] == [str(row) for row in range(9)]
    for row, entry, (path, label) in zip(rows, index, files, strict=True):
        assert (entry["image"], entry["label"]) == (str(path), label)
        single = embedder(torch.from_numpy(embedder.preparation.read(path))[None])[0]
        np.testing.assert_allclose(row, single, rtol=1e-5, atol=1e-6)
    assert found["num_rows"] == 9
    assert json.loads((tmp_path / "x.json").read_text()) == {
        name: value for name, value in found.items() if name != "already_finished"
    }
    assert sorted(path.name for path in tmp_path.iterdir()) == ["people", "x.csv", "x.json", "x.npy"]


def test_without_images_the_runs_own_are_taken(run: Path, tmp_path: Path) -> None:
    embed_run(run, tmp_path / "own.npy")
    found = read_embedded(tmp_path / "own.npy")
    images = load_images(DataConfig(name="synthetic", size=8), split="test")
    (batch, labels), *_ = images.batches(len(images))
    np.testing.assert_allclose(found.rows, Embedder(run)(batch), rtol=1e-5, atol=1e-6)
    assert found.labels == [images.class_names[label] for label in labels.tolist()]
    assert found.images == [str(number) for number in range(20)]
    assert found.facts["source"]["split"] == "test"
    other = embed_run(run, tmp_path / "b.npy", data=DataConfig(name="synthetic", size=8), split="train", flip="concat")
    assert (other["num_rows"], other["dim"]) == (300, 12)


def test_a_data_set_in_batches_is_that_in_one(run: Path, tmp_path: Path) -> None:
    embed_run(run, tmp_path / "a.npy", batch=20)
    embed_run(run, tmp_path / "b.npy", batch=3)
    np.testing.assert_allclose(np.load(tmp_path / "a.npy"), np.load(tmp_path / "b.npy"), rtol=1e-5, atol=1e-6)
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


@pytest.mark.parametrize("batches", [0, 1, 3])
def test_a_stopped_file_goes_on_to_the_same_bytes(tmp_path: Path, batches: int) -> None:
    folder = people(tmp_path / "people")
    write_embeddings(tmp_path / "whole.npy", sums, pictures(folder), facts=FACTS)
    out = tmp_path / "x.npy"
    with pytest.raises(KeyboardInterrupt):
        write_embeddings(out, Stopping(batches), pictures(folder), facts=FACTS)
    assert not out.exists()
    if batches:
        with pytest.raises(
            FileExistsError, match=rf"x\.npy was begun, {2 * batches} images are done\. Go on with --res"
        ):
            write_embeddings(out, sums, pictures(folder), facts=FACTS)
    seen: list[int] = []

    def rest(pixels: torch.Tensor) -> np.ndarray:
        seen.append(len(pixels))
        return sums(pixels)

    found = write_embeddings(out, rest, pictures(folder), facts=FACTS, resume=True)
    assert sum(seen) == 9 - 2 * batches
    for suffix in (".npy", ".csv", ".json"):
        assert out.with_suffix(suffix).read_bytes() == (tmp_path / "whole").with_suffix(suffix).read_bytes()
    assert not found["already_finished"]
    assert not list(tmp_path.glob(".*"))
    assert write_embeddings(out, sums, pictures(folder), facts=FACTS, resume=True)["already_finished"]


def test_killed_at_any_line_it_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    command = [sys.executable, str(HERE / "killed_embeds.py"), str(tmp_path), "16", "0"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = json.loads(told.splitlines()[-1])
    assert found["different"] == []
    assert found["files"] == ["x.csv", "x.json", "x.npy"]
    assert found["kills"] > 16


def test_a_file_that_is_there_is_kept(tmp_path: Path) -> None:
    folder = people(tmp_path / "people", num_each=1)
    out = tmp_path / "x.npy"
    write_embeddings(out, sums, pictures(folder), facts=FACTS)
    before = out.read_bytes()
    with pytest.raises(
        FileExistsError, match=r"x\.npy exists already\. Give another --out, or --force to replace it\."
    ):
        write_embeddings(out, sums, pictures(folder), facts=FACTS)
    assert out.read_bytes() == before
    write_embeddings(out, lambda pixels: sums(pixels) + 1, pictures(folder), facts=FACTS, replace=True)
    assert np.array_equal(np.load(out), np.frombuffer(before[128:], "<f4").reshape(-1, 2) + 1)


def test_a_file_begun_otherwise_is_not_gone_on_with(tmp_path: Path) -> None:
    folder = people(tmp_path / "people")
    out = tmp_path / "x.npy"
    with pytest.raises(KeyboardInterrupt):
        write_embeddings(out, Stopping(1), pictures(folder), facts=FACTS)
    words = r"cannot resume .*x\.npy: it was begun with other values of batch, source\. Leave them as they were, or"
    with pytest.raises(ValueError, match=words):
        write_embeddings(out, sums, pictures(folder), facts=FACTS | {"batch": 3, "source": {"a": 1}}, resume=True)
    write_embeddings(out, sums, pictures(folder), facts=FACTS | {"batch": 3}, replace=True)
    with pytest.raises(ValueError, match=r"it was begun with other values of batch\."):
        write_embeddings(out, sums, pictures(folder), facts=FACTS, resume=True)


def test_what_is_shorter_than_recorded_is_not_gone_on_with(tmp_path: Path) -> None:
    folder, out = people(tmp_path / "people"), tmp_path / "x.npy"
    with pytest.raises(KeyboardInterrupt):
        write_embeddings(out, Stopping(2), pictures(folder), facts=FACTS)
    os.truncate(EmbeddedFiles(out).unfinished_rows, 130)
    with pytest.raises(ValueError, match=r"is shorter than recorded; begin anew with --force\.$"):
        write_embeddings(out, sums, pictures(folder), facts=FACTS, resume=True)
    EmbeddedFiles(out).progress.write_text("{")
    with pytest.raises(ValueError, match=r"\.x\.npy\.progress is damaged \(.*\); begin anew with --force\.$"):
        write_embeddings(out, sums, pictures(folder), facts=FACTS, resume=True)
    EmbeddedFiles(out).progress.write_text('{"num_done": 4}')
    with pytest.raises(
        ValueError, match=r"\.x\.npy\.progress is damaged or of another version; begin anew with --force\."
    ):
        write_embeddings(out, sums, pictures(folder), facts=FACTS, resume=True)


def test_two_processes_do_not_write_one_file(tmp_path: Path) -> None:
    folder, out = people(tmp_path / "people"), tmp_path / "x.npy"

    def second(pixels: torch.Tensor) -> np.ndarray:
        with pytest.raises(BlockingIOError, match=r"^embed: another process writes to .*x\.npy\.rows\.$"):
            write_embeddings(out, sums, pictures(folder), facts=FACTS, replace=True)
        return sums(pixels)

    write_embeddings(out, second, pictures(folder), facts=FACTS)
    assert len(np.load(out)) == 9


def test_broken_images_are_told_together_and_left_out_on_request(run: Path, tmp_path: Path) -> None:
    folder = people(tmp_path / "people", num_each=4)
    broken = [folder / "ann" / "ann_1.png", folder / "cat" / "cat_3.png"]
    for path in broken:
        path.write_text("no image")
    out = tmp_path / "x.npy"
    words = (
        rf"^embed: 2 of 12 images cannot be used: {broken[0]}: the image cannot be decoded .*; {broken[1]}: .*\. Leave "
        r"them out with: --resume --skip-broken\.$"
    )
    with pytest.raises(ValueError, match=words):
        embed_run(run, out, images=[folder])
    assert not out.exists()
    found = embed_run(run, out, images=[folder], resume=True, skip_broken=True)
    assert [one["image"] for one in found["left_out"]] == list(map(str, broken))
    whole = embed_run(run, tmp_path / "y.npy", images=[folder], skip_broken=True)
    assert whole["num_rows"] == 10
    assert out.read_bytes() == (tmp_path / "y.npy").read_bytes()
    assert str(broken[0]) not in (tmp_path / "x.csv").read_text()
    assert lines(found, out)[-1] == f"left out 2 images that cannot be used: {broken[0]}, {broken[1]}"


def test_nothing_but_broken_images_leaves_nothing_behind(run: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.png"
    bad.write_text("no image")
    with pytest.raises(
        ValueError, match=r"^embed: 1 image cannot be used: .*bad\.png: the image cannot be decoded \(.*\)\.$"
    ):
        embed_run(run, tmp_path / "x.npy", images=[bad], skip_broken=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.png"]


@pytest.mark.parametrize(
    ("asked", "error", "words"),
    [
        ({"out": "x.txt"}, ValueError, r"^embed: expected a file that ends in \.npy, got .*x\.txt\.$"),
        ({"out": "no/x.npy"}, FileNotFoundError, r"^embed: there is no folder .*no\.$"),
        ({"batch": 0}, ValueError, r"^embed: batch must be a whole number of 1 or more, got 0\.$"),
        ({"flip": "add"}, ValueError, r"^embed: unknown flip 'add': choose concat, none, sum"),
        ({"images": ["nope.png"]}, FileNotFoundError, r"^embed: there is no file .*nope\.png\.$"),
        (
            {"skip_broken": True},
            ValueError,
            r"^embed: broken images are left out of files and folders only; `hypersphere",
        ),
        (
            {"data": DataConfig("synthetic", size=10)},
            ValueError,
            r"^synthetic holds images of shape \(3, 10, 10\), the model takes \(3, 8, 8\)\.$",
        ),
    ],
)
def test_what_cannot_be_asked_for_is_refused(
    run: Path, tmp_path: Path, asked: dict, error: type[Exception], words: str
) -> None:
    images = [tmp_path / name for name in asked.pop("images", [])]
    with pytest.raises(error, match=words):
        embed_run(run, tmp_path / asked.pop("out", "x.npy"), images=images, **asked)
    assert list(tmp_path.iterdir()) == []


def test_a_model_alone_needs_images(run: Path, tmp_path: Path) -> None:
    alone = write_faces_run(tmp_path / "alone")
    (alone / "config.yaml").unlink()
    with pytest.raises(FileNotFoundError, match=r"^embed: .*alone names no data set \(config\.yaml\); give images\.$"):
        embed_run(alone, tmp_path / "x.npy")
    image = picture(tmp_path / "a.png", 0)
    assert embed_run(alone, tmp_path / "x.npy", images=[image])["num_rows"] == 1
    with pytest.raises(ValueError, match=r"^embed: give images or a data set, not both\.$"):
        embed_run(alone, tmp_path / "y.npy", images=[image], data=DataConfig())


def test_embeddings_in_memory_are_those_of_the_file(run: Path, tmp_path: Path) -> None:
    folder = people(tmp_path / "people")
    embed_run(run, tmp_path / "x.npy", images=[folder])
    found = embed_files(Embedder(run), [folder], who="search")
    assert np.array_equal(found.rows, np.load(tmp_path / "x.npy"))
    assert found.images == read_embedded(tmp_path / "x.npy").images
    (folder / "ann" / "ann_0.png").write_text("no image")
    with pytest.raises(ValueError, match=r"^search: 1 of 9 images cannot be used: .*ann_0\.png: "):
        embed_files(Embedder(run), [folder], who="search")
    left = embed_files(Embedder(run), [folder], who="search", skip_broken=True)
    assert len(left.rows) == 8
    assert [one["image"] for one in left.facts["left_out"]] == [str(folder / "ann" / "ann_0.png")]


def test_larger_images_come_in_smaller_batches() -> None:
    assert [default_batch((3, side, side)) for side in (8, 128, 256, 4096)] == [256, 256, 64, 1]


@pytest.fixture(autouse=True)
def _no_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYPERSPHERE_CACHE", str(tmp_path_factory.mktemp("cache")))


def test_a_full_disk_is_told_and_gone_on_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, out = people(tmp_path / "people"), tmp_path / "x.npy"
    before = os.fsync

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(KeyboardInterrupt):
        write_embeddings(out, Stopping(2), pictures(folder), facts=FACTS)
    monkeypatch.setattr(os, "fsync", full)
    words = (
        r"^embed: .*x\.npy could not be written \(No space left on device\)\. Make room, then go on with --resume\.$"
    )
    with pytest.raises(OSError, match=words):
        write_embeddings(out, sums, pictures(folder), facts=FACTS, resume=True)
    assert not out.exists()
    monkeypatch.setattr(os, "fsync", before)
    write_embeddings(out, sums, pictures(folder), facts=FACTS, resume=True)
    write_embeddings(tmp_path / "y.npy", sums, pictures(folder), facts=FACTS)
    assert out.read_bytes() == (tmp_path / "y.npy").read_bytes()
    assert EmbeddedFiles(out).index.read_bytes() == EmbeddedFiles(tmp_path / "y.npy").index.read_bytes()
