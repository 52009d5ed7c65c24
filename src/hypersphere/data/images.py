# SPDX-License-Identifier: MIT
"""Sets of labelled images that give uint8 batches: in memory, or decoded while they are used."""

from __future__ import annotations

import abc
import math
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, final

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from hypersphere.checks import check_count
from hypersphere.config.sizes import sides
from hypersphere.data.augment import center_crop
from hypersphere.data.order import identity_batches, index_batches, num_batches

__all__ = ["ImageSet", "StreamedImages", "TensorImages", "usable_cores"]

Batch = tuple[Tensor, Tensor]

# images of 128x128 in a batch of evaluation: the maps of a network must fit into memory
_EVALUATED = 512


class ImageSet(abc.ABC):
    """N images of one shape, each with a class.

    Attributes:
        name: what the set is called in messages and reports.
        labels: class of each image, (N,) int64 on the CPU, 0 <= label < C; None for a set that is read over the
            network, where they come with the images.
        class_names: the name of each of the C classes.
        image_shape: (channels, height, width); one channel for grey images, three (RGB) for colour.
    """

    def __init__(
        self,
        labels: Int64[Tensor, " N"] | None,
        class_names: Sequence[str],
        *,
        name: str,
        image_shape: tuple[int, int, int],
    ) -> None:
        if labels is not None and labels.numel() and not 0 <= int(labels.min()) <= int(labels.max()) < len(class_names):
            span = f"{int(labels.min())}..{int(labels.max())}"
            raise ValueError(f"{name}: labels must lie in 0..{len(class_names) - 1}, got {span}.")
        self.name = name
        self.labels: Tensor | None = labels
        self.class_names = list(class_names)
        self.image_shape = image_shape

    def __len__(self) -> int:
        assert self.labels is not None
        return len(self.labels)

    def __repr__(self) -> str:
        channels, height, width = self.image_shape
        kind = {1: "grey", 3: "colour"}.get(channels, f"{channels}-channel")
        what = f"{len(self)} {kind} images {height}x{width}, {self.num_classes} classes"
        return f"{type(self).__name__}({self.name!r}, {what})"

    @property
    def num_classes(self) -> int:
        """C, classes without an image in this set included."""
        return len(self.class_names)

    @property
    def evaluation_batch(self) -> int:
        """Images of a batch that evaluation can take at once: 512, fewer of those larger than 128x128."""
        return max(1, min(_EVALUATED, _EVALUATED * 128 * 128 // math.prod(self.image_shape[1:])))

    def num_batches(self, batch_size: int, *, drop_last: bool = False) -> int:
        """How many batches one epoch has."""
        return num_batches(len(self), batch_size, drop_last=drop_last)

    def batches(
        self,
        batch_size: int,
        *,
        seed: int = 0,
        epoch: int = 0,
        shuffle: bool = False,
        drop_last: bool = False,
        start: int = 0,
        rank: int = 0,
        world_size: int = 1,
        images_per_identity: int | None = None,
    ) -> Iterator[tuple[UInt8[Tensor, "N C H W"], Int64[Tensor, " N"]]]:
        """The batches of one epoch, in an order that is a function of (seed, epoch) alone.

        Args:
            batch_size: images in a batch, all processes together, >= 1; the last batch may have fewer.
            seed: of the order, >= 0.
            epoch: number of the pass, >= 0; each has its own order.
            shuffle: False gives the images as they are stored, whatever `seed` and `epoch`.
            drop_last: leave a short last batch out.
            start: number of the first batch to give; those before it cost nothing.
            rank: number of this process.
            world_size: number of processes. Each batch is the one that a single process would get, divided in `rank`
                order; shares differ by at most one image, and are empty where a batch has fewer images than processes.
            images_per_identity: with `shuffle`, how many images of each class a batch holds, which divides it: classes
                come in turn, as `order.identity_batches` has them. None for all images alike.

        Returns:
            Iterator over images (N, C, H, W) uint8 and labels (N,) int64, on the CPU.

        Raises:
            ValueError: at the call, if an argument is no whole number or out of range, or there are too few classes.
        """
        if images_per_identity is not None:
            return self._fetch(
                identity_batches(
                    self._grouping(shuffle),
                    batch_size,
                    images_per_identity,
                    name=self.name,
                    seed=seed,
                    epoch=epoch,
                    drop_last=drop_last,
                    start=start,
                    rank=rank,
                    world_size=world_size,
                )
            )
        indices = index_batches(
            len(self),
            batch_size,
            seed=seed,
            epoch=epoch,
            shuffle=shuffle,
            drop_last=drop_last,
            start=start,
            rank=rank,
            world_size=world_size,
        )
        return self._fetch(indices)

    @abc.abstractmethod
    def subset(self, indices: Sequence[int] | np.ndarray) -> ImageSet:
        """The images of these numbers, in this order, with the same classes.

        Raises:
            ValueError: if they arrive over the network, in an order that they bring along.
        """

    def of_classes(self, classes: Sequence[int] | np.ndarray) -> ImageSet:
        """The images of these classes, in their order, with these classes alone, numbered anew.

        Raises:
            ValueError: if they arrive over the network, in an order that they bring along.
        """
        if self.labels is None:
            self.subset([])
        assert self.labels is not None
        numbers = torch.full((self.num_classes,), -1, dtype=torch.int64)
        numbers[torch.as_tensor(classes, dtype=torch.int64)] = torch.arange(len(classes))
        labels = numbers[self.labels]
        made = self.subset(torch.nonzero(labels >= 0).flatten().numpy())
        made.labels = labels[labels >= 0]
        made.class_names = [self.class_names[int(number)] for number in classes]
        return made

    @abc.abstractmethod
    def center_crop(self, size: int | Sequence[int]) -> ImageSet:
        """The same images, each cut down to this size in its middle, as `data.center_crop` does.

        Raises:
            ValueError: if the images are smaller.
        """

    def _grouping(self, shuffle: bool) -> np.ndarray:
        """The labels by which batches are made of classes; ValueError where that cannot be."""
        if self.labels is None or not shuffle:
            why = "batches come over the network" if self.labels is None else "shuffle is off"
            raise ValueError(f"{self.name}: images_per_identity needs images in any order, and {why}.")
        return self.labels.numpy()

    @abc.abstractmethod
    def _fetch(self, indices: Iterable[np.ndarray]) -> Iterator[Batch]:
        """Images and labels of each group of sample numbers."""

    def _cropped_shape(self, size: int | Sequence[int]) -> tuple[int, int, int]:
        """The shape of its images when they are cut down; ValueError if they are smaller."""
        cut = sides(self.name, "crop", size)
        channels, height, width = self.image_shape
        if cut[0] > height or cut[1] > width:
            raise ValueError(
                f"{self.name}: data.crop is {size}, larger than its images of {height}x{width}; set data.size to "
                f"{size} or more."
            )
        return channels, *cut


@final
class TensorImages(ImageSet):
    """Images in memory.

    Args:
        images: (N, C, H, W) uint8 on the CPU; kept, not copied.
        labels: (N,) int64.
        class_names: the name of each class.
        name: what the set is called.

    Raises:
        ValueError: if there are more labels than images or the reverse, or a label has no class name.

    Example:
        >>> pixels = torch.zeros(3, 1, 2, 2, dtype=torch.uint8)
        >>> squares = TensorImages(pixels, torch.tensor([0, 1, 1]), ["even", "odd"], name="squares")
        >>> squares
        TensorImages('squares', 3 grey images 2x2, 2 classes)
        >>> [labels.tolist() for images, labels in squares.batches(2)]
        [[0, 1], [1]]
    """

    labels: Tensor

    def __init__(
        self,
        images: UInt8[Tensor, "N C H W"],
        labels: Int64[Tensor, " M"],
        class_names: Sequence[str],
        *,
        name: str = "images",
    ) -> None:
        if len(images) != len(labels):
            raise ValueError(
                f"{name}: expected a label for each image, got {len(images)} images and {len(labels)} labels."
            )
        channels, height, width = images.shape[1:]
        super().__init__(labels, class_names, name=name, image_shape=(channels, height, width))
        self.images = images

    def subset(self, indices: Sequence[int] | np.ndarray) -> TensorImages:
        """The images of these numbers, in this order, copied, with the same classes."""
        chosen = torch.as_tensor(indices, dtype=torch.int64)
        return TensorImages(self.images[chosen], self.labels[chosen], self.class_names, name=self.name)

    def center_crop(self, size: int | Sequence[int]) -> TensorImages:
        """The middle of each image, a view of the same memory."""
        self._cropped_shape(size)
        return TensorImages(center_crop(self.images, size), self.labels, self.class_names, name=self.name)

    def _fetch(self, indices: Iterable[np.ndarray]) -> Iterator[Batch]:
        for index in map(torch.from_numpy, indices):
            yield self.images.index_select(0, index), self.labels.index_select(0, index)


@final
class StreamedImages(ImageSet):
    """Images that are decoded while they are used, by threads that work a few batches ahead.

    Pillow decodes JPEG and PNG outside Python's global lock, so threads share the cores and nothing is copied.

    Args:
        decode: sample numbers -> images (N, C, H, W) uint8; called from several threads at once.
        labels: (N,) int64, in memory.
        class_names: the name of each class.
        image_shape: (channels, height, width).
        name: what the set is called.
        num_threads: how many threads decode; by default one for each usable core.
    """

    labels: Tensor

    def __init__(
        self,
        decode: Callable[[np.ndarray], Tensor],
        labels: Int64[Tensor, " N"],
        class_names: Sequence[str],
        *,
        image_shape: tuple[int, int, int],
        name: str = "images",
        num_threads: int | None = None,
    ) -> None:
        super().__init__(labels, class_names, name=name, image_shape=image_shape)
        self.num_threads = usable_cores() if num_threads is None else num_threads
        check_count(name, "num_threads", self.num_threads, low=1)
        self._decode = decode
        self._numbers = np.arange(len(labels), dtype=np.int64)

    def subset(self, indices: Sequence[int] | np.ndarray) -> StreamedImages:
        """The images of these numbers, in this order, with the same classes; nothing is decoded."""
        chosen = np.asarray(indices, dtype=np.int64)
        return self._like(self._decode, self._numbers[chosen], self.labels[torch.from_numpy(chosen)], self.image_shape)

    def center_crop(self, size: int | Sequence[int]) -> StreamedImages:
        """The same images, cut down to their middle once they are decoded."""
        shape, decode = self._cropped_shape(size), self._decode
        return self._like(lambda numbers: center_crop(decode(numbers), size), self._numbers, self.labels, shape)

    def _like(
        self,
        decode: Callable[[np.ndarray], Tensor],
        numbers: np.ndarray,
        labels: Tensor,
        image_shape: tuple[int, int, int],
    ) -> StreamedImages:
        """A set of the same name, classes and threads."""
        made = StreamedImages(
            decode,
            labels,
            self.class_names,
            image_shape=image_shape,
            name=self.name,
            num_threads=self.num_threads,
        )
        made._numbers = numbers
        return made

    def _fetch(self, indices: Iterable[np.ndarray]) -> Iterator[Batch]:
        pool = ThreadPoolExecutor(self.num_threads, thread_name_prefix="decode")
        ahead: deque[tuple[Future[Any], np.ndarray]] = deque()
        try:
            for index in indices:
                ahead.append((pool.submit(self._decode, self._numbers[index]), index))
                # one batch for each thread, and one more each that waits
                if len(ahead) > 2 * self.num_threads:
                    yield self._finish(*ahead.popleft())
            while ahead:
                yield self._finish(*ahead.popleft())
        finally:
            pool.shutdown(cancel_futures=True)

    def _finish(self, decoding: Future[Any], index: np.ndarray) -> Batch:
        return decoding.result(), self.labels[torch.from_numpy(index)]


def usable_cores() -> int:
    """How many cores this process may use, >= 1."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
