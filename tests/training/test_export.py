# SPDX-License-Identifier: MIT
"""A trained run as one file: it answers elsewhere as it does here; what cannot be exported is said in words."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from hypersphere.cli import main
from hypersphere.data import load_images
from hypersphere.models import Exported, load_classifier
from hypersphere.models.export import METADATA_FILE
from hypersphere.training import run as run_room
from hypersphere.training.export import FORMATS, PIXELS, export_run, lines
from hypersphere.training.run import evaluate, train
from hypersphere.training.settings import read_config
from tiny_runs import digits_config

PAGE = Path(__file__).parents[2] / "docs" / "export.md"

# a process that knows neither torch nor this library
ELSEWHERE = """
import json, sys
import numpy as np, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1])
data = np.load(sys.argv[2])
logits, features = session.run(["logits", "features"], {"pixels": data["pixels"]})
right = float((logits.argmax(1) == data["labels"]).mean())
print(json.dumps([right, list(features.shape), "torch" in sys.modules, "hypersphere" in sys.modules]))
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a few seconds with an operator that has a running norm; tests only add files."""
    folder = tmp_path_factory.mktemp("runs") / "first"
    arguments = {"width": 8, "operator": "decoupled", "operator_arguments": {"angle": "linear", "magnitude": "tanh"}}
    config = digits_config(model__arguments=arguments, training__steps=60, training__evaluate_every=10.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_room, "_write_report", lambda run: None)
        train(config, folder, quiet=True)
    return folder


@pytest.fixture(scope="module")
def command(run: Path) -> subprocess.CompletedProcess[str]:
    """The command as a user gives it, whose file the tests share."""
    words = [sys.executable, "-c", "import sys; from hypersphere.cli import main; sys.exit(main())", "export", str(run)]
    return subprocess.run(words, capture_output=True, text=True)


@pytest.fixture(scope="module")
def written(run: Path, command: subprocess.CompletedProcess[str]) -> Path:
    assert command.returncode == 0, command.stderr
    return run / "model.onnx"


def pixels_and_labels(run: Path) -> dict[str, np.ndarray]:
    images = load_images(read_config(run / "config.yaml").data, split="test")
    batches = list(images.batches(100))
    return {
        "pixels": torch.cat([pixels for pixels, _ in batches]).numpy(),
        "labels": torch.cat([labels for _, labels in batches]).numpy(),
    }


def test_another_process_finds_the_same_accuracy(run: Path, written: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "test.npz", **pixels_and_labels(run))
    command = [sys.executable, "-c", ELSEWHERE, str(written), str(tmp_path / "test.npz")]
    answered = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert answered.stderr == ""
    right, shape, has_torch, has_library = json.loads(answered.stdout)
    assert right == pytest.approx(evaluate(run)[0]["accuracy"], abs=1e-12)
    assert right > 0.4
    assert shape == [500, 3]
    assert not has_torch
    assert not has_library


def test_the_program_answers_for_raw_pixels(run: Path, tmp_path: Path) -> None:
    found = export_run(run, format="pt2", out=tmp_path / "new" / "a.pt2")
    kept = {METADATA_FILE: ""}
    program = torch.export.load(found.path, extra_files=kept).module()
    data = pixels_and_labels(run)
    logits = program(torch.from_numpy(data["pixels"]))["logits"]
    right = (logits.argmax(1).numpy() == data["labels"]).mean()
    assert right == pytest.approx(evaluate(run)[0]["accuracy"], abs=1e-12)
    assert json.loads(kept[METADATA_FILE])["image_shape"] == [1, 8, 8]


def test_metadata_say_what_goes_in(written: Path) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(written)
    known = session.get_modelmeta().custom_metadata_map
    assert json.loads(known["class_names"]) == list("0123456789")
    assert json.loads(known["image_shape"]) == [1, 8, 8]
    assert (json.loads(known["mean"]), json.loads(known["std"])) == ([127.5], [128.0])
    assert json.loads(known["preparation"]) == {"size": None, "resize": "crop", "crop": None}
    assert known["normalization"] == "inside the model: (pixels - mean) / std"
    assert known["pixels"] == "uint8, 0..255, (N, channels, height, width); channels: grey"
    assert (known["model"], known["data"]) == ("digits-cnn", "digits")
    assert [(one.name, one.type, one.shape) for one in session.get_inputs()] == [
        ("pixels", "tensor(uint8)", ["N", 1, 8, 8])
    ]
    assert [(one.name, one.shape) for one in session.get_outputs()] == [("logits", ["N", 10]), ("features", ["N", 3])]


def test_features_alone_from_float_pixels_in_place_of_a_file(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.pt2"
    out.write_text("mine")
    words = ["--format", "pt2", "--features", "--pixels", "float32", "--out", str(out), "--force"]
    assert main(["export", str(run), *words]) == 0
    classifier, spec = load_classifier(run)
    pixels = torch.rand(3, 1, 8, 8) * 255
    wanted = classifier.features((pixels - spec["data"]["mean"][0]) / spec["data"]["std"][0])
    found = torch.export.load(out).module()(pixels)
    assert list(found) == ["features"]
    torch.testing.assert_close(found["features"], wanted)
    assert list(PIXELS) == ["uint8", "float32"]


def test_the_code_on_the_page_names_a_digit(
    run: Path, written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (code,) = re.findall(r"^```py\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    data = pixels_and_labels(run)
    shutil.copy(written, tmp_path / "model.onnx")
    Image.fromarray(data["pixels"][7, 0]).save(tmp_path / "digit.png")
    monkeypatch.chdir(tmp_path)
    exec(compile(code, PAGE.name, "exec"), {})
    classifier, _ = load_classifier(run)
    normal = (torch.from_numpy(data["pixels"][7:8]).float() - 127.5) / 128.0
    assert capsys.readouterr().out == f"{classifier(normal).argmax()}\n"


def test_the_command_says_what_it_wrote_and_no_more(written: Path, command: subprocess.CompletedProcess[str]) -> None:
    assert command.stderr == ""
    first, second, third = command.stdout.splitlines()
    assert first == f"model    {written} ({written.stat().st_size / 2**10:.1f} KiB; onnx, opset 18)"
    assert second == "takes    pixels; gives logits, features; class names and more in its metadata"
    told = r"checked  onnxruntime and the model differ by \S+ at most, \S+ of the largest number, with 2, 1, 3 images"
    assert re.fullmatch(told, third)


def test_large_files_are_told_in_mebibytes() -> None:
    found = Exported(Path("a.pt2"), "pt2", 3 * 2**20, 2e-7, 1e-7, (2, 1, 3), ("pixels",), ("logits", "features"))
    assert lines(found) == [
        "model    a.pt2 (3.0 MiB; pt2, a program of torch.export)",
        "takes    pixels; gives logits, features; class names and more in its metadata",
        "checked  the file and the model differ by 2e-07 at most, 1e-07 of the largest number, with 2, 1, 3 images",
    ]
    assert set(FORMATS) == {"onnx", "pt2"}


def test_what_cannot_be_exported_is_one_line(
    run: Path, written: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    unfinished = tmp_path / "unfinished"
    unfinished.mkdir()
    shutil.copy(run / "config.yaml", unfinished)
    blocked = tmp_path / "blocked"
    blocked.touch()
    cases: dict[str, list[Any]] = {
        f"export: {tmp_path / 'nowhere'} is no run: there is neither config.yaml nor model.json in it.": [
            tmp_path / "nowhere"
        ],
        f"export: {unfinished} is not finished, so there is no trained model in it yet. Go on with: hypersphere train "
        f"--resume --out {unfinished}": [unfinished],
        "export: unknown format 'onxx': choose onnx, pt2 (did you mean 'onnx'?)": [run, "--format", "onxx"],
        "unknown kind of pixels 'float': choose float32, uint8 (did you mean 'float32'?)": [run, "--pixels", "float"],
        f"{written} exists already. Give another --out, or --force (replace=True) to replace it.": [run],
        f"{blocked / 'a.onnx'} cannot be written: {blocked} is no folder one may write to. Give another --out.": [
            *(run, "--out", blocked / "a.onnx")
        ],
        f"{tmp_path} is a folder. Give the name of a file.": [run, "--out", tmp_path, "--force"],
    }
    for line, words in cases.items():
        assert main(["export", *map(str, words)]) == 2
        printed = capsys.readouterr()
        assert (printed.out, printed.err) == ("", f"hypersphere: {line}\n")
