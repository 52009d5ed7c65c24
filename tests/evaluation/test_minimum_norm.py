# SPDX-License-Identifier: MIT
"""The smallest change that fools, against the distance to the nearest face of a linear classifier."""

from __future__ import annotations

import builtins
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hypersphere.evaluation.minimum_norm import (
    MINIMUM_ATTACKS,
    fooled_by,
    nearest_on_line,
    require_foolbox,
    row_norms,
    smallest_perturbation,
)


def linear(num_classes: int = 5) -> tuple[nn.Linear, Tensor, Tensor]:
    """A linear classifier, images far from the ends of the box, and the classes that it gives them."""
    torch.manual_seed(0)
    model = nn.Linear(48, num_classes).requires_grad_(False)
    images = 0.3 + 0.4 * torch.rand(32, 48)
    return model, images, model(images).argmax(1)


@pytest.mark.parametrize(("norm", "dual", "over"), [("l2", 2, 1.001), ("linf", 1, 1.03)])
def test_distance_to_the_nearest_face(norm: str, dual: int, over: float) -> None:
    model, images, labels = linear()
    weight, logits = model.weight.double(), images.double() @ model.weight.double().T + model.bias.double()
    exact = []
    for row, label in zip(logits, labels.tolist(), strict=True):
        # |z_y - z_j| / |w_j - w_y| in the dual norm, the least over the other classes
        faces = [
            float((row[label] - row[j]) / torch.linalg.vector_norm(weight[j] - weight[label], ord=dual))
            for j in range(len(row))
            if j != label
        ]
        exact.append(min(faces))
    found = smallest_perturbation(model, images, labels, norm=norm)
    assert bool(fooled_by(model, found, labels).all())
    assert found.min() >= 0
    assert found.max() <= 1
    ratio = row_norms(found - images, norm).double() / torch.tensor(exact, dtype=torch.float64)
    assert ratio.min() >= 1 - 1e-5
    assert ratio.max() <= over
    assert ratio.median() <= 1.0005


def test_the_box_counts() -> None:
    # only one pixel can still move, so it has to go all the way
    model = nn.Linear(2, 2).requires_grad_(False)
    model.weight.copy_(torch.tensor([[0.0, 0.0], [1.0, 1.0]]))
    model.bias.copy_(torch.tensor([1.3, 0.0]))
    images, labels = torch.tensor([[1.0, 0.1]]), torch.tensor([0])
    for norm in MINIMUM_ATTACKS:
        found = smallest_perturbation(model, images, labels, norm=norm)
        assert row_norms(found - images, norm).item() == pytest.approx(0.2, rel=0.01)


def test_what_is_wrong_already_and_what_cannot_be_fooled_stay() -> None:
    def constant(points: Tensor) -> Tensor:
        return torch.tensor([[1.0, 0.0]]).expand(len(points), 2)

    images = torch.rand(4, 1, 2, 2)
    for norm in MINIMUM_ATTACKS:
        found = smallest_perturbation(constant, images, torch.tensor([0, 1, 0, 1]), norm=norm, steps=3)
        assert torch.equal(found, images)
    assert smallest_perturbation(constant, images[:0], torch.zeros(0, dtype=torch.int64)).shape == (0, 1, 2, 2)


def test_logits_that_are_no_numbers_are_never_right() -> None:
    def broken(points: Tensor) -> Tensor:
        return torch.tensor([[torch.nan, 0.0]]).expand(len(points), 2)

    assert fooled_by(broken, torch.rand(2, 1, 2, 2), torch.tensor([0, 1])).all()


def test_it_repeats_and_leaves_the_global_generator_and_parameters_alone() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(48, 16), nn.ReLU(), nn.Linear(16, 5))
    images = torch.rand(8, 48)
    labels = model(images).argmax(1)
    before = torch.get_rng_state()
    first, second = (smallest_perturbation(model, images, labels, norm="l2", seed=3) for _ in range(2))
    assert torch.equal(first, second)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())


def test_halving_ends_at_the_boundary() -> None:
    def above(points: Tensor) -> Tensor:
        return torch.cat([0.37 - points, points - 0.37], dim=1)

    images, labels = torch.tensor([[0.1], [0.1]]), torch.tensor([0, 0])
    found = nearest_on_line(above, images, torch.tensor([[0.9], [0.2]]), labels)
    assert 0.37 < found[0].item() <= 0.37 + 0.8 / 4096
    # the second was not fooled to begin with
    assert found[1].item() == pytest.approx(0.2)


def test_norms_of_rows() -> None:
    change = torch.tensor([[[3.0, 0.0], [0.0, -4.0]]])
    assert row_norms(change, "l2").tolist() == [5.0]
    assert row_norms(change, "linf").tolist() == [4.0]


def test_no_warning_of_the_package_comes_through() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        foolbox = require_foolbox()
        model, images, labels = linear()
        smallest_perturbation(model, images[:2], labels[:2], norm="linf", steps=2)
    assert all(hasattr(foolbox.attacks, name) for names in MINIMUM_ATTACKS.values() for name in names)


def test_a_missing_package_and_wrong_choices_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    model, images, labels = linear()
    with pytest.raises(ValueError, match="smallest_perturbation: unknown norm 'l0': choose l2, linf"):
        smallest_perturbation(model, images, labels, norm="l0")
    with pytest.raises(ValueError, match="steps must be a whole number of 1 or more, got 0"):
        smallest_perturbation(model, images, labels, steps=0)
    real = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name == "foolbox":
            raise ModuleNotFoundError("No module named 'foolbox'", name="foolbox")
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r'need the package foolbox: pip install "hypersphere\[robustness\]", or'):
        smallest_perturbation(model, images, labels)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32])
def test_labels_are_integers_of_any_size(dtype: torch.dtype) -> None:
    model, images, labels = linear()
    expected = smallest_perturbation(model, images, labels)
    assert torch.equal(smallest_perturbation(model, images, labels.to(dtype)), expected)
    with pytest.raises(ValueError, match=r"^attack: labels must lie in \[0, 4\], .* got 7 at position 0\."):
        smallest_perturbation(model, images, torch.full_like(labels, 7))
