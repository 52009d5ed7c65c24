# SPDX-License-Identifier: MIT
"""The command `hypersphere train`: from a recipe and flags to a run folder."""

from __future__ import annotations

from pathlib import Path

from hypersphere.cli.command import Arguments, Command, Parser, run_folder

__all__ = ["COMMAND"]

NOTES = """\
examples:
  hypersphere train digits
  hypersphere train digits --training.epochs 5 --optimizer.rate 1e-3 --energy.hidden_weight 0
  hypersphere train cifar100-cnn9-clean --data.name path/to/parquet --model.arguments.base_width 16
  hypersphere train mine.yaml --data.name path/to/images --energy.include '[model.block1*, head]'
  hypersphere train --resume --out runs/digits   go on where that run was stopped

The run goes to a folder: config.yaml with every setting, metrics.jsonl, the trained model, and report.html. The same
command with --resume goes on from its last checkpoint and ends as if nothing had happened. Every setting below has a
flag of its own; so has an entry of a dictionary: --model.arguments.base_width 16, --data.keep.cat 0.1."""


class TrainArguments(Arguments):
    """What `hypersphere train` is told."""

    recipe: str | None
    out: Path | None
    resume: bool
    quiet: bool


def _add_flags(parser: Parser) -> None:
    parser.usage = "hypersphere train RECIPE [--out DIR] [--resume] [--quiet] [--section.setting VALUE ...]"
    parser.more_help = _settings_help
    parser.add_argument("recipe", metavar="RECIPE", nargs="?", help="name of a recipe, or a YAML file like one")
    parser.add_argument(
        "--out", metavar="DIR", type=Path, help="folder of the run; otherwise runs/RECIPE, runs/RECIPE-2..."
    )
    parser.add_argument("--resume", action="store_true", help="go on with the run in DIR from its last checkpoint")
    parser.add_argument("--quiet", action="store_true", help="show no progress")


def _settings_help() -> str:
    from hypersphere.training.flags import flags_help

    return f"Every setting, with its type and the value it has when no recipe gives one:\n\n{flags_help()}"


def _run(arguments: TrainArguments) -> int:
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
    out = arguments.out or run_folder(Path("runs") / (config.recipe or "run"), newest=arguments.resume)

    from hypersphere.training.run import train

    arguments.go_on = (out / "config.yaml", f"hypersphere train --resume --out {out}")
    result = train(config, out, resume=arguments.resume, quiet=arguments.quiet)
    already = " (it had finished before)" if result.already_finished else ""
    again = "" if result.recalibrated is None else f" ({result.recalibrated:.4f} recalibrated)"
    accuracy = f"{result.accuracy:.4f}{again}"
    print(f"{result.split} accuracy {accuracy} after {result.steps} steps, {result.seconds:.0f} s{already}")
    print(f"run     {result.folder}")
    print(f"report  {result.report if result.report else 'none'}")
    return 0


COMMAND = Command("Train a classifier by a recipe.", NOTES, TrainArguments, _add_flags, _run, takes_settings=True)
