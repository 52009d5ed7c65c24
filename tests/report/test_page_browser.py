# SPDX-License-Identifier: MIT
"""Pages opened in a real browser: every figure is drawn, every menu works, no script fails, nothing is fetched."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import torch

from hypersphere import thomson
from hypersphere.report import subject, write_comparison, write_diagnosis, write_points, write_report
from loss_folders import add_identification, add_margins, add_verification
from run_folders import write_run

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(BROWSER is None, reason="no Chromium on the PATH (Debian: apt-get install chromium)"),
]

FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--enable-unsafe-swiftshader", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--window-size=1280,2000",
    "--enable-logging=stderr", "--virtual-time-budget=30000", "--dump-dom",
]  # fmt: skip

# what a reader may do: choose each entry of each menu, print
VISITOR = """
<script>
(async () => {
  const page = document.documentElement, wait = (ms) => new Promise((done) => setTimeout(done, ms));
  while (!page.dataset.drawn) await wait(50);
  for (const menu of document.querySelectorAll("select")) {
    for (let entry = 0; entry < menu.options.length; entry += 1) {
      menu.selectedIndex = entry;
      menu.dispatchEvent(new Event("change"));
      await wait(50);
    }
    menu.selectedIndex = 0;
    menu.dispatchEvent(new Event("change"));
  }
  window.dispatchEvent(new Event("beforeprint"));
  await wait(50);
  window.dispatchEvent(new Event("afterprint"));
  await wait(50);
  page.dataset.visited = document.querySelectorAll(".plot .main-svg").length > 0;
})();
</script>
"""


def visit(path: Path, tmp_path: Path) -> tuple[str, str]:
    """The page's document after a visit, and what the browser logged."""
    visited = tmp_path / "visited.html"
    visited.write_text(path.read_text(encoding="utf-8").replace("</body>", VISITOR + "</body>"), encoding="utf-8")
    command = [str(BROWSER), *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", visited.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout, done.stderr


def check(document: str, log: str) -> None:
    opening = re.search(r"<html[^>]*>", document)
    assert opening is not None
    assert "data-errors" not in opening[0], opening[0]
    assert 'data-visited="true"' in opening[0], opening[0]
    assert not re.search(r"Uncaught|Content Security Policy|Refused to|WARN: |ERROR:CONSOLE", log), log[-3000:]
    plots = re.findall(r"<div[^>]* data-figure=[^>]*>", document)
    assert plots
    # those that a menu hid were drawn when it chose them
    assert [plot for plot in plots if 'data-drawn="yes"' not in plot] == []
    assert not any("failed" in plot for plot in plots)
    assert "WebGL is not supported" not in re.sub(r"<script.*?</script>", "", document, flags=re.DOTALL)


@pytest.mark.parametrize("dim", [2, pytest.param(16, marks=pytest.mark.slow)])
def test_a_run(tmp_path: Path, dim: int) -> None:
    names = ["<b>bold</b>", "</script>", "`", "ünï"] + [f"class {number}" for number in range(dim)]
    run = write_run(tmp_path / "run", classes=names, dim=dim, num_samples=100, spread=2.0, steps=30)
    check(*visit(write_report(run), tmp_path))


def test_a_comparison(tmp_path: Path) -> None:
    added = [("uniformity", "orthogonality"), ()]
    runs = [
        write_run(tmp_path / f"run <{seed}>", num_samples=50, steps=20, seed=seed, others=others)
        for seed, others in enumerate(added)
    ]
    check(*visit(write_comparison(runs, tmp_path / "page.html"), tmp_path))


def test_margins_verification_and_identification(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / name, num_samples=50, steps=20) for name in ("<b>", "plain")]
    add_margins(runs[0], annealing=(1000.0, 5.0), class_energy=(0.3, -0.2))
    add_identification(add_verification(runs[0], name="<i>.txt"), open_set=True)
    add_verification(add_margins(runs[1], satisfied=None))
    check(*visit(write_report(runs[0]), tmp_path))
    check(*visit(write_comparison(runs, tmp_path / "page.html"), tmp_path))


@pytest.mark.parametrize(
    ("dim", "half_space"), [(2, False), (3, False), pytest.param(3, True, marks=pytest.mark.slow), (4, False)]
)
def test_points(tmp_path: Path, dim: int, half_space: bool) -> None:
    written = write_points(thomson(8, dim, half_space=half_space, starts=1), tmp_path / "points")
    assert written.picture is not None
    check(*visit(written.picture, tmp_path))


def test_a_diagnosis(tmp_path: Path) -> None:
    torch.manual_seed(0)
    models = [torch.nn.Sequential(torch.nn.Conv2d(3, 16, 3), torch.nn.Flatten(), torch.nn.Linear(16, 12)) for _ in "ab"]
    models[0][0].weight.data[3] = models[0][0].weight.data[4]
    named = [subject(name, model) for name, model in zip(("plain", "<b>"), models, strict=True)]
    check(*visit(write_diagnosis(named[:1], tmp_path / "one.html"), tmp_path))
    check(*visit(write_diagnosis(named, tmp_path / "two.html"), tmp_path))
