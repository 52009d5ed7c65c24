# SPDX-License-Identifier: MIT
"""Image sets of the Hugging Face hub that are read over the network while they are used, and never stored."""

from __future__ import annotations

import contextlib
import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, final

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from hypersphere.checks import check_count
from hypersphere.data.augment import center_crop
from hypersphere.data.columns import typed_columns
from hypersphere.data.decode import ImageReader, is_grey, open_image, threads_for
from hypersphere.data.extras import needed_for
from hypersphere.data.images import ImageSet
from hypersphere.data.labels import class_numbers
from hypersphere.data.order import index_batches, permutation, shuffle_through
from hypersphere.data.sources import Encoded, one_line, split_named

__all__ = ["HubStream", "StreamedRow", "open_stream"]

# rows that stand for all when grey and colour are told apart
_SAMPLE = 16


@dataclass(frozen=True)
class StreamedRow:
    """One row of a file on its way.

    Args:
        encoded: the image.
        label: its class as the file writes it.
        where: file and row in words.
    """

    encoded: Encoded
    label: object
    where: str


@final
class HubStream(ImageSet):
    """Images that arrive file by file; one thread reads ahead, others decode.

    The order of an epoch is a function of its seeds: the files in random order, then through a buffer, from which the
    next image is drawn. Sets whose files are sorted by class want a buffer larger than a file. Of several processes
    each reads files of its own (or, if there are fewer files than processes, all files, for every so many-th row), and
    begins again with them should they hold fewer images than its share.

    Args:
        parts: one for each file; called, it gives the file's rows from the first.
        num_images: how many rows all files have together.
        class_names: the name of each class.
        reader: what decodes an image.
        name: what the set is called.
        shuffle_buffer: images that the buffer holds, as they are encoded.
        num_threads: how many threads decode; by default as many as serve images of this size.

    Edge cases:
        `start` and a resumed run read, but do not decode, all that comes before. Without `shuffle` the order is that of
        the files, and a set that ends early is an error.
    """

    def __init__(
        self,
        parts: Sequence[Callable[[], Iterable[StreamedRow]]],
        num_images: int,
        class_names: Sequence[str],
        reader: ImageReader,
        *,
        name: str = "images",
        shuffle_buffer: int = 4096,
        num_threads: int | None = None,
    ) -> None:
        check_count(name, "shuffle_buffer", shuffle_buffer, low=1)
        super().__init__(None, class_names, name=name, image_shape=reader.shape)
        self.num_threads = threads_for(reader.shape) if num_threads is None else num_threads
        check_count(name, "num_threads", self.num_threads, low=1)
        self._parts = parts
        self._num_images = num_images
        self._reader = reader
        self._shuffle_buffer = shuffle_buffer
        self._crop: int | Sequence[int] | None = None

    def __len__(self) -> int:
        return self._num_images

    def subset(self, indices: Sequence[int] | np.ndarray) -> NoReturn:
        """Nothing but a ValueError: rows cannot be picked from a stream."""
        raise ValueError(
            f"{self.name}: a set that is read over the network cannot be divided; use a local copy of it, a folder as "
            "data.name."
        )

    def center_crop(self, size: int | Sequence[int]) -> HubStream:
        """The same images, cut down to their middle once they are decoded."""
        shape = self._cropped_shape(size)
        made = HubStream(
            self._parts,
            self._num_images,
            self.class_names,
            self._reader,
            name=self.name,
            shuffle_buffer=self._shuffle_buffer,
            num_threads=self.num_threads,
        )
        made._crop, made.image_shape = size, shape
        return made

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
        """The batches of one epoch, by the arguments of `ImageSet.batches`.

        With `shuffle` each of several processes draws its share of a batch from its own files, so the images of a batch
        depend on how many processes there are. Those before `start` are read and dropped.
        """
        if images_per_identity is not None:
            self._grouping(shuffle)
        if not shuffle:
            return super().batches(batch_size, drop_last=drop_last, start=start, rank=rank, world_size=world_size)
        check_count("batches", "start", start, low=0)
        stored = index_batches(len(self), batch_size, drop_last=drop_last, rank=rank, world_size=world_size)
        sizes = [len(batch) for batch in stored]
        rows = self._shuffled(seed, epoch, rank, world_size)
        rows = itertools.islice(rows, sum(sizes[:start]), None)
        return self._decoded(list(itertools.islice(rows, size)) for size in sizes[start:])

    def _fetch(self, indices: Iterable[np.ndarray]) -> Iterator[tuple[Tensor, Tensor]]:
        """Groups of rows by ascending number."""

        def groups() -> Iterator[list[StreamedRow]]:
            rows = enumerate(self._rows(range(len(self._parts))))
            for index in indices:
                wanted = set(index.tolist())
                found: list[StreamedRow] = []
                while len(found) < len(wanted):
                    number, row = next(rows, (-1, None))
                    if row is None:
                        self._ended_early()
                    if number in wanted:
                        found.append(row)
                yield found

        return self._decoded(groups())

    def _shuffled(self, seed: int, epoch: int, rank: int, world_size: int) -> Iterator[StreamedRow]:
        """The rows of one process, without end if there are several."""
        order = permutation(len(self._parts), "shuffle", seed, epoch).tolist()
        enough = len(order) >= world_size
        for turn in itertools.count():
            rows = self._rows(order[rank::world_size]) if enough else self._rows(order)
            own = rows if enough else itertools.islice(rows, rank, None, world_size)
            given = 0
            for row in shuffle_through(own, self._shuffle_buffer, seed, epoch, rank, turn):
                given += 1
                yield row
            if world_size == 1 or not given:
                self._ended_early()

    def _rows(self, numbers: Iterable[int]) -> Iterator[StreamedRow]:
        """The rows of these files; what the network does is told as an OSError."""
        for number in numbers:
            try:
                yield from self._parts[number]()
            # the hub's client and the readers of files raise errors of many libraries
            except Exception as error:
                raise OSError(
                    f"{self.name}: reading file {number + 1} of {len(self._parts)} failed ({one_line(error)}). A run "
                    "goes on from its last checkpoint with --resume."
                ) from error

    def _ended_early(self) -> NoReturn:
        raise ValueError(f"{self.name}: fewer images arrived than the {len(self)} that the set is said to have.")

    def _decoded(self, groups: Iterator[list[StreamedRow]]) -> Iterator[tuple[Tensor, Tensor]]:
        """Images and labels of each group; one thread reads, the others decode a few groups ahead."""
        reading = ThreadPoolExecutor(1, thread_name_prefix="read")
        decoding = ThreadPoolExecutor(self.num_threads, thread_name_prefix="decode")
        ahead: deque[Future[tuple[Tensor, Tensor] | None]] = deque()
        try:
            while True:
                while len(ahead) <= 2 * self.num_threads:
                    ahead.append(decoding.submit(self._finish, reading.submit(next, groups, None)))
                batch = ahead.popleft().result()
                if batch is None:
                    return
                yield batch
        finally:
            reading.shutdown(wait=False, cancel_futures=True)
            decoding.shutdown(cancel_futures=True)
            reading.shutdown()

    def _finish(self, arriving: Future[list[StreamedRow] | None]) -> tuple[Tensor, Tensor] | None:
        rows = arriving.result()
        if rows is None:
            return None
        labels = class_numbers(
            [row.label for row in rows], self.class_names, declared=True, where=lambda place: rows[place].where
        )
        images = np.empty((len(rows), *self._reader.shape), dtype=np.uint8)
        for place, row in enumerate(rows):
            try:
                images[place] = self._reader.read(row.encoded)
            except ValueError as error:
                raise ValueError(f"{row.where}: {error}.") from error
        pixels = torch.from_numpy(images)
        return pixels if self._crop is None else center_crop(pixels, self._crop), labels


