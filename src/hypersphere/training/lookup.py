# SPDX-License-Identifier: MIT
"""Single images before a trained network: how alike two are, and which of a gallery are most like one."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from hypersphere.checks import check_count
from hypersphere.data.sources import some
from hypersphere.evaluation.search import search
from hypersphere.functional import pairwise_angle
from hypersphere.training.embed import embed_files
from hypersphere.training.embedded import Embedded, read_embedded
from hypersphere.training.embedder import Embedder

__all__ = [
    "Comparison",
    "Found",
    "Match",
    "Threshold",
    "check_same_model",
    "compare_images",
    "comparison_lines",
    "found_lines",
    "read_threshold",
    "search_gallery",
]


@dataclass(frozen=True)
class Threshold:
    """From which cosine on two images count as one person or class.

    Args:
        cosine: larger ones are accepted, in [-1, 1].
        flip: the name in `FLIPS` that it was measured with.
        source: where it is from, in words.
    """

    cosine: float
    flip: str
    source: str


@dataclass(frozen=True)
class Comparison:
    """How alike two images are to a network.

    Args:
        cosine: of their features, in [-1, 1].
        angle: radians, in [0, pi].
        flip: the name in `FLIPS` that was used.
        threshold: of the run, or None.
        same: whether the cosine lies above the threshold, or None without one.
        why: without a threshold, why there is none.
    """

    cosine: float
    angle: float
    flip: str
    threshold: Threshold | None
    same: bool | None
    why: str = ""


@dataclass(frozen=True)
class Match:
    """One image of a gallery that is like the one asked for.

    Args:
        row: of the gallery.
        image: a path, or a number in a data set.
        label: name of its class, empty where nothing says one.
        cosine: with the image asked for, in [-1, 1].
    """

    row: int
    image: str
    label: str
    cosine: float


@dataclass(frozen=True)
class Found:
    """What a search found.

    Args:
        matches: largest cosine first.
        num_images: how many images the gallery has.
        left_out: names of those that could not be used.
    """

    matches: list[Match]
    num_images: int
    left_out: list[str]


def compare_images(folder: Path, left: Path, right: Path, *, flip: str | None = None) -> Comparison:
    """Cosine and angle of the features of two images, and the decision at the threshold of the run.

    Args:
        folder: a finished run, or what `save_classifier` wrote.
        left: an image file.
        right: another.
        flip: a name of `FLIPS`; None for that of the run's threshold, "none" without one.

    Raises:
        FileNotFoundError: if there is no trained model, or an image.
        ValueError: if an image cannot be used, or the run's evaluation is damaged.

    Edge cases:
        A threshold that was measured with another flip decides nothing, and is not used.
    """
    threshold = read_threshold(folder)
    embedder = Embedder(folder, flip=flip or (threshold.flip if threshold else "none"), who="verify")
    _check_files((left, right), "verify")
    found = embed_files(embedder, [left, right], who="verify")
    rows = torch.from_numpy(found.rows).double()
    angle = float(pairwise_angle(rows[:1], rows[1:]))
    why = "no verification of this run has been evaluated (hypersphere evaluate RUN --protocol verification)"
    if threshold is not None and threshold.flip != embedder.flip:
        why = f"the run's was measured with --flip {threshold.flip}"
        threshold = None
    cosine = math.cos(angle)
    if threshold is None:
        return Comparison(cosine, angle, embedder.flip, None, None, why)
    return Comparison(cosine, angle, embedder.flip, threshold, cosine > threshold.cosine)


def read_threshold(folder: Path) -> Threshold | None:
    """The threshold that the evaluation of a run chose for single pairs, or None.

    Raises:
        ValueError: if the evaluation is damaged.
    """
    path = folder / "evaluation" / "verification.json"
    if not path.is_file():
        return None
    try:
        decision = json.loads(path.read_bytes()).get("decision")
        if decision is None:
            return None
        return Threshold(float(decision["cosine"]), str(decision["flip"]), str(decision["source"]))
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"verify: {path} is damaged ({error!r}).") from error


def search_gallery(folder: Path, gallery: Path, image: Path, *, top: int = 5, flip: str | None = None) -> Found:
    """The images of a gallery whose features have the largest cosine with those of one image.

    Args:
        folder: a finished run, or what `save_classifier` wrote.
        gallery: a folder of images, or the .npy file that `embed_run` wrote by the same model.
        image: what to look for; it may lie in the gallery.
        top: how many, >= 1; all of a gallery that has fewer.
        flip: a name of `FLIPS`; None for that of the .npy file, "none" for a folder.

    Returns:
        The matches, largest cosine first; of equal ones the smaller row first.

    Raises:
        FileNotFoundError: if there is no trained model, gallery or image.
        ValueError: if an image cannot be used, or the gallery is of another model, or of other settings.
    """
    check_count("search", "top", top)
    known = None if gallery.is_dir() else read_embedded(gallery, who="search")
    recorded = known.facts.get("flip") if known is not None else None
    embedder = Embedder(folder, flip=flip or recorded or "none", who="search")
    _check_files([image], "search")
    query = embed_files(embedder, [image], who="search")
    if known is None:
        known = embed_files(embedder, [gallery], who="search", skip_broken=True)
    else:
        check_same_model(known, embedder, gallery, who="search")
    near = search(known.rows, query.rows, min(top, len(known.rows)))
    matches = [
        Match(row, known.images[row], known.labels[row], cosine)
        for row, cosine in zip(near.indices[0].tolist(), near.cosines[0].tolist(), strict=True)
    ]
    return Found(matches, len(known.rows), [one["image"] for one in known.facts.get("left_out", [])])


def check_same_model(known: Embedded, embedder: Embedder, path: Path, *, who: str) -> None:
    """Raise ValueError unless embeddings were made by this model in this way, as far as they say.

    Embeddings from elsewhere, which say nothing, need only as many features.
    """
    if known.rows.shape[1] != embedder.dim:
        raise ValueError(
            f"{who}: {path} has {known.rows.shape[1]} features a row, the model in {embedder.folder} gives "
            f"{embedder.dim} (flip {embedder.flip})."
        )
    if not known.facts:
        return
    wanted = json.loads(json.dumps(embedder.facts))
    if changed := [name for name in wanted if wanted[name] != known.facts.get(name)]:
        raise ValueError(
            f"{who}: {path} was not embedded by the model in {embedder.folder} as it is used here; what differs: "
            f"{some(changed)}. Use the same settings, or embed the images again."
        )


def _check_files(paths: Sequence[Path], who: str) -> None:
    for path in paths:
        if path.is_dir():
            raise ValueError(f"{who}: expected an image, got the folder {path}.")


def comparison_lines(found: Comparison) -> list[str]:
    """What was found, as a person reads it."""
    told = [f"cosine    {found.cosine:.4f}", f"angle     {math.degrees(found.angle):.2f} degrees"]
    if found.threshold is None:
        return [*told, f"decision  none: {found.why}"]
    word = "same" if found.same else "different"
    side = "above" if found.same else "not above"
    return [
        *told,
        f"decision  {word}: {side} the threshold of {found.threshold.cosine:.4f} ({found.threshold.source})",
    ]


def found_lines(found: Found) -> list[str]:
    """One line for each match: place, cosine, label, image; and how many images there were."""
    place = len(str(len(found.matches)))
    label = max(len(match.label) for match in found.matches)
    told = [
        f"{number:>{place}}  {match.cosine:7.4f}  {match.label:<{label}}{'  ' if label else ''}{match.image}"
        for number, match in enumerate(found.matches, start=1)
    ]
    told.append(f"of {found.num_images} images")
    if found.left_out:
        told.append(f"left out {len(found.left_out)} images that cannot be used: {some(found.left_out)}")
    return told
