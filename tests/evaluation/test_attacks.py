# SPDX-License-Identifier: MIT
"""FGSM, BIM and PGD against a linear classifier, for which the best attack and its margin are known exactly."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from hypersphere.evaluation.attacks import class_margin, fgsm, input_gradient, pgd

Model = Callable[[Tensor], Tensor]


def linear_pair(num: int = 6, dim: int = 12, *, seed: int = 0) -> tuple[Model, Tensor, Tensor, Tensor, Tensor]:
    """A linear classifier of two classes in float64, images in the middle of the box, labels; its weight and shift."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(2, dim, generator=generator, dtype=torch.float64)
    shift = torch.randn(2, generator=generator, dtype=torch.float64)
    images = 0.4 + 0.2 * torch.rand(num, dim, generator=generator, dtype=torch.float64)
    labels = torch.arange(num) % 2
    return lambda points: points @ weight.T + shift, images, labels, weight, shift


@pytest.mark.parametrize("loss", ["cross_entropy", "margin"])
def test_linf_reaches_the_best_margin_of_a_linear_classifier(loss: str) -> None:
    model, images, labels, weight, _ = linear_pair()
    before, epsilon = class_margin(model(images), labels), 0.05
    found = fgsm(model, images, labels, epsilon=epsilon, loss=loss)
    for number, label in enumerate(labels.tolist()):
        across = weight[1 - label] - weight[label]
        # by Hölder, no change of L-inf norm ε raises the margin by more than ε |w|₁
        best = before[number] + epsilon * across.abs().sum()
        assert class_margin(model(found), labels)[number] == pytest.approx(float(best), abs=1e-12)
        assert torch.allclose(found[number] - images[number], epsilon * across.sign(), atol=1e-12)


@pytest.mark.parametrize("loss", ["cross_entropy", "margin"])
def test_l2_reaches_the_best_margin_of_a_linear_classifier(loss: str) -> None:
    model, images, labels, weight, _ = linear_pair()
    before, epsilon = class_margin(model(images), labels), 0.3
    found = fgsm(model, images, labels, epsilon=epsilon, norm="l2", loss=loss)
    for number, label in enumerate(labels.tolist()):
        across = weight[1 - label] - weight[label]
        best = before[number] + epsilon * across.norm()
        assert class_margin(model(found), labels)[number] == pytest.approx(float(best), abs=1e-12)


@pytest.mark.parametrize(("norm", "epsilon"), [("linf", 0.05), ("l2", 0.3)])
def test_steps_end_where_one_step_does(norm: str, epsilon: float) -> None:
    model, images, labels, _, _ = linear_pair()
    one = fgsm(model, images, labels, epsilon=epsilon, norm=norm)
    many = pgd(model, images, labels, epsilon=epsilon, steps=8, step_size=epsilon / 4, norm=norm)
    assert torch.allclose(one, many, atol=1e-12)
    drawn = torch.Generator().manual_seed(1)
    # along the normal of the boundary a random start is made up for; in L-inf exactly, in L2 as steps turn it
    started = pgd(
        model, images, labels, epsilon=epsilon, steps=60, step_size=epsilon, norm=norm, random_start=True,
        generator=drawn,
    )  # fmt: skip
    assert torch.allclose(one, started, atol=1e-6)


def test_bim_is_the_loop_of_the_paper() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 16), nn.Tanh(), nn.Linear(16, 3)).double()
    images, labels = torch.rand(5, 3, 2, 2, dtype=torch.float64), torch.tensor([0, 1, 2, 0, 1])
    epsilon, step, expected = 0.1, 0.03, []
    for image, label in zip(images, labels, strict=True):
        point = image.clone()
        for _ in range(7):
            point = point.detach().requires_grad_()
            logits = model(point[None])[0]
            loss = torch.logsumexp(logits, 0) - logits[label]
            (gradient,) = torch.autograd.grad(loss, point)
            point = (point + step * gradient.sign()).detach()
            point = torch.minimum(torch.maximum(point, image - epsilon), image + epsilon).clamp(0, 1)
        expected.append(point)
    found = pgd(model, images, labels, epsilon=epsilon, steps=7, step_size=step)
    assert torch.equal(found, torch.stack(expected))


