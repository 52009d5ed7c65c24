# SPDX-License-Identifier: MIT
"""SphereFace+: the energy of class vectors that a head adds, against the function and against a loop."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from hypersphere.functional import minibatch_energy
from hypersphere.nn import ClassEnergy, MarginHead
from hypersphere.nn.class_energy import as_class_energy


def draw() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return torch.randn(6, 4, dtype=torch.float64), torch.tensor([0, 1, 2, 3, 4, 4])


@pytest.mark.parametrize("power", [0.0, 1.0, 2.0])
def test_targets_against_all_by_a_loop(power: float) -> None:
    x, y = draw()
    head = MarginHead(4, 5, margin="sphereface", energy={"weight": 0.5, "power": power}, dtype=torch.float64)
    plain = MarginHead(4, 5, margin="sphereface", dtype=torch.float64)
    plain.load_state_dict(head.state_dict())
    unit = F.normalize(head.weight.detach())
    total = 0.0
    for label in y.tolist():
        for other in range(5):
            if other != label:
                distance = float((unit[label] - unit[other]).norm())
                total += -torch.tensor(distance).log().item() if power == 0 else distance**-power
    assert (head(x, y) - plain(x, y)).item() == pytest.approx(0.5 * total / (6 * 4), rel=1e-6)


@pytest.mark.parametrize("rule", ["targets", "unique"])
def test_it_is_added_to_any_margin(rule: str) -> None:
    x, y = draw()
    for margin in ("softmax", "cosface", "sphereface2"):
        energy = ClassEnergy(weight=2.0, power=2.0, distance="angular", rule=rule)
        head = MarginHead(4, 5, margin=margin, energy=energy, dtype=torch.float64)
        plain = MarginHead(4, 5, margin=margin, dtype=torch.float64)
        plain.load_state_dict(head.state_dict())
        loss, measures = head.loss_and_measures(x, y)
        expected = minibatch_energy(head.weight, y, rule=rule, power=2.0, distance="angular")
        torch.testing.assert_close(loss, plain(x, y) + 2 * expected)
        torch.testing.assert_close(measures.energy, expected.detach())
        assert plain.loss_and_measures(x, y)[1].energy is None
        assert torch.autograd.gradcheck(lambda x, head=head: head(x, y), (x.clone().requires_grad_(),))


def test_ignored_samples_have_no_part() -> None:
    x, y = draw()
    head = MarginHead(4, 5, margin="arcface", energy={"power": 1.0}, dtype=torch.float64)
    padded = torch.cat([x, x[:2]]), torch.cat([y, torch.tensor([-100, -100])])
    torch.testing.assert_close(head(*padded), head(x, y))
    nobody = torch.full((6,), -100)
    assert head(x, nobody).item() == 0.0


def test_written_down_and_made_again() -> None:
    head = MarginHead(4, 5, energy={"power": 2, "rule": "unique"})
    again = MarginHead(**head.arguments())
    assert again.energy == ClassEnergy(power=2, rule="unique")
    assert as_class_energy(again.energy) is again.energy


def test_wrong_arguments_are_refused_in_words() -> None:
    with pytest.raises(ValueError, match=r"class energy.*unknown argument 'powr'.*did you mean 'power'"):
        as_class_energy({"powr": 1.0})
    with pytest.raises(ValueError, match=r"ClassEnergy: weight must lie in \[0, 1e\+09\], got -1"):
        ClassEnergy(weight=-1.0)
    with pytest.raises(ValueError, match=r"ClassEnergy: unknown rule 'target'"):
        ClassEnergy(rule="target")
    with pytest.raises(ValueError, match=r"MarginHead: the energy is of one vector for each of 2 classes or more"):
        MarginHead(4, 1, energy={})
    with pytest.raises(ValueError, match=r"got 5 classes with 3 each\. Leave it out"):
        MarginHead(4, 5, margin="sub_center_arcface", energy={})
