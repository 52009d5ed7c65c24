# SPDX-License-Identifier: MIT
"""Trains in child processes that are killed (SIGKILL) at chosen lines of code, resumed, and compared with a whole run.

Started as a script by `tests/training/test_run.py`: `python killed_runs.py FOLDER NUM_TRIALS SEED`. Prints one JSON
object.
"""

from __future__ import annotations

import json
import random
import shutil
import sys
from functools import partial
from pathlib import Path
from typing import Any

import torch

import hypersphere.training.run as run_room
from hypersphere.models.store import WEIGHTS_FILE
from killed_children import in_child, moments
from tiny_runs import digits_config, timeless, weights

# every line of these files is a moment at which a run can be killed, those between two writes of a file included
WATCHED = ("hypersphere/training/", "hypersphere/files.py", "hypersphere/models/store.py", "torch/serialization.py")


def train(folder: Path, *, resume: bool) -> None:
    """The run of digits, begun or gone on with."""
    run_room.train(digits_config(), folder, resume=resume, quiet=True)


def main(folder: Path, num_trials: int, seed: int) -> dict[str, Any]:
    """Trials: each kills a run up to three times at random lines, then lets it end."""
    torch.set_num_threads(1)
    run_room._write_report = lambda run: None  # type: ignore[assignment]
    # forked children inherit what is imported on the way
    train(folder / "first", resume=False)
    whole = folder / "whole"
    _, num_lines = in_child(partial(train, whole, resume=False), WATCHED, fatal=None)
    assert weights(folder / "first") == weights(whole)
    expected = weights(whole), timeless(whole), (whole / "evaluation" / "classification.json").read_text()
    generator = random.Random(seed)
    kills, different = 0, []
    for trial in range(num_trials):
        out = folder / f"trial-{trial}"
        lines = moments(generator, num_lines)
        for fatal in lines:
            done, _ = in_child(partial(train, out, resume=out.exists()), WATCHED, fatal=fatal)
            kills += not done
        in_child(partial(train, out, resume=out.exists()), WATCHED, fatal=None)
        found = weights(out), timeless(out), (out / "evaluation" / "classification.json").read_text()
        if found != expected:
            different.append(lines)
        assert (out / WEIGHTS_FILE).is_file()
        shutil.rmtree(out)
    return {"lines": num_lines, "trials": num_trials, "kills": kills, "different": different}


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))))
