# SPDX-License-Identifier: MIT
"""The command `hypersphere search`: the images of a gallery that a trained run finds most like one."""

from __future__ import annotations

from pathlib import Path

from hypersphere.cli.command import FACES, Arguments, Command, Parser

__all__ = ["COMMAND"]

NOTES = f"""\
examples:
  hypersphere search runs/faces photos/ who.jpg
  hypersphere search runs/faces photos.npy who.jpg --top 20

The gallery is a folder of images, or the file that `hypersphere embed` made of one, which is faster the next time.
Every image is compared; the largest cosines are printed with label and image.

{FACES}"""


class SearchArguments(Arguments):
    """What `hypersphere search` is told."""

    run: Path
    gallery: Path
    image: Path
    top: int
    flip: str | None


def _add_flags(parser: Parser) -> None:
    parser.add_argument("run", metavar="RUN", type=Path, help="folder of a trained run")
    parser.add_argument("gallery", metavar="GALLERY", type=Path, help="folder of images, or an embedded .npy file")
    parser.add_argument("image", metavar="IMAGE", type=Path, help="what to look for")
    parser.add_argument("--top", metavar="K", type=int, default=5, help="how many to show; otherwise 5")
    parser.add_argument("--flip", metavar="NAME", help="mirror images: none, concat or sum; otherwise as embedded")


def _run(arguments: SearchArguments) -> int:
    from hypersphere.training.lookup import found_lines, search_gallery

    found = search_gallery(arguments.run, arguments.gallery, arguments.image, top=arguments.top, flip=arguments.flip)
    print("\n".join(found_lines(found)))
    return 0


COMMAND = Command("Find the images of a gallery most like one.", NOTES, SearchArguments, _add_flags, _run)
