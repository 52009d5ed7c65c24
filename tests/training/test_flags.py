# SPDX-License-Identifier: MIT
"""Names, types and flags of settings: what is read, and what is said of what cannot be."""

from __future__ import annotations

import re
from typing import Any

import pytest

from hypersphere.config import Config
from hypersphere.training.flags import (
    flags_help,
    read_value,
    sections,
    setting_names,
    setting_of,
    unknown_key,
    wrong_value,
)


def test_every_field_of_every_section_is_a_setting() -> None:
    fields = [f"{name}.{field}" for name, section in sections().items() for field in section.__dataclass_fields__]
    assert setting_names() == ["recipe", "description", *fields]
    assert [*sections()] == [*Config.__dataclass_fields__][2:]


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("training.epochs", "3", 3.0),
        ("training.epochs", "1e-1", 0.1),
        ("training.steps", "null", None),
        ("training.clip", "5", 5.0),
        ("data.flip", "true", True),
        ("data.name", "5", "5"),
        ("data.mean", "[1, 2e0]", [1.0, 2.0]),
        ("data.keep", "{cat: 0.5}", {"cat": 0.5}),
        ("data.keep.cat", "1e-1", 0.1),
        ("data.keep.3", "1", 1.0),
        ("energy.include", "[a,b]", ["a", "b"]),
        ("energy.include", "[model.block1*, head]", ["model.block1*", "head"]),
        ("head.scale", "30", 30.0),
        ("head.scale", "feature", "feature"),
        ("optimizer.betas", "[0.9, 0.99]", (0.9, 0.99)),
        ("model.arguments.base_width", "16", 16),
        ("model.arguments.norm_eps", "1e-3", 1e-3),
        ("model.arguments.feature_norm", "true", True),
        ("model.arguments.operator", "conv", "conv"),
        ("model.arguments.widths", "[8, 16]", [8, 16]),
        ("energy.hidden_weight", "-1", -1.0),
    ],
)
def test_a_typed_value_is_read_in_its_type(key: str, text: str, value: object) -> None:
    found = read_value(key, text, typed=True)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("key", "given", "value"),
    [
        ("training.epochs", 3, 3.0),
        ("training.steps", None, None),
        ("data.keep", {1: 0.5, "cat": 1}, {"1": 0.5, "cat": 1.0}),
        ("data.keep.cat", 1, 1.0),
        ("head.scale", 30, 30.0),
        ("optimizer.betas", [0.9, 0.99], (0.9, 0.99)),
        ("model.arguments.widths", [8, 16], [8, 16]),
        ("model.arguments.feature_width", None, None),
    ],
)
def test_a_given_value_is_read_in_its_type(key: str, given: object, value: object) -> None:
    found = read_value(key, given)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("key", "given", "expected"),
    [
        ("training.epochs", "3", "a number"),
        ("training.epochs", True, "a number"),
        ("training.epochs", None, "a number"),
        ("training.seed", 3.0, "a whole number"),
        ("training.seed", True, "a whole number"),
        ("training.steps", "all", "a whole number or null"),
        ("data.flip", "yes", "true or false"),
        ("data.flip", 1, "true or false"),
        ("data.name", 5, "text"),
        ("data.mean", 127.5, "a list of numbers, [a, b]"),
        ("data.mean", [1, "a"], "a list of numbers, [a, b]"),
        ("energy.include", "a", "a list of texts, [a, b]"),
        ("data.keep", {"cat": "half"}, "entries of name: number"),
        ("data.keep.cat", "half", "a number"),
        ("model.arguments", 3, "entries of name: value"),
        ("optimizer.betas", [0.9], "a list of 2 numbers"),
        ("optimizer.name", "adamm", "one of 'sgd', 'adam', 'adamw'"),
        ("head.scale", [1], "a number or text"),
    ],
)
def test_a_value_of_another_type_is_refused_in_words(key: str, given: Any, expected: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        read_value(key, given)
    assert "<class" not in wrong_value(key, given)
    assert wrong_value(key, given) == f"{key}: expected {expected}, got {given!r}."
    assert caught.value.args


@pytest.mark.parametrize("typed", ["many", "[1]", "", "1.5.2"])
def test_typed_text_that_is_no_number_is_refused(typed: str) -> None:
    with pytest.raises(ValueError, match="epochs"):
        read_value("training.epochs", typed, typed=True)


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("training.epoch", "training.epochs"),
        ("training.epohcs", "training.epochs"),
        ("trainning.epochs", "training.epochs"),
        ("data.epochs", "training.epochs"),
        ("epochs", "training.epochs"),
        ("half_space", "energy.half_space"),
        ("heads", "head"),
        ("optimiser", "optimizer"),
        ("optimiser.rate", "optimizer.rate"),
        ("model.argments.base_width", "model.arguments.base_width"),
        ("lerning_rate", "optimizer.rate"),
        ("training.lr", "optimizer.rate"),
        ("zzz", None),
    ],
)
def test_an_unknown_key_meets_the_nearest_right_one(key: str, meant: str | None) -> None:
    assert setting_of(key) is None
    told = unknown_key(key)
    assert told.startswith(f"unknown key '{key}': ")
    if meant is None:
        assert told.endswith(f"the sections are {', '.join(sections())}.")
    else:
        assert told.endswith(f"did you mean '{meant}'?")


def test_a_key_that_is_near_nothing_meets_what_its_section_has() -> None:
    assert unknown_key("model.zzz") == "unknown key 'model.zzz': model has name, arguments."


def test_an_unknown_flag_is_told_as_it_is_typed() -> None:
    assert unknown_key("training.epoch", flags=True) == (
        "unknown flag '--training.epoch': did you mean '--training.epochs'?"
    )


@pytest.mark.parametrize("columns", ["50", "80", "200"])
def test_the_help_holds_every_flag_once_and_nothing_else(columns: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    text = flags_help()
    assert re.findall(r"^  --([\w.]+)", text, re.MULTILINE) == setting_names()
    assert "CONFIG" not in text
    assert "+ [ITEM" not in text
    assert "passes over the training images" in " ".join(text.split())
