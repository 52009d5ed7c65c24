# SPDX-License-Identifier: MIT
"""The chapter on identification: ranks, distractors and strangers as the evaluation left them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from figures import checked, leaves, names, sentences, titles
from hypersphere.report.comparison import comparison_page
from hypersphere.report.found import Found, read_found
from hypersphere.report.identification import (
    identification_blocks,
    identification_sections,
    rank_figure,
    read_identification,
    searches,
)
from hypersphere.report.page import Block, Figure, Table
from hypersphere.report.story import read_story, report_page
from hypersphere.report.verification import RESPONSIBLE
from loss_folders import add_identification
from run_folders import write_run


def found_in(folder: Path) -> list[Found]:
    return read_found(folder, "identification")[0]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> list[Found]:
    return found_in(add_identification(tmp_path_factory.mktemp("identified"), open_set=True))


def tables(blocks: list[Block]) -> dict[str, Table]:
    return {block.title: block for block in leaves(blocks) if isinstance(block, Table)}


def test_the_tables_hold_what_was_measured(results: list[Found]) -> None:
    blocks = identification_blocks([("", searches(results), "#000000")])
    told = results[0].summary["results"]
    table = tables(blocks)["Own person among the first"]
    assert table.head == ["images", "gallery", "looked for", "rank 1", "rank 5", "rank 10", "rank 20", "rank 100"]
    closed, among = table.rows
    assert closed[:3] == ["`people`, test", "everybody is in the gallery, 100 people", "300"]
    assert closed[3:] == [f"{one['rate']:.1%}" for one in told["closed-set"]["rates"]]
    assert closed[-1] == "100.0%"
    assert among[:3] == ["`people`, test", "500 distractors (synthetic: random unit vectors)", "1200 pairs of 400"]
    rates = {one["rank"]: f"{one['rate']:.1%}" for one in told["distractors"]["rates"]}
    assert among[3:] == [rates[1], rates[5], rates[10], "–", "–"]
    assert "Synthetic distractors are drawn, not people, and easier than any" in table.caption
    accepts = tables(blocks)["True accepts at a rate of false ones, among distractors"]
    first, second = told["distractors"]["tar_at_far"]
    assert accepts.rows[0][3:] == [f"{first['tar']:.2%} *", f"{second['tar']:.2%}"]
    strangers = tables(blocks)["Identification with strangers"]
    points = told["open-set"]["tpir_at_fpir"]
    # 120 strangers resolve 0.1 and 0.01, not 0.001
    shares = [f"{point['tpir']:.1%}" for point in points]
    rows = [["0.001", f"{shares[0]} *"], ["0.01", shares[1]], ["0.1", shares[2]]]
    assert [row[2:] for row in strangers.rows] == rows


def test_curves_are_those_of_the_ranks(results: list[Found]) -> None:
    closed, among, _ = searches(results)
    curve = checked(rank_figure([("", closed, "#000000")]))
    line = curve["data"][0]
    ranks = results[0].column("closed-set.ranks")
    assert line["x"].tolist() == list(range(1, 101))
    assert line["y"] == pytest.approx([(ranks <= rank).mean() for rank in line["x"]])
    assert curve["layout"]["xaxis"]["type"] == "log"
    few = checked(rank_figure([("", among, "#000000")]))
    assert few["data"][0]["x"].tolist() == list(range(1, 11))
    assert "type" not in few["layout"]["xaxis"]
    drawn = leaves(identification_blocks([("", [closed, among], "#000000")]))
    assert [block.title for block in drawn if isinstance(block, Figure)] == [
        "Rank in the gallery",
        "Rank among distractors",
    ]


def test_large_galleries_make_a_short_curve() -> None:
    cmc = np.linspace(0.9, 1.0, 100_000)
    row = {"kind": "closed set", "num_people": 100_000, "rates": [{"rank": 1, "rate": 0.9}]}
    (one,) = searches([Found("identification", {"results": {"x": row}}, {"x.cmc": cmc})])
    ranks, rates = one.curve()
    assert len(ranks) <= 300
    assert (ranks[0], ranks[-1]) == (1, 100_000)
    assert rates == pytest.approx(cmc[ranks - 1])
    assert one.rate(1) == 0.9
    assert one.rate(1000) == cmc[999]
    low, high = rank_figure([("", one, "#000000")])["layout"]["yaxis"]["range"]
    assert 0.85 < low < 0.9
    assert high > 1


def test_ranks_without_an_archive() -> None:
    rows = [{"rank": 5, "rate": 0.8}, {"rank": 1, "rate": 0.5}, "x", {"rank": "two", "rate": 1}]
    (one,) = searches([Found("identification", {"results": {"x": {"kind": "closed set", "rates": rows}}})])
    assert [part.tolist() for part in one.curve()] == [[1, 5], [0.5, 0.8]]
    assert one.rate(5) == 0.8
    assert np.isnan(one.rate(2))


def test_pictures_as_distractors_are_not_called_synthetic(tmp_path: Path) -> None:
    found = found_in(add_identification(tmp_path, synthetic=False))
    table = tables(identification_blocks([("", searches(found), "#000000")]))["Own person among the first"]
    assert table.rows[1][1] == "500 distractors (crowd)"
    assert "Synthetic" not in table.caption
    assert table.caption.endswith("1 of the distractors could not be used.")
    assert "drawn" not in " ".join(read_identification(found))


def test_the_reading(results: list[Found]) -> None:
    told = results[0].summary["results"]
    closed, among = (told[name]["rates"][0]["rate"] for name in ("closed-set", "distractors"))
    assert read_identification(results) == [
        f"Among 100 people, {closed:.1%} of the images find their own person first.",
        "Among 500 distractors, which are drawn and easier than people, "
        f"{among:.1%} of the pairs find each other first.",
    ]
    assert read_identification([]) == []
    assert read_identification([Found("identification-others-test", results[0].summary)]) == []


def test_one_sentence_of_each_kind_and_people_before_what_is_drawn(results: list[Found], tmp_path: Path) -> None:
    add_identification(tmp_path)
    add_identification(tmp_path, synthetic=False, stem="identification-among-crowd", origin={"data": None})
    add_identification(tmp_path, flip="sum", stem="identification-among-x-flip-sum", origin={"data": None})
    add_identification(tmp_path, stem="identification-others-test", origin={"data": "others"}, data="others")
    found = found_in(tmp_path)
    assert len(found) == 4
    told = read_identification(found)
    assert told[0] == read_identification(results)[0]
    assert told[1] == read_identification(results)[1].replace(", which are drawn and easier than people", "")
    assert len(told) == 2
    # the closed set of one flip once, and of another beside it
    table = tables(identification_blocks([("", searches(found), "#000000")]))["Own person among the first"]
    closed = [row[0] for row in table.rows if row[1].startswith("everybody")]
    assert sorted(closed) == ["`others`, test", "`people`, test", "`people`, test, flip sum"]
    assert len(table.rows) == 7


def test_runs_side_by_side(results: list[Found], tmp_path: Path) -> None:
    seen = {"num_people": 100, "in_training": 7}
    other = found_in(add_identification(tmp_path, synthetic=None, people_in_training=seen))
    (section,) = identification_sections([("a", results, "#111111"), ("b", other, "#222222"), ("c", [], "#333333")])
    assert section.lead.endswith(RESPONSIBLE)
    table = tables(list(section.blocks))["Own person among the first"]
    assert table.head[0] == "run"
    assert [row[0] for row in table.rows] == ["`a`", "`a`", "`b`"]
    assert table.caption.endswith(
        "7 of the 100 people were classes of the training, so that this says little about strangers."
    )
    gallery, distractors = (block for block in leaves(list(section.blocks)) if isinstance(block, Figure))
    assert names(gallery.spec) == ["a", "b"]
    assert [trace["line"]["color"] for trace in gallery.spec["data"]] == ["#111111", "#222222"]
    assert names(distractors.spec) == ["a"]
    assert sentences(list(section.blocks)) == [
        "Not identified: `c`. `hypersphere evaluate RUN --protocol identification` does it."
    ]


@pytest.mark.parametrize(
    "listed", [None, [], "x", {"a": 3}, {"a": {}}, {"a": {"kind": 3, "rates": "x", "tar_at_far": 1}}]
)
def test_strange_results_are_left_out(listed: object) -> None:
    strange = [Found("identification", {"results": listed, "distractors": "many"})]
    for section in identification_sections([("", strange, "#000000")]):
        assert titles(list(section.blocks)) == []
    assert read_identification(strange) == []


def test_pages_have_the_chapter(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", num_samples=60, steps=20)
    assert "Identification" not in report_page(read_story(run)).render()
    story = read_story(add_identification(run))
    page = report_page(story)
    assert "identification" in [section.name for section in page.sections]
    assert "Rank among distractors" in page.render()
    assert "Rank among distractors" in comparison_page([story, story]).render()
