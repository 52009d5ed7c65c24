# SPDX-License-Identifier: MIT
"""The command `hypersphere evaluate`: a trained run, measured by one of the protocols."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypersphere.cli.command import Arguments, Command, Parser

__all__ = ["COMMAND"]

NOTES = """\
examples:
  hypersphere evaluate runs/digits
  hypersphere evaluate runs/digits --split train
  hypersphere evaluate runs/digits --recalibrate 50
  hypersphere evaluate runs/cifar100-cnn9 --data.name path/to/parquet
  hypersphere evaluate runs/digits --protocol robustness --source runs/digits-2

Images are prepared as they were in training. The result goes to evaluation/ of the run; the report shows that of the
run's own test images."""


class EvaluateArguments(Arguments):
    """What `hypersphere evaluate` is told."""

    run: Path
    protocol: str
    split: str
    source: Path | None
    samples: int | None
    epsilon: float | None
    no_minimum: bool
    seed: int | None
    recalibrate: int


def _add_flags(parser: Parser) -> None:
    parser.usage = "hypersphere evaluate RUN [--protocol NAME] [--split SPLIT] [--data.setting VALUE ...] [...]"
    parser.add_argument("run", metavar="RUN", type=Path, help="folder of a trained run")
    protocols = ("classification", "robustness")
    parser.add_argument("--protocol", choices=protocols, default="classification", help="otherwise classification")
    parser.add_argument("--split", choices=("train", "validation", "test"), default="test", help="otherwise test")
    parser.add_argument("--source", metavar="RUN2", type=Path, help="robustness: attacks from this run are tried too")
    parser.add_argument("--samples", metavar="N", type=int, help="robustness: how many images; otherwise 1000")
    parser.add_argument(
        "--epsilon", metavar="X", type=float, help="robustness: L-inf radius for pixels in [0, 1]; otherwise 8/255"
    )
    parser.add_argument("--no-minimum", action="store_true", help="robustness: without the smallest changes")
    parser.add_argument("--seed", metavar="N", type=int, help="robustness: of images, starts; otherwise 0")
    parser.add_argument(
        "--recalibrate", metavar="N", type=int, default=0, help="measure running statistics again on N training batches"
    )
    # read by make_config; named here so that the help shows it
    parser.add_argument("--data.name", metavar="NAME", dest="data_name", help="other data: a name, a folder or a file")


def _run(arguments: EvaluateArguments) -> int:
    from hypersphere.training.settings import read_data

    run = arguments.run
    if not (run / "config.yaml").exists():
        raise FileNotFoundError(f"evaluate: {run} is no run: there is no config.yaml in it.")
    data = read_data("evaluate", run, arguments.settings)

    if arguments.protocol == "robustness":
        if arguments.recalibrate:
            raise ValueError("evaluate: --recalibrate belongs to --protocol classification.")
        return _attack(run, data, arguments)
    own = {name: getattr(arguments, name) for name in ("source", "samples", "epsilon", "no_minimum", "seed")}
    # 0 is a value that was given
    stray = [f"--{name.replace('_', '-')}" for name, value in own.items() if value is not None and value is not False]
    if stray:
        raise ValueError(f"evaluate: {', '.join(stray)} belongs to --protocol robustness.")
    from hypersphere.training.run import evaluate

    found, written = evaluate(run, data=data, split=arguments.split, recalibrate=arguments.recalibrate)
    loss = "infinite" if found["loss"] is None else f"{found['loss']:.4f}"
    print(f"{found['split']} accuracy {found['accuracy']:.4f} on {found['num_samples']} images, loss {loss}")
    if arguments.recalibrate:
        print(f"as the model was saved: accuracy {found['recalibration']['accuracy_before']:.4f}")
    print(f"result  {written}")
    return 0


def _attack(run: Path, data: Any, arguments: EvaluateArguments) -> int:
    from hypersphere.training.robustness import evaluate_robustness, lines

    given = {name: getattr(arguments, name) for name in ("split", "source", "samples", "epsilon", "seed")}
    how: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    found, written = evaluate_robustness(run, data=data, minimum=not arguments.no_minimum, **how)
    print("\n".join(lines(found)))
    print(f"result  {written}")
    return 0


COMMAND = Command(
    "Measure a trained run on one split of its data, or of other data.",
    NOTES,
    EvaluateArguments,
    _add_flags,
    _run,
    takes_settings=True,
)