def open_stream(
    title: str,
    repository: str,
    *,
    image_column: str | None = None,
    label_column: str | None = None,
    size: int | Sequence[int] | None = None,
    resize: str = "crop",
    shuffle_buffer: int = 4096,
) -> dict[str, Callable[[], HubStream]]:
    """The splits of a repository on the hub, each read when it is called for.

    Args:
        title: what the set is called.
        repository: `owner/name`, or `owner/name/configuration`.
        image_column: name of the column, or None to find it.
        label_column: likewise.
        size: as in `ImageReader`.
        resize: likewise.
        shuffle_buffer: as in `HubStream`.

    Raises:
        ValueError: if the set lacks a column, class names or the number of its images, or has several configurations.
        PermissionError: if the hub gives the set only to those who have accepted its terms, or does not know it.
        ConnectionError: if the hub cannot be reached.
        ImportError: if `datasets` is not installed.
    """
    with needed_for(f"reading {title} from the Hugging Face hub"):
        import datasets
    owner, name, *configuration = [*repository.split("/", 2), ""][:3] if "/" in repository else ["", "", ""]
    if not owner or not name:
        raise ValueError(f"data.name {title!r}: expected hub:owner/name, got {repository!r}.")
    with _told(title, f"{owner}/{name}"):
        import huggingface_hub

        huggingface_hub.auth_check(f"{owner}/{name}", repo_type="dataset")
        splits = datasets.load_dataset(f"{owner}/{name}", *filter(None, configuration), streaming=True)
    found = {split: named for named in splits if (split := split_named(str(named)))}

    def opener(named: str) -> Callable[[], HubStream]:
        return lambda: _stream(
            title,
            repository,
            splits[named],
            _declared(splits, named),
            columns=(image_column, label_column),
            form=(size, resize),
            shuffle_buffer=shuffle_buffer,
        )

    return {split: opener(named) for split, named in found.items()}


