# SPDX-License-Identifier: MIT
"""Verification by the network of a finished run: which pairs, both rules, and a threshold for single pairs."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from hypersphere.checks import check_range
from hypersphere.config import DataConfig
from hypersphere.data.load import PAIRS_FILE, find_pairs
from hypersphere.data.pairs import PairedImages, load_pairs
from hypersphere.evaluation import OperatingPoint, Pairs, Verification, fuse_flips, verify, write_verification
from hypersphere.evaluation.results import free_stem
from hypersphere.evaluation.thresholds import PROTOCOLS
from hypersphere.training.embed import default_batch
from hypersphere.training.embedder import Embedder
from hypersphere.training.folder import CONFIG_FILE, result_stem
from hypersphere.training.run import trained_steps
from hypersphere.training.settings import read_config

__all__ = ["OFFICIAL", "evaluate_verification", "lines"]

OFFICIAL = "lfw-official"
"""The rule whose result has the plain file name."""
_COMMON = "lfw-common"


def evaluate_verification(
    folder: Path,
    *,
    data: DataConfig | None = None,
    pairs: Path | None = None,
    fold: int | None = None,
    flip: str | None = None,
    quiet: bool = False,
) -> tuple[dict[str, dict[str, Any]], list[Path]]:
    """Verify pairs of images by both rules of `PROTOCOLS`, in float32, and write the results into the run folder.

    Args:
        folder: a finished run.
        data: settings of data in place of the run's.
        pairs: file of pairs in place of `data.pairs`.
        fold: report this fold alone, or 0 for all. None for the fold that the run left out of its training
            (`data.without_fold`), if these are its pairs, and otherwise for all.
        flip: a name of `FLIPS` for all rules; None for mirror images as each rule joins them.
        quiet: show no progress.

    Returns:
        Of each rule the content of its JSON file, and the paths of these files: `evaluation/verification.json` for
        "lfw-official" and `verification-common.json` for the other, with the name of the pairs in both where they are
        not the run's own (for `pairs.txt`, that of its folder), and the fold where it is not that of None; pairs from
        elsewhere that have the name of others get a number. Where the pairs that the run's settings name are nowhere
        and no fold of them was left out, the first that are verified stand for its own. `decision` holds the threshold
        of "lfw-common" as a cosine, which suits single pairs because no mean is subtracted there; `people_in_training`
        how many of the people were classes of the training.

    Raises:
        FileNotFoundError: if there is no trained model, no file of pairs, or an image of it is nowhere.
        ValueError: if pairs or images cannot be used, a fold or flip is unknown, or all pairs are of one kind; before
            anything is embedded.
    """
    embedder = Embedder(folder, flip="none" if flip is None else flip, who="verification")
    if not (folder / CONFIG_FILE).is_file():
        raise FileNotFoundError(f"verification: {folder} is no run: there is no {CONFIG_FILE} in it.")
    config = read_config(folder / CONFIG_FILE).data
    wanted = config if data is None else data
    wanted = wanted if pairs is None else replace(wanted, pairs=str(pairs))
    file = find_pairs(wanted)
    own = _is_own(folder, config, file)
    prepared = _as_trained(wanted, embedder)
    paired = load_pairs(prepared, channels=embedder.preparation.image_shape[0])
    if paired.images.image_shape != embedder.preparation.image_shape:
        raise ValueError(
            f"verification: the images of the pairs have shape {tuple(paired.images.image_shape)}, the model takes "
            f"{embedder.preparation.image_shape}."
        )
    left_out = (config.without_fold if own else None) or 0
    fold = left_out if fold is None else fold
    listed = Pairs(paired.left, paired.right, paired.same, paired.fold)
    _check_answers(listed, fold, file)
    plain, mirrored = _embed(paired, embedder, flip, quiet)
    found = {rule: verify(plain, listed, flipped=mirrored, protocol=rule, only_fold=fold or None) for rule in PROTOCOLS}
    details: dict[str, Any] = {
        "pairs": _name(file),
        "flip": "as the protocol" if flip is None else flip,
        "decision": _decision(found[_COMMON], flip),
        "origin": _origin(file),
        "people_in_training": _people_in_training(paired, found[OFFICIAL].indices, embedder.class_names),
    }
    part = "" if fold == left_out else f"-fold-{fold}" if fold else "-all-folds"
    endings = {rule: part if rule == OFFICIAL else f"{part}-{rule.removeprefix('lfw-')}" for rule in found}
    name = "verification"
    if not own:
        stem = result_stem("verification", _stem(file))
        name = free_stem(folder, stem, details["origin"], endings=list(endings.values()))
    summaries, written = {}, []
    for rule, result in found.items():
        stem = f"{name}{endings[rule]}"
        summaries[rule] = write_verification(
            folder,
            result,
            split=f"fold {fold} of {listed.num_folds}" if fold else f"all {listed.num_folds} folds",
            people=None if paired.people is None else paired.people[result.indices],
            step=trained_steps(folder),
            stem=stem,
            details=details,
        )
        written.append(folder / "evaluation" / f"{stem}.json")
    return summaries, written


def _is_own(folder: Path, config: DataConfig, file: Path) -> bool:
    """Whether pairs are those of the run's settings, or those are nowhere and these stand for them."""
    try:
        return find_pairs(config).resolve() == file.resolve()
    except FileNotFoundError:
        pass
    # its folds are those of that list, and whom training left out is told by no other
    if config.without_fold is not None:
        return False
    try:
        known = json.loads((folder / "evaluation" / "verification.json").read_bytes())
    except (OSError, ValueError):
        return True
    if not isinstance(known, dict):
        return True
    # what an older version wrote has the name alone
    return bool(known["origin"] == _origin(file) if "origin" in known else known.get("pairs") == _name(file))


