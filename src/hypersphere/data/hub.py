# SPDX-License-Identifier: MIT
"""Named sets of the Hugging Face hub: a copy at hand first, then what was downloaded before, then the hub itself."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from hypersphere.checks import lookup
from hypersphere.data.extras import needed_for
from hypersphere.data.parquet_files import find_parquet

__all__ = ["HUB_SETS", "LOCAL_SETS", "STREAMED_SETS", "copy_at_hand", "hub_folder", "local_folder"]

# name -> repository on the hub and a line of description; each has one series of Parquet files for train and for test
HUB_SETS: dict[str, tuple[str, str]] = {
    "mnist": ("ylecun/mnist", "handwritten digits, grey 28x28, 10 classes, 60 000 train and 10 000 test"),
    "fashion_mnist": (
        "zalando-datasets/fashion_mnist",
        "articles of clothing, grey 28x28, 10 classes, 60 000 train and 10 000 test",
    ),
    "cifar10": ("uoft-cs/cifar10", "small photographs, colour 32x32, 10 classes, 50 000 train and 10 000 test"),
    "cifar100": (
        "uoft-cs/cifar100",
        "small photographs, colour 32x32, 100 classes, 50 000 train and 10 000 test (10 images are in both)",
    ),
}

# too large to be downloaded unasked: read over the network unless there is a copy
STREAMED_SETS: dict[str, tuple[str, str]] = {
    "imagenet": (
        "ILSVRC/imagenet-1k",
        "photographs, colour, any size, 1 000 classes, 1 281 167 train and the 50 000 of validation as test; streamed "
        "from the hub (needs an account), or a copy",
    ),
}


# on no hub in the form that is meant here: only a copy is read
LOCAL_SETS: dict[str, str] = {
    "lfw": "photographs of faces, colour 112x112, cut and aligned, 5 749 classes (people), 13 233 train; only from a "
    "copy, with pairs.txt in its folder",
}


def copy_at_hand(name: str) -> Path | None:
    """The folder of a streamed set that is on this machine, or None.

    That is the folder of that name in $HYPERSPHERE_DATA if there is one; else what `huggingface_hub` has downloaded
    before, if the files of both train and validation are whole.

    Raises:
        ValueError: if there is no streamed set of that name.
    """
    repository, _ = lookup("data set", name, STREAMED_SETS)
    if folder := _own_folder(name):
        return folder
    with needed_for(f"reading {name}"):
        import huggingface_hub
        from huggingface_hub.errors import LocalEntryNotFoundError
    try:
        settings: dict[str, Any] = {"repo_type": "dataset", "allow_patterns": "*.parquet"}
        folder = Path(huggingface_hub.snapshot_download(repository, local_files_only=True, **settings))
    except LocalEntryNotFoundError:
        return None
    return folder if _is_whole(folder, "validation") else None


def hub_folder(name: str) -> Path:
    """A folder with the Parquet files of a named set.

    The folder of that name in $HYPERSPHERE_DATA if there is one; else what `huggingface_hub` has downloaded before,
    without asking the network; else it is downloaded now.

    Raises:
        ValueError: if there is no set of that name.
        ConnectionError: if the hub cannot be reached, within seconds.
        ImportError: if `huggingface_hub`, which comes with `datasets`, is not installed.
    """
    repository, _ = lookup("data set", name, HUB_SETS)
    if folder := _own_folder(name):
        return folder
    with needed_for(f"downloading {name}"):
        import huggingface_hub
        from huggingface_hub.errors import LocalEntryNotFoundError
    settings: dict[str, Any] = {"repo_type": "dataset", "allow_patterns": "*.parquet"}
    try:
        folder = Path(huggingface_hub.snapshot_download(repository, local_files_only=True, **settings))
        if _is_whole(folder):
            return folder
    except LocalEntryNotFoundError:
        pass
    try:
        folder = Path(huggingface_hub.snapshot_download(repository, **settings))
        if _is_whole(folder):
            return folder
        reason = "its files are incomplete"
    # the hub's client raises errors of whichever HTTP library it stands on
    except Exception as error:
        reason = " ".join(str(error.__cause__ or error).split())[:200].rstrip(".")
    raise ConnectionError(
        f"{name}: cannot be downloaded from the Hugging Face hub ({repository}: {reason}); with a local copy, a folder "
        "with train-*.parquet and test-*.parquet, give that folder: --data.name FOLDER."
    )


def local_folder(name: str) -> Path:
    """The folder of that name in $HYPERSPHERE_DATA, for a set that is not downloaded.

    Raises:
        ValueError: if there is no set of that name.
        FileNotFoundError: if there is no such folder.
    """
    lookup("data set", name, LOCAL_SETS)
    if folder := _own_folder(name):
        return folder
    raise FileNotFoundError(
        f"{name} is not downloaded: let the environment variable HYPERSPHERE_DATA name a folder that holds a folder "
        f"{name} with train-*.parquet, or with a folder of images for each person; or give that folder itself: "
        "--data.name FOLDER."
    )


def _own_folder(name: str) -> Path | None:
    """The folder of that name among the user's own data."""
    base = os.environ.get("HYPERSPHERE_DATA")
    return folder if base and (folder := Path(base) / name).is_dir() else None


def _is_whole(folder: Path, held_out: str = "test") -> bool:
    """Whether every file of both splits is there: an interrupted download leaves some out."""
    try:
        return {"train", held_out} <= find_parquet(folder).keys()
    except (FileNotFoundError, ValueError):
        return False
