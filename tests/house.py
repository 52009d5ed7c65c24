# SPDX-License-Identifier: MIT
"""What the whole-house tests read: the files of the repository, the modules of the package and their imports."""

from __future__ import annotations

import ast
import functools
import subprocess
from dataclasses import dataclass
from pathlib import Path

__all__ = ["ROOT", "SOURCE", "Import", "imports", "modules", "room_of", "tracked_files", "tree"]

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "hypersphere"


@dataclass(frozen=True)
class Import:
    """One import statement: the module it names, its line, and whether it runs when its own module is imported."""

    target: str
    line: int
    at_import: bool


@functools.cache
def tracked_files() -> list[Path]:
    """Every file that belongs to the repository: known to git, or new and not ignored."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    return sorted(path for path in map(ROOT.joinpath, listed) if path.is_file())


@functools.cache
def modules() -> dict[str, Path]:
    """Dotted name and path of every module of the package."""
    found = {}
    for path in sorted(SOURCE.rglob("*.py")):
        parts = ("hypersphere", *path.relative_to(SOURCE).with_suffix("").parts)
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@functools.cache
def tree(path: Path) -> ast.Module:
    """The parsed source of one file."""
    return ast.parse(path.read_text(), str(path))


def room_of(module: str) -> str:
    """First part of a module's name below the package: `hypersphere.nn.head` lies in `nn`, `hypersphere` in ``."""
    return module.removeprefix("hypersphere").lstrip(".").split(".")[0]


def imports(path: Path) -> list[Import]:
    """Every import of one file, those inside functions and under `TYPE_CHECKING` too."""
    found: list[Import] = []
    _collect(tree(path), True, found)
    return found


def _collect(node: ast.AST, at_import: bool, found: list[Import]) -> None:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            found += [Import(alias.name, child.lineno, at_import) for alias in child.names]
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, f"line {child.lineno}: write the full name instead of a relative import"
            base = child.module or ""
            known = modules()
            names = [f"{base}.{alias.name}" for alias in child.names]
            found += [Import(name if name in known else base, child.lineno, at_import) for name in names]
        else:
            function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            types_only = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
            _collect(child, at_import and not function and not types_only, found)
