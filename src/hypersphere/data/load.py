# SPDX-License-Identifier: MIT
"""From the name of a data set to its train, validation and test images."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from hypersphere.checks import check_choice, check_count, problems, unknown_name
from hypersphere.config import DataConfig
from hypersphere.config.sizes import sides
from hypersphere.data import cache
from hypersphere.data.decode import decode_all, is_grey, open_image, reader_for, threads_for
from hypersphere.data.digits import load_digits
from hypersphere.data.division import hold_out, keep_fractions, remaining_classes
from hypersphere.data.hub import HUB_SETS, LOCAL_SETS, STREAMED_SETS, copy_at_hand, hub_folder, local_folder
from hypersphere.data.images import ImageSet, StreamedImages, TensorImages
from hypersphere.data.listed import ListedSource, find_images, read_csv
from hypersphere.data.pair_lists import people_of_fold
from hypersphere.data.parquet import ParquetSource
from hypersphere.data.parquet_files import find_parquet
from hypersphere.data.records import RecordSource, find_records
from hypersphere.data.sources import SPLITS, Encoded, Rows, Source, split_named
from hypersphere.data.streaming import open_stream
from hypersphere.data.synthetic import load_synthetic

__all__ = [
    "PAIRS_FILE",
    "STREAM_ABOVE",
    "find_pairs",
    "find_source",
    "images_of",
    "list_datasets",
    "load_images",
    "read_rows",
]

logger = logging.getLogger(__name__)

Part = TypeVar("Part")

# bytes of decoded pixels; more are decoded while they are used
STREAM_ABOVE = 2 * 2**30
# the list of pairs that lies beside a set, as with LFW
PAIRS_FILE = "pairs.txt"
# what the name of a repository on the hub begins with
HUB = "hub:"


def list_datasets() -> dict[str, str]:
    """Every data set that has a name, with a line that says what it is.

    Example:
        >>> list(list_datasets())
        ['digits', 'synthetic', 'mnist', 'fashion_mnist', 'cifar10', 'cifar100', 'imagenet', 'lfw']
    """
    digits = "handwritten digits, grey 8x8, 10 classes, 1 297 train and 500 test; comes with scikit-learn, no download"
    synthetic = "coloured stripes of any data.size, 10 classes, 300 train and 20 test; drawn, for dry runs"
    named = {name: line for name, (_, line) in (HUB_SETS | STREAMED_SETS).items()}
    return {"digits": digits, "synthetic": synthetic} | named | LOCAL_SETS


def load_images(config: DataConfig | str, *, split: str, whole: bool = False) -> ImageSet:
    """One split of a data set, every label checked, and every image too if the set fits into memory.

    Args:
        config: what to load and how, or only its name. `config.name` is a name of `list_datasets`, or the path of

            - a folder of Parquet files, `train-*.parquet` and `test-*.parquet`;
            - a folder with a folder of images for each class, or with such folders in `train/` and `test/`;
            - a CSV file with the columns path and label, and split if there is one;
            - one Parquet file;
            - a folder with `train.rec`, or one `.rec` file, its `.idx` beside it;

            or `hub:owner/name`, a set of the Hugging Face hub, which is read over the network while it is used.

            A set without a test split gives `config.test_share` of its train split for it, chosen by `split_seed`, each
            class alike; a warning on the log says so.

            Classes with fewer than `config.min_images` images in the set's train split, and the people of fold
            `config.without_fold` of its list of pairs, are left out of every split before anything is divided.
        split: "train", "validation" or "test". With `config.validation` > 0 that fraction of train, chosen by
            `split_seed`, each class alike, is the validation split; otherwise the set must have one of its own.
            `config.keep` then thins the classes of what is left of train, and of nothing else.
        whole: leave the images as large as they are where `config.crop` says which part of them the model sees, for
            training that cuts it out at random. Otherwise that part is cut from their middle, as evaluation does.

    Returns:
        `TensorImages` up to 2 GiB of pixels, else `StreamedImages`; `config.stream` decides otherwise. `HubStream` for
        sets that are read over the network. Class names and numbers are those of all splits together.

    Raises:
        ValueError: with file and row where there is one, if anything about the set cannot be used.
        FileNotFoundError: if a file of the set is not there.
        ConnectionError: if a named set cannot be downloaded.
        PermissionError: if the hub gives a set only to those who have accepted its terms.
        ImportError: if a package that reads the set is not installed.

    Edge cases:
        Decoded images are kept in `cache_folder()` and read from there next time, unless a file of the set has changed
        or `config.cache` is off. Images of a streamed set are checked only by a sample of 256; its Parquet files are
        unpacked into the same folder, about as large as they are, since reading them in any order needs that.
        A set that is read over the network cannot be divided: no validation split is cut from it, `config.keep` is
        refused, and validation stands in for a test split that it lacks, as it does for imagenet always.

    Example:
        >>> load_images("digits", split="test")
        TensorImages('digits', 500 grey images 8x8, 10 classes)
    """
    config = DataConfig(name=config) if isinstance(config, str) else config
    who = f"data set {config.name!r}"
    check_choice(who, "split", split, list(SPLITS))
    check_count(who, "split_seed", config.split_seed, low=0)
    check_count(who, "subsample_seed", config.subsample_seed, low=0)
    images = _load_split(config, split, who)
    return images if whole or config.crop is None else images.center_crop(config.crop)


def _load_split(config: DataConfig, split: str, who: str) -> ImageSet:
    """The split asked for, its images as large as they are loaded."""
    if config.name == "digits":
        if config.size is not None and sides(who, "size", config.size) != (8, 8):
            raise ValueError(f"{who}: its images are 8x8 and cannot be resized, got data.size={config.size}.")
        return _divide(config, split, ("train", "test"), load_digits)
    if config.name == "synthetic":
        draw = functools.partial(load_synthetic, size=config.size or 32)
        return _divide(config, split, ("train", "test"), draw)
    streamed = config.name in STREAMED_SETS and copy_at_hand(config.name) is None
    if streamed or config.name.startswith(HUB):
        return _load_streamed(config, split, who)
    source = find_source(config)
    return _divide(config, split, source.files.keys(), lambda part: _load(source, part, config))


def _load_streamed(config: DataConfig, split: str, who: str) -> ImageSet:
    """One split of a set that is read over the network."""
    problems(
        who,
        [
            f"{setting} needs a local copy of the set, a folder as data.name: this one is read over the network."
            for setting, wanted in (
                ("data.validation", config.validation > 0),
                ("data.keep", bool(config.keep)),
                ("data.min_images", config.min_images > 0),
                ("data.without_fold", config.without_fold is not None),
                ("data.sampler identity", config.sampler == "identity"),
                ("data.stream false", config.stream is False),
            )
            if wanted
        ],
    )
    repository = STREAMED_SETS[config.name][0] if config.name in STREAMED_SETS else config.name.removeprefix(HUB)
    splits = open_stream(
        config.name,
        repository,
        image_column=config.image_column,
        label_column=config.label_column,
        size=config.size,
        resize=config.resize,
        shuffle_buffer=config.shuffle_buffer,
    )
    if "validation" in splits and (config.name in STREAMED_SETS or "test" not in splits):
        splits["test"] = splits.pop("validation")
    if split not in splits:
        raise ValueError(f"{who} has no {split} split, only {', '.join(splits) or 'splits of other names'}.")
    return splits[split]()


def find_source(config: DataConfig) -> Source:
    """Where the images of `config.name` come from.

    Raises:
        ValueError: if there is no data set of that name, or the folder holds no images.
        FileNotFoundError: if the name is a path and nothing is there, or files are missing.
        ConnectionError: if a named set cannot be downloaded.
    """
    columns = {"image_column": config.image_column, "label_column": config.label_column}
    if config.name in STREAMED_SETS and (folder := copy_at_hand(config.name)):
        if files := find_parquet(folder):
            return ParquetSource(config.name, _published(files, folder), **columns)
        if images := find_images(folder):
            return ListedSource(config.name, _published(images, folder))
        raise ValueError(f"{folder} holds neither Parquet files nor a folder of images for each class.")
    if config.name in HUB_SETS:
        return ParquetSource(config.name, find_parquet(hub_folder(config.name)), **columns)
    if config.name in LOCAL_SETS:
        path, title = local_folder(config.name), config.name
    else:
        path = Path(config.name).expanduser()
        title = path.resolve().name
    if path.is_dir():
        if files := find_parquet(path):
            return ParquetSource(title, files, **columns)
        if records := find_records(path):
            return RecordSource(title, records)
        if images := find_images(path):
            return ListedSource(title, images)
        raise ValueError(f"{path} holds neither Parquet files nor train.rec nor a folder of images for each class.")
    if path.suffix.lower() == ".rec" and path.is_file():
        return RecordSource(title, {split_named(path.name) or "train": path})
    if path.suffix.lower() == ".csv" and path.is_file():
        return ListedSource(title, read_csv(path, **columns), listed_in=path)
    if path.suffix.lower() == ".parquet" and path.is_file():
        return ParquetSource(title, {split_named(path.name) or "train": [path]}, **columns)
    if path.is_file():
        raise ValueError(f"{path} is neither a folder, a .csv, a .parquet nor a .rec file.")
    if len(path.parts) > 1 or path.suffix:
        raise FileNotFoundError(f"data.name {config.name!r}: there is no such folder or file.")
    raise ValueError(
        f"{unknown_name('data set', config.name, list_datasets())}, or give a folder, a CSV, Parquet or .rec file."
    )


def read_rows(source: Source, split: str) -> Rows:
    """The rows of a split, their images left on disk where the files are more than should be held in memory.

    Raises:
        ValueError: naming file and row, if a file or a label cannot be used.
    """
    return source.rows(split, on_disk=sum(file.stat().st_size for file in source.files[split]) > STREAM_ABOVE)


def find_pairs(config: DataConfig) -> Path:
    """The file of pairs for verification: `config.pairs`, or `pairs.txt` in the folder of the set.

    Raises:
        FileNotFoundError: if there is none.
    """
    if config.pairs is not None:
        return Path(config.pairs).expanduser()
    where = None
    if config.name in LOCAL_SETS:
        where = local_folder(config.name)
    elif config.name in HUB_SETS:
        where = hub_folder(config.name)
    elif (path := Path(config.name).expanduser()).exists():
        where = path if path.is_dir() else path.parent
    if where is None or not (where / PAIRS_FILE).is_file():
        beside = "" if where is None else f", there is no {PAIRS_FILE} in {where}"
        raise FileNotFoundError(f"data set {config.name!r} has no list of pairs{beside}: name one by data.pairs.")
    return where / PAIRS_FILE


def _published(splits: Mapping[str, Part], folder: Path) -> dict[str, Part]:
    """The splits of a set whose published figures are those of its validation images: these are test here."""
    if missing := [split for split in ("train", "validation") if split not in splits]:
        raise ValueError(f"{folder} has no {missing[0]} split, only {', '.join(splits)}.")
    return {"train": splits["train"], "test": splits["validation"]}


def _load(source: Source, split: str, config: DataConfig) -> ImageSet:
    """A split as it is stored, from the cache if it can be."""
    height, width = (None, None) if config.size is None else sides(source.title, "size", config.size)
    size = height if height == width else [height, width]
    settings = [source.title, split, size, config.image_column, config.label_column]
    # left out where it says nothing new, so that what was kept before there was a choice is still read
    settings += [config.resize] if config.resize != "crop" else []
    settings += [str(file.absolute().parent) for files in source.files.values() for file in files[:1]]
    kept_at = cache.cache_file(f"{source.title}-{split}", settings)
    made_from = cache.fingerprint(file for files in source.files.values() for file in files)
    if config.cache and not config.stream and (kept := cache.read(kept_at, made_from)):
        return TensorImages(kept.images, kept.labels, kept.class_names, name=source.title)
    num, first = source.peek(split)
    images = images_of(
        lambda on_disk: source.rows(split, on_disk=on_disk), config, name=source.title, like=(num, first)
    )
    if config.cache and isinstance(images, TensorImages):
        cache.write(kept_at, cache.Kept(images.images, images.labels, images.class_names), made_from)
    return images


def images_of(
    rows_of: Callable[[bool], Rows],
    config: DataConfig,
    *,
    name: str,
    like: tuple[int, Encoded] | None = None,
    channels: int | None = None,
) -> StreamedImages | TensorImages:
    """Images that are decoded now if they fit into memory, and while they are used otherwise.

    Args:
        rows_of: gives the images before they are decoded; called with whether they had better stay on disk.
        config: `size` and `resize` say what is done to each image, `stream` when.
        name: what the set is called.
        like: how many images there are and one that stands for all; None to take the first of the rows.
        channels: 1 or 3, or None to look.

    Raises:
        ValueError: naming the image that cannot be used.
    """
    if like is None:
        rows = rows_of(False)
        (first,) = rows.encoded([0])
        like = len(rows.labels), first
    if config.stream or (config.stream is None and _decoded_bytes(*like, config) > STREAM_ABOVE):
        rows = rows_of(True)
        reader = reader_for(rows, config.size, resize=config.resize)
        reader = reader if channels is None else replace(reader, shape=(channels, *reader.shape[1:]))
        return StreamedImages(
            functools.partial(reader.read_rows, rows),
            rows.labels,
            rows.class_names,
            image_shape=reader.shape,
            name=name,
            num_threads=threads_for(reader.shape),
        )
    rows = rows_of(False)
    logger.info("decoding %d images of %s", like[0], rows.title)
    images = decode_all(rows, config.size, resize=config.resize, channels=channels)
    return TensorImages(images, rows.labels, rows.class_names, name=name)


def _decoded_bytes(num: int, first: Encoded, config: DataConfig) -> int:
    """How much memory a split takes if all its images are like the first."""
    try:
        image = open_image(first, config.size, config.resize)
    except ValueError:
        # decoding says which row it is, and what else is wrong
        return 0
    return num * image.width * image.height * (1 if is_grey(image) else 3)


def _divide(config: DataConfig, split: str, stored: Collection[str], load: Callable[[str], ImageSet]) -> ImageSet:
    """The split asked for, cut from train where it is not stored."""
    if config.min_images or config.without_fold is not None:
        load = _of_remaining(config, stored, load)
    if split == "test" and "test" in stored:
        return load("test")
    if split == "validation" and not config.validation:
        if "validation" in stored:
            return load("validation")
        raise ValueError(
            f"data set {config.name!r} has no validation split; set data.validation, such as 0.1 of train."
        )
    if "train" not in stored:
        raise ValueError(f"data set {config.name!r} has no train split, only {', '.join(stored)}.")
    train = load("train")
    assert train.labels is not None
    labels = train.labels.numpy()
    numbers = np.arange(len(labels))
    if "test" not in stored and split == "test" and not config.test_share:
        raise ValueError(
            f"{train.name} has no test split and data.test_share is 0, so there is nothing to evaluate on; hold a few "
            "of its images out: --data.test_share 0.01."
        )
    if "test" not in stored and config.test_share:
        rest, held = hold_out(labels, config.test_share, role="test", seed=config.split_seed)
        _check_some(held, train, f"test split of {config.test_share:g} of train")
        _say_once(
            f"{train.name} has no test split: {len(held)} of its {len(labels)} images stand in for one "
            f"(data.split_seed={config.split_seed}), {len(rest)} remain to train with."
        )
        if split == "test":
            return train.subset(held)
        numbers = rest
    if config.validation:
        rest, held = hold_out(labels[numbers], config.validation, role="validation", seed=config.split_seed)
        _check_some(held, train, f"validation split of {config.validation:g} of train")
        if split == "validation":
            return train.subset(numbers[held])
        numbers = numbers[rest]
    if config.keep:
        numbers = numbers[keep_fractions(labels[numbers], config.keep, train.class_names, seed=config.subsample_seed)]
        _check_some(numbers, train, "train split with data.keep")
    return train if len(numbers) == len(train) else train.subset(numbers)


def _of_remaining(
    config: DataConfig, stored: Collection[str], load: Callable[[str], ImageSet]
) -> Callable[[str], ImageSet]:
    """`load` without the classes that the config leaves out."""
    if "train" not in stored:
        raise ValueError(
            f"data set {config.name!r} has no train split, by whose classes data.min_images and data.without_fold go."
        )
    train = load("train")
    assert train.labels is not None
    without: set[str] = set()
    if config.without_fold is not None:
        try:
            file = find_pairs(config)
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f"{str(error).rstrip('.')}, which data.without_fold={config.without_fold} asks for, or leave nobody "
                "out: --data.without_fold null."
            ) from error
        without = people_of_fold(file, config.without_fold)
        if not without & set(train.class_names):
            raise ValueError(
                f"{train.name}: none of the {len(without)} people of fold {config.without_fold} of {file} is a class "
                f"here, such as {train.class_names[0]!r}; give the list of this set by data.pairs."
            )
    kept = remaining_classes(train.labels.numpy(), train.class_names, min_images=config.min_images, without=without)
    if not len(kept):
        raise ValueError(
            f"{train.name}: no class is left of {train.num_classes} with data.min_images={config.min_images} and "
            f"data.without_fold={config.without_fold}."
        )

    def of_remaining(part: str) -> ImageSet:
        images = (train if part == "train" else load(part)).of_classes(kept)
        _check_some(np.arange(len(images)), images, f"{part} split of the classes that remain")
        return images

    return of_remaining


@functools.cache
def _say_once(sentence: str) -> None:
    """Log a warning, but not again for every split of the same set."""
    logger.warning(sentence)


def _check_some(numbers: np.ndarray, images: ImageSet, what: str) -> None:
    if not len(numbers):
        whole = f"{len(images)} images in {images.num_classes} classes"
        raise ValueError(f"{images.name}: the {what} would be empty, of {whole}.")
