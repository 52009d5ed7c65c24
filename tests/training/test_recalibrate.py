# SPDX-License-Identifier: MIT
"""Running statistics measured again: plain averages over batches, nothing else changes, a run tells both accuracies."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from hypersphere.cli import main
from hypersphere.data import load_images, normalize_pixels
from hypersphere.formulas import magnitudes
from hypersphere.models import Classifier, load_classifier
from hypersphere.nn import MarginHead
from hypersphere.nn.decoupled import DecoupledConv2d
from hypersphere.training import run as run_room
from hypersphere.training.adversary import Adversary
from hypersphere.training.batches import training_batches
from hypersphere.training.recalibrate import recalibrate, running_statistics
from hypersphere.training.run import evaluate, train
from tiny_runs import digits_config, make_trainer, noise_config


@pytest.fixture(autouse=True)
def no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages have tests of their own."""

    def write(run: Path) -> Path:
        page = run / "report.html"
        page.write_text("<title>a run</title>")
        return page

    monkeypatch.setattr("hypersphere.report.write_report", write)


class Net(nn.Module):
    """Every kind of layer that a pass in training changes, or that is itself changed by one."""

    num_features = 4

    def __init__(self) -> None:
        super().__init__()
        self.conv = DecoupledConv2d(1, 3, 3, magnitude=magnitudes.Tanh(momentum=0.25))
        self.fixed = DecoupledConv2d(3, 3, 1, magnitude=magnitudes.Ball(relative=False))
        self.norm = nn.BatchNorm2d(3, momentum=0.3)
        self.untracked = nn.BatchNorm2d(3, track_running_stats=False)
        self.drop = nn.Dropout(0.5)
        self.never = nn.BatchNorm1d(2)
        self.last = nn.Linear(12, 4)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.last(self.drop(self.untracked(self.norm(self.fixed(self.conv(images))))).flatten(1))


def net() -> Net:
    """A network whose statistics say something already."""
    torch.manual_seed(0)
    model = Net()
    for _ in range(3):
        model(torch.randn(6, 1, 4, 4))
    model.never.running_mean.fill_(7.0)
    return model


def batches(count: int = 4) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [(number + 1) * torch.randn(8, 1, 4, 4, generator=generator) for number in range(count)]


def test_statistics_are_averages_over_the_batches() -> None:
    model = net()
    expected: dict[str, list[torch.Tensor]] = {"norm": [], "mean": [], "var": []}
    for batch in batches():
        windows = batch.unfold(2, 3, 1).unfold(3, 3, 1).flatten(-2)
        expected["norm"].append((windows.double().square().sum(-1) + 1e-4).sqrt().mean())
        # its radius is relative to the mean norm of the batch, as in training
        fresh = net()
        between = fresh.fixed(fresh.conv(batch)).detach().double()
        expected["mean"].append(between.mean(dim=(0, 2, 3)))
        expected["var"].append(between.var(dim=(0, 2, 3), unbiased=True))
    assert recalibrate(model, batches()) == ["conv", "norm"]
    for name, found in (
        ("norm", model.conv.running_norm),
        ("mean", model.norm.running_mean),
        ("var", model.norm.running_var),
    ):
        torch.testing.assert_close(found.double(), torch.stack(expected[name]).mean(dim=0), rtol=1e-5, atol=1e-6)
    assert model.conv.num_batches_tracked == model.norm.num_batches_tracked == 4


def test_nothing_else_changes() -> None:
    model = net()
    model.last.eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    magnitude = model.conv.magnitude
    generator = torch.get_rng_state()
    recalibrate(model, batches())
    # no dropout was drawn
    assert torch.equal(torch.get_rng_state(), generator)
    assert [module.training for module in model.modules()] == modes
    assert (model.norm.momentum, model.conv.magnitude) == (0.3, magnitude)
    assert all(parameter.grad is None for parameter in model.parameters())
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"conv.running_norm", "conv.num_batches_tracked", "norm.running_mean", "norm.running_var"} | {
        "norm.num_batches_tracked"
    }


def test_the_same_batches_give_the_same_whatever_was_there_before() -> None:
    first, second = net(), net()
    recalibrate(second, batches(2))
    for model in (first, second):
        recalibrate(model, batches())
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name


def test_a_failure_leaves_everything_as_it_was() -> None:
    model = net()
    before = {name: value.clone() for name, value in model.state_dict().items()}

    def broken() -> Iterator[torch.Tensor]:
        yield batches()[0]
        raise OSError("the disk is gone")

    for given, error in ((broken(), OSError), (iter([]), ValueError), ([torch.zeros(2, 3)], ValueError)):
        with pytest.raises(error):
            recalibrate(model, given)
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
        assert model.training
        assert model.norm.momentum == 0.3
    with pytest.raises(ValueError, match=r"^recalibrate: there are no batches to measure on\.$"):
        recalibrate(model, [])


def test_a_model_without_statistics_is_refused() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2))
    assert running_statistics(model) == {}
    with pytest.raises(ValueError, match=r"^recalibrate: no layer of the model keeps running statistics, so there "):
        recalibrate(model, [torch.zeros(1, 2)])
    with pytest.raises(ValueError, match=r"no layer of the model keeps running statistics"):
        make_trainer(Path("never-made"), noise_config(training__recalibrate=2))


