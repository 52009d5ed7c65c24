# SPDX-License-Identifier: MIT
"""Tests of report.comparison."""

from __future__ import annotations

import dataclasses
import re
import shutil
from pathlib import Path

import pytest

from figures import leaves, names, sentences, titles
from hypersphere.report import write_comparison
from hypersphere.report.comparison import comparison_page, run_names
from hypersphere.report.page import Block, Choice, Figure, Page, Table
from hypersphere.report.story import Story, read_story
from run_folders import write_run


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Story:
    """A run without energy, of more steps, from another seed."""
    folder = tmp_path_factory.mktemp("runs") / "plain <b>"
    return read_story(write_run(folder, num_samples=100, regularized=False, seed=1, steps=180))


def section(page: Page, name: str) -> list[Block]:
    (found,) = [list(one.blocks) for one in page.sections if one.name == name]
    return found


def test_two_runs_side_by_side(story: Story, other: Story) -> None:
    page = comparison_page([story, other])
    assert page.title == "2 runs compared"
    first, total, layers, second = page.reading
    assert re.fullmatch(
        r"The runs differ most in layer `[\w.]+`: `[^`]+` ended at \d+% of the way from the most even arrangement to "
        r"random directions, `[^`]+` at \d+%\.",
        layers,
    )
    assert re.fullmatch(
        r"Added up over 6 layers, the energy of `digits` ended at 3\d% of the way from the most even arrangement to "
        r"random directions, that of `plain <b>` at \d+%\.",
        total,
    )
    assert "points apart. One run each tells nothing of the spread between seeds." in first
    assert second == "The runs were evaluated after different numbers of steps."
    results, settings = leaves(section(page, "numbers"))
    assert isinstance(results, Table)
    assert results.head == ("", "`digits`", "`plain <b>`")
    rows = {row[0]: row[1:] for row in results.rows}
    assert rows["step"] == ["140", "180"]
    assert rows["finished"] == ["yes", "yes"]
    assert isinstance(settings, Table)
    assert [row[0] for row in settings.rows] == ["`energy.hidden_weight`", "`energy.output_weight`", "`training.seed`"]
    assert settings.rows[0][1:] == ["1", "0"]


def test_accuracies_with_new_statistics_have_a_row_where_a_run_has_one(story: Story, other: Story) -> None:
    def rows(*stories: Story) -> dict[str, list[str]]:
        results = leaves(section(comparison_page(stories), "numbers"))[0]
        assert isinstance(results, Table)
        return {row[0]: row[1:] for row in results.rows}

    again = dataclasses.replace(other, run=dataclasses.replace(other.run, recalibrated={"accuracy": 0.875}))
    assert rows(story, again)["accuracy, statistics recalibrated"] == ["–", "87.50%"]
    assert "accuracy, statistics recalibrated" not in rows(story, other)


def test_settings_of_parts_that_are_off_do_not_differ(story: Story, other: Story) -> None:
    off = {"base": 0.0, "gamma": 0.12, "power": 1.0, "minimum": 5.0}

    def rows(annealing: dict[str, float], arguments: dict[str, float]) -> dict[str, list[str]]:
        config = story.run.config | {"annealing": annealing}
        config["head"] = config["head"] | {"arguments": arguments}
        changed = dataclasses.replace(story, run=dataclasses.replace(story.run, config=config))
        table = leaves(section(comparison_page([changed, other]), "numbers"))[1]
        assert isinstance(table, Table)
        return {row[0]: list(row[1:]) for row in table.rows}

    plain = {"`energy.hidden_weight`", "`energy.output_weight`", "`training.seed`"}
    # a run from before there was annealing had none
    assert set(rows(off, {})) == plain
    on = rows(off | {"base": 1000.0}, {"multiplier": 4.0})
    assert on["`annealing.base`"] == ["1000", "0"]
    assert on["`annealing.minimum`"] == ["5", "–"]
    assert on["`head.arguments.multiplier`"] == ["4", "–"]


