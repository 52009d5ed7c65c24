# SPDX-License-Identifier: MIT
"""Many images to one file of embeddings, in pieces: whoever is stopped goes on and ends with the same bytes."""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from torch import Tensor

from hypersphere.checks import check_count
from hypersphere.config import DataConfig
from hypersphere.data import load_images
from hypersphere.data.sources import some
from hypersphere.files import atomic_file, write_atomically
from hypersphere.training.embedded import FORMAT, Embedded, EmbeddedFiles, index_lines, npy_header, read_embedded
from hypersphere.training.embedder import Embedder
from hypersphere.training.folder import CONFIG_FILE
from hypersphere.training.pictures import Broken, FilePictures, Pictures, SetPictures, find_files
from hypersphere.training.settings import read_config

__all__ = ["embed_files", "embed_run", "lines", "pictures_for", "write_embeddings"]

logger = logging.getLogger(__name__)

# seconds between two records of progress: what a killed process loses
_EVERY = 2.0
# images of 128x128 in a batch: the maps of a network must fit into memory
_BATCH = 256
# what a record of progress holds
_RECORDED = {"num_done", "num_rows", "index_bytes", "left_out", "facts"}


def embed_run(
    folder: Path,
    out: Path,
    *,
    images: Sequence[Path] = (),
    data: DataConfig | None = None,
    split: str = "test",
    flip: str = "none",
    batch: int | None = None,
    resume: bool = False,
    replace: bool = False,
    skip_broken: bool = False,
    quiet: bool = False,
) -> dict[str, Any]:
    """Write the features of images by the network of a finished run.

    `out` holds them as (N, D) float32, not normalised; beside it, with the same stem, lie a .csv file that names image
    and label of each row, and a .json file that says what made them. Images are prepared as in training.

    Args:
        folder: a finished run; files of images need only its model.
        out: the new .npy file.
        images: image files and folders of them.
        data: instead of `images`, a data set; without either, the run's own.
        split: of the data set.
        flip: a name of `FLIPS`: what becomes of the mirror image.
        batch: images at a time; None for 256, fewer if they are larger than 128x128.
        resume: go on with a file that was begun, of the same model, images and settings; the result is that of a
            process that was never stopped, byte for byte on the same machine.
        replace: whether a file that is there, or was begun, may be replaced.
        skip_broken: leave images out that cannot be used; they are named in the .json file.
        quiet: show no progress.

    Returns:
        What the .json file says, and in `already_finished` whether nothing was left to do.

    Raises:
        FileNotFoundError: if there is no trained model, or an image, or a file to go on with.
        FileExistsError: if `out` is there or was begun, and neither `resume` nor `replace` is given.
        BlockingIOError: if another process writes the same file.
        ValueError: if images cannot be used, or a setting is wrong or differs from those of the file to go on with.
        OSError: if a file cannot be read or written.
    """
    if out.suffix != ".npy":
        raise ValueError(f"embed: expected a file that ends in .npy, got {out}.")
    if images and data is not None:
        raise ValueError("embed: give images or a data set, not both.")
    if skip_broken and not images:
        raise ValueError(
            "embed: broken images are left out of files and folders only; `hypersphere data check` finds those of a "
            "data set."
        )
    _check_free(EmbeddedFiles(out), resume=resume, replace=replace)
    embedder = Embedder(folder, flip=flip)
    pictures = pictures_for(embedder, images=images, data=data, split=split)
    batch = default_batch(embedder.preparation.image_shape) if batch is None else batch
    check_count("embed", "batch", batch)
    facts = {"format": FORMAT, "run": folder.resolve().name, "dim": embedder.dim, "batch": batch}
    return write_embeddings(
        out,
        embedder,
        pictures,
        facts=facts | embedder.facts | {"source": pictures.facts},
        resume=resume,
        replace=replace,
        skip_broken=skip_broken,
        quiet=quiet,
    )


