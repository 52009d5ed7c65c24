# SPDX-License-Identifier: MIT
"""Accuracy under attack on classifiers whose answer is known: linear ones, and ones that hide their gradient."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hypersphere.evaluation.attacks import Logits
from hypersphere.evaluation.protocol import ATTACKS, Attack
from hypersphere.evaluation.robustness import Robustness, measure_robustness, write_robustness

DIM = 16


def weights(seed: int = 0) -> Tensor:
    return torch.randn(DIM, generator=torch.Generator().manual_seed(seed))


def linear(weight: Tensor) -> Logits:
    """Class 1 where w · (x - 1/2) is above zero."""
    return lambda images: (images.flatten(1) - 0.5) @ torch.stack([-weight, weight], 1)


def batches(num: int = 60, *, size: int = 25) -> list[tuple[Tensor, Tensor]]:
    """Images in the middle of the box, labelled by the first classifier; the first five of each batch wrongly."""
    generator = torch.Generator().manual_seed(5)
    images = 0.35 + 0.3 * torch.rand(num, 1, 4, 4, generator=generator)
    labels = linear(weights())(images).argmax(1)
    found = [(images[n : n + size], labels[n : n + size].clone()) for n in range(0, num, size)]
    for _, part in found:
        part[:5] = 1 - part[:5]
    return found


@pytest.fixture(scope="module")
def found() -> Robustness:
    return measure_robustness(linear(weights()), batches(), source=linear(weights(1)))


def distances(norm: str) -> np.ndarray:
    """From each image to the boundary, in closed form; 0 where the label is wrong."""
    images = torch.cat([part for part, _ in batches()]).flatten(1).double() - 0.5
    labels = torch.cat([part for _, part in batches()])
    weight = weights().double()
    length = weight.norm() if norm == "l2" else weight.abs().sum()
    signed = images @ weight / length * (2 * labels - 1)
    return signed.clamp_min(0.0).numpy()


def test_accuracy_is_the_share_further_away_than_the_radius(found: Robustness) -> None:
    linf, l2 = distances("linf"), distances("l2")
    assert found.clean_accuracy == pytest.approx(45 / 60)
    assert found.clean_accuracy == (linf > 0).mean()
    for name in ("fgsm", "fgsm_margin", "bim", "bim_margin", "pgd", "pgd_margin"):
        assert found.robust_accuracy(name) == pytest.approx((linf > 8 / 255).mean(), abs=1e-12), name
    assert 0.1 < found.robust_accuracy("fgsm") < 0.7
    assert found.robust_accuracy("l2") == found.robust_accuracy("l2_large_steps") == (l2 > 0.5).mean()
    assert found.robust_accuracy("unbounded") == 0.0


def test_a_module_is_measured_in_evaluation_mode_and_left_as_it_was() -> None:
    class Normed(nn.Module):
        def __init__(self, weight: Tensor) -> None:
            super().__init__()
            self.norm = nn.BatchNorm1d(DIM, affine=False)
            self.norm.running_mean.fill_(0.5)  # type: ignore[union-attr]
            self.weight = nn.Parameter(torch.stack([-weight, weight]))

        def forward(self, images: Tensor) -> Tensor:
            return nn.functional.linear(self.norm(images.flatten(1)), self.weight)

    model, source = Normed(weights()), Normed(weights(1))
    model.norm.eps = source.norm.eps = 0.0
    found = measure_robustness(model, batches(), source=source, minimum=False)
    expected = measure_robustness(linear(weights()), batches(), source=linear(weights(1)), minimum=False)
    for name in expected.attacks:
        assert found.robust_accuracy(name) == expected.robust_accuracy(name), name
    assert found.source_accuracy == expected.source_accuracy
    for one in (model, source):
        assert one.training
        assert one.norm.training
        assert one.norm.num_batches_tracked == 0
        assert one.weight.grad is None


def test_images_that_were_wrong_are_not_attacked(found: Robustness) -> None:
    for fooled in (*found.fooled.values(), *found.transferred.values()):
        assert not (fooled & ~found.correct).any()


def test_the_smallest_change_is_the_distance_to_the_boundary(found: Robustness) -> None:
    for norm in ("l2", "linf"):
        exact, sizes = distances(norm), found.smallest[norm]
        assert (sizes[~found.correct] == 0).all()
        assert (sizes[found.correct] >= exact[found.correct] * (1 - 1e-4)).all()
        assert sizes[found.correct] == pytest.approx(exact[found.correct], rel=2e-3, abs=2e-6)


def test_attacks_bound_the_smallest_change(found: Robustness) -> None:
    for name, attack in ATTACKS.items():
        if not attack.is_unbounded:
            assert (found.smallest[attack.norm][found.fooled[name]] <= attack.epsilon * (1 + 1e-5)).all()


def test_transfer_moves_along_the_weights_of_the_source(found: Robustness) -> None:
    source, own = weights(1), weights()
    images = torch.cat([part for part, _ in batches()]).flatten(1) - 0.5
    labels = torch.cat([part for _, part in batches()])
    sign = 2 * labels - 1
    moved = images - 8 / 255 * sign[:, None] * source.sign()
    expected = ((moved @ own * sign) > 0) & ((images @ own * sign) > 0)
    assert found.transfer_accuracy("fgsm") == pytest.approx(expected.float().mean().item())
    assert found.transfer_accuracy("fgsm") > found.robust_accuracy("fgsm")
    assert found.source_accuracy == pytest.approx(((images @ source * sign) > 0).float().mean().item())


def test_an_honest_model_shows_no_sign(found: Robustness) -> None:
    findings = found.findings()
    assert [one.name for one in findings if one.suspicious] == []
    assert len(findings) == 8
    assert found.zero_gradients == 0.0


def test_together_counts_what_any_bounded_attack_fools(found: Robustness) -> None:
    fooled = np.any(
        [found.fooled[name] for name in ATTACKS if name not in ("l2", "l2_large_steps", "unbounded")], axis=0
    )
    fooled |= found.transferred["fgsm"] | found.transferred["bim"]
    assert found.together("linf") == (found.correct & ~fooled).mean()
    alone = measure_robustness(linear(weights()), batches(), attacks=["unbounded"], minimum=False)
    assert alone.together("linf") is None
    assert alone.together("l2") is None


def test_a_rounded_input_is_caught() -> None:
    """Rounding has gradient zero: attacks on the gradient fail, those of an honest source succeed."""

    def rounded(images: Tensor) -> Tensor:
        return linear(weights())((images * 16).round() / 16)

    result = measure_robustness(rounded, batches(), source=linear(weights()), minimum=False)
    signs = {one.name for one in result.findings() if one.suspicious}
    assert {"vanished gradient", "unbounded attack", "transfer of fgsm", "transfer of bim"} <= signs
    assert result.zero_gradients == 1.0


def test_a_flat_loss_is_caught_by_the_margin() -> None:
    """Logits a thousand times as large: cross-entropy has no gradient left in float32, the margin has."""

    def sharp(images: Tensor) -> Tensor:
        return 1e5 * linear(weights())(images)

    result = measure_robustness(sharp, batches(), minimum=False)
    found = {one.name: one for one in result.findings()}
    assert found["margin against cross-entropy"].suspicious
    assert found["vanished gradient"].suspicious
    assert result.robust_accuracy("fgsm_margin") == (distances("linf") > 8 / 255).mean()


def test_it_repeats_by_seed() -> None:
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(DIM, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2))
    how: dict[str, Any] = {"attacks": {"pgd": Attack(epsilon=0.1, step_size=0.0, random_start=True)}}
    data = [(torch.rand(200, 1, 4, 4, generator=torch.Generator().manual_seed(1)), torch.arange(200) % 2)]
    runs = [measure_robustness(net, data, minimum=False, seed=seed, **how).fooled["pgd"] for seed in (0, 0, 1, 2, 3)]
    assert (runs[0] == runs[1]).all()
    assert any((runs[0] != other).any() for other in runs[2:])


def test_restarts_only_add() -> None:
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(DIM, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2))
    data = [(torch.rand(200, 1, 4, 4), torch.arange(200) % 2)]
    one, many = (
        measure_robustness(
            net, data, minimum=False, attacks={"pgd": Attack(epsilon=0.1, step_size=0.0, random_start=True, restarts=n)}
        ).fooled["pgd"]
        for n in (1, 20)
    )
    assert bool((many | ~one).all())
    assert many.sum() > one.sum()


def test_a_model_that_is_always_wrong_is_left_alone() -> None:
    data = [(torch.rand(3, 1, 4, 4), torch.ones(3, dtype=torch.int64))]

    def constant(images: Tensor) -> Tensor:
        return torch.tensor([[1.0, 0.0]]).expand(len(images), 2)

    result = measure_robustness(constant, data)
    assert result.clean_accuracy == 0.0
    assert math.isnan(result.zero_gradients)
    assert result.smallest["l2"].tolist() == [0.0, 0.0, 0.0]


def test_a_model_that_cannot_be_fooled_has_no_smallest_change(tmp_path: Path) -> None:
    data = [(torch.rand(3, 1, 4, 4), torch.zeros(3, dtype=torch.int64))]

    def constant(images: Tensor) -> Tensor:
        return torch.tensor([[1.0, 0.0]]).expand(len(images), 2)

    result = measure_robustness(constant, data)
    assert np.isinf(result.smallest["linf"]).all()
    written = write_robustness(tmp_path, result, split="test")
    assert written["minimum"]["l2"]["median"] is None  # type: ignore[index]
    assert written["minimum"]["l2"]["num_not_found"] == 3  # type: ignore[index]


def test_the_files_hold_what_was_found(found: Robustness, tmp_path: Path) -> None:
    indices = np.arange(60)
    summary = write_robustness(tmp_path, found, split="test", indices=indices, source_name="other", step=7)
    assert json.loads((tmp_path / "evaluation" / "robustness.json").read_text()) == summary
    assert summary["clean_accuracy"] == 0.75
    assert summary["source"] == {"name": "other", "accuracy": found.source_accuracy}
    rows: Any = summary["attacks"]
    assert [row["name"] for row in rows] == list(ATTACKS)
    assert rows[0]["robust_accuracy"] == found.robust_accuracy("fgsm")
    assert rows[0]["transfer_accuracy"] == found.transfer_accuracy("fgsm")
    assert rows[0]["description"] == "L-inf 8/255, one step, cross-entropy"
    assert "transfer_accuracy" not in rows[-1]
    sizes = np.sort(found.smallest["l2"][found.correct])
    minimum: Any = summary["minimum"]
    assert minimum["l2"]["median"] == sizes[22]
    assert minimum["l2"]["tenth"] == sizes[4]
    assert minimum["l2"]["num_samples"] == 45
    with np.load(tmp_path / "evaluation" / "robustness.npz") as stored:
        assert set(stored.files) == {
            "labels", "correct", "indices", "smallest_l2", "smallest_linf", "transferred_fgsm", "transferred_bim",
            *(f"fooled_{name}" for name in ATTACKS),
        }  # fmt: skip
        assert (stored["fooled_bim"] == found.fooled["bim"]).all()
    before = (tmp_path / "evaluation" / "robustness.npz").read_bytes()
    write_robustness(tmp_path, found, split="test", indices=indices, source_name="other", step=7)
    assert (tmp_path / "evaluation" / "robustness.npz").read_bytes() == before


def test_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match="measure_robustness: there are no images to attack"):
        measure_robustness(linear(weights()), [])
    with pytest.raises(ValueError, match=r"pixels must lie in \[0, 1\]"):
        measure_robustness(linear(weights()), [(255 * images, labels) for images, labels in batches()])
    with pytest.raises(ValueError, match="seed must be a whole number of 0 or more, got -1"):
        measure_robustness(linear(weights()), batches(), seed=-1)
    with pytest.raises(ValueError, match=r"attack: labels must lie in \[0, 1\], .* got 9 at position 0\."):
        measure_robustness(linear(weights()), [(images, labels + 9 - labels[0]) for images, labels in batches()])