def test_l2_steps_are_the_loop_of_the_paper() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 3)).double()
    images, labels = torch.rand(4, 6, dtype=torch.float64), torch.tensor([0, 1, 2, 0])
    expected = []
    for image, label in zip(images, labels, strict=True):
        point = image.clone()
        for _ in range(5):
            point = point.detach().requires_grad_()
            logits = model(point[None])[0]
            others = torch.cat([logits[:label], logits[label + 1 :]])
            (gradient,) = torch.autograd.grad(others.max() - logits[label], point)
            change = (point + 0.2 * gradient / gradient.norm()).detach() - image
            change = change * min(1.0, 0.35 / float(change.norm()))
            point = (image + change).clamp(0, 1)
        expected.append(point)
    found = pgd(model, images, labels, epsilon=0.35, steps=5, step_size=0.2, norm="l2", loss="margin")
    assert torch.allclose(found, torch.stack(expected), atol=1e-12)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_ball_and_the_box_hold(norm: str) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(27, 8), nn.ReLU(), nn.Linear(8, 4))
    images, labels = torch.rand(40, 3, 3, 3).round(), torch.arange(40) % 4
    found = pgd(model, images, labels, epsilon=0.2, steps=5, step_size=0.15, norm=norm, random_start=True, keep="worst")
    change = (found - images).flatten(1)
    size = change.abs().amax(1) if norm == "linf" else change.norm(dim=1)
    assert size.max() <= 0.2 * (1 + 1e-6)
    assert found.min() >= 0
    assert found.max() <= 1
    assert size.min() > 0


def test_random_starts_fill_the_ball_evenly() -> None:
    images = torch.full((4000, 3), 0.5, dtype=torch.float64)
    labels = torch.zeros(4000, dtype=torch.int64)

    def constant(points: Tensor) -> Tensor:
        return torch.tensor([[1.0, 0.0]], dtype=torch.float64).expand(len(points), 2)

    how = {"steps": 1, "step_size": 0.1, "random_start": True, "generator": torch.Generator().manual_seed(0)}
    # a constant model has no gradient, so the start is all that happens
    linf = (pgd(constant, images, labels, epsilon=0.25, **how) - 0.5) / 0.25
    l2 = (pgd(constant, images, labels, epsilon=0.25, norm="l2", **how) - 0.5) / 0.25
    # variance 1/3 of an even draw from [-1, 1]; standard error of its mean over 12000 is 0.0027
    assert linf.square().mean().item() == pytest.approx(1 / 3, abs=4 * 0.0027)
    # share within half the radius: 1/8 in three dimensions, standard error 0.0052
    assert (l2.norm(dim=1) <= 0.5).double().mean().item() == pytest.approx(1 / 8, abs=4 * 0.0052)
    assert l2.norm(dim=1).max() <= 1 + 1e-12
    assert l2.mean(0).abs().max() < 4 * math.sqrt(1 / 5 / 4000)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_without_a_gradient_images_stay(norm: str) -> None:
    images, labels = torch.rand(3, 2, 2), torch.zeros(3, dtype=torch.int64)
    fixed = nn.Parameter(torch.tensor([[1.0, 0.0]]))
    models: list[Model] = [
        lambda points: torch.tensor([[1.0, 0.0]]).expand(len(points), 2),
        lambda points: fixed.expand(len(points), 2),
        lambda points: torch.stack([points.flatten(1).sum(1) * 0 + 1, points.flatten(1).sum(1) * 0], 1),
        lambda points: (points.flatten(1).sum(1, keepdim=True) * torch.tensor([[1.0, -1.0]])) / 0.0,
    ]
    for model in models:
        for keep in ("last", "worst"):
            found = pgd(model, images, labels, epsilon=0.1, steps=3, step_size=0.1, norm=norm, keep=keep)
            assert torch.equal(found, images)
    assert fixed.grad is None


@pytest.mark.parametrize("size", [1e-25, 1e25])
def test_gradients_of_any_size_give_steps_of_one_length(size: float) -> None:
    weight = torch.tensor([[0.0, 0.0], [3.0, 4.0]]) * size
    images = torch.full((1, 2), 0.5)
    found = fgsm(lambda points: points @ weight.T, images, torch.tensor([0]), epsilon=0.1, norm="l2", loss="margin")
    assert torch.allclose(found - images, torch.tensor([[0.06, 0.08]]), atol=1e-6)


def test_the_worst_point_is_never_better_than_the_image_or_the_last() -> None:
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(6, 32), nn.Tanh(), nn.Linear(32, 3)).double()
    images, labels = torch.rand(50, 6, dtype=torch.float64), torch.arange(50) % 3

    def margins(keep: str, steps: int) -> Tensor:
        # steps longer than the radius jump to and fro
        found = pgd(model, images, labels, epsilon=0.2, steps=steps, step_size=0.5, keep=keep)
        return class_margin(model(found), labels).detach()

    worst, last = margins("worst", 6), margins("last", 6)
    assert bool((worst >= last).all())
    assert bool((worst > last).any())
    assert bool((worst >= class_margin(model(images), labels)).all())
    assert bool((margins("worst", 7) >= worst).all())


