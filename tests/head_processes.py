# SPDX-License-Identifier: MIT
"""Trains margin heads with one, two and three gloo processes and prints what each of them found, as one JSON object.

Started as a script by `tests/nn/test_head_processes.py`: `python head_processes.py 1,2,3 CASE...`.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import torch

# the wrapper imports it; here once for all processes
import torch._dynamo
from torch import Tensor, nn

from hypersphere.nn import MarginHead, leave_unsampled_rows
from hypersphere.nn.schedules import LambdaAnnealing
from processes import Result, together

__all__ = ["CASES", "SHARES"]

DIM, NUM_CLASSES, NUM_SAMPLES, STEPS = 5, 12, 13, 3
# of the samples for each process; the last of three has none that counts
SHARES = {1: [13], 2: [4, 9], 3: [3, 9, 1]}

CASES: dict[str, dict[str, Any]] = {
    "softmax": {"margin": "softmax", "class_weights": True},
    "sphereface": {"margin": "sphereface", "gradient": "detached"},
    "arcface": {"margin": "arcface", "label_smoothing": 0.1, "class_weights": True},
    "learned scale": {"margin": "cosface", "scale": "learned", "probability_floor": 1e-3},
    "magface": {"margin": "magface", "class_weights": True},
    "sphereface2": {"margin": "sphereface2", "class_weights": True},
    "curricularface": {"margin": "curricularface"},
    "adaface": {"margin": "adaface", "class_weights": True},
    "sphereface+": {"margin": "sphereface", "energy": {"weight": 2.0, "power": 1.0}},
    "sampled adaface": {"margin": "adaface", "sample_rate": 0.5, "class_weights": True},
    "sampled centers": {"margin": "sub_center_arcface", "sample_rate": 0.7, "energy": None},
    "sampled sphereface2": {"margin": "sphereface2", "sample_rate": 0.6},
    "sampled sphereface+": {"margin": "cosface", "sample_rate": 0.8, "energy": {"weight": 2.0}, "class_weights": True},
}


class Net(nn.Module):
    """Features and a head, as a wrapper for several processes sees them."""

    def __init__(self, head: MarginHead) -> None:
        super().__init__()
        self.body = nn.Linear(DIM, DIM, dtype=torch.float64)
        self.head = head

    def forward(self, x: Tensor, y: Tensor, num_samples: Tensor | None) -> Tensor:
        """The loss."""
        return self.head(self.body(x), y, num_samples=num_samples)


def batch(step: int) -> tuple[Tensor, Tensor]:
    """The joined batch of one step, some samples of it without a class."""
    generator = torch.Generator().manual_seed(step)
    x = 20 * torch.randn(NUM_SAMPLES, DIM, generator=generator, dtype=torch.float64)
    y = torch.randint(NUM_CLASSES, (NUM_SAMPLES,), generator=generator)
    y[[1, 6, 12]] = -100
    return x, y


def train(case: str, way: str, rank: int, num_processes: int) -> Result:
    """The gradients of the first step, and what there is after three."""
    options = dict(CASES[case])
    torch.manual_seed(0)
    weights = torch.rand(NUM_CLASSES, dtype=torch.float64) + 0.1 if options.pop("class_weights", False) else None
    joined = way == "synchronize" and num_processes > 1
    head = MarginHead(DIM, NUM_CLASSES, class_weights=weights, synchronize=joined, dtype=torch.float64, **options)
    net = Net(head)
    wrapped: nn.Module = nn.parallel.DistributedDataParallel(net) if num_processes > 1 else net
    optimizer = torch.optim.SGD(wrapped.parameters(), lr=1e-3, momentum=0.9, weight_decay=1e-2)
    leave_unsampled_rows(optimizer, head)
    schedule = LambdaAnnealing(head, base=2.0, gamma=1.0, minimum=0.0)
    first = sum(SHARES[num_processes][:rank])
    own = slice(first, first + SHARES[num_processes][rank])
    # each process has a generator of its own
    torch.manual_seed(100 + rank)
    found: Result = {"losses": []}
    for step in range(STEPS):
        x, y = batch(step)
        counted = (y >= 0).double() if weights is None else torch.where(y >= 0, weights[y.clamp_min(0)], 0.0)
        number = counted.sum() / num_processes if way == "num_samples" else None
        optimizer.zero_grad()
        loss = wrapped(x[own], y[own], number)
        loss.backward()
        if step == 0:
            found["gradients"] = {name: p.grad.tolist() for name, p in net.named_parameters()}
        found["losses"].append(loss.item())
        optimizer.step()
        schedule.step()
    found["parameters"] = {name: p.tolist() for name, p in net.named_parameters()}
    found["momentum"] = optimizer.state[head.weight]["momentum_buffer"].tolist()
    found["state"] = {name: head.get_buffer(name).tolist() for name in head.margin.initial_state()}
    return found


def work(names: list[str], rank: int, num_processes: int) -> Result:
    """Every case, in both ways."""
    torch.set_num_threads(1)
    if num_processes > 1:
        torch.distributed.init_process_group("gloo")
    return {f"{case}/{way}": train(case, way, rank, num_processes) for case in names for way in ways(case)}


def ways(case: str) -> list[str]:
    """How the mean over all samples is asked for; with weights, an energy needs the head to do it."""
    options = CASES[case]
    both = not (options.get("energy") and options.get("class_weights"))
    return ["synchronize", "num_samples"] if both else ["synchronize"]


def main(numbers: list[int], names: list[str]) -> Result:
    """What each process found, by the number of processes."""
    return {str(n): together(n, lambda rank, n=n: work(names, rank, n)) for n in numbers}


if __name__ == "__main__":
    print(json.dumps(main([int(number) for number in sys.argv[1].split(",")], sys.argv[2:])))
