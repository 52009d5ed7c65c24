# SPDX-License-Identifier: MIT
"""Pairs of images to verify, found and prepared: from a list beside a set or anywhere, or from a `.bin` file."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from hypersphere.config import DataConfig
from hypersphere.data.hub import STREAMED_SETS, copy_at_hand
from hypersphere.data.images import ImageSet
from hypersphere.data.listed import IMAGE_SUFFIXES
from hypersphere.data.load import find_pairs, find_source, images_of, list_datasets, read_rows
from hypersphere.data.pair_lists import PairList, contiguous_folds, read_pair_list
from hypersphere.data.parquet import ParquetSource
from hypersphere.data.parquet_files import find_parquet
from hypersphere.data.sources import Encoded, Rows, Source
from hypersphere.data.verification_bin import read_bin

__all__ = ["PairedImages", "load_pairs"]


@dataclass(frozen=True)
class PairedImages:
    """P pairs among N distinct images.

    Args:
        images: the images; their classes are the people, one class for all where a file names none.
        left: (P,) int64, number of the first image of each pair among `images`.
        right: (P,) of the second.
        same: (P,) bool, whether both show one person.
        fold: (P,) int64, 1 .. F.
        people: (P, 2) int64, the person of either image, or None where a file names none.
    """

    images: ImageSet
    left: np.ndarray
    right: np.ndarray
    same: np.ndarray
    fold: np.ndarray
    people: np.ndarray | None

    def __len__(self) -> int:
        return len(self.left)


def load_pairs(config: DataConfig, *, channels: int | None = None) -> PairedImages:
    """The pairs of a set for verification, with their images as a model sees them.

    Args:
        config: `pairs`, else `pairs.txt` beside the set `name`, is the file: a list as `read_pair_list` takes it, or a
            `.bin` file. The images of a list are files beside it, or in Parquet files beside it, or those of the set,
            found by the last parts of their path, the suffix left out. `size`, `resize` and `crop` say how they are
            prepared; what concerns the division of the set is not looked at.
        channels: 1 or 3, as the model wants them: grey images become colour, not the reverse. None to leave them.

    Returns:
        Pairs in the order of the file. A `.bin` file has ten folds, contiguous and of one size, as is the rule for it.

    Raises:
        FileNotFoundError: if there is no such file, or an image is nowhere; the sentence says how many are missing.
        ValueError: if the file or an image cannot be used, or the images are in colour for a grey model.

    Edge cases:
        Up to 2 GiB of pixels are decoded at once, more while they are used, as `load_images` does; nothing is cached.
    """
    file = find_pairs(config)
    if file.suffix.lower() == ".bin":
        stored = read_bin(file)
        numbers = np.arange(len(stored.images), dtype=np.int64)
        labels, names = torch.zeros(len(numbers), dtype=torch.int64), ["unnamed"]

        def encoded(chosen: Sequence[int]) -> Iterable[Encoded]:
            return [stored.images[row] for row in chosen]

        rows = Rows(labels, names, encoded, lambda row: f"{file}, image {row} (the first is 0)", file.name)
        images = _prepared(rows, config, channels, file.stem)
        fold = contiguous_folds(len(stored.same))
        return PairedImages(images, numbers[::2], numbers[1::2], stored.same, fold, None)
    listed = read_pair_list(file)
    wanted = list(dict.fromkeys(name for pair in zip(listed.left, listed.right, strict=True) for name in pair))
    found = _beside(file, wanted) or _in_parquet(file, wanted) or _in_set(config, file, wanted)
    number_of = {name: number for number, name in enumerate(wanted)}
    left, right = (np.array([number_of[name] for name in side]) for side in (listed.left, listed.right))
    people, labels, names = _people(listed, left, right, len(wanted))
    rows = replace(found, labels=labels, class_names=names)
    images = _prepared(rows, config, channels, found.title)
    return PairedImages(images, left, right, listed.same, listed.fold, people)


def _people(
    listed: PairList, left: np.ndarray, right: np.ndarray, num: int
) -> tuple[np.ndarray | None, torch.Tensor, list[str]]:
    """Both people of each pair by number, the person of each image, and everybody's name."""
    labels = torch.zeros(num, dtype=torch.int64)
    if listed.people is None:
        return None, labels, ["unnamed"]
    names = sorted({person for both in listed.people for person in both})
    numbers = {name: number for number, name in enumerate(names)}
    people = np.array([[numbers[first], numbers[second]] for first, second in listed.people], dtype=np.int64)
    labels[torch.from_numpy(np.concatenate([left, right]))] = torch.from_numpy(people.T.reshape(-1))
    return people, labels, names


