# SPDX-License-Identifier: MIT
"""The command `hypersphere data`: what is in a set of images before anything is trained on it."""

from __future__ import annotations

import sys

from hypersphere.cli.command import Arguments, Command, Parser

__all__ = ["COMMAND"]

NOTES = """\
examples:
  hypersphere data check path/to/images
  hypersphere data check path/to/list.csv
  hypersphere data check cifar10

Every image is decoded: how many there are of each class, their sizes, which are broken, which are there twice. The
exit code is 2 if an image is broken."""


class DataArguments(Arguments):
    """What `hypersphere data` is told."""

    action: str
    path: str
    image_column: str | None
    label_column: str | None
    quiet: bool


def _add_flags(parser: Parser) -> None:
    parser.add_argument("action", metavar="check", choices=("check",), help="look at every image")
    parser.add_argument("path", metavar="PATH", help="folder, CSV or Parquet file, or name of a set")
    parser.add_argument("--image-column", metavar="NAME", help="column of images; otherwise found")
    parser.add_argument("--label-column", metavar="NAME", help="column of labels; otherwise found")
    parser.add_argument("--quiet", action="store_true", help="show no progress")


def _run(arguments: DataArguments) -> int:
    from hypersphere.data.check import check_data, lines

    shown = sys.stderr.isatty() and not arguments.quiet

    def show(done: int, total: int) -> None:
        sys.stderr.write(f"\r\x1b[2Klooked at {done} of {total} images")
        sys.stderr.flush()

    try:
        found = check_data(
            arguments.path,
            image_column=arguments.image_column,
            label_column=arguments.label_column,
            progress=show if shown else None,
        )
    finally:
        if shown:
            sys.stderr.write("\r\x1b[2K")
    print("\n".join(lines(found)))
    return 2 if found.num_broken else 0


COMMAND = Command(
    "Look at a set of images: counts, sizes, broken files, copies.", NOTES, DataArguments, _add_flags, _run
)
