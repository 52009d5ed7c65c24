# SPDX-License-Identifier: MIT
"""From a recipe, a YAML file and flags to a `Config`, and back; every key and type is checked, all problems at once."""

from __future__ import annotations

import copy
import functools
import types
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields, is_dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from hypersphere.checks import lookup, nearest, problems
from hypersphere.config import Config
from hypersphere.files import write_atomically

try:
    import jsonargparse
    import yaml
except ModuleNotFoundError as error:
    raise ImportError(f'reading recipes needs the package {error.name}: pip install "hypersphere[train]"') from error

__all__ = [
    "differences",
    "flags_help",
    "load_recipe",
    "make_config",
    "read_config",
    "recipe_lines",
    "recipe_names",
    "save_config",
    "setting_names",
]

Values = dict[str, Any]


def recipe_names() -> list[str]:
    """The recipes that come with the package."""
    return sorted(_recipe_files())


def recipe_lines() -> dict[str, str]:
    """Every recipe that comes with the package, with the line that describes it."""
    return {name: str(load_recipe(name)["description"]) for name in recipe_names()}


def load_recipe(name: str | Path) -> Values:
    """The values that a recipe gives, section by section; whatever it leaves out keeps its default.

    Args:
        name: a name of `recipe_names`, or the path of a YAML file.

    Raises:
        ValueError: if no recipe has this name, the file is no YAML, or a key or value in it is wrong.
        OSError: if the file cannot be read.

    Example:
        >>> load_recipe("digits")["model"]["name"]
        'digits-cnn'
    """
    path = Path(name)
    if path.suffix in (".yaml", ".yml") or len(path.parts) > 1:
        values = _read_yaml(path)
        return {"recipe": path.stem} | _checked(values, str(path))
    file = lookup("recipe", str(name), _recipe_files())
    return {"recipe": str(name)} | _checked(_parse_yaml(file.read_text(encoding="utf-8"), file.name), file.name)


def make_config(
    recipe: str | Path | None = None, overrides: Sequence[str] | Mapping[str, Any] = (), *, base: Config | None = None
) -> Config:
    """The settings of a run: defaults, then the recipe's values, then the overrides.

    Args:
        recipe: a name or a path for `load_recipe`, or None for the defaults alone.
        overrides: flags as they are typed, `["--training.epochs", "3"]`, or nested or dotted keys,
            `{"training": {"epochs": 3}}`, `{"training.epochs": 3}`. An entry of a dictionary is set by its own key,
            `--model.arguments.base_width 16`; the dictionary's own flag replaces all of it.
        base: what to start from in place of the defaults and a recipe.

    Raises:
        ValueError: that names every unknown key (with the nearest right one), every value of a wrong type and every
            number out of its range.
        OSError: if the recipe's file cannot be read.

    Example:
        >>> make_config("digits", ["--training.epochs", "1e-1"]).training.epochs
        0.1
        >>> make_config(None, {"training": {"epoch": 3}})
        Traceback (most recent call last):
        ValueError: config: unknown key 'training.epoch': did you mean 'training.epochs'?
    """
    values: Values = asdict(base) if base is not None else {}
    if recipe is not None:
        _merge(values, load_recipe(recipe))
    flags = not isinstance(overrides, Mapping)
    given = _read_flags(overrides) if flags else overrides
    _merge(values, _checked(given, "command line" if flags else "config", flags=flags))
    return _build(values)


def read_config(path: Path) -> Config:
    """The settings that a YAML file holds, such as `config.yaml` of a run.

    Raises:
        ValueError: as `make_config` does, naming the file.
        OSError: if it cannot be read.
    """
    return _build(_checked(_read_yaml(path), str(path)), str(path))


def save_config(config: Config, path: Path) -> None:
    """Write every setting to a YAML file that `read_config` reads back; the file is whole or not there.

    Raises:
        OSError: if it cannot be written; an older file is then unharmed.
    """
    values = asdict(config)
    values["optimizer"]["betas"] = list(config.optimizer.betas)
    write_atomically(path, yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=120))


def differences(recorded: Config, wanted: Config) -> list[str]:
    """What is not the same, one line for each setting; a recipe's name and description are not compared.

    Example:
        >>> differences(make_config("digits", ["--training.epochs", "10"]), make_config("digits", {"training.epochs": 12}))
        ['training.epochs: 10 in the run, 12 now']
    """
    old, new = (_leaves(asdict(config)) for config in (recorded, wanted))
    keys = [key for key in {**old, **new} if key not in ("recipe", "description")]
    return [
        f"{key}: {_shown(old, key)} in the run, {_shown(new, key)} now"
        for key in keys
        if key not in old or key not in new or old[key] != new[key]
    ]


def setting_names() -> list[str]:
    """The dotted name of every setting, in the order of the sections."""
    return list(_hints())


