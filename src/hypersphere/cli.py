# SPDX-License-Identifier: MIT
"""The command `hypersphere`: train, evaluate, report, diagnose, export...; one line on stderr after a mistake."""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from hypersphere import __version__
from hypersphere.catalogue import FAMILIES, entries
from hypersphere.checks import unknown_name

__all__ = ["main"]

PURPOSE = "Train small image classifiers on the hypersphere and see what their layers did."

FIRST_STEPS = """\
first steps:
  hypersphere train digits                       train the demo, about half a minute
  hypersphere list                               see recipes, models, data sets, energies and margins
  hypersphere report runs/digits runs/digits-2   compare two runs on one page
  hypersphere train --help                       read about every setting"""

TRAIN_NOTES = """\
examples:
  hypersphere train digits
  hypersphere train digits --training.epochs 5 --optimizer.rate 1e-3 --energy.hidden_weight 0
  hypersphere train cifar100-cnn9-clean --data.name path/to/parquet --model.arguments.base_width 16
  hypersphere train mine.yaml --data.name path/to/images --energy.include '[model.block1*, head]'
  hypersphere train --resume --out runs/digits   go on where that run was stopped

The run goes to a folder: config.yaml with every setting, metrics.jsonl, the trained model, and report.html. The same
command with --resume goes on from its last checkpoint and ends as if nothing had happened. Every setting below has a
flag of its own; so has an entry of a dictionary: --model.arguments.base_width 16, --data.keep.cat 0.1."""

EVALUATE_NOTES = """\
examples:
  hypersphere evaluate runs/digits
  hypersphere evaluate runs/digits --split train
  hypersphere evaluate runs/digits --recalibrate 50
  hypersphere evaluate runs/cifar100-cnn9 --data.name path/to/parquet
  hypersphere evaluate runs/digits --protocol robustness --source runs/digits-2

Images are prepared as they were in training. The result goes to evaluation/ of the run; the report shows that of the
run's own test images."""

REPORT_NOTES = """\
examples:
  hypersphere report runs/digits                            writes runs/digits/report.html again
  hypersphere report runs/digits runs/digits-2              writes comparison.html
  hypersphere report runs/digits runs/digits-2 --out both.html

The page is one file that opens in any browser, without a network."""

THOMSON_NOTES = """\
examples:
  hypersphere thomson --points 12                          an icosahedron
  hypersphere thomson --points 6 --half-space              the same, as six lines
  hypersphere thomson --points 4 --power 0 --distance angular
  hypersphere thomson --points 27 --dim 6 --starts 2       one of the proven optima

Points repel each other until they are at rest, from several random starts; the best end is kept in a new folder:
points.csv (coordinates), thomson.json (numbers) and points.html (the picture, which needs the extra `report`)."""

DIAGNOSE_NOTES = """\
examples:
  hypersphere diagnose runs/digits
  hypersphere diagnose runs/plain runs/mhe                  two models side by side
  hypersphere diagnose model.safetensors --html page.html   with pictures, for a browser
  hypersphere diagnose checkpoint.pth --json layers.json    a PyTorch checkpoint of any model

A checkpoint is opened without running what is inside it; one that would need that is refused, with advice. What the
columns mean is said below the table and in the docs."""

EXPORT_NOTES = """\
examples:
  hypersphere export runs/digits                            writes runs/digits/model.onnx
  hypersphere export runs/digits --format pt2 --out digits.pt2
  hypersphere export runs/faces --features                  the embedding alone

The model in the file takes pixels 0..255 and normalises them itself. It is run on random images before it is kept."""

LIST_NOTES = """\
examples:
  hypersphere list             everything
  hypersphere list recipes     one family"""


