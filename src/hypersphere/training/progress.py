# SPDX-License-Identifier: MIT
"""What a person sees while a run goes on: a bar at a terminal, one line an epoch elsewhere."""

from __future__ import annotations

import sys
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

__all__ = ["Display"]


class Display:
    """Shows how far a run is, on standard error.

    Args:
        total_steps: of the run.
        step: where it starts.
        quiet: show nothing.
    """

    def __init__(self, total_steps: int, *, step: int = 0, quiet: bool = False) -> None:
        self._console = Console(stderr=True, quiet=quiet)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]:>7,.0f} images/s, loss {task.fields[loss]:.3f}"),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
            disable=quiet or not sys.stderr.isatty(),
        )
        self._task = self._bar.add_task("training", total=total_steps, completed=step, rate=0.0, loss=0.0)

    def __enter__(self) -> Display:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def advance(self, step: int) -> None:
        """Move the bar."""
        self._bar.update(self._task, completed=step)

    def measured(self, rate: float, loss: float) -> None:
        """Show the newest speed (images/s) and loss."""
        self._bar.update(self._task, rate=rate, loss=loss)

    def say(self, line: str) -> None:
        """Print one line above the bar."""
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)
