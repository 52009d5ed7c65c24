# SPDX-License-Identifier: MIT
"""What every place that images come from offers: its splits, the files they are read from, their rows."""

from __future__ import annotations

import abc
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jaxtyping import Int64
from torch import Tensor

__all__ = ["SPLITS", "Encoded", "Rows", "Source", "one_line", "some", "split_named"]

# the bytes of an image file, the file itself, or nothing where a table has none
Encoded = bytes | Path | None

# the splits that there can be, and the words by which folders and files announce them
SPLITS: dict[str, tuple[str, ...]] = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing"),
}


@dataclass(frozen=True)
class Rows:
    """The images of one split before they are decoded, with their classes.

    Args:
        labels: class of each row, (N,) int64.
        class_names: the name of each class.
        encoded: row numbers -> their images; called from several threads at once.
        where: row number -> file and row in words, for messages.
        title: the set and split in words.
    """

    labels: Int64[Tensor, " N"]
    class_names: list[str]
    encoded: Callable[[Sequence[int]], Iterable[Encoded]]
    where: Callable[[int], str]
    title: str


class Source(abc.ABC):
    """Labelled images on disk, not read yet.

    Attributes:
        title: what the set is called in messages.
        files: split -> the files that it is read from, by which a change is noticed.
    """

    title: str
    files: Mapping[str, Sequence[Path]]

    @abc.abstractmethod
    def peek(self, split: str) -> tuple[int, Encoded]:
        """Number of rows and the first image of a split, read quickly."""

    def names(self, split: str) -> Sequence[str] | None:
        """The path of each image of a split as the set gives it, or None where it gives none."""
        return None

    @abc.abstractmethod
    def rows(self, split: str, *, on_disk: bool) -> Rows:
        """The rows of a split, all labels checked.

        Args:
            split: a key of `files`.
            on_disk: leave the encoded images on disk, for sets that may not fit into memory.

        Raises:
            ValueError: naming file and row, if a file or a label cannot be used.
        """


def split_named(text: str) -> str | None:
    """The split that a folder or file name announces, or None.

    Example:
        >>> split_named("train-00000-of-00002.parquet"), split_named("val"), split_named("trainer.parquet")
        ('train', 'validation', None)
    """
    first = re.split(r"[-_.]", text.lower())[0]
    return next((split for split, words in SPLITS.items() if first in words), None)


def some(names: Sequence[object], *, limit: int = 5) -> str:
    """A list in words, cut short when it is long."""
    shown = ", ".join(map(str, names[:limit]))
    return shown + (f" and {len(names) - limit} more" if len(names) > limit else "")


def one_line(error: BaseException) -> str:
    """What an exception says, fit to stand in brackets inside a sentence."""
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
