# SPDX-License-Identifier: MIT
"""The run folder: whether a run may begin or go on in it, and who writes to it."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from hypersphere.config import Config
from hypersphere.models.store import SPEC_FILE
from hypersphere.training.settings import differences, read_config

__all__ = ["CONFIG_FILE", "WITHOUT_EFFECT", "check_folder", "check_trained", "claimed", "result_stem"]

CONFIG_FILE = "config.yaml"
# settings that change no number of a run, so it may go on with others
WITHOUT_EFFECT = ("data.cache", "training.checkpoint_every", "training.tensorboard")


def check_folder(config: Config, out: Path, *, resume: bool) -> None:
    """Refuse to write over a run, and to go on with another run's settings.

    Raises:
        FileExistsError: if a run is to begin and `out` holds anything.
        FileNotFoundError: if a run is to go on and `out` holds something, but no run, or is not there.
        ValueError: if a run is to go on with other settings; those of `WITHOUT_EFFECT` may change.

    Edge cases:
        A run that was killed before it had written its config goes on from the beginning.
    """
    if out.exists() and not out.is_dir():
        raise FileExistsError(f"{out} is a file, not a folder. Give another --out.")
    # a killed process leaves hidden files that the next one replaces
    inside = [entry for entry in out.iterdir() if not entry.name.startswith(".")] if out.is_dir() else []
    if not resume:
        if inside:
            raise FileExistsError(f"{out} exists already. Give another --out, or --resume to go on with that run.")
        return
    if not out.is_dir():
        raise FileNotFoundError(f"there is no run to resume at {out}.")
    if not inside:
        return
    if not (out / CONFIG_FILE).is_file():
        raise FileNotFoundError(f"{out} is no run folder to resume: it has no {CONFIG_FILE}.")
    changed = [line for line in differences(read_config(out / CONFIG_FILE), config) if not _without_effect(line)]
    if changed:
        raise ValueError(
            f"cannot resume {out} with other settings: {'; '.join(changed)}. Leave them as they were, or begin a new "
            "run with another --out."
        )


def _without_effect(line: str) -> bool:
    return line.split(":")[0] in WITHOUT_EFFECT


def check_trained(who: str, folder: Path) -> None:
    """Raise FileNotFoundError in the words of `who` unless there is a trained model in a run folder."""
    if (folder / SPEC_FILE).is_file():
        return
    if (folder / CONFIG_FILE).is_file():
        raise FileNotFoundError(
            f"{who}: {folder} is not finished, so there is no trained model in it yet. Go on with: hypersphere train "
            f"--resume --out {folder}"
        )
    raise FileNotFoundError(f"{who}: {folder} is no run: there is neither {CONFIG_FILE} nor {SPEC_FILE} in it.")


def result_stem(protocol: str, *parts: str) -> str:
    """The stem of the files of a result on other images than the run's own; what no file name can hold becomes "_".

    Example:
        >>> result_stem("identification", "hub:owner/name", "test")
        'identification-hub_owner_name-test'
    """
    return "-".join([protocol, *(re.sub(r"[^\w.-]+", "_", part) for part in parts)])


@contextlib.contextmanager
def claimed(out: Path) -> Iterator[None]:
    """Keep other processes from training in the same folder, where the system has file locks; a kill releases it.

    Raises:
        BlockingIOError: if another process is training there.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    state = out / "state"
    state.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(state / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BlockingIOError(f"another process is training in {out}.") from None
        yield
    finally:
        os.close(descriptor)
