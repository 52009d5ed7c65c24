# SPDX-License-Identifier: MIT
"""Starting from another model: what fits is copied by name and shape, the rest is told, no fit at all is refused."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from hypersphere.training.run import train
from hypersphere.training.start import Start, start_from
from tiny_runs import digits_config, lines, make_trainer, noise_classifier, noise_config


def written(path: Path, **tensors: torch.Tensor) -> Path:
    save_file({name.replace("__", "."): tensor for name, tensor in tensors.items()}, path)
    return path


def test_what_fits_is_copied_and_the_rest_is_told(tmp_path: Path) -> None:
    other = noise_classifier(seed=1).state_dict()
    model = noise_classifier()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    source = written(
        tmp_path / "other.safetensors",
        # as a classifier names it, as the bare network does, of another shape, of no use
        model__first__weight=other["model.first.weight"],
        first__bias=other["model.first.bias"].double(),
        head__weight=torch.zeros(4, 5),
        tail=torch.zeros(2),
    )
    found = start_from(model, source)
    now = model.state_dict()
    for name in ("model.first.weight", "model.first.bias"):
        assert torch.equal(now[name], other[name])
    for name in ("model.second.weight", "model.second.bias", "head.weight"):
        assert torch.equal(now[name], before[name])
    assert found == Start(
        source,
        ["model.first.weight", "model.first.bias"],
        {
            "model.second.weight": "not in the file",
            "model.second.bias": "not in the file",
            "head.weight": "4x5 in the file, 3x5 here",
        },
        ["tail"],
    )
    assert found.sentence() == (
        f"{source}: 2 tensors taken over; kept fresh: model.second.weight (not in the file), model.second.bias (not in "
        "the file), head.weight (4x5 in the file, 3x5 here); not used: tail"
    )


def test_a_bare_network_takes_what_a_classifier_wrote_with_its_running_statistics(tmp_path: Path) -> None:
    layers = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    layers(torch.randn(8, 2))
    source = written(
        tmp_path / "all.safetensors", **{f"model.{name}": value for name, value in layers.state_dict().items()}
    )
    fresh = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    assert start_from(fresh, source).fresh == {}
    for name, value in fresh.state_dict().items():
        assert torch.equal(value, layers.state_dict()[name])


def test_long_lists_are_cut_short() -> None:
    found = Start(Path("m"), ["w"], {}, [f"t{number}" for number in range(9)])
    assert found.sentence() == "m: 1 tensor taken over; not used: t0, t1, t2, t3, t4, t5 and 3 more"


def test_a_source_that_gives_nothing_is_refused(tmp_path: Path) -> None:
    model = noise_classifier()
    with pytest.raises(FileNotFoundError, match=r"nowhere cannot be started from: expected a run folder or a file\.$"):
        start_from(model, tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"expected model\.safetensors in it, which a finished run has\.$"):
        start_from(model, tmp_path)
    (tmp_path / "text.safetensors").write_text("text")
    with pytest.raises(ValueError, match=r"text\.safetensors is damaged or no safetensors file: "):
        start_from(model, tmp_path / "text.safetensors")
    source = written(tmp_path / "none.safetensors", tail=torch.zeros(2), first__weight=torch.zeros(3))
    expected = (
        r"^start_from: no tensor of .*none\.safetensors fits the model\. The file has first\.weight, tail; the model "
        r"has model\.first\.weight, .* Give a file of the same network\.$"
    )
    with pytest.raises(ValueError, match=expected):
        start_from(model, source)


def test_a_run_starts_from_another_once_and_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    short = {"training__steps": 3, "optimizer__rate": 1e-9}
    first = train(digits_config(**short), tmp_path / "first", quiet=True)
    config = digits_config(training__start_from=str(first.folder), training__seed=4, **short)
    with caplog.at_level(logging.INFO):
        second = train(config, tmp_path / "second", quiet=True)
    (line,) = lines(second.folder, "start")
    assert (line["step"], line["fresh"], line["unused"]) == (0, {}, [])
    assert "head.weight" in line["taken"]
    assert f"{first.folder / 'model.safetensors'}: {len(line['taken'])} tensors taken over" in caplog.text
    # the first evaluation of the second run is the last of the first, in another loop with other batches
    begun = lines(second.folder, "evaluation")[0]
    assert begun["accuracy"] == pytest.approx(lines(first.folder, "evaluation")[-1]["accuracy"], abs=0.02)
    # a run that goes on does not look for where it came from
    for file in (first.folder / "model.safetensors", second.folder / "report.html"):
        file.unlink(missing_ok=True)
    again = train(config, tmp_path / "second", resume=True, quiet=True)
    assert again.accuracy == second.accuracy


def test_nothing_is_written_when_nothing_fits(tmp_path: Path) -> None:
    source = written(tmp_path / "none.safetensors", tail=torch.zeros(2))
    with pytest.raises(ValueError, match="no tensor of"):
        train(digits_config(training__start_from=str(source)), tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def test_the_line_comes_first(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, noise_config(training__steps=1), start=Start(Path("m"), ["head.weight"]))
    trainer.fit()
    assert [line["kind"] for line in lines(tmp_path)] == ["start", "evaluation", "train", "evaluation"]
