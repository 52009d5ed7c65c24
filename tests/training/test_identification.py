# SPDX-License-Identifier: MIT
"""Identification by a run: gallery and probes of a split, distractors from files, folders or drawn by seed."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from face_runs import people, picture, write_faces_run
from hypersphere.config import DataConfig
from hypersphere.evaluation import identify_among_distractors, identify_closed_set
from hypersphere.report.found import read_found
from hypersphere.report.identification import read_identification
from hypersphere.training.embed import embed_run
from hypersphere.training.embedder import Embedder
from hypersphere.training.identification import evaluate_identification, lines
from hypersphere.training.settings import make_config, save_config


@pytest.fixture(autouse=True)
def _no_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYPERSPHERE_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Train and test images of three people each."""
    people(tmp_path / "faces" / "test")
    people(tmp_path / "faces" / "train", num_each=1)
    return tmp_path / "faces"


@pytest.fixture
def run(tmp_path: Path, images: Path) -> Path:
    made = write_faces_run(tmp_path / "run")
    save_config(make_config(None, {"data.name": str(images), "data.size": 8}), made / "config.yaml")
    return made


def features(run: Path, folder: Path, flip: str = "none") -> np.ndarray:
    embedder = Embedder(run, flip=flip)
    read = [embedder.preparation.read(path) for path in sorted(folder.rglob("*.png"))]
    return embedder(torch.from_numpy(np.stack(read)))


def test_the_first_image_of_each_class_is_the_gallery(run: Path, images: Path) -> None:
    found, written = evaluate_identification(run)
    rows = features(run, images / "test")
    owner = np.repeat([0, 1, 2], 3)
    first = np.array([0, 3, 6])
    rest = np.setdiff1d(np.arange(9), first)
    expected = identify_closed_set(rows[first], owner[first], rows[rest], owner[rest])
    assert found["results"] == {"closed-set": expected.summary()}
    assert found["results"]["closed-set"]["num_probes"] == 6
    assert written == run / "evaluation" / "identification.json"
    assert json.loads(written.read_text()) == found
    with np.load(written.with_suffix(".npz")) as arrays:
        assert np.array_equal(arrays["closed-set.ranks"], expected.ranks)
    assert found["distractors"] is None
    assert found["people_in_training"] == {"num_people": 3, "in_training": 2}


@pytest.mark.parametrize("kind", ["folder", "embedded"])
@pytest.mark.parametrize("flip", ["none", "sum"])
def test_distractors_are_a_folder_or_a_file(run: Path, images: Path, tmp_path: Path, kind: str, flip: str) -> None:
    for number in range(7):
        picture(tmp_path / "crowd" / f"{number}.png", 500 + number)
    given = tmp_path / "crowd"
    if kind == "embedded":
        given = tmp_path / "crowd.npy"
        embed_run(run, given, images=[tmp_path / "crowd"], flip=flip)
    asked = flip if kind == "folder" else None
    found, _ = evaluate_identification(run, distractors=str(given), flip=asked, memory=64)
    expected = identify_among_distractors(
        features(run, images / "test", flip),
        np.repeat([0, 1, 2], 3),
        features(run, tmp_path / "crowd", flip),
        max_rank=10,
    )
    among = found["results"]["distractors"]
    assert among["rates"] == expected.summary()["rates"]
    assert (among["num_distractors"], among["num_pairs"]) == (7, 18)
    assert found["flip"] == flip
    assert not found["distractors"]["synthetic"]
    assert "note: the distractors" not in "\n".join(lines(found))


def test_broken_distractors_are_left_out_and_counted(run: Path, tmp_path: Path) -> None:
    picture(tmp_path / "crowd" / "a.png", 1)
    (tmp_path / "crowd" / "b.png").write_text("no image")
    found, _ = evaluate_identification(run, distractors=str(tmp_path / "crowd"))
    assert found["results"]["distractors"]["num_distractors"] == 1
    assert lines(found)[-2] == "left out 1 distractors that cannot be used"


@pytest.mark.parametrize("kind", ["random", "noise"])
def test_drawn_distractors_are_a_function_of_the_seed_and_called_so(run: Path, kind: str) -> None:
    def arrays(seed: int) -> np.ndarray:
        _, written = evaluate_identification(run, distractors=f"{kind}:300", seed=seed, flip="concat")
        assert written.name == f"identification-among-{kind}_300-seed-{seed}-flip-concat.json"
        with np.load(written.with_suffix(".npz")) as found:
            return found["distractors.largest"]

    first = arrays(1)
    assert first.shape == (9, 10)
    assert np.array_equal(arrays(1), first)
    assert not np.array_equal(arrays(2), first)
    path = run / "evaluation" / f"identification-among-{kind}_300-seed-2-flip-concat.json"
    found = json.loads(path.read_text())
    assert found["distractors"]["synthetic"] is True
    assert (found["distractors"]["num"], found["distractors"]["seed"]) == (300, 2)
    assert any(line.startswith("note: the distractors are synthetic (") for line in lines(found))


def test_random_distractors_are_even_over_the_sphere(run: Path) -> None:
    # the largest of M cosines in 6 dimensions nears 1 as M grows; here a quantile of its exact law
    _, written = evaluate_identification(run, distractors="random:20000")
    with np.load(written.with_suffix(".npz")) as found:
        tenth = found["distractors.largest"][:, -1]
    # of 20000, ten lie above the cosine whose tail is 1/2000; c is beta distributed: (1 + c) / 2 ~ Beta(2.5, 2.5)
    from scipy.stats import beta

    tails = 20000 * beta.sf((1 + tenth) / 2, 2.5, 2.5)
    assert tails.min() > 1.5
    assert tails.max() < 30