def _origin(file: Path) -> dict[str, Any]:
    """What tells pairs from others of their name."""
    return {"pairs": str(file.resolve())}


def _name(file: Path) -> str:
    """What pairs are called in a report; many lists have the name of LFW's, so that of their folder is told too."""
    return f"{file.resolve().parent.name}/{file.name}" if file.name == PAIRS_FILE else file.name


def _stem(file: Path) -> str:
    """What pairs are called in the names of files."""
    stem = file.resolve().parent.name if file.name == PAIRS_FILE else file.stem
    # the result of the common rule on the run's own pairs has that name
    return f"{stem}-pairs" if stem == "common" else stem


def _check_answers(pairs: Pairs, fold: int, file: Path) -> None:
    """Raise ValueError unless thresholds can be found, and what is reported holds pairs of both kinds."""
    check_range("verification", "fold", fold, low=0, high=pairs.num_folds, hint="0 stands for all.")
    pairs.check_fold("verification", None)
    reported = pairs.same[pairs.fold == fold] if fold else pairs.same
    if reported.all() or not reported.any():
        where = f"fold {fold} of {file}" if fold else str(file)
        raise ValueError(
            f"verification: expected pairs of one person and pairs of two in {where}, got {int(reported.sum())} and "
            f"{int((~reported).sum())}."
        )


def _as_trained(config: DataConfig, embedder: Embedder) -> DataConfig:
    """Images of pairs are prepared as the model says, whatever set they are of."""
    prepared = embedder.preparation

    def sides(size: Any) -> int | list[int] | None:
        return size if size is None or isinstance(size, int) else list(size)

    size, crop = sides(prepared.size), sides(prepared.crop)
    return replace(config, size=size, crop=crop, resize="squeeze" if prepared.resize == "squeeze" else "crop")


def _embed(
    paired: PairedImages, embedder: Embedder, flip: str | None, quiet: bool
) -> tuple[np.ndarray, np.ndarray | None]:
    """Features of every image, joined as `flip` says; None joins nothing and gives those of mirror images too."""
    plain: list[np.ndarray] = []
    mirrored: list[np.ndarray] = []
    shown, done = sys.stderr.isatty() and not quiet, 0
    for pixels, _ in paired.images.batches(default_batch(paired.images.image_shape)):
        plain.append(embedder.features(pixels))
        if flip != "none":
            mirrored.append(embedder.features(pixels.flip(3)))
        done += len(pixels)
        if shown:
            sys.stderr.write(f"\r\x1b[2Kembedded {done} of {len(paired.images)} images")
            sys.stderr.flush()
    if shown:
        sys.stderr.write("\r\x1b[2K")
    rows = np.concatenate(plain)
    if flip is None:
        return rows, np.concatenate(mirrored)
    return (rows if flip == "none" else np.asarray(fuse_flips(rows, np.concatenate(mirrored), flip))), None


def _decision(found: Verification, flip: str | None) -> dict[str, Any]:
    """The mean threshold of the rule that subtracts no mean, as a cosine: |u - v|² = 2 - 2 cos."""
    one = len(found.folds) == 1
    source = "the other folds" if one else f"the mean of {len(found.folds)} folds"
    return {
        "cosine": 1.0 + float(found.thresholds.mean()) / 2,
        "flip": PROTOCOLS[_COMMON].fusion if flip is None else flip,
        "source": f"{_COMMON}, {source}",
    }


def _people_in_training(paired: PairedImages, indices: np.ndarray, class_names: list[str]) -> dict[str, int] | None:
    """How many of the people of the reported pairs were classes of the training; None where nobody has a name."""
    if paired.people is None:
        return None
    names = {paired.images.class_names[person] for person in np.unique(paired.people[indices]).tolist()}
    return {"num_people": len(names), "in_training": len(names & set(class_names))}


def lines(found: dict[str, dict[str, Any]]) -> list[str]:
    """What was found, as a person reads it."""
    told = []
    for rule, one in found.items():
        spread = "" if one["spread"] is None else f" +- {one['spread']:.4f} ({one['spread_kind']})"
        low, high = one["area_interval"]["low"], one["area_interval"]["high"]
        told += [
            f"{rule}: accuracy {one['accuracy']:.4f}{spread}, area {one['area']:.4f} ({low:.4f} to {high:.4f}), equal "
            f"error rate {one['equal_error_rate']:.4f}",
            "  " + ", ".join(str(OperatingPoint.of(point)) for point in one["tar_at_far"]),
        ]
    first = found[OFFICIAL]
    told.append(f"{first['num_pairs']} pairs of {first['pairs']} ({first['num_same']} of one person), {first['split']}")
    seen = first["people_in_training"]
    if seen and seen["in_training"]:
        told.append(
            f"note: {seen['in_training']} of the {seen['num_people']} people of these pairs were classes of the "
            "training, so that this says little about strangers"
        )
    return told
