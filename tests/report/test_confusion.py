# SPDX-License-Identifier: MIT
"""Tests of report.confusion."""

from __future__ import annotations

import numpy as np
import pytest

from figures import checked
from hypersphere.report.confusion import Confused, class_order, confused_classes, confusion_figure, most_confused

COUNTS = np.array([[8, 2, 0], [0, 10, 0], [3, 1, 6]])


def many(count: int = 100) -> np.ndarray:
    """Classes that are taken for the one of the same number modulo half."""
    confusion = 90 * np.eye(count, dtype=np.int64)
    place = np.arange(count)
    confusion[place, (place + count // 2) % count] = 10
    return confusion


def test_most_confused_in_order() -> None:
    assert most_confused(COUNTS) == [Confused(2, 0, 3, 10), Confused(0, 1, 2, 10), Confused(2, 1, 1, 10)]
    assert most_confused(COUNTS, count=1) == [Confused(2, 0, 3, 10)]
    assert most_confused(np.eye(3, dtype=int)) == []


def test_classes_that_get_a_colour() -> None:
    assert confused_classes(COUNTS, 3, limit=10) == [0, 1, 2]
    assert confused_classes(COUNTS, 3, limit=2) == [0, 2]
    assert confused_classes(None, 30, limit=4) == [0, 1, 2, 3]
    assert confused_classes(np.eye(30, dtype=int), 30, limit=4) == [0, 1, 2, 3]


def test_few_classes_keep_their_order_and_show_their_counts() -> None:
    figure = checked(confusion_figure(COUNTS, ["a", "b", "c"]))
    right, wrong = figure["data"]
    assert right["x"] == ["a", "b", "c"]
    assert right["z"].diagonal().tolist() == [0.8, 1.0, 0.6]
    assert np.isnan(wrong["z"].diagonal()).all()
    assert wrong["zmax"] == 0.3
    cells = {(note["y"], note["x"]): note["text"] for note in figure["layout"]["annotations"]}
    assert cells == {
        ("a", "a"): "8",
        ("a", "b"): "2",
        ("b", "b"): "10",
        ("c", "a"): "3",
        ("c", "b"): "1",
        ("c", "c"): "6",
    }


def test_many_classes_stand_next_to_what_they_are_taken_for() -> None:
    order = class_order(many())
    place = np.argsort(order)
    assert (np.abs(place[:50] - place[50:]) == 1).all()
    figure = checked(confusion_figure(many(), [f"class {n}" for n in range(100)]))
    assert figure["layout"]["annotations"] == []
    assert len(figure["layout"]["xaxis"]["tickvals"]) == 50


def test_some_classes_of_many_keep_their_shares() -> None:
    figure = checked(confusion_figure(COUNTS, ["a", "b", "c"], [0, 1]))
    assert figure["data"][0]["x"] == ["a", "b"]
    assert figure["data"][0]["z"].diagonal().tolist() == [0.8, 1.0]
    assert figure["data"][1]["zmax"] == 0.2


@pytest.mark.parametrize("names", [["0", "1", "2"], ["x", "x", "x"], ["<i>", "&", "long " * 20]])
def test_names_become_distinct_categories(names: list[str]) -> None:
    figure = checked(confusion_figure(COUNTS, names))
    categories = figure["data"][0]["x"]
    assert len(set(categories)) == 3
    assert figure["layout"]["xaxis"]["type"] == "category"
    assert not any("<" in name for name in categories)


def test_a_class_without_images_and_no_mistakes() -> None:
    figure = checked(confusion_figure(np.diag([3, 0, 2]), ["a", "b", "c"]))
    assert figure["data"][0]["z"].diagonal().tolist() == [1.0, 0.0, 1.0]
    assert [note["text"] for note in figure["layout"]["annotations"]] == ["3", "2"]
