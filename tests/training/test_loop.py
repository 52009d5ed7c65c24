# SPDX-License-Identifier: MIT
"""One step does what the formula says, however a batch is divided; a run says what it did and stops when it breaks."""

from __future__ import annotations

import errno
import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from house import ROOT
from hypersphere.config import DataConfig
from hypersphere.data import augment, load_images, normalize_pixels
from hypersphere.models import load_classifier
from hypersphere.training.batches import training_batches
from hypersphere.training.checkpoint import CHECKPOINT
from hypersphere.training.failures import Diverged
from hypersphere.training.loop import Trainer
from hypersphere.training.recalibrate import recalibrate, running_statistics
from hypersphere.training.regularization import make_regularizers
from hypersphere.training.settings import read_config
from tiny_runs import lines, make_trainer, noise, noise_classifier, noise_config

ROUNDING = 1e-6


def parameters(trainer: Trainer) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in trainer.classifier.parameters()])


def run_to_end(folder: Path, **overrides: Any) -> Trainer:
    trainer = make_trainer(folder, noise_config(**overrides))
    trainer.fit()
    return trainer


# -- a step ---------------------------------------------------------------------------------------------------------


def test_steps_equal_those_of_a_bare_loop(tmp_path: Path) -> None:
    config = noise_config(training__steps=3, data__flip=True, data__padding=1)
    trainer = make_trainer(tmp_path, config)
    batches = list(zip(trainer._batches(), range(3), strict=False))
    classifier, energy = noise_classifier(), make_regularizers(config)["energy"]
    optimizer = torch.optim.SGD(classifier.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    for (images, labels), _ in batches[:1]:
        loss = classifier(normalize_pixels(images, [127.5], [128.0]), labels) + energy(classifier)
        loss.backward()
        optimizer.step()
    trainer._step(*batches[0][0])
    expected = torch.cat([parameter.detach().flatten() for parameter in classifier.parameters()])
    assert torch.equal(parameters(trainer), expected)


def test_batches_are_a_function_of_seed_and_step_alone(tmp_path: Path) -> None:
    config = noise_config(data__flip=True, data__padding=1, training__epochs=2)
    trainer = make_trainer(tmp_path, config)
    seen = []
    for images, labels in trainer._batches():
        seen.append((images, labels))
        trainer.progress.step += 1
    assert len(seen) == trainer.total_steps == 8
    again = make_trainer(tmp_path, config)
    again.progress.step = 6
    for (images, labels), (expected, expected_labels) in zip(again._batches(), seen[6:], strict=False):
        assert torch.equal(images, expected)
        assert torch.equal(labels, expected_labels)
        again.progress.step += 1
    assert again.progress.step == 8
    # each batch has crops of its own, and epochs differ
    assert not torch.equal(seen[0][0], seen[4][0])
    plain = next(make_trainer(tmp_path, noise_config())._batches())
    assert torch.equal(seen[0][1], plain[1])
    assert not torch.equal(seen[0][0], plain[0])


def test_another_seed_is_another_run(tmp_path: Path) -> None:
    first = run_to_end(tmp_path / "0")
    assert not torch.equal(parameters(first), parameters(run_to_end(tmp_path / "1", training__seed=1)))
    assert torch.equal(parameters(first), parameters(run_to_end(tmp_path / "2")))


@pytest.mark.parametrize("accumulate", [2, 5, 12])
def test_a_batch_may_be_divided(tmp_path: Path, accumulate: int) -> None:
    whole, divided = run_to_end(tmp_path / "1"), run_to_end(tmp_path / "2", training__accumulate=accumulate)
    torch.testing.assert_close(parameters(divided), parameters(whole), rtol=0, atol=ROUNDING)
    for line, expected in zip(lines(tmp_path / "2", "train"), lines(tmp_path / "1", "train"), strict=True):
        assert line["terms"] == pytest.approx(expected["terms"], abs=ROUNDING)
        assert line["accuracy"] == expected["accuracy"]


def test_the_gradient_is_clipped(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, noise_config(training__clip=1e-3, optimizer__weight_decay=0, optimizer__rate=1.0))
    before = parameters(trainer)
    trainer._step(*next(trainer._batches()))
    assert torch.linalg.vector_norm(parameters(trainer) - before).item() == pytest.approx(1e-3, rel=1e-3)


def test_bfloat16_changes_products_but_no_parameter(tmp_path: Path) -> None:
    exact = run_to_end(tmp_path / "1")
    narrow = run_to_end(tmp_path / "2", training__precision="bfloat16")
    assert {parameter.dtype for parameter in narrow.classifier.parameters()} == {torch.float32}
    assert not torch.equal(parameters(narrow), parameters(exact))
    torch.testing.assert_close(parameters(narrow), parameters(exact), rtol=0, atol=0.02)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")
def test_a_compiled_network_trains_alike(tmp_path: Path) -> None:
    plain, compiled = run_to_end(tmp_path / "1"), run_to_end(tmp_path / "2", training__compile=True)
    torch.testing.assert_close(parameters(compiled), parameters(plain), rtol=0, atol=1e-5)


def test_augmented_images_reach_the_network_normalised(tmp_path: Path) -> None:
    config = noise_config(data__mean=[100.0], data__std=[50.0], training__channels_last=True)
    trainer = make_trainer(tmp_path, config)
    images, labels = next(trainer._batches())
    assert images.dtype == torch.uint8
    pixels, _ = trainer._to_device(images, labels)
    torch.testing.assert_close(pixels, (images.float() - 100) / 50)
    plain = augment(images, generator=torch.Generator())
    assert torch.equal(plain, images)


# -- several processes ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    """What one, two and three gloo processes found, by `process_runs.py`."""
    run = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "process_runs.py"), str(tmp_path_factory.mktemp("processes"))],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr
    found: dict[str, list[dict[str, Any]]] = json.loads(run.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("name", ["2x1", "3x1", "2x3"])
@pytest.mark.parametrize("what", ["gradients", "parameters"])
def test_processes_with_unequal_shares_train_as_one_on_the_joined_batch(
    processes: dict[str, list[dict[str, Any]]], name: str, what: str
) -> None:
    # seven images: shares of 4 and 3, or 3, 2 and 2
    (alone,) = processes["1x1"]
    assert len(processes[name]) == int(name[0])
    assert max(map(abs, alone["gradients"])) > 0.01
    for rank in processes[name]:
        torch.testing.assert_close(torch.tensor(rank[what]), torch.tensor(alone[what]), rtol=0, atol=ROUNDING)


def test_processes_write_down_the_loss_of_the_joined_batch(processes: dict[str, list[dict[str, Any]]]) -> None:
    for name in ("2x1", "3x1", "2x3"):
        for line, expected in zip(processes[name][0]["lines"], processes["1x1"][0]["lines"], strict=True):
            assert line["loss"] == pytest.approx(expected["loss"], abs=ROUNDING)
            assert line["accuracy"] == expected["accuracy"]


@pytest.mark.parametrize("kind", ["", "attacked "])
def test_processes_agree_on_where_to_stop_and_go_on_bit_for_bit(
    processes: dict[str, list[dict[str, Any]]], kind: str
) -> None:
    whole, interrupted = processes[f"{kind}whole"][0], processes[f"{kind}interrupted"][0]
    # the second process is asked after step 3; both stop at the next line of metrics
    assert interrupted["stopped_at"] == 4
    assert interrupted["weights"] == whole["weights"]
    assert interrupted["lines"] == whole["lines"]


# -- what is written down ---------------------------------------------------------------------------------------------


def test_lines_of_training_say_what_the_report_reads(tmp_path: Path) -> None:
    trainer = run_to_end(tmp_path, training__log_every=3)
    first, last = lines(tmp_path, "train")
    assert (first["step"], last["step"], first["epoch"], last["epoch"]) == (3, 4, 0.75, 1.0)
    assert set(first["terms"]) == {"objective", "energy"}
    assert first["loss"] == pytest.approx(sum(first["terms"].values()))
    assert set(first["energy"]) == {"model.first", "model.second", "head"}
    weighted = last["energy"]["model.first"] + last["energy"]["model.second"] + 2 * last["energy"]["head"]
    # the term is the mean over the steps before they were taken, the layers are those after the last
    assert weighted == pytest.approx(last["terms"]["energy"], abs=0.1)
    assert first["rate"] == 0.05
    assert first["images_per_second"] > 0
    assert 0 <= first["accuracy"] <= 1
    assert (first["accuracy"] * 36).is_integer()
    assert first["seconds"] <= last["seconds"] <= trainer.progress.seconds


def test_without_an_energy_there_is_no_term_of_it(tmp_path: Path) -> None:
    run_to_end(tmp_path, energy__hidden_weight=0, energy__output_weight=0)
    for line in lines(tmp_path, "train"):
        assert (set(line["terms"]), line["energy"]) == ({"objective"}, {})


def test_every_layer_is_measured_before_between_and_after(tmp_path: Path) -> None:
    run_to_end(tmp_path, training__epochs=2, energy__hidden_weight=0, energy__output_weight=0, monitor__power=2)
    found = lines(tmp_path, "evaluation")
    assert [line["step"] for line in found] == [0, 4, 8]
    assert {line["split"] for line in found} == {"test"}
    for line in found:
        assert set(line["layers"]) == {"model.first", "model.second", "head"}
        for layer in line["layers"].values():
            assert set(layer) == {"energy", "smallest_angle", "num_neurons", "dim", "expected", "minimum"}
            assert layer["minimum"] is None or layer["minimum"] <= layer["energy"]
    head = found[0]["layers"]["head"]
    assert (head["num_neurons"], head["dim"]) == (3, 5)
    # three directions at best 120 degrees apart, chords of sqrt(3): 1 / 3
    assert head["minimum"] == pytest.approx(1 / 3)
    assert 0 < head["smallest_angle"] < 2 * math.pi / 3


def test_the_length_in_epochs_and_in_steps(tmp_path: Path) -> None:
    assert make_trainer(tmp_path, noise_config(training__epochs=2.5)).total_steps == 10
    assert make_trainer(tmp_path, noise_config(training__epochs=0.01)).total_steps == 1
    assert make_trainer(tmp_path, noise_config(training__steps=7)).total_steps == 7


def test_curves_for_tensorboard(tmp_path: Path) -> None:
    run_to_end(tmp_path, training__tensorboard=True)
    (file,) = (tmp_path / "tensorboard").iterdir()
    content = file.read_bytes()
    for tag in (b"train/loss", b"train/rate", b"evaluation/accuracy", b"energy/model.first"):
        assert tag in content


def test_a_batch_larger_than_the_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError,
        match=re.escape(
            "training.batch_size is 49, but the train split of noise has only 48 images. Set training.batch_size to "
            "that or less."
        ),
    ):
        make_trainer(tmp_path, noise_config(training__batch_size=49))