@dataclass
class Arguments(argparse.Namespace):
    """What was typed, in its types; each command reads its own."""

    recipe: str | None = None
    out: Path | None = None
    resume: bool = False
    quiet: bool = False
    runs: list[Path] = field(default_factory=list)
    split: str = "test"
    family: str | None = None
    settings: list[str] = field(default_factory=list)
    points: int = 2
    dim: int = 3
    power: float = 1.0
    distance: str = "euclidean"
    half_space: bool = False
    starts: int = 5
    seed: int | None = None
    near: float = 10.0
    embeddings: bool = False
    protocol: str = "classification"
    recalibrate: int = 0
    source: Path | None = None
    samples: int | None = None
    epsilon: float | None = None
    no_minimum: bool = False
    json: Path | None = None
    html: Path | None = None
    format: str = "onnx"
    features: bool = False
    pixels: str = "uint8"
    force: bool = False
    command: Callable[[Arguments], int] | None = None
    # where a stopped run can be taken up again
    started: Path | None = None


class Parser(argparse.ArgumentParser):
    """A parser whose mistakes are errors like all others, and whose help can go on with text made when asked for."""

    more_help: Callable[[], str] | None = None

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the usage."""
        raise ValueError(f"{message} (see {self.prog} --help)")

    def format_help(self) -> str:
        """The whole text of --help."""
        return super().format_help() + (f"\n{self.more_help()}\n" if self.more_help else "")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: its words, or None for those of the process.

    Returns:
        The exit code: 0, or 2 after a mistake or a run that diverged or could not write (told in words on stderr), or
        130 after Ctrl-C. With HYPERSPHERE_DEBUG=1 in the environment errors are raised instead.
    """
    arguments = Arguments()
    try:
        _parse(list(sys.argv[1:] if argv is None else argv), arguments)
        code = arguments.command(arguments) if arguments.command else 0
        sys.stdout.flush()
        return code
    except SystemExit as leaving:
        # --help and --version have printed what they have to say
        return int(leaving.code or 0)
    except BrokenPipeError:
        # the reader of a pipe has enough; what is left in the buffer must not complain at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        _explain(_stopped(arguments))
        return 130
    except (ValueError, TypeError, OSError, ImportError, RuntimeError) as error:
        # a run that diverges is a RuntimeError of its own, every other one is a fault of ours
        foreseen = not isinstance(error, RuntimeError) or type(error).__name__ == "Diverged"
        if not foreseen or os.environ.get("HYPERSPHERE_DEBUG", "") not in ("", "0"):
            raise
        _explain(_sentence(error))
        return 2


def _train(arguments: Arguments) -> int:
    from hypersphere.training.settings import make_config, read_config

    if arguments.recipe is None:
        if not arguments.resume or arguments.out is None:
            raise ValueError(
                "train: which recipe? `hypersphere list recipes` shows them; --resume --out DIR needs none."
            )
        recorded = arguments.out / "config.yaml"
        if not recorded.exists():
            raise FileNotFoundError(f"train: {arguments.out} holds no config.yaml, so there is no run to resume in it.")
        config = make_config(None, arguments.settings, base=read_config(recorded))
    else:
        config = make_config(arguments.recipe, arguments.settings)
    out = arguments.out or _run_folder(Path("runs") / (config.recipe or "run"), newest=arguments.resume)

    from hypersphere.training.run import train

    arguments.started = out
    result = train(config, out, resume=arguments.resume, quiet=arguments.quiet)
    already = " (it had finished before)" if result.already_finished else ""
    again = "" if result.recalibrated is None else f" ({result.recalibrated:.4f} recalibrated)"
    accuracy = f"{result.accuracy:.4f}{again}"
    print(f"{result.split} accuracy {accuracy} after {result.steps} steps, {result.seconds:.0f} s{already}")
    print(f"run     {result.folder}")
    print(f"report  {result.report if result.report else 'none'}")
    return 0


def _evaluate(arguments: Arguments) -> int:
    from hypersphere.training.settings import make_config, read_config

    (run,) = arguments.runs
    recorded = run / "config.yaml"
    if not recorded.exists():
        raise FileNotFoundError(f"evaluate: {run} is no run: there is no config.yaml in it.")
    foreign = [word for word in arguments.settings if word.startswith("--") and not word.startswith("--data.")]
    if foreign:
        raise ValueError(f"evaluate: only settings of data can change, got {', '.join(foreign)}.")
    data = make_config(None, arguments.settings, base=read_config(recorded)).data if arguments.settings else None

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


