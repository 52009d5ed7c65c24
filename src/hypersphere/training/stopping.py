# SPDX-License-Identifier: MIT
"""Ctrl-C and SIGTERM as a question that the loop asks between two steps."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["stop_signals"]


@contextlib.contextmanager
def stop_signals() -> Iterator[Callable[[], bool]]:
    """Gives a function that says whether somebody has asked to stop; the second Ctrl-C stops at once.

    Outside the main thread, where Python hands out no signals, nobody ever asks. At the end of the block the handlers
    of before are back.
    """
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return

    def remember(number: int, frame: Any) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    before = {number: signal.signal(number, remember) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
