# SPDX-License-Identifier: MIT
"""The command `hypersphere embed`: many images to one file of embeddings."""

from __future__ import annotations

import shlex
from pathlib import Path

from hypersphere.cli.command import Arguments, Command, Parser

__all__ = ["COMMAND"]

NOTES = """\
examples:
  hypersphere embed runs/faces --out test.npy                     the run's own test images
  hypersphere embed runs/faces photos/ more/one.jpg --out photos.npy
  hypersphere embed runs/faces --data.name path/to/parquet --split train --flip sum --out train.npy
  hypersphere embed runs/faces photos/ --out photos.npy --resume  go on where that was stopped

Images are prepared as they were in training. photos.npy holds one row of features for each, not normalised; photos.csv
the image and the label of each row (of a folder, the first folder below it); photos.json what made them."""


class EmbedArguments(Arguments):
    """What `hypersphere embed` is told."""

    run: Path
    images: list[Path]
    out: Path
    split: str | None
    flip: str
    batch: int | None
    resume: bool
    skip_broken: bool
    force: bool
    quiet: bool


def _add_flags(parser: Parser) -> None:
    parser.usage = "hypersphere embed RUN [IMAGES ... | --data.name NAME] --out FILE.npy [...]"
    parser.add_argument("run", metavar="RUN", type=Path, help="folder of a trained run")
    parser.add_argument(
        "images",
        metavar="IMAGES",
        nargs="*",
        type=Path,
        default=[],
        help="image files and folders; otherwise a data set",
    )
    # read by make_config; named here so that the help shows it
    parser.add_argument("--data.name", metavar="NAME", dest="data_name", help="a data set; otherwise the run's own")
    parser.add_argument("--split", choices=("train", "validation", "test"), help="of the data set; otherwise test")
    parser.add_argument("--out", metavar="FILE", type=Path, required=True, help="new file, ending in .npy")
    parser.add_argument(
        "--flip", metavar="NAME", default="none", help="mirror images: none, concat or sum; otherwise none"
    )
    parser.add_argument("--batch", metavar="N", type=int, help="images at a time; otherwise 256, fewer large ones")
    parser.add_argument("--resume", action="store_true", help="go on with a file that was begun")
    parser.add_argument("--skip-broken", action="store_true", help="leave images out that cannot be used")
    parser.add_argument("--force", action="store_true", help="replace a file that is there already, or was begun")
    parser.add_argument("--quiet", action="store_true", help="show no progress")


def _run(arguments: EmbedArguments) -> int:
    from hypersphere.training.embed import embed_run, lines
    from hypersphere.training.embedded import EmbeddedFiles
    from hypersphere.training.settings import read_data

    if arguments.images and arguments.split is not None:
        raise ValueError("embed: --split belongs to a data set; images have none.")
    data = read_data("embed", arguments.run, arguments.settings)
    again = [word for word in arguments.words if word not in ("--resume", "--force")]
    arguments.go_on = (
        EmbeddedFiles(arguments.out).progress,
        shlex.join(["hypersphere", *again, "--resume"]),
    )
    found = embed_run(
        arguments.run,
        arguments.out,
        images=arguments.images,
        data=data,
        split=arguments.split or "test",
        flip=arguments.flip,
        batch=arguments.batch,
        resume=arguments.resume,
        replace=arguments.force,
        skip_broken=arguments.skip_broken,
        quiet=arguments.quiet,
    )
    print("\n".join(lines(found, arguments.out)))
    return 0


COMMAND = Command(
    "Write the features of images by a trained run to one file.",
    NOTES,
    EmbedArguments,
    _add_flags,
    _run,
    takes_settings=True,
)
