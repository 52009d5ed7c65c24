# SPDX-License-Identifier: MIT
"""How neurons moved: energy and smallest angle of every layer, and the energy of all, with their references."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hypersphere.analysis.references import (
    Floor,
    energy_floor,
    position,
    random_smallest_angle,
    widest_smallest_angle,
)
from hypersphere.report.run import Run, number, series
from hypersphere.report.terms import layer_terms

__all__ = ["LayerHistory", "Total", "add_up", "energy_name", "read_histories"]


@dataclass(frozen=True)
class LayerHistory:
    """One layer over the evaluations of a run; angles in radians.

    Args:
        name: as the regulariser names it.
        num_neurons: K.
        dim: D.
        energy_steps: steps at which the energy is known, in order.
        energy: mean pair energy there.
        angle_steps: steps at which the smallest angle is known.
        angle: smallest angle between two neurons there.
        expected: mean energy of uniform directions, NaN or infinite where it does not exist.
        floor: lowest energy, None where nothing is known.
        pushed_by: what of this layer the loss holds, in words: "energy", "projected energy", "separation".
    """

    name: str
    num_neurons: int
    dim: int
    energy_steps: np.ndarray
    energy: np.ndarray
    angle_steps: np.ndarray
    angle: np.ndarray
    expected: float
    floor: Floor | None
    pushed_by: tuple[str, ...] = ()

    @property
    def regularized(self) -> bool:
        """Whether training pushed on this layer by more than the objective."""
        return bool(self.pushed_by)

    @property
    def positions(self) -> np.ndarray:
        """Every energy placed between floor (0) and uniform expectation (1); NaN without these."""
        floor = self.floor.value if self.floor else float("nan")
        return np.array([position(value, floor, self.expected) for value in self.energy], dtype=np.float64)

    @property
    def random_angle(self) -> float:
        """Smallest angle that as many random directions would show, the median, in radians."""
        return random_smallest_angle(self.num_neurons, self.dim)

    @property
    def widest_angle(self) -> float:
        """Largest smallest angle there can be, in radians, NaN where unknown."""
        return widest_smallest_angle(self.num_neurons, self.dim)


@dataclass(frozen=True)
class Total:
    """Energies of several layers added up, at the evaluations that measured all of them.

    Args:
        names: of the layers.
        energy_steps: steps of those evaluations, in order.
        energy: sum of the mean pair energies there.
        expected: sum of those of uniform directions, NaN or infinite where one of them does not exist.
        floor: sum of the lowest energies, None where one is unknown; reached only if all are.
        pushed_by: what of these layers the loss holds, in words.
    """

    names: tuple[str, ...]
    energy_steps: np.ndarray
    energy: np.ndarray
    expected: float
    floor: Floor | None
    pushed_by: tuple[str, ...]

    @property
    def regularized(self) -> bool:
        """Whether training pushed on any of the layers by more than the objective."""
        return bool(self.pushed_by)

    @property
    def position(self) -> float:
        """The last energy placed between floor (0) and uniform expectation (1); NaN without these."""
        return position(float(self.energy[-1]), self.floor.value if self.floor else float("nan"), self.expected)


def add_up(layers: Sequence[LayerHistory]) -> Total | None:
    """The total over layers, those without any energy left out; None where no evaluation measured two of them."""
    counted = [one for one in layers if len(one.energy)]
    if len(counted) < 2:
        return None
    steps = sorted(set.intersection(*(set(one.energy_steps.tolist()) for one in counted)))
    if not steps:
        return None
    found = [one.energy[np.isin(one.energy_steps, steps)] for one in counted]
    floors = [one.floor for one in counted if one.floor is not None]
    floor = None
    if len(floors) == len(counted):
        floor = Floor(sum(one.value for one in floors), all(one.is_reached for one in floors))
    return Total(
        names=tuple(one.name for one in counted),
        energy_steps=np.array(steps, dtype=np.int64),
        energy=np.sum(found, axis=0),
        expected=sum(one.expected for one in counted),
        floor=floor,
        pushed_by=tuple(dict.fromkeys(word for one in counted for word in one.pushed_by)),
    )


def read_histories(run: Run) -> list[LayerHistory]:
    """Every layer that an evaluation measured, in the order of the network."""
    rows = list({row["step"]: row for row in run.evaluations if isinstance(row.get("layers"), dict)}.values())
    names = list(dict.fromkeys(name for row in rows[::-1] for name in row["layers"]))
    pushed: dict[str, tuple[str, ...]] = {}
    for term in layer_terms(run):
        pushed[term.layer] = (*pushed.get(term.layer, ()), term.words)
    return [_history(run, rows, name, pushed.get(name, ())) for name in names]


def energy_name(run: Run) -> str:
    """The energy that the run recorded, in words and as a formula."""
    power, distance, half_space = _monitor(run)
    length = "|uᵢ − uⱼ|" if distance == "euclidean" else "angle(uᵢ, uⱼ)"
    exponent = {1.0: "", 2.0: "²"}.get(power, f"^{power:g}")
    term = f"−log {length}" if power == 0 else f"1 / {length}{exponent}"
    space = ", opposite directions counted as neighbours (half space)" if half_space else ""
    return f"mean over pairs i ≠ j of {term}{space}"


def _monitor(run: Run) -> tuple[float, str, bool]:
    power = number({"power": run.setting("monitor.power", 0)}, "power")
    return power, str(run.setting("monitor.distance", "euclidean")), bool(run.setting("monitor.half_space", False))


def _history(run: Run, rows: list[dict], name: str, pushed_by: tuple[str, ...]) -> LayerHistory:
    energy_steps, energy = series(rows, "layers", name, "energy")
    angle_steps, angle = series(rows, "layers", name, "smallest_angle")
    measures = [row["layers"][name] for row in rows if isinstance(row["layers"].get(name), dict)]
    last = measures[-1] if measures else {}
    num_neurons, dim = (number(last, key) for key in ("num_neurons", "dim"))
    power, distance, half_space = _monitor(run)
    floor = None
    if np.isfinite([num_neurons, dim]).all():
        # what a run recorded may be of no known kind
        with contextlib.suppress(ValueError):
            floor = energy_floor(
                int(num_neurons),
                int(dim),
                known=number(last, "minimum"),
                power=power,
                distance=distance,
                half_space=half_space,
            )
    return LayerHistory(
        name=name,
        num_neurons=int(np.nan_to_num(num_neurons)),
        dim=int(np.nan_to_num(dim)),
        energy_steps=energy_steps,
        energy=energy,
        angle_steps=angle_steps,
        angle=angle,
        expected=number(last, "expected"),
        floor=floor,
        pushed_by=pushed_by,
    )
