# SPDX-License-Identifier: MIT
"""Decoded sets kept on disk: read back only when whole and made from the very files that are there now."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import tempfile
import time
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from jaxtyping import Int64, UInt8
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

__all__ = ["Kept", "cache_file", "cache_folder", "fingerprint", "read", "write"]

logger = logging.getLogger(__name__)

# raised when what is kept changes its form, so that older files are made again
_FORMAT = 1


@dataclass(frozen=True)
class Kept:
    """What a cache file holds: one decoded split."""

    images: UInt8[Tensor, "N C H W"]
    labels: Int64[Tensor, " N"]
    class_names: list[str]


def cache_folder() -> Path:
    """Where decoded sets are kept: $HYPERSPHERE_CACHE, or `hypersphere` in $XDG_CACHE_HOME or in ~/.cache.

    Nothing in it is precious: it may be removed at any time.
    """
    if chosen := os.environ.get("HYPERSPHERE_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hypersphere"


def cache_file(title: str, settings: object) -> Path:
    """The file for one split under one choice of settings; `settings` is anything that JSON can hold.

    A set that changes on disk keeps its file name, so a new version replaces the old one.
    """
    name = re.sub(r"[^\w-]+", "-", title).strip("-")[:40]
    return cache_folder() / f"{name}-{_hash(settings)[:12]}.safetensors"


def fingerprint(files: Iterable[Path]) -> str:
    """Changes when a file of a set is added, removed, resized or written again.

    Raises:
        FileNotFoundError: if one of them does not exist.
    """
    stats = ((str(file), file.stat()) for file in files)
    return _hash([_FORMAT, sorted((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats)])


def read(path: Path, expected: str) -> Kept | None:
    """What `write` kept at `path`, or None where that is missing, damaged or was made from other files.

    Args:
        path: from `cache_file`.
        expected: the `fingerprint` of the files now.
    """
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as stored:
            facts = json.loads((stored.metadata() or {})["hypersphere"])
            if facts["fingerprint"] != expected:
                return None
            images, labels = stored.get_tensor("images"), stored.get_tensor("labels")
        if facts["checksum"] != _checksum(images, labels):
            raise ValueError("its checksum is wrong")
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        logger.warning("%s is damaged (%s) and will be made again.", path, error)
        return None
    return Kept(images, labels, facts["class_names"])


def write(path: Path, kept: Kept, made_from: str) -> None:
    """Keep a decoded split at `path`, whole or not at all; a full disk is a warning, not an error.

    Args:
        path: from `cache_file`.
        kept: what to keep.
        made_from: the `fingerprint` of the files that it was decoded from.
    """
    checksum = _checksum(kept.images, kept.labels)
    facts = {"fingerprint": made_from, "checksum": checksum, "class_names": kept.class_names}
    unfinished = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(path.parent)
        # a name of its own: two processes may keep the same set at once
        descriptor, unfinished = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".part")
        os.close(descriptor)
        save_file(
            {"images": kept.images, "labels": kept.labels}, unfinished, metadata={"hypersphere": json.dumps(facts)}
        )
        os.replace(unfinished, path)
    except (OSError, SafetensorError) as error:
        logger.warning(
            "could not keep the decoded images at %s (%s): they will be decoded again next time.", path, error
        )
        if unfinished is not None:
            Path(unfinished).unlink(missing_ok=True)


def _remove_abandoned(folder: Path) -> None:
    """Remove what runs that were killed while writing left behind: unfinished files older than a day."""
    for unfinished in folder.glob(".*.part"):
        if time.time() - unfinished.stat().st_mtime > 86400:
            unfinished.unlink(missing_ok=True)


def _hash(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


def _checksum(images: Tensor, labels: Tensor) -> int:
    """CRC-32 of pixels and labels: a file can have the right length and still be empty after a power cut."""
    return zlib.crc32(labels.numpy().data, zlib.crc32(images.contiguous().numpy().reshape(-1).data))