def pictures_for(
    embedder: Embedder,
    *,
    images: Sequence[Path] = (),
    data: DataConfig | None = None,
    split: str = "test",
    who: str = "embed",
) -> Pictures:
    """The images that were asked for: files and folders, or a data set, or the run's own.

    Settings by which the run leaves classes out are kept for a data set of another name, which may be the same one
    elsewhere; a warning on the log names them.

    Raises:
        FileNotFoundError: if an image or the run's settings are not there.
        ValueError: if the images of a data set have another shape than the network takes.
    """
    if images:
        return FilePictures(find_files(images, who=who), embedder.preparation)
    own = read_config(embedder.folder / CONFIG_FILE).data if (embedder.folder / CONFIG_FILE).is_file() else None
    data = data or own
    if data is None:
        raise FileNotFoundError(f"{who}: {embedder.folder} names no data set ({CONFIG_FILE}); give images.")
    if own is not None and data.name != own.name:
        _tell_left_out(who, data, own)
    return SetPictures(load_images(data, split=split), split, embedder.preparation)


def _tell_left_out(who: str, data: DataConfig, own: DataConfig) -> None:
    """Warn of classes that other images lose by what was set for the run's own."""
    kept = []
    if data.min_images > 1 and data.min_images == own.min_images:
        kept.append(f"classes of fewer than {data.min_images} images are left out (--data.min_images 0 for all)")
    if data.without_fold is not None and data.without_fold == own.without_fold:
        kept.append(
            f"everybody in fold {data.without_fold} of its pairs is left out (--data.without_fold null for all)"
        )
    if kept:
        logger.warning("%s: of %s too, as in the run, %s.", who, data.name, " and ".join(kept))


def embed_files(embedder: Embedder, paths: Sequence[Path], *, who: str, skip_broken: bool = False) -> Embedded:
    """Embeddings of files and folders in memory.

    Raises:
        FileNotFoundError: if a path is not there, or a folder holds no image.
        ValueError: naming the images that cannot be used, unless they are skipped and some remain.
    """
    pictures = FilePictures(find_files(paths, who=who), embedder.preparation)
    rows, names, labels = [np.empty((0, embedder.dim), dtype=np.float32)], [], []
    broken: list[Broken] = []
    for batch in pictures.batches(default_batch(embedder.preparation.image_shape)):
        broken += batch.broken
        names += batch.images
        labels += batch.labels
        if batch.images:
            rows.append(embedder(batch.pixels))
    if broken and not (skip_broken and names):
        raise ValueError(f"{who}: {_told(broken, len(pictures))}")
    facts = embedder.facts | {"left_out": [asdict(one) for one in broken]}
    return Embedded(np.concatenate(rows), names, labels, facts)


