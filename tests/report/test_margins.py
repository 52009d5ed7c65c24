# SPDX-License-Identifier: MIT
"""The chapter on the margin: what it shows of heads with and without one, and of several runs."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from figures import leaves, names, sentences, titles
from hypersphere.report.comparison import comparison_page
from hypersphere.report.facts import identity, in_force
from hypersphere.report.margins import margin_sections, meets_margins, read_margin
from hypersphere.report.page import Block, Figure, Table
from hypersphere.report.run import Run, read_run
from hypersphere.report.story import read_story, report_page
from loss_folders import add_margins


def line(step: int, *, accuracy: float = 0.5, **margin: float | None) -> dict[str, object]:
    return {"kind": "train", "step": step, "accuracy": accuracy, "margin": margin}


def run_of(*rows: dict[str, object], **config: object) -> Run:
    return Run(Path("run"), config=config, train=list(rows))


def blocks(*runs: tuple[str, Run, str]) -> list[Block]:
    (section,) = margin_sections(runs)
    assert section.name == "margin"
    return leaves(list(section.blocks))


def figure(found: list[Block], title: str) -> Figure:
    (one,) = [block for block in found if isinstance(block, Figure) and block.title == title]
    return one


def test_angles_in_degrees_and_met_margins() -> None:
    first = line(10, accuracy=0.25, angle=math.pi / 2, nearest_angle=math.pi / 3, satisfied=0.1)
    last = line(20, accuracy=0.75, angle=math.pi / 6, nearest_angle=math.pi / 3, satisfied=0.5)
    run = run_of(first, last)
    found = blocks(("", run, "#000000"))
    assert titles(found) == ["Angles to class vectors", "Margins that are met"]
    angles = figure(found, "Angles to class vectors")
    assert names(angles.spec) == ["own class", "nearest other class"]
    own, other = angles.spec["data"]
    assert own["x"].tolist() == [10, 20]
    assert own["y"] == pytest.approx([90, 30])
    assert other["y"] == pytest.approx([60, 60])
    assert angles.caption == (
        "Mean over the images of training batches. That to the own class went from 90.0° to 30.0°, that to the nearest "
        "other class from 60.0° to 60.0°: the own class is 30.0° nearer at last."
    )
    met = figure(found, "Margins that are met")
    assert [trace["y"].tolist() for trace in met.spec["data"]] == [[0.1, 0.5], [0.25, 0.75]]
    assert (
        met.caption
        == "Images of training batches whose own class wins. At last 50.0% with the margin, 75.0% without it."
    )
    assert read_margin(run) == [
        "On its last training batches features were 30.0° from the vector of their class on average and 60.0° from the "
        "nearest other one; 50.0% of the images met the margin."
    ]


def test_without_a_margin_the_angles_stay() -> None:
    # the same share, added up in another order
    rows = [line(step, accuracy=0.5, angle=1.0, nearest_angle=0.5, satisfied=0.5 + 1e-8) for step in (1, 2)]
    run = run_of(*rows)
    assert not meets_margins(run)
    (section,) = margin_sections([("", run, "#000000")])
    assert section.title == "Angles while training"
    assert "margin" not in section.lead
    found = leaves(list(section.blocks))
    assert titles(found) == ["Angles to class vectors"]
    assert figure(found, "Angles to class vectors").caption.endswith("the own class is 28.6° farther at last.")
    assert "met the margin" not in read_margin(run)[0]


def test_one_class_has_no_nearest_other() -> None:
    run = run_of(line(1, angle=1.0, nearest_angle=None, satisfied=0.5))
    angles = figure(blocks(("", run, "#000000")), "Angles to class vectors")
    assert names(angles.spec) == ["own class"]
    assert angles.caption.endswith("That to the own class went from 57.3° to 57.3°.")
    assert read_margin(run) == [
        "On its last training batches features were 57.3° from the vector of their class on average."
    ]


def test_what_schedules_and_training_move() -> None:
    moved = {
        "annealing": (1000.0, 4.0),
        "margin_schedule": (1.0, 4.0),
        "scale": (30.0, 30.0),
        "bias": (0.0, -10.0),
        "running_cosine": (0.0, 0.5),
        "class_energy": (0.3, -0.2),
    }
    rows = [
        line(step, angle=1.0, nearest_angle=1.0, satisfied=0.1, **{name: ends[place] for name, ends in moved.items()})
        for place, step in enumerate((1, 100))
    ]
    run = run_of(*rows, head={"energy": {"weight": 0.1}}, margin_schedule={"argument": "multiplier"})
    found = blocks(("", run, "#000000"))
    assert titles(found)[2:] == [
        "Lambda of the annealing", "The margin's multiplier", "Learned scale", "Learned bias", "Remembered cosine",
        "Energy of the class vectors",
    ]  # fmt: skip
    annealing = figure(found, "Lambda of the annealing")
    assert annealing.spec["layout"]["yaxis"]["type"] == "log"
    assert annealing.caption.endswith("From 1000 to 4. At last the margin has 20.00% of its weight.")
    assert figure(found, "The margin's multiplier").caption == "Moved by a schedule. From 1 to 4."
    assert "It stayed at 30." in figure(found, "Learned scale").caption
    assert figure(found, "Learned bias").caption.endswith("From 0 to −10.")
    assert figure(found, "Energy of the class vectors").caption.endswith("From 0.3 to −0.2. Its weight is 0.1.")
    assert "with the weight that lambda leaves it at each step" in figure(found, "Margins that are met").caption


def test_what_is_set_is_not_smoothed(folder: Path) -> None:
    add_margins(folder, annealing=(1000.0, 5.0), running_mean=(20.0, 30.0))
    found = blocks(("", read_run(folder), "#000000"))
    assert len(figure(found, "Lambda of the annealing").spec["data"]) == 1
    assert figure(found, "Lambda of the annealing").spec["data"][0]["y"][-1] == pytest.approx(5)
    assert len(figure(found, "Remembered length").spec["data"]) == 2


def test_runs_side_by_side() -> None:
    bent = run_of(line(5, angle=0.5, nearest_angle=1.0, satisfied=0.25, annealing=7.0, margin_schedule=3.0),
                  margin_schedule={"argument": "multiplier"})  # fmt: skip
    plain = run_of(line(5, angle=1.0, nearest_angle=0.5, satisfied=0.5))
    old = run_of({"kind": "train", "step": 5, "accuracy": 0.5})
    found = blocks(("bent", bent, "#111111"), ("plain", plain, "#222222"), ("old", old, "#333333"))
    table = found[0]
    assert isinstance(table, Table)
    assert table.head == ("", "`bent`", "`plain`")
    assert [list(row) for row in table.rows] == [
        ["angle to the own class", "28.6°", "57.3°"],
        ["angle to the nearest other class", "57.3°", "28.6°"],
        ["own class nearer by", "28.6°", "−28.6°"],
        ["margins that are met", "25.0%", "–"],
        ["accuracy", "50.0%", "50.0%"],
        ["lambda of the annealing", "7", "–"],
        ["the margin's multiplier", "3", "–"],
    ]
    assert names(figure(found, "Angle to the own class").spec) == ["bent", "plain"]
    met = figure(found, "Margins that are met")
    assert names(met.spec) == ["bent"]
    assert met.spec["layout"]["showlegend"]
    assert sentences(found) == ["Angles were not recorded in `old`."]


def test_schedules_of_two_arguments_share_no_name() -> None:
    runs = [
        run_of(line(1, angle=1.0, margin_schedule=1.0, satisfied=0.0), margin_schedule={"argument": name})
        for name in ("multiplier", "angle")
    ]
    found = blocks(("a", runs[0], "#111111"), ("b", runs[1], "#222222"))
    assert "A number of the margin" in titles(found)


def test_older_runs_look_as_before(run: Run) -> None:
    assert margin_sections([("", run, "#000000")]) == []
    assert read_margin(run) == []
    assert margin_sections([("a", run, "#000000"), ("b", run, "#111111")]) == []


@pytest.mark.parametrize("margin", [{"angle": "wide"}, {"angle": True}, [], None, {}, {"angle": math.nan}])
def test_strange_lines_are_left_out(margin: object) -> None:
    strange = run_of({"kind": "train", "step": 1, "accuracy": 0.5, "margin": margin})
    assert margin_sections([("", strange, "#000000")]) == []
    assert not meets_margins(strange)


def test_pages_have_the_chapter(folder: Path) -> None:
    assert "The margin" not in report_page(read_story(folder)).render()
    add_margins(folder, annealing=(1000.0, 5.0))
    story = read_story(folder)
    page = report_page(story)
    assert [section.name for section in page.sections][:3] == ["learning", "margin", "sphere"]
    assert "Lambda of the annealing" in page.render()
    both = comparison_page([story, story])
    assert "margin" in [section.name for section in both.sections]
    assert np.isfinite([len(both.render())]).all()


def test_the_head_in_words() -> None:
    head = {"margin": "sphereface", "arguments": {"multiplier": 4}, "scale": "feature", "gradient": "exact"}
    head |= {"label_smoothing": 0.0, "energy": {"weight": 0.1}, "sample_rate": 1.0}
    annealing = {"base": 1000, "gamma": 0.12, "power": 1.0, "minimum": 5.0}
    schedule = {"argument": "multiplier", "first": 1.0, "last": 4.0, "steps": 300, "begin": 20}
    facts = dict(identity(run_of(head=head, annealing=annealing, margin_schedule=schedule)))
    assert facts["head"] == 'sphereface (multiplier 4, scale feature, energy of class vectors {"weight": 0.1})'
    assert facts["annealing"] == "lambda from 1000 (gamma 0.12, power 1, minimum 5)"
    assert facts["margin schedule"] == "multiplier from 1 to 4 in 300 steps after 20 steps"
    off = {"annealing": annealing | {"base": 0.0}, "margin_schedule": schedule | {"argument": ""}}
    off |= {"scale_schedule": {"first": 0.0, "last": 0.0, "steps": 1, "begin": 0}}
    facts = dict(identity(run_of(head=head, **off)))
    assert not {"annealing", "margin schedule", "scale schedule"} & set(facts)
    assert in_force(off) == {"annealing.base": 0.0, "margin_schedule.argument": "", "scale_schedule.first": 0.0}
    scale = {"scale_schedule": {"first": 10.0, "last": 64.0, "steps": 100, "begin": 0}}
    assert dict(identity(run_of(**scale)))["scale schedule"] == "from 10 to 64 in 100 steps"
