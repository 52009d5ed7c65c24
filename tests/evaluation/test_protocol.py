# SPDX-License-Identifier: MIT
"""The attacks of the protocol: what they are, how they are told, how they go with another radius."""

from __future__ import annotations

import pytest
import torch

from hypersphere.evaluation.attacks import fgsm, pgd
from hypersphere.evaluation.protocol import ATTACKS, EPSILON, TRANSFERRED, Attack, choose_attacks


def test_the_protocol_in_words() -> None:
    assert {name: str(attack) for name, attack in ATTACKS.items()} == {
        "fgsm": "L-inf 8/255, one step, cross-entropy",
        "fgsm_margin": "L-inf 8/255, one step, margin",
        "bim": "L-inf 8/255, 10 steps of 2/255, cross-entropy",
        "bim_margin": "L-inf 8/255, 10 steps of 2/255, margin",
        "pgd": "L-inf 8/255, 20 steps of 2/255, 3 random starts, cross-entropy",
        "pgd_margin": "L-inf 8/255, 20 steps of 2/255, 3 random starts, margin",
        "l2": "L2 0.5, 20 steps of 0.1, 1 random start, cross-entropy",
        "l2_large_steps": "L2 0.5, 20 steps of 0.5, 1 random start, cross-entropy",
        "unbounded": "L-inf 1, 30 steps of 0.1, cross-entropy",
    }
    assert set(TRANSFERRED) <= set(ATTACKS)


def test_every_attack_can_reach_the_whole_ball() -> None:
    assert all(attack.steps * attack.step_size >= attack.epsilon for attack in ATTACKS.values())


def test_another_radius_scales_radii_and_steps_but_not_the_unbounded_attack() -> None:
    found = choose_attacks(epsilon=4 / 255)
    assert list(found) == list(ATTACKS)
    assert str(found["bim"]) == "L-inf 4/255, 10 steps of 1/255, cross-entropy"
    assert found["l2"].epsilon == pytest.approx(0.25)
    assert found["l2"].step_size == pytest.approx(0.05)
    assert found["unbounded"] == ATTACKS["unbounded"]
    assert choose_attacks(epsilon=EPSILON) == ATTACKS
    assert choose_attacks(epsilon=1.0)["fgsm"].epsilon == pytest.approx(1.0)


def test_named_attacks_are_those_of_the_functions() -> None:
    torch.manual_seed(0)
    model = torch.nn.Linear(6, 3)
    images, labels, unused = torch.rand(5, 6), torch.arange(5) % 3, torch.Generator()
    assert torch.equal(ATTACKS["fgsm"](model, images, labels, unused), fgsm(model, images, labels, epsilon=8 / 255))
    bim = pgd(model, images, labels, epsilon=8 / 255, steps=10, step_size=2 / 255)
    assert torch.equal(ATTACKS["bim"](model, images, labels, unused), bim)


def test_attacks_of_your_own_are_left_as_they_are() -> None:
    own = {"tiny": Attack(epsilon=0.001, step_size=0.001)}
    assert choose_attacks(own, epsilon=0.5) == own


def test_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match=r"unknown attack 'fgms': choose .* \(did you mean 'fgsm'\?\)"):
        choose_attacks(["fgms"])
    with pytest.raises(ValueError, match=r"epsilon must lie in \(0, 1\], got 8. It is in units of pixels of \[0, 1\]"):
        choose_attacks(epsilon=8)
    with pytest.raises(ValueError, match="expected one attack or more, got none"):
        choose_attacks([])
    with pytest.raises(ValueError, match="Attack: unknown norm 'l1': choose l2, linf"):
        Attack(norm="l1")
    with pytest.raises(ValueError, match="Attack: restarts must be a whole number of 1 or more, got 0"):
        Attack(restarts=0)
    with pytest.raises(ValueError, match=r"Attack: epsilon must lie in \[0, 1\], got 8"):
        Attack(epsilon=8)
