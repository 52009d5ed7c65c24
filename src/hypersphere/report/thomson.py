# SPDX-License-Identifier: MIT
"""What `hypersphere thomson` prints and keeps of points at minimum energy: lines, a page, coordinates, numbers."""

from __future__ import annotations

import json
import math
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypersphere import __version__
from hypersphere.analysis.thomson import Configuration
from hypersphere.files import write_atomically
from hypersphere.formulas.configurations import line_angles, neighbour_angles
from hypersphere.functional import expected_energy
from hypersphere.report.facts import Fact, duration
from hypersphere.report.gram import gram_figure
from hypersphere.report.neurons import LARGEST, cosines
from hypersphere.report.page import Block, Figure, Grid, Missing, Page, Section
from hypersphere.report.points import MANY, angle_figure, circle_figure, space_figure

__all__ = ["Watch", "Written", "check_free", "lines", "numbers", "points_page", "write_points"]


@dataclass(frozen=True)
class Written:
    """The files of one result; `picture` is None where `why_no_picture` says why."""

    coordinates: Path
    numbers: Path
    picture: Path | None
    why_no_picture: str = ""


class Watch:
    """Shows on standard error how far an optimisation is: pass it to `thomson` as `progress`, then call `finish`.

    At a terminal it is a line that changes, elsewhere a line for every start.

    Args:
        starts: how many there will be.
    """

    def __init__(self, starts: int) -> None:
        self._stream = sys.stderr
        self._starts = starts
        self._began = self._shown = 0.0
        self._last: tuple[int, int, float] | None = None
        self._total = 0

    def __call__(self, start: int, evaluations: int, energy: float) -> None:
        """Take note of one evaluation."""
        now = time.monotonic()
        if self._last is not None and self._last[0] != start:
            self._end_of_start()
        self._last, self._total = (start, evaluations, energy), self._total + 1
        if self._total == 2:
            # the first one warms up
            self._began = now
        elif self._total == 5:
            # a start takes some hundred evaluations at least
            least = (now - self._began) / 3 * 300 * self._starts
            if least > 120:
                self._stream.write(
                    f"this many points take long: expect {duration(least)} or more; Ctrl-C stops, and keeps nothing\n"
                )
        if self._stream.isatty() and now - self._shown > 0.2:
            self._stream.write(f"\r\x1b[2K{self._line()}")
            self._stream.flush()
            self._shown = now

    def finish(self) -> None:
        """Show the last start, or clear the line."""
        if self._last is not None:
            self._end_of_start()

    def _end_of_start(self) -> None:
        self._stream.write("\r\x1b[2K" if self._stream.isatty() else f"{self._line()}\n")
        self._stream.flush()

    def _line(self) -> str:
        assert self._last is not None
        start, evaluations, energy = self._last
        return f"start {start + 1} of {self._starts}: mean energy {energy:.9g} after {evaluations} evaluations"


def numbers(found: Configuration) -> dict[str, Any]:
    """Everything that is known about a configuration but its coordinates, as plain values for JSON."""
    num_points, dim = found.points.shape
    pairs = math.comb(2 * num_points if found.half_space else num_points, 2)
    expected = expected_energy(
        dim, power=found.power, distance=found.distance, half_space=found.half_space, num_points=num_points
    )
    values = {
        "num_points": num_points,
        "dim": dim,
        "power": found.power,
        "distance": found.distance,
        "half_space": found.half_space,
        "sum_over_pairs": found.sum_over_pairs,
        "mean_energy": found.energy,
        "known_sum": found.known,
        "known_is_proven": _is_proven(found),
        "gap": found.gap,
        "random_sum": expected * pairs,
        "smallest_angle_degrees": math.degrees(found.smallest_angle),
        "residual": found.residual,
        "starts": found.starts,
        "num_agreeing": found.num_agreeing,
        "winning_start": found.start,
        "seed": found.seed,
        "version": __version__,
    }
    return {key: None if isinstance(value, float) and math.isinf(value) else value for key, value in values.items()}


def lines(found: Configuration) -> list[str]:
    """The result as a person reads it, a line each."""
    # a terminal may know no degree sign
    return [_title(found), *(f"{name:<16}{value.replace('°', ' degrees')}" for name, value in _facts(found))]


