# SPDX-License-Identifier: MIT
"""Embedding from the command line: what it hands on, what it prints, how it goes on."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from command_line import Recorder, check_mistake, saved
from face_runs import people, write_faces_run
from hypersphere.cli import main
from hypersphere.config import DataConfig
from hypersphere.training import embed as training_embed


def test_embed_writes_three_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_faces_run(Path("run"))
    people(Path("people"))
    assert main(["embed", "run", "people", "--flip", "concat", "people/ann/ann_1.png", "--out", "x.npy"]) == 0
    assert capsys.readouterr().out == (
        "rows     x.npy (10 x 12 float32, not normalised)\n"
        "index    x.csv (image and label of each row)\n"
        "facts    x.json (model, images, settings)\n"
    )
    rows = np.load("x.npy")
    np.testing.assert_allclose(rows[9], rows[1], rtol=1e-5, atol=1e-6)
    assert Path("x.csv").read_text().splitlines()[10] == "9,people/ann/ann_1.png,"
    words = ["embed", "run", "people", "people/ann/ann_1.png", "--out", "x.npy"]
    assert main(words) == 2
    assert capsys.readouterr().err.endswith("x.npy exists already. Give another --out, or --force to replace it.\n")
    assert main([*words, "--force"]) == 0
    capsys.readouterr()
    assert main([*words, "--resume"]) == 0
    assert "(10 x 6 float32, not normalised) (finished before)\n" in capsys.readouterr().out


def test_embed_hands_on_what_was_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called: dict[str, object] = {}

    def embed_run(folder: Path, out: Path, **how: object) -> dict[str, object]:
        called.clear()
        called.update(folder=folder, out=out, **how)
        return {"num_rows": 1, "dim": 2, "left_out": [], "already_finished": False}

    monkeypatch.setattr(training_embed, "embed_run", embed_run)
    run = saved(tmp_path / "run")
    plain = {"images": [], "data": None, "split": "test", "flip": "none", "batch": None, "resume": False}
    plain |= {"replace": False, "skip_broken": False, "quiet": False}
    assert main(["embed", str(run), "--out", "x.npy"]) == 0
    assert called == {"folder": run, "out": Path("x.npy")} | plain
    words = ["--data.name", "mine", "--split", "train", "--batch", "7", "--resume", "--quiet", "--out=y.npy"]
    assert main(["embed", str(run), *words]) == 0
    assert isinstance(called["data"], DataConfig)
    assert called["data"].name == "mine"
    assert (called["split"], called["batch"], called["resume"], called["quiet"]) == ("train", 7, True, True)
    assert main(["embed", str(run), "a.png", "b", "--out", "x.npy", "--skip-broken", "--force"]) == 0
    assert (called["images"], called["skip_broken"], called["replace"]) == ([Path("a.png"), Path("b")], True, True)


def test_ctrl_c_says_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_faces_run(Path("run"))
    people(Path("my people"))
    count = 0
    whole = training_embed.Embedder.__call__

    def stop(self: training_embed.Embedder, pixels: object) -> np.ndarray:
        nonlocal count
        count += 1
        if count == 3:
            raise KeyboardInterrupt
        return whole(self, pixels)

    monkeypatch.setattr(training_embed.Embedder, "__call__", stop)
    assert main(["embed", "run", "my people", "--out", "x.npy", "--batch", "2"]) == 130
    told = capsys.readouterr().err
    assert told == (
        "hypersphere: stopped; go on with: hypersphere embed run 'my people' --out x.npy --batch 2 --resume\n"
    )
    assert main(["embed", "run", "my people", "--out", "x.npy", "--batch", "2", "--resume"]) == 0
    assert count == 6
    assert len(np.load("x.npy")) == 9


def test_broken_images_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_faces_run(Path("run"))
    people(Path("people"))
    Path("people/bob/bob_0.png").write_text("no image")
    assert main(["embed", "run", "people", "--out", "x.npy"]) == 2
    told = capsys.readouterr().err
    assert re.fullmatch(
        r"hypersphere: embed: 1 of 9 images cannot be used: people/bob/bob_0\.png: the image cannot be decoded \(.*\)"
        r"\. Leave them out with: --resume --skip-broken\.\n",
        told,
    )
    assert main(["embed", "run", "people", "--out", "x.npy", "--resume", "--skip-broken"]) == 0
    assert capsys.readouterr().out.endswith("left out 1 images that cannot be used: people/bob/bob_0.png\n")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("embed", "the following arguments are required: RUN, --out (see hypersphere embed --help)"),
        ("embed there", "the following arguments are required: --out (see hypersphere embed --help)"),
        ("embed nope --out x.npy", "embed: nope is no run: there is neither config.yaml nor model.json in it."),
        ("embed there --out x.npy", "embed: there is not finished, so there is no trained model in it yet. .*"),
        ("embed there a.png --split train --out x.npy", "embed: --split belongs to a data set; images have none."),
        ("embed nope --data.name x --out x.npy", "embed: nope is no run: there is no config.yaml in it."),
        (
            "embed there --optimizer.rate 1 --out x.npy",
            "embed: only settings of data can change, got --optimizer.rate.",
        ),
        ("embed there --out x", "embed: expected a file that ends in .npy, got x."),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    recorder: Recorder, capsys: pytest.CaptureFixture[str], words: str, line: str
) -> None:
    saved(Path("there"))
    check_mistake(capsys, words, line)
