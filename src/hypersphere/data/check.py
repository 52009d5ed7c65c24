# SPDX-License-Identifier: MIT
"""What is in a set of images before anything is trained on it: counts, sizes, broken files, images that are twice."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hypersphere.config import DataConfig
from hypersphere.data.decode import is_grey, open_image
from hypersphere.data.hub import STREAMED_SETS, copy_at_hand
from hypersphere.data.images import usable_cores
from hypersphere.data.load import HUB, find_source, read_rows
from hypersphere.data.sources import SPLITS, Encoded, Rows, some

__all__ = ["CheckedData", "CheckedSplit", "Copies", "check_data", "lines"]

# rows that a thread takes at a time
_CHUNK = 64
# images that are twice, of which a person is shown the places
_SHOWN = 5
# broken images, and images that are twice, that are named
_NAMED = 20


@dataclass(frozen=True)
class CheckedSplit:
    """One split.

    Args:
        name: "train", "validation" or "test".
        num_images: with the broken ones.
        num_classes: classes that have an image here.
        fewest: images of the smallest of these classes.
        median: of their numbers of images.
        most: images of the largest.
        singles: classes with one image.
    """

    name: str
    num_images: int
    num_classes: int
    fewest: int
    median: float
    most: int
    singles: int


@dataclass(frozen=True)
class Copies:
    """Images that are there more than once, pixel by pixel, whatever their files.

    Args:
        images: distinct images of which there are several copies.
        surplus: copies beyond the first of each.
        within_class: of `images`, those that are twice in one class.
        across_classes: those that are in several classes, so that one label is wrong.
        across_splits: those that are in several splits, so that what is tested was trained on.
        examples: two places of an image, in words with their labels, the gravest first: across classes and splits,
            across classes, across splits, within a class; at most 20.
    """

    images: int
    surplus: int
    within_class: int
    across_classes: int
    across_splits: int
    examples: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class CheckedData:
    """What `check_data` found.

    Args:
        name: of the set.
        class_names: of all splits together.
        splits: each split.
        sizes: (height, width) -> images of that size, most frequent first.
        grey: images with one channel.
        colour: images with more.
        num_broken: images that cannot be used.
        broken: where, and why; at most 20.
        copies: images that are there more than once.
    """

    name: str
    class_names: list[str]
    splits: tuple[CheckedSplit, ...]
    sizes: Mapping[tuple[int, int], int]
    grey: int
    colour: int
    num_broken: int
    broken: tuple[str, ...]
    copies: Copies

    @property
    def num_images(self) -> int:
        """Of all splits."""
        return sum(split.num_images for split in self.splits)


def check_data(
    name: str | Path,
    *,
    image_column: str | None = None,
    label_column: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> CheckedData:
    """Look at every image of a set: decode it, measure it, compare it with all others.

    Args:
        name: a folder or file, or a name of `list_datasets` whose images are files.
        image_column: as `data.image_column`.
        label_column: as `data.label_column`.
        progress: called now and then with the number of images that are done and of all.

    Returns:
        All that was found. Images are compared by a 64-bit hash of their pixels; two different ones of ten million
        share one with a chance of three in a million.

    Raises:
        FileNotFoundError: if there is no such set, or files that a list names are missing.
        ValueError: if the set as a whole cannot be used: no images, a label that is missing, no images as files.

    Edge cases:
        One image is in memory at a time in each thread, and 20 bytes of each one that was seen, besides what a set of
        less than 2 GiB takes encoded.
    """
    given = str(name)
    if given in ("digits", "synthetic") or given.startswith(HUB) or _only_streamed(given):
        raise ValueError(
            f"data set {given!r} has no image files here, so there is nothing to check; give a local copy."
        )
    source = find_source(DataConfig(name=given, image_column=image_column, label_column=label_column))
    found = {split: read_rows(source, split) for split in SPLITS if split in source.files}
    total = sum(len(rows.labels) for rows in found.values())
    seen = _Seen(total)
    for number, rows in enumerate(found.values()):
        for facts in _facts(rows):
            seen.add(number, facts, rows)
            if progress is not None:
                progress(seen.done, total)
    names = next(iter(found.values())).class_names
    splits = tuple(_summary(split, rows) for split, rows in found.items())
    sizes = dict(sorted(seen.sizes.items(), key=lambda entry: (-entry[1], entry[0])))
    copies = seen.copies(list(found.values()))
    grey, broken = seen.grey, tuple(seen.broken)
    colour = total - grey - seen.num_broken
    return CheckedData(source.title, names, splits, sizes, grey, colour, seen.num_broken, broken, copies)


def lines(found: CheckedData) -> list[str]:
    """What was found, as a person reads it."""
    names = found.class_names
    shown = ", ".join(names) if len(names) <= 5 else f"{names[0]}, {names[1]}, ... {names[-1]}"
    told = [f"data      {found.name}: {found.num_images} images, {len(names)} classes ({shown})"]
    for split in found.splits:
        each = f"{split.fewest} to {split.most} images each, median {split.median:g}"
        each = f"{split.most} images each" if split.fewest == split.most else each
        singles = f"; {split.singles} with one image" if split.singles and split.most > 1 else ""
        told.append(f"{split.name:<10}{split.num_images} images of {split.num_classes} classes, {each}{singles}")
    sizes = [f"{height}x{width} ({num})" for (height, width), num in found.sizes.items()]
    told.append(f"sizes     {some(sizes) or 'none'}, height x width" + _advice(len(sizes)))
    both = "; the set is read as colour" if found.grey and found.colour else ""
    told.append(f"channels  {found.grey} grey, {found.colour} colour{both}")
    told.append(f"broken    {found.num_broken or 'none'}" + (", cannot be used:" if found.num_broken else ""))
    told += [f"          {sentence}" for sentence in found.broken]
    if found.num_broken > len(found.broken):
        told.append(f"          and {found.num_broken - len(found.broken)} more")
    copies = found.copies
    if not copies.images:
        return [*told, "copies    none"]
    told.append(
        f"copies    {copies.images} images are there more than once, {copies.surplus} too many: {copies.within_class} "
        f"within a class, {copies.across_classes} across classes, {copies.across_splits} across splits"
    )
    told += [f"          {first} = {second}" for first, second in copies.examples[:_SHOWN]]
    return told + ([f"          and {copies.images - _SHOWN} more"] if copies.images > _SHOWN else [])


def _advice(num_sizes: int) -> str:
    return "; set data.size, which brings all to one" if num_sizes > 1 else ""


def _summary(split: str, rows: Rows) -> CheckedSplit:
    counts = np.bincount(rows.labels.numpy())
    counts = counts[counts > 0]
    fewest, most, singles = (int(number) for number in (counts.min(), counts.max(), (counts == 1).sum()))
    return CheckedSplit(split, len(rows.labels), len(counts), fewest, float(np.median(counts)), most, singles)


def _only_streamed(name: str) -> bool:
    return name in STREAMED_SETS and copy_at_hand(name) is None


# of one image: its row, and (hash, height, width, grey) or what is wrong with it
_Fact = tuple[int, tuple[int, int, int, bool] | str]


class _Seen:
    """What is kept of the images seen so far: a hash, a class and a place of each."""

    def __init__(self, total: int) -> None:
        self.done = self.grey = self.num_broken = 0
        self.sizes: Counter[tuple[int, int]] = Counter()
        self.broken: list[str] = []
        self._kept = 0
        self._hashes = np.zeros(total, dtype=np.uint64)
        # split and row
        self._places = np.zeros((total, 2), dtype=np.int64)

    def add(self, split: int, facts: Sequence[_Fact], rows: Rows) -> None:
        """Take in what was found out about some images of a split."""
        for row, fact in facts:
            self.done += 1
            if isinstance(fact, str):
                self.num_broken += 1
                if len(self.broken) < _NAMED:
                    self.broken.append(fact if fact.startswith(rows.where(row)) else f"{rows.where(row)}: {fact}")
                continue
            digest, height, width, grey = fact
            self.sizes[height, width] += 1
            self.grey += grey
            self._hashes[self._kept] = digest
            self._places[self._kept] = split, row
            self._kept += 1

    def copies(self, rows: Sequence[Rows]) -> Copies:
        """Images with one hash, by the classes and splits that they are in."""
        hashes, places = self._hashes[: self._kept], self._places[: self._kept]
        order = np.argsort(hashes, kind="stable")
        ends = np.flatnonzero(np.diff(hashes[order])) + 1
        starts = np.concatenate([[0], ends])
        sizes = np.diff(np.concatenate([starts, [len(order)]])) if len(order) else np.zeros(0, dtype=np.int64)
        within = across = leaks = 0
        examples: list[tuple[int, tuple[str, str]]] = []
        several = np.flatnonzero(sizes > 1)
        for group in several.tolist():
            members = [
                (int(places[place, 0]), int(places[place, 1])) for place in order[starts[group] :][: sizes[group]]
            ]
            classes = [int(rows[split].labels[row]) for split, row in members]
            splits = {split for split, _ in members}
            within += len(set(classes)) < len(classes)
            across += len(set(classes)) > 1
            leaks += len(splits) > 1
            gravity = (len(splits) > 1) + 2 * (len(set(classes)) > 1)
            if len(examples) < _NAMED or gravity > examples[-1][0]:
                first = members[0]
                # one that shows what is wrong, if there is one
                second = next((one for one, label in zip(members, classes, strict=True) if label != classes[0]), None)
                second = second or next((one for one in members if one[0] != first[0]), members[1])
                pair = _place(rows, first), _place(rows, second)
                examples = sorted([*examples, (gravity, pair)], key=lambda one: -one[0])[:_NAMED]
        surplus = int(sizes[several].sum()) - len(several)
        return Copies(len(several), surplus, within, across, leaks, tuple(pair for _, pair in examples))


def _place(rows: Sequence[Rows], member: tuple[int, int]) -> str:
    """Where an image is and what its label says, in words."""
    split, row = member
    return f"{rows[split].where(row)}: {rows[split].class_names[int(rows[split].labels[row])]}"


def _facts(rows: Rows) -> Iterator[list[_Fact]]:
    """Every image of a split, looked at in parallel, in order."""
    num = len(rows.labels)
    with ThreadPoolExecutor(usable_cores()) as pool:
        chunks = (range(start, min(start + _CHUNK, num)) for start in range(0, num, _CHUNK))
        yield from pool.map(lambda chunk: _look(rows, chunk), chunks)


def _look(rows: Rows, chunk: Sequence[int]) -> list[_Fact]:
    try:
        images = list(rows.encoded(chunk))
    except (ValueError, OSError):
        # a damaged record takes the others of its chunk along: one at a time
        return [_look_at(rows, row) for row in chunk]
    return [(row, _measured(image)) for row, image in zip(chunk, images, strict=True)]


def _look_at(rows: Rows, row: int) -> _Fact:
    try:
        (image,) = rows.encoded([row])
    except (ValueError, OSError) as error:
        return row, str(error).rstrip(".")
    return row, _measured(image)


def _measured(encoded: Encoded) -> tuple[int, int, int, bool] | str:
    """Hash, height, width and whether it is grey, or what is wrong with an image."""
    try:
        image = open_image(encoded, None)
    except ValueError as error:
        return str(error)
    grey = is_grey(image)
    pixels = image.convert("L" if grey else "RGB").tobytes()
    shape = f"{image.height}x{image.width}x{grey}".encode()
    digest = hashlib.blake2b(pixels, digest_size=8, key=shape).digest()
    return int.from_bytes(digest, "little"), image.height, image.width, grey
