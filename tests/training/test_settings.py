# SPDX-License-Identifier: MIT
"""Recipes, files and flags become one Config, and every mistake in them one message."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from hypersphere.config import Config
from hypersphere.models import MODELS, build
from hypersphere.regularizers import CompressiveEnergy
from hypersphere.training.regularization import make_regularizers
from hypersphere.training.settings import (
    differences,
    load_recipe,
    make_config,
    read_config,
    recipe_lines,
    recipe_names,
    save_config,
)

COMHE = [f"cifar100-cnn9-comhe-{kind}" for kind in ("adversarial", "angle", "group", "random")]
CIFAR = ["cifar100-cnn9", "cifar100-cnn9-clean", *COMHE, "cifar100-cnn9-mhe", "cifar100-cnn9-mhe-clean"]


def write(folder: Path, text: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(text)
    return path


def test_the_recipes_that_come_along() -> None:
    assert {*CIFAR, "digits"} <= set(recipe_names())
    assert recipe_names() == sorted(recipe_names())
    assert list(recipe_lines()) == recipe_names()
    for line in recipe_lines().values():
        assert 20 < len(line) < 100


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_makes_a_config_with_a_model_that_builds(name: str) -> None:
    config = make_config(name)
    assert config.recipe == name
    assert config.model.name in MODELS
    with torch.device("meta"):
        assert build(config.model.name, **config.model.arguments).num_features > 0


def test_the_published_recipe_holds_the_published_numbers() -> None:
    config = make_config("cifar100-cnn9")
    steps = config.training.steps
    assert steps == 42_500
    assert [round(share * steps) for share in config.schedule.milestones] == [20_000, 30_000, 37_500]
    assert (config.schedule.name, config.schedule.factor, config.schedule.warmup) == ("steps", 0.1, 0)
    optimizer = config.optimizer
    assert (optimizer.name, optimizer.rate, optimizer.momentum, optimizer.nesterov) == ("sgd", 0.1, 0.9, False)
    assert (optimizer.weight_decay, optimizer.decay_norms) == (5e-4, True)
    assert (config.head.label_smoothing, config.head.probability_floor) == (0.01, 1e-4)
    assert (config.data.padding, config.data.padding_mode, config.data.flip) == (4, "symmetric", True)
    assert (config.data.mean, config.data.std) == ([127.5], [128.0])
    assert config.model.arguments == {"base_width": 64, "norm_eps": 1e-3, "norm_momentum": 1e-3}
    assert (config.training.batch_size, config.training.evaluate_every * 50_000 / 128) == (128, 500)
    assert not config.energy.active
    # 2 992 832 weights and 2 688 of BatchNorm, the classifier's 256 x 100 included
    model = build("cnn9", **config.model.arguments)
    assert sum(parameter.numel() for parameter in model.parameters()) + 256 * 100 == 2_992_832 + 2_688


@pytest.mark.parametrize("kind", ["", "-clean"])
def test_recipes_with_and_without_the_energy_differ_in_the_energy_alone(kind: str) -> None:
    changed = differences(make_config(f"cifar100-cnn9{kind}"), make_config(f"cifar100-cnn9-mhe{kind}"))
    assert changed == [
        "energy.hidden_weight: 0 in the run, 1 now",
        "energy.output_weight: 0 in the run, 10 now",
        "energy.power: 0 in the run, 2 now",
        "energy.half_space: False in the run, True now",
        "energy.eps: 0 in the run, 0.0001 now",
    ]


@pytest.mark.parametrize("name", COMHE)
def test_recipes_of_comhe_differ_from_mhe_in_projection_and_length_alone(name: str) -> None:
    changed = differences(make_config("cifar100-cnn9-mhe"), make_config(name))
    others = [line for line in changed if not line.startswith("compression.")]
    assert [line.split(":")[0] for line in others] == ["schedule.milestones", "training.steps"]
    schedule = make_config(name).schedule
    assert [round(75_000 * share) for share in schedule.milestones] == [30_000, 50_000, 65_000]


@pytest.mark.parametrize("name", [name for name in COMHE if not name.endswith("group")])
def test_recipes_of_comhe_have_the_published_settings(name: str) -> None:
    made = make_regularizers(make_config(name))["energy"]
    published = CompressiveEnergy.published(made.projection)
    options = ["power", "half_space", "eps", "hidden_weight", "output_weight", "project_first", "precision", "dim"]
    options += ["num_projections", "redraw_every", "inner_steps", "inner_rate", "unrolled", "ascent", "objective"]
    for option in options:
        assert getattr(made, option) == getattr(published, option), option


def test_the_clean_recipe_differs_as_it_says() -> None:
    changed = differences(make_config("cifar100-cnn9"), make_config("cifar100-cnn9-clean"))
    assert changed == [
        "model.arguments.norm_momentum: 0.001 in the run, 0.1 now",
        "head.label_smoothing: 0.01 in the run, 0 now",
        "head.probability_floor: 0.0001 in the run, 0 now",
        "schedule.warmup: 0 in the run, 0.03 now",
        "training.epochs: 10 in the run, 40 now",
        "training.steps: 42500 in the run, None now",
        "training.evaluate_every: 1.28 in the run, 1 now",
        "model.arguments.feature_norm: not set in the run, True now",
    ]


def test_later_values_win() -> None:
    config = make_config("digits", ["--training.epochs", "3", "--optimizer.rate=1e-2", "--training.epochs", "4"])
    assert (config.training.epochs, config.optimizer.rate) == (4.0, 0.01)
    base = make_config("digits")
    assert make_config(None, {"training": {"epochs": 2}}, base=base).model == base.model
    assert base == make_config("digits")


def test_entries_of_a_dictionary_are_added_and_a_whole_one_replaces() -> None:
    assert make_config("digits", ["--model.arguments.width", "16"]).model.arguments == {"width": 16, "feature_dim": 3}
    assert make_config("digits", {"model.arguments.width": 16}).model.arguments == {"width": 16, "feature_dim": 3}
    assert make_config("digits", ["--model.arguments", "{width: 16}"]).model.arguments == {"width": 16}
    assert make_config("digits", {"model": {"arguments": {}}}).model.arguments == {}
    both = make_config(None, ["--model.arguments", "{width: 16}", "--model.arguments.feature_dim", "2"])
    assert both.model.arguments == {"width": 16, "feature_dim": 2}


def test_no_recipe_means_the_defaults() -> None:
    assert make_config() == Config()
    assert make_config(None, {"training": None}) == Config()


def test_a_file_is_a_recipe(tmp_path: Path) -> None:
    path = write(tmp_path, "optimizer:\n  rate: 1e-3\ntraining: {epochs: 2}\ndata:\n  keep: {3: 0.5}\n")
    config = make_config(path)
    assert (config.recipe, config.optimizer.rate, config.training.epochs) == ("mine", 0.001, 2.0)
    assert config.data.keep == {"3": 0.5}
    assert make_config(write(tmp_path, "")) == make_config(None, {"recipe": "mine"})


def test_a_config_comes_back_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    for name in recipe_names():
        config = make_config(name, {"data.keep.3": 0.1, "training.clip": 1e-9, "optimizer.betas": [0.5, 0.9]})
        save_config(config, path)
        found = read_config(path)
        assert found == config
        assert differences(found, config) == []
    assert [entry.name for entry in tmp_path.iterdir()] == ["config.yaml"]
    # complete: it is not the defaults of some later version that fill it up
    assert len(load_recipe(path)) == len(asdict(Config()))


def test_a_config_that_cannot_be_written_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "config.yaml"
    save_config(Config(), path)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left on device"):
        save_config(make_config("digits"), path)
    assert read_config(path) == Config()


def test_differences_name_the_fields() -> None:
    run = make_config("digits", {"training.epochs": 10, "model.arguments.width": 8})
    now = make_config("digits", {"training.epochs": 12, "model.arguments.operator": "conv", "recipe": "other"})
    assert differences(run, now) == [
        "model.arguments.width: 8 in the run, 32 now",
        "training.epochs: 10 in the run, 12 now",
        "model.arguments.operator: not set in the run, 'conv' now",
    ]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--training.epoch", "3"], "command line: unknown flag '--training.epoch': did you mean '--training.epochs'?"),
        (["--epochs", "3"], "command line: unknown flag '--epochs': did you mean '--training.epochs'?"),
        (["--epochs"], "command line: unknown flag '--epochs': did you mean '--training.epochs'?"),
        (["--training.epochs"], "command line: --training.epochs needs a value."),
        (["--data.flip", "--data.cache", "false"], "command line: --data.flip needs a value."),
        (["3"], "command line: did not expect '3': settings are given as --section.name VALUE."),
        (["--training.epochs", "many"], "command line: training.epochs: expected a number, got 'many'."),
        (["--optimizer.rate", "-1"], "optimizer: rate must be above 0, got -1."),
        (
            ["--training.epochs=x", "--data.nam", "y"],
            "command line: 2 problems:\n  - training.epochs: expected a number, got 'x'.\n"
            "  - unknown flag '--data.nam': did you mean '--data.name'?",
        ),
        (
            ["--optimizer.rate", "0", "--data.padding", "-1"],
            "data: padding must be 0 or more, got -1.\noptimizer: rate must be above 0, got 0.",
        ),
    ],
)
def test_a_wrong_flag_is_told_in_words(flags: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        make_config("digits", flags)


def test_all_wrong_keys_of_a_mapping_are_told_together() -> None:
    given = {"training": {"epoch": 3, "seed": True}, "data": 3, "heads": {"margin": "softmax"}}
    message = (
        "config: 4 problems:\n"
        "  - data: expected settings such as 'data.name', got 3.\n"
        "  - unknown key 'training.epoch': did you mean 'training.epochs'?\n"
        "  - training.seed: expected a whole number, got True.\n"
        "  - unknown key 'heads': did you mean 'head'?"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        make_config(None, given)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("training: {epoch: 3}", r"mine\.yaml: unknown key 'training\.epoch': did you mean 'training\.epochs'\?"),
        ("training: {epochs: many}", r"mine\.yaml: training\.epochs: expected a number, got 'many'\."),
        ("training: 3", r"mine\.yaml: training: expected settings such as 'training\.epochs', got 3\."),
        ("- 1\n- 2", r"mine\.yaml: expected sections such as 'training:' with values below, got \[1, 2\]\."),
        ("just words", r"mine\.yaml: expected sections such as 'training:' with values below, got 'just words'\."),
        ("training:\n  epochs: [1\n", r"mine\.yaml: not YAML in line 3: "),
    ],
)
def test_a_wrong_file_is_told_with_its_name(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_config(write(tmp_path, text))
    with pytest.raises(ValueError, match=message):
        read_config(write(tmp_path, text))


def test_a_number_out_of_range_in_a_file_is_told_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"mine\.yaml: training: epochs must be above 0, got 0\."):
        read_config(write(tmp_path, "training: {epochs: 0}"))


def test_a_file_that_is_no_text_is_told(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"mine\.yaml: this is not a text file in UTF-8\."):
        load_recipe(path)


def test_a_recipe_that_is_not_there_is_told() -> None:
    with pytest.raises(ValueError, match=r"unknown recipe 'digit': choose .*digits.* \(did you mean 'digits'\?\)"):
        load_recipe("digit")
    with pytest.raises(FileNotFoundError, match=r"there is no file nowhere/mine\.yaml\."):
        load_recipe("nowhere/mine.yaml")
