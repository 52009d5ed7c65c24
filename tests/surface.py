# SPDX-License-Identifier: MIT
"""The public surface of the package and of its command line; run as a script, it records both beside the tests."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import io
import json
import re
from pathlib import Path

from house import modules

__all__ = ["API", "FLAGS", "api", "flags"]

API = Path(__file__).with_name("surface_api.json")
FLAGS = Path(__file__).with_name("surface_flags.json")


def api() -> dict[str, dict[str, str]]:
    """Every public name of the top package and of its rooms, with parameters and defaults."""
    rooms = [module for module in modules() if module.count(".") <= 1]
    found = {room: _members(importlib.import_module(room)) for room in rooms}
    return {room: members for room, members in found.items() if members}


def _members(room: object) -> dict[str, str]:
    listed: dict[str, str] = {}
    for name in sorted(getattr(room, "__all__", [])):
        item = getattr(room, name)
        listed[name] = _parameters(item)
        if inspect.isclass(item):
            methods = {key: value for key, value in vars(item).items() if not key.startswith("_")}
            listed |= {f"{name}.{key}": _parameters(value) for key, value in sorted(methods.items())}
    return listed


def _parameters(item: object) -> str:
    """`(weight, *, power=0.0)` of anything that is called, the kind of anything else."""
    item = item.__func__ if isinstance(item, classmethod | staticmethod) else item
    if not callable(item) or isinstance(item, property):
        return type(item).__name__
    signature = inspect.signature(item)
    bare = [parameter.replace(annotation=inspect.Parameter.empty) for parameter in signature.parameters.values()]
    return re.sub(r" at 0x[0-9a-f]+", "", str(inspect.Signature(bare)))


def flags() -> dict[str, list[str]]:
    """Every flag of every command, as its help text shows them."""
    commands = re.search(r"\{([\w,]+)\}", _help())
    assert commands, "the help text names no commands"
    return {name: sorted(set(re.findall(r"--[\w.-]+", _help(name)))) for name in commands.group(1).split(",")}


def _help(*command: str) -> str:
    cli = importlib.import_module("hypersphere.cli")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        cli.main([*command, "--help"])
    return printed.getvalue()


if __name__ == "__main__":
    for path, record in ((API, api()), (FLAGS, flags())):
        path.write_text(json.dumps(record, indent=2) + "\n")
        print(f"recorded {path.name}; a line in CHANGELOG.md says what changed for users")