def test_a_run_tells_both_accuracies_and_keeps_the_new_statistics(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = train(digits_config(), tmp_path / "plain", quiet=True)
    config = digits_config(training__recalibrate=9)
    again = train(config, tmp_path / "again", quiet=True)
    assert plain.recalibrated is None
    # the official result is that of the run without
    assert again.accuracy == plain.accuracy
    assert again.recalibrated is not None
    assert again.recalibrated != again.accuracy
    official = json.loads((again.folder / "evaluation" / "classification.json").read_text())
    assert official == json.loads((plain.folder / "evaluation" / "classification.json").read_text())
    summary = json.loads((again.folder / "evaluation" / "classification-recalibrated.json").read_text())
    assert summary["recalibration"] == {"batches": 9, "accuracy_before": again.accuracy}
    assert summary["accuracy"] == again.recalibrated
    # weights as trained, statistics new
    old, new = (load_file(result.folder / "model.safetensors") for result in (plain, again))
    changed = {name for name in old if not torch.equal(old[name], new[name])}
    assert changed
    assert all("running_" in name or "num_batches" in name for name in changed)
    # evaluated again, the saved model gives its own result under its own name
    found, path = evaluate(again.folder)
    assert path.name == "classification-recalibrated.json"
    assert found == summary
    # and so does the plain run, measured afterwards, without a change of its model
    capsys.readouterr()
    assert main(["evaluate", str(plain.folder), "--recalibrate", "9"]) == 0
    assert f"\nas the model was saved: accuracy {plain.accuracy:.4f}\n" in capsys.readouterr().out
    afterwards = json.loads((plain.folder / "evaluation" / "classification-recalibrated.json").read_text())
    assert afterwards | {"loss": 0.0} == summary | {"loss": 0.0}
    # training lays images out in another order of memory, and sums in another order
    assert afterwards["loss"] == pytest.approx(summary["loss"], rel=1e-6)
    assert all(torch.equal(value, old[name]) for name, value in load_file(plain.folder / "model.safetensors").items())
    found, path = evaluate(plain.folder, split="train", recalibrate=1)
    assert path.name == "classification-digits-train-recalibrated.json"


def test_a_run_killed_before_its_last_word_says_both_after_all(tmp_path: Path) -> None:
    config = digits_config(training__recalibrate=3, training__steps=3)
    first = train(config, tmp_path / "run", quiet=True)
    (tmp_path / "run" / "evaluation" / "classification-recalibrated.json").unlink()
    for already in (False, True):
        result = train(config, tmp_path / "run", resume=True, quiet=True)
        assert result.already_finished is already
        assert (result.accuracy, result.recalibrated) == (first.accuracy, first.recalibrated)


def test_parts_of_a_batch_count_as_training_has_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    monkeypatch.setattr("hypersphere.training.loop.recalibrate", lambda _, parts: sizes.extend(map(len, parts)))
    torch.manual_seed(0)
    config = noise_config(training__recalibrate=2, training__accumulate=3)
    trainer = make_trainer(tmp_path, config, classifier=Classifier(Net(), MarginHead(4, 3)))
    trainer.recalibrate()
    assert sizes == [4] * 6


@pytest.mark.parametrize("afterwards", [False, True])
def test_batches_are_attacked_where_those_of_training_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, afterwards: bool
) -> None:
    settings = {"adversary__attack": "fgsm", "adversary__epsilon": 0.2, "training__accumulate": 2}
    config = digits_config(**settings, training__steps=2, training__recalibrate=0 if afterwards else 2)
    seen: list[torch.Tensor] = []

    def watched(model: nn.Module, parts: Iterator[torch.Tensor]) -> None:
        seen.extend(parts)
        recalibrate(model, seen)

    monkeypatch.setattr("hypersphere.training.loop.recalibrate", watched)
    monkeypatch.setattr(run_room, "recalibrate", watched)
    train(config, tmp_path, quiet=True)
    if afterwards:
        evaluate(tmp_path, recalibrate=2)
    trained = train(digits_config(**settings, training__steps=2), tmp_path / "plain", quiet=True).folder
    attack = Adversary(config, load_classifier(trained)[0])
    images = load_images(config.data, split="train")
    clean = [
        (normalize_pixels(pixels, config.data.mean, config.data.std), labels, step, number)
        for step, batch in enumerate(training_batches(images, config, 2, 4), start=2)
        for number, (pixels, labels) in enumerate(zip(*(half.chunk(2) for half in batch), strict=True), start=1)
    ]
    assert len(seen) == len(clean) == 4
    for found, (pixels, labels, step, number) in zip(seen, clean, strict=True):
        assert torch.allclose(found, attack(pixels, labels, step, 0, number), atol=1e-5)
        assert (found - pixels).abs().max() == pytest.approx(0.2 * 255 / config.data.std[0], rel=1e-4)


def test_evaluate_takes_whole_numbers_of_batches(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^evaluate: recalibrate must be a whole number of 0 or more, got -1\.$"):
        run_room.evaluate(tmp_path, recalibrate=-1)
