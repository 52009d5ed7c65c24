# SPDX-License-Identifier: MIT
"""A model for elsewhere from the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from command_line import Recorder, check_mistake, saved
from hypersphere.cli import main
from hypersphere.models.export import Exported
from hypersphere.training import export as training_export


def test_export_hands_on_what_was_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    called: dict[str, object] = {}

    def export_run(folder: Path, **how: object) -> Exported:
        called.update(folder=folder, **how)
        return Exported(tmp_path / "x.pt2", "pt2", 2048, 1e-7, 1e-6, (1, 2), ("pixels",), ("features",))

    monkeypatch.setattr(training_export, "export_run", export_run)
    assert main(["export", "there"]) == 0
    plain = {"format": "onnx", "out": None, "features": False, "pixels": "uint8", "replace": False}
    assert called == {"folder": Path("there"), **plain}
    assert capsys.readouterr().out.startswith(f"model    {tmp_path}/x.pt2 (2.0 KiB; pt2, a program of torch.export)\n")
    assert main(["export", "a", "--format", "pt2", "--out", "b", "--features", "--pixels", "float32", "--force"]) == 0
    typed = {"format": "pt2", "out": Path("b"), "features": True, "pixels": "float32", "replace": True}
    assert called == {"folder": Path("a"), **typed}


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("export", "the following arguments are required: RUN (see hypersphere export --help)"),
        ("export there", "export: there is not finished, so there is no trained model in it yet. Go on with: .*"),
        ("export there --format tflite", r"export: unknown format 'tflite': choose onnx, pt2"),
        ("export nope", r"export: nope is no run: there is neither config.yaml nor model.json in it\."),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    recorder: Recorder, capsys: pytest.CaptureFixture[str], words: str, line: str
) -> None:
    saved(Path("there"))
    check_mistake(capsys, words, line)