def _attack(run: Path, data: Any, arguments: Arguments) -> int:
    from hypersphere.training.robustness import evaluate_robustness, lines

    given = {name: getattr(arguments, name) for name in ("split", "source", "samples", "epsilon", "seed")}
    how: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    found, written = evaluate_robustness(run, data=data, minimum=not arguments.no_minimum, **how)
    print("\n".join(lines(found)))
    print(f"result  {written}")
    return 0


def _report(arguments: Arguments) -> int:
    from hypersphere.report import write_comparison, write_report

    missing = [str(run) for run in arguments.runs if not (run / "config.yaml").exists()]
    if missing:
        raise FileNotFoundError(f"report: not a run, there is no config.yaml in it: {', '.join(missing)}.")
    if len(arguments.runs) == 1:
        print(f"report  {write_report(arguments.runs[0], arguments.out)}")
    else:
        print(f"report  {write_comparison(arguments.runs, arguments.out or Path('comparison.html'))}")
    return 0


def _thomson(arguments: Arguments) -> int:
    from hypersphere.analysis import thomson
    from hypersphere.report.thomson import Watch, check_free, lines, write_points

    names = [f"thomson-{arguments.points}", f"{arguments.dim}d", f"power{arguments.power:g}"]
    names += ["angular"] * (arguments.distance == "angular") + ["half"] * arguments.half_space
    out = arguments.out or _run_folder(Path("runs") / "-".join(names), newest=False)
    check_free(out)
    how = {name: getattr(arguments, name) for name in ("power", "distance", "half_space", "starts", "seed")}
    watch = Watch(arguments.starts)
    try:
        found = thomson(arguments.points, arguments.dim, **how, progress=watch)
    finally:
        watch.finish()
    written = write_points(found, out)
    print("\n".join(lines(found)))
    print(f"coordinates     {written.coordinates}\nnumbers         {written.numbers}")
    print(f"picture         {written.picture or f'none; {written.why_no_picture}'}")
    return 0


def _diagnose(arguments: Arguments) -> int:
    # before torch is loaded: threads that spin while they wait make this ten times slower where cores are shared
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from hypersphere.report.diagnosis import write_diagnosis
    from hypersphere.report.subjects import diagnose_paths, write_json
    from hypersphere.report.terminal import print_diagnosis

    how: dict[str, Any] = {name: getattr(arguments, name) for name in ("power", "distance", "half_space", "embeddings")}
    subjects = diagnose_paths(arguments.runs, **how, near_angle=math.radians(arguments.near))
    print_diagnosis(subjects)
    if arguments.json is not None:
        print(f"numbers  {write_json(subjects, arguments.json)}")
    if arguments.html is not None:
        print(f"page     {write_diagnosis(subjects, arguments.html)}")
    return 0


def _export(arguments: Arguments) -> int:
    from hypersphere.training.export import export_run, lines

    how: dict[str, Any] = {name: getattr(arguments, name) for name in ("format", "out", "features", "pixels")}
    print("\n".join(lines(export_run(arguments.runs[0], **how, replace=arguments.force))))
    return 0


def _list(arguments: Arguments) -> int:
    wanted = [arguments.family] if arguments.family else list(FAMILIES)
    for number, family in enumerate(wanted):
        lines = entries(family)
        width = max(map(len, lines), default=0)
        print(f"{'' if number == 0 else chr(10)}{family}: {FAMILIES[family].purpose} ({FAMILIES[family].chosen_by})")
        for name, line in lines.items():
            print(f"  {name:<{width}}  {line}")
    return 0


def _run_folder(first: Path, *, newest: bool) -> Path:
    """`runs/digits`, or the next of `runs/digits-2`, `runs/digits-3`... that is free; `newest`: the last one taken."""
    number, last, folder = 1, first, first
    while folder.exists():
        number, last, folder = number + 1, folder, first.with_name(f"{first.name}-{number + 1}")
    return last if newest else folder


def _parse(words: list[str], arguments: Arguments) -> None:
    """Fill in `arguments`; flags of settings are kept as they are, for `make_config`."""
    if words and not words[0].startswith("-") and words[0] not in COMMANDS:
        raise ValueError(unknown_name("command", words[0], list(COMMANDS)))
    if words and words[0] in OWN_FLAGS:
        words, arguments.settings = _divide(words, OWN_FLAGS[words[0]])
    _parser().parse_args(words or ["--help"], arguments)


