# SPDX-License-Identifier: MIT
"""Embeds in child processes that are killed (SIGKILL) at chosen lines of code, resumed, and compared with a whole one.

Started as a script by `tests/training/test_embed.py`: `python killed_embeds.py FOLDER NUM_TRIALS SEED`. Prints one JSON
object.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch

from hypersphere.training.embed import write_embeddings
from hypersphere.training.pictures import Broken, PictureBatch, Pictures

# every line of these files is a moment at which a process can be killed
WATCHED = ("training/embed.py", "training/embedded.py", "hypersphere/files.py")
FACTS = {"format": 1, "dim": 3, "batch": 4, "source": {"kind": "drawn"}}


class Drawn(Pictures):
    """26 images of one number each, every seventh broken."""

    facts = FACTS["source"]

    def __len__(self) -> int:
        return 26

    def batches(self, size: int, *, start: int = 0) -> Iterator[PictureBatch]:
        """Batches from any place."""
        for first in range(start * size, 26, size):
            numbers = range(first, min(first + size, 26))
            good = [number for number in numbers if number % 7]
            pixels = torch.tensor(good, dtype=torch.uint8).view(-1, 1, 1, 1)
            broken = [Broken(f"{number}.png", "is broken") for number in numbers if number % 7 == 0]
            yield PictureBatch(pixels, [f"{number}.png" for number in good], ["odd"] * len(good), broken)


def features(pixels: torch.Tensor) -> np.ndarray:
    """Three numbers of each image."""
    value = pixels.view(-1, 1).numpy().astype(np.float32)
    return np.concatenate([value, value**2, 1 / value], axis=1)


def embed(out: Path, *, resume: bool) -> None:
    """One file, its progress recorded after every batch."""
    write_embeddings(out, features, Drawn(), facts=FACTS, resume=resume, skip_broken=True, every=0.0)


def in_child(out: Path, *, resume: bool, fatal: int | None) -> tuple[bool, int]:
    """Whether a child embedded to the end, and how many lines it ran."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        count = 0

        def line(frame: FrameType, event: str, argument: Any) -> Any:
            nonlocal count
            if not frame.f_code.co_filename.endswith(WATCHED):
                return None
            if event == "line":
                count += 1
                if count == fatal:
                    os.kill(os.getpid(), signal.SIGKILL)
            return line

        try:
            sys.settrace(line)
            embed(out, resume=resume)
            sys.settrace(None)
            os.write(writer, str(count).encode())
        except BaseException:
            traceback.print_exc()
        os._exit(0)
    os.close(writer)
    _, status = os.waitpid(child, 0)
    with os.fdopen(reader) as pipe:
        told = pipe.read()
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    assert told or killed, f"a child ended with status {status} and without a word; its traceback is above"
    return bool(told), int(told or 0)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder, hidden ones included."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def main(folder: Path, num_trials: int, seed: int) -> dict[str, Any]:
    """Trials: each is killed up to three times at random lines, then ends."""
    whole = folder / "whole"
    whole.mkdir()
    _, num_lines = in_child(whole / "x.npy", resume=False, fatal=None)
    expected = contents(whole)
    generator = random.Random(seed)
    kills, different = 0, []
    for trial in range(num_trials):
        out = folder / f"trial-{trial}" / "x.npy"
        out.parent.mkdir()
        moments = [generator.randint(1, num_lines) for _ in range(generator.randint(1, 3))]
        for number, fatal in enumerate(moments):
            done, _ = in_child(out, resume=number > 0, fatal=fatal)
            kills += not done
        in_child(out, resume=True, fatal=None)
        if contents(out.parent) != expected:
            different.append(moments)
    return {"lines": num_lines, "kills": kills, "different": different, "files": sorted(expected)}


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))))
