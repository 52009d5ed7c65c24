# SPDX-License-Identifier: MIT
"""Images that a trained network is shown: files and folders, or a split of a data set, in batches."""

from __future__ import annotations

import abc
import hashlib
import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from hypersphere.data import ImageSet
from hypersphere.data.decode import threads_for
from hypersphere.data.listed import IMAGE_SUFFIXES
from hypersphere.training.embedder import Preparation

__all__ = ["Broken", "FilePictures", "PictureBatch", "Pictures", "SetPictures", "find_files"]


@dataclass(frozen=True)
class Broken:
    """An image that cannot be used, and why."""

    image: str
    why: str


@dataclass(frozen=True)
class PictureBatch:
    """Images of one batch that can be used, and those that cannot.

    Args:
        pixels: (M, C, H, W) uint8.
        images: M names: a path, or the number of the image in its split.
        labels: M names of classes, empty where nothing says one.
        broken: those left out.
    """

    pixels: Tensor
    images: list[str]
    labels: list[str]
    broken: list[Broken] = field(default_factory=list)


class Pictures(abc.ABC):
    """N images in an order of their own.

    Attributes:
        facts: what tells them from other images, in plain values.
    """

    facts: dict[str, Any]

    @abc.abstractmethod
    def __len__(self) -> int:
        """N, those that cannot be used included."""

    @abc.abstractmethod
    def batches(self, size: int, *, start: int = 0) -> Iterator[PictureBatch]:
        """Batches of `size` images from batch number `start` on; the last one may have fewer."""


@final
class FilePictures(Pictures):
    """Image files, decoded by threads while the network works.

    Args:
        files: paths with labels, as `find_files` returns them.
        preparation: how each is read.
    """

    def __init__(self, files: Sequence[tuple[Path, str]], preparation: Preparation) -> None:
        self.files = list(files)
        self._preparation = preparation
        known = hashlib.sha256()
        for path, label in self.files:
            about = path.stat()
            # names of files need not be text
            known.update(os.fsencode(f"{path}\0{label}\0{about.st_size}\0{about.st_mtime_ns}\n"))
        self.facts = {"kind": "files", "num_images": len(self.files), "fingerprint": known.hexdigest()}

    def __len__(self) -> int:
        return len(self.files)

    def batches(self, size: int, *, start: int = 0) -> Iterator[PictureBatch]:
        """Batches of files; each image is read once."""
        threads = threads_for(self._preparation.image_shape)
        pool = ThreadPoolExecutor(threads, thread_name_prefix="decode")
        ahead: deque[list[Future[np.ndarray]]] = deque()
        firsts = range(start * size, len(self.files), size)
        reading = 0
        try:
            for first in firsts:
                # the next batch is read while this one is embedded
                while reading < len(firsts) and len(ahead) < 2:
                    begin = firsts[reading]
                    ahead.append([pool.submit(self._read, path) for path, _ in self.files[begin : begin + size]])
                    reading += 1
                yield self._gather(ahead.popleft(), self.files[first : first + size])
        finally:
            pool.shutdown(cancel_futures=True)

    def _read(self, path: Path) -> np.ndarray:
        try:
            return self._preparation.read(path)
        except OSError as error:
            raise ValueError(f"the file cannot be read ({error.strerror or error})") from error

    def _gather(self, reading: list[Future[np.ndarray]], files: list[tuple[Path, str]]) -> PictureBatch:
        pixels: list[np.ndarray] = []
        images, labels, broken = [], [], []
        for read, (path, label) in zip(reading, files, strict=True):
            try:
                pixels.append(read.result())
            except ValueError as error:
                broken.append(Broken(str(path), str(error)))
            else:
                images.append(str(path))
                labels.append(label)
        empty = np.empty((0, *self._preparation.image_shape), dtype=np.uint8)
        return PictureBatch(torch.from_numpy(np.stack(pixels) if pixels else empty), images, labels, broken)


@final
class SetPictures(Pictures):
    """One split of a data set, whose images are named by their numbers.

    Args:
        images: as `load_images` returns them; a broken image in them is an error when it is reached.
        split: which split they are.
        preparation: what the network takes.

    Raises:
        ValueError: if the images have another shape than the network takes.

    Edge cases:
        Grey images for a network of colour are taken as RGB, as files are.
    """

    def __init__(self, images: ImageSet, split: str, preparation: Preparation) -> None:
        self._channels = preparation.image_shape[0]
        grey_as_colour = images.image_shape[0] == 1 and self._channels == 3
        if images.image_shape[1:] != preparation.image_shape[1:] or (
            images.image_shape[0] != self._channels and not grey_as_colour
        ):
            raise ValueError(
                f"{images.name} holds images of shape {tuple(images.image_shape)}, the model takes "
                f"{preparation.image_shape}."
            )
        self._images = images
        self.facts = {"kind": "data", "name": images.name, "split": split, "num_images": len(images)}
        if images.labels is not None:
            named = "\0".join(images.class_names).encode() + images.labels.numpy().tobytes()
            self.facts["fingerprint"] = hashlib.sha256(named).hexdigest()

    def __len__(self) -> int:
        return len(self._images)

    def batches(self, size: int, *, start: int = 0) -> Iterator[PictureBatch]:
        """Batches in the order in which the set is stored."""
        first = start * size
        for pixels, labels in self._images.batches(size, start=start):
            names = [self._images.class_names[label] for label in labels.tolist()]
            pixels = pixels if pixels.shape[1] == self._channels else pixels.repeat(1, self._channels, 1, 1)
            yield PictureBatch(pixels, [str(first + number) for number in range(len(names))], names)
            first += len(names)


def find_files(paths: Sequence[Path], *, who: str = "embed") -> list[tuple[Path, str]]:
    """Image files with their labels, folders searched through to the bottom and sorted by path.

    Args:
        paths: files, which are taken whatever their suffix, and folders. The label of an image of a folder is the
            first folder below it; one that lies in the folder itself, and a file that was named, have none.
        who: speaks in errors.

    Raises:
        FileNotFoundError: if a path is not there, or a folder holds no image.
    """
    found: list[tuple[Path, str]] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(child for child in path.rglob("*") if _is_image(child, path))
            if not inside:
                raise FileNotFoundError(f"{who}: there is no image in the folder {path}.")
            parts = [child.relative_to(path).parts for child in inside]
            found += [(child, names[0] if len(names) > 1 else "") for child, names in zip(inside, parts, strict=True)]
        elif path.is_file():
            found.append((path, ""))
        else:
            raise FileNotFoundError(f"{who}: there is no file {path}.")
    return found


def _is_image(path: Path, root: Path) -> bool:
    """Whether a file is an image by its suffix, neither it nor a folder on the way hidden."""
    hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
    return path.suffix.lower() in IMAGE_SUFFIXES and not hidden and path.is_file()
