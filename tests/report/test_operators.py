# SPDX-License-Identifier: MIT
"""The chapter on operators: what it shows and says of one run and of several."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from hypersphere.analysis.operators import measure_operators, write_operators
from hypersphere.nn import DecoupledConv2d, SphereConv2d
from hypersphere.report.comparison import comparison_page
from hypersphere.report.operator_facts import read_operators
from hypersphere.report.operators import operator_sections, read_operator_words
from hypersphere.report.page import Figure, Grid, Missing, Table
from hypersphere.report.run import Run
from hypersphere.report.story import read_story, report_page
from run_folders import write_run


def record(folder: Path, model: nn.Module) -> Path:
    """Measure a model on drawn images and leave the result in a folder."""
    images = torch.rand(8, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    write_operators(folder, measure_operators(model, [images]), num_samples=8, split="test", step=3)
    return folder


def sigmoids() -> nn.Sequential:
    """Two layers whose k has moved: up and together in one, down and apart in the other."""
    torch.manual_seed(0)
    first = SphereConv2d(1, 3, 3, angle="learned_sigmoid")
    second = SphereConv2d(3, 2, 3, angle="learned_sigmoid")
    assert first.raw_k is not None
    assert second.raw_k is not None
    first.raw_k.data = torch.tensor([0.75, 0.76, 0.77])
    second.raw_k.data = torch.tensor([0.25, 0.65])
    return nn.Sequential(first, second)


def test_learned_k(tmp_path: Path) -> None:
    found, _ = read_operators(record(tmp_path, sigmoids()))
    steps = [(0, 0.75, 0.75), (5, 0.8, 0.5)]
    lines = [
        {"kind": "evaluation", "step": step, "operators": {"0": {"k_mean": a}, "1": {"k_mean": b}}}
        for step, a, b in steps
    ]
    (section,) = operator_sections([("", found, Run(tmp_path, evaluations=lines), "#000000")])
    histogram, courses, cosines, norms, table = section.blocks
    assert isinstance(histogram, Figure)
    assert histogram.title == "Learned k of the angle, layer by layer"
    texts = [note["text"] for note in histogram.spec["layout"]["annotations"]]
    assert texts == ["0.81 ± 0.0082 (+0.06)", "0.5 ± 0.2 (−0.25)", "start 0.75"]
    assert "The mean fell in 1 of 2 layers; kernels went farthest in `1`: from 0.75 to 0.5 on average" in (
        histogram.caption
    )
    assert isinstance(courses, Grid)
    (course,) = courses.blocks
    assert isinstance(course, Figure)
    assert [list(trace["y"]) for trace in course.spec["data"]] == [[0.75, 0.8], [0.75, 0.5]]
    assert isinstance(cosines, Figure)
    assert "Farthest from chance is `" in cosines.caption
    assert isinstance(norms, Figure)
    assert norms.spec["layout"]["annotations"][-1]["text"] == "10 √eps = 0.1"
    assert isinstance(table, Table)
    assert "beyond the radius" not in table.head
    assert table.rows[0][:3] == ["`0`", "learned sigmoid × sphere", "3\u00a0of\u00a09"]


def test_radii(tmp_path: Path) -> None:
    torch.manual_seed(0)
    layer = DecoupledConv2d(1, 3, 3, magnitude="learned_ball")
    assert layer.running_norm is not None
    layer.running_norm.fill_(1.7)
    found, _ = read_operators(record(tmp_path, nn.Sequential(layer)))
    (section,) = operator_sections([("", found, Run(tmp_path), "#000000")])
    histogram, _, norms, table = section.blocks
    assert isinstance(histogram, Figure)
    assert "In units of the mean length of the patches" in histogram.caption
    assert "It went from 1 to 1 on average" in histogram.caption
    assert isinstance(norms, Figure)
    assert "Orange: the radius" in norms.caption
    (line,) = [trace for trace in norms.spec["data"] if trace["name"] == "radius" and trace["showlegend"]]
    assert line["x"] == pytest.approx([1.7, 1.7])
    assert isinstance(table, Table)
    assert "beyond the radius" in table.head


def test_the_reading(tmp_path: Path) -> None:
    found, _ = read_operators(record(tmp_path, sigmoids()))
    first, second = read_operator_words(found)
    assert first == (
        "Training moved the k of the angle most in `1`: from 0.75 to 0.5 on average, with a spread of 0.2 between "
        "kernels."
    )
    assert second.startswith("Kernels of `")
    assert "times that of random directions in" in second
    # ordinary networks have no angle of their own
    plain, _ = read_operators(record(tmp_path, nn.Sequential(nn.Conv2d(1, 2, 3))))
    assert plain is not None
    assert read_operator_words(plain) == read_operator_words(None) == []


def test_kernels_that_only_went_apart(tmp_path: Path) -> None:
    model = sigmoids()
    assert isinstance(model[1], SphereConv2d)
    assert model[1].raw_k is not None
    model[1].raw_k.data = torch.tensor([0.3, 1.1])
    found, _ = read_operators(record(tmp_path, model))
    assert read_operator_words(found)[0] == (
        "Training moved the k of the angle most in `1`: apart, by a spread of 0.4 between kernels, while their mean "
        "stayed near 0.75."
    )


def test_blank_images_leave_a_page(tmp_path: Path) -> None:
    model = nn.Sequential(SphereConv2d(1, 2, 3))
    write_operators(tmp_path, measure_operators(model, [torch.zeros(1, 1, 5, 5)]), num_samples=1, split="test")
    found, _ = read_operators(tmp_path)
    (section,) = operator_sections([("", found, Run(tmp_path), "#000000")])
    norms = section.blocks[1]
    assert isinstance(norms, Figure)
    assert "Patches of zeros alone, which have no angle, are left out; in `0` they are 100.0%" in norms.caption
    assert read_operator_words(found) == []


def test_pages_of_one_run_and_of_several(tmp_path: Path) -> None:
    stories = []
    for name in ("one", "two", "three"):
        folder = write_run(tmp_path / name, num_samples=60, steps=40)
        if name == "two":
            record(folder, sigmoids())
        if name == "three":
            record(folder, nn.Sequential(nn.Conv2d(1, 3, 3)))
        stories.append(read_story(folder))
    titles = [section.title for section in report_page(stories[0]).sections]
    assert "What the operators did" not in titles
    page = report_page(stories[1])
    assert "What the operators did" in [section.title for section in page.sections]
    assert any("Training moved the k" in sentence for sentence in page.reading)
    assert "What the operators did" in page.render()
    page = comparison_page(stories)
    (section,) = [section for section in page.sections if section.name == "operators"]
    dots, table, missing = section.blocks
    assert isinstance(dots, Figure)
    assert [trace["name"] for trace in dots.spec["data"]] == ["random directions", "two", "three"]
    assert isinstance(table, Table)
    assert table.head == ("layer", "`two`", "`three`")
    assert "k 0.5 ± 0.2" in table.rows[1][1]
    assert table.rows[0][2].startswith("product · ")
    assert table.rows[1][2] == "–"
    assert isinstance(missing, Missing)
    assert missing.text == "Not measured: `one`. `hypersphere evaluate RUN` does it."
