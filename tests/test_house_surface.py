# SPDX-License-Identifier: MIT
"""No public name, parameter or flag appears or vanishes unnoticed, and the door opens with the core alone."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib

import hypersphere
import surface
from house import ROOT

RECORD = "If that is meant, run `.venv/bin/python tests/surface.py` and say it in CHANGELOG.md."
EXTRAS = ["accelerate", "datasets", "jsonargparse", "PIL", "yaml", "rich", "sklearn", "tensorboard"]
EXTRAS += ["jinja2", "matplotlib", "plotly", "pandas", "pyarrow", "scipy"]


def differences(recorded: dict, found: dict) -> list[str]:
    old = {(room, name): text for room, names in recorded.items() for name, text in names.items()}
    new = {(room, name): text for room, names in found.items() for name, text in names.items()}
    return [
        f"{room}: {name}{old.get((room, name), ' (not there)')} is now {new.get((room, name), 'gone')}"
        for room, name in sorted(old.keys() | new.keys())
        if old.get((room, name)) != new.get((room, name))
    ]


def test_public_names_are_as_recorded() -> None:
    changed = differences(json.loads(surface.API.read_text()), surface.api())
    assert not changed, "\n".join(["the public surface changed:", *changed, RECORD])


def test_flags_are_as_recorded() -> None:
    recorded, found = ({command: dict.fromkeys(names, "") for command, names in flags.items()} for flags in (
        json.loads(surface.FLAGS.read_text()), surface.flags()))  # fmt: skip
    changed = differences(recorded, found)
    assert not changed, "\n".join(["the flags of the command line changed:", *changed, RECORD])


def test_the_door_opens_with_the_core_alone() -> None:
    script = f"""
import sys, torch, numpy, safetensors.torch, jaxtyping
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {EXTRAS!r}:
            raise ImportError(f"{{name}} is not installed")
sys.meta_path.insert(0, Missing())
for name in {EXTRAS!r}:
    sys.modules.pop(name, None)
before = set(sys.modules)
import hypersphere as hs
energy = hs.functional.hyperspherical_energy(torch.eye(3), power=2.0)
assert float(energy) == 0.5, energy
layer = torch.nn.Linear(4, 3)
hs.regularizers.HypersphericalEnergy()(torch.nn.Sequential(layer)).backward()
assert layer.weight.grad is not None
print(*sorted({{name.split(".")[0] for name in set(sys.modules) - before}}))
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    # nothing heavy comes along: what torch itself loads late, and this package
    foreign = set(run.stdout.split()) - {"hypersphere", "torch"} - sys.stdlib_module_names
    assert not {name for name in foreign if not name.startswith("_")}, f"import hypersphere also imports {foreign}"


def test_the_version_is_written_once() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+(\.dev\d+)?", hypersphere.__version__)
    assert "version" in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dynamic"]
    assert f"version: {hypersphere.__version__}\n" in (ROOT / "CITATION.cff").read_text()
