# SPDX-License-Identifier: MIT
"""Settings: the defaults make a run, every one is described, and none takes what is not a number."""

from __future__ import annotations

import dataclasses
import math
import re

import pytest

from hypersphere.config import Config

SECTIONS: dict[str, type] = {
    name: value.default_factory
    for name, value in Config.__dataclass_fields__.items()
    if callable(value.default_factory)
}


def test_every_setting_has_a_default_of_its_own() -> None:
    first, second = Config(), Config()
    assert first == second
    first.data.keep["cat"] = 0.5
    first.data.mean.append(1.0)
    first.model.arguments["width"] = 8
    assert second == Config()


@pytest.mark.parametrize("section", SECTIONS)
def test_every_setting_is_described(section: str) -> None:
    described = re.findall(r"^    +(\w+): ", SECTIONS[section].__doc__ or "", re.MULTILINE)
    assert described == [field.name for field in dataclasses.fields(SECTIONS[section])]


@pytest.mark.parametrize("section", SECTIONS)
def test_not_a_number_passes_no_range(section: str) -> None:
    # an offset and a monitor are checked by the energy that they describe
    names = [
        field.name
        for field in dataclasses.fields(SECTIONS[section])
        if field.type in ("float", "float | None") and section != "monitor" and field.name != "angle_offset"
    ]
    for name in names:
        with pytest.raises(ValueError, match=rf"(?s){section}: .*{name}"):
            SECTIONS[section](**{name: math.nan})
