# SPDX-License-Identifier: MIT
"""The rooms of the house and their order: a room imports only from rooms below it, nothing imports in a circle."""

from __future__ import annotations

import graphlib
import re
import sys
import tomllib

from house import ROOT, imports, modules, room_of

# top storey first; a room may import from every storey below its own, never from its own storey's other rooms
STOREYS: list[set[str]] = [
    {""},  # hypersphere/__init__.py, the door
    {"cli", "__main__"},
    {"training"},
    {"report"},
    {"models"},
    {"analysis"},
    {"evaluation"},
    {"data"},
    {"regularizers"},
    {"nn"},
    {"functional"},
    {"kernels"},
    {"formulas"},
    {"config", "checks", "catalogue", "files"},
]
STOREY = {room: number for number, rooms in enumerate(STOREYS) for room in rooms}
# one room of a few files
GROUND = len(STOREYS) - 1

CORE = {"torch", "numpy", "safetensors", "jaxtyping"}
# rooms that the top package does not import; what they need beyond the core comes with an extra
ROOMS_WITH_EXTRAS = {"cli", "training", "report", "data"}
DISTRIBUTIONS = {
    "PIL": "pillow",
    "yaml": "pyyaml",
    "sklearn": "scikit-learn",
    "pyarrow": "datasets",
    "huggingface_hub": "datasets",
    "faiss": "faiss-cpu",
}


def test_every_module_has_a_room() -> None:
    homeless = [module for module in modules() if room_of(module) not in STOREY]
    assert not homeless, (
        f"{homeless} lie in no room: move them into one of {sorted(STOREY)}, or give the new room its storey in "
        "tests/test_house_imports.py and in CONTRIBUTING.md."
    )


def test_imports_lead_downwards() -> None:
    upward = [
        f"{module}, line {found.line}: {room_of(module)} may not import {found.target}"
        for module, path in modules().items()
        for found in imports(path)
        if found.target.split(".")[0] == "hypersphere"
        # the version is written at the door, and reading it loads nothing more
        and found.target != "hypersphere"
        and not may_import(room_of(module), room_of(found.target))
    ]
    assert not upward, "\n".join(upward)


def may_import(room: str, other: str) -> bool:
    return room == other or STOREY[room] < STOREY[other] or STOREY[room] == STOREY[other] == GROUND


def test_no_import_runs_in_a_circle() -> None:
    known = modules()
    graph = {
        module: {found.target for found in imports(path) if found.at_import and found.target in known} - {module}
        for module, path in known.items()
    }
    # importing a.b runs a/__init__.py first; a package that imports its own members is no circle
    graph = {
        module: {target for target in targets if not module.startswith(f"{target}.")}
        for module, targets in graph.items()
    }
    graphlib.TopologicalSorter(graph).prepare()


def test_core_rooms_need_the_core_only() -> None:
    foreign = [
        f"{module}, line {found.line}: {found.target}"
        for module, path in modules().items()
        for found in imports(path)
        if found.at_import
        and room_of(module) not in ROOMS_WITH_EXTRAS
        and found.target.split(".")[0] not in CORE | {"hypersphere"} | sys.stdlib_module_names
    ]
    assert not foreign, "these rooms work with the core dependencies alone; import inside the function:\n" + "\n".join(
        foreign
    )


def test_every_import_is_a_declared_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    groups = (extras[extra] for extra in ("train", "report", "robustness", "export", "search"))
    required = [*project["dependencies"], *(line for group in groups for line in group)]
    declared = {re.split(r"[^\w-]", line)[0].lower() for line in required}
    used = {found.target.split(".")[0] for path in modules().values() for found in imports(path)}
    used -= {"hypersphere"} | sys.stdlib_module_names
    assert {DISTRIBUTIONS.get(name, name) for name in used} <= declared


def test_constraints_pin_every_direct_dependency() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    comment, pins = lines[0], lines[1:]
    assert comment.startswith("# ")
    assert pins == sorted(pins, key=str.lower)
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", pin) for pin in pins), "a pin is name==version, without a local tag"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    direct = {
        re.split(r"[^\w-]", line)[0].lower().replace("_", "-")
        for group in (project["dependencies"], *project["optional-dependencies"].values())
        for line in group
    }
    assert direct <= {pin.split("==")[0].lower().replace("_", "-") for pin in pins}
