# SPDX-License-Identifier: MIT
"""Verification of a run: the right pairs and folds, both rules as by hand, a threshold for single pairs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from face_runs import people, write_faces_run
from hypersphere.evaluation import Pairs, verify
from hypersphere.training.embedder import Embedder
from hypersphere.training.lookup import compare_images, read_threshold
from hypersphere.training.settings import make_config, save_config
from hypersphere.training.verification import evaluate_verification, lines

NAMES = ("ann", "bob", "cat", "dan")
# two folds of two pairs of either kind, in the form of LFW
SAME = [["ann\t1\t2", "bob\t1\t3"], ["cat\t1\t2", "dan\t2\t3"]]
OTHER = [["ann\t3\tbob\t2", "ann\t1\tbob\t1"], ["cat\t3\tdan\t1", "cat\t1\tdan\t3"]]
TEXT = "2\t2\n" + "".join("\n".join([*same, *other]) + "\n" for same, other in zip(SAME, OTHER, strict=True))


def faces(folder: Path) -> Path:
    """Three images of each person, named as in LFW, and their pairs."""
    people(folder, names=NAMES)
    for name in NAMES:
        for number in range(3):
            (folder / name / f"{name}_{number}.png").rename(folder / name / f"{name}_{number + 1:04d}.png")
    (folder / "pairs.txt").write_text(TEXT)
    return folder


def make_run(folder: Path, images: Path, **data: object) -> Path:
    """A run whose settings name a folder of faces."""
    run = write_faces_run(folder)
    settings = {"data.name": str(images), "data.size": 8} | {f"data.{name}": value for name, value in data.items()}
    save_config(make_config(None, settings), run / "config.yaml")
    return run


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return faces(tmp_path / "faces")


@pytest.fixture
def run(tmp_path: Path, images: Path) -> Path:
    return make_run(tmp_path / "run", images)


def by_hand(run: Path, images: Path) -> tuple[np.ndarray, np.ndarray, Pairs]:
    """Features of all twelve images and of their mirror images, sorted by path, and the pairs of `TEXT`."""
    embedder = Embedder(run)
    pixels = torch.from_numpy(np.stack([embedder.preparation.read(path) for path in sorted(images.rglob("*.png"))]))
    at = {f"{name}{number}": 3 * place + number - 1 for place, name in enumerate(NAMES) for number in (1, 2, 3)}
    left = [at[one] for one in ("ann1", "bob1", "ann3", "ann1", "cat1", "dan2", "cat3", "cat1")]
    right = [at[one] for one in ("ann2", "bob3", "bob2", "bob1", "cat2", "dan3", "dan1", "dan3")]
    same = np.array([True, True, False, False] * 2)
    pairs = Pairs(np.array(left), np.array(right), same, np.array([1] * 4 + [2] * 4))
    return embedder.features(pixels), embedder.features(pixels.flip(3)), pairs


@pytest.mark.parametrize("flip", [None, "none", "sum"])
def test_both_rules_are_those_by_hand(run: Path, images: Path, flip: str | None) -> None:
    found, written = evaluate_verification(run, flip=flip)
    plain, mirrored, pairs = by_hand(run, images)
    for rule, one in found.items():
        rows = {None: plain, "none": plain, "sum": plain + mirrored}[flip]
        expected = verify(rows, pairs, flipped=mirrored if flip is None else None, protocol=rule)
        assert one["variant"] == rule
        assert one["accuracy"] == expected.accuracy
        assert one["folds"] == [1, 2]
        assert one["thresholds"] == expected.thresholds.tolist()
        stem = "verification" if rule == "lfw-official" else "verification-common"
        with np.load(run / "evaluation" / f"{stem}.npz") as arrays:
            np.testing.assert_allclose(arrays["scores"], expected.scores, rtol=1e-5, atol=1e-6)
    assert [path.name for path in written] == ["verification.json", "verification-common.json"]
    assert json.loads(written[0].read_text()) == found["lfw-official"]
    assert found["lfw-official"]["split"] == "all 2 folds"
    assert found["lfw-official"]["flip"] == ("as the protocol" if flip is None else flip)


@pytest.mark.parametrize(("flip", "used"), [(None, "sum"), ("none", "none"), ("concat", "concat")])
def test_single_pairs_get_the_threshold_of_the_common_rule(
    run: Path, images: Path, flip: str | None, used: str
) -> None:
    found, _ = evaluate_verification(run, flip=flip)
    threshold = read_threshold(run)
    assert threshold is not None
    # |u - v|² = 2 - 2 cos, and scores are its negative
    mean = np.mean(found["lfw-common"]["thresholds"])
    assert threshold.cosine == pytest.approx(1 + mean / 2, abs=1e-12)
    assert (threshold.flip, threshold.source) == (used, "lfw-common, the mean of 2 folds")
    one = compare_images(run, images / "ann" / "ann_0001.png", images / "ann" / "ann_0002.png")
    assert one.flip == used
    assert one.same is (one.cosine > threshold.cosine)
    with np.load(run / "evaluation" / "verification-common.npz") as arrays:
        assert one.cosine == pytest.approx(1 + arrays["scores"][0] / 2, abs=1e-6)


def test_the_fold_that_training_left_out_is_reported_alone(tmp_path: Path, images: Path) -> None:
    run = make_run(tmp_path / "run", images, without_fold=2)
    found, written = evaluate_verification(run)
    one = found["lfw-official"]
    assert (one["split"], one["folds"], one["num_pairs"]) == ("fold 2 of 2", [2], 4)
    assert one["decision"]["source"] == "lfw-common, the other folds"
    assert written[0].name == "verification.json"
    first, written = evaluate_verification(run, fold=1)
    assert first["lfw-official"]["folds"] == [1]
    assert [path.name for path in written] == ["verification-fold-1.json", "verification-fold-1-common.json"]
    _, written = evaluate_verification(run, fold=0)
    assert written[0].name == "verification-all-folds.json"
    # what was measured on people that training saw decides nothing
    assert json.loads((run / "evaluation" / "verification.json").read_text()) == one


def test_other_pairs_have_files_of_their_own(tmp_path: Path, images: Path) -> None:
    run = make_run(tmp_path / "run", images, without_fold=2)
    other = images / "mine.txt"
    other.write_text("1 ann/ann_0001 ann/ann_0002\n0 ann/ann_0001 bob/bob_0001\n" * 2)
    found, written = evaluate_verification(run, pairs=other)
    assert found["lfw-common"]["split"] == "all 2 folds"
    assert found["lfw-common"]["pairs"] == "mine.txt"
    assert [path.name for path in written] == ["verification-mine.json", "verification-mine-common.json"]
    assert read_threshold(run) is None
    # the run's own list under its name is the run's own
    assert evaluate_verification(run, pairs=images / "pairs.txt")[1][0].name == "verification.json"


def test_pairs_stand_in_for_those_that_the_settings_lack(tmp_path: Path, images: Path) -> None:
    run = write_faces_run(tmp_path / "run")
    _, written = evaluate_verification(run, pairs=images / "pairs.txt")
    assert written[0].name == "verification.json"
    before = written[0].read_bytes()
    # others do not: several lists, one after the other, each have files of their own
    (images / "common.txt").write_text("1 ann/ann_0001 ann/ann_0002\n0 ann/ann_0001 bob/bob_0001\n" * 2)
    _, written = evaluate_verification(run, pairs=images / "common.txt")
    assert [path.name for path in written] == [
        "verification-common-pairs.json",
        "verification-common-pairs-common.json",
    ]
    faces(tmp_path / "b" / "more faces")
    _, written = evaluate_verification(run, pairs=tmp_path / "b" / "more faces" / "pairs.txt")
    assert written[0].name == "verification-more_faces.json"
    assert json.loads(written[0].read_text())["pairs"] == "more faces/pairs.txt"
    assert (run / "evaluation" / "verification.json").read_bytes() == before
    # the first ones again take their own place
    evaluate_verification(run, pairs=images / "pairs.txt", flip="none")
    assert (run / "evaluation" / "verification.json").read_bytes() != before


def test_lists_of_one_name_from_two_folders_have_files_of_their_own(run: Path, images: Path, tmp_path: Path) -> None:
    text = "1 ann/ann_0001 ann/ann_0002\n0 ann/ann_0001 bob/bob_0001\n" * 2
    lists = [images / "mine.txt", faces(tmp_path / "b") / "mine.txt"]
    for file in lists:
        file.write_text(text)
    for _ in range(2):
        names = [[path.name for path in evaluate_verification(run, pairs=file)[1]] for file in lists]
        assert names[0] == ["verification-mine.json", "verification-mine-common.json"]
        assert names[1] == ["verification-mine-2.json", "verification-mine-2-common.json"]
    assert evaluate_verification(run, pairs=lists[1], fold=1)[1][0].name == "verification-mine-fold-1.json"
    # nor is a list taken for the common rule of another
    (images / "mine-common.txt").write_text(text)
    assert evaluate_verification(run, pairs=images / "mine-common.txt")[1][0].name == "verification-mine-common-2.json"
    # what an older version wrote tells the name alone, and is replaced
    old = run / "evaluation" / "verification-mine.json"
    old.write_text(json.dumps({"protocol": "verification", "pairs": "mine.txt"}))
    assert evaluate_verification(run, pairs=lists[0])[1][0] == old


def test_one_list_stands_in_and_another_of_its_name_does_not(images: Path, tmp_path: Path) -> None:
    run = write_faces_run(tmp_path / "run")
    file = faces(tmp_path / "b" / "faces") / "pairs.txt"
    assert evaluate_verification(run, pairs=images / "pairs.txt")[1][0].name == "verification.json"
    assert evaluate_verification(run, pairs=file)[1][0].name == "verification-faces.json"
    # of an older version the name is all that is known
    own = run / "evaluation" / "verification.json"
    own.write_text(json.dumps({"pairs": "faces/pairs.txt"}))
    assert evaluate_verification(run, pairs=file)[1][0] == own


def test_no_pairs_stand_in_for_those_of_a_fold_that_was_left_out(tmp_path: Path, images: Path) -> None:
    run = make_run(tmp_path / "run", tmp_path / "not here", without_fold=2)
    found, written = evaluate_verification(run, pairs=images / "pairs.txt")
    assert [path.name for path in written] == ["verification-faces.json", "verification-faces-common.json"]
    assert (found["lfw-official"]["split"], found["lfw-official"]["num_pairs"]) == ("all 2 folds", 8)
    assert read_threshold(run) is None
    # nor does the name of those of before
    (run / "evaluation" / "verification.json").write_text(json.dumps({"pairs": "faces/pairs.txt"}))
    found, written = evaluate_verification(run, pairs=images / "pairs.txt")
    assert (written[0].name, found["lfw-common"]["folds"]) == ("verification-faces.json", [1, 2])
    with pytest.raises(FileNotFoundError, match=r"^data set '.*not here' has no list of pairs: name one"):
        evaluate_verification(run)


def test_nothing_is_embedded_for_pairs_that_cannot_be_verified(
    run: Path, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Embedder, "features", lambda *_: pytest.fail("embedded"))
    with pytest.raises(ValueError, match="fold must lie in"):
        evaluate_verification(run, fold=3)


def test_people_of_the_training_are_counted(run: Path) -> None:
    found, _ = evaluate_verification(run)
    assert found["lfw-official"]["people_in_training"] == {"num_people": 4, "in_training": 2}
    told = lines(found)
    assert told[-1].startswith("note: 2 of the 4 people of these pairs were classes of the training, so that this says")
    assert told[4] == "8 pairs of faces/pairs.txt (4 of one person), all 2 folds"
    only, _ = evaluate_verification(run, fold=2)
    assert only["lfw-official"]["people_in_training"] == {"num_people": 2, "in_training": 0}
    assert not any(line.startswith("note") for line in lines(only))


def test_lines_say_what_a_person_asks_for(run: Path) -> None:
    told = lines(evaluate_verification(run)[0])
    assert told[0].startswith("lfw-official: accuracy 0.")
    assert "(standard error), area " in told[0]
    assert "TAR " in told[1]
    assert "at FAR 0.0001 (too few pairs)" in told[1]
    assert told[2].startswith("lfw-common: accuracy 0.")


def test_what_cannot_be_verified_is_told(tmp_path: Path, run: Path, images: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nope\.txt: there is no such list of pairs\.$"):
        evaluate_verification(run, pairs=tmp_path / "nope.txt")
    with pytest.raises(ValueError, match=r"^verification: fold must lie in \[0, 2\], got 3\. 0 stands for all\.$"):
        evaluate_verification(run, fold=3)
    (images / "one.txt").write_text("1 ann/ann_0001 ann/ann_0002\n" * 2)
    with pytest.raises(
        ValueError, match=r"^verification: expected pairs of one person and .* in .*one\.txt, got 2 and 0"
    ):
        evaluate_verification(run, pairs=images / "one.txt")
    (images / "fold.txt").write_text(f"1\n{SAME[0][0]}\n{OTHER[0][0]}\n")
    with pytest.raises(ValueError, match=r"^verification: expected two folds or more, as thresholds come from the"):
        evaluate_verification(run, pairs=images / "fold.txt")
    with pytest.raises(ValueError, match=r"^verification: unknown flip 'x': choose concat, none, sum"):
        evaluate_verification(run, flip="x")
    bare = write_faces_run(tmp_path / "bare")
    with pytest.raises(
        FileNotFoundError, match=r"^data set 'synthetic' has no list of pairs: name one by data\.pairs\.$"
    ):
        evaluate_verification(bare)
    (bare / "config.yaml").unlink()
    with pytest.raises(FileNotFoundError, match=r"^verification: .*bare is no run: there is no config\.yaml in it\.$"):
        evaluate_verification(bare)
    grey = write_faces_run(tmp_path / "grey", channels=1)
    with pytest.raises(
        ValueError, match=r"^faces: the images of the pairs are in colour, the model takes 1 channel\.$"
    ):
        evaluate_verification(grey, pairs=images / "pairs.txt")
    other = write_faces_run(tmp_path / "other", side=10, size=None)
    with pytest.raises(
        ValueError, match=r"the images of the pairs have shape \(3, 8, 8\), the model takes \(3, 10, 10\)"
    ):
        evaluate_verification(other, pairs=images / "pairs.txt")
    assert not (other / "evaluation").exists()
