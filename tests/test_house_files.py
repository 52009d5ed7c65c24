# SPDX-License-Identifier: MIT
"""The habits of every file: a sentence of purpose, a length one can read, a test of its own, no path of one machine."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from pathlib import Path

from house import ROOT, SOURCE, modules, tracked_files, tree

LONGEST = 500
TEXT = {".py", ".md", ".toml", ".yaml", ".yml", ".txt", ".html", ".js", ".css", ".cff", ".bib", ".json", ""}
CODE = [path for path in tracked_files() if path.suffix == ".py" and path.stat().st_size]

# modules whose behaviour is pinned by the tests of the module that calls them
TESTED_WITH: dict[str, str] = {
    "hypersphere.formulas.directions": "functional/test_geometry.py",
    "hypersphere.models.tracing": "models/test_export.py",
    "hypersphere.regularizers.compiled": "regularizers/test_compressive.py",
}


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_a_module_opens_with_its_licence_and_one_sentence() -> None:
    silent = []
    for path in CODE:
        sentence = (ast.get_docstring(tree(path)) or "").split("\n\n")[0]
        licensed = path.read_text().startswith("# SPDX-License-Identifier: MIT\n")
        if not licensed or not re.search(r"\w.*[.:?]$", sentence, re.DOTALL):
            silent.append(name(path))
    assert not silent, f"open with the SPDX line and a docstring sentence that says what the file is for: {silent}"


def test_a_file_can_be_read_in_one_sitting() -> None:
    long = {name(path): lines for path in CODE if (lines := len(path.read_text().splitlines())) > LONGEST}
    assert not long, f"divide by subject what has more than {LONGEST} lines: {long}"


def test_there_is_no_drawer() -> None:
    drawers = [name(path) for path in CODE if path.stem in ("utils", "util", "misc", "helpers")]
    assert not drawers, f"name these after what is in them: {drawers}"


def test_nothing_is_left_over() -> None:
    marks = re.compile(r"\b(?:TO" r"DO|FIX" r"ME|X" r"XX)\b|NotImplemented" r"Error")
    left = [f"{name(path)}: {found}" for path in CODE for found in marks.findall(path.read_text())]
    assert left == []


def test_no_path_of_one_machine() -> None:
    pattern = re.compile(r"(?<![\w.:/~-])/(?:work|home|root|opt|farm|Users|tmp|mnt)/[\w.]|[A-Z]:\\Users")
    found = [
        f"{name(path)}: {line.strip()[:100]}"
        for path in tracked_files()
        if path.suffix in TEXT and path != Path(__file__)
        for line in path.read_text(errors="replace").splitlines()
        if pattern.search(line)
    ]
    assert found == []


def test_a_module_has_a_test_of_the_same_stem() -> None:
    missing = {}
    for module, path in modules().items():
        inside = path.relative_to(SOURCE)
        expected = TESTED_WITH.get(module, inside.with_name(f"test_{inside.name}").as_posix())
        if path.stem not in ("__init__", "__main__") and not (ROOT / "tests" / expected).is_file():
            missing[module] = f"tests/{expected}"
    assert not missing, f"write the tests of these modules: {missing}"


def test_a_test_mirrors_a_module() -> None:
    stray = []
    for path in sorted((ROOT / "tests").glob("*/test_*.py")):
        room, stem = path.parent.name, path.stem.removeprefix("test_")
        members = {member.stem for member in (SOURCE / room).glob("*.py")}
        # test_energy_gradients.py holds more tests of energy.py
        if not any(stem == member or stem.startswith(f"{member}_") for member in members):
            stray.append(name(path))
    assert not stray, f"name these after the module that they test: {stray}"


def test_every_public_name_exists_and_is_documented() -> None:
    wrong = []
    for module, path in modules().items():
        imported = importlib.import_module(module)
        public = getattr(imported, "__all__", None)
        if public is None:
            # a package may be only a door plate: its docstring
            if len(tree(path).body) > 1 and path.stem != "__main__":
                wrong.append(f"{module} has no __all__")
            continue
        wrong += [f"{module}.{item} is listed twice" for item in set(public) if public.count(item) > 1]
        wrong += [f"{module}.{item} does not exist" for item in public if not hasattr(imported, item)]
        items = {item: getattr(imported, item, None) for item in public}
        wrong += [
            f"{module}.{item} has no docstring"
            for item, value in items.items()
            if (inspect.isclass(value) or inspect.isroutine(value)) and not (value.__doc__ or "").strip()
        ]
    assert wrong == []
