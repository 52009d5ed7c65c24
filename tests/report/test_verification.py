# SPDX-License-Identifier: MIT
"""The chapter on verification: its numbers are those of the evaluation, and damage is left out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from figures import checked, leaves, names, sentences, titles
from hypersphere.evaluation import roc_curve
from hypersphere.report.comparison import comparison_page
from hypersphere.report.found import Found, read_found
from hypersphere.report.page import Block, Figure, Table
from hypersphere.report.story import read_story, report_page
from hypersphere.report.verification import (
    RESPONSIBLE,
    accuracy_words,
    read_verification,
    roc_figure,
    score_figure,
    verification_blocks,
    verification_sections,
)
from loss_folders import add_verification
from run_folders import write_run


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> list[Found]:
    return read_found(add_verification(tmp_path_factory.mktemp("verified")), "verification")[0]


def tables(blocks: list[Block]) -> list[Table]:
    return [block for block in leaves(blocks) if isinstance(block, Table)]


def test_the_tables_hold_what_was_measured(results: list[Found]) -> None:
    blocks = verification_blocks(results)
    table, accepts = tables(blocks)
    assert table.head == ("pairs", "rule", "accuracy", "threshold", "equal error rate", "area under the ROC")
    for row, found, rule in zip(table.rows, results, ("lfw-official", "lfw-common"), strict=True):
        told = found.summary
        assert row[:2] == ["`pairs.txt`, all 10 folds", f"`{rule}`"]
        assert row[2] == f"{told['accuracy']:.2%}\u00a0±\u00a0{told['spread']:.2%}"
        mean, low, high = (f"{of(told['thresholds']):.3f}" for of in (np.mean, min, max))
        assert row[3] == f"{mean} ({low} to {high})".replace("-", "−")
        assert row[4] == f"{told['equal_error_rate']:.2%}"
        interval = told["area_interval"]
        assert row[5] == f"{told['area']:.4f} ({interval['low']:.4f} to {interval['high']:.4f})"
    assert table.caption.startswith(
        "400 pairs, 200 of one person. `lfw-official`: both views side by side, mean of the"
    )
    assert "(bootstrap over 100 people). Single pairs are judged by a cosine of 0.450." in table.caption
    assert accepts.head == ("pairs", "rule", "at 0.0001", "at 0.001", "at 0.01", "at 0.1")
    # 200 impostors resolve 0.01 and not 0.001
    for row, found in zip(accepts.rows, results, strict=True):
        rates = [f"{point['tar']:.2%}" for point in found.summary["tar_at_far"]]
        assert row[2:] == [f"{rates[0]} *", f"{rates[1]} *", rates[2], rates[3]]
    assert "* The rate is below one false pair of all there are" in accepts.caption


def test_what_is_drawn(results: list[Found]) -> None:
    blocks = verification_blocks(results)
    assert titles(blocks)[2:] == ["True and false accepts", "Scores by `lfw-official`", "Scores by `lfw-common`"]
    roc, scores, _ = (block for block in leaves(blocks) if isinstance(block, Figure))
    assert names(roc.spec) == ["lfw-official", "lfw-common", "by chance"]
    assert "One of 200 false pairs is a share of 0.005" in roc.caption
    assert names(scores.spec)[:2] == ["one person", "two people"]
    wrong = int((results[0].column("correct") == 0).sum())
    assert wrong == round(400 * (1 - results[0].summary["accuracy"]))
    assert scores.caption.endswith(f" {wrong} of 400 pairs are told wrong.")


def test_the_curve_is_the_exact_roc(results: list[Found]) -> None:
    found = results[0]
    curve = checked(roc_figure([("", found, "#000000")]))["data"][0]
    exact = roc_curve(found.column("scores"), found.column("same") > 0)
    assert curve["x"][0] == pytest.approx(0.5 / 200)
    assert curve["y"][0] == exact.tar_at_far(0.0).tar
    for far in (0.005, 0.013, 0.1, 0.5, 1.0):
        # the highest drawn point that is not to the right
        assert curve["y"][curve["x"] <= far + 1e-12].max() == pytest.approx(exact.tar_at_far(far).tar)
    assert (np.diff(curve["x"]) >= 0).all()
    assert (np.diff(curve["y"]) >= 0).all()


def test_a_long_curve_is_thinned_and_keeps_its_ends() -> None:
    far = np.linspace(0, 1, 20001)
    one = Found("verification", {"num_pairs": 40000, "num_same": 20000}, {"roc_far": far, "roc_tar": np.sqrt(far)})
    curve = roc_figure([("", one, "#000000")])["data"][0]
    assert len(curve["x"]) <= 1501
    assert curve["x"][0] == pytest.approx(0.5 / 20000)
    assert (curve["x"][-1], curve["y"][-1]) == (1, 1)
    assert curve["y"][1:] == pytest.approx(np.sqrt(curve["x"][1:]))


def test_histograms_add_up_and_show_the_mean_threshold(results: list[Found]) -> None:
    for found in results:
        same, other, threshold = checked(score_figure(found))["data"]
        assert same["y"].sum() == pytest.approx(1)
        assert other["y"].sum() == pytest.approx(1)
        assert threshold["x"] == [pytest.approx(np.mean(found.summary["thresholds"]))] * 2
    assert score_figure(results[1])["layout"]["xaxis"]["title"]["text"] == "minus squared distance"


def test_responsible_use_stands_beside_the_figures(results: list[Found]) -> None:
    (section,) = verification_sections([("", results, "#000000")])
    assert section.lead.endswith(RESPONSIBLE)
    assert "differs between groups of people, and this page does not measure that" in section.lead
    assert "decisions about people" in section.lead
    assert verification_sections([("", [], "#000000")]) == []


def test_one_fold_has_no_spread_and_one_threshold() -> None:
    told = {"accuracy": 0.9, "spread": None, "thresholds": [-1.25], "variant": "lfw-common", "split": "fold 1 of 10"}
    one = Found("verification", told | {"num_pairs": 600, "num_same": 300})
    assert accuracy_words(one) == "90.00%"
    (table,) = tables(verification_blocks([one]))
    assert table.rows == [["fold 1 of 10", "`lfw-common`", "90.00%", "−1.250", "–", "–"]]
    assert "After ±" not in table.caption
    assert sentences(verification_blocks([one])) == ["The scores of the pairs were not kept."]


def test_the_reading_says_how_many_and_warns(results: list[Found]) -> None:
    told = results[0].summary
    begin = (
        f"Of 400 pairs of images it tells {accuracy_words(results[0])} right, whether they show one person or two "
        "(`lfw-official`, all 10 folds)."
    )
    assert read_verification(results) == [begin]
    seen = Found("verification", told | {"people_in_training": {"num_people": 100, "in_training": 100}})
    warning = "100 of the 100 people were classes of the training, so that this says little about strangers."
    assert read_verification([seen]) == [f"{begin} {warning}"]
    assert read_verification([Found("verification-agedb_30", told)]) == []
    assert read_verification([]) == read_verification([Found("verification", {})]) == []


def test_runs_side_by_side(results: list[Found], tmp_path: Path) -> None:
    add_verification(tmp_path, spread=0.6)
    add_verification(tmp_path, stem="verification-agedb_30", name="agedb_30.bin")
    others, _ = read_found(tmp_path, "verification")
    runs = [("a", results, "#111111"), ("b", others, "#222222"), ("c", [], "#333333")]
    (section,) = verification_sections(runs)
    table, accepts = tables(list(section.blocks))
    assert table.head == ("pairs", "rule", "", "`a`", "`b`")
    assert len(table.rows) == 4 * 3
    assert list(table.rows[0]) == [
        "`pairs.txt`, all 10 folds, 400 pairs", "`lfw-official`", "accuracy",
        accuracy_words(results[0]), accuracy_words(others[0]),
    ]  # fmt: skip
    assert [row[3] for row in table.rows if "agedb" in row[0]] == ["–"] * 6
    assert [row[0] for row in accepts.rows] == ["`a`", "`b`", "`a`", "`b`", "`b`", "`b`"]
    drawn = [block for block in leaves(list(section.blocks)) if isinstance(block, Figure)]
    # a curve alone compares nothing
    assert [figure.title for figure in drawn] == [
        "True and false accepts: `pairs.txt`, all 10 folds, `lfw-official`",
        "True and false accepts: `pairs.txt`, all 10 folds, `lfw-common`",
    ]
    assert names(drawn[0].spec) == ["a", "b", "by chance"]
    assert sentences(list(section.blocks)) == [
        "Not verified: `c`. `hypersphere evaluate RUN --protocol verification` does it."
    ]


@pytest.mark.parametrize(
    "arrays",
    [
        {"scores": np.array([0.1, np.nan]), "same": np.array([True, False])},
        {"scores": np.array([0.1, np.inf]), "same": np.array([True, False])},
        {"scores": np.array([0.1]), "same": np.array([True, False])},
        {"roc_far": np.array([0.0, 1.0]), "roc_tar": np.array([1.0])},
        {"roc_far": np.zeros(2), "roc_tar": np.zeros(2)},
    ],
)
def test_arrays_that_do_not_fit_are_not_drawn(arrays: dict[str, np.ndarray]) -> None:
    strange = Found("verification", {"thresholds": "low", "area_interval": 3, "tar_at_far": None}, arrays)
    assert score_figure(strange)["data"] == roc_figure([("", strange, "#000000")])["data"] == []
    assert sentences(verification_blocks([strange])) == ["The scores of the pairs were not kept."]


def test_pages_have_the_chapter(tmp_path: Path) -> None:
    first, second = (write_run(tmp_path / name, num_samples=60, steps=20) for name in ("first", "second"))
    assert "Verification" not in report_page(read_story(first)).render()
    add_verification(first)
    story = read_story(first)
    page = report_page(story)
    assert "verification" in [section.name for section in page.sections]
    assert "Scores by" in page.render()
    both = comparison_page([story, read_story(second)])
    results = next(block for block in leaves(list(both.sections[0].blocks)) if isinstance(block, Table))
    rows = {row[0]: row[1:] for row in results.rows}
    assert rows["accuracy on pairs"] == [accuracy_words(story.verified[0]), "–"]
    assert rows["accuracy on pairs, common rule"] == [accuracy_words(story.verified[1]), "–"]
    assert "Not verified" in both.render()
    (first / "evaluation" / "verification.json").write_text("{")
    assert any(note.startswith("verification.json could not be read") for note in read_story(first).run.notes)
