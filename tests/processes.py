# SPDX-License-Identifier: MIT
"""Several processes of one gloo group, forked from a script that has imported what they need."""

from __future__ import annotations

import json
import os
import socket
import traceback
from collections.abc import Callable
from typing import Any

__all__ = ["Result", "together"]

Result = dict[str, Any]


def together(num_processes: int, work: Callable[[int], Result]) -> list[Result]:
    """What `work(rank)` returns in each of the processes of one gloo group."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    pipes, children = [], []
    for rank in range(num_processes):
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                if num_processes > 1:
                    world = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": num_processes, "MASTER_PORT": port}
                    os.environ |= {name: str(value) for name, value in world.items()}
                    os.environ |= {"MASTER_ADDR": "127.0.0.1", "OMP_NUM_THREADS": "1"}
                with os.fdopen(writer, "w") as answer:
                    json.dump(work(rank), answer)
            except BaseException:
                traceback.print_exc()
            # not through the exit of Python: the parent's files are not the child's to close
            os._exit(0)
        os.close(writer)
        pipes.append(reader)
        children.append(child)
    answers = []
    for reader, child in zip(pipes, children, strict=True):
        with os.fdopen(reader) as pipe:
            answers.append(pipe.read())
        os.waitpid(child, 0)
    assert all(answers), "a process ended without a word; its traceback is above"
    return [json.loads(answer) for answer in answers]
