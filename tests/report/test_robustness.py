# SPDX-License-Identifier: MIT
"""The chapter on attacks: what it shows of one run and of several, and what it says where files are damaged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hypersphere.evaluation.robustness import measure_robustness, write_robustness
from hypersphere.report.comparison import comparison_page
from hypersphere.report.facts import identity, in_force
from hypersphere.report.page import Figure, Grid, Missing, Table
from hypersphere.report.robustness import (
    Attacked,
    attack_sections,
    budget_figure,
    read_attacked,
    read_robustness,
    robustness_blocks,
    runs_blocks,
)
from hypersphere.report.run import Run
from hypersphere.report.story import read_story, report_page
from run_folders import write_run


def attack(
    folder: Path, *, minimum: bool = True, source: bool = True, slope: float = 1.0, epsilon: float = 8 / 255
) -> Path:
    """Attack a classifier of two pixels and leave the result in a run folder."""

    def model(images: Tensor) -> Tensor:
        return (images.flatten(1) - 0.5) @ torch.tensor([[-1.0, 1.0], [-slope, slope]])

    images = 0.4 + 0.2 * torch.rand(80, 1, 1, 2, generator=torch.Generator().manual_seed(0))
    labels = model(images).argmax(1)
    labels[:8] = 1 - labels[:8]
    found = measure_robustness(
        model, [(images, labels)], source=model if source else None, minimum=minimum, epsilon=epsilon
    )
    write_robustness(folder, found, split="test", source_name="another" if source else None)
    return folder


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Attacked:
    read, notes = read_attacked(attack(tmp_path_factory.mktemp("attacked")))
    assert notes == []
    assert read is not None
    return read


def test_the_table_holds_every_attack(found: Attacked) -> None:
    table = robustness_blocks(found)[0]
    assert isinstance(table, Table)
    assert table.head == ("attack", "what it does", "right", "made on the source")
    assert table.rows[0] == ["no attack", "", "90.0%", ""]
    assert [row[0] for row in table.rows[1:4]] == ["fgsm", "fgsm_margin", "bim"]
    assert table.rows[1][1] == "L-inf 8/255, one step, cross-entropy"
    # the source is the model itself
    assert table.rows[1][2] == table.rows[1][3] == f"{found.accuracy('fgsm'):.1%}"
    assert table.rows[2][3] == ""
    assert [row[:2] for row in table.rows[-2:]] == [
        ["together", "all bounded L-inf attacks"],
        ["together", "all bounded L2 attacks"],
    ]
    assert "80 images of test. The source is `another`, right for 90.0% when left alone" in table.caption


def test_without_source_and_smallest_changes(tmp_path: Path) -> None:
    read, _ = read_attacked(attack(tmp_path, minimum=False, source=False))
    assert read is not None
    table, missing, checks = robustness_blocks(read)
    assert isinstance(table, Table)
    assert isinstance(missing, Missing)
    assert isinstance(checks, Table)
    assert all(len(row) == 3 for row in table.rows)
    assert missing.text == "The smallest change that fools each image was not measured."


def test_the_curve_falls_from_the_accuracy_and_counts_images(found: Attacked) -> None:
    drawn = budget_figure("linf", [("", found, "#000000")])
    curve, points = drawn["data"]
    sizes = 255 * found.smallest["linf"]
    assert curve["x"][0] == 0
    assert curve["y"][0] == pytest.approx(0.9)
    for place in (5, 20, 40):
        assert curve["y"][place] == pytest.approx((sizes > curve["x"][place]).mean())
    assert (np.diff(curve["y"]) < 0).all()
    assert set(points["x"]) == {8.0}
    assert "unbounded" not in points["text"]
    # an attack cannot fool more images than the smallest changes say
    below = curve["y"][np.searchsorted(curve["x"], 8.0, side="right") - 1]
    assert min(points["y"]) >= below - 1e-9


def test_images_that_nothing_fools_stay_on_the_curve() -> None:
    sizes = np.array([0.0, 0.1, np.inf, np.inf])
    one = Attacked({"attacks": []}, {"l2": sizes})
    (curve,) = budget_figure("l2", [("", one, "#000000")])["data"]
    assert curve["x"].tolist() == [0.0, 0.1]
    assert curve["y"].tolist() == [0.75, 0.5]
    grid = robustness_blocks(one)[1]
    assert isinstance(grid, Grid)
    figure = grid.blocks[0]
    assert isinstance(figure, Figure)
    assert "Median of the images that are right by themselves unknown; for 2 none was found." in figure.caption


def test_many_images_make_a_short_curve() -> None:
    one = Attacked({}, {"l2": np.linspace(0, 1, 5000)})
    (curve,) = budget_figure("l2", [("", one, "#000000")])["data"]
    assert len(curve["x"]) == 400
    assert curve["x"][-1] == 1.0


def test_the_reading_says_what_is_left_and_whether_to_believe_it(found: Attacked) -> None:
    bim = found.accuracy("bim")
    how = "L-inf 8/255, 10 steps of 2/255, cross-entropy"
    assert read_robustness(found) == [f"Of 90.0% right when left alone, {bim:.1%} stay right under BIM ({how})."]
    checks = [{"text": "Odd.", "suspicious": True}, {"text": "Fine.", "suspicious": False}]
    hidden = Attacked(found.summary | {"findings": checks})
    assert read_robustness(hidden)[1].startswith("1 of 2 checks show signs that it hides its gradient")
    assert read_robustness(None) == read_robustness(Attacked({})) == []


def test_several_runs_side_by_side(found: Attacked, tmp_path: Path) -> None:
    other, _ = read_attacked(attack(tmp_path / "other", slope=0.2))
    smaller, _ = read_attacked(attack(tmp_path / "smaller", epsilon=4 / 255))
    assert other is not None
    assert smaller is not None
    table, grid, checks = runs_blocks([("a", found, "#000000"), ("b", other, "#111111")])
    assert isinstance(table, Table)
    assert table.head == ("attack", "what it does", "`a`", "`b`")
    assert ["fgsm", "made on the source of the run"] in [row[:2] for row in table.rows]
    assert "do not compare" not in table.caption
    assert isinstance(grid, Grid)
    assert len(grid.blocks) == 2
    assert isinstance(checks, Table)
    assert checks.head == ("run", "check", "sign", "what was found")
    differing = runs_blocks([("a", found, "#000000"), ("c", smaller, "#222222")])[0]
    assert isinstance(differing, Table)
    assert "these numbers do not compare" in differing.caption


def test_a_run_that_was_not_attacked_is_named(found: Attacked) -> None:
    assert attack_sections([("", None, "#000000")]) == []
    (section,) = attack_sections([("a", found, "#000000"), ("b", None, "#111111")])
    last = section.blocks[-1]
    assert isinstance(last, Missing)
    assert last.text.startswith("Not attacked: `b`.")


@pytest.mark.parametrize(
    ("text", "note"),
    [("{", "robustness.json could not be read"), ("[]", "robustness.json holds no mapping of names to values.")],
)
def test_a_damaged_summary_is_told(tmp_path: Path, text: str, note: str) -> None:
    (tmp_path / "evaluation").mkdir()
    (tmp_path / "evaluation" / "robustness.json").write_text(text)
    read, notes = read_attacked(tmp_path)
    assert read is None
    assert notes[0].startswith(note)


def test_damaged_arrays_are_told(tmp_path: Path) -> None:
    attack(tmp_path)
    arrays = tmp_path / "evaluation" / "robustness.npz"
    arrays.write_bytes(arrays.read_bytes()[:100])
    read, notes = read_attacked(tmp_path)
    assert read is not None
    assert read.smallest == {}
    assert notes[0].startswith("robustness.npz could not be read")
    arrays.unlink()
    assert read_attacked(tmp_path)[1] == ["There is no robustness.npz: the changes that images need cannot be drawn."]


def test_strange_entries_are_left_out() -> None:
    rows: list[Any] = ["x", {"name": "fgsm"}, {"name": "bim", "robust_accuracy": 0.5}]
    strange = Attacked({"attacks": rows, "findings": "none"})
    assert [row["name"] for row in strange.rows] == ["bim"]
    assert len(robustness_blocks(strange)) == 2


def test_pages_of_runs_have_the_chapter(tmp_path: Path) -> None:
    first, second = (write_run(tmp_path / name, num_samples=60, steps=20) for name in ("first", "second"))
    before = report_page(read_story(first)).render()
    assert "Under attack" not in before
    attack(first)
    page = report_page(read_story(first)).render()
    assert "Under attack" in page
    assert "Is the gradient masked?" in page
    both = comparison_page([read_story(first), read_story(second)]).render()
    assert "Not attacked" in both


def test_training_on_attacked_images_is_said() -> None:
    pgd = {"attack": "pgd", "epsilon": 0.03, "step_size": 0.01, "steps": 7, "random_start": True, "norm": "linf"}
    facts = dict(identity(Run(Path("x"), config={"adversary": pgd})))
    told = "images under PGD, L-inf 0.03 of the range of pixels, 7 steps of 0.01, random start"
    assert facts["trained on"] == told
    assert "trained on" not in dict(identity(Run(Path("x"), config={"adversary": {"attack": "none"}})))
    shown = in_force({"adversary": pgd | {"attack": "fgsm"}})
    assert set(shown) == {f"adversary.{name}" for name in ("attack", "epsilon", "random_start", "norm")}
    assert set(in_force({"adversary": pgd | {"attack": "none"}})) == {"adversary.attack"}


def test_the_summary_is_plain_json(found: Attacked) -> None:
    assert json.loads(json.dumps(found.summary, allow_nan=False)) == found.summary