def test_other_images_and_splits_have_files_of_their_own(run: Path, images: Path, tmp_path: Path) -> None:
    other = people(tmp_path / "strangers", names=("eve", "fay"))
    found, written = evaluate_identification(
        run, data=DataConfig(name=str(other), size=8, test_share=0.0), split="train"
    )
    assert written.name == "identification-strangers-train.json"
    assert found["people_in_training"] == {"num_people": 2, "in_training": 0}
    assert lines(found)[-1].startswith("closed set: rank 1 ")
    with pytest.raises(
        ValueError, match=r"^identification: expected two images or more of some class, got 3 of one each"
    ):
        evaluate_identification(run, split="train")


def test_other_distractors_and_another_flip_have_files_of_their_own(run: Path, images: Path, tmp_path: Path) -> None:
    for place, seed in (("a", 500), ("b", 600)):
        picture(tmp_path / place / "crowd" / "0.png", seed)
    embed_run(run, tmp_path / "crowd.npy", images=[tmp_path / "a"], flip="sum")

    def name(**asked: Any) -> str:
        return evaluate_identification(run, **asked)[1].name

    first = str(tmp_path / "a" / "crowd")
    named = [
        name(),
        name(flip="sum"),
        name(distractors="random:020"),
        name(distractors="random:20", seed=3),
        name(distractors=first),
        name(distractors=str(tmp_path / "b" / "crowd")),
        name(distractors=str(tmp_path / "crowd.npy")),
        name(distractors="noise:3", flip="sum", data=DataConfig(name=str(images), size=8, cache=False)),
    ]
    assert named == [
        "identification.json",
        "identification-flip-sum.json",
        "identification-among-random_20.json",
        "identification-among-random_20-seed-3.json",
        "identification-among-crowd.json",
        "identification-among-crowd-2.json",
        "identification-among-crowd.npy-flip-sum.json",
        "identification-faces-test-among-noise_3-flip-sum.json",
    ]
    # each again takes its own place
    assert name(distractors=first) == "identification-among-crowd.json"
    assert name(distractors=str(tmp_path / "b" / "crowd" / ".." / "crowd")) == "identification-among-crowd-2.json"
    results, notes = read_found(run, "identification")
    assert (sorted(f"{one.stem}.json" for one in results), notes) == (sorted(named), [])
    told = read_identification(results)
    assert len(told) == 2
    assert told[0].startswith("Among 3 people, ")
    assert told[1].startswith("Among 1 distractors, ")


def test_one_person_alone_is_told_apart_from_distractors_only(run: Path, tmp_path: Path) -> None:
    people(tmp_path / "alone" / "test", names=("eve",))
    people(tmp_path / "alone" / "train", names=("eve",))
    alone = DataConfig(name=str(tmp_path / "alone"), size=8)
    with pytest.raises(
        ValueError,
        match=r"^identification: expected images of two classes or more, got 3 of eve alone: in a gallery of one every "
        r"image finds its own, and nothing is told apart\. Give more classes, or --distractors\.$",
    ):
        evaluate_identification(run, data=alone)
    assert not (run / "evaluation").exists()
    found, _ = evaluate_identification(run, data=alone, distractors="random:20")
    assert list(found["results"]) == ["distractors"]
    assert lines(found)[0].startswith("among 20 distractors: rank 1 ")


@pytest.mark.parametrize(
    ("asked", "error", "words"),
    [
        ({"distractors": "random:0"}, ValueError, r"^identification: expected random:N with a number N of 1 or"),
        ({"distractors": "noise:"}, ValueError, r"expected noise:N with a number N of 1 or more, got 'noise:'\.$"),
        ({"distractors": "nope"}, FileNotFoundError, r"as an embedded \.npy file, a folder, random:N or noise:N, got"),
        ({"distractors": "nope.npy"}, FileNotFoundError, r"^identification: there is no file nope\.npy\.$"),
        ({"memory": 0}, ValueError, r"^identification: memory must be a whole number of 1 or more, got 0\.$"),
        ({"seed": -1}, ValueError, r"^identification: seed must be a whole number of 0 or more, got -1\.$"),
        ({"flip": "x"}, ValueError, r"^identification: unknown flip 'x': choose"),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_for_is_refused(run: Path, asked: dict, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        evaluate_identification(run, **asked)
    assert not (run / "evaluation").exists()


def test_distractors_of_another_model_are_refused(run: Path, images: Path, tmp_path: Path) -> None:
    other = write_faces_run(tmp_path / "other", seed=1)
    embed_run(other, tmp_path / "x.npy", images=[images])
    with pytest.raises(
        ValueError, match=r"x\.npy was not embedded by the model in .*run as it is used here; what differs: w"
    ):
        evaluate_identification(run, distractors=str(tmp_path / "x.npy"))


def test_classes_that_the_run_left_out_are_told_of_other_images(
    run: Path, images: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    own = DataConfig(name=str(images), size=8, min_images=3)
    save_config(
        make_config(None, {"data.name": str(images), "data.size": 8, "data.min_images": 3}), run / "config.yaml"
    )
    people(tmp_path / "other" / "train", names=("dan", "eve"))
    people(tmp_path / "other" / "train", names=("kim",), num_each=1)
    people(tmp_path / "other" / "test", names=("dan", "eve", "kim"))
    other = replace(own, name=str(tmp_path / "other"))
    summary, _ = evaluate_identification(run, data=other)
    assert summary["results"]["closed-set"]["num_people"] == 2
    told = "identification: of .*other too, as in the run, classes of fewer than 3 images are left out "
    assert re.search(told + r"\(--data\.min_images 0 for all\)\.$", caplog.messages[0])
    caplog.clear()
    summary, _ = evaluate_identification(run, data=replace(other, min_images=0))
    assert summary["results"]["closed-set"]["num_people"] == 3
    assert not caplog.messages