def test_curves_are_laid_over_each_other(story: Story, other: Story) -> None:
    figures = {block.title: block for block in leaves(section(comparison_page([story, other]), "learning"))}
    assert list(figures) == [
        "Accuracy of the evaluations", "Loss of the evaluations", "Accuracy on training batches",
        "Objective on training batches", "Weighted energy in the loss", "Learning rate",
    ]  # fmt: skip
    accuracy, energy = figures["Accuracy of the evaluations"], figures["Weighted energy in the loss"]
    assert isinstance(accuracy, Figure)
    assert names(accuracy.spec) == ["digits", "plain &lt;b&gt;"]
    assert isinstance(energy, Figure)
    assert names(energy.spec) == ["digits"]
    assert energy.caption == "In the loss of `digits`."


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Story:
    """A run with projected energy, uniformity and orthogonality."""
    settings = {
        "compression": {
            "projection": "random",
            "dim": 16,
            "num_projections": 20,
            "inner_steps": None,
            "ascent": "same",
        },
        "uniformity": {"kind": "covering", "half_space": False, "hidden_weight": 0.01, "output_weight": 0.1},
        "orthogonality": {"kind": "none", "normalized": False},
    }
    folder = tmp_path_factory.mktemp("runs") / "three"
    run = write_run(folder, num_samples=50, others=("uniformity", "orthogonality"), settings=settings)
    return read_story(run)


def test_every_term_of_the_loss_has_a_figure(story: Story, three: Story) -> None:
    figures = {block.title: block for block in leaves(section(comparison_page([story, three]), "learning"))}
    energy, uniformity, orthogonality = (
        figures[f"Weighted {name} in the loss"] for name in ("energy", "uniformity", "orthogonality")
    )
    assert isinstance(energy, Figure)
    assert names(energy.spec) == ["digits", "three"]
    assert energy.caption == "In the loss of `digits`; `three`: projected energy."
    assert isinstance(uniformity, Figure)
    assert names(uniformity.spec) == ["three"]
    assert uniformity.caption == "In the loss of `three`: covering."
    assert isinstance(orthogonality, Figure)
    assert orthogonality.caption == "In the loss of `three`: orthogonality penalty."


def test_the_total_energy_with_and_without_regularisers(story: Story, other: Story, three: Story) -> None:
    blocks = leaves(section(comparison_page([story, other, three]), "evenness"))
    (total,) = [block for block in blocks if isinstance(block, Figure) and block.title.startswith("Energy of all")]
    assert names(total.spec) == ["digits", "plain &lt;b&gt;", "three"]
    assert [trace["line"].get("dash") for trace in total.spec["data"]] == [None, "dot", None]
    assert [trace["line"]["color"] for trace in total.spec["data"]] == ["#0072B2", "#D55E00", "#009E73"]
    for trace, one in zip(total.spec["data"], (story, other, three), strict=True):
        assert trace["y"].tolist() == pytest.approx(sum(layer.energy for layer in one.layers).tolist())
    assert [shape["label"]["text"] for shape in total.spec["layout"]["shapes"]] == ["random directions", "known minima"]
    assert total.caption == (
        "The energies of 6 layers at every evaluation, added up without weights. Regularisers in the loss: energy in "
        "that of `digits`; energy, covering, orthogonality penalty and projected energy in that of `three`. Without a "
        "regulariser (dotted): `plain <b>`."
    )


def test_only_layers_that_all_runs_have_are_added_up(story: Story, other: Story) -> None:
    first, second, *rest = other.layers
    changed = dataclasses.replace(other, layers=[dataclasses.replace(second, num_neurons=99), *rest])
    blocks = leaves(section(comparison_page([story, changed]), "evenness"))
    (total,) = [block for block in blocks if isinstance(block, Figure) and block.title.startswith("Energy of all")]
    assert total.caption.startswith(
        "The energies of 4 layers at every evaluation, added up without weights. Left out: "
        f"`{first.name}`, `{second.name}`. "
    )
    nothing = dataclasses.replace(other, layers=[dataclasses.replace(first, num_neurons=99)])
    page = comparison_page([story, nothing])
    assert "Energy of all layers together" not in titles(section(page, "evenness"))
    assert not any(sentence.startswith("Added up") for sentence in page.reading)


def test_what_was_minimised(story: Story, other: Story, three: Story) -> None:
    page = comparison_page([story, other, three])
    captions = [block.caption for block in section(page, "minimised")]
    assert captions == [
        "Energy (power 1, euclidean distance, full space) in `digits`, `three`, before its weight.",
        "Projected energy (power 1, euclidean distance, full space; random projections to 16 dimensions) in `three`, "
        "before its weight.",
        "Covering in full space in `three`, before its weight.",
        "Orthogonality penalty in `three`, before its weight.",
    ]
    assert "minimised" not in [one.name for one in comparison_page([other, other]).sections]


