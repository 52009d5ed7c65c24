# SPDX-License-Identifier: MIT
"""Tests of report.energies."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from figures import checked, names
from hypersphere.analysis.references import Floor
from hypersphere.report.energies import (
    FARTHEST,
    angle_figure,
    energy_figure,
    layer_label,
    overview_figure,
    term_figure,
    total_figure,
)
from hypersphere.report.layers import LayerHistory, add_up
from hypersphere.report.terms import LayerTerm
from hypersphere.report.theme import EVALUATION, TRAIN

LAYER = LayerHistory(
    name="conv1_0",
    num_neurons=64,
    dim=27,
    energy_steps=np.array([0, 10]),
    energy=np.array([-0.2, -0.5]),
    angle_steps=np.array([0, 10]),
    angle=np.array([0.5, 1.0]),
    expected=-0.2,
    floor=Floor(-0.6, True),
    pushed_by=("energy",),
)


def labels(figure: dict) -> list[str]:
    return [shape["label"]["text"] for shape in figure["layout"]["shapes"]]


def test_energy_with_both_references() -> None:
    figure = checked(energy_figure(LAYER))
    assert labels(figure) == ["random directions", "known minimum"]
    assert [shape["y0"] for shape in figure["layout"]["shapes"]] == [-0.2, -0.6]
    low, high = figure["layout"]["yaxis"]["range"]
    assert low < -0.6 < -0.2 < high
    assert figure["data"][0]["line"]["color"] == EVALUATION


@pytest.mark.parametrize(("energy", "side"), [([-0.3, -0.5], "bottom"), ([-0.1, -0.15], "top"), ([], "bottom")])
def test_the_label_of_random_directions_keeps_out_of_the_way(energy: list[float], side: str) -> None:
    steps = np.arange(len(energy))
    figure = energy_figure(dataclasses.replace(LAYER, energy=np.array(energy), energy_steps=steps))
    found = figure["layout"]["shapes"][0]["label"]
    assert (found["textposition"], found["yanchor"]) == ("start", side)


def test_energy_without_references() -> None:
    bare = dataclasses.replace(LAYER, expected=math.inf, floor=None, pushed_by=())
    figure = checked(energy_figure(bare))
    assert labels(figure) == []
    assert figure["data"][0]["line"]["color"] == TRAIN


def test_a_bound_is_called_a_bound() -> None:
    assert labels(energy_figure(dataclasses.replace(LAYER, floor=Floor(-0.6, False))))[1] == "lower bound"


def test_angles_are_in_degrees() -> None:
    figure = checked(angle_figure(LAYER))
    assert figure["data"][0]["y"].tolist() == pytest.approx([28.6479, 57.2958], abs=1e-4)
    assert labels(figure) == ["random directions"]
    assert figure["layout"]["shapes"][0]["y0"] == pytest.approx(math.degrees(LAYER.random_angle))
    few = dataclasses.replace(LAYER, num_neurons=20)
    assert labels(angle_figure(few)) == ["random directions", "widest possible"]


def test_an_empty_or_constant_history_has_a_range() -> None:
    empty = dataclasses.replace(LAYER, energy_steps=np.array([]), energy=np.array([]), expected=math.nan, floor=None)
    assert checked(energy_figure(empty))["layout"]["yaxis"]["range"] == pytest.approx([-0.16, 1.16])
    flat = dataclasses.replace(empty, energy_steps=np.array([0]), energy=np.array([2.0]))
    low, high = energy_figure(flat)["layout"]["yaxis"]["range"]
    assert low < 2.0 < high


def test_overview_places_first_and_last() -> None:
    figure = checked(overview_figure([("", [LAYER], TRAIN)]))
    _, start, end = figure["data"]
    assert start["x"].tolist() == pytest.approx([1.0])
    assert end["x"].tolist() == pytest.approx([0.25])
    assert end["text"] == ["25%"]
    assert end["hovertext"] == ["conv1_0: 100.0% → 25.0%"]
    assert names(figure) == ["energy in the loss"]
    assert figure["layout"]["yaxis"]["ticktext"] == ["conv1_0"]


def test_overview_keeps_far_layers_at_the_edge_with_their_number() -> None:
    far = dataclasses.replace(LAYER, name="fc", energy=np.array([-0.2, 3.0]), pushed_by=())
    figure = checked(overview_figure([("", [LAYER, far], TRAIN)]))
    ends = [trace for trace in figure["data"] if trace["mode"] == "markers+text"]
    assert [trace["text"] for trace in ends] == [["25%"], ["900%"]]
    assert ends[1]["x"].tolist() == [FARTHEST]
    assert ends[1]["marker"]["symbol"] == ["triangle-right"]
    assert names(figure) == ["energy in the loss", "only watched"]


def test_overview_names_what_the_loss_holds() -> None:
    projected = dataclasses.replace(LAYER, name="fc", pushed_by=("projected energy",))
    assert names(overview_figure([("", [projected], TRAIN)])) == ["projected energy in the loss"]
    assert names(overview_figure([("", [LAYER, projected], TRAIN)])) == ["regularised"]


def test_overview_leaves_out_what_has_no_place() -> None:
    assert overview_figure([("", [dataclasses.replace(LAYER, floor=None)], TRAIN)])["data"] == []
    assert overview_figure([("", [], TRAIN)])["data"] == []


def test_several_runs_stand_beside_each_other() -> None:
    other = dataclasses.replace(LAYER, energy=np.array([-0.3, -0.55]))
    figure = checked(overview_figure([("a", [LAYER], "#0072B2"), ("<b>", [other], "#D55E00")]))
    assert names(figure) == ["a", "&lt;b&gt;"]
    rows = [trace["y"][0] for trace in figure["data"] if trace["mode"] == "markers+text"]
    assert rows[0] < 0 < rows[1]
    lines = checked(energy_figure(LAYER, runs=[("a", LAYER, "#0072B2"), ("b", other, "#D55E00")]))["data"]
    assert [trace["line"]["color"] for trace in lines] == ["#0072B2", "#D55E00"]


def test_runs_that_did_not_push_are_dotted() -> None:
    watched = dataclasses.replace(LAYER, pushed_by=())
    runs = [("with", LAYER, "#0072B2"), ("without", watched, "#D55E00")]
    for figure in (energy_figure(LAYER, runs=runs), angle_figure(LAYER, runs=runs)):
        assert [trace["line"].get("dash") for trace in checked(figure)["data"]] == [None, "dot"]
    assert "dash" not in energy_figure(watched)["data"][0]["line"]


def test_references_on_which_runs_do_not_agree_are_left_out() -> None:
    wider = dataclasses.replace(LAYER, num_neurons=20, dim=40, expected=-0.3, floor=Floor(-0.7, True))
    runs = [("a", LAYER, "#0072B2"), ("b", wider, "#D55E00")]
    assert labels(checked(energy_figure(LAYER, runs=runs))) == []
    assert labels(checked(angle_figure(LAYER, runs=runs))) == []
    same = dataclasses.replace(wider, expected=-0.2)
    assert labels(energy_figure(LAYER, runs=[("a", LAYER, "#0072B2"), ("b", same, "#D55E00")])) == ["random directions"]


def test_the_total_of_all_layers() -> None:
    bounded = dataclasses.replace(LAYER, name="fc", floor=Floor(-0.7, False), pushed_by=())
    total = add_up([LAYER, bounded])
    assert total is not None
    figure = checked(total_figure([("", total, EVALUATION)]))
    assert figure["data"][0]["y"].tolist() == pytest.approx([-0.4, -1.0])
    assert labels(figure) == ["random directions", "minima and lower bounds"]
    assert [shape["y0"] for shape in figure["layout"]["shapes"]] == pytest.approx([-0.4, -1.3])
    assert not figure["layout"]["showlegend"]
    reached = add_up([LAYER, LAYER])
    watched = add_up([dataclasses.replace(LAYER, pushed_by=())] * 2)
    assert reached is not None
    assert watched is not None
    figure = checked(total_figure([("with", reached, "#0072B2"), ("without", watched, "#D55E00")]))
    assert labels(figure) == ["random directions", "known minima"]
    assert names(figure) == ["with", "without"]
    assert figure["layout"]["showlegend"]
    assert [trace["line"].get("dash") for trace in figure["data"]] == [None, "dot"]


def test_a_total_with_an_infinite_expectation_has_no_such_line() -> None:
    total = add_up([LAYER, dataclasses.replace(LAYER, expected=math.inf, floor=None)])
    assert total is not None
    assert labels(checked(total_figure([("", total, TRAIN)]))) == []


def test_what_a_regulariser_measured_of_a_layer() -> None:
    term = LayerTerm("uniformity", "fc", "covering", "covering in full space", "", False, np.arange(3), np.ones(3))
    figure = checked(term_figure([("a", term, "#0072B2"), ("b", term, "#D55E00")]))
    assert figure["layout"]["yaxis"]["title"]["text"] == "covering"
    assert [trace["mode"] for trace in figure["data"]] == ["lines", "lines"]


@pytest.mark.parametrize(
    ("energy", "place"),
    [
        # below at the left, where the curves have left it
        ([[-0.22, -0.35, -0.4, -0.4], [-0.22, -0.1, 0.2, 0.2]], ("end", "bottom")),
        # between the curves nowhere but below at the left
        ([[-0.15, -0.15, -0.19, -0.19], [-0.1, -0.12, -0.21, -0.21]], ("start", "top")),
    ],
)
def test_the_label_goes_where_least_is_drawn(energy: list[list[float]], place: tuple[str, str]) -> None:
    layers = [dataclasses.replace(LAYER, energy_steps=np.arange(4), energy=np.array(part)) for part in energy]
    figure = checked(energy_figure(LAYER, runs=[("a", layer, "#0072B2") for layer in layers]))
    found = figure["layout"]["shapes"][0]["label"]
    assert (found["textposition"], found["yanchor"]) == place


def test_the_label_keeps_off_another_line() -> None:
    layer = dataclasses.replace(LAYER, energy=np.array([-0.1, 0.3]))
    for floor, side in ((-0.6, "top"), (-0.21, "bottom")):
        figure = checked(energy_figure(dataclasses.replace(layer, floor=Floor(floor, True))))
        found = figure["layout"]["shapes"][0]["label"]
        assert (found["textposition"], found["yanchor"]) == ("start", side)


def test_long_names_keep_their_end_and_bounds_bear_an_asterisk() -> None:
    long = dataclasses.replace(LAYER, name="backbone.stages.3.blocks.2.attention.qkv", floor=Floor(-0.6, False))
    assert layer_label(long) == "…stages.3.blocks.2.attention.qkv *"
    assert layer_label(LAYER) == "conv1_0"
    twin = dataclasses.replace(long, name="x" + long.name[1:])
    ticks = overview_figure([("", [long, twin], TRAIN)])["layout"]["yaxis"]["tickvals"]
    assert ticks == [0, 1]
