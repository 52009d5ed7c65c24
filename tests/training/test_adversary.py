# SPDX-License-Identifier: MIT
"""Attacked training images: those of the loop written out, the same after a resume, and no trace in the network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hypersphere.data import normalize_pixels
from hypersphere.models import Classifier
from hypersphere.nn import MarginHead
from hypersphere.training import run as run_room
from hypersphere.training.adversary import Adversary
from hypersphere.training.run import train
from hypersphere.training.settings import load_recipe
from tiny_runs import digits_config, lines, make_trainer, noise, noise_classifier, noise_config, timeless, weights


class Normed(nn.Module):
    """A network whose running statistics, batch statistics and dropout would all show."""

    num_features = 5

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Tanh(), nn.Dropout(0.5), nn.Flatten(), nn.Linear(16, 5)
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images)


def normed() -> Classifier:
    torch.manual_seed(0)
    classifier = Classifier(Normed(), MarginHead(5, 3))
    with torch.no_grad():
        for _ in range(3):
            classifier(torch.rand(8, 1, 4, 4))
    return classifier


def batch() -> tuple[Tensor, Tensor]:
    images, labels = next(noise().batches(12))
    return normalize_pixels(images, [100.0], [50.0]), labels


def adversary(classifier: Classifier, **settings: Any) -> Adversary:
    given = {f"adversary__{name}": value for name, value in ({"attack": "fgsm"} | settings).items()}
    return Adversary(noise_config(data__mean=[100.0], data__std=[50.0], **given), classifier)


def test_fgsm_is_one_step_of_the_network_in_evaluation_mode() -> None:
    classifier = normed()
    pixels, labels = batch()
    attacked = adversary(classifier, epsilon=0.1)(pixels, labels, 0)
    classifier.eval()
    points = pixels.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(F.cross_entropy(classifier(points), labels), points)
    # 0.1 of the range of pixels is 25.5 grey levels, divided by the deviation
    expected = pixels + gradient.sign() * 25.5 / 50
    expected = expected.clamp((0 - 100) / 50, (255 - 100) / 50)
    assert torch.allclose(attacked, expected, atol=1e-5)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_pgd_stays_in_the_ball_and_among_pixels(norm: str) -> None:
    pixels, labels = batch()
    how = {"attack": "pgd", "steps": 3, "step_size": 0.1, "epsilon": 0.15, "random_start": True, "norm": norm}
    attacked = adversary(normed(), **how)(pixels, labels, 0)
    change = ((attacked - pixels) * 50 / 255).flatten(1)
    size = change.abs().amax(1) if norm == "linf" else change.norm(dim=1)
    assert size.max() <= 0.15 + 1e-5
    assert size.min() > 0.05
    assert (attacked * 50 + 100).min() >= -1e-3
    assert (attacked * 50 + 100).max() <= 255 + 1e-3


def test_it_raises_the_loss() -> None:
    classifier = normed()
    pixels, labels = batch()
    one, ten = (
        adversary(classifier, attack=attack, epsilon=0.1, step_size=0.02)(pixels, labels, 0)
        for attack in ("fgsm", "pgd")
    )
    classifier.eval()
    clean, single, many = (F.cross_entropy(classifier(images), labels).item() for images in (pixels, one, ten))
    assert clean < single <= many + 1e-4


def test_the_network_does_not_notice() -> None:
    classifier = normed().train()
    classifier.model.layers[3].eval()
    pixels, labels = batch()
    before = {name: value.clone() for name, value in classifier.state_dict().items()}
    modes = [module.training for module in classifier.modules()]
    state = torch.get_rng_state()
    adversary(classifier, attack="pgd", steps=2, random_start=True)(pixels, labels, 0)
    assert all(torch.equal(value, before[name]) for name, value in classifier.state_dict().items())
    assert all(parameter.grad is None for parameter in classifier.parameters())
    assert [module.training for module in classifier.modules()] == modes
    assert torch.equal(torch.get_rng_state(), state)


def test_under_autocast_gradients_are_those_of_the_attacked_images() -> None:
    """Autocast keeps narrow copies of weights between two forwards; an attack must not leave its own behind."""
    pixels, labels = batch()

    def gradients(prepared: Tensor | None) -> tuple[Tensor, list[Tensor]]:
        classifier = normed().train()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            attacked = adversary(classifier, attack="pgd", steps=2)(pixels, labels, 0) if prepared is None else prepared
            torch.manual_seed(1)
            loss = classifier(attacked, labels)
        loss.backward()
        return attacked, [parameter.grad for parameter in classifier.parameters() if parameter.grad is not None]

    attacked, inside = gradients(None)
    _, outside = gradients(attacked)
    assert len(inside) == len(list(normed().parameters()))
    assert all(torch.equal(one, other) for one, other in zip(inside, outside, strict=True))


def test_random_starts_depend_on_seed_and_place_alone() -> None:
    pixels, labels = batch()
    made = adversary(normed(), random_start=True)
    assert torch.equal(made(pixels, labels, 3, 0, 1), made(pixels, labels, 3, 0, 1))
    assert not torch.equal(made(pixels, labels, 3, 0, 1), made(pixels, labels, 4, 0, 1))


def test_off_gives_the_images_back() -> None:
    pixels, labels = batch()
    assert adversary(normed(), attack="none")(pixels, labels, 0) is pixels
    assert len(adversary(normed())(pixels[:0], labels[:0], 0)) == 0


def test_the_loop_trains_on_attacked_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = noise_config(adversary__attack="fgsm", adversary__epsilon=0.2, training__steps=1, training__accumulate=2)
    seen: list[Tensor] = []
    forward = Classifier.forward

    def spy(self: Classifier, images: Tensor, *rest: Any, **how: Any) -> Any:
        if how.get("with_measures"):
            seen.append(images.detach().clone())
        return forward(self, images, *rest, **how)

    monkeypatch.setattr(Classifier, "forward", spy)
    trainer = make_trainer(tmp_path, config)
    images, labels = next(trainer._batches())
    trainer.fit()
    clean = normalize_pixels(images, config.data.mean, config.data.std)
    expected = Adversary(config, noise_classifier())(clean, labels, 0, 0, 1)
    assert torch.allclose(torch.cat(seen), expected, atol=1e-5)
    assert (expected - clean).abs().max() == pytest.approx(0.2 * 255 / 128, rel=1e-4)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_resumed_run_ends_the_same_bit_for_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    monkeypatch.setattr(run_room, "_write_report", lambda run: None)
    config = digits_config(
        adversary__attack="pgd",
        adversary__steps=2,
        adversary__random_start=True,
        training__precision=precision,
        training__evaluate_every=10.0,
    )
    train(config, tmp_path / "whole", quiet=True)
    stopped = tmp_path / "stopped"
    advance = run_room.Trainer._advance

    def stop(self: Any, images: Tensor, labels: Tensor, *, due: int) -> None:
        advance(self, images, labels, due=due)
        if due == 4:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(run_room.Trainer, "_advance", stop)
        with pytest.raises(KeyboardInterrupt):
            train(config, stopped, quiet=True)
    train(config, stopped, resume=True, quiet=True)
    assert weights(stopped) == weights(tmp_path / "whole")
    assert timeless(stopped) == timeless(tmp_path / "whole")
    assert len(lines(stopped, "train")) == 4


def test_attacks_change_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_room, "_write_report", lambda run: None)
    how: dict[str, Any] = {"training__steps": 3, "training__evaluate_every": 10.0}
    for name, attack in (("off", "none"), ("on", "fgsm")):
        train(digits_config(adversary__attack=attack, **how), tmp_path / name, quiet=True)
    assert weights(tmp_path / "off") != weights(tmp_path / "on")


RECIPES = ["cifar10-cnn9-natural", "cifar10-cnn9-natural-tanh"]


@pytest.mark.parametrize("natural", RECIPES)
def test_recipes_of_a_pair_differ_in_the_attack_alone(natural: str) -> None:
    attacked = natural.replace("natural", "adversarial-fgsm")
    first, second = (load_recipe(name) for name in (natural, attacked))
    assert "adversary" not in first
    assert second.pop("adversary")["epsilon"] == pytest.approx(8 / 255, abs=1e-7)
    own = ("recipe", "description")
    assert {key: value for key, value in first.items() if key not in own} == {
        key: value for key, value in second.items() if key not in own
    }


def test_recipes_of_an_operator_differ_in_the_operator_alone() -> None:
    plain, tanh = (load_recipe(name) for name in RECIPES)
    arguments = tanh["model"]["arguments"]
    assert arguments.pop("operator") == "decoupled"
    assert arguments.pop("operator_arguments") == {"angle": "cosine", "magnitude": "tanh"}
    assert tanh["optimizer"].pop("decay_angular") is False
    assert tanh["optimizer"].pop("project_every") == 100
    assert {name: tanh[name] for name in ("model", "optimizer", "data", "training")} == {
        name: plain[name] for name in ("model", "optimizer", "data", "training")
    }
