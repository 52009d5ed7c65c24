# SPDX-License-Identifier: MIT
"""Every setting by its dotted name: its type, its flag, its help, and what is said of a wrong name or value."""

from __future__ import annotations

import functools
import re
import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from hypersphere.checks import nearest
from hypersphere.config import Config

try:
    import jsonargparse
except ModuleNotFoundError as error:
    raise ImportError(f'reading settings needs the package {error.name}: pip install "hypersphere[train]"') from error

__all__ = ["flags_help", "read_value", "sections", "setting_names", "setting_of", "unknown_key", "wrong_value"]


# what other programs call a setting
_COMMON_NAMES = {"learning_rate": "optimizer.rate", "lr": "optimizer.rate"}


def setting_names() -> list[str]:
    """The dotted name of every setting, in the order of the sections.

    Example:
        >>> setting_names()[:3]
        ['recipe', 'description', 'data.name']
    """
    return list(_hints())


@functools.cache
def sections() -> dict[str, type[Any]]:
    """The sections of a config, such as `training`, with their dataclasses."""
    return {
        name: hint for name, hint in get_type_hints(Config).items() if isinstance(hint, type) and is_dataclass(hint)
    }


def setting_of(key: str) -> str | None:
    """The setting that a key belongs to: itself, the dictionary of which it names an entry, or None.

    Example:
        >>> setting_of("training.epochs"), setting_of("data.keep.cat"), setting_of("training.epoch")
        ('training.epochs', 'data.keep', None)
    """
    hints = _hints()
    if key in hints:
        return key
    owner = ".".join(key.split(".")[:2])
    return owner if key.count(".") >= 2 and get_origin(hints.get(owner)) is dict else None


def read_value(key: str, value: Any, *, typed: bool = False) -> Any:
    """A value in the type of its setting.

    Args:
        key: a setting or an entry of one that is a dictionary.
        value: what a file or a program gave; text, if `typed`.
        typed: the text was typed as a flag and is read as YAML would be.

    Raises:
        ValueError: if it cannot be of this type; `wrong_value` is the sentence to say.

    Example:
        >>> read_value("training.epochs", "1e-1", typed=True)
        0.1
    """
    setting = setting_of(key)
    assert setting is not None
    entry = None if key == setting else key.removeprefix(f"{setting}.")
    hint = _hint_of(key)
    try:
        if typed:
            found = _parser().parse_args([f"--{key}={value}"], defaults=False)
        elif (isinstance(value, str) and not _takes_text(hint)) or (value is None and not _takes_none(hint)):
            # jsonargparse would read a number from text, and takes None for anything
            raise ValueError(key)
        else:
            nested: Any = _with_text_keys(value) if entry is None else {entry: value}
            for part in reversed(setting.split(".")):
                nested = {part: nested}
            found = _parser().parse_object(nested, defaults=False)
    except (jsonargparse.ArgumentError, TypeError) as error:
        raise ValueError(str(error)) from error
    return found[setting] if entry is None else found[setting][entry]


def wrong_value(key: str, value: Any) -> str:
    """The sentence for a value that `read_value` refuses.

    Example:
        >>> wrong_value("training.epochs", "many")
        "training.epochs: expected a number, got 'many'."
    """
    return f"{key}: expected {_expected(_hint_of(key))}, got {value!r:.60}."


def unknown_key(key: str, *, flags: bool = False) -> str:
    """The sentence for a key that is no setting, with the nearest that is.

    Example:
        >>> unknown_key("training.epoch")
        "unknown key 'training.epoch': did you mean 'training.epochs'?"
    """
    dashes = "--" if flags else ""
    guess = _meant(key)
    section = key.split(".")[0]
    if guess:
        advice = f"did you mean '{dashes}{guess}'?"
    elif section in sections():
        advice = f"{section} has {', '.join(field.name for field in fields(sections()[section]))}."
    else:
        advice = f"the sections are {', '.join(sections())}."
    return f"unknown {'flag' if flags else 'key'} '{dashes}{key}': {advice}"


