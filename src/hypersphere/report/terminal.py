# SPDX-License-Identifier: MIT
"""A diagnosis at the terminal: a table, what it says in words, and what was left out."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any

from hypersphere.report.diagnosis_words import COLUMNS, degrees, read_diagnosis, read_differences, table_rows
from hypersphere.report.subjects import Subject

__all__ = ["print_diagnosis"]

# what a table needs where nothing says how wide the reader's window is
_WIDE = 240


def print_diagnosis(subjects: Sequence[Subject]) -> None:
    """Print the diagnosis of one model, or of several side by side.

    Raises:
        ImportError: if the extra `train` is not installed.
    """
    try:
        from rich.console import Console
    except ImportError as error:
        raise ImportError('diagnose: rich is not installed: run pip install "hypersphere[train]".') from error
    screen = Console(file=sys.stdout, highlight=False, width=None if sys.stdout.isatty() else _WIDE)
    if len(subjects) > 1:
        screen.print(" → ".join(one.name for one in subjects), style="bold", markup=False)
    screen.print(_table(subjects))
    for line in _below(subjects):
        screen.print(line, markup=False, soft_wrap=not sys.stdout.isatty())


def _table(subjects: Sequence[Subject]) -> Any:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    table.add_column("layer", overflow="fold")
    for heading, _, _ in COLUMNS:
        table.add_column(heading, justify="right", no_wrap=len(subjects) == 1)
    for row in table_rows(subjects):
        table.add_row(*(Text(cell) for cell in row))
    return table


def _below(subjects: Sequence[Subject]) -> list[str]:
    """Sentences below the table, with plain quotes around names."""
    found = subjects[0].diagnosis
    space = ", half space" if found.half_space else ""
    lines = [
        f"Energy: power {found.power:g}, {found.distance} distance{space}. Place: 0% is the lowest energy there can be "
        "(* a bound that need not be reached), 100% the mean of random directions; sd: distance from that mean in its "
        f"standard deviations. Twins and opposites: pairs within {degrees(found.near_angle)}.",
        "",
    ]
    if len(subjects) == 1:
        lines += [f"- {sentence}" for sentence in read_diagnosis(found)]
    else:
        lines += [f"- {sentence}" for sentence in read_differences(subjects)]
        for one in subjects:
            lines += [f"- {one.name}: {sentence}" for sentence in read_diagnosis(one.diagnosis)[:2]]
    for one in subjects:
        name = f"{one.name}: " if len(subjects) > 1 else ""
        if one.diagnosis.skipped:
            reasons = Counter(one.diagnosis.skipped.values())
            listed = "; ".join(f"{count} × {reason}" for reason, count in reasons.most_common())
            lines.append(f"{name}Left out: {listed}.")
    rules = list(dict.fromkeys(one.diagnosis.rule for one in subjects if one.diagnosis.rule))
    return [line.replace("`", "'") for line in [*lines, *rules]]
