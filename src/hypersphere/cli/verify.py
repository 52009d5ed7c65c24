# SPDX-License-Identifier: MIT
"""The command `hypersphere verify`: how alike two images are to a trained run."""

from __future__ import annotations

from pathlib import Path

from hypersphere.cli.command import FACES, Arguments, Command, Parser

__all__ = ["COMMAND"]

NOTES = f"""\
examples:
  hypersphere verify runs/faces one.jpg other.jpg
  hypersphere verify runs/faces one.jpg other.jpg --flip sum

Prints the cosine and the angle of the two images' features, and on which side of the run's threshold they lie, once
`hypersphere evaluate runs/faces --protocol verification` has measured one.

{FACES}"""


class VerifyArguments(Arguments):
    """What `hypersphere verify` is told."""

    run: Path
    left: Path
    right: Path
    flip: str | None


def _add_flags(parser: Parser) -> None:
    parser.add_argument("run", metavar="RUN", type=Path, help="folder of a trained run")
    parser.add_argument("left", metavar="A", type=Path, help="an image")
    parser.add_argument("right", metavar="B", type=Path, help="another")
    parser.add_argument("--flip", metavar="NAME", help="mirror images: none, concat or sum; otherwise as evaluated")


def _run(arguments: VerifyArguments) -> int:
    from hypersphere.training.lookup import compare_images, comparison_lines

    found = compare_images(arguments.run, arguments.left, arguments.right, flip=arguments.flip)
    print("\n".join(comparison_lines(found)))
    return 0


COMMAND = Command("Compare two images by a trained run.", NOTES, VerifyArguments, _add_flags, _run)
