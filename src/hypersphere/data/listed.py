# SPDX-License-Identifier: MIT
"""Image sets of single files: a folder for each class, or a CSV file of paths and labels."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

from hypersphere.data.columns import pick_column
from hypersphere.data.labels import class_names_of, class_numbers
from hypersphere.data.sources import Encoded, Rows, Source, some, split_named

__all__ = ["IMAGE_SUFFIXES", "ListedImage", "ListedSource", "find_images", "read_csv"]

IMAGE_SUFFIXES = frozenset(
    (".bmp", ".gif", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp")
)


@dataclass(frozen=True)
class ListedImage:
    """One image file.

    Args:
        path: the file.
        label: name of its class.
        where: file and line that name it, in words.
    """

    path: Path
    label: str
    where: str


@final
class ListedSource(Source):
    """Image files with their class names; all files are there.

    Args:
        title: what the set is called.
        images: split -> its images.
        listed_in: the file that lists them, if there is one.

    Raises:
        FileNotFoundError: naming the first image that does not exist, and how many more.
    """

    def __init__(
        self, title: str, images: Mapping[str, Sequence[ListedImage]], *, listed_in: Path | None = None
    ) -> None:
        self.title = title
        self._images = images
        own = [] if listed_in is None else [listed_in]
        self.files = {split: [*own, *(image.path for image in listed)] for split, listed in images.items()}
        missing = [image for listed in images.values() for image in listed if not image.path.is_file()]
        if missing:
            more = f"; {len(missing) - 1} more are missing" if len(missing) > 1 else ""
            raise FileNotFoundError(f"{missing[0].where}: there is no file {missing[0].path}{more}.")

    def peek(self, split: str) -> tuple[int, Encoded]:
        """Number of images and the first one of a split."""
        return len(self._images[split]), self._images[split][0].path

    def names(self, split: str) -> list[str]:
        """The file of each image."""
        return [str(image.path) for image in self._images[split]]

    def rows(self, split: str, *, on_disk: bool) -> Rows:
        """The images of a split; files stay where they are, whatever `on_disk`."""
        images = self._images[split]
        names = class_names_of(image.label for listed in self._images.values() for image in listed)

        def where(row: int) -> str:
            return images[row].where

        def encoded(numbers: Sequence[int]) -> Iterable[Encoded]:
            return [images[row].path for row in numbers]

        labels = class_numbers([image.label for image in images], names, declared=False, where=where)
        return Rows(labels, names, encoded, where, f"{self.title} ({split})")


def find_images(folder: Path) -> dict[str, list[ListedImage]]:
    """The images of each split, sorted by path, their class the first folder below the split.

    Where `folder` has a folder named train or test (or another word for a split) with class folders inside, those are
    the splits; otherwise its folders are the classes and all images are train. Hidden files and files that are no
    images are left out. Nothing if there is no image at all.

    Raises:
        ValueError: if an image lies in no class folder, or a class folder has no image.
    """
    splits = {name: child for child in _folders(folder) if _folders(child) and (name := split_named(child.name))}
    if not {"train", "test"} & splits.keys():
        splits = {"train": folder}
    elif other := [child for child in _folders(folder) if child not in splits.values()]:
        if split_named(other[0].name):
            raise ValueError(f"{other[0]}: the split is empty, there is no class folder in it.")
        raise ValueError(
            f"{folder}: {some([child.name for child in splits.values()])} hold class folders as splits do, but "
            f"{some([child.name for child in other])} is there too; move the one or the other away."
        )
    found = {split: _classes(root) for split, root in splits.items()}
    if not any(images for classes in found.values() for images in classes.values()):
        return {}
    for split, root in splits.items():
        if stray := sorted(child for child in root.iterdir() if _is_image(child)):
            raise ValueError(f"{stray[0]} lies in no class folder; move it into the folder of its class (or away).")
        if empty := [name for name, images in found[split].items() if not images]:
            raise ValueError(f"{root / empty[0]}: there is no image in this class folder.")
    return {
        split: [ListedImage(path, name, str(path)) for name, images in classes.items() for path in images]
        for split, classes in found.items()
    }


def _classes(root: Path) -> dict[str, list[Path]]:
    return {child.name: sorted(filter(_is_image, child.rglob("*"))) for child in _folders(root)}


def _folders(folder: Path) -> list[Path]:
    return sorted(child for child in folder.iterdir() if child.is_dir() and not child.name.startswith("."))


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".") and path.is_file()


def read_csv(
    file: Path, *, image_column: str | None = None, label_column: str | None = None
) -> dict[str, list[ListedImage]]:
    """The images of each split that a CSV file lists.

    Args:
        file: comma-separated, UTF-8, its first line the column names. Paths are relative to the folder it lies in.
            A column `split` divides the images; without one all are train.
        image_column: the column of paths, or None to find it.
        label_column: the column of class names, or None to find it.

    Raises:
        ValueError: if a column is not there, or a line has too few cells, no label, or an unknown split.
    """
    found: dict[str, list[ListedImage]] = {}
    with file.open(newline="", encoding="utf-8-sig") as opened:
        try:
            reader = csv.DictReader(opened, strict=True)
            names = list(reader.fieldnames or [])
            image_column = pick_column(file, "image", image_column, names)
            label_column = pick_column(file, "label", label_column, names)
            for cells in reader:
                where = f"{file}, line {reader.line_num}"
                path, label = cells[image_column], cells[label_column]
                split = split_named(cells["split"] or "") if "split" in names else "train"
                if not path or not label:
                    raise ValueError(f"{where}: the {'label' if path else 'path of the image'} is missing.")
                if split is None:
                    raise ValueError(f"{where}: unknown split {cells['split']!r}: choose train, validation or test.")
                found.setdefault(split, []).append(ListedImage(file.parent / path, label, where))
        except (csv.Error, UnicodeDecodeError) as error:
            raise ValueError(f"{file}: cannot be read as CSV ({error}).") from error
    if not found:
        raise ValueError(f"{file}: there are no images, only {some(names, limit=12)} in the first line.")
    return found