def _divide(words: Sequence[str], own: Sequence[str]) -> tuple[list[str], list[str]]:
    """The words of the command itself, and its flags of settings with their values."""
    command: list[str] = []
    settings: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("--") or word.partition("=")[0] in own:
            command.append(word)
            continue
        settings.append(word)
        # -0.5 is a value, --flag is none
        if "=" not in word and rest and not rest[0].startswith("--"):
            settings.append(rest.pop(0))
    return command, settings


def _parser() -> Parser:
    layout: dict[str, Any] = {"formatter_class": argparse.RawDescriptionHelpFormatter, "allow_abbrev": False}
    whole = Parser(prog="hypersphere", description=PURPOSE, epilog=FIRST_STEPS, **layout)
    whole.add_argument("--version", action="version", version=f"hypersphere {__version__}")
    commands = whole.add_subparsers(title="commands", required=True)
    made = {}
    for name, (run, purpose, notes) in COMMANDS.items():
        made[name] = commands.add_parser(name, help=purpose, description=purpose, epilog=notes, **layout)
        made[name].set_defaults(command=run)

    train = made["train"]
    train.usage = "hypersphere train RECIPE [--out DIR] [--resume] [--quiet] [--section.setting VALUE ...]"
    train.more_help = _settings_help
    train.add_argument("recipe", metavar="RECIPE", nargs="?", help="name of a recipe, or a YAML file like one")
    train.add_argument(
        "--out", metavar="DIR", type=Path, help="folder of the run; otherwise runs/RECIPE, runs/RECIPE-2..."
    )
    train.add_argument("--resume", action="store_true", help="go on with the run in DIR from its last checkpoint")
    train.add_argument("--quiet", action="store_true", help="show no progress")

    evaluate = made["evaluate"]
    evaluate.usage = "hypersphere evaluate RUN [--protocol NAME] [--split SPLIT] [--data.setting VALUE ...] [...]"
    evaluate.add_argument("runs", metavar="RUN", nargs=1, type=Path, help="folder of a trained run")
    protocols = ("classification", "robustness")
    evaluate.add_argument("--protocol", choices=protocols, default="classification", help="otherwise classification")
    evaluate.add_argument("--split", choices=("train", "validation", "test"), default="test", help="otherwise test")
    evaluate.add_argument("--source", metavar="RUN2", type=Path, help="robustness: attacks from this run are tried too")
    evaluate.add_argument("--samples", metavar="N", type=int, help="robustness: how many images; otherwise 1000")
    evaluate.add_argument(
        "--epsilon", metavar="X", type=float, help="robustness: L-inf radius for pixels in [0, 1]; otherwise 8/255"
    )
    evaluate.add_argument("--no-minimum", action="store_true", help="robustness: without the smallest changes")
    evaluate.add_argument("--seed", metavar="N", type=int, help="robustness: of images, starts; otherwise 0")
    evaluate.add_argument(
        "--recalibrate", metavar="N", type=int, default=0, help="measure running statistics again on N training batches"
    )
    # read by make_config; named here so that the help shows it
    evaluate.add_argument(
        "--data.name", metavar="NAME", dest="data_name", help="other data: a name, a folder or a file"
    )

    report = made["report"]
    report.add_argument("runs", metavar="RUN", nargs="+", type=Path, help="folder of a run")
    report.add_argument(
        "--out",
        metavar="FILE",
        type=Path,
        help="where to write; otherwise report.html in the run, or comparison.html here",
    )

    sphere = made["thomson"]
    sphere.add_argument("--points", metavar="N", type=int, required=True, help="points, or lines in half space")
    sphere.add_argument("--dim", metavar="D", type=int, default=3, help="dimension of the space; otherwise 3")
    sphere.add_argument(
        "--power", metavar="S", type=float, default=1.0, help="exponent of the energy, 0 the logarithm; otherwise 1"
    )
    sphere.add_argument(
        "--distance", choices=("euclidean", "angular"), default="euclidean", help="otherwise euclidean, the chord"
    )
    sphere.add_argument("--half-space", action="store_true", help="spread lines instead of points")
    sphere.add_argument("--starts", metavar="N", type=int, default=5, help="random starts; otherwise 5")
    sphere.add_argument("--seed", metavar="N", type=int, default=0, help="of the starts; otherwise 0")
    sphere.add_argument(
        "--out", metavar="DIR", type=Path, help="new folder of the result; otherwise runs/thomson-N-3d-power1..."
    )

    look = made["diagnose"]
    look.add_argument(
        "runs", metavar="WHAT", nargs="+", type=Path, help="run folder, safetensors file or PyTorch checkpoint"
    )
    look.add_argument(
        "--power", metavar="S", type=float, default=0.0, help="exponent of the energy; otherwise 0, the logarithm"
    )
    look.add_argument(
        "--distance", choices=("euclidean", "angular"), default="euclidean", help="otherwise euclidean, the chord"
    )
    look.add_argument("--half-space", action="store_true", help="a neuron and its opposite count as redundant")
    look.add_argument(
        "--near", metavar="DEGREES", type=float, default=10.0, help="neurons this close are twins; otherwise 10"
    )
    look.add_argument("--embeddings", action="store_true", help="count embedding tables as layers")
    look.add_argument("--json", metavar="FILE", type=Path, help="write all numbers and pairs")
    look.add_argument("--html", metavar="FILE", type=Path, help="write a page with pictures")

    export = made["export"]
    export.add_argument("runs", metavar="RUN", nargs=1, type=Path, help="folder of a trained run")
    export.add_argument("--format", metavar="NAME", default="onnx", help="onnx or pt2; otherwise onnx")
    export.add_argument("--out", metavar="FILE", type=Path, help="new file; otherwise model.onnx or .pt2 in the run")
    export.add_argument("--features", action="store_true", help="features alone, without the head")
    export.add_argument("--pixels", metavar="TYPE", default="uint8", help="uint8 or float32; otherwise uint8")
    export.add_argument("--force", action="store_true", help="replace a file that is there already")

    made["list"].add_argument("family", metavar="FAMILY", nargs="?", help="one of " + ", ".join(FAMILIES))
    return whole


