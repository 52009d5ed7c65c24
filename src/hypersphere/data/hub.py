# SPDX-License-Identifier: MIT
"""Named sets from the Hugging Face hub: a copy at hand first, then what was downloaded before, then a download."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from hypersphere.checks import lookup
from hypersphere.data.extras import needed_for
from hypersphere.data.parquet_files import find_parquet

__all__ = ["HUB_SETS", "hub_folder"]

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
    if base := os.environ.get("HYPERSPHERE_DATA"):
        folder = Path(base) / name
        if folder.is_dir():
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


def _is_whole(folder: Path) -> bool:
    """Whether every file of both splits is there: an interrupted download leaves some out."""
    try:
        return {"train", "test"} <= find_parquet(folder).keys()
    except (FileNotFoundError, ValueError):
        return False