def flags_help() -> str:
    """The flag of every setting with its meaning, type and default, section by section, as text for a terminal."""
    text: str = _parser().format_help()
    return text[text.index("options:") :].partition("\n")[2].strip("\n")


@functools.cache
def _recipe_files() -> dict[str, Traversable]:
    folder = resources.files("hypersphere") / "recipes"
    return {file.name.removesuffix(".yaml"): file for file in folder.iterdir() if file.name.endswith(".yaml")}


def _read_yaml(path: Path) -> Values:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise FileNotFoundError(f"there is no file {path}.") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: this is not a text file in UTF-8.") from error
    return _parse_yaml(text, str(path))


def _parse_yaml(text: str, who: str) -> Values:
    try:
        # jsonargparse's loader reads 1e-3 as a number, which YAML 1.1 calls text
        values = jsonargparse.get_loader("yaml")(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f" in line {mark.line + 1}" if mark else ""
        raise ValueError(f"{who}: not YAML{place}: {getattr(error, 'problem', None) or 'unreadable'}.") from error
    if values is None or values == "":
        return {}
    if not isinstance(values, dict):
        raise ValueError(f"{who}: expected sections such as 'training:' with values below, got {values!r:.60}.")
    return values


def _read_flags(words: Iterable[str]) -> dict[str, str]:
    """`--a.b value` and `--a.b=value` as a dictionary of what was typed."""
    rest = list(words)
    found: dict[str, str] = {}
    wrong = []
    while rest:
        flag, equals, value = rest.pop(0).partition("=")
        if not flag.startswith("--"):
            wrong.append(f"did not expect {flag!r}: settings are given as --section.name VALUE.")
            continue
        key = flag.removeprefix("--")
        if not equals and (not rest or rest[0].startswith("--")):
            wrong.append(f"{flag} needs a value." if _is_known(key) else _unknown(key, flags=True))
            continue
        found[key] = value if equals else rest.pop(0)
    problems("command line", wrong)
    return found


def _checked(given: Mapping[str, Any], who: str, *, flags: bool = False) -> Values:
    """The same values, nested and in their types, or a ValueError that says all that is wrong with them."""
    values: Values = {}
    wrong: list[str] = []
    for key, value in _given_leaves(given, wrong):
        if not _is_known(key):
            wrong.append(_unknown(key, flags=flags))
            continue
        setting = _setting_of(key)
        assert setting is not None
        try:
            _store(values, key, setting, _typed(key, setting, value, flags))
        except (ValueError, TypeError):
            wrong.append(f"{key}: expected {_expected(_hint_of(key, setting))}, got {value!r:.60}.")
    problems(who, wrong)
    return values


def _given_leaves(given: Mapping[str, Any], wrong: list[str], prefix: str = "") -> list[tuple[str, Any]]:
    """Dotted keys and values, down to single settings; a section that is no mapping is told in `wrong`."""
    found: list[tuple[str, Any]] = []
    for name, value in given.items():
        key = f"{prefix}{name}"
        if key not in _sections():
            found.append((key, value))
        elif isinstance(value, Mapping):
            found += _given_leaves(value, wrong, f"{key}.")
        elif value is not None:
            wrong.append(f"{key}: expected settings such as {_first_of(key)!r}, got {value!r:.60}.")
    return found


def _typed(key: str, setting: str, value: Any, flags: bool) -> Any:
    """A value in the type of its setting, read from text if it was typed as a flag."""
    # numbers and switches in a file are not text: only what was typed is read as if it were YAML
    if not flags and isinstance(value, str) and not _takes_text(_hint_of(key, setting)):
        raise ValueError(key)
    if not flags and value is None and type(None) not in get_args(_hints()[setting]):
        raise ValueError(key)
    parser = _parser()
    try:
        if flags:
            found = parser.parse_args([f"--{key}={value}"], defaults=False)
        else:
            nested: Any = {_entry_of(key, setting): value} if key != setting else _with_text_keys(value)
            for part in reversed(setting.split(".")):
                nested = {part: nested}
            found = parser.parse_object(nested, defaults=False)
    except (jsonargparse.ArgumentError, ValueError, TypeError) as error:
        raise ValueError(str(error)) from error
    result = found[setting]
    return result[_entry_of(key, setting)] if key != setting else result


def _with_text_keys(value: Any) -> Any:
    """A mapping with its keys as text: classes may be numbers."""
    return {str(name): entry for name, entry in value.items()} if isinstance(value, Mapping) else value


def _store(values: Values, key: str, setting: str, value: Any) -> None:
    """Put a value into its section; a dictionary's entry is marked as one by being kept under `Entries`."""
    *sections, name = setting.split(".")
    place = values
    for section in sections:
        place = place.setdefault(section, {})
    if key == setting:
        place[name] = Whole(value) if isinstance(value, dict) else value
    else:
        place.setdefault(name, {})[_entry_of(key, setting)] = value


class Whole(dict[str, Any]):
    """A dictionary that was given as a whole and so replaces what was there."""


def _merge(values: Values, more: Mapping[str, Any]) -> None:
    """Lay `more` over `values`."""
    for name, value in more.items():
        if isinstance(value, dict) and not isinstance(value, Whole) and isinstance(values.get(name), dict):
            _merge(values[name], value)
        else:
            values[name] = copy.deepcopy(value)


def _build(values: Values, who: str = "") -> Config:
    """The dataclasses, their own checks of ranges reported together."""
    parts: Values = {}
    wrong: list[str] = []
    for name, hint in get_type_hints(Config).items():
        given = values.get(name, {})
        try:
            if is_dataclass(hint):
                parts[name] = hint(**{key: dict(v) if isinstance(v, Whole) else v for key, v in given.items()})
            elif name in values:
                parts[name] = given
        except ValueError as error:
            wrong.append(str(error))
    if wrong:
        raise ValueError("\n".join(f"{who}: {line}" if who else line for line in wrong))
    return Config(**parts)


@functools.cache
def _sections() -> dict[str, type]:
    return {name: hint for name, hint in get_type_hints(Config).items() if is_dataclass(hint)}


@functools.cache
def _hints() -> dict[str, Any]:
    """Dotted name of every setting -> its annotation."""
    found: dict[str, Any] = {}
    for name, hint in get_type_hints(Config).items():
        below = get_type_hints(hint) if is_dataclass(hint) else {}
        found |= {f"{name}.{key}": value for key, value in below.items()} if below else {name: hint}
    return found


def _setting_of(key: str) -> str | None:
    """The setting that a key belongs to: itself, or the dictionary of which it names an entry."""
    hints = _hints()
    if key in hints:
        return key
    owner = ".".join(key.split(".")[:2])
    return owner if key.count(".") >= 2 and get_origin(hints.get(owner)) is dict else None


def _is_known(key: str) -> bool:
    return _setting_of(key) is not None


def _entry_of(key: str, setting: str) -> str:
    return key.removeprefix(f"{setting}.")


def _hint_of(key: str, setting: str) -> Any:
    hint = _hints()[setting]
    return hint if key == setting else get_args(hint)[1]


def _first_of(section: str) -> str:
    return next(name for name in _hints() if name.startswith(f"{section}."))


def _unknown(key: str, *, flags: bool = False) -> str:
    """The sentence for a key that no setting has."""
    dashes = "--" if flags else ""
    guess = _meant(key)
    advice = f"did you mean '{dashes}{guess}'?" if guess else f"the sections are {', '.join(_sections())}."
    return f"unknown {'flag' if flags else 'key'} '{dashes}{key}': {advice}"


def _meant(key: str) -> str | None:
    """The right name nearest to a wrong one."""
    names = setting_names()
    section, dot, rest = key.partition(".")
    if not dot and nearest(section, list(_sections())):
        return nearest(section, list(_sections()))
    # the entry of a dictionary, misspelt before the entry
    owner, entry = ".".join(key.split(".")[:2]), ".".join(key.split(".")[2:])
    right = nearest(owner, names)
    if entry and right and get_origin(_hints()[right]) is dict:
        return f"{right}.{entry}"
    # --epochs and data.epochs mean training.epochs
    endings: dict[str, list[str]] = {}
    for name in names:
        endings.setdefault(name.split(".")[-1], []).append(name)
    last = key.split(".")[-1]
    if last not in endings and right:
        return right
    near = nearest(last, endings) if last not in endings else last
    return nearest(key, endings[near]) or endings[near][0] if near else None


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
    many = {float: "numbers", str: "texts"}
    if get_origin(hint) is list:
        return f"a list of {many[parts[0]]}, [a, b]"
    if get_origin(hint) is tuple:
        return f"a list of {len(parts)} {many[parts[0]]}"
    return "entries of name: " + ("number" if parts[1] is float else "value")


def _leaves(values: Mapping[str, Any], prefix: str = "") -> Values:
    found: Values = {}
    for name, value in values.items():
        below = _leaves(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
        found |= below
    return found


def _shown(values: Mapping[str, Any], key: str) -> str:
    if key not in values:
        return "not set"
    return repr(values[key]).removesuffix(".0") if isinstance(values[key], float) else repr(values[key])


@functools.cache
def _parser() -> jsonargparse.ArgumentParser:
    """One flag for each setting, with type, default and text taken from the dataclasses."""
    parser = jsonargparse.ArgumentParser(exit_on_error=False, add_help=False, usage="", allow_abbrev=False)
    for field in fields(Config):
        section = _sections().get(field.name)
        if section is not None:
            parser.add_class_arguments(section, field.name)
        else:
            parser.add_argument(f"--{field.name}", type=str, default="", help=f"the {field.name} of the run")
    return parser