def _meant(key: str) -> str | None:
    """The right name nearest to a wrong one."""
    names = setting_names()
    section, dot, _ = key.partition(".")
    if not dot and nearest(section, list(sections())):
        return nearest(section, list(sections()))
    # the entry of a dictionary, misspelt before the entry
    owner, entry = ".".join(key.split(".")[:2]), ".".join(key.split(".")[2:])
    right = nearest(owner, names)
    if entry and right and get_origin(_hints()[right]) is dict:
        return f"{right}.{entry}"
    # --epochs and data.epochs mean training.epochs
    endings: dict[str, list[str]] = {common: [name] for common, name in _COMMON_NAMES.items()}
    for name in names:
        endings.setdefault(name.split(".")[-1], []).append(name)
    last = key.split(".")[-1]
    near = nearest(last, endings) if last not in endings else last
    return nearest(key, endings[near]) or endings[near][0] if near else None


def flags_help() -> str:
    """The flag of every setting with its meaning, type and default, section by section, as text for a terminal."""
    text: str = _parser().format_help()
    # a usage line comes first
    text = text.partition("\n\n")[2]
    # what jsonargparse offers besides and nobody needs: a file for each section, a flag that lengthens a list
    text = re.sub(r"^  --\w+ CONFIG\s+Path\s+to\s+a\s+configuration\s+file\.\n", "", text, flags=re.MULTILINE)
    return re.sub(r",\s+--[\w.]+\+ \[ITEM,\.\.\.\]", "", text).strip("\n")


@functools.cache
def _hints() -> dict[str, Any]:
    """Dotted name of every setting -> its annotation."""
    found: dict[str, Any] = {}
    for name, hint in get_type_hints(Config).items():
        below = get_type_hints(hint) if is_dataclass(hint) else {}
        found |= {f"{name}.{key}": value for key, value in below.items()} if below else {name: hint}
    return found


def _hint_of(key: str) -> Any:
    setting = setting_of(key)
    assert setting is not None
    return _hints()[setting] if key == setting else get_args(_hints()[setting])[1]


def _with_text_keys(value: Any) -> Any:
    """A mapping with its keys as text: classes may be numbers."""
    return {str(name): entry for name, entry in value.items()} if isinstance(value, Mapping) else value


def _takes_none(hint: Any) -> bool:
    return hint is Any or type(None) in _union(hint)


def _takes_text(hint: Any) -> bool:
    return hint is Any or hint is str or get_origin(hint) is Literal or any(_takes_text(part) for part in _union(hint))


def _union(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (types.UnionType, Union) else ()


def _expected(hint: Any) -> str:
    """An annotation in words."""
    simple = {float: "a number", int: "a whole number", bool: "true or false", str: "text", type(None): "null"}
    if hint in simple:
        return simple[hint]
    if union := _union(hint):
        return " or ".join(_expected(part) for part in union)
    parts = get_args(hint)
    if get_origin(hint) is Literal:
        return "one of " + ", ".join(map(repr, parts))
    many = {float: "numbers", int: "whole numbers", str: "texts"}
    if get_origin(hint) is list:
        return f"a list of {many[parts[0]]}, [a, b]"
    if get_origin(hint) is tuple:
        return f"a list of {len(parts)} {many[parts[0]]}"
    return "entries of name: " + ("number" if parts[1] is float else "value")


@functools.cache
def _parser() -> jsonargparse.ArgumentParser:
    """One flag for each setting, with type, default and text taken from the dataclasses."""
    parser = jsonargparse.ArgumentParser(exit_on_error=False, add_help=False, usage="", allow_abbrev=False)
    parser.add_class_arguments(Config, None, skip=set(sections()))
    for name, section in sections().items():
        parser.add_class_arguments(section, name)
    return parser