def _declared(splits: Mapping[str, Any], named: str) -> int | None:
    """How many images a split says it has."""
    facts = (splits[named].info.splits or {}).get(named)
    return facts.num_examples if facts is not None and facts.num_examples else None


def _stream(
    title: str,
    repository: str,
    rows: Any,
    num_images: int | None,
    *,
    columns: tuple[str | None, str | None],
    form: tuple[int | Sequence[int] | None, str],
    shuffle_buffer: int,
) -> HubStream:
    """One split, from the `datasets.IterableDataset` that reads it."""
    import datasets

    if num_images is None or rows.features is None:
        raise ValueError(
            f"{title}: its page on the hub does not say how many images and which columns it has, so it cannot be read "
            "over the network; download it and give the folder as data.name."
        )
    schema = rows.features.arrow_schema
    image_column, label_column = typed_columns(
        Path(title), dict(zip(schema.names, schema.types, strict=True)), columns[0], columns[1]
    )
    names = getattr(rows.features[label_column], "names", None)
    if names is None:
        raise ValueError(
            f"{title}: its column {label_column!r} ({schema.field(label_column).type}) names no classes, so it cannot "
            "be read over the network; download it and give the folder as data.name."
        )
    rows = rows.select_columns([image_column, label_column]).cast_column(image_column, datasets.Image(decode=False))
    total = rows.num_shards

    def part(number: int) -> Callable[[], Iterator[StreamedRow]]:
        def read() -> Iterator[StreamedRow]:
            for place, row in enumerate(rows.shard(total, number)):
                cell = row[image_column] or {}
                where = f"{title}, file {number + 1} of {total}, row {place} (the first is 0)"
                yield StreamedRow(cell.get("bytes") or None, row[label_column], where)

        return read

    parts = [part(number) for number in range(total)]
    with _told(title, repository):
        first = list(itertools.islice(itertools.chain.from_iterable(read() for read in parts), _SAMPLE))
    reader = _reader(title, first, *form)
    return HubStream(parts, num_images, names, reader, name=title, shuffle_buffer=shuffle_buffer)


def _reader(title: str, rows: Sequence[StreamedRow], size: int | Sequence[int] | None, resize: str) -> ImageReader:
    """The reader for images like the first ones."""
    shapes = []
    for row in rows:
        try:
            image = open_image(row.encoded, size, resize)
        except ValueError as error:
            raise ValueError(f"{row.where}: {error}.") from error
        shapes.append((1 if is_grey(image) else 3, image.height, image.width))
    if not shapes:
        raise ValueError(f"{title}: no image arrived.")
    return ImageReader((max(shape[0] for shape in shapes), *shapes[0][1:]), size, resize)


@contextlib.contextmanager
def _told(title: str, repository: str) -> Iterator[None]:
    """What the hub answers, as a sentence that says what to do."""
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    page = f"https://huggingface.co/datasets/{repository}"
    copy = "or give the folder of a local copy: --data.name FOLDER"
    try:
        yield
    except GatedRepoError as error:
        raise PermissionError(
            f"{title}: the hub gives {repository} only to those who have accepted its terms. Accept them at {page}, "
            f"then `hf auth login` with a token of that account; {copy}."
        ) from error
    except RepositoryNotFoundError as error:
        raise PermissionError(
            f"{title}: the hub knows no data set {repository}, or it is private: then `hf auth login` first; {copy}."
        ) from error
    except ValueError as error:
        # several configurations, files of no known kind
        raise ValueError(f"{title}: {repository} cannot be used ({one_line(error)}).") from error
    except Exception as error:
        raise ConnectionError(
            f"{title}: cannot be read from the Hugging Face hub ({repository}: {one_line(error)[:200]}); try again, "
            f"{copy}."
        ) from error
