# SPDX-License-Identifier: MIT
"""The catalogue: every family leads to its table, every entry has its line."""

from __future__ import annotations

import pytest

from hypersphere.catalogue import FAMILIES, entries


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_has_entries_and_every_entry_a_line(family: str) -> None:
    found = entries(family)
    assert found
    for name, line in found.items():
        assert name == name.strip() != ""
        assert len(line) > 5, name
        assert "\n" not in line, f"{family} {name}: one line, please"
        assert " object at 0x" not in line, f"{family} {name}: give it a docstring or a line of its own"


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_says_what_it_decides(family: str) -> None:
    assert FAMILIES[family].purpose
    assert FAMILIES[family].chosen_by


def test_an_unknown_family_is_named_with_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"unknown family 'energy': choose .* \(did you mean 'energies'\?\)"):
        entries("energy")