def _settings_help() -> str:
    from hypersphere.training.flags import flags_help

    return f"Every setting, with its type and the value it has when no recipe gives one:\n\n{flags_help()}"


# what each command does, in a line and in examples
COMMANDS: dict[str, tuple[Callable[[Arguments], int], str, str]] = {
    "train": (_train, "Train a classifier by a recipe.", TRAIN_NOTES),
    "evaluate": (_evaluate, "Measure a trained run on one split of its data, or of other data.", EVALUATE_NOTES),
    "report": (_report, "Write the page of a run, or one page that compares several.", REPORT_NOTES),
    "thomson": (_thomson, "Spread points evenly over a sphere and show them.", THOMSON_NOTES),
    "diagnose": (_diagnose, "Look at the layers of any model: how even, how redundant.", DIAGNOSE_NOTES),
    "export": (_export, "Write the model of a run as ONNX or as a PyTorch program, for use elsewhere.", EXPORT_NOTES),
    "list": (_list, "Show everything that can be chosen by name.", LIST_NOTES),
}
# flags that are no settings, of the commands that take settings
EVALUATE_FLAGS = (
    *("--protocol", "--split", "--recalibrate", "--help"),
    *("--source", "--samples", "--epsilon", "--no-minimum", "--seed"),
)
OWN_FLAGS = {"train": ("--out", "--resume", "--quiet", "--help"), "evaluate": EVALUATE_FLAGS}


def _sentence(error: Exception) -> str:
    """What an error says; the system's own errors with their file, not their number."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}." if error.filename else f"{error.strerror}."
    return str(error) or type(error).__name__


def _stopped(arguments: Arguments) -> str:
    if arguments.started is None or not (arguments.started / "config.yaml").exists():
        return "stopped."
    return f"stopped; go on with: hypersphere train --resume --out {arguments.started}"


def _explain(text: str) -> None:
    print(f"hypersphere: {text}", file=sys.stderr)
