# SPDX-License-Identifier: MIT
"""Specifications by name: a string, a mapping of plain values (as a settings file holds them) or the object itself."""

from __future__ import annotations

import dataclasses
import numbers
from collections.abc import Mapping
from typing import Any, TypeVar

from hypersphere.checks import lookup, problems, unknown_name

__all__ = ["as_spec", "plain_values"]

Spec = TypeVar("Spec")


def as_spec(kind: str, value: str | Mapping[str, Any] | Spec, table: Mapping[str, Spec], base: type[Spec]) -> Spec:
    """The specification that a user means.

    Args:
        kind: what it is called in errors, such as "angle".
        value: a name in `table`; a mapping with the key "name" and arguments that differ from those of that entry;
            or an object of class `base`, which is returned as it is.
        table: name -> specification.
        base: the class of all specifications of this kind.

    Raises:
        ValueError: for an unknown name or argument, or an argument out of range.
        TypeError: for anything else.
    """
    if isinstance(value, base):
        return value
    if isinstance(value, str):
        return lookup(kind, value, table)
    if not isinstance(value, Mapping):
        raise TypeError(f"{kind}: expected a name, a mapping with a name, or an object, got {type(value).__name__}.")
    if "name" not in value:
        raise ValueError(f"{kind}: a mapping needs the key 'name' (one of {', '.join(table)}), got {dict(value)}.")
    if not isinstance(value["name"], str):
        raise TypeError(f"{kind}: the name in a mapping must be a string, got {value['name']!r}.")
    entry: Any = lookup(kind, value["name"], table)
    given = {key: argument for key, argument in value.items() if key != "name"}
    known = [field.name for field in dataclasses.fields(entry)]
    wrong = [unknown_name("argument", key, known) for key in given if key not in known]
    for key in known:
        # a plain loop: compilers cannot read a name that is given inside a comprehension
        default = getattr(entry, key)
        if key not in given or not isinstance(default, int | float):
            continue
        # a word is neither a number nor a yes or no, though "no" would count as a yes
        if not isinstance(given[key], numbers.Real) or isinstance(given[key], bool) != isinstance(default, bool):
            wanted = "true or false" if isinstance(default, bool) else "a number"
            wrong.append(f"{key} must be {wanted}, got {given[key]!r}.")
    problems(f"{kind} {value['name']!r}", wrong)
    made: Spec = dataclasses.replace(entry, **given)
    return made


def plain_values(spec: Any, table: Mapping[str, Any]) -> str | dict[str, Any]:
    """A name, or a mapping of plain values, from which `as_spec` makes an equal specification again.

    Raises:
        ValueError: if `table` has no entry of this class.
    """
    for name, entry in table.items():
        if entry == spec:
            return name
    for name, entry in table.items():
        if type(entry) is type(spec):
            return {"name": name} | dataclasses.asdict(spec)
    raise ValueError(f"{spec!r} has no name, so it cannot be written down.")