def points_page(found: Configuration) -> Page:
    """The picture: points on the circle or the sphere, and their angles in any dimension."""
    num_points, dim = found.points.shape
    blocks: list[Block] = []
    if dim == 2:
        blocks.append(Figure("Points on the circle", circle_figure(found)))
    elif dim == 3:
        caption = "Drag to turn, scroll to come nearer. Lines join neighbours: the edges of the convex hull."
        if found.half_space:
            caption += " Filled: one end of each line; hollow: the other."
        blocks.append(Figure("Points on the sphere", space_figure(found), caption))
    if num_points > 1:
        caption = "The dashed line is what independent random directions have."
        if num_points > MANY:
            caption += f" Of {MANY} points, drawn with a fixed seed."
        angles = Figure("Angles of all pairs", angle_figure(found), caption)
        if dim > 3:
            caption = "Similar ones stand together; the diagonal is blank."
            if num_points > LARGEST:
                caption += f" Of {LARGEST} points, drawn with a fixed seed."
            gram = gram_figure([("", *cosines(found.points.numpy()))], kind="point")
            blocks.append(Grid([angles, Figure("Cosines of all pairs", gram, caption)], size="large"))
        else:
            blocks.append(angles)
    else:
        blocks.append(Missing("One line has no angle to another."))
    kept = ("sum over pairs", "best known", "lowest possible", "gap", "smallest angle")
    return Page(
        title=_title(found),
        subtitle="Points that repel each other, at rest.",
        headline=[fact for fact in _facts(found) if fact[0] in kept],
        identity=[fact for fact in _facts(found) if fact[0] not in kept],
        sections=[Section("points", "The points", "", blocks)],
        source="Made by `hypersphere thomson`; coordinates and numbers lie beside this file.".replace("`", ""),
    )


def check_free(folder: Path) -> None:
    """Refuse a folder that holds anything, or that cannot be made, before hours go into what it shall hold.

    Raises:
        FileExistsError: if `folder` is a file, or not empty.
        PermissionError: if it cannot be written.
    """
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(f"{folder} is a file, not a folder. Give another --out.")
    if folder.is_dir() and any(not entry.name.startswith(".") for entry in folder.iterdir()):
        raise FileExistsError(f"{folder} exists already. Give another --out.")
    there = next(part for part in (folder, *folder.absolute().parents) if part.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise PermissionError(f"{folder} cannot be made: {there} is no folder one may write to. Give another --out.")


def write_points(found: Configuration, folder: Path) -> Written:
    """Keep a configuration: `points.csv`, `thomson.json` and, with the extra `report`, `points.html`.

    Args:
        found: what `thomson` returned.
        folder: made if it is not there; must hold nothing.

    Returns:
        The files. Each is there whole or not at all.

    Raises:
        FileExistsError: if the folder holds anything.
        OSError: if it cannot be written.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from hypersphere import thomson
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     written = write_points(thomson(4, starts=1), Path(folder))
        ...     coordinates = np.loadtxt(written.coordinates, delimiter=",", skiprows=1)
        >>> coordinates.shape
        (4, 3)
    """
    check_free(folder)
    page, why = None, ""
    try:
        # before anything is written, as it takes longest
        page = points_page(found).render()
    except ImportError as error:
        why = str(error)
    table = [",".join(f"x{axis + 1}" for axis in range(found.points.shape[1]))]
    table += [",".join(map(repr, row)) for row in found.points.tolist()]
    folder.mkdir(parents=True, exist_ok=True)
    written = Written(
        folder / "points.csv", folder / "thomson.json", None if page is None else folder / "points.html", why
    )
    write_atomically(written.coordinates, "\n".join(table) + "\n")
    if page is not None and written.picture is not None:
        write_atomically(written.picture, page)
    kept = numbers(found) | {"coordinates": written.coordinates.name}
    write_atomically(written.numbers, json.dumps(kept, indent=2, allow_nan=False) + "\n")
    return written


def _title(found: Configuration) -> str:
    num_points, dim = found.points.shape
    things = "line" if found.half_space else "point"
    where = {2: "on the circle", 3: "on the sphere"}.get(dim, f"on the sphere in {dim} dimensions")
    if found.half_space:
        where = f"in {dim} dimensions"
    return f"{num_points} {things}{'s' if num_points > 1 else ''} {where}"


def _facts(found: Configuration) -> list[Fact]:
    values = numbers(found)
    of_ends = " (of all ends)" if found.half_space else ""
    facts = [
        ("energy", f"{found.distance} distance, power {found.power:g}{', half space' if found.half_space else ''}"),
        ("sum over pairs", f"{found.sum_over_pairs:.9f}"),
        ("mean energy", f"{found.energy:.12f}{of_ends}"),
    ]
    if found.known is None or found.gap is None:
        facts.append(("best known", "none in the tables"))
    else:
        facts.append(("lowest possible" if _is_proven(found) else "best known", f"{found.known:.9f}"))
        facts.append(("gap", f"{found.gap:+.1e} relative"))
    random = values["random_sum"]
    facts += [
        ("random", "infinite" if random is None else f"{random:.9f} on average"),
        ("smallest angle", f"{values['smallest_angle_degrees']:.6f}°"),
        ("residual", f"{found.residual:.1e}"),
        ("starts", f"{found.num_agreeing} of {found.starts} ended here, seed {found.seed}"),
    ]
    return facts


def _is_proven(found: Configuration) -> bool:
    """Whether the known minimum has a closed form and a proof, rather than being the best of many searches."""
    if found.known is None:
        return False
    num_points, dim = found.points.shape
    # what is known of the angular energy is proven
    return (
        found.distance == "angular"
        or (line_angles if found.half_space else neighbour_angles)(num_points, dim) is not None
    )
