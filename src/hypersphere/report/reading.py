# SPDX-License-Identifier: MIT
"""What the numbers of a run say, in sentences; names stand between backticks."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from hypersphere.report.confusion import most_confused
from hypersphere.report.facts import final_numbers, split_name
from hypersphere.report.layers import LayerHistory
from hypersphere.report.neurons import Pair
from hypersphere.report.run import Run, number
from hypersphere.report.separation import Separation
from hypersphere.report.terms import listed

__all__ = ["read_accuracy", "read_classes", "read_layers", "read_neurons", "read_numbers", "read_state"]


def read_numbers(
    run: Run, layers: Sequence[LayerHistory], pairs: dict[str, list[Pair]], separation: Separation | None
) -> list[str]:
    """The reading at the top of a page: how good, how even, how redundant, how separate, most important first."""
    return [
        *read_state(run),
        *read_accuracy(run),
        *read_classes(run, separation),
        *read_layers(layers),
        *read_neurons(layers, pairs),
    ]


def read_state(run: Run) -> list[str]:
    """How far the run is, when it is not done."""
    if run.last_step == 0 and not run.train:
        return ["Training has not taken a step yet."]
    if run.classification is None:
        return [f"There is no final evaluation yet: the run is going on or was stopped, at step {run.last_step}."]
    evaluated = number(run.classification.summary, "step")
    if math.isfinite(evaluated) and evaluated < run.last_step:
        return [f"The evaluation is that of step {evaluated:.0f}; training has gone on to step {run.last_step}."]
    return []


def read_accuracy(run: Run) -> list[str]:
    """How many images are classified correctly, and whether training fits what it has seen much better."""
    final, split = final_numbers(run), split_name(run)
    accuracy, count, seen = final["accuracy"], final["num_samples"], final["train_accuracy"]
    if not math.isfinite(accuracy):
        return []
    mistakes = round((1 - accuracy) * count) if math.isfinite(count) else None
    detail = "" if mistakes is None else f" ({mistakes} of {count:.0f} wrong)"
    if not final["is_final"]:
        step = final["step"]
        return [
            f"At its last evaluation, step {step:.0f}, it classified {accuracy:.2%} of the {split} images correctly."
        ]
    found = [f"The network classifies {accuracy:.2%} of the {split} images correctly{detail}."]
    gap = seen - accuracy
    if math.isfinite(gap) and gap > 0.1:
        found.append(
            f"On its last training batches it was right for {seen:.2%}: it fits what it has seen "
            f"{100 * gap:.0f} points better than what it has not."
        )
    return found


def read_classes(run: Run, separation: Separation | None) -> list[str]:
    """Which classes are mistaken for each other, and how that looks in angles."""
    found = []
    if run.classification is not None and run.classification.confusion is not None:
        names = run.classification.class_names
        worst = most_confused(run.classification.confusion, count=1)
        if worst:
            pair = worst[0]
            found.append(
                f"Its most frequent mistake: `{names[pair.true]}` is taken for `{names[pair.predicted]}`, "
                f"{pair.count} of {pair.total} times."
            )
    if separation is not None and run.classification is not None and len(separation.own_vector):
        own = math.degrees(float(np.median(separation.own_vector)))
        text = f"Half of the features lie within {own:.1f}° of their class vector"
        if len(separation.other_vector):
            other = math.degrees(float(np.median(separation.other_vector)))
            text += f"; the nearest other class vector is typically {other:.1f}° away"
        found.append(text + ".")
    if separation is not None and run.classification is not None and separation.closest:
        names = run.classification.class_names
        first, second, angle = separation.closest
        ideal = math.degrees(math.acos(-1 / (separation.num_classes - 1)))
        found.append(
            f"The two closest classes on the sphere are `{names[first]}` and `{names[second]}`, "
            f"{math.degrees(angle):.1f}° apart; {separation.num_classes} classes spread evenly in enough dimensions "
            f"would all be {ideal:.1f}° apart."
        )
    return found


def read_layers(layers: Sequence[LayerHistory]) -> list[str]:
    """Which layer is spread most and least evenly, and which one training moved most."""
    placed = [(one, one.positions[np.isfinite(one.positions)]) for one in layers]
    placed = [(one, positions) for one, positions in placed if len(positions)]
    if not placed:
        return []
    best, at_best = min(((one, float(positions[-1])) for one, positions in placed), key=lambda pair: pair[1])
    worst, at_worst = max(((one, float(positions[-1])) for one, positions in placed), key=lambda pair: pair[1])
    found = [f"Layer `{best.name}` is spread most evenly: {_way(at_best)}."]
    if worst.name != best.name:
        beyond = ", less even than chance" if at_worst > 1.02 else ""
        found.append(f"Layer `{worst.name}` is spread least evenly: at {at_worst:.0%} of that way{beyond}.")
    moves = [(float(positions[-1] - positions[0]), one, positions) for one, positions in placed if len(positions) > 1]
    if moves:
        move, one, positions = max(moves, key=lambda entry: abs(entry[0]))
        if abs(move) >= 0.02:
            verb = "pulled apart" if move < 0 else "drew together"
            verb_of = "are" if len(one.pushed_by) > 1 else "is"
            pushed = f" ({listed(one.pushed_by, 'its ')} {verb_of} in the loss)" if one.regularized else ""
            found.append(
                f"Training {verb} the neurons of `{one.name}` most{pushed}: from {positions[0]:.0%} to "
                f"{positions[-1]:.0%}."
            )
    return found


def _way(position: float) -> str:
    return (
        f"{position:.0%} of the way from the most even arrangement (0%) to random directions (100%)"
        if abs(position) < 10
        else f"{position:.0f} times as far from the most even arrangement as random directions are"
    )


def read_neurons(layers: Sequence[LayerHistory], pairs: dict[str, list[Pair]]) -> list[str]:
    """Where two neurons compute nearly the same, against the angle that chance would leave."""
    by_name = {one.name: one for one in layers}
    closest = [(name, found[0]) for name, found in pairs.items() if found]
    telling = [(name, pair, by_name[name].random_angle) for name, pair in closest if name in by_name]
    telling = [entry for entry in telling if math.isfinite(entry[2])]
    if not telling:
        return []
    name, pair, chance = min(telling, key=lambda entry: entry[1].angle / entry[2])
    angle, usual = math.degrees(pair.angle), math.degrees(chance)
    if pair.angle > 0.8 * chance:
        return [
            "No layer holds two neurons much closer to each other than chance would put them (nearest to it: "
            f"`{name}`)."
        ]
    same = ": they compute nearly the same" if angle < 15 else ""
    return [
        f"Neurons {pair.first} and {pair.second} of `{name}` are only {angle:.1f}° apart{same}; among as many random "
        f"directions the closest two would be about {usual:.0f}° apart."
    ]