def test_settings_of_parts_that_a_run_does_not_have(story: Story, three: Story) -> None:
    _, settings = leaves(section(comparison_page([story, three]), "numbers"))
    assert isinstance(settings, Table)
    assert settings.rows == [
        ["`compression.projection`", "none", "random"],
        ["`compression.dim`", "–", "16"],
        ["`compression.num_projections`", "–", "20"],
        ["`uniformity.kind`", "none", "covering"],
        ["`uniformity.half_space`", "–", "false"],
        ["`uniformity.hidden_weight`", "–", "0.01"],
        ["`uniformity.output_weight`", "–", "0.1"],
    ]


def test_layers_and_maps_of_both(story: Story, other: Story) -> None:
    page = comparison_page([story, other])
    layers = [layer.name for layer in story.layers]
    assert titles(section(page, "evenness")) == [
        "Where every layer began and ended", "Energy of all layers together", "Layers side by side", *layers, *layers
    ]  # fmt: skip
    (choice,) = section(page, "neurons")
    assert isinstance(choice, Choice)
    assert [figure.title for figure in choice.figures] == layers
    assert all(len(figure.spec["data"]) == 2 for figure in choice.figures)
    leaves([choice])


def test_a_layer_that_only_one_run_has(story: Story, other: Story) -> None:
    shorter = dataclasses.replace(other, layers=other.layers[1:])
    blocks = leaves(section(comparison_page([shorter, story]), "evenness"))
    (table,) = [block for block in blocks if isinstance(block, Table)]
    assert table.rows[-1][0] == f"`{story.layers[0].name}`"
    assert table.rows[-1][1] == "–"
    assert table.rows[-1][2].count(" · ") == 2


def test_the_layer_that_differs_most(story: Story) -> None:
    first, *rest = story.layers
    moved = dataclasses.replace(first, energy=first.energy + 0.5)
    other = dataclasses.replace(story, layers=[moved, *rest])
    sentence = comparison_page([story, other]).reading[2]
    assert sentence.startswith(f"The runs differ most in layer `{first.name}`: `digits (1)` ended at ")
    assert sentence.endswith(f"`digits (2)` at {moved.positions[-1]:.0%}.")


def test_what_makes_runs_hard_to_compare(story: Story) -> None:
    run = story.run
    assert run.classification is not None
    summary = run.classification.summary | {"split": "validation"}
    changed = dataclasses.replace(
        run,
        config=run.config | {"monitor": {"power": 2.0}},
        classification=dataclasses.replace(run.classification, summary=summary),
    )
    page = comparison_page([story, dataclasses.replace(story, run=changed)])
    assert page.reading[1:] == [
        "The runs were evaluated on different splits: their accuracies do not compare.",
        "The runs recorded different energies: compare places between 0% and 100%, not values.",
    ]


def test_unfinished_and_empty_runs(story: Story, folder: Path, tmp_path: Path) -> None:
    shutil.rmtree(folder / "evaluation")
    (folder / "model.safetensors").unlink()
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "config.yaml").write_text("recipe: digits\n")
    stories = [story, read_story(folder), read_story(tmp_path / "empty")]
    page = comparison_page(stories)
    missing = sentences(section(page, "neurons"))
    assert missing[0].startswith("`run`: The model's neurons cannot be shown: there is no model.safetensors")
    page.render()
    nothing = comparison_page([stories[2], stories[2]])
    assert sentences([block for one in nothing.sections for block in one.blocks])[:3] == [
        "The runs have the same settings.",
        "No run has recorded a step yet.",
        "No evaluation of these runs has measured the layers yet.",
    ]
    assert nothing.reading == []


def test_writing(story: Story, other: Story, tmp_path: Path) -> None:
    folders = [story.run.folder, other.run.folder, story.run.folder, other.run.folder]
    path = write_comparison(folders, tmp_path / "comparison.html")
    text = path.read_text(encoding="utf-8")
    assert "4 runs compared" in text
    assert "plain <b>" not in text
    assert path.stat().st_size < 6_000_000


def test_one_run_is_no_comparison(made: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^write_comparison: expected two runs or more, got 1\.$"):
        write_comparison([made], tmp_path / "page.html")
    with pytest.raises(FileNotFoundError, match=r"^report: there is no run folder"):
        write_comparison([made, tmp_path / "missing"], tmp_path / "page.html")


def test_names_of_runs(tmp_path: Path) -> None:
    a, b = tmp_path / "a" / "run", tmp_path / "b" / "run"
    assert run_names([a, b]) == ["a/run", "b/run"]
    assert run_names([a, tmp_path / "other"]) == ["run", "other"]
    assert run_names([a, a, b]) == ["a/run (1)", "a/run (2)", "b/run"]
