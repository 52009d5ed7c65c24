# SPDX-License-Identifier: MIT
"""Work in a forked child process that is killed (SIGKILL) at a chosen line of chosen files."""

from __future__ import annotations

import os
import random
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from types import CodeType, FrameType
from typing import Any

__all__ = ["in_child", "moments"]


class _Countdown:
    """Counts executed lines of the watched files; kills this process at the line number `fatal`."""

    def __init__(self, watched: Sequence[str], fatal: int | None) -> None:
        self.count = 0
        self.fatal = fatal
        self.watched = watched
        self.known: dict[CodeType, bool] = {}

    def call(self, frame: FrameType, event: str, argument: Any) -> Any:
        """For `sys.settrace`."""
        code = frame.f_code
        if code not in self.known:
            self.known[code] = any(part in code.co_filename for part in self.watched)
        return self.line if self.known[code] else None

    def line(self, frame: FrameType, event: str, argument: Any) -> Any:
        """For the frames of the watched files."""
        if event == "line":
            self.count += 1
            if self.count == self.fatal:
                os.kill(os.getpid(), signal.SIGKILL)
        return self.line


def in_child(work: Callable[[], object], watched: Sequence[str], *, fatal: int | None) -> tuple[bool, int]:
    """Whether a child did its work to the end, and how many lines it ran of files whose path holds a word of `watched`.

    It forks instead of starting each child anew, so that a trial costs a fraction of a second.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        countdown = _Countdown(watched, fatal)
        sys.settrace(countdown.call)
        try:
            work()
            sys.settrace(None)
            os.write(writer, str(countdown.count).encode())
        except BaseException:
            traceback.print_exc()
        # not through the exit of Python: the parent's files are not the child's to close
        os._exit(0)
    os.close(writer)
    _, status = os.waitpid(child, 0)
    with os.fdopen(reader) as pipe:
        count = pipe.read()
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    assert count or killed, f"a child ended with status {status} and without a word; its traceback is above"
    return bool(count), int(count or 0)


def moments(generator: random.Random, num_lines: int) -> list[int]:
    """One to three lines at which children are killed, one after the other."""
    return [generator.randint(1, num_lines) for _ in range(generator.randint(1, 3))]
