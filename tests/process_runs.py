# SPDX-License-Identifier: MIT
"""Trains with one, two and three gloo processes and prints what each of them found, as one JSON object.

Started as a script by `tests/training/test_loop.py`: `python process_runs.py FOLDER`. It forks its processes instead of
starting each anew, so that all of them together cost one import of the package.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch
from accelerate.state import AcceleratorState

import hypersphere.training.run as run_room
from hypersphere.training.recalibrate import running_statistics
from processes import together
from tiny_runs import digits_config, lines, make_trainer, noise_config, timeless, weights

Result = dict[str, Any]


def train_on_noise(folder: Path, *, batch_size: int, accumulate: int) -> Result:
    """The gradients of the first step, the parameters after three, and the lines of metrics."""
    changes = {"training.batch_size": batch_size, "training.accumulate": accumulate, "training.steps": 3}
    # every process draws the same projections and moves the same poles
    changes |= {"compression.projection": "adversarial", "compression.dim": 3, "uniformity.kind": "polarization"}
    trainer = make_trainer(folder, noise_config(**changes))
    gradients: list[float] = []
    take_step = trainer.optimizer.step

    def step() -> None:
        if not gradients:
            gradients.extend(torch.cat([p.grad.flatten() for p in trainer.classifier.parameters()]).tolist())
        take_step()

    trainer.optimizer.step = step  # type: ignore[method-assign]
    trainer.fit()
    parameters = torch.cat([p.detach().flatten() for p in trainer.classifier.parameters()]).tolist()
    return {"gradients": gradients, "parameters": parameters, "lines": lines(folder, "train")}


def train_on_digits(folder: Path, rank: int, *, interrupt: bool = False, **settings: Any) -> Result:
    """A whole run on digits, or one that its second process is asked to stop and that then goes on."""
    config = digits_config(**settings)
    if interrupt:
        advance = run_room.Trainer._advance

        def stop_soon(trainer: Any, *batch: Any, **due: int) -> None:
            advance(trainer, *batch, **due)
            if rank == 1 and due["due"] == 3:
                os.kill(os.getpid(), signal.SIGTERM)

        run_room.Trainer._advance = stop_soon  # type: ignore[method-assign]
        try:
            run_room.train(config, folder, quiet=True)
        except KeyboardInterrupt:
            stopped_at = lines(folder, "train")[-1]["step"]
        run_room.Trainer._advance = advance  # type: ignore[method-assign]
        run_room.train(config, folder, resume=True, quiet=True)
        return {"weights": weights(folder), "lines": timeless(folder), "stopped_at": stopped_at}
    run_room.train(config, folder, quiet=True)
    return {"weights": weights(folder), "lines": timeless(folder)}


def recalibrate_on_digits(folder: Path) -> Result:
    """The running statistics of each process after a run that measures them again."""
    config = digits_config(**{"training.steps": 2, "training.batch_size": 49, "training.recalibrate": 3})
    found: Result = {}
    measure = run_room.Trainer.recalibrate

    def watched(trainer: Any) -> None:
        measure(trainer)
        found["statistics"] = {k: v.tolist() for k, v in running_statistics(trainer.classifier).items()}

    run_room.Trainer.recalibrate = watched  # type: ignore[method-assign]
    run_room.train(config, folder, quiet=True)
    return found


def main(folder: Path) -> Result:
    """Everything that the tests compare."""
    torch.set_num_threads(1)
    run_room._write_report = lambda run: None  # type: ignore[assignment]
    # forked processes inherit what is imported on the way, but must find their group themselves
    run_room.train(digits_config(**{"training.steps": 1}), folder / "first", quiet=True)
    AcceleratorState._reset_state(reset_partial_state=True)
    found: Result = {}
    for num_processes, accumulate in ((1, 1), (2, 1), (3, 1), (2, 3)):
        name = f"{num_processes}x{accumulate}"
        found[name] = together(
            num_processes, lambda rank, a=accumulate, n=name: train_on_noise(folder / n, batch_size=7, accumulate=a)
        )
    found["whole"] = together(2, lambda rank: train_on_digits(folder / "whole", rank))
    found["recalibrated"] = together(2, lambda rank: recalibrate_on_digits(folder / "recalibrated"))
    found["folder"] = str(folder)
    found["interrupted"] = together(2, lambda rank: train_on_digits(folder / "interrupted", rank, interrupt=True))
    attacked = {"adversary.attack": "fgsm", "adversary.epsilon": 0.2, "adversary.random_start": True}
    attacked |= {"training.recalibrate": 2}
    for name, interrupt in (("attacked whole", False), ("attacked interrupted", True)):
        found[name] = together(
            2, lambda rank, n=name, i=interrupt: train_on_digits(folder / n, rank, interrupt=i, **attacked)
        )
    return found


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))