def test_a_batch_smaller_than_the_processes_is_refused(tmp_path: Path) -> None:
    class Many:
        is_main_process, num_processes, device = True, 4, torch.device("cpu")

    with pytest.raises(
        ValueError, match=r"training.batch_size is 3, fewer than the 4 processes that share each batch. Set"
    ):
        make_trainer(tmp_path, noise_config(training__batch_size=3), accelerator=Many())


def test_a_pattern_of_layers_that_fits_none_is_heard_before_the_first_step(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"model\.frist"):
        make_trainer(tmp_path, noise_config(energy__include=["model.frist"]))
    assert not (tmp_path / "metrics.jsonl").exists()


# -- when it goes wrong -----------------------------------------------------------------------------------------------


class Breaks(nn.Module):
    """Like the network of the noise, until a forward pass gives an infinite number."""

    num_features = 5

    def __init__(self, at: int) -> None:
        super().__init__()
        self.first, self.broken, self.second = nn.Linear(16, 8), nn.Identity(), nn.Linear(8, 5)
        self.broken.register_forward_hook(self.look)
        self.count, self.at = 0, at

    def look(self, module: nn.Module, inputs: Any, output: torch.Tensor) -> torch.Tensor:
        """Count the passes in training, spoil those from the fatal one on."""
        self.count += self.training
        return output * math.inf if self.count >= self.at else output

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Features (N, 5)."""
        return self.second(self.broken(self.first(images.flatten(1))))


def test_an_infinite_objective_names_its_layer_and_keeps_the_checkpoint(tmp_path: Path) -> None:
    classifier = noise_classifier()
    classifier.model = Breaks(at=4)
    config = noise_config(training__steps=6, training__checkpoint_every=2)
    trainer = make_trainer(tmp_path, config, classifier=classifier)
    with pytest.raises(Diverged) as caught:
        trainer.fit()
    assert str(caught.value).startswith(
        "training diverged at step 4: the objective term is nan (all parameters are finite, the output of layer "
        "'model.broken' is the first that is not; learning rate 0.05). "
    )
    assert str(caught.value).endswith(f"The last good checkpoint is {tmp_path / CHECKPOINT}.")
    stored = torch.load(tmp_path / CHECKPOINT, weights_only=True)
    assert stored["progress"]["step"] == 2
    assert all(bool(torch.isfinite(tensor).all()) for tensor in stored["model"].values())


def test_an_infinite_energy_names_its_layer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = make_trainer(tmp_path)
    energy = trainer.regularizers["energy"]
    terms = energy.terms
    monkeypatch.setattr(energy, "forward", lambda *modules: torch.tensor(math.inf, requires_grad=True))
    monkeypatch.setattr(energy, "terms", lambda *a: terms(*a) | {"model.second": torch.tensor(math.inf)})
    with pytest.raises(
        Diverged, match=r"at step 1: the energy term of layer 'model.second' is inf .* no checkpoint from"
    ):
        trainer.fit()


def test_a_step_that_spoils_a_weight_is_not_saved(tmp_path: Path) -> None:
    config = noise_config(training__steps=4, training__checkpoint_every=1)
    trainer = make_trainer(tmp_path, config)
    take_step = trainer.optimizer.step

    def spoil() -> None:
        take_step()
        if trainer.progress.step == 2:
            trainer.classifier.model.first.bias.data[1] = math.nan

    trainer.optimizer.step = spoil  # type: ignore[method-assign]
    with pytest.raises(
        Diverged,
        match=r"at step 3: the last step made a weight infinite or not a number \(the first parameter that is not "
        r"finite is 'model.first.bias'; ",
    ):
        trainer.fit()
    assert torch.load(tmp_path / CHECKPOINT, weights_only=True)["progress"]["step"] == 2


@pytest.mark.parametrize("which", ["checkpoint.pt", "metrics.jsonl"])
def test_a_full_disk_is_told_with_the_file_and_what_is_safe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, which: str
) -> None:
    expected = run_to_end(tmp_path / "whole", training__checkpoint_every=2)
    folder = tmp_path / "full"
    trainer = make_trainer(folder, noise_config(training__checkpoint_every=2))
    sync = os.fsync

    def full(descriptor: int) -> None:
        name = os.readlink(f"/proc/self/fd/{descriptor}")
        if which in name and trainer.progress.step == 4:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    path = folder / CHECKPOINT if which == "checkpoint.pt" else folder / which
    with pytest.raises(
        OSError,
        match=re.escape(
            f"training stopped at step 4: {path} could not be written (No space left on device). The last good "
            f"checkpoint is {folder / CHECKPOINT}. Make room, then go on with --resume."
        ),
    ):
        trainer.fit()
    monkeypatch.setattr(os, "fsync", sync)
    again = make_trainer(folder, noise_config(training__checkpoint_every=2))
    again.fit()
    assert torch.equal(parameters(again), parameters(expected))


def test_noise_is_what_the_tests_think_it_is() -> None:
    assert (len(noise()), noise().num_batches(12)) == (48, 4)


def test_processes_measure_statistics_on_their_shares_and_end_with_the_same(
    processes: dict[str, Any],
) -> None:
    first, second = (found["statistics"] for found in processes["recalibrated"])
    assert first == second
    # the mean of what each finds on its own share of the three batches after the last step, 25 and 24 of 49 images
    folder = Path(processes["folder"]) / "recalibrated"
    config, images = read_config(folder / "config.yaml"), load_images(DataConfig(), split="train")
    shares = []
    for rank in range(2):
        classifier, _ = load_classifier(folder)
        batches = training_batches(images, config, 2, 5, rank=rank, world_size=2)
        recalibrate(classifier, (normalize_pixels(pixels, [127.5], [128.0]) for pixels, _ in batches))
        shares.append(running_statistics(classifier))
    saved = running_statistics(load_classifier(folder)[0])
    assert first.keys() == saved.keys()
    for name, value in first.items():
        assert saved[name].tolist() == value
        expected = (shares[0][name] + shares[1][name]) / 2
        torch.testing.assert_close(torch.tensor(value), expected, rtol=1e-5, atol=1e-6)
