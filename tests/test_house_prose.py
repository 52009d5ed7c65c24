# SPDX-License-Identifier: MIT
"""What the pages say is true as far as a machine can tell: code runs, names exist, links lead somewhere."""

from __future__ import annotations

import contextlib
import doctest
import importlib
import io
import pkgutil
import re
import runpy
from pathlib import Path

import pytest
import torch

import surface
from house import ROOT, modules

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
# these train many networks, one after the other
LONG_EXAMPLES = ("04_compare_regularizers", "08_read_digits_row_by_row")


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of one language."""
    return re.findall(rf"^(?:```|:::){language}\n(.*?)^(?:```|:::)$", page.read_text(), re.DOTALL | re.MULTILINE)


def quoted(page: Path) -> list[str]:
    """Everything between single backticks outside fenced blocks."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    return re.findall(r"`([^`\n]+)`", text)


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=name)
def test_python_blocks_run(page: Path) -> None:
    torch.manual_seed(0)
    shared: dict[str, object] = {}
    with contextlib.redirect_stdout(io.StringIO()):
        for block in blocks(page, "python"):
            exec(compile(block, name(page), "exec"), shared)
    assert shared


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "pycon")], ids=name)
def test_console_blocks_print_what_they_say(page: Path) -> None:
    examples = doctest.DocTestParser().get_doctest("\n".join(blocks(page, "pycon")), {}, name(page), name(page), 0)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    assert examples.examples
    assert runner.run(examples).failed == 0


def test_the_readme_needs_ten_lines() -> None:
    (block,) = blocks(ROOT / "README.md", "python")
    assert len([line for line in block.splitlines() if line.strip()]) <= 12


@pytest.mark.parametrize(
    "example",
    [pytest.param(path, marks=pytest.mark.slow if path.stem in LONG_EXAMPLES else ()) for path in EXAMPLES],
    ids=name,
)
def test_examples_run(example: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(example.read_text().splitlines()) < 60
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", [example.name])
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        runpy.run_path(str(example), run_name="__main__")
    assert printed.getvalue().strip(), "an example says what it found"


def test_relative_links_lead_somewhere() -> None:
    broken = [
        f"{name(page)}: {target}"
        for page in PAGES
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text())
        if not target.startswith(("http://", "https://")) and not (page.parent / target).exists()
    ]
    assert broken == []


def test_quoted_files_exist() -> None:
    roots = [ROOT, ROOT / "src" / "hypersphere", ROOT / "docs"]
    made_by_a_run = {"config.yaml", "environment.json", "metrics.jsonl", "model.json", "state/", "evaluation/"}
    of_a_data_set = {"pairs.txt"}
    pattern = re.compile(r"[\w.-]+(?:/[\w.*-]+)*(?:\.(?:py|md|toml|txt|yaml|bib|json)|/)")
    missing = [
        f"{name(page)}: {path}"
        for page in PAGES
        for path in quoted(page)
        if pattern.fullmatch(path)
        and not path.startswith("evaluation/")
        and path not in made_by_a_run | of_a_data_set
        and not any(list(root.glob(path)) for root in roots)
    ]
    assert missing == []


def test_quoted_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    asked = {target for page in PAGES for target in re.findall(r"\bmake ([a-z-]+)(?=[`\s].*#|`)", page.read_text())}
    assert asked
    assert asked <= targets


def test_quoted_commands_and_flags_exist() -> None:
    flags = surface.flags()
    wrong = []
    for page in PAGES:
        for line in [*quoted(page), *"\n".join(blocks(page, "sh")).splitlines()]:
            match = re.match(r"(?:\.venv/bin/)?hypersphere ([a-z]+)(.*)", line)
            if match and match[1] in flags:
                used = re.findall(r"--[a-z][\w.-]*", match[2])
                wrong += [f"{name(page)}: {line}" for flag in used if flag not in flags[match[1]]]
            elif match:
                wrong.append(f"{name(page)}: {line}")
    assert wrong == []


def test_quoted_names_exist() -> None:
    wrong = []
    for page in PAGES:
        text = page.read_text()
        for dotted in set(re.findall(r"\b(?:hs|hypersphere)((?:\.[A-Za-z_]\w*)+)", text)):
            try:
                # imports what it meets, so that the answer does not hang on what other tests have imported
                pkgutil.resolve_name(f"hypersphere{dotted}")
            except (ImportError, AttributeError):
                wrong.append(f"{name(page)}: hypersphere{dotted}")
    assert wrong == []


def test_sources_are_in_the_bibliography() -> None:
    keys = set(re.findall(r"^@\w+\{(\w+),", (ROOT / "docs" / "references.bib").read_text(), re.MULTILINE))
    cited = {
        f"{module}: {key}"
        for module, path in modules().items()
        for key in re.findall(r"\b[a-z]+(?:19|20)\d\d[a-z]+\d?\b", path.read_text())
        if key not in keys
    }
    assert not cited, f"add these to docs/references.bib: {cited}"


def test_every_public_name_is_on_the_api_page() -> None:
    # the settings of a run have a page of their own
    pages = [(ROOT / "docs" / page).read_text() for page in ("api.md", "settings.md")]
    listed = set(re.findall(r"automodule:: (\S+)", "\n".join(pages)))
    missing = set()
    for room in (module for module, path in modules().items() if path.stem == "__init__"):
        imported = importlib.import_module(room)
        for item in getattr(imported, "__all__", []):
            home = getattr(getattr(imported, item), "__module__", None)
            if home is not None and home.startswith("hypersphere.") and home not in listed:
                missing.add(home)
    assert not missing, f"add to docs/api.md: {sorted(missing)}"
    assert listed <= set(modules()), f"gone: {sorted(listed - set(modules()))}"
