# SPDX-License-Identifier: MIT
"""Class vectors that were not sampled stay as they are, bit for bit; the others move as if they were alone."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hypersphere.nn import MarginHead, leave_unsampled_rows

Make = Callable[[Iterable[Tensor]], torch.optim.Optimizer]
OPTIMIZERS: dict[str, Make] = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1),
    "momentum": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01),
    "nesterov": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01, nesterov=True, foreach=True),
    "adam": lambda p: torch.optim.Adam(p, lr=0.01, weight_decay=0.01, amsgrad=True),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1),
    "fused": lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1, fused=True),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.01, momentum=0.5, centered=True, weight_decay=0.01),
    "adagrad": lambda p: torch.optim.Adagrad(p, lr=0.1, weight_decay=0.01),
}
NUM_CLASSES, DIM = 40, 5


def make(**options: Any) -> MarginHead:
    torch.manual_seed(0)
    return MarginHead(DIM, NUM_CLASSES, **({"margin": "cosface", "sample_rate": 0.25} | options))


def batch() -> tuple[Tensor, Tensor]:
    return torch.randn(4, DIM), torch.randint(NUM_CLASSES, (4,))


def per_row(optimizer: torch.optim.Optimizer, parameter: nn.Parameter) -> dict[str, Tensor]:
    """What the optimiser keeps for each element of a parameter."""
    state = optimizer.state.get(parameter, {})
    return {name: value for name, value in state.items() if isinstance(value, Tensor) and value.ndim == 2}


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("margin", ["cosface", "sub_center_arcface"])
def test_sampled_rows_move_as_if_alone_and_the_others_not_at_all(name: str, margin: str) -> None:
    head = make(margin=margin)
    weight, centers = head.weight, head.margin.centers
    optimizer = OPTIMIZERS[name](head.parameters())
    leave_unsampled_rows(optimizer, head)
    for step in range(6):
        optimizer.zero_grad()
        head(*batch()).backward()
        assert head.sampled.sum() == 10
        rows = head.sampled.repeat_interleave(centers)
        before, state = weight.detach().clone(), copy.deepcopy(optimizer.state.get(weight, {}))
        # the same step on these rows alone, by an optimiser that knows of nothing else
        alone = nn.Parameter(before[rows])
        alone.grad = weight.grad[rows]
        other = OPTIMIZERS[name]([alone])
        if state:
            other.state[alone] = {
                key: value[rows] if isinstance(value, Tensor) and value.ndim == 2 else value
                for key, value in copy.deepcopy(state).items()
            }
        other.step()
        optimizer.step()
        assert torch.equal(weight[rows], alone)
        assert not torch.equal(weight[rows], before[rows])
        assert torch.equal(weight[~rows], before[~rows])
        expected = per_row(other, alone)
        assert per_row(optimizer, weight).keys() == expected.keys()
        for key, value in per_row(optimizer, weight).items():
            assert value.shape == weight.shape
            assert torch.equal(value[rows], expected[key])
            if key in state:
                assert torch.equal(value[~rows], state[key][~rows])
            else:
                assert step == 0
                assert not value[~rows].any()
        assert not head.sampled.any()
        assert optimizer.param_groups[0]["params"][0] is weight
        assert set(optimizer.state) <= set(head.parameters())


def test_without_it_momentum_and_decay_move_all_rows() -> None:
    head = make()
    optimizer = OPTIMIZERS["momentum"](head.parameters())
    before = head.weight.detach().clone()
    head(*batch()).backward()
    optimizer.step()
    assert (head.weight != before).any(dim=1).all()


def test_several_losses_before_a_step_count_together() -> None:
    head = make()
    optimizer = OPTIMIZERS["momentum"](head.parameters())
    leave_unsampled_rows(optimizer, head)
    before, met = head.weight.detach().clone(), set()
    for _ in range(3):
        loss = head(*batch())
        loss.backward()
    met = set(head.sampled.nonzero()[:, 0].tolist())
    touched = head.weight.grad.any(dim=1).nonzero()[:, 0].tolist()
    assert met == set(touched)
    assert len(met) > 10
    optimizer.step()
    assert set((head.weight != before).any(dim=1).nonzero()[:, 0].tolist()) == met


def test_nothing_differs_where_all_classes_are_met() -> None:
    first, second = make(sample_rate=1.0), make(sample_rate=1.0)
    optimizers = [OPTIMIZERS["adamw"](head.parameters()) for head in (first, second)]
    leave_unsampled_rows(optimizers[0], first)
    for _ in range(3):
        x, y = batch()
        for head, optimizer in zip((first, second), optimizers, strict=True):
            optimizer.zero_grad()
            head(x, y).backward()
            optimizer.step()
    assert torch.equal(first.weight, second.weight)
    assert first.sampled is None


def test_evaluation_meets_all_classes_and_marks_none() -> None:
    head, whole = make(), make(sample_rate=1.0)
    x, y = batch()
    head.eval()
    assert torch.equal(head(x, y), whole(x, y))
    head.train()
    with torch.no_grad():
        assert torch.equal(head(x, y), whole(x, y))
    assert torch.equal(head(x), whole(x))
    assert torch.equal(head.margin_logits(x, y), whole.margin_logits(x, y))
    assert torch.equal(head.measures(x, y).nearest, whole.measures(x, y).nearest)
    assert head.sampled is None


@pytest.mark.parametrize("name", ["momentum", "adamw"])
def test_a_resumed_run_repeats(name: str, tmp_path: Path) -> None:
    def started() -> tuple[MarginHead, torch.optim.Optimizer]:
        head = make()
        optimizer = OPTIMIZERS[name](head.parameters())
        leave_unsampled_rows(optimizer, head)
        return head, optimizer

    def go(head: MarginHead, optimizer: torch.optim.Optimizer, steps: int) -> None:
        for _ in range(steps):
            optimizer.zero_grad()
            head(*batch()).backward()
            optimizer.step()

    head, optimizer = started()
    go(head, optimizer, 3)
    stored = {"head": head.state_dict(), "optimizer": optimizer.state_dict(), "torch": torch.get_rng_state()}
    torch.save(stored, tmp_path / "checkpoint.pt")
    go(head, optimizer, 3)
    other, resumed = started()
    found = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    other.load_state_dict(found["head"])
    resumed.load_state_dict(found["optimizer"])
    torch.set_rng_state(found["torch"])
    go(other, resumed, 3)
    assert torch.equal(head.weight, other.weight)
    for key, value in per_row(optimizer, head.weight).items():
        assert torch.equal(value, per_row(resumed, other.weight)[key])


def test_other_parameters_and_groups_are_left_alone() -> None:
    torch.manual_seed(0)
    body, head = nn.Linear(3, DIM), make(scale="learned")
    groups = [{"params": body.parameters(), "lr": 0.2}, {"params": [head.log_scale, head.weight], "lr": 0.3}]
    optimizer = torch.optim.SGD(groups, momentum=0.9)
    leave_unsampled_rows(optimizer, head)
    for _ in range(2):
        optimizer.zero_grad()
        before = [p.detach().clone() for p in (body.weight, head.log_scale)]
        head(body(torch.randn(4, 3)), batch()[1]).backward()
        optimizer.step()
        assert all(not torch.equal(old, new) for old, new in zip(before, (body.weight, head.log_scale), strict=True))
    assert [id(p) for p in optimizer.param_groups[1]["params"]] == [id(head.log_scale), id(head.weight)]


def test_it_ends_when_told() -> None:
    head = make()
    optimizer = OPTIMIZERS["momentum"](head.parameters())
    end = leave_unsampled_rows(optimizer, head)
    end()
    before = head.weight.detach().clone()
    head(*batch()).backward()
    optimizer.step()
    assert (head.weight != before).any(dim=1).all()


def test_a_step_that_fails_leaves_the_head_whole() -> None:
    head = make()
    optimizer = OPTIMIZERS["momentum"](head.parameters())
    leave_unsampled_rows(optimizer, head)
    before = head.weight.detach().clone()
    head(*batch()).backward()
    momentum = optimizer.param_groups[0].pop("momentum")
    with pytest.raises(KeyError, match="momentum"):
        optimizer.step()
    assert torch.equal(head.weight, before)
    optimizer.param_groups[0]["momentum"] = momentum
    optimizer.zero_grad()
    head(*batch()).backward()
    rows = head.sampled.clone()
    optimizer.step()
    assert torch.equal(head.weight[~rows], before[~rows])
    assert not torch.equal(head.weight[rows], before[rows])
    assert [id(p) for p in optimizer.param_groups[0]["params"]] == [id(head.weight)]


def test_without_a_gradient_nothing_happens() -> None:
    head = make()
    optimizer = OPTIMIZERS["momentum"](head.parameters())
    leave_unsampled_rows(optimizer, head)
    before = head.weight.detach().clone()
    optimizer.step()
    head(*batch())
    optimizer.step()
    assert torch.equal(head.weight, before)


@pytest.mark.usefixtures("alone")
def test_a_wrapped_head_is_found() -> None:
    head = make()
    wrapped = nn.parallel.DistributedDataParallel(head)
    optimizer = OPTIMIZERS["momentum"](wrapped.parameters())
    leave_unsampled_rows(optimizer, wrapped)
    for _ in range(3):
        optimizer.zero_grad()
        wrapped(*batch()).backward()
        before, rows = head.weight.detach().clone(), head.sampled.clone()
        optimizer.step()
        assert torch.equal((head.weight != before).any(dim=1), rows)


def test_wrong_use_is_refused_in_words() -> None:
    head = make()
    with pytest.raises(TypeError, match="leave_unsampled_rows: expected a MarginHead, got Linear"):
        leave_unsampled_rows(OPTIMIZERS["sgd"](head.parameters()), nn.Linear(2, 2))
    with pytest.raises(ValueError, match="leave_unsampled_rows: the weight of the head is none of the optimiser's"):
        leave_unsampled_rows(OPTIMIZERS["sgd"](make().parameters()), head)
    optimizer = OPTIMIZERS["sgd"](head.parameters())
    leave_unsampled_rows(optimizer, head)
    head(*batch()).backward()
    with pytest.raises(ValueError, match=r"leave_unsampled_rows: step\(closure\) computes gradients while it runs"):
        optimizer.step(lambda: head(*batch()))
