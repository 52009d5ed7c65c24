# SPDX-License-Identifier: MIT
"""Identification by the network of a finished run: probes, their gallery, and distractors, real or drawn."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hypersphere.checks import check_count
from hypersphere.config import DataConfig
from hypersphere.evaluation import OperatingPoint, identify_among_distractors, identify_closed_set, write_identification
from hypersphere.evaluation.embeddings import Embeddings
from hypersphere.evaluation.identification import Identification
from hypersphere.evaluation.results import free_stem
from hypersphere.training.embed import default_batch, embed_files, pictures_for
from hypersphere.training.embedded import read_embedded
from hypersphere.training.embedder import Embedder
from hypersphere.training.folder import CONFIG_FILE, result_stem
from hypersphere.training.lookup import check_same_model
from hypersphere.training.run import trained_steps
from hypersphere.training.settings import read_config

__all__ = ["FARS", "RANKS", "SYNTHETIC", "evaluate_identification", "lines"]

SYNTHETIC: dict[str, str] = {
    "random": "random unit vectors, evenly spread over the sphere",
    "noise": "images of noise, each pixel drawn alone",
}
"""Distractors that are drawn, by the word that stands before their number."""
RANKS = 10
"""The largest rank that is reported among distractors."""
FARS = (1e-6, 1e-5, 1e-4)
"""Rates of false accepts among distractors."""
_BLOCK = 4096


@dataclass(frozen=True)
class _Distractors:
    """M embeddings, an array or blocks, what they are in plain values, in names of files, and where they are from."""

    rows: Embeddings | Iterator[np.ndarray]
    num: int
    facts: dict[str, Any]
    name: str
    origin: str | None = None


def evaluate_identification(
    folder: Path,
    *,
    data: DataConfig | None = None,
    split: str = "test",
    distractors: str | None = None,
    flip: str | None = None,
    memory: int = 256,
    seed: int = 0,
) -> tuple[dict[str, Any], Path]:
    """Find every image of a split among images of other people, in float32, and write the result into the run folder.

    A closed set is made of the split itself: the first image of each class is the gallery, every other image a probe.
    With distractors, each pair of images of one class is also taken by the rule of MegaFace: one of them among all
    distractors, the other looked for. Of one class alone there is no closed set, as nothing would be told apart.

    Args:
        folder: a finished run.
        data: other images, whose classes may be other people than those of the training.
        split: which of them.
        distractors: an embedded .npy file of the same model, a folder of images, or `random:N` or `noise:N`, N drawn
            ones (see `SYNTHETIC`), which are easier than any people; None for the closed set alone.
        flip: a name of `FLIPS`; None for that of an embedded file of distractors, "none" without one.
        memory: MiB for the comparison, beside the embeddings themselves.
        seed: of distractors that are drawn.

    Returns:
        The content of the JSON file that was written, and its path: `evaluation/identification.json` for the run's own
        test images alone. The name has data and split of others, the distractors, their seed unless it is 0, and the
        flip unless it is "none"; data or distractors from elsewhere that have the name of others get a number.

    Raises:
        FileNotFoundError: if there is no trained model, or no such distractors.
        ValueError: if images or distractors cannot be used, no class has two images, or there is one class and no
            distractor.
    """
    check_count("identification", "memory", memory)
    check_count("identification", "seed", seed, low=0)
    if flip is None:
        flip = _recorded_flip(distractors) or "none"
    embedder = Embedder(folder, flip=flip, who="identification")
    among = _distractors(distractors, embedder, seed)
    pictures = pictures_for(embedder, data=data, split=split, who="identification")
    rows, names = _embed(pictures.batches(default_batch(embedder.preparation.image_shape)), embedder)
    known, people = np.unique(np.array(names), return_inverse=True)
    # the first image of each class in the order of the set
    first = np.unique(people, return_index=True)[1]
    rest = np.setdiff1d(np.arange(len(people)), first)
    if not len(rest):
        raise ValueError(f"identification: expected two images or more of some class, got {len(known)} of one each.")
    if len(known) == 1 and among is None:
        raise ValueError(
            f"identification: expected images of two classes or more, got {len(people)} of {known[0]} alone: in a "
            "gallery of one every image finds its own, and nothing is told apart. Give more classes, or --distractors."
        )
    size = memory * 2**20
    results: dict[str, Identification] = {}
    if len(known) > 1:
        results["closed-set"] = identify_closed_set(rows[first], people[first], rows[rest], people[rest], memory=size)
    if among is not None:
        results["distractors"] = identify_among_distractors(
            rows, people, among.rows, max_rank=RANKS, fars=FARS, num_distractors=among.num, memory=size
        )
    trained_on = read_config(folder / CONFIG_FILE).data
    own = split == "test" and (data is None or data == trained_on)
    parts = [] if own else [pictures.facts["name"], split]
    parts += [] if among is None else ["among", among.name]
    parts += [] if flip == "none" else ["flip", flip]
    origin = {
        "data": None if own else _place((data or trained_on).name),
        "distractors": None if among is None else among.origin,
    }
    stem = result_stem("identification", *parts)
    # that of the run's own images alone is the one that a report tells first
    stem = free_stem(folder, stem, origin) if parts else stem
    summary = write_identification(
        folder,
        results,
        split=split,
        step=trained_steps(folder),
        stem=stem,
        details={
            "data": pictures.facts["name"],
            "flip": flip,
            "distractors": None if among is None else among.facts,
            "origin": origin,
            "people_in_training": {
                "num_people": len(known),
                "in_training": len(set(known.tolist()) & set(embedder.class_names)),
            },
        },
    )
    return summary, folder / "evaluation" / f"{stem}.json"


def _place(name: str) -> str:
    """Where a set lies on this machine, or its name."""
    path = Path(name).expanduser()
    return str(path.resolve()) if path.exists() else name


def _embed(batches: Iterator[Any], embedder: Embedder) -> tuple[np.ndarray, list[str]]:
    rows, names = [], []
    for batch in batches:
        rows.append(embedder(batch.pixels))
        names += batch.labels
    return np.concatenate(rows), names


def _recorded_flip(given: str | None) -> str | None:
    """How mirror images were joined in an embedded file, if it is one and says so."""
    path = Path(given or "")
    if path.suffix != ".npy" or not path.is_file():
        return None
    found: str | None = read_embedded(path, who="identification").facts.get("flip")
    return found


def _distractors(given: str | None, embedder: Embedder, seed: int) -> _Distractors | None:
    """What `--distractors` names."""
    if given is None:
        return None
    kind, colon, number = given.partition(":")
    path = Path(given)
    if colon and kind in SYNTHETIC and not path.exists():
        if not (number.isascii() and number.isdecimal() and int(number)):
            raise ValueError(f"identification: expected {kind}:N with a number N of 1 or more, got {given!r}.")
        facts = {"synthetic": True, "kind": SYNTHETIC[kind], "num": int(number), "seed": seed}
        blocks = _random_directions if kind == "random" else _noise
        name = f"{kind}:{int(number)}" + (f"-seed-{seed}" if seed else "")
        return _Distractors(blocks(int(number), embedder, seed), int(number), facts, name)
    if path.is_dir():
        found = embed_files(embedder, [path], who="identification", skip_broken=True)
        facts = {"synthetic": False, "kind": "folder", "name": path.resolve().name, "num": len(found.rows)}
        facts |= {"left_out": found.facts["left_out"]}
        return _Distractors(found.rows, len(found.rows), facts, path.resolve().name, _place(given))
    if path.suffix != ".npy":
        raise FileNotFoundError(
            "identification: expected distractors as an embedded .npy file, a folder, random:N or noise:N, got "
            f"{given!r}."
        )
    known = read_embedded(path, who="identification")
    check_same_model(known, embedder, path, who="identification")
    facts = {"synthetic": False, "kind": "embedded", "name": path.name, "num": len(known.rows)}
    return _Distractors(known.rows, len(known.rows), facts, path.name, _place(given))


def _random_directions(num: int, embedder: Embedder, seed: int) -> Iterator[np.ndarray]:
    """Blocks of Gaussian rows, whose directions are uniform."""
    generator = np.random.default_rng(seed)
    for start in range(0, num, _BLOCK):
        yield generator.standard_normal((min(_BLOCK, num - start), embedder.dim), dtype=np.float32)


def _noise(num: int, embedder: Embedder, seed: int) -> Iterator[np.ndarray]:
    """Features of images of uniform noise, a batch at a time."""
    shape = embedder.preparation.image_shape
    generator = np.random.default_rng(seed)
    size = default_batch(shape)
    for start in range(0, num, size):
        pixels = generator.integers(0, 256, (min(size, num - start), *shape), dtype=np.uint8)
        yield embedder(torch.from_numpy(pixels))


def lines(summary: dict[str, Any]) -> list[str]:
    """What was found, as a person reads it."""
    told = []
    closed = summary["results"].get("closed-set")
    if closed is not None:
        rates = ", ".join(f"rank {one['rank']} {one['rate']:.4f}" for one in closed["rates"])
        told.append(
            f"closed set: {rates} ({closed['num_probes']} probes, {closed['num_people']} people in the gallery)"
        )
    among = summary["results"].get("distractors")
    if among is not None:
        facts = summary["distractors"]
        first, last = among["rates"][0], among["rates"][-1]
        told += [
            f"among {among['num_distractors']} distractors: rank {first['rank']} {first['rate']:.4f}, rank "
            f"{last['rank']} {last['rate']:.4f} ({among['num_pairs']} ordered pairs of {among['num_probes']} probes)",
            "  " + ", ".join(str(OperatingPoint.of(point)) for point in among["tar_at_far"]),
        ]
        if facts["synthetic"]:
            told.append(
                f"note: the distractors are synthetic ({facts['kind']}), no people: not to be compared with published "
                "figures"
            )
        if facts.get("left_out"):
            told.append(f"left out {len(facts['left_out'])} distractors that cannot be used")
    seen = summary["people_in_training"]
    if seen["in_training"]:
        told.append(
            f"note: {seen['in_training']} of the {seen['num_people']} people were classes of the training, so that "
            "this says little about strangers"
        )
    return told