def _prepared(rows: Rows, config: DataConfig, channels: int | None, name: str) -> ImageSet:
    """The images as the model sees them."""
    images = images_of(lambda on_disk: rows, config, name=name, channels=3 if channels == 3 else None)
    if channels is not None and images.image_shape[0] != channels:
        raise ValueError(f"{name}: the images of the pairs are in colour, the model takes {channels} channel.")
    return images if config.crop is None else images.center_crop(config.crop)


def _beside(file: Path, wanted: Sequence[str]) -> Rows | None:
    """The images as files in the folder of the list, or None if the first one is not there."""
    if _file(file.parent, wanted[0]) is None:
        return None
    files = [_file(file.parent, name) for name in wanted]
    missing = [name for name, path in zip(wanted, files, strict=True) if path is None]
    if missing:
        raise FileNotFoundError(_told(file, missing, len(wanted), f"in {file.parent}, where the first one is"))

    def encoded(numbers: Sequence[int]) -> Iterable[Encoded]:
        return [files[row] for row in numbers]

    return Rows(torch.zeros(0, dtype=torch.int64), [], encoded, lambda row: str(files[row]), file.parent.resolve().name)


def _file(folder: Path, name: str) -> Path | None:
    """The image of this name, with its own suffix or any."""
    path = folder / name
    if path.is_file():
        return path
    others = (path.with_name(path.name + suffix) for suffix in (".jpg", ".png", *sorted(IMAGE_SUFFIXES)))
    return next((other for other in others if other.is_file()), None)


def _in_parquet(file: Path, wanted: Sequence[str]) -> Rows | None:
    """The images in Parquet files of the folder of the list, or None if they are not all there."""
    try:
        files = find_parquet(file.parent)
    except (FileNotFoundError, ValueError):
        return None
    if not files:
        return None
    found, _ = _search(ParquetSource(file.parent.resolve().name, files), wanted)
    return found


def _in_set(config: DataConfig, file: Path, wanted: Sequence[str]) -> Rows:
    """The images among those of the set."""
    if config.name.startswith("hub:") or (config.name in list_datasets() and not _is_stored(config.name)):
        raise FileNotFoundError(_told(file, wanted, len(wanted), f"beside the list, and {config.name} names no images"))
    found, missing = _search(find_source(config), wanted)
    if found is None:
        raise FileNotFoundError(_told(file, missing, len(wanted), f"beside the list and in {config.name}"))
    return found


def _is_stored(name: str) -> bool:
    """Whether the images of a named set are files on this machine."""
    return name not in ("digits", "synthetic") and (name not in STREAMED_SETS or copy_at_hand(name) is not None)


def _told(file: Path, missing: Sequence[str], num: int, where: str) -> str:
    return f"{file}: {len(missing)} of its {num} images cannot be found {where}, the first of them is {missing[0]!r}."


def _search(source: Source, wanted: Sequence[str]) -> tuple[Rows | None, list[str]]:
    """The wanted images of the split that has them all, else what is missing in the one that has most."""
    fewest = list(wanted)
    for split in source.files:
        names = source.names(split)
        places = _places(names, wanted) if names is not None else {}
        missing = [name for name in wanted if name not in places]
        if not missing:
            return _picked(read_rows(source, split), [places[name] for name in wanted], source.title), []
        fewest = min(fewest, missing, key=len)
    return None, fewest


def _picked(whole: Rows, numbers: Sequence[int], title: str) -> Rows:
    def encoded(chosen: Sequence[int]) -> Iterable[Encoded]:
        return whole.encoded([numbers[row] for row in chosen])

    return Rows(torch.zeros(0, dtype=torch.int64), [], encoded, lambda row: whole.where(numbers[row]), title)


def _places(names: Sequence[str], wanted: Collection[str]) -> dict[str, int]:
    """The one image whose path ends as each wanted one, so far as both go; nothing where there is none or several."""
    parts = {name: _parts(name) for name in wanted}
    last = {found[-1] for found in parts.values()}
    by_last: dict[str, list[tuple[int, list[str]]]] = {}
    for row, name in enumerate(names):
        found = _parts(name)
        if found[-1] in last:
            by_last.setdefault(found[-1], []).append((row, found))
    places = {}
    for name, sought in parts.items():
        fits = [row for row, found in by_last.get(sought[-1], []) if _ends_alike(found, sought)]
        if len(fits) == 1:
            places[name] = fits[0]
    return places


def _ends_alike(one: list[str], other: list[str]) -> bool:
    shared = min(len(one), len(other))
    return one[-shared:] == other[-shared:]


def _parts(name: str) -> list[str]:
    """Folders and file of a path, without the suffix of an image."""
    *folders, last = name.replace("\\", "/").split("/")
    stem, dot, suffix = last.rpartition(".")
    return [*folders, stem if dot and f".{suffix.lower()}" in IMAGE_SUFFIXES else last]
