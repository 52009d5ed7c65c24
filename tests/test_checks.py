# SPDX-License-Identifier: MIT
"""The sentences of errors: who speaks, what was expected, what arrived, what to do."""

from __future__ import annotations

import re

import pytest
import torch

from hypersphere import checks

TABLE = {"arcface": 1, "cosface": 2, "SphereFace": 3}


def test_lookup_returns_the_entry() -> None:
    assert checks.lookup("margin", "cosface", TABLE) == 2


def test_lookup_lists_the_choices_and_the_nearest() -> None:
    expected = r"unknown margin 'arcfac': choose SphereFace, arcface, cosface \(did you mean 'arcface'\?\)"
    with pytest.raises(ValueError, match=expected):
        checks.lookup("margin", "arcfac", TABLE)


def test_lookup_guesses_nothing_when_nothing_is_near() -> None:
    with pytest.raises(ValueError, match=r"unknown margin 'xyz': choose SphereFace, arcface, cosface$"):
        checks.lookup("margin", "xyz", TABLE)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("sphereface", "SphereFace"), ("COSFACE", "cosface"), ("arc", "arcface"), ("xyz", None), ("", None)],
)
def test_nearest_ignores_case(name: str, expected: str | None) -> None:
    assert checks.nearest(name, TABLE) == expected


@pytest.mark.parametrize("name", [None, 1, ["cosface"]])
def test_what_is_no_string_is_no_name(name: object) -> None:
    got = re.escape(repr(name))
    with pytest.raises(
        TypeError, match=rf"^margin: expected a string, one of SphereFace, arcface, cosface, got {got}\.$"
    ):
        checks.lookup("margin", name, TABLE)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=rf"^head: margin: expected a string, one of arcface, cosface, got {got}\.$"):
        checks.check_choice("head", "margin", name, ["cosface", "arcface"])  # type: ignore[arg-type]


def test_nearest_of_nothing() -> None:
    assert checks.nearest("a", []) is None


def test_check_choice() -> None:
    checks.check_choice("energy", "distance", "angular", ["angular", "euclidean"])
    expected = r"^energy: unknown distance 'anglar': choose angular, euclidean \(did you mean 'angular'\?\)$"
    with pytest.raises(ValueError, match=expected):
        checks.check_choice("energy", "distance", "anglar", ["angular", "euclidean"])


@pytest.mark.parametrize("value", [0, 0.5, 1])
def test_check_range_includes_both_ends(value: float) -> None:
    checks.check_range("energy", "share", value, low=0, high=1)


@pytest.mark.parametrize("value", [-1e-9, 1.0000001, float("nan"), float("inf")])
def test_check_range_refuses(value: float) -> None:
    with pytest.raises(ValueError, match=r"^energy: share must lie in \[0, 1\], got "):
        checks.check_range("energy", "share", value, low=0, high=1)


@pytest.mark.parametrize("value", [None, "0.3", [0.3], 1j, True])
def test_check_range_wants_a_number(value: object) -> None:
    with pytest.raises(TypeError, match=rf"^energy: share must be a number, got {re.escape(repr(value))}\. Or none\.$"):
        checks.check_range("energy", "share", value, low=0, high=1, hint="Or none.")  # type: ignore[arg-type]


@pytest.mark.parametrize("value", ["no", 0, 1.0, None])
def test_check_flag_takes_no_word_for_a_flag(value: object) -> None:
    checks.check_flag("convert", "linear", False)
    with pytest.raises(TypeError, match=rf"^convert: linear must be True or False, got {re.escape(repr(value))}\.$"):
        checks.check_flag("convert", "linear", value)


def test_check_range_names_the_unit_and_the_remedy() -> None:
    expected = r"^ArcFace: angle must lie in \[0, 3\] radians, got 28\.6\. Degrees\? Use math\.radians\.$"
    with pytest.raises(ValueError, match=expected):
        checks.check_range("ArcFace", "angle", 28.6, low=0, high=3, unit="radians", hint="Degrees? Use math.radians.")


def test_check_matrix_accepts_what_it_asks_for() -> None:
    checks.check_matrix("energy", "weight", torch.ones(2, 3), "K D")
    checks.check_matrix("energy", "weight", torch.ones(2, 3, 4, dtype=torch.bfloat16), "B K D")


def test_check_matrix_names_the_axes() -> None:
    with pytest.raises(ValueError, match=r"^energy: expected weight \(K, D\), got shape \(2, 3, 4\)\.$"):
        checks.check_matrix("energy", "weight", torch.ones(2, 3, 4), "K D")


def test_check_matrix_wants_floating_point() -> None:
    with pytest.raises(TypeError, match=r"^energy: expected weight of a floating-point dtype, got torch\.int64\."):
        checks.check_matrix("energy", "weight", torch.ones(2, 3, dtype=torch.int64), "K D")


def test_check_matrix_wants_a_tensor() -> None:
    with pytest.raises(TypeError, match=r"^energy: expected weight to be a torch\.Tensor, got list\.$"):
        checks.check_matrix("energy", "weight", [[1.0]], "K D")  # type: ignore[arg-type]


def test_problems_reports_all_at_once() -> None:
    checks.problems("data", [])
    with pytest.raises(ValueError, match=r"^data: no such column$"):
        checks.problems("data", ["no such column"])
    with pytest.raises(ValueError, match=r"^data: 2 problems:\n  - no such column\n  - empty split$"):
        checks.problems("data", ["no such column", "empty split"])


@pytest.mark.parametrize("value", [0, -1, 2.0, True, "3", None, float("nan")])
def test_check_count_refuses(value: object) -> None:
    with pytest.raises(ValueError, match=r"^CNN: width must be a whole number of 1 or more, got "):
        checks.check_count("CNN", "width", value)
    checks.check_count("CNN", "width", 1)


def test_a_channel_order_fits_the_channels() -> None:
    for channels in (1, 3, 4):
        checks.check_channel_order("data", "rgb", channels)
    checks.check_channel_order("data", "bgr", 3)
    with pytest.raises(
        ValueError, match=r"data: channel_order 'bgr' needs images of 3 channels, got 1\. Leave it out\."
    ):
        checks.check_channel_order("data", "bgr", 1)
    with pytest.raises(ValueError, match=r"data: unknown channel_order 'gbr': choose bgr, rgb"):
        checks.check_channel_order("data", "gbr", 3)
