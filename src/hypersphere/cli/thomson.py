# SPDX-License-Identifier: MIT
"""The command `hypersphere thomson`: points at rest on a sphere, with their numbers and a picture."""

from __future__ import annotations

from pathlib import Path

from hypersphere.cli.command import Arguments, Command, Parser, run_folder

__all__ = ["COMMAND"]

NOTES = """\
examples:
  hypersphere thomson --points 12                          an icosahedron
  hypersphere thomson --points 6 --half-space              the same, as six lines
  hypersphere thomson --points 4 --power 0 --distance angular
  hypersphere thomson --points 27 --dim 6 --starts 2       one of the proven optima

Points repel each other until they are at rest, from several random starts; the best end is kept in a new folder:
points.csv (coordinates), thomson.json (numbers) and points.html (the picture, which needs the extra `report`)."""


class ThomsonArguments(Arguments):
    """What `hypersphere thomson` is told."""

    points: int
    dim: int
    power: float
    distance: str
    half_space: bool
    starts: int
    seed: int
    out: Path | None


def _add_flags(parser: Parser) -> None:
    parser.add_argument("--points", metavar="N", type=int, required=True, help="points, or lines in half space")
    parser.add_argument("--dim", metavar="D", type=int, default=3, help="dimension of the space; otherwise 3")
    parser.add_argument(
        "--power", metavar="S", type=float, default=1.0, help="exponent of the energy, 0 the logarithm; otherwise 1"
    )
    parser.add_argument(
        "--distance", choices=("euclidean", "angular"), default="euclidean", help="otherwise euclidean, the chord"
    )
    parser.add_argument("--half-space", action="store_true", help="spread lines instead of points")
    parser.add_argument("--starts", metavar="N", type=int, default=5, help="random starts; otherwise 5")
    parser.add_argument("--seed", metavar="N", type=int, default=0, help="of the starts; otherwise 0")
    parser.add_argument(
        "--out", metavar="DIR", type=Path, help="new folder of the result; otherwise runs/thomson-N-3d-power1..."
    )


def _run(arguments: ThomsonArguments) -> int:
    from hypersphere.analysis import thomson
    from hypersphere.report.thomson import Watch, check_free, lines, write_points

    names = [f"thomson-{arguments.points}", f"{arguments.dim}d", f"power{arguments.power:g}"]
    names += ["angular"] * (arguments.distance == "angular") + ["half"] * arguments.half_space
    out = arguments.out or run_folder(Path("runs") / "-".join(names))
    check_free(out)
    watch = Watch(arguments.starts)
    try:
        found = thomson(
            arguments.points,
            arguments.dim,
            power=arguments.power,
            distance=arguments.distance,
            half_space=arguments.half_space,
            starts=arguments.starts,
            seed=arguments.seed,
            progress=watch,
        )
    finally:
        watch.finish()
    written = write_points(found, out)
    print("\n".join(lines(found)))
    print(f"coordinates     {written.coordinates}\nnumbers         {written.numbers}")
    print(f"picture         {written.picture or f'none; {written.why_no_picture}'}")
    return 0


COMMAND = Command("Spread points evenly over a sphere and show them.", NOTES, ThomsonArguments, _add_flags, _run)
