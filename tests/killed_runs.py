# SPDX-License-Identifier: MIT
"""Trains in child processes that are killed (SIGKILL) at chosen lines of code, resumed, and compared with a whole run.

Started as a script by `tests/training/test_run.py`: `python killed_runs.py FOLDER NUM_TRIALS SEED`. It forks instead of
starting each child anew, so that a trial costs a fraction of a second. Prints one JSON object.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import traceback
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import torch

import hypersphere.training.run as run_room
from hypersphere.models.store import WEIGHTS_FILE
from tiny_runs import digits_config, timeless, weights

# every line of these files is a moment at which a run can be killed, those between two writes of a file included
WATCHED = ("hypersphere/training/", "hypersphere/files.py", "hypersphere/models/store.py", "torch/serialization.py")


class Countdown:
    """Counts executed lines of the watched files; kills this process at the line number `fatal`."""

    def __init__(self, fatal: int | None) -> None:
        self.count = 0
        self.fatal = fatal
        self.watched: dict[CodeType, bool] = {}

    def call(self, frame: FrameType, event: str, argument: Any) -> Any:
        """For `sys.settrace`."""
        code = frame.f_code
        if code not in self.watched:
            self.watched[code] = any(part in code.co_filename for part in WATCHED)
        return self.line if self.watched[code] else None

    def line(self, frame: FrameType, event: str, argument: Any) -> Any:
        """For the frames of the watched files."""
        if event == "line":
            self.count += 1
            if self.count == self.fatal:
                os.kill(os.getpid(), signal.SIGKILL)
        return self.line


def in_child(folder: Path, *, resume: bool, fatal: int | None) -> tuple[bool, int]:
    """Whether a child trained to the end, and how many lines it ran."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        countdown = Countdown(fatal)
        sys.settrace(countdown.call)
        try:
            run_room.train(digits_config(), folder, resume=resume, quiet=True)
            sys.settrace(None)
            os.write(writer, str(countdown.count).encode())
        except BaseException:
            traceback.print_exc()
        # not through the exit of Python: the parent's files are not the child's to close
        os._exit(0)
    os.close(writer)
    _, status = os.waitpid(child, 0)
    with os.fdopen(reader) as pipe:
        count = pipe.read()
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    assert count or killed, f"a child ended with status {status} and without a word; its traceback is above"
    return bool(count), int(count or 0)


def main(folder: Path, num_trials: int, seed: int) -> dict[str, Any]:
    """Trials: each kills a run up to three times at random lines, then lets it end."""
    torch.set_num_threads(1)
    run_room._write_report = lambda run: None  # type: ignore[assignment]
    # forked children inherit what is imported on the way
    run_room.train(digits_config(), folder / "first", quiet=True)
    whole = folder / "whole"
    _, num_lines = in_child(whole, resume=False, fatal=None)
    assert weights(folder / "first") == weights(whole)
    expected = weights(whole), timeless(whole), (whole / "evaluation" / "classification.json").read_text()
    generator = random.Random(seed)
    kills, different = 0, []
    for trial in range(num_trials):
        out = folder / f"trial-{trial}"
        moments = [generator.randint(1, num_lines) for _ in range(generator.randint(1, 3))]
        for fatal in moments:
            done, _ = in_child(out, resume=out.exists(), fatal=fatal)
            kills += not done
        in_child(out, resume=out.exists(), fatal=None)
        found = weights(out), timeless(out), (out / "evaluation" / "classification.json").read_text()
        if found != expected:
            different.append(moments)
        assert (out / WEIGHTS_FILE).is_file()
        shutil.rmtree(out)
    return {"lines": num_lines, "trials": num_trials, "kills": kills, "different": different}


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))))