def test_parameters_and_statistics_are_untouched() -> None:
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 2)).eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.no_grad():
        pgd(model, torch.rand(5, 1, 4, 4), torch.arange(5) % 2, epsilon=0.1, steps=2, step_size=0.1, keep="worst")
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_it_runs_inside_inference_mode_and_leaves_its_images() -> None:
    model = nn.Linear(4, 2)
    with torch.inference_mode():
        images, labels = torch.full((3, 4), 0.5), torch.tensor([0, 1, 0])
        found = fgsm(model, images, labels, epsilon=0.1)
    assert (found - images).abs().min() == pytest.approx(0.1)
    assert bool((images == 0.5).all())


def test_each_image_is_attacked_by_itself() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 3)).double()
    images, labels = torch.rand(8, 6, dtype=torch.float64), torch.arange(8) % 3
    together = pgd(model, images, labels, epsilon=0.2, steps=3, step_size=0.1, norm="l2")
    alone = [
        pgd(model, images[n : n + 1], labels[n : n + 1], epsilon=0.2, steps=3, step_size=0.1, norm="l2")
        for n in range(8)
    ]
    assert torch.allclose(together, torch.cat(alone), atol=1e-12)


def test_input_gradient_of_the_margin_is_the_difference_of_weights() -> None:
    model, images, labels, weight, _ = linear_pair()
    gradient, margins = input_gradient(model, images, labels, loss="margin")
    assert torch.allclose(gradient, (weight[1] - weight[0]) * (1 - 2 * labels[:, None]))
    assert torch.allclose(margins, class_margin(model(images), labels))


def test_mistakes_are_named() -> None:
    model, images, labels, _, _ = linear_pair()
    with pytest.raises(ValueError, match=r"pixels must lie in \[0, 1\], got .* to 5.*Put the normalisation of"):
        fgsm(model, torch.full_like(images, 5.0), labels, epsilon=0.1)
    with pytest.raises(ValueError, match=r"expected images \(N, \.\.\.\) and labels \(N,\), got \(6, 12\) and \(5,\)"):
        fgsm(model, images, labels[:5], epsilon=0.1)
    with pytest.raises(TypeError, match=r"float32 or float64 with pixels in \[0, 1\], got torch.float16"):
        fgsm(model, images.half(), labels, epsilon=0.1)
    with pytest.raises(ValueError, match=r"attack: unknown norm 'l1': choose l2, linf"):
        fgsm(model, images, labels, epsilon=0.1, norm="l1")
    with pytest.raises(ValueError, match="attack: unknown loss 'hinge': choose cross_entropy, margin"):
        fgsm(model, images, labels, epsilon=0.1, loss="hinge")
    with pytest.raises(ValueError, match="pgd: unknown keep 'best': choose last, worst"):
        pgd(model, images, labels, epsilon=0.1, steps=1, step_size=0.1, keep="best")
    with pytest.raises(ValueError, match="pgd: steps must be a whole number of 1 or more, got 0"):
        pgd(model, images, labels, epsilon=0.1, steps=0, step_size=0.1)
    with pytest.raises(ValueError, match=r"pgd: epsilon must lie in \[0, 1e\+06\], got -0.1"):
        pgd(model, images, labels, epsilon=-0.1, steps=1, step_size=0.1)
    with pytest.raises(ValueError, match=r"logits \(N, C\) of two classes or more: for images \(6, 12\) .* \(6, 1\)"):
        fgsm(lambda points: model(points)[:, :1], images, labels, epsilon=0.1)
    with pytest.raises(ValueError, match=r"attack: labels must lie in \[0, 1\], as .*; got 9 at position 2\."):
        fgsm(model, images, torch.tensor([0, 1, 9, 0, 1, 0]), epsilon=0.1)
    with pytest.raises(ValueError, match=r"attack: labels must lie in \[0, 1\], as .*; got -1 at position 0\."):
        class_margin(model(images), torch.tensor([-1, 1, 0, 0, 1, 0]))


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.int16, torch.int32])
def test_labels_are_integers_of_any_size(dtype: torch.dtype) -> None:
    model, images, labels, _, _ = linear_pair()
    how = {"epsilon": 0.1, "steps": 2, "step_size": 0.1, "keep": "worst"}
    for loss in ("cross_entropy", "margin"):
        expected = pgd(model, images, labels, loss=loss, **how)
        assert torch.equal(pgd(model, images, labels.to(dtype), loss=loss, **how), expected)


def test_no_images_are_attacked_as_any_others() -> None:
    model, images, labels, _, _ = linear_pair()
    assert fgsm(model, images[:0], labels[:0], epsilon=0.1).shape == (0, 12)
