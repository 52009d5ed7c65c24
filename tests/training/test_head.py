# SPDX-License-Identifier: MIT
"""The head of a run: arguments from the config, schedules that go on exactly after a resume, what metrics tell."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.tiny_runs import Flat, digits_config, lines, make_trainer, noise_config, timeless, weights

from hypersphere.models import Classifier
from hypersphere.nn import MarginHead
from hypersphere.training.head import head_schedules, head_spec

SCHEDULED = {
    "head__margin": "sphereface",
    "head__arguments": {"multiplier": 2},
    "head__scale": 8.0,
    "annealing__base": 10.0,
    "margin_schedule__argument": "multiplier",
    "margin_schedule__first": 1.0,
    "margin_schedule__last": 3.0,
    "margin_schedule__steps": 4,
    "scale_schedule__first": 4.0,
    "scale_schedule__last": 8.0,
    "scale_schedule__steps": 2,
}


def classifier(**head: Any) -> Classifier:
    torch.manual_seed(0)
    return Classifier(Flat(), MarginHead(5, 3, **head))


def test_a_config_becomes_the_arguments_of_a_head() -> None:
    config = noise_config(head__margin="cosface", head__arguments={"cosine": 0.2}, head__energy={"power": 2.0})
    head = MarginHead(5, 3, **head_spec(config))
    assert head.margin.cosine == 0.2
    assert head.energy is not None
    assert head.energy.power == 2.0
    assert head_spec(noise_config())["energy"] is None
    assert head_schedules(noise_config(), head) == {}


def test_metrics_tell_angles_and_what_moves(tmp_path: Path) -> None:
    config = noise_config(**SCHEDULED, training__log_every=1, training__epochs=2)
    trainer = make_trainer(tmp_path, config, classifier=classifier(**head_spec(config)))
    trainer.fit()
    told = [line["margin"] for line in lines(tmp_path, "train")]
    assert [line["annealing"] for line in told[:3]] == pytest.approx([max(5, 10 / (1 + 0.12 * t)) for t in (1, 2, 3)])
    assert [line["margin_schedule"] for line in told] == sorted(line["margin_schedule"] for line in told)
    assert told[-1]["margin_schedule"] == 3.0
    assert told[-1]["scale_schedule"] == 8.0
    assert all(0 < line["angle"] < math.pi and 0 < line["nearest_angle"] < math.pi for line in told)
    assert all(0 <= line["satisfied"] <= 1 for line in told)
    head = trainer.classifier.head
    assert isinstance(head, MarginHead)
    assert head.margin.multiplier == 3.0


def test_angles_of_a_batch_are_those_of_its_features(tmp_path: Path) -> None:
    config = noise_config(training__log_every=1, training__steps=1)
    trainer = make_trainer(tmp_path, config, classifier=classifier(margin="arcface"))
    images, labels = next(trainer._batches())
    pixels, targets = trainer._to_device(images, labels)
    features = trainer.classifier.features(pixels)
    cosines = torch.nn.functional.normalize(features) @ torch.nn.functional.normalize(trainer.classifier.head.weight).T
    own = cosines.gather(1, targets[:, None])[:, 0]
    other = cosines.scatter(1, targets[:, None], -2.0).amax(1)
    trainer.fit()
    (line,) = lines(tmp_path, "train")
    assert line["margin"]["angle"] == pytest.approx(own.acos().mean().item(), rel=1e-4)
    assert line["margin"]["nearest_angle"] == pytest.approx(other.acos().mean().item(), rel=1e-4)
    assert line["accuracy"] == pytest.approx((own > other).float().mean().item())


def test_a_head_with_energy_tells_it(tmp_path: Path) -> None:
    config = noise_config(training__accumulate=2)
    trainer = make_trainer(tmp_path, config, classifier=classifier(margin="sphereface", energy={"power": 1.0}))
    trainer.fit()
    told = [line["margin"]["class_energy"] for line in lines(tmp_path, "train")]
    assert all(value > 0.5 for value in told)


@pytest.mark.parametrize("margin", ["sphereface", "curricularface", "adaface"])
def test_a_stopped_run_goes_on_exactly(tmp_path: Path, margin: str) -> None:
    from hypersphere.training.run import train

    own = {**SCHEDULED, "head__margin": margin} if margin == "sphereface" else {"head__margin": margin}
    if margin != "sphereface":
        own["scale_schedule__first"], own["scale_schedule__last"], own["scale_schedule__steps"] = 4.0, 8.0, 5
    config = digits_config(**own)
    train(config, tmp_path / "whole", quiet=True)
    stopped = make_stopping(tmp_path / "parts", config)
    assert stopped == 4
    train(config, tmp_path / "parts", resume=True, quiet=True)
    assert weights(tmp_path / "parts") == weights(tmp_path / "whole")
    assert timeless(tmp_path / "parts") == timeless(tmp_path / "whole")


def make_stopping(folder: Path, config: Any) -> int:
    """Train to step 4, as if Ctrl-C had come; the step that was reached."""
    from hypersphere.training.loop import Trainer
    from hypersphere.training.run import train

    advance = Trainer._all_stop
    reached = []

    def stop(self: Trainer, asked: Any) -> bool:
        reached.append(self.progress.step)
        return self.progress.step == 4 or advance(self, asked)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "_all_stop", stop)
        with pytest.raises(KeyboardInterrupt):
            train(config, folder, quiet=True)
    return reached[-1]


def test_a_schedule_that_the_head_cannot_follow_is_refused(tmp_path: Path) -> None:
    config = noise_config(margin_schedule__argument="multiplier")
    with pytest.raises(ValueError, match=r"MarginSchedule: .*multiplier"):
        make_trainer(tmp_path, config, classifier=classifier(margin="cosface"))


def test_a_margin_that_no_class_vectors_can_meet_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    make_trainer(tmp_path / "fine", noise_config(), classifier=classifier(margin="cosface"))
    assert not caplog.records
    make_trainer(tmp_path / "not", noise_config(), classifier=classifier(margin={"name": "cosface", "cosine": 1.6}))
    (record,) = caplog.records
    assert "CosFace" in record.message
