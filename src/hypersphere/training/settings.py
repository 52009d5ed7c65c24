# SPDX-License-Identifier: MIT
"""From a recipe, a YAML file and flags to a `Config`, and back; every key and type is checked, all problems at once."""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from hypersphere.checks import lookup, problems
from hypersphere.config import Config, DataConfig
from hypersphere.files import write_atomically
from hypersphere.training.flags import read_value, sections, setting_of, unknown_key, wrong_value

try:
    import jsonargparse
    import yaml
except ModuleNotFoundError as error:
    raise ImportError(f'reading recipes needs the package {error.name}: pip install "hypersphere[train]"') from error

__all__ = [
    "differences",
    "load_recipe",
    "make_config",
    "read_config",
    "read_data",
    "recipe_lines",
    "recipe_names",
    "save_config",
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
    if isinstance(overrides, Mapping):
        _merge(values, _checked(overrides, "config"))
    else:
        _merge(values, _checked(_read_flags(overrides), "command line", flags=True))
    return _build(values)


def read_config(path: Path) -> Config:
    """The settings that a YAML file holds, such as `config.yaml` of a run.

    Raises:
        ValueError: as `make_config` does, naming the file.
        OSError: if it cannot be read.
    """
    return _build(_checked(_read_yaml(path), str(path)), str(path))


def read_data(who: str, folder: Path, flags: Sequence[str]) -> DataConfig | None:
    """Section `data` of a run's settings with some of them changed; None where nothing is to change.

    Args:
        who: speaks in errors.
        folder: the run folder.
        flags: as they are typed, of section data only.

    Raises:
        FileNotFoundError: if flags are given and the folder holds no settings.
        ValueError: if a flag belongs to another section, or is wrong.
    """
    if not flags:
        return None
    foreign = [word for word in flags if word.startswith("--") and not word.startswith("--data.")]
    if foreign:
        raise ValueError(f"{who}: only settings of data can change, got {', '.join(foreign)}.")
    if not (folder / "config.yaml").exists():
        raise FileNotFoundError(f"{who}: {folder} is no run: there is no config.yaml in it.")
    return make_config(None, flags, base=read_config(folder / "config.yaml")).data


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
        >>> differences(make_config(None, {"training.epochs": 10}), make_config(None, {"training.epochs": 12}))
        ['training.epochs: 10 in the run, 12 now']
    """
    old, new = (_leaves(asdict(config)) for config in (recorded, wanted))
    keys = [key for key in {**old, **new} if key not in ("recipe", "description")]
    return [
        f"{key}: {_shown(old, key)} in the run, {_shown(new, key)} now"
        for key in keys
        if key not in old or key not in new or old[key] != new[key]
    ]


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
            wrong.append(f"{flag} needs a value." if setting_of(key) else unknown_key(key, flags=True))
            continue
        found[key] = value if equals else rest.pop(0)
    problems("command line", wrong)
    return found


def _checked(given: Mapping[str, Any], who: str, *, flags: bool = False) -> Values:
    """The same values, nested and in their types, or a ValueError that says all that is wrong with them."""
    values: Values = {}
    wrong: list[str] = []
    for key, value in _given_leaves(given, wrong):
        setting = setting_of(key)
        if setting is None:
            wrong.append(unknown_key(key, flags=flags))
            continue
        try:
            _store(values, key, setting, read_value(key, value, typed=flags))
        except ValueError:
            wrong.append(wrong_value(key, value))
    problems(who, wrong)
    return values


def _given_leaves(given: Mapping[str, Any], wrong: list[str], prefix: str = "") -> list[tuple[str, Any]]:
    """Dotted keys and values, down to single settings; a section that is no mapping is told in `wrong`."""
    found: list[tuple[str, Any]] = []
    for name, value in given.items():
        key = f"{prefix}{name}"
        if key not in sections():
            found.append((key, value))
        elif isinstance(value, Mapping):
            found += _given_leaves(value, wrong, f"{key}.")
        elif value is not None:
            wrong.append(
                f"{key}: expected settings such as '{key}.{fields(sections()[key])[0].name}', got {value!r:.60}."
            )
    return found


def _store(values: Values, key: str, setting: str, value: Any) -> None:
    """Put a value into its section; a dictionary's entry is marked as one by being kept under `Entries`."""
    *sections, name = setting.split(".")
    place = values
    for section in sections:
        place = place.setdefault(section, {})
    if key == setting:
        place[name] = Whole(value) if isinstance(value, dict) else value
    else:
        place.setdefault(name, {})[key.removeprefix(f"{setting}.")] = value


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
    parts: Values = {name: values[name] for name in values if name not in sections()}
    wrong: list[str] = []
    for name, section in sections().items():
        given = {key: dict(v) if isinstance(v, Whole) else v for key, v in values.get(name, {}).items()}
        try:
            parts[name] = section(**given)
        except ValueError as error:
            wrong.append(f"{who}: {error}" if who else str(error))
    if wrong:
        raise ValueError("\n".join(wrong))
    return Config(**parts)


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