def default_batch(image_shape: Sequence[int]) -> int:
    """Images at a time: 256, fewer of those larger than 128x128."""
    return max(1, min(_BATCH, _BATCH * 128 * 128 // (image_shape[1] * image_shape[2])))


def write_embeddings(
    out: Path,
    embed: Callable[[Tensor], np.ndarray],
    pictures: Pictures,
    *,
    facts: dict[str, Any],
    resume: bool = False,
    replace: bool = False,
    skip_broken: bool = False,
    quiet: bool = True,
    every: float = _EVERY,
) -> dict[str, Any]:
    """Embed pictures batch after batch into `out`; what `embed_run` does once it knows model and images.

    Args:
        out: the .npy file.
        embed: pixels (M, C, H, W) uint8 -> features (M, D) float32.
        pictures: what to embed.
        facts: plain values with `dim` and `batch`; a file is gone on with only if they are the same.
        resume: as for `embed_run`.
        replace: likewise.
        skip_broken: likewise.
        quiet: likewise.
        every: seconds between two records of progress.

    Returns:
        The facts, with `num_rows`, `left_out` and `already_finished`.

    Raises:
        FileExistsError, FileNotFoundError, BlockingIOError, ValueError, OSError: as `embed_run`.
    """
    files = EmbeddedFiles(out)
    if _check_free(files, resume=resume, replace=replace) == "finished":
        known = read_embedded(out, who="embed").facts
        _check_same(facts, {name: known.get(name) for name in facts}, out)
        _remove_unfinished(files)
        return known | {"already_finished": True}
    with _told_when_full(out):
        with _held(files.unfinished_rows) as rows, files.unfinished_index.open("ab") as index:
            state = _begin(files, rows, index, facts, resume=resume)
            _embed_rest(state, rows, index, embed, pictures, every=every, quiet=quiet)
            broken = [Broken(**entry) for entry in state["left_out"]]
            if broken and not (skip_broken and state["num_rows"]):
                if not state["num_rows"]:
                    _remove_unfinished(files)
                advice = " Leave them out with: --resume --skip-broken." if state["num_rows"] else ""
                raise ValueError(f"embed: {_told(broken, len(pictures))}{advice}")
            _rewrite_header(rows, state["num_rows"], facts["dim"])
        written = {**facts, "num_rows": state["num_rows"], "left_out": state["left_out"]}
        # from here until the new rows have its place, there are none: those of before do not fit the new index
        out.unlink(missing_ok=True)
        with files.unfinished_index.open("rb") as read, atomic_file(files.index) as kept:
            for piece in iter(lambda: read.read(2**20), b""):
                kept.write(piece)
        write_atomically(files.facts, json.dumps(written, indent=2) + "\n")
        # last, so that whoever sees it finds the others
        os.replace(files.unfinished_rows, out)
        _remove_unfinished(files)
    return written | {"already_finished": False}


def _check_free(files: EmbeddedFiles, *, resume: bool, replace: bool) -> str:
    """What is there: "nothing", "begun" or "finished"; an error unless that fits what is asked for."""
    if not files.rows.parent.is_dir():
        raise FileNotFoundError(f"embed: there is no folder {files.rows.parent}.")
    if files.rows.is_dir():
        raise FileExistsError(f"embed: {files.rows} is a folder. Give another --out.")
    if replace and not resume:
        return "nothing"
    if files.rows.exists():
        if not resume:
            raise FileExistsError(f"embed: {files.rows} exists already. Give another --out, or --force to replace it.")
        return "finished"
    if files.progress.is_file():
        if not resume:
            done = _read_progress(files)["num_done"]
            raise FileExistsError(
                f"embed: {files.rows} was begun, {done} images are done. Go on with --resume, or begin anew with "
                "--force."
            )
        return "begun"
    return "nothing"


def _read_progress(files: EmbeddedFiles) -> dict[str, Any]:
    try:
        found = json.loads(files.progress.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"embed: {files.progress} is damaged ({error}); begin anew with --force.") from error
    if not isinstance(found, dict) or not found.keys() >= _RECORDED:
        raise ValueError(f"embed: {files.progress} is damaged or of another version; begin anew with --force.")
    return found


def _begin(
    files: EmbeddedFiles, rows: BinaryIO, index: BinaryIO, facts: dict[str, Any], *, resume: bool
) -> dict[str, Any]:
    """What is done so far; both files are cut to that, whatever was written after."""
    state: dict[str, Any] = {"num_done": 0, "num_rows": 0, "left_out": [], "facts": facts, "progress": files.progress}
    header, titles = npy_header(0, facts["dim"]), index_lines([], titled=True)
    state |= {"index_bytes": len(titles)}
    if resume and files.progress.is_file():
        recorded = _read_progress(files)
        _check_same(facts, recorded["facts"], files.rows)
        state |= recorded
    else:
        files.progress.unlink(missing_ok=True)
    kept = len(header) + 4 * facts["dim"] * state["num_rows"] if state["num_done"] else 0
    if os.fstat(rows.fileno()).st_size < kept or (kept and os.fstat(index.fileno()).st_size < state["index_bytes"]):
        raise ValueError(f"embed: what was written for {files.rows} is shorter than recorded; begin anew with --force.")
    rows.truncate(kept)
    index.truncate(state["index_bytes"] if kept else 0)
    rows.seek(kept)
    if not kept:
        rows.write(header)
        index.write(titles)
    return state


def _embed_rest(
    state: dict[str, Any],
    rows: BinaryIO,
    index: BinaryIO,
    embed: Callable[[Tensor], np.ndarray],
    pictures: Pictures,
    *,
    every: float,
    quiet: bool,
) -> None:
    """All batches that are not done, with a record now and then and when it is stopped."""
    batch = state["facts"]["batch"]
    total, saved = len(pictures), time.monotonic()
    shown = sys.stderr.isatty() and not quiet
    if state["num_done"] >= total:
        return
    try:
        for part in pictures.batches(batch, start=state["num_done"] // batch):
            found = embed(part.pixels).astype("<f4", copy=False) if part.images else np.empty((0, 1), dtype="<f4")
            first = state["num_rows"]
            entries = zip(range(first, first + len(found)), part.images, part.labels, strict=True)
            text = index_lines(entries)
            rows.write(found.tobytes())
            index.write(text)
            # all at once, as Ctrl-C may come between two lines
            state.update(
                num_done=state["num_done"] + len(part.images) + len(part.broken),
                num_rows=first + len(found),
                index_bytes=state["index_bytes"] + len(text),
                left_out=[*state["left_out"], *map(asdict, part.broken)],
            )
            if shown:
                sys.stderr.write(f"\r\x1b[2Kembedded {state['num_done']} of {total} images")
                sys.stderr.flush()
            if time.monotonic() - saved >= every:
                _save(state, rows, index)
                saved = time.monotonic()
    finally:
        if shown:
            sys.stderr.write("\r\x1b[2K")
        if state["num_done"]:
            _save(state, rows, index)


def _save(state: dict[str, Any], rows: BinaryIO, index: BinaryIO) -> None:
    """Rows and index to disk first, then the record that counts them."""
    for file in (rows, index):
        file.flush()
        os.fsync(file.fileno())
    record = {name: value for name, value in state.items() if name != "progress"}
    write_atomically(state["progress"], json.dumps(record) + "\n")


def _rewrite_header(rows: BinaryIO, num_rows: int, dim: int) -> None:
    rows.seek(0)
    rows.write(npy_header(num_rows, dim))
    rows.flush()
    os.fsync(rows.fileno())


def _check_same(wanted: dict[str, Any], recorded: dict[str, Any], out: Path) -> None:
    """Raise ValueError unless a file was made, or begun, from the same model and images in the same way."""
    changed = [name for name in wanted if json.loads(json.dumps(wanted[name])) != recorded.get(name)]
    if changed:
        raise ValueError(
            f"embed: cannot resume {out}: it was begun with other values of {some(changed)}. Leave them as they were, "
            "or begin anew with --force."
        )


def _told(broken: Sequence[Broken], total: int) -> str:
    """Every broken image by name, as far as one sentence goes."""
    named = "; ".join(f"{one.image}: {one.why}" for one in broken[:5])
    more = f"; and {len(broken) - 5} more" if len(broken) > 5 else ""
    what = "1 image" if total == 1 else f"{len(broken)} of {total} images"
    return f"{what} cannot be used: {named}{more}."


def _remove_unfinished(files: EmbeddedFiles) -> None:
    for path in (files.progress, files.unfinished_index, files.unfinished_rows):
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def _told_when_full(out: Path) -> Iterator[None]:
    """Say what a full disk stopped, and what to do; the last record of progress holds."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT):
            raise
        raise OSError(
            f"embed: {out} could not be written ({error.strerror}). Make room, then go on with --resume."
        ) from error


@contextlib.contextmanager
def _held(path: Path) -> Iterator[BinaryIO]:
    """A file to read and write that no other process has, where the system has file locks; a kill releases it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    with os.fdopen(descriptor, "r+b") as file:
        with contextlib.suppress(ImportError):
            import fcntl

            try:
                fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise BlockingIOError(f"embed: another process writes to {path}.") from None
        yield file


def lines(found: dict[str, Any], out: Path) -> list[str]:
    """What was written, as a person reads it."""
    files = EmbeddedFiles(out)
    already = " (finished before)" if found["already_finished"] else ""
    told = [
        f"rows     {out} ({found['num_rows']} x {found['dim']} float32, not normalised){already}",
        f"index    {files.index} (image and label of each row)",
        f"facts    {files.facts} (model, images, settings)",
    ]
    left_out = found["left_out"]
    if left_out:
        names = some([entry["image"] for entry in left_out])
        told.append(f"left out {len(left_out)} images that cannot be used: {names}")
    return told
