# SPDX-License-Identifier: MIT
"""The command `hypersphere evaluate`: a trained run, measured by one of the protocols."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypersphere.cli.command import FACES, Arguments, Command, Parser

if TYPE_CHECKING:
    from hypersphere.config import DataConfig

__all__ = ["COMMAND"]

NOTES = f"""\
examples:
  hypersphere evaluate runs/digits
  hypersphere evaluate runs/digits --split train
  hypersphere evaluate runs/digits --recalibrate 50
  hypersphere evaluate runs/cifar100-cnn9 --data.name path/to/parquet
  hypersphere evaluate runs/digits --protocol robustness --source runs/digits-2
  hypersphere evaluate runs/faces --protocol verification --pairs path/to/pairs.txt
  hypersphere evaluate runs/faces --protocol identification --distractors path/to/images

Images are prepared as they were in training. The result goes to evaluation/ of the run; the report shows that of the
run's own test images, and of the run's own pairs.

{FACES}"""


class EvaluateArguments(Arguments):
    """What `hypersphere evaluate` is told."""

    run: Path
    protocol: str
    split: str | None
    recalibrate: int
    source: Path | None
    samples: int | None
    epsilon: float | None
    no_minimum: bool
    seed: int | None
    pairs: Path | None
    fold: str | None
    flip: str | None
    distractors: str | None
    memory: int | None


def _add_flags(parser: Parser) -> None:
    parser.usage = "hypersphere evaluate RUN [--protocol NAME] [--split SPLIT] [--data.setting VALUE ...] [...]"
    parser.add_argument("run", metavar="RUN", type=Path, help="folder of a trained run")
    parser.add_argument("--protocol", choices=PROTOCOLS, default="classification", help="otherwise classification")
    parser.add_argument("--split", choices=("train", "validation", "test"), help="otherwise test")
    parser.add_argument("--source", metavar="RUN2", type=Path, help="robustness: attacks from this run are tried too")
    parser.add_argument("--samples", metavar="N", type=int, help="robustness: how many images; otherwise 1000")
    parser.add_argument(
        "--epsilon", metavar="X", type=float, help="robustness: L-inf radius for pixels in [0, 1]; otherwise 8/255"
    )
    parser.add_argument("--no-minimum", action="store_true", help="robustness: without the smallest changes")
    parser.add_argument(
        "--seed", metavar="N", type=int, help="robustness: of images, starts; identification: of what is drawn"
    )
    parser.add_argument(
        "--pairs",
        metavar="FILE",
        type=Path,
        help="verification: pairs.txt, a list of pairs or .bin; otherwise the set's",
    )
    parser.add_argument(
        "--fold", metavar="N", help="verification: one fold, or all; otherwise the one that training left out, or all"
    )
    parser.add_argument(
        "--flip", metavar="NAME", help="mirror images: none, concat or sum; otherwise as the protocol joins them"
    )
    parser.add_argument(
        "--distractors",
        metavar="WHAT",
        help="identification: a folder, an embedded .npy, or drawn ones as random:N or noise:N",
    )
    parser.add_argument("--memory", metavar="MIB", type=int, help="identification: to compare with; otherwise 256")
    parser.add_argument(
        "--recalibrate", metavar="N", type=int, default=0, help="measure running statistics again on N training batches"
    )
    # read by make_config; named here so that the help shows it
    parser.add_argument("--data.name", metavar="NAME", dest="data_name", help="other data: a name, a folder or a file")


def _run(arguments: EvaluateArguments) -> int:
    from hypersphere.training.settings import read_data

    if not (arguments.run / "config.yaml").exists():
        raise FileNotFoundError(f"evaluate: {arguments.run} is no run: there is no config.yaml in it.")
    data = read_data("evaluate", arguments.run, arguments.settings)
    _check_flags(arguments)
    evaluate, _ = PROTOCOLS[arguments.protocol]
    lines, written = evaluate(arguments, data)
    print("\n".join(lines))
    for path in written:
        print(f"result  {path}")
    return 0


def _check_flags(arguments: EvaluateArguments) -> None:
    """Raise ValueError for flags that the protocol does not read."""
    owners: dict[str, list[str]] = {}
    for protocol, (_, flags) in PROTOCOLS.items():
        for flag in flags:
            owners.setdefault(flag, []).append(protocol)
    stray: dict[str, list[str]] = {}
    for flag, protocols in owners.items():
        value = getattr(arguments, flag)
        # 0 is a value that was given, except to --recalibrate
        given = value is not None and value is not False and not (flag == "recalibrate" and value == 0)
        if given and arguments.protocol not in protocols:
            stray.setdefault(" or ".join(protocols), []).append(f"--{flag.replace('_', '-')}")
    for owner, typed in stray.items():
        raise ValueError(f"evaluate: {', '.join(typed)} belongs to --protocol {owner}.")


def _given(arguments: EvaluateArguments, *names: str) -> dict[str, Any]:
    """Those flags that were typed, so that what they call keeps its own defaults."""
    return {name: value for name in names if (value := getattr(arguments, name)) is not None}


def _classification(arguments: EvaluateArguments, data: DataConfig | None) -> tuple[list[str], list[Path]]:
    from hypersphere.training.run import evaluate

    split = arguments.split or "test"
    found, written = evaluate(arguments.run, data=data, split=split, recalibrate=arguments.recalibrate)
    loss = "infinite" if found["loss"] is None else f"{found['loss']:.4f}"
    lines = [f"{found['split']} accuracy {found['accuracy']:.4f} on {found['num_samples']} images, loss {loss}"]
    if arguments.recalibrate:
        lines.append(f"as the model was saved: accuracy {found['recalibration']['accuracy_before']:.4f}")
    return lines, [written]


def _robustness(arguments: EvaluateArguments, data: DataConfig | None) -> tuple[list[str], list[Path]]:
    from hypersphere.training.robustness import evaluate_robustness, lines

    how = _given(arguments, "split", "source", "samples", "epsilon", "seed")
    found, written = evaluate_robustness(arguments.run, data=data, minimum=not arguments.no_minimum, **how)
    return lines(found), [written]


def _verification(arguments: EvaluateArguments, data: DataConfig | None) -> tuple[list[str], list[Path]]:
    from hypersphere.training.verification import evaluate_verification, lines

    if arguments.fold not in (None, "all") and not str(arguments.fold).isdecimal():
        raise ValueError(f"evaluate: --fold must be a number or all, got {arguments.fold}.")
    fold = None if arguments.fold is None else 0 if arguments.fold == "all" else int(arguments.fold)
    found, written = evaluate_verification(arguments.run, data=data, fold=fold, **_given(arguments, "pairs", "flip"))
    return lines(found), written


def _identification(arguments: EvaluateArguments, data: DataConfig | None) -> tuple[list[str], list[Path]]:
    from hypersphere.training.identification import evaluate_identification, lines

    how = _given(arguments, "split", "distractors", "flip", "memory", "seed")
    found, written = evaluate_identification(arguments.run, data=data, **how)
    return lines(found), [written]


Evaluate = Callable[[EvaluateArguments, Any], tuple[list[str], list[Path]]]

# what measures, and the flags that it reads beside those of data
PROTOCOLS: dict[str, tuple[Evaluate, tuple[str, ...]]] = {
    "classification": (_classification, ("split", "recalibrate")),
    "robustness": (_robustness, ("split", "source", "samples", "epsilon", "no_minimum", "seed")),
    "verification": (_verification, ("pairs", "fold", "flip")),
    "identification": (_identification, ("split", "distractors", "flip", "memory", "seed")),
}

COMMAND = Command(
    "Measure a trained run on one split of its data, or of other data.",
    NOTES,
    EvaluateArguments,
    _add_flags,
    _run,
    takes_settings=True,
)
