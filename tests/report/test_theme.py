# SPDX-License-Identifier: MIT
"""Tests of report.theme: names from the data cannot become markup, numbers arrive as they were."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pytest

from figures import checked
from hypersphere.report.theme import CLASSES, DARK, LIGHT, RUNS, class_color, encode, label, reference_line, spec


def test_names_are_escaped_and_shortened() -> None:
    assert label("<b>cat</b> & dog") == "&lt;b&gt;cat&lt;/b&gt; &amp; dog"
    assert label("x" * 50, 10) == "x" * 9 + "…"
    assert label(3) == "3"


def test_json_cannot_end_its_script_element() -> None:
    text = encode({"name": "</script><script>alert(1)</script>"})
    assert "<" not in text
    assert json.loads(text)["name"] == "</script><script>alert(1)</script>"


@pytest.mark.parametrize(
    ("array", "kind", "dtype"),
    [
        (np.array([1.5, -2.0]), "f4", "<f4"),
        (np.array([1.5, -2.0], dtype=np.float16), "f4", "<f4"),
        (np.array([1, 70_000]), "i4", "<i4"),
        (np.array([0, 255], dtype=np.uint8), "u1", "u1"),
        (np.array([True, False]), "i4", "<i4"),
        (np.arange(6.0).reshape(2, 3), "f4", "<f4"),
    ],
)
def test_arrays_travel_packed(array: np.ndarray, kind: str, dtype: str) -> None:
    packed = json.loads(encode(array))
    assert packed["dtype"] == kind
    found = np.frombuffer(base64.b64decode(packed["bdata"]), dtype)
    assert found.tolist() == array.ravel().tolist()
    assert packed.get("shape") == ("2, 3" if array.ndim == 2 else None)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (float("nan"), None),
        (float("inf"), None),
        (np.float32(0.5), 0.5),
        (np.int64(3), 3),
        (np.array(["a", "b"]), ["a", "b"]),
        ((1, None, "x", True), [1, None, "x", True]),
        ({1: np.float64("nan")}, {"1": None}),
    ],
)
def test_plain_values(value: Any, expected: Any) -> None:
    assert json.loads(encode(value)) == expected


def test_infinities_in_arrays_become_gaps() -> None:
    packed = json.loads(encode(np.array([1.0, np.inf, -np.inf])))
    found = np.frombuffer(base64.b64decode(packed["bdata"]), "<f4")
    assert np.isnan(found[1:]).all()


@pytest.mark.parametrize("template", [LIGHT, DARK])
def test_templates_are_known_to_plotly(template: dict[str, Any]) -> None:
    shapes = [reference_line(0.5, "half", "#7f8794", above=True)]
    checked(spec([{"type": "scatter", "x": [0, 1], "y": [0, 1]}], template=template, shapes=shapes))


def test_colours_are_distinct() -> None:
    assert len(set(CLASSES)) == len(CLASSES) == 10
    assert len(set(RUNS)) == len(RUNS)
    assert class_color(11) == class_color(1)
