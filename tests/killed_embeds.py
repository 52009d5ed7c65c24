# SPDX-License-Identifier: MIT
"""Embeds in child processes that are killed (SIGKILL) at chosen lines of code, resumed, and compared with a whole one.

Started as a script by `tests/training/test_embed.py`: `python killed_embeds.py FOLDER NUM_TRIALS SEED`. Prints one JSON
object.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hypersphere.training.embed import write_embeddings
from hypersphere.training.pictures import Broken, PictureBatch, Pictures
from killed_children import in_child, moments

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


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder, hidden ones included."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def main(folder: Path, num_trials: int, seed: int) -> dict[str, Any]:
    """Trials: each is killed up to three times at random lines, then ends."""
    whole = folder / "whole"
    whole.mkdir()
    _, num_lines = in_child(partial(embed, whole / "x.npy", resume=False), WATCHED, fatal=None)
    expected = contents(whole)
    generator = random.Random(seed)
    kills, different = 0, []
    for trial in range(num_trials):
        out = folder / f"trial-{trial}" / "x.npy"
        out.parent.mkdir()
        lines = moments(generator, num_lines)
        for number, fatal in enumerate(lines):
            done, _ = in_child(partial(embed, out, resume=number > 0), WATCHED, fatal=fatal)
            kills += not done
        in_child(partial(embed, out, resume=True), WATCHED, fatal=None)
        if contents(out.parent) != expected:
            different.append(lines)
    return {"lines": num_lines, "kills": kills, "different": different, "files": sorted(expected)}


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))))
